//! Which records share an Event, and when the next one may be written. Pure: time is handed in.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::policy::Key;

/// Records of one group within this time share an Event.
const WINDOW: Duration = Duration::from_mins(10);
/// An Event's count is written at most this often.
const REWRITE_EVERY: Duration = Duration::from_secs(5);
/// Groups that are remembered at once.
const MOST_GROUPS: usize = 2048;
/// Events that may be written at once, and how many more each second.
const BURST: f64 = 50.0;
const PER_SECOND: f64 = 2.0;

/// Who did what to which object, and why it went as it did.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    /// The user; empty for the loop.
    pub user: String,
    /// The object.
    pub key: Option<Key>,
    /// The namespace that was to go, which has no key.
    pub namespace: Option<String>,
    /// The object, where it is one of Headgate's own.
    pub own: Option<String>,
    /// The reason.
    pub reason: &'static str,
}

/// What to do about a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write a new Event.
    Create,
    /// Write the count into the Event of this name.
    Count {
        /// The Event's name.
        name: String,
        /// How many records it stands for.
        count: i32,
    },
    /// Nothing yet: the count is written later.
    Later,
    /// Nothing at all: too many at once.
    Drop,
}

struct Known {
    name: String,
    count: i32,
    last: Instant,
    written: Instant,
    behind: bool,
}

/// Groups records and limits the rate of Events.
pub struct Groups {
    known: HashMap<Group, Known>,
    tokens: f64,
    filled: Instant,
}

impl Groups {
    /// Starts with a full allowance.
    pub fn new(now: Instant) -> Self {
        Self {
            known: HashMap::new(),
            tokens: BURST,
            filled: now,
        }
    }

    /// What to do about a record of this group.
    pub fn take(&mut self, group: &Group, now: Instant) -> Step {
        let may_write = self.refill(now);
        if let Some(known) = self
            .known
            .get_mut(group)
            .filter(|known| now.duration_since(known.last) < WINDOW)
        {
            known.count = known.count.saturating_add(1);
            known.last = now;
            known.behind = true;
            if !may_write || now.duration_since(known.written) < REWRITE_EVERY {
                return Step::Later;
            }
            known.behind = false;
            known.written = now;
            let step = Step::Count {
                name: known.name.clone(),
                count: known.count,
            };
            self.tokens -= 1.0;
            return step;
        }
        if !may_write {
            return Step::Drop;
        }
        self.tokens -= 1.0;
        Step::Create
    }

    /// Remembers the Event that stands for a group.
    pub fn created(&mut self, group: Group, name: String, now: Instant) {
        if self.known.len() >= MOST_GROUPS {
            self.known.retain(|_, known| now.duration_since(known.last) < WINDOW);
        }
        if self.known.len() < MOST_GROUPS {
            self.known.insert(
                group,
                Known {
                    name,
                    count: 1,
                    last: now,
                    written: now,
                    behind: false,
                },
            );
        }
    }

    /// The Events whose count is behind and may be written now.
    pub fn behind(&mut self, now: Instant) -> Vec<(String, i32)> {
        self.refill(now);
        self.known
            .retain(|_, known| known.behind || now.duration_since(known.last) < WINDOW);
        let mut due = Vec::new();
        for known in self.known.values_mut().filter(|known| known.behind) {
            if self.tokens < 1.0 || now.duration_since(known.written) < REWRITE_EVERY {
                continue;
            }
            self.tokens -= 1.0;
            known.behind = false;
            known.written = now;
            due.push((known.name.clone(), known.count));
        }
        due
    }

    fn refill(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + passed * PER_SECOND).min(BURST);
        self.filled = now;
        self.tokens >= 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(user: usize) -> Group {
        Group {
            user: format!("user-{user}"),
            namespace: None,
            key: None,
            own: None,
            reason: "Differs",
        }
    }

    #[test]
    fn the_same_refusal_again_is_counted_not_written_again() {
        let start = Instant::now();
        let mut groups = Groups::new(start);
        assert_eq!(groups.take(&group(1), start), Step::Create);
        groups.created(group(1), "e".to_owned(), start);
        assert_eq!(groups.take(&group(1), start), Step::Later);
        let later = start + REWRITE_EVERY;
        assert_eq!(groups.behind(later), [("e".to_owned(), 2)]);
        assert_eq!(
            groups.take(&group(1), later + REWRITE_EVERY),
            Step::Count {
                name: "e".to_owned(),
                count: 3
            }
        );
        assert_eq!(groups.take(&group(1), later + WINDOW + WINDOW), Step::Create);
    }

    #[test]
    fn a_flood_is_dropped_and_the_allowance_comes_back() {
        let start = Instant::now();
        let mut groups = Groups::new(start);
        let steps: Vec<Step> = (0..100).map(|user| groups.take(&group(user), start)).collect();
        assert_eq!(steps.iter().filter(|step| **step == Step::Create).count(), 50);
        assert_eq!(steps.last(), Some(&Step::Drop));
        assert_eq!(groups.take(&group(1000), start + Duration::from_secs(1)), Step::Create);
    }
}
