//! While a grant names an object the loop leaves it alone; when the last of them ends it is brought to Git at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::Engine;
use crate::policy::Key;
use crate::sync::plan::Hold;

impl Engine {
    /// Takes the grants as they are now.
    pub(super) fn take_grants(&mut self) {
        let before = std::mem::replace(&mut self.granted, Arc::clone(&self.parts.grants.borrow_and_update()));
        let now = Instant::now();
        if before.is_listed != self.granted.is_listed {
            self.mark_all(None);
        }
        self.restore_ungranted(now);
        // What a new grant names may be about to be written, or may be failing: it is held now.
        let clock = Timestamp::now();
        let named: Vec<Key> = self
            .findings
            .iter()
            .filter(|(key, finding)| finding.hold.is_none() && self.granted.grants.naming(key, clock).is_some())
            .map(|(key, _)| key.clone())
            .collect();
        for key in named {
            self.mark(key, None);
        }
    }

    /// Marks what was held back by grants of which none is in force any more. A fetch comes first, as for any edit: who
    /// broke the glass may have put the change into Git meanwhile.
    pub(super) fn restore_ungranted(&mut self, now: Instant) {
        let clock = Timestamp::now();
        let released: Vec<Key> = self
            .findings
            .iter()
            .filter(|(_, finding)| finding.hold == Some(Hold::BreakGlass))
            .filter(|(key, _)| self.granted.grants.naming(key, clock).is_none())
            .map(|(key, _)| key.clone())
            .collect();
        for key in released {
            self.mark(key, Some(now));
        }
    }

    /// When the next grant ends. Rounded up, so that it has ended then.
    pub(super) fn next_end_of_grant(&self, now: Instant) -> Option<Instant> {
        let clock = Timestamp::now();
        let left = self.granted.grants.next_end(clock)?.duration_since(clock);
        let left = Duration::try_from(left).unwrap_or_default();
        Some(now + left + Duration::from_millis(1))
    }
}
