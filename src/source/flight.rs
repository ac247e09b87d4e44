//! When to ask the repository: polling, requests that share a fetch, and backing off.

use std::time::{Duration, Instant};

use tokio::sync::watch;

/// Over time there is one fetch of a source in this span.
const SPACING: Duration = Duration::from_secs(1);
/// So many may follow each other at once, where there was none for a while: who needs one right after a poll has it.
const BURST: u32 = 3;
/// After a failed fetch nobody waits for another one for this long.
const QUIET: Duration = Duration::from_secs(10);
/// The longest pause between failing fetches, unless the interval is longer.
const MAX_BACKOFF: Duration = Duration::from_mins(5);

/// A fetch that ended.
#[derive(Clone, Debug)]
pub(super) struct Landing {
    pub(super) started: Instant,
    pub(super) ended: Instant,
    /// No other one starts before this.
    pub(super) next: Instant,
    /// Why it failed, for people.
    pub(super) outcome: Result<(), String>,
}

/// Where those who wait for a fetch meet the task that makes it.
pub(super) struct Flight {
    /// A fetch that starts at this instant or later is wanted.
    called: watch::Sender<Option<Instant>>,
    landed: watch::Sender<Option<Landing>>,
}

impl Flight {
    pub(super) fn new() -> Self {
        Self {
            called: watch::Sender::new(None),
            landed: watch::Sender::new(None),
        }
    }

    /// Asks for a fetch without waiting for it.
    pub(super) fn call(&self, since: Instant) {
        self.called.send_if_modified(|called| {
            let later = called.is_none_or(|called| called < since);
            if later {
                *called = Some(since);
            }
            later
        });
    }

    /// Tells the task of calls.
    pub(super) fn calls(&self) -> watch::Receiver<Option<Instant>> {
        self.called.subscribe()
    }

    /// Tells those who wait that a fetch has ended, and that what came of it is in force.
    pub(super) fn land(&self, landing: Landing) {
        self.landed.send_replace(Some(landing));
    }

    /// Waits for a fetch that started at `since` or later; if none succeeds, why, for people. Where none can start in
    /// time it is asked for all the same, and not waited for.
    pub(super) async fn wait(&self, since: Instant, patience: Duration) -> Result<(), String> {
        let deadline = Instant::now() + patience;
        let mut landed = self.landed.subscribe();
        let waiting = async {
            loop {
                let last = landed.borrow_and_update().clone();
                match last {
                    Some(Landing {
                        outcome: Err(why),
                        started,
                        ended,
                        ..
                    }) if started >= since || ended.elapsed() < QUIET => return Err(why),
                    Some(Landing {
                        outcome: Ok(()),
                        started,
                        ..
                    }) if started >= since => return Ok(()),
                    Some(Landing { next, .. }) if next > deadline => {
                        self.call(since);
                        return Err("the repository was read some moments ago".to_owned());
                    }
                    _ => self.call(since),
                }
                if landed.changed().await.is_err() {
                    return Err("the source is gone".to_owned());
                }
            }
        };
        tokio::time::timeout(patience, waiting).await.unwrap_or_else(|_| {
            Err(format!(
                "the repository did not answer within {}",
                humantime::format_duration(patience)
            ))
        })
    }
}

/// What the task knows of its own fetches.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    last: Option<Landing>,
    /// When all that was fetched so far would have been fetched one by one, with the spacing between them.
    spent_until: Option<Instant>,
    failures: u32,
    next_poll: Option<Instant>,
    hurry: bool,
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
        self.hurry = false;
        let spent = self.spent_until.map_or(started, |until| until.max(started)) + SPACING;
        self.spent_until = Some(spent);
        let landing = Landing {
            started,
            ended: Instant::now(),
            next: started.max(spent.checked_sub(SPACING * (BURST - 1)).unwrap_or(started)),
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

    /// Asks for a fetch as soon as the spacing allows: the spec or an announcement gave reason to.
    pub(super) fn hurry(&mut self) {
        self.hurry = true;
    }

    /// When the next fetch starts. `called` is the latest instant for which somebody waits.
    pub(super) fn due(&self, called: Option<Instant>) -> Instant {
        let now = Instant::now();
        let (Some(last), Some(next_poll)) = (&self.last, self.next_poll) else {
            return now;
        };
        let earliest = last.next;
        let waited_for = called.is_some_and(|since| match last.outcome {
            Ok(()) => since > last.started,
            // Whoever waited through the failure has been told; those who come later are told until the quiet is over.
            Err(_) => since > last.ended && last.ended.elapsed() >= QUIET,
        });
        if self.hurry || waited_for {
            earliest
        } else {
            next_poll.max(earliest)
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
            next: started,
            outcome,
        }
    }

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

    #[tokio::test]
    async fn all_who_wait_are_served_by_one_fetch_that_started_after_they_came() {
        let flight = Flight::new();
        let earlier = Instant::now();
        let since = earlier + Duration::from_millis(5);
        flight.land(landing(earlier, Ok(())));
        let mut calls = flight.calls();
        let waiting = futures::future::join_all((0..3).map(|_| flight.wait(since, Duration::from_secs(5))));
        let serving = async {
            assert!(calls.changed().await.is_ok());
            flight.land(landing(since, Ok(())));
        };
        let (answers, ()) = tokio::join!(waiting, serving);
        assert_eq!(answers, vec![Ok(()); 3]);
    }

    #[tokio::test]
    async fn after_a_failure_nobody_waits() {
        let flight = Flight::new();
        flight.land(landing(Instant::now(), Err("connection refused".to_owned())));
        let answer = flight.wait(Instant::now(), Duration::from_secs(5)).await;
        assert_eq!(answer, Err("connection refused".to_owned()));
        assert_eq!(*flight.calls().borrow(), None);
    }

    #[tokio::test]
    async fn nobody_waits_for_a_fetch_that_cannot_start_in_time_and_it_is_asked_for_all_the_same() {
        let (flight, started) = (Flight::new(), Instant::now());
        flight.land(Landing {
            next: started + Duration::from_hours(1),
            ..landing(started, Ok(()))
        });
        let since = Instant::now();
        let answer = flight.wait(since, Duration::from_mins(1)).await;
        assert!(matches!(answer, Err(why) if why.contains("moments ago")));
        assert_eq!(*flight.calls().borrow(), Some(since));
    }

    #[tokio::test]
    async fn patience_ends() {
        let answer = Flight::new().wait(Instant::now(), Duration::from_millis(10)).await;
        assert!(matches!(answer, Err(why) if why.contains("10ms")));
    }
}
