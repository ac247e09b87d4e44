//! When the next fetch starts: polling, requests that wait, news, and backing off.

use std::time::{Duration, Instant};

use super::flight::{Landing, QUIET};

/// Over time there is one fetch of a source in this span, and one more for news.
const SPACING: Duration = Duration::from_secs(1);
/// So many may follow each other at once, where there was none for a while: who needs one right after a poll has it.
const BURST: u32 = 3;
/// The longest pause between failing fetches, unless the interval is longer.
const MAX_BACKOFF: Duration = Duration::from_mins(5);

/// What the task knows of its own fetches.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    last: Option<Landing>,
    /// What requests and polls may still ask for.
    ordinary: Bucket,
    /// What news may still ask for: announcements, pushes, changed specs. Of its own, so that no number of refused requests
    /// holds up a commit.
    news: Bucket,
    failures: u32,
    next_poll: Option<Instant>,
    /// Since when there is news of the repository that no fetch has followed up, and when there was some last.
    urged: Option<(Instant, Instant)>,
}

/// A number of fetches that may follow each other, filled again by one in the spacing.
#[derive(Clone, Debug, Default)]
struct Bucket {
    /// When all that was fetched so far would have been fetched one by one, with the spacing between them.
    spent_until: Option<Instant>,
}

impl Bucket {
    fn spend(&mut self, at: Instant) {
        self.spent_until = Some(self.spent_until.map_or(at, |until| until.max(at)) + SPACING);
    }

    /// When the next fetch may start, after one at this instant.
    fn next(&self, after: Instant) -> Instant {
        let next = self
            .spent_until
            .and_then(|until| until.checked_sub(SPACING * (BURST - 1)));
        next.map_or(after, |next| next.max(after))
    }
}

impl Pace {
    /// Takes note of a fetch that started and ended. `stale_after` bounds how late a repository that is back may be noticed.
    pub(super) fn landed(
        &mut self,
        started: Instant,
        outcome: Result<(), String>,
        interval: Duration,
        stale_after: Duration,
    ) -> Landing {
        match self.urged {
            // What came while it ran is followed up by the next one.
            Some((first, last)) if first <= started => {
                self.urged = (last > started).then_some((last, last));
                self.news.spend(started);
            }
            _ => self.ordinary.spend(started),
        }
        let landing = Landing {
            started,
            ended: Instant::now(),
            next: self.ordinary.next(started),
            outcome,
        };
        let pause = if landing.outcome.is_ok() {
            self.failures = 0;
            interval
        } else {
            self.failures = self.failures.saturating_add(1);
            backoff(self.failures, interval, stale_after)
        };
        self.next_poll = Some(landing.started + jittered(pause));
        self.last = Some(landing.clone());
        landing
    }

    /// Asks for a fetch that starts at this instant or later, as soon as there may be one: the spec, an announcement or a push
    /// gave reason to. What is under way started too early to count.
    pub(super) fn urge(&mut self, at: Instant) {
        let (first, last) = self.urged.unwrap_or((at, at));
        self.urged = Some((first, last.max(at)));
    }

    /// When the next fetch starts. `called` is the latest instant for which somebody waits.
    pub(super) fn due(&self, called: Option<Instant>) -> Instant {
        let now = Instant::now();
        let (Some(last), Some(next_poll)) = (&self.last, self.next_poll) else {
            return now;
        };
        let waited_for = called.is_some_and(|since| match last.outcome {
            Ok(()) => since > last.started,
            // Whoever waited through the failure has been told; those who come later are told until the quiet is over.
            Err(_) => since > last.ended && last.ended.elapsed() >= QUIET,
        });
        let due = if waited_for {
            last.next
        } else {
            next_poll.max(last.next)
        };
        match self.urged {
            Some(_) => due.min(self.news.next(last.started)),
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

    /// After so many fetches that started at once.
    fn paced(started: Instant, fetches: u32, outcome: &Result<(), String>) -> Pace {
        let mut pace = Pace::default();
        for _ in 0..fetches {
            pace.landed(started, outcome.clone(), INTERVAL, STALE_AFTER);
        }
        pace
    }

    #[test]
    fn the_first_fetch_is_due_at_once() {
        assert!(Pace::default().due(None) <= Instant::now());
    }

    #[test]
    fn a_call_is_served_at_once_and_nobody_elses_fetch_counts_for_it() {
        let started = Instant::now();
        let pace = paced(started, 1, &Ok(()));
        assert!(pace.due(None) >= started + INTERVAL.mul_f64(0.9));
        assert_eq!(pace.due(Some(started + Duration::from_millis(1))), started);
        // The fetch that started then serves it already.
        assert!(pace.due(Some(started)) > started + SPACING);
    }

    #[test]
    fn three_fetches_may_follow_each_other_and_then_there_is_one_a_second() {
        let started = Instant::now();
        let call = Some(started + Duration::from_millis(1));
        assert_eq!(paced(started, BURST - 1, &Ok(())).due(call), started);
        let mut pace = paced(started, BURST, &Ok(()));
        assert_eq!(pace.due(call), started + SPACING);
        for second in 1..=10 {
            let start = started + SPACING * second;
            let landing = pace.landed(start, Ok(()), INTERVAL, STALE_AFTER);
            assert_eq!(landing.next, start + SPACING);
        }
        // A pause earns as many as may follow each other, and no more.
        let later = started + INTERVAL;
        assert_eq!(pace.landed(later, Ok(()), INTERVAL, STALE_AFTER).next, later);
        pace.landed(later, Ok(()), INTERVAL, STALE_AFTER);
        assert_eq!(pace.landed(later, Ok(()), INTERVAL, STALE_AFTER).next, later + SPACING);
    }

    #[test]
    fn after_a_failure_calls_start_no_fetch_for_a_while() {
        let started = Instant::now();
        let pace = paced(started, 2, &Err("down".to_owned()));
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
    fn news_is_followed_up_at_once_however_many_requests_were_refused_and_a_flood_of_it_costs_one_fetch_a_second() {
        let start = Instant::now();
        // Nothing is left for requests.
        let mut pace = paced(start, 10 * BURST, &Ok(()));
        let mut now = start;
        let mut fetches = 0;
        // A minute in which there is news all the time.
        while now < start + Duration::from_mins(1) {
            now += Duration::from_millis(10);
            pace.urge(now);
            if pace.due(None) <= now {
                pace.landed(now, Ok(()), INTERVAL, STALE_AFTER);
                fetches += 1;
                assert!(
                    fetches > BURST || now <= start + Duration::from_millis(100),
                    "fetch {fetches} waits although there was no flood yet"
                );
            }
        }
        assert!((59..=60 + BURST).contains(&fetches), "{fetches} fetches in a minute");
    }

    #[test]
    fn news_during_every_fetch_costs_one_a_second_and_nothing_of_what_requests_may_ask_for() {
        let start = Instant::now();
        let mut pace = Pace::default();
        pace.urge(start);
        let (mut now, mut fetches) = (start, 0);
        while now < start + Duration::from_mins(1) {
            // It takes a while, and meanwhile there is other news.
            let ended = now + Duration::from_millis(100);
            pace.urge(now + Duration::from_millis(50));
            let landing = pace.landed(now, Ok(()), INTERVAL, STALE_AFTER);
            fetches += 1;
            assert_eq!(landing.next, now, "a request would have to wait after fetch {fetches}");
            now = pace.due(None).max(ended);
        }
        assert!((59..=60 + BURST).contains(&fetches), "{fetches} fetches in a minute");
    }

    #[test]
    fn a_fetch_that_started_before_the_news_does_not_answer_it() {
        let started = Instant::now();
        let mut pace = paced(started, 1, &Ok(()));
        pace.urge(started + Duration::from_millis(5));
        pace.landed(started + Duration::from_millis(1), Ok(()), INTERVAL, STALE_AFTER);
        assert!(pace.due(None) <= started + Duration::from_millis(1));
        pace.landed(started + Duration::from_millis(5), Ok(()), INTERVAL, STALE_AFTER);
        assert!(pace.due(None) > started + INTERVAL / 2);
    }
}
