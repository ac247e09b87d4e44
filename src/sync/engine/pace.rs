//! Keeps a fight with another writer from becoming a storm: a key that had to be healed over and over rests between
//! two heals. Until then every heal is as quick as the first.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::policy::Key;

/// Heals of one key in one window that are made without a rest.
const FREE_HEALS: u32 = 100;
/// How long heals are counted together.
const WINDOW: Duration = Duration::from_mins(1);
/// The longest rest.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// Heals of the last minute, and the keys that rest.
#[derive(Debug, Default)]
pub(super) struct Pace {
    heals: HashMap<Key, (u32, Instant)>,
    resting: HashMap<Key, Instant>,
}

impl Pace {
    /// Counts a heal. Answers how long the key rests now, if it does.
    pub(super) fn count(&mut self, key: &Key, now: Instant) -> Option<Duration> {
        let (heals, since) = self.heals.entry(key.clone()).or_insert((0, now));
        if now.duration_since(*since) > WINDOW {
            (*heals, *since) = (0, now);
        }
        *heals += 1;
        let over = heals.checked_sub(FREE_HEALS).filter(|over| *over > 0)?;
        let rest = Duration::from_secs(u64::from(over)).min(LONGEST_REST);
        self.resting.insert(key.clone(), now + rest);
        Some(rest)
    }

    /// Whether a key rests.
    pub(super) fn rests(&self, key: &Key) -> bool {
        self.resting.contains_key(key)
    }

    /// When the next rest ends.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.resting.values().min().copied()
    }

    /// The keys whose rest is over. Forgets old heals, too.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Key> {
        self.heals.retain(|_, (_, since)| now.duration_since(*since) <= WINDOW);
        let due: Vec<Key> = self
            .resting
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(key, _)| key.clone())
            .collect();
        for key in &due {
            self.resting.remove(key);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_key_that_is_healed_over_and_over_rests() -> Result<(), crate::policy::key::KeyError> {
        let key: Key = "tier.projectcalico.org/a".parse()?;
        let now = Instant::now();
        let mut pace = Pace::default();
        for _ in 0..FREE_HEALS {
            assert_eq!(pace.count(&key, now), None);
        }
        assert_eq!(pace.count(&key, now), Some(Duration::from_secs(1)));
        assert!(pace.rests(&key));
        assert_eq!(pace.due(now + Duration::from_secs(2)), vec![key.clone()]);
        assert_eq!(pace.count(&key, now + WINDOW * 2), None, "a new window");
        Ok(())
    }
}
