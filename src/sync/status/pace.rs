//! When a status is worth a write. What a commit or a failure changes is told at once; how far the loop has come, now and
//! then: such a write costs the API server more than that of an object.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::source::PolicySourceStatus;

/// While nothing changes, the status is written this often, for its `fetchedAt`.
const REWRITE_AFTER: Duration = Duration::from_mins(5);
/// A source's progress is told this often …
const PROGRESS_EVERY: Duration = Duration::from_secs(5);
/// … and that of all sources together this often.
const PROGRESS_SPACING: Duration = Duration::from_millis(250);
/// That a new source is only being read is told after this long: most are read by then, and have more to tell.
const BEGINNING: Duration = Duration::from_secs(1);
/// Why a source is not synced, or not ready, while nothing is wrong with it. From one to the next is progress.
const UNDER_WAY: [&str; 4] = ["NotFetchedYet", "NoHead", "NotLookedYet", "Applying"];

/// What a change of a status is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// No write.
    Nothing,
    /// A write when it is time for one.
    Soon,
    /// A write.
    Now,
}

/// When which source's status was written, and is to be.
#[derive(Debug, Default)]
pub(super) struct Pace {
    written: HashMap<String, Instant>,
    /// Sources of which nothing was written yet, since when there is something to tell.
    new: HashMap<String, Instant>,
    /// Sources with something to tell that can wait.
    waiting: HashMap<String, Instant>,
}

impl Pace {
    /// Whether a source's status may be written now, which counts as done; else it is due later, if it is worth it.
    /// `in_progress` is how many sources have progress to tell, those that are being read for the first time included.
    pub(super) fn permits(&mut self, name: &str, worth: Worth, in_progress: usize, now: Instant) -> bool {
        self.waiting.remove(name);
        if worth == Worth::Nothing {
            return false;
        }
        let share = PROGRESS_SPACING.saturating_mul(u32::try_from(in_progress).unwrap_or(u32::MAX));
        let next = match self.written.get(name) {
            Some(at) => *at + PROGRESS_EVERY.max(share),
            None => *self.new.entry(name.to_owned()).or_insert(now) + BEGINNING.max(share).min(PROGRESS_EVERY),
        };
        if worth == Worth::Soon && next > now {
            self.waiting.insert(name.to_owned(), next);
            return false;
        }
        self.new.remove(name);
        self.written.insert(name.to_owned(), now);
        true
    }

    /// Whether a source has waited long enough.
    pub(super) fn is_due(&self, name: &str, now: Instant) -> bool {
        self.waiting.get(name).is_some_and(|at| *at <= now)
    }

    /// The sources that wait, and until when.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (&String, Instant)> {
        self.waiting.iter().map(|(name, due)| (name, *due))
    }

    /// Forgets a source.
    pub(super) fn forget(&mut self, name: &str) {
        self.written.remove(name);
        self.new.remove(name);
        self.waiting.remove(name);
    }
}

/// What a change of a status is worth.
pub(super) fn worth(before: Option<&PolicySourceStatus>, after: &PolicySourceStatus) -> Worth {
    let Some(before) = before else {
        return if is_beginning(after) { Worth::Soon } else { Worth::Now };
    };
    let mut same = after.clone();
    same.fetched_at.clone_from(&before.fetched_at);
    if same == *before {
        return worth_of_time(before, after);
    }
    same.drift = before.drift;
    same.progress.clone_from(&before.progress);
    for (now, then) in same.conditions.iter_mut().zip(&before.conditions) {
        if says_the_same(now, then) {
            let generation = now.observed_generation;
            then.clone_into(now);
            now.observed_generation = generation;
        }
    }
    if same == *before { Worth::Soon } else { Worth::Now }
}

/// Whether a status says no more than that the repository is being read.
fn is_beginning(status: &PolicySourceStatus) -> bool {
    let is_not_fetched = |condition: &Condition| condition.type_ == "Fetched" && condition.reason == "NotFetchedYet";
    status.head.is_none() && status.conditions.iter().any(is_not_fetched)
}

/// The numbers in a message change with every object, what it says does not; and as little says how a source that is under
/// way comes from one step to the next.
fn says_the_same(now: &Condition, then: &Condition) -> bool {
    let is_under_way = |condition: &Condition| UNDER_WAY.contains(&condition.reason.as_str());
    let is_about_the_cluster = matches!(now.type_.as_str(), "Synced" | "Ready") && now.type_ == then.type_;
    let has_other_numbers = (&now.reason, &now.status) == (&then.reason, &then.status);
    is_about_the_cluster && (has_other_numbers || is_under_way(now) && is_under_way(then))
}

fn worth_of_time(before: &PolicySourceStatus, after: &PolicySourceStatus) -> Worth {
    match (&before.fetched_at, &after.fetched_at) {
        (Some(before), Some(after)) => {
            let age = Duration::try_from(after.0.duration_since(before.0)).unwrap_or_default();
            if age >= REWRITE_AFTER {
                Worth::Now
            } else {
                Worth::Nothing
            }
        }
        (None, Some(_)) => Worth::Now,
        _ => Worth::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn status(drift: i64, reason: &str) -> PolicySourceStatus {
        let condition = Condition {
            type_: "Synced".to_owned(),
            status: "False".to_owned(),
            reason: reason.to_owned(),
            message: format!("{drift} objects"),
            observed_generation: None,
            last_transition_time: Time(jiff::Timestamp::UNIX_EPOCH),
        };
        PolicySourceStatus {
            drift,
            conditions: vec![condition],
            ..PolicySourceStatus::default()
        }
    }

    fn next_due(pace: &Pace) -> Option<Instant> {
        pace.waiting().map(|(_, due)| due).min()
    }

    #[test]
    fn progress_can_wait_and_a_commit_or_another_reason_cannot() {
        let before = status(3, "Applying");
        assert_eq!(worth(Some(&before), &before), Worth::Nothing);
        assert_eq!(worth(Some(&before), &status(2, "Applying")), Worth::Soon);
        assert_eq!(worth(Some(&before), &status(0, "Synced")), Worth::Now);
        let announced = PolicySourceStatus {
            announced: "c0ffee".to_owned(),
            ..status(2, "Applying")
        };
        assert_eq!(worth(Some(&before), &announced), Worth::Now);
        assert_eq!(worth(None, &before), Worth::Now);
        assert_eq!(worth(Some(&status(3, "WriteFailed")), &before), Worth::Now);
        let (in_sync, mut differs) = (status(0, "GateOnly"), status(3, "GateOnly"));
        for condition in &mut differs.conditions {
            "Unknown".clone_into(&mut condition.status);
        }
        assert_eq!(worth(Some(&in_sync), &differs), Worth::Now);
    }

    #[test]
    fn the_steps_of_a_first_sync_can_wait_and_its_end_cannot() {
        let steps = [status(0, "NoHead"), status(0, "NotLookedYet"), status(3, "Applying")];
        for (before, after) in steps.iter().zip(steps.iter().skip(1)) {
            assert_eq!(worth(Some(before), after), Worth::Soon);
        }
        for before in &steps {
            assert_eq!(worth(Some(before), &status(0, "Synced")), Worth::Now);
            let mut of_another_spec = before.clone();
            for condition in &mut of_another_spec.conditions {
                condition.observed_generation = Some(2);
            }
            assert_eq!(worth(Some(before), &of_another_spec), Worth::Now);
        }
    }

    #[test]
    fn that_a_source_is_being_read_is_told_when_that_takes_long() {
        let fetched = |reason: &str| {
            let mut said = status(0, reason);
            for condition in &mut said.conditions {
                "Fetched".clone_into(&mut condition.type_);
            }
            said
        };
        assert_eq!(worth(None, &fetched("NotFetchedYet")), Worth::Soon);
        assert_eq!(worth(None, &fetched("InvalidSpec")), Worth::Now);
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert!(!pace.permits("a", Worth::Soon, 1, now));
        assert_eq!(next_due(&pace), Some(now + BEGINNING));
        assert!(pace.permits("a", Worth::Soon, 1, now + BEGINNING));
        assert!(pace.permits("b", Worth::Now, 100, now));
        assert!(!pace.permits("c", Worth::Soon, 1000, now));
        assert!(
            pace.permits("c", Worth::Soon, 1000, now + PROGRESS_EVERY),
            "however many are read"
        );
    }

    #[test]
    fn progress_is_told_every_five_seconds_and_more_seldom_the_more_sources_have_some() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert!(pace.permits("a", Worth::Now, 1, now));
        assert!(!pace.permits("a", Worth::Soon, 1, now));
        assert_eq!(next_due(&pace), Some(now + PROGRESS_EVERY));
        assert!(pace.is_due("a", now + PROGRESS_EVERY));
        assert!(pace.permits("a", Worth::Soon, 1, now + PROGRESS_EVERY));
        assert_eq!(next_due(&pace), None);
        let later = now + PROGRESS_EVERY * 2;
        assert!(!pace.permits("a", Worth::Soon, 100, later));
        assert!(
            next_due(&pace) > Some(later + PROGRESS_EVERY),
            "a hundred sources have some"
        );
        assert!(pace.permits("a", Worth::Now, 100, later));
    }
}
