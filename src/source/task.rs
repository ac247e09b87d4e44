//! The task of one source: fetches when it is time, evaluates what came and what the spec asks for, and publishes
//! the result whole.

mod accepting;
mod news;
mod trust;

use std::future::pending;
use std::sync::Arc;
use std::time::Instant;

use gix::ObjectId;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use self::accepting::Basis;
use super::announcement::Announcements;
use super::desired::SourceState;
use super::evaluation::Head;
use super::fetching::{Fetching, Landed, landed};
use super::flight::Flight;
use super::formerly::Formerly;
use super::keeper::Shared;
use super::keys::Keys;
use super::mirror::{FetchError, Fetched, Mirror};
use super::pace::Pace;
use super::published::Published;
use super::report::{Attempt, Refusal, SourceReport};
use super::verification::Standing;
use super::wanted::Wanted;

/// Keeps one source's head current.
pub(super) struct Task {
    name: Arc<str>,
    shared: Arc<Shared>,
    wishes: watch::Receiver<Arc<Wanted>>,
    wanted: Arc<Wanted>,
    flight: Arc<Flight>,
    /// Cancelled when the source is gone, or the process ends.
    ended: CancellationToken,
    pace: Pace,
    mirror: Option<Arc<Mirror>>,
    /// What the last successful fetch brought, for the URL and ref of `wanted`.
    fetched: Option<Fetched>,
    /// The keys that may sign.
    keys: Arc<Keys>,
    keys_looked_at: Instant,
    /// What the head's signature is worth.
    standing: Standing,
    /// What the last evaluation was made of: while it is the same, there is nothing to evaluate.
    evaluated: Option<Basis>,
    head: watch::Sender<Option<Arc<Head>>>,
    highest: Option<ObjectId>,
    refusal: Option<Refusal>,
    attempt: Option<Attempt>,
    confirmed_at: Option<Timestamp>,
    announcements: Announcements,
    heard: String,
    /// The value of the request to refresh that was followed last, and the one that a fetch has answered.
    asked: Option<String>,
    answered: Option<String>,
    published: Published,
    /// What earlier heads declared and the present one does not.
    formerly: Formerly,
    /// The generation of the spec that was carried out.
    generation: Option<i64>,
}

/// What the task woke up for.
enum Event {
    Ended,
    Wish,
    Call,
    News(Option<Instant>),
    Due,
    Keys,
    Landed(Landed),
}

impl Task {
    /// A task, its source published without a head, and where its head is seen.
    pub(super) fn new(
        name: Arc<str>,
        shared: Arc<Shared>,
        mut wishes: watch::Receiver<Arc<Wanted>>,
        flight: Arc<Flight>,
        ended: CancellationToken,
    ) -> (Self, watch::Receiver<Option<Arc<Head>>>) {
        let wanted = Arc::clone(&wishes.borrow_and_update());
        let (head, seen) = watch::channel(None);
        let mut task = Self {
            name,
            shared,
            wishes,
            flight,
            ended,
            pace: Pace::default(),
            mirror: None,
            fetched: None,
            keys: Arc::default(),
            keys_looked_at: Instant::now(),
            standing: Ok(None),
            evaluated: None,
            head,
            highest: wanted.recorded.highest,
            refusal: None,
            attempt: None,
            confirmed_at: None,
            announcements: Announcements::default(),
            heard: String::new(),
            asked: wanted.refresh_requested.clone(),
            answered: None,
            published: Published::new(&wanted.settings, None),
            formerly: Formerly::default(),
            generation: None,
            wanted,
        };
        if task.wanted.never_fetches(false) {
            task.generation = task.wanted.generation;
        }
        task.publish();
        (task, seen)
    }

    /// Runs until the source is gone or the process ends.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        let span = tracing::info_span!("source", source = %self.name);
        async {
            self.look_at_keys().await;
            self.recall().await;
            self.heed().await;
            self.turn().await;
            if !shutdown.is_cancelled()
                && let Some(mirror) = &self.mirror
            {
                mirror.abandon();
            }
        }
        .instrument(span)
        .await;
    }

    async fn turn(&mut self) {
        let mut calls = self.flight.calls();
        let mut news = self.flight.news();
        let mut fetching: Option<Fetching> = None;
        loop {
            if fetching.is_none() && self.is_due(*calls.borrow_and_update()) {
                fetching = self.take_off().await;
            }
            let due = self.due(*calls.borrow_and_update()).filter(|_| fetching.is_none());
            let keys_due = self.keys_due();
            let event = tokio::select! {
                () = self.ended.cancelled() => Event::Ended,
                changed = self.wishes.changed() => if changed.is_ok() { Event::Wish } else { Event::Ended },
                result = landed(fetching.as_mut()) => Event::Landed(result),
                _ = calls.changed(), if fetching.is_none() => Event::Call,
                _ = news.changed() => Event::News(*news.borrow_and_update()),
                () = sleep_until(due) => Event::Due,
                () = sleep_until(keys_due) => Event::Keys,
            };
            match event {
                Event::Ended => break,
                Event::Wish => {
                    let before = self.adapt().await;
                    // What is under way would not answer the new spec.
                    if self.wanted.fetches_differently(&before) {
                        abort(fetching.take()).await;
                    }
                }
                Event::Call | Event::Due => {}
                Event::News(at) => self.pace.urge(at.unwrap_or_else(Instant::now)),
                Event::Keys => {
                    self.look_at_keys().await;
                    self.reconsider().await;
                }
                Event::Landed(result) => {
                    if let Some(fetching) = fetching.take() {
                        self.land(&fetching, result).await;
                    }
                }
            }
        }
        abort(fetching).await;
    }

    fn due(&self, called: Option<Instant>) -> Option<Instant> {
        let grounded = self.wanted.never_fetches(self.head.borrow().is_some());
        (!grounded).then(|| self.pace.due(called))
    }

    fn is_due(&self, called: Option<Instant>) -> bool {
        self.due(called).is_some_and(|due| due <= Instant::now())
    }

    /// Starts a fetch. Where even that fails, the failure is taken note of.
    async fn take_off(&mut self) -> Option<Fetching> {
        let started = Instant::now();
        match self.open_mirror().await {
            Ok(mirror) => {
                let keep = self.head.borrow().as_ref().and_then(|head| head.commit());
                Some(Fetching::start(&self.shared, mirror, &self.wanted, keep))
            }
            Err(error) => {
                let wanted = Arc::clone(&self.wanted);
                self.answer(started, &wanted).await;
                self.fail(started, &error.to_string());
                None
            }
        }
    }

    async fn open_mirror(&mut self) -> Result<Arc<Mirror>, FetchError> {
        if let Some(mirror) = &self.mirror {
            return Ok(Arc::clone(mirror));
        }
        let (name, url) = (Arc::clone(&self.name), self.wanted.settings.url.clone());
        let mirror = Arc::new(self.shared.open(name, url).await?);
        self.mirror = Some(Arc::clone(&mirror));
        Ok(mirror)
    }

    /// Follows a changed spec or status; what was wanted before is returned.
    async fn adapt(&mut self) -> Arc<Wanted> {
        let wanted = Arc::clone(&self.wishes.borrow_and_update());
        let before = std::mem::replace(&mut self.wanted, wanted);
        if !Arc::ptr_eq(&before.settings, &self.wanted.settings) {
            if self.wanted.fetches_differently(&before) {
                self.fetched = None;
                self.pace.urge(Instant::now());
            }
            if self.wanted.settings.url != before.settings.url
                && let Some(mirror) = self.mirror.take()
            {
                mirror.abandon();
            }
            self.publish();
        }
        self.heed().await;
        if self.wanted.settings.verification.keys != before.settings.verification.keys {
            self.look_at_keys().await;
        }
        self.reconsider().await;
        if self.fetched.is_some() || self.wanted.never_fetches(self.head.borrow().is_some()) {
            self.generation = self.wanted.generation;
        }
        self.publish();
        before
    }

    /// Judges anew what was fetched last.
    async fn reconsider(&mut self) {
        if let Err(error) = self.evaluate().await {
            tracing::warn!("{error}; it is fetched anew");
            self.pace.urge(Instant::now());
        }
        self.publish();
    }

    async fn land(&mut self, fetching: &Fetching, landed: Landed) {
        let is_for_these_keys = self.wanted.settings.verification.keys == fetching.wanted.settings.verification.keys;
        if let Some(looked) = landed.keys.filter(|_| is_for_these_keys) {
            self.keys_looked_at = Instant::now();
            self.take_keys(Some(looked));
        }
        let fetched = match landed.fetched {
            Ok(fetched) => fetched,
            Err(error) => {
                self.answer(fetching.started, &fetching.wanted).await;
                self.fail(fetching.started, &error.to_string());
                // The keys may have changed all the same.
                return self.reconsider().await;
            }
        };
        if self.wanted.fetches_differently(&fetching.wanted) {
            return;
        }
        self.fetched = Some(fetched);
        let evaluated = self.evaluate().await;
        self.answer(fetching.started, &fetching.wanted).await;
        if let Err(error) = evaluated {
            return self.fail(fetching.started, &error.to_string());
        }
        if self.attempt.as_ref().is_some_and(|last| last.outcome.is_err()) {
            tracing::info!("the repository can be read again");
        }
        self.confirmed_at = Some(fetching.started_at);
        self.note(fetching.started, Ok(()));
    }

    fn fail(&mut self, started: Instant, why: &str) {
        let again = self
            .attempt
            .as_ref()
            .is_some_and(|last| last.outcome.as_ref().is_err_and(|last| last == why));
        if again {
            tracing::debug!("failed to read the repository again: {why}");
        } else {
            tracing::warn!("failed to read the repository: {why}");
        }
        self.note(started, Err(why.to_owned()));
    }

    /// Takes note of an attempt that ended. Those who wait are told when its result is in force.
    fn note(&mut self, started: Instant, outcome: Result<(), String>) {
        let settings = &self.wanted.settings;
        let (interval, stale_after) = (settings.interval, settings.stale_after);
        let landing = self.pace.landed(started, outcome.clone(), interval, stale_after);
        self.shared.metrics.fetched(outcome.is_ok(), landing.ended - started);
        self.generation = self.wanted.generation;
        self.attempt = Some(Attempt {
            at: Timestamp::now(),
            outcome,
        });
        self.publish();
        self.flight.land(landing);
        self.shared.tidy();
    }

    /// Publishes the source as it stands.
    fn publish(&mut self) {
        let wanted = &self.wanted;
        let head = self.head.borrow().clone();
        if wanted.invalid.is_none() || head.is_none() {
            let made_under = head.as_ref().map(|head| &head.built.settings);
            self.published.follow(&wanted.settings, made_under);
        }
        let scope_pending = head
            .as_ref()
            .is_some_and(|head| !Arc::ptr_eq(&head.built.settings, &wanted.settings));
        let snapshot = head.map(|head| Arc::clone(&head.built.snapshot));
        self.formerly.follow(snapshot.as_ref(), wanted.recorded.commit);
        let report = SourceReport {
            generation: self.generation,
            invalid: wanted.invalid.clone(),
            attempt: self.attempt.clone(),
            refusal: self.refusal.clone(),
            verification: self.verification(),
            verified_at: self.verified_at(),
            head: snapshot.clone(),
            scope_pending,
            highest_head: self.highest.map(|commit| commit.to_string()),
            found: self.found().map(|commit| commit.to_string()),
            heard: self.heard.clone(),
            refreshed: self.answered.clone(),
            passed: self.formerly.passed(),
        };
        self.shared.metrics.stands(&self.name, &report, self.confirmed_at);
        let state = SourceState {
            name: Arc::clone(&self.name),
            settings: Arc::clone(self.published.settings()),
            had_head: snapshot.is_some() || wanted.had_head(),
            head: snapshot,
            confirmed_at: self.confirmed_at,
            adopted_at: wanted.adopted_at,
            being_removed: wanted.being_removed,
            is_unverified: self.standing.is_err(),
            is_behind: self.formerly.is_behind(wanted.recorded.commit),
            formerly: self.formerly.keys(),
            awaited: self.announcements.awaited(),
        };
        self.shared.board.publish(state, report, &self.ended);
    }
}

async fn abort(fetching: Option<Fetching>) {
    if let Some(fetching) = fetching {
        fetching.abort().await;
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => pending().await,
    }
}
