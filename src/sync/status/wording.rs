//! What a source's status says: a pure function of what is known about it.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::history::{Moved, history};
use super::overlaps::Neighbour;
use crate::source::keeper::{RefusalReason, Verification};
use crate::source::resource::{FailingStatus, HeadStatus, Mode, SkippedStatus, VerifyMode};
use crate::source::{PolicySourceStatus, Snapshot, SourceReport, SourceState};
use crate::sync::report::{BREAK_GLASS, EXAMPLES, Tally};

/// Characters of a failed write's reason.
const MOST_SAID: usize = 256;

/// All that a status depends on.
pub(super) struct Facts<'a> {
    pub(super) generation: Option<i64>,
    pub(super) before: Option<&'a PolicySourceStatus>,
    pub(super) look: &'a SourceReport,
    pub(super) state: Option<&'a SourceState>,
    pub(super) tally: Option<&'a Tally>,
    /// The head that came into force after the one that `before` names.
    pub(super) moved: Option<Moved<'a>>,
    /// Other sources that can speak for the same objects, with their priorities.
    pub(super) overlapping: Vec<Neighbour>,
    pub(super) complete: bool,
    pub(super) gate_mode: Mode,
    pub(super) now: Timestamp,
}

/// The value of a condition before it is dated.
struct Verdict {
    status: &'static str,
    reason: &'static str,
    message: String,
}

impl Verdict {
    fn copy(&self) -> Self {
        Self {
            message: self.message.clone(),
            ..*self
        }
    }
}

fn yes(reason: &'static str, message: impl Into<String>) -> Verdict {
    Verdict {
        status: "True",
        reason,
        message: message.into(),
    }
}

fn no(reason: &'static str, message: impl Into<String>) -> Verdict {
    Verdict {
        status: "False",
        ..yes(reason, message)
    }
}

fn unknown(reason: &'static str, message: impl Into<String>) -> Verdict {
    Verdict {
        status: "Unknown",
        ..yes(reason, message)
    }
}

/// The status. A head that this process does not have (yet) stays as it was: it is the baseline of every replica.
pub(super) fn status_of(facts: &Facts<'_>) -> PolicySourceStatus {
    let before = facts.before.cloned().unwrap_or_default();
    // Another process led and got further: what it wrote stays, for it is the baseline of every replica.
    let named = before.head.as_ref().map(|head| head.commit.as_str());
    let behind = is_behind(facts.look, facts.state, named);
    let head = facts.look.head.as_deref().filter(|_| !behind);
    let attempt = facts.look.attempt.as_ref();
    let tally = facts.tally;
    let conditions = conditions(facts, &before.conditions);
    let is_reached = is_reached(facts, &conditions);
    PolicySourceStatus {
        observed_generation: facts.look.generation.or(before.observed_generation),
        head: head.map(|head| head_status(facts, head)).or(before.head),
        short_commit: head.map_or(before.short_commit, |head| head.commit.short().to_owned()),
        highest_head: match &facts.look.highest_head {
            Some(highest) if !behind => highest.clone(),
            _ => before.highest_head,
        },
        adopted_at: before.adopted_at.or_else(|| adoption(facts)),
        announced: head.map_or(before.announced, |head| head.commit.id.clone()),
        fetched_at: attempt
            .filter(|attempt| attempt.outcome.is_ok())
            .map(|attempt| Time(whole_second(attempt.at)))
            .or(before.fetched_at),
        drift: tally.map_or(before.drift, |tally| i64::try_from(tally.drift).unwrap_or(i64::MAX)),
        undeclared: tally.map_or(before.undeclared, undeclared),
        failing: tally.map_or(before.failing, failing),
        skipped: head.map_or(before.skipped, skipped),
        history: history(before.history, facts.moved.as_ref(), is_reached, facts.now),
        conditions,
    }
}

/// Whether the status names a commit that this process has not come to yet. It may have been written just now: the keeper
/// hears of it by a watch of its own.
pub(super) fn is_behind(look: &SourceReport, state: Option<&SourceState>, named: Option<&str>) -> bool {
    let is_news = |commit: &str| {
        let head = look.head.as_deref();
        head.is_some_and(|head| head.commit.id != commit) && !look.passed.contains(commit)
    };
    state.is_some_and(|state| state.is_behind) || named.is_some_and(is_news)
}

/// Whether the cluster was seen to be as the head says. What is only watched may be so, too, by somebody else's doing.
fn is_reached(facts: &Facts<'_>, conditions: &[Condition]) -> bool {
    let watched = ["Audit", "Suspended", "GateOnly"];
    let no_drift = facts.tally.is_some_and(|tally| tally.drift == 0);
    let synced = conditions.iter().find(|condition| condition.type_ == "Synced");
    synced.is_some_and(|synced| synced.status == "True" || no_drift && watched.contains(&synced.reason.as_str()))
}

/// Writes that fail, in the API server's words, cut to what a list can hold.
fn failing(tally: &Tally) -> Vec<FailingStatus> {
    let told = tally.failing_examples.iter().map(|(key, why)| FailingStatus {
        object: key.to_string(),
        message: why.chars().take(MOST_SAID).collect(),
    });
    told.collect()
}

fn skipped(head: &Snapshot) -> Vec<SkippedStatus> {
    let mut all: Vec<_> = head.skipped.iter().collect();
    all.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    let told = all.into_iter().take(EXAMPLES).map(|skipped| SkippedStatus {
        path: skipped.path.clone(),
        object: skipped.key.to_string(),
        reason: skipped.why.clone(),
    });
    told.collect()
}

fn head_status(facts: &Facts<'_>, head: &Snapshot) -> HeadStatus {
    // The first acceptance stays what it was.
    let recorded = facts.before.and_then(|before| before.head.as_ref());
    let earlier = recorded.filter(|recorded| recorded.commit == head.commit.id);
    let earlier = earlier.and_then(|recorded| recorded.verified_at.clone());
    let verified_at = facts
        .look
        .verified_at
        .map(|at| earlier.unwrap_or(Time(whole_second(at))));
    HeadStatus {
        verified_at,
        commit: head.commit.id.clone(),
        tree: head.commit.tree.clone(),
        objects: i64::try_from(head.entries.len()).unwrap_or(i64::MAX),
        time: Some(Time(whole_second(head.commit.time))),
        author: head.commit.author.clone(),
        subject: head.commit.subject.clone(),
    }
}

/// With the first head the source is trusted. Rounded up: what was created in the same second may be older than that,
/// and is then left alone.
fn adoption(facts: &Facts<'_>) -> Option<Time> {
    facts.look.head.as_ref()?;
    let next = Timestamp::from_second(facts.now.as_second() + 1);
    Some(Time(next.unwrap_or(facts.now)))
}

/// The API server keeps whole seconds.
pub(super) fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn undeclared(tally: &Tally) -> Vec<String> {
    let keys = tally.undeclared_examples.iter().take(EXAMPLES);
    keys.map(ToString::to_string).collect()
}

fn conditions(facts: &Facts<'_>, before: &[Condition]) -> Vec<Condition> {
    let fetched = fetched(facts);
    let verified = verified(facts);
    let accepted = accepted(facts);
    let synced = synced(facts);
    let overlapping = overlapping(facts);
    let ready = match &verified {
        // A refused commit is told by `Accepted`.
        failed if failed.status == "False" && facts.look.refusal.is_none() => failed.copy(),
        _ => ready(facts, [&fetched, &accepted, &synced]),
    };
    [
        ("Fetched", fetched),
        ("Verified", verified),
        ("Accepted", accepted),
        ("Synced", synced),
        ("Overlapping", overlapping),
        ("Ready", ready),
    ]
    .into_iter()
    .map(|(name, verdict)| date(name, &verdict, facts, before))
    .collect()
}

/// The time of the last transition stays while the status does.
fn date(name: &str, verdict: &Verdict, facts: &Facts<'_>, before: &[Condition]) -> Condition {
    let since = before
        .iter()
        .find(|condition| condition.type_ == name && condition.status == verdict.status)
        .map(|condition| condition.last_transition_time.clone());
    Condition {
        type_: name.to_owned(),
        status: verdict.status.to_owned(),
        reason: verdict.reason.to_owned(),
        message: verdict.message.chars().take(1024).collect(),
        observed_generation: facts.look.generation.or(facts.generation),
        last_transition_time: since.unwrap_or(Time(whole_second(facts.now))),
    }
}

fn fetched(facts: &Facts<'_>) -> Verdict {
    if let Some(why) = &facts.look.invalid {
        return no("InvalidSpec", why);
    }
    match facts.look.attempt.as_ref().map(|attempt| &attempt.outcome) {
        None => unknown("NotFetchedYet", "The repository was not read yet."),
        Some(Ok(())) => yes("Fetched", "The repository was read."),
        Some(Err(why)) => no("FetchFailed", why),
    }
}

fn verified(facts: &Facts<'_>) -> Verdict {
    let asks = facts
        .state
        .is_some_and(|state| state.settings.verification.mode != VerifyMode::None);
    if !asks {
        return unknown("NotConfigured", "The source asks for no signatures.");
    }
    let kept = facts.look.head.as_deref().map(|head| head.commit.short());
    match (&facts.look.verification, &facts.look.refusal) {
        (
            Verification::Failed {
                fault,
                message,
                kept: true,
            },
            _,
        ) => no(
            fault.as_str(),
            format!(
                "{} stays in force, and its signature no longer counts: {message}",
                kept.unwrap_or_default()
            ),
        ),
        (Verification::Failed { fault, message, .. }, _) => no(
            fault.as_str(),
            format!("{} decides nothing any more: {message}", kept.unwrap_or_default()),
        ),
        (_, Some(refusal)) if matches!(refusal.reason, RefusalReason::NotVerified(_)) => {
            no(refusal.reason.as_str(), &refusal.message)
        }
        (
            Verification::Signed {
                keys_problem: Some(problem),
                ..
            },
            _,
        ) => unknown("KeysUnavailable", problem),
        (Verification::Signed { by, .. }, _) => {
            yes("Verified", format!("{} is signed by {by}.", kept.unwrap_or_default()))
        }
        (Verification::Unknown, _) => unknown("NoHead", "No commit is in force here yet."),
    }
}

fn accepted(facts: &Facts<'_>) -> Verdict {
    if let Some(refusal) = &facts.look.refusal {
        return no(refusal.reason.as_str(), &refusal.message);
    }
    match facts.look.head.as_deref() {
        Some(head) => yes("Accepted", accepted_message(head)),
        None => unknown("NoHead", "No commit is in force here yet."),
    }
}

fn accepted_message(head: &Snapshot) -> String {
    let in_force = format!("{} is in force.", head.commit.short());
    // The same one that the list begins with.
    let first = head.skipped.iter().min_by_key(|skipped| (&skipped.path, skipped.line));
    first.map_or_else(
        || in_force.clone(),
        |first| {
            let others = and_more(head.skipped.len() - 1);
            let (path, line, why) = (&first.path, first.line, &first.why);
            format!("{in_force} Left out, since it is outside the scope: {path}:{line}: {why}{others}.")
        },
    )
}

/// Nothing to repair by itself: a platform's source may well cover a team's namespaces. Who reads it knows whom to ask.
fn overlapping(facts: &Facts<'_>) -> Verdict {
    let Some(state) = facts.state else {
        return unknown("NotLookedYet", "The scope is not known here yet.");
    };
    let own = state.settings.priority;
    let others: Vec<String> = facts
        .overlapping
        .iter()
        .take(EXAMPLES)
        .map(|(name, priority)| format!("{name} (priority {priority})"))
        .collect();
    if others.is_empty() {
        return no("NoOverlap", "No other source speaks for the same objects.");
    }
    let more = and_more(facts.overlapping.len() - others.len());
    let message = format!(
        "These sources can speak for the same objects: {}{more}. The highest priority decides; this one has {own}.",
        others.join(", ")
    );
    yes("ScopesOverlap", message)
}

fn synced(facts: &Facts<'_>) -> Verdict {
    let Some(head) = facts.look.head.as_deref() else {
        return unknown("NoHead", "No commit is in force here yet.");
    };
    let judged = facts
        .tally
        .filter(|tally| tally.commit.as_ref() == Some(&head.commit.id));
    let Some(tally) = judged else {
        return unknown("NotLookedYet", "The cluster was not compared with this commit yet.");
    };
    if let Some((first, why)) = tally.failing_examples.first_key_value() {
        let others = tally.failing.saturating_sub(1);
        return no("WriteFailed", format!("{}: {why}{}", first.label(), and_more(others)));
    }
    if tally.conflicts > 0 {
        return no("Conflict", conflict_message(tally));
    }
    if !tally.not_served.is_empty() {
        let kinds: Vec<String> = tally.not_served.iter().map(ToString::to_string).collect();
        return no(
            "KindNotServed",
            format!("The cluster does not serve {}.", kinds.join(", ")),
        );
    }
    if !facts.complete || !tally.not_listed.is_empty() {
        return unknown("NotListed", "Not every guarded kind could be listed yet.");
    }
    if tally.unknown > 0 {
        return unknown(
            "HeadUnknown",
            "Another source that covers the same objects has no commit in force.",
        );
    }
    held(facts, tally).unwrap_or_else(|| settled(tally, head))
}

/// What is said of drift that nothing is done about.
fn held(facts: &Facts<'_>, tally: &Tally) -> Option<Verdict> {
    let state = facts.state?;
    let settings = &state.settings;
    let drift = tally.drift;
    if facts.gate_mode == Mode::Audit || settings.mode == Mode::Audit {
        return Some(unknown(
            "Audit",
            format!("Only reporting: {drift} objects differ from Git."),
        ));
    }
    if state.refuses_as_unverified() {
        let message = format!("Nothing is written while the commit does not verify: {drift} objects differ from it.");
        return Some(unknown("Unverified", message));
    }
    if settings.suspend {
        return Some(unknown(
            "Suspended",
            format!("Suspended: {drift} objects differ from Git."),
        ));
    }
    if !settings.sync {
        let reason = if drift == 0 { "True" } else { "Unknown" };
        let message = format!("Another deployer applies this source: {drift} objects differ from Git.");
        return Some(Verdict {
            status: reason,
            ..unknown("GateOnly", message)
        });
    }
    None
}

fn settled(tally: &Tally, head: &Snapshot) -> Verdict {
    let left_alone = match tally.undeclared {
        0 => String::new(),
        count => format!(" {count} undeclared objects are left alone."),
    };
    let count = tally.drift.saturating_sub(tally.held.values().sum());
    if count > 0 {
        return no(
            "Applying",
            format!("{count} objects are being brought to {}.", head.commit.short()),
        );
    }
    if let Some(granted) = tally.granted_examples.first() {
        let others = tally.held.get(BREAK_GLASS).copied().unwrap_or(1).saturating_sub(1);
        let message = format!(
            "{}{} differs from Git and stays so until its grant ends.",
            granted.label(),
            and_more(others)
        );
        return no(BREAK_GLASS, message);
    }
    if tally.waiting > 0 {
        let names: Vec<&str> = tally.waiting_for.iter().map(String::as_str).collect();
        let message = format!(
            "All but {} of {} objects are as Git says; missing namespaces: {}.{left_alone}",
            tally.waiting,
            head.entries.len(),
            names.join(", ")
        );
        return yes("WaitingForNamespace", message);
    }
    let message = format!("All {} objects are as Git says.{left_alone}", head.entries.len());
    yes("Synced", message)
}

fn conflict_message(tally: &Tally) -> String {
    let first = tally.conflict_examples.first().map(crate::policy::Key::label);
    let sources: Vec<&str> = tally.conflicting.iter().map(AsRef::as_ref).collect();
    format!(
        "Sources of equal priority do not agree about {}{}: {}. Nothing is written there until they do or one has a higher spec.priority.",
        first.unwrap_or_default(),
        and_more(tally.conflicts.saturating_sub(1)),
        sources.join(" and ")
    )
}

fn and_more(others: usize) -> String {
    match others {
        0 => String::new(),
        count => format!(" (and {count} more)"),
    }
}

/// Ready is the first of the others that is not as it should be: its reason is what the table shows.
fn ready(facts: &Facts<'_>, parts: [&Verdict; 3]) -> Verdict {
    let copy = Verdict::copy;
    let [fetched, accepted, synced] = parts;
    if let Some(failed) = parts.iter().find(|verdict| verdict.status == "False") {
        return copy(failed);
    }
    // With a head in force, what is only reported or suspended is as it was asked for.
    if facts.look.head.is_some() && matches!(synced.reason, "Audit" | "Suspended" | "GateOnly") {
        return Verdict {
            status: "True",
            ..copy(synced)
        };
    }
    if facts.look.head.is_none() && fetched.status != "True" {
        return copy(fetched);
    }
    let pending = [accepted, synced, fetched]
        .into_iter()
        .find(|verdict| verdict.status != "True");
    copy(pending.unwrap_or(synced))
}

#[cfg(test)]
mod tests;
