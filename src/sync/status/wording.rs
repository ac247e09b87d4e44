//! What a source's status says: a pure function of what is known about it.

mod freshness;
mod synced;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use self::synced::synced;
use super::history::{Moved, history};
use super::overlaps::Neighbour;
use crate::source::keeper::{RefusalReason, Verification};
use crate::source::resource::{FailingStatus, HeadStatus, Mode, ProgressStatus, SkippedStatus, VerifyMode};
use crate::source::{PolicySourceStatus, Snapshot, SourceReport, SourceState};
use crate::sync::progress::Progress;
use crate::sync::report::{EXAMPLES, Tally};

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
    /// The digest of the spec's scope.
    pub(super) scope: String,
    pub(super) gate_mode: Mode,
    /// The hash of the configuration that is in force.
    pub(super) configuration: &'a str,
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
    let (adopted_at, adopted_scope) = adopted(facts, before.adopted_at, before.adopted_scope);
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
        adopted_at,
        adopted_scope,
        announced: head
            .filter(|_| !awaits_announced(facts))
            .map_or(before.announced, |head| head.commit.id.clone()),
        last_handled_refresh: facts.look.refreshed.clone().unwrap_or(before.last_handled_refresh),
        fetched_at: attempt
            .filter(|attempt| attempt.outcome.is_ok())
            .map(|attempt| Time(whole_second(attempt.at)))
            .or(before.fetched_at),
        drift: tally.map_or(before.drift, |tally| i64::try_from(tally.drift).unwrap_or(i64::MAX)),
        progress: tally.and_then(|tally| tally.progress).map(progress),
        undeclared: tally.map_or(before.undeclared, undeclared),
        failing: tally.map_or(before.failing, failing),
        undeclared_count: tally.map_or(before.undeclared_count, |tally| {
            i64::try_from(tally.undeclared).unwrap_or(i64::MAX)
        }),
        skipped: head.map_or(before.skipped, skipped),
        history: history(before.history, facts.moved.as_ref(), is_reached, facts.now),
        configuration: facts.configuration.to_owned(),
        conditions,
    }
}

/// Whether another process announced a commit that this one has not heard of yet, or still waits for.
fn awaits_announced(facts: &Facts<'_>) -> bool {
    let announced = facts.before.map_or("", |before| &before.announced);
    announced != facts.look.heard || facts.state.is_some_and(|state| state.awaited.is_some())
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

/// Stands in the status for a scope that is not known any more: no scope is the same.
const LOST_SCOPE: &str = "unknown";

/// When the source was adopted, and under which scope. A source that comes to speak for other objects is adopted anew:
/// those were there before it, however long it has been there for others.
fn adopted(facts: &Facts<'_>, at: Option<Time>, scope: String) -> (Option<Time>, String) {
    // The status of an older release does not say; the spec that it speaks of has the scope.
    let seen = facts.before.and_then(|before| before.observed_generation);
    let same = if scope.is_empty() {
        seen == facts.generation
    } else {
        scope == facts.scope
    };
    if let Some(at) = at.filter(|_| same).or_else(|| adoption(facts)) {
        return (Some(at), facts.scope.clone());
    }
    // Without a head there is nothing to adopt by yet.
    let before = facts.before.and_then(|before| before.adopted_at.clone());
    let is_lost = scope.is_empty() && before.is_some();
    (before, if is_lost { LOST_SCOPE.to_owned() } else { scope })
}

/// With the first head the source is trusted, and with the first one that was made under a new scope also for that. What
/// is created until then is not younger, however long it takes: the repository may not be readable. Rounded up: what was
/// created in the same second may be older than that, and is then left alone.
fn adoption(facts: &Facts<'_>) -> Option<Time> {
    let look = facts.look;
    let of_this_spec = look.generation == facts.generation && !look.scope_pending;
    look.head.as_ref().filter(|_| of_this_spec)?;
    let next = Timestamp::from_second(facts.now.as_second() + 1);
    Some(Time(next.unwrap_or(facts.now)))
}

/// The API server keeps whole seconds.
pub(super) fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn progress(progress: Progress) -> ProgressStatus {
    let count = |objects| i64::try_from(objects).unwrap_or(i64::MAX);
    ProgressStatus {
        done: count(progress.done),
        total: count(progress.total),
    }
}

fn undeclared(tally: &Tally) -> Vec<String> {
    let keys = tally.undeclared_examples.iter().take(EXAMPLES);
    keys.map(ToString::to_string).collect()
}

fn conditions(facts: &Facts<'_>, before: &[Condition]) -> Vec<Condition> {
    let fetched = fetched(facts);
    let fresh = freshness::fresh(facts);
    let verified = verified(facts);
    let accepted = accepted(facts);
    let synced = synced(facts);
    let overlapping = overlapping(facts);
    let ready = match &verified {
        // A refused commit is told by `Accepted`.
        failed if failed.status == "False" && facts.look.refusal.is_none() => failed.copy(),
        _ if freshness::refuses(facts) && fetched.status == "True" => fresh.copy(),
        _ => ready(facts, [&fetched, &accepted, &synced]),
    };
    [
        ("Fetched", fetched),
        ("Fresh", fresh),
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
        Some(Err(why)) => no("FetchFailed", format!("{why}{}", in_force_all_the_same(facts))),
    }
}

/// What decides while the repository cannot be read.
fn in_force_all_the_same(facts: &Facts<'_>) -> String {
    let Some(head) = &facts.look.head else {
        return String::new();
    };
    let commit = head.commit.short();
    if facts.state.is_some_and(|state| state.confirmed_at.is_none()) {
        format!("; {commit} is in force, as an earlier process left it on disk")
    } else {
        format!("; {commit} stays in force")
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
