//! When a status is worth a write. What a commit or a failure changes is told at once; how far the loop has come, now and
//! then: such a write costs the API server as much as that of an object.

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
    /// Sources with something to tell that can wait.
    waiting: HashMap<String, Instant>,
}

impl Pace {
    /// Whether a source's status may be written now, which counts as done; else it is due later, if it is worth it.
    /// `in_progress` is how many sources have progress to tell.
    pub(super) fn permits(&mut self, name: &str, worth: Worth, in_progress: usize, now: Instant) -> bool {
        self.waiting.remove(name);
        let share = PROGRESS_SPACING.saturating_mul(u32::try_from(in_progress).unwrap_or(u32::MAX));
        let next = self.written.get(name).map(|at| *at + PROGRESS_EVERY.max(share));
        match (worth, next) {
            (Worth::Nothing, _) => false,
            (Worth::Soon, Some(next)) if next > now => {
                self.waiting.insert(name.to_owned(), next);
                false
            }
            _ => {
                self.written.insert(name.to_owned(), now);
                true
            }
        }
    }

    /// Whether a source has waited long enough.
    pub(super) fn is_due(&self, name: &str, now: Instant) -> bool {
        self.waiting.get(name).is_some_and(|at| *at <= now)
    }

    /// When the next source has.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.values().min().copied()
    }

    /// Forgets a source.
    pub(super) fn forget(&mut self, name: &str) {
        self.written.remove(name);
        self.waiting.remove(name);
    }
}

/// What a change of a status is worth.
pub(super) fn worth(before: Option<&PolicySourceStatus>, after: &PolicySourceStatus) -> Worth {
    let Some(before) = before else {
        return Worth::Now;
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
            now.message.clone_from(&then.message);
        }
    }
    if same == *before { Worth::Soon } else { Worth::Now }
}

/// The numbers in a message change with every object, what it says does not.
fn says_the_same(now: &Condition, then: &Condition) -> bool {
    matches!(now.type_.as_str(), "Synced" | "Ready") && (&now.type_, &now.reason) == (&then.type_, &then.reason)
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
    }

    #[test]
    fn progress_is_told_every_five_seconds_and_more_seldom_the_more_sources_have_some() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert!(pace.permits("a", Worth::Soon, 1, now));
        assert!(!pace.permits("a", Worth::Soon, 1, now));
        assert_eq!(pace.next_due(), Some(now + PROGRESS_EVERY));
        assert!(pace.is_due("a", now + PROGRESS_EVERY));
        assert!(pace.permits("a", Worth::Soon, 1, now + PROGRESS_EVERY));
        assert_eq!(pace.next_due(), None);
        let later = now + PROGRESS_EVERY * 2;
        assert!(!pace.permits("a", Worth::Soon, 100, later));
        assert!(
            pace.next_due() > Some(later + PROGRESS_EVERY),
            "a hundred sources have some"
        );
        assert!(pace.permits("a", Worth::Now, 100, later));
    }
}
