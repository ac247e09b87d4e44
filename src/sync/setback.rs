//! Keys whose last write failed, and when each is tried again. One key's setback holds up no other.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::request::Failure;
use crate::policy::Key;

/// A key whose last write failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setback {
    /// What kind of failure.
    pub failure: Failure,
    /// Why, for people.
    pub message: String,
    /// How often in a row.
    pub attempts: u32,
    /// When it is tried again.
    pub until: Instant,
}

impl Setback {
    /// Whether it may well pass by itself: a replica of the gate that lags behind, an index that does. Such a failure
    /// is not spoken of before it has happened some times in a row.
    pub fn may_pass(&self) -> bool {
        self.attempts < patience_with(self.failure)
    }

    /// Whether the gate or the API server could not take it just now, and it is to be tried again soon.
    pub fn comes_soon(&self) -> bool {
        self.may_pass() && matches!(self.failure, Failure::Denied | Failure::Unavailable)
    }
}

fn patience_with(failure: Failure) -> u32 {
    match failure {
        Failure::Denied | Failure::Conflict | Failure::NotFound => 4,
        Failure::Unavailable => 2,
        Failure::NotPermitted | Failure::Invalid => 1,
    }
}

/// All setbacks, by key and by time.
#[derive(Debug, Default)]
pub struct Setbacks {
    by_key: HashMap<Key, Setback>,
    by_time: BTreeSet<(Instant, Key)>,
}

/// The first pause and the longest one. A replica of the gate that lags by a fetch is asked again soon; an object that
/// the API server refuses as such is not going to change by itself.
fn pauses(failure: Failure) -> (Duration, Duration) {
    let (first, longest) = match failure {
        Failure::Denied => (100, 10_000),
        Failure::Conflict => (50, 5_000),
        Failure::NotFound => (500, 30_000),
        Failure::Unavailable => (250, 30_000),
        Failure::NotPermitted => (5_000, 120_000),
        Failure::Invalid => (5_000, 300_000),
    };
    (Duration::from_millis(first), Duration::from_millis(longest))
}

impl Setbacks {
    /// Notes a failure. Answers whether to speak of it: once, when it is not likely to pass by itself any more.
    pub fn note(&mut self, key: &Key, failure: Failure, message: String, now: Instant) -> bool {
        let before = self.clear(key).filter(|before| before.failure == failure);
        let attempts = before.as_ref().map_or(1, |before| before.attempts.saturating_add(1));
        let (first, longest) = pauses(failure);
        let pause = first.saturating_mul(1 << (attempts - 1).min(16)).min(longest);
        // Keys that failed together do not come back together.
        let until = now + pause.mul_f64(1.0 + fastrand::f64() / 4.0);
        self.by_time.insert((until, key.clone()));
        let setback = Setback {
            failure,
            message,
            attempts,
            until,
        };
        self.by_key.insert(key.clone(), setback);
        attempts == patience_with(failure)
    }

    /// Forgets a key's setback.
    pub fn clear(&mut self, key: &Key) -> Option<Setback> {
        let setback = self.by_key.remove(key)?;
        self.by_time.remove(&(setback.until, key.clone()));
        Some(setback)
    }

    /// The setback of a key.
    pub fn get(&self, key: &Key) -> Option<&Setback> {
        self.by_key.get(key)
    }

    /// Whether a key has to wait.
    pub fn holds(&self, key: &Key, now: Instant) -> bool {
        self.by_key.get(key).is_some_and(|setback| setback.until > now)
    }

    /// When the next key is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.by_time.first().map(|(until, _)| *until)
    }

    /// The keys that are due; their attempts stay counted.
    pub fn due(&mut self, now: Instant) -> Vec<Key> {
        let mut due = Vec::new();
        while let Some((until, _)) = self.by_time.first()
            && *until <= now
        {
            due.extend(self.by_time.pop_first().map(|(_, key)| key));
        }
        due
    }

    /// Every key with a setback.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.by_key.keys()
    }

    /// Those of a kind of failure, with the reason.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Setback)> {
        self.by_key.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Result<Key, crate::policy::key::KeyError> {
        format!("tier.projectcalico.org/{name}").parse()
    }

    #[test]
    fn a_failure_is_spoken_of_once_and_the_pauses_grow() -> Result<(), crate::policy::key::KeyError> {
        let (key, now) = (key("a")?, Instant::now());
        let mut setbacks = Setbacks::default();
        let mut pauses = Vec::new();
        for attempt in 1..=5 {
            let spoken_of = setbacks.note(&key, Failure::Denied, String::new(), now);
            assert_eq!(spoken_of, attempt == 4, "a replica of the gate may lag behind");
            assert_eq!(setbacks.get(&key).is_some_and(Setback::may_pass), attempt < 4);
            pauses.extend(setbacks.get(&key).map(|setback| setback.until - now));
        }
        assert!(pauses.is_sorted());
        assert!(pauses.first().is_some_and(|first| *first < Duration::from_millis(130)));
        assert!(setbacks.note(&key, Failure::Invalid, String::new(), now));
        Ok(())
    }

    #[test]
    fn a_key_that_waits_holds_up_no_other() -> Result<(), crate::policy::key::KeyError> {
        let (broken, denied, now) = (key("broken")?, key("denied")?, Instant::now());
        let mut setbacks = Setbacks::default();
        setbacks.note(&broken, Failure::Invalid, String::new(), now);
        setbacks.note(&denied, Failure::Denied, String::new(), now);
        let soon = now + Duration::from_secs(1);
        assert_eq!(setbacks.due(soon), vec![denied.clone()]);
        assert!(setbacks.holds(&broken, soon));
        assert!(!setbacks.holds(&denied, soon));
        assert!(setbacks.next_due().is_some_and(|due| due > soon));
        setbacks.clear(&broken);
        assert_eq!(setbacks.next_due(), None);
        Ok(())
    }
}
