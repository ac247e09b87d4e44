//! Whether a fetched commit becomes the head. Pure: what it needs of Git is handed in. Whether it is signed as the spec
//! asks was decided before.
//!
//! The rules, in order; the first that speaks decides:
//! 1. The commit in force stays acceptable, whatever became of the branch.
//! 2. Any other commit descends from the one in force, and from the furthest one that ever was, unless the spec pins
//!    it or allows rewritten history.
//! 3. It declares something, if the one in force did.
//! 4. It does not remove more than `maxRemovals`; nor does the commit in force, read from another path, with other
//!    patterns of what does not count, or for other tiers.
//!
//! `spec.accept` lifts 3 and 4 for exactly one commit.

use super::keeper::{Refusal, RefusalReason};
use super::redact::bounded;
use super::settings::{MaxRemovals, Settings};
use super::snapshot::Snapshot;
use crate::policy::Key;

/// Bytes of a refusal's message.
const MAX_MESSAGE: usize = 1024;
/// Removed objects that a message names, and the bytes that their names may take.
const SHOWN: usize = 20;
const SHOWN_BYTES: usize = 512;

/// What is known of the commit in force.
pub(super) struct Baseline<'a> {
    /// Its full id.
    pub(super) commit: &'a str,
    /// Whether the candidate is it or descends from it.
    pub(super) is_ancestor: bool,
    /// What it declares under the settings of today, so that a changed scope is not taken for a removal; none where
    /// it cannot be read any more.
    pub(super) declares: Option<&'a Snapshot>,
    /// How many objects it declared when it was accepted.
    pub(super) objects: usize,
    /// Whether `declares` is what it declared below another path, with other patterns or for other tiers: then it is no
    /// scope that explains what is gone.
    pub(super) is_other_selection: bool,
}

/// A commit to decide on.
pub(super) struct Candidate<'a> {
    /// The source's name, for messages.
    pub(super) source: &'a str,
    /// What its spec asks for.
    pub(super) settings: &'a Settings,
    /// What the commit declares under these settings.
    pub(super) snapshot: &'a Snapshot,
    /// The commit in force; none for a source that never had one.
    pub(super) baseline: Option<Baseline<'a>>,
    /// The furthest commit that was ever in force, where the candidate does not descend from it.
    pub(super) left_behind: Option<&'a str>,
}

/// Decides.
pub(super) fn decide(candidate: &Candidate<'_>) -> Result<(), Refusal> {
    let Some(baseline) = &candidate.baseline else {
        return Ok(());
    };
    let same = baseline.commit == candidate.snapshot.commit.id;
    if !same {
        candidate.check_history(baseline)?;
    }
    if candidate.settings.accept.as_deref() == Some(&candidate.snapshot.commit.id) {
        return Ok(());
    }
    candidate.check_not_emptied(baseline, same)?;
    if same && !baseline.is_other_selection {
        Ok(())
    } else {
        candidate.check_removals(baseline)
    }
}

/// Whether a snapshot holds no object at all where the head held some: not even a changed scope explains that.
pub(super) fn is_void(snapshot: &Snapshot, objects_before: usize) -> bool {
    snapshot.entries.is_empty() && snapshot.skipped.is_empty() && objects_before > 0
}

/// A refusal with its message cut to size.
pub(super) fn refusal(commit: &str, reason: RefusalReason, message: String) -> Refusal {
    Refusal {
        commit: commit.to_owned(),
        reason,
        message: bounded(message, MAX_MESSAGE),
    }
}

impl Candidate<'_> {
    fn check_history(&self, baseline: &Baseline<'_>) -> Result<(), Refusal> {
        // A pin names its commit, and that it is on the branch was checked: a deliberate move, no rewind.
        let deliberate = self.settings.reference.commit.is_some() || self.settings.allow_rewind;
        let (what, from) = match self.left_behind {
            _ if deliberate => return Ok(()),
            _ if !baseline.is_ancestor => ("the commit in force", baseline.commit),
            Some(highest) => ("the furthest commit that was in force", highest),
            None => return Ok(()),
        };
        Err(self.refuse(
            RefusalReason::HistoryRewritten,
            format!(
                "commit {} of {} does not descend from {what}, {}: history was rewritten, or spec.git names another \
                 repository or ref. If that is meant, set spec.allowRewind",
                self.snapshot.commit.short(),
                self.settings.reference.short(),
                short(from),
            ),
        ))
    }

    fn check_not_emptied(&self, baseline: &Baseline<'_>, same: bool) -> Result<(), Refusal> {
        let declared = baseline
            .declares
            .map_or(baseline.objects, |declares| declares.entries.len());
        let emptied = (!same || baseline.is_other_selection) && self.snapshot.entries.is_empty() && declared > 0;
        if !emptied && !is_void(self.snapshot, baseline.objects) {
            return Ok(());
        }
        Err(self.refuse(
            RefusalReason::EmptyTree,
            format!(
                "commit {} declares nothing{}, and {} declared {} objects. {}{}",
                self.snapshot.commit.short(),
                self.below(),
                short(baseline.commit),
                declared.max(baseline.objects),
                self.remedy(),
                would_go(&self.gone(baseline)),
            ),
        ))
    }

    fn check_removals(&self, baseline: &Baseline<'_>) -> Result<(), Refusal> {
        let gone = self.gone(baseline);
        let (declared, removed) = match baseline.declares {
            Some(declares) => (declares.entries.len(), gone.len()),
            // Only the number is known: at least the difference is gone.
            None => (
                baseline.objects,
                baseline.objects.saturating_sub(self.snapshot.entries.len()),
            ),
        };
        let allowed = self.settings.max_removals.of(declared);
        if removed <= allowed {
            return Ok(());
        }
        let limit = match self.settings.max_removals {
            MaxRemovals::Objects(objects) => objects.to_string(),
            MaxRemovals::Percent(percent) => format!("{percent}%"),
        };
        Err(self.refuse(
            RefusalReason::TooManyRemovals,
            format!(
                "commit {}{} removes {removed} of {declared} objects; maxRemovals {limit} allows {allowed}. {}{}",
                self.snapshot.commit.short(),
                if baseline.is_other_selection {
                    format!("{}, read as the spec asks now,", self.below())
                } else {
                    String::new()
                },
                self.remedy(),
                would_go(&gone),
            ),
        ))
    }

    /// What the commit in force declares and this one does not, in order; nothing where that cannot be read any more.
    fn gone<'a>(&self, baseline: &Baseline<'a>) -> Vec<&'a Key> {
        let declared = baseline
            .declares
            .into_iter()
            .flat_map(|declares| declares.entries.keys());
        let mut gone: Vec<&Key> = declared
            .filter(|key| !self.snapshot.entries.contains_key(*key))
            .collect();
        gone.sort();
        gone
    }

    fn below(&self) -> String {
        match self.settings.path.as_str() {
            "" => String::new(),
            path => format!(" below {path}"),
        }
    }

    /// Comes before the names of objects, which may be many: it has to be readable however long those are.
    fn remedy(&self) -> String {
        let commit = &self.snapshot.commit.id;
        format!(
            "If that is meant, set spec.accept: headgate source accept {} {commit}",
            self.source
        )
    }

    fn refuse(&self, reason: RefusalReason, message: String) -> Refusal {
        refusal(&self.snapshot.commit.id, reason, message)
    }
}

/// The objects that would go: as many as fit, and how many more.
fn would_go(gone: &[&Key]) -> String {
    let mut text = String::new();
    let mut named = 0;
    for label in gone.iter().take(SHOWN).map(|key| key.label()) {
        if text.len() + label.len() > SHOWN_BYTES {
            break;
        }
        text.push_str(if named == 0 { ". What would go: " } else { ", " });
        text.push_str(&label);
        named += 1;
    }
    match gone.len() - named {
        0 => text,
        more if named == 0 => format!(". What would go: {more} objects"),
        more => format!("{text} and {more} more"),
    }
}

fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

#[cfg(test)]
#[path = "acceptance_tests.rs"]
mod tests;
