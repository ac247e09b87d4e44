//! Whether a fetched commit becomes the head. Pure: what it needs of Git is handed in. Whether it is signed as the spec
//! asks was decided before.
//!
//! The rules, in order; the first that speaks decides:
//! 1. The commit in force stays acceptable, whatever became of the branch.
//! 2. Any other commit descends from the one in force, and from the furthest one that ever was, unless the spec pins
//!    it or allows rewritten history.
//! 3. It declares something, if the one in force did.
//! 4. It does not remove more than `maxRemovals`.
//!
//! `spec.accept` lifts 3 and 4 for exactly one commit.

use super::keeper::{Refusal, RefusalReason};
use super::redact::bounded;
use super::settings::{MaxRemovals, Settings};
use super::snapshot::Snapshot;
use crate::policy::Key;

/// Bytes of a refusal's message.
const MAX_MESSAGE: usize = 1024;
/// Removed objects that a message names.
const SHOWN: usize = 3;

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
    if same {
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
        let emptied = !same && self.snapshot.entries.is_empty() && declared > 0;
        if !emptied && !is_void(self.snapshot, baseline.objects) {
            return Ok(());
        }
        Err(self.refuse(
            RefusalReason::EmptyTree,
            format!(
                "commit {} declares nothing{}, and {} declared {} objects. {}",
                self.snapshot.commit.short(),
                self.below(),
                short(baseline.commit),
                declared.max(baseline.objects),
                self.remedy(),
            ),
        ))
    }

    fn check_removals(&self, baseline: &Baseline<'_>) -> Result<(), Refusal> {
        let (declared, removed, named) = self.removals(baseline);
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
                "commit {} removes {removed} of {declared} objects{named}; maxRemovals {limit} allows {allowed}. {}",
                self.snapshot.commit.short(),
                self.remedy(),
            ),
        ))
    }

    /// How many objects were declared, how many of them are gone, and the names of some of these.
    fn removals(&self, baseline: &Baseline<'_>) -> (usize, usize, String) {
        let Some(declares) = baseline.declares else {
            // Only the number is known: at least the difference is gone.
            let removed = baseline.objects.saturating_sub(self.snapshot.entries.len());
            return (baseline.objects, removed, String::new());
        };
        let mut gone: Vec<&Key> = declares
            .entries
            .keys()
            .filter(|key| !self.snapshot.entries.contains_key(*key))
            .collect();
        gone.sort();
        let shown: Vec<String> = gone.iter().take(SHOWN).map(|key| key.label()).collect();
        let more = if gone.len() > SHOWN { ", …" } else { "" };
        (
            declares.entries.len(),
            gone.len(),
            format!(" ({}{more})", shown.join(", ")),
        )
    }

    fn below(&self) -> String {
        match self.settings.path.as_str() {
            "" => String::new(),
            path => format!(" below {path}"),
        }
    }

    fn remedy(&self) -> String {
        let commit = &self.snapshot.commit.id;
        format!(
            "If that is meant, set spec.accept: kubectl patch policysource {} --type=merge -p \
             '{{\"spec\":{{\"accept\":\"{commit}\"}}}}'",
            self.source
        )
    }

    fn refuse(&self, reason: RefusalReason, message: String) -> Refusal {
        refusal(&self.snapshot.commit.id, reason, message)
    }
}

fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

#[cfg(test)]
#[path = "acceptance_tests.rs"]
mod tests;
