//! Where those who want a fetch meet the task that makes it: requests that share one, and those who have news of the
//! repository.

use std::time::{Duration, Instant};

use tokio::sync::watch;

/// After a failed fetch nobody waits for another one for this long.
pub(super) const QUIET: Duration = Duration::from_secs(10);

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
    /// The same, by somebody who has news of the repository: it does not wait for the spacing.
    urged: watch::Sender<Option<Instant>>,
    landed: watch::Sender<Option<Landing>>,
}

impl Flight {
    pub(super) fn new() -> Self {
        Self {
            called: watch::Sender::new(None),
            urged: watch::Sender::new(None),
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

    /// Asks for a fetch at once: there is news of the repository. Nobody waits for it.
    pub(super) fn urge(&self) {
        self.urged.send_replace(Some(Instant::now()));
    }

    /// Tells the task of news.
    pub(super) fn news(&self) -> watch::Receiver<Option<Instant>> {
        self.urged.subscribe()
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
        self.wait_as_paced(since, patience, true).await
    }

    /// The same for a fetch that news asks for already: that one does not wait for what others asked for.
    pub(super) async fn wait_for_news(&self, since: Instant, patience: Duration) -> Result<(), String> {
        self.wait_as_paced(since, patience, false).await
    }

    async fn wait_as_paced(&self, since: Instant, patience: Duration, is_paced: bool) -> Result<(), String> {
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
                    Some(Landing { next, .. }) if is_paced && next > deadline => {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn landing(started: Instant, outcome: Result<(), String>) -> Landing {
        Landing {
            started,
            ended: started,
            next: started,
            outcome,
        }
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
    async fn who_waits_for_news_does_so_however_much_others_asked_for() {
        let (flight, started) = (Flight::new(), Instant::now());
        flight.land(Landing {
            next: started + Duration::from_hours(1),
            ..landing(started, Ok(()))
        });
        let since = started + Duration::from_millis(1);
        let mut calls = flight.calls();
        let serving = async {
            assert!(calls.changed().await.is_ok());
            flight.land(landing(since, Ok(())));
        };
        let (answer, ()) = tokio::join!(flight.wait_for_news(since, Duration::from_mins(1)), serving);
        assert_eq!(answer, Ok(()));
    }

    #[tokio::test]
    async fn patience_ends() {
        let answer = Flight::new().wait(Instant::now(), Duration::from_millis(10)).await;
        assert!(matches!(answer, Err(why) if why.contains("10ms")));
    }
}
