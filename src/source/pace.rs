//! When the next fetch starts: polling, requests that wait, news, and backing off.

use std::time::{Duration, Instant};

use super::flight::{Landing, QUIET};

/// Two fetches of one source start at least this far apart, but for those that news gives reason to.
const SPACING: Duration = Duration::from_secs(1);
/// So many fetches may start at once because of news: announcements, pushes, changed specs.
const BURST: u32 = 4;
/// After those, news is worth one fetch in this time.
const NEWS_EVERY: Duration = Duration::from_secs(1);
/// The longest pause between failing fetches, unless the interval is longer.
const MAX_BACKOFF: Duration = Duration::from_mins(5);

/// What the task knows of its own fetches.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    last: Option<Landing>,
    failures: u32,
    next_poll: Option<Instant>,
    /// Since when there is news of the repository that no fetch has followed up.
    urged: Option<Instant>,
    allowance: Allowance,
}

/// How many fetches news may still start: a bucket that runs full again with time.
#[derive(Clone, Debug, Default)]
struct Allowance {
    /// When the bucket is full.
    full: Option<Instant>,
}

impl Allowance {
    /// The earliest start of the next fetch.
    fn ready(&self) -> Option<Instant> {
        self.full?.checked_sub(NEWS_EVERY * (BURST - 1))
    }

    fn spend(&mut self, now: Instant) {
        self.full = Some(self.full.map_or(now, |full| full.max(now)) + NEWS_EVERY);
    }
}

impl Pace {
    /// Takes note of a fetch that ended. `stale_after` bounds how late a repository that is back may be noticed.
    pub(super) fn landed(&mut self, landing: &Landing, interval: Duration, stale_after: Duration) {
        self.urged = self.urged.filter(|urged| *urged > landing.started);
        let pause = if landing.outcome.is_ok() {
            self.failures = 0;
            interval
        } else {
            self.failures = self.failures.saturating_add(1);
            backoff(self.failures, interval, stale_after)
        };
        self.next_poll = Some(landing.started + jittered(pause));
        self.last = Some(landing.clone());
    }

    /// Asks for a fetch that starts now or later, as soon as it may: the spec, an announcement or a push gave reason to.
    /// What is under way started too early to count.
    pub(super) fn urge(&mut self, at: Instant) {
        self.urged = self.urged.max(Some(at));
    }

    /// Takes note that a fetch starts.
    pub(super) fn takes_off(&mut self, now: Instant) {
        if self.urged.is_some() {
            self.allowance.spend(now);
        }
    }

    /// When the next fetch starts. `called` is the latest instant for which somebody waits.
    pub(super) fn due(&self, called: Option<Instant>) -> Instant {
        let now = Instant::now();
        let (Some(last), Some(next_poll)) = (&self.last, self.next_poll) else {
            return now;
        };
        let earliest = last.started + SPACING;
        let waited_for = called.is_some_and(|since| match last.outcome {
            Ok(()) => since > last.started,
            // Whoever waited through the failure has been told; those who come later are told until the quiet is over.
            Err(_) => since > last.ended && last.ended.elapsed() >= QUIET,
        });
        let due = if waited_for { earliest } else { next_poll.max(earliest) };
        match self.urged {
            Some(_) => due.min(self.allowance.ready().unwrap_or(now)),
            None => due,
        }
    }
}

/// Two seconds, then twice as much each time: a hiccup is over soon, and a dead server is left in peace.
fn backoff(failures: u32, interval: Duration, stale_after: Duration) -> Duration {
    let cap = MAX_BACKOFF.min(stale_after / 2).max(interval);
    let pause = Duration::from_secs(1 << failures.min(16));
    pause.min(cap)
}

/// Give or take a tenth, so that replicas and sources do not ask in step.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.9 + 0.2 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);
    const STALE_AFTER: Duration = Duration::from_mins(10);

    fn landing(started: Instant, outcome: Result<(), String>) -> Landing {
        Landing {
            started,
            ended: started,
            outcome,
        }
    }

    fn paced(landing: &Landing) -> Pace {
        let mut pace = Pace::default();
        pace.landed(landing, INTERVAL, STALE_AFTER);
        pace
    }

    #[test]
    fn the_first_fetch_is_due_at_once() {
        assert!(Pace::default().due(None) <= Instant::now());
    }

    #[test]
    fn a_call_is_served_within_the_spacing_and_nobody_elses_fetch_counts_for_it() {
        let started = Instant::now();
        let pace = paced(&landing(started, Ok(())));
        assert!(pace.due(None) >= started + INTERVAL.mul_f64(0.9));
        assert_eq!(pace.due(Some(started + Duration::from_millis(1))), started + SPACING);
        // The fetch that started then serves it already.
        assert!(pace.due(Some(started)) > started + SPACING);
    }

    #[test]
    fn after_a_failure_calls_start_no_fetch_for_a_while() {
        let started = Instant::now();
        let mut pace = paced(&landing(started, Err("down".to_owned())));
        pace.landed(&landing(started, Err("down".to_owned())), INTERVAL, STALE_AFTER);
        assert!(pace.due(Some(started + Duration::from_millis(1))) > started + Duration::from_secs(3));
    }

    #[test]
    fn pauses_grow_from_seconds_to_minutes_and_never_past_half_of_stale_after() {
        let pauses: Vec<u64> = (1..12)
            .map(|failures| backoff(failures, INTERVAL, STALE_AFTER).as_secs())
            .collect();
        assert!(pauses.starts_with(&[2, 4, 8, 16]));
        assert_eq!(pauses.last(), Some(&300));
        assert_eq!(backoff(20, INTERVAL, Duration::from_mins(2)), Duration::from_mins(1));
        assert_eq!(
            backoff(20, Duration::from_hours(1), STALE_AFTER),
            Duration::from_hours(1)
        );
    }

    #[test]
    fn news_is_followed_up_at_once_even_after_a_recent_look_and_a_flood_of_it_costs_one_fetch_a_second() {
        let start = Instant::now();
        let mut pace = paced(&landing(start, Ok(())));
        let mut now = start;
        let mut fetches = 0;
        // A minute in which there is news all the time.
        while now < start + Duration::from_mins(1) {
            now += Duration::from_millis(10);
            pace.urge(now);
            if pace.due(None) <= now {
                pace.takes_off(now);
                pace.landed(&landing(now, Ok(())), INTERVAL, STALE_AFTER);
                fetches += 1;
                assert!(
                    fetches > BURST || now <= start + Duration::from_millis(100),
                    "fetch {fetches} waits although there was no flood yet"
                );
            }
        }
        assert!((60..=60 + BURST).contains(&fetches), "{fetches} fetches in a minute");
    }

    #[test]
    fn a_fetch_that_started_before_the_news_does_not_answer_it() {
        let started = Instant::now();
        let mut pace = paced(&landing(started, Ok(())));
        pace.urge(started + Duration::from_millis(5));
        pace.landed(
            &landing(started + Duration::from_millis(1), Ok(())),
            INTERVAL,
            STALE_AFTER,
        );
        assert!(pace.due(None) <= Instant::now());
        pace.landed(
            &landing(started + Duration::from_millis(5), Ok(())),
            INTERVAL,
            STALE_AFTER,
        );
        assert!(pace.due(None) > started + INTERVAL / 2);
    }
}
