//! The loop: takes what the watches see and what Git says, judges the keys that this concerns, and has the steps
//! carried out. One task owns all of it; only the writes themselves run beside it.

mod arrival;
mod granting;
mod intake;
mod pace;
mod record;
mod routing;
mod writing;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{self, BoxFuture};
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::arrival::Arrivals;
use self::pace::Pace;
use super::apply::{Deed, Job, WriteError, Writer};
use super::live::LiveIndex;
use super::metrics::Metrics;
use super::namespaces::Namespaces;
use super::plan::{Finding, Scene};
use super::progress::Counts;
use super::report::Report;
use super::served::ServedKinds;
use super::setback::Setbacks;
use super::watching::Sight;
use crate::cluster::grants::Board;
use crate::gate::Rules;
use crate::ledger::Ledger;
use crate::policy::{Key, Kind};
use crate::source::{DesiredState, Keeper};

/// The first planning waits this long for kinds that cannot be listed, so that one of them does not hold up the rest.
const FIRST_LISTS: Duration = Duration::from_secs(10);
/// After a write its echo on the watch is waited for; if none comes in this time, the key is judged again.
const ECHO_PATIENCE: Duration = Duration::from_secs(5);
/// While there is work, the report is brought up to date this often; what is over sooner is not spoken of.
const REPORT_EVERY: Duration = Duration::from_millis(500);
/// With nothing to wait for, the loop looks up this often.
const LONGEST_SLEEP: Duration = Duration::from_mins(1);
/// So many sights are taken in before the next planning.
const SIGHTS_AT_ONCE: usize = 2048;

/// What the loop works with.
pub(super) struct Parts {
    pub(super) writer: Writer,
    pub(super) rules: Arc<Rules>,
    pub(super) grants: watch::Receiver<Arc<Board>>,
    pub(super) ledger: Ledger,
    pub(super) metrics: Metrics,
    pub(super) concurrency: usize,
    pub(super) refresh_patience: Duration,
    pub(super) sights: mpsc::Receiver<Sight>,
    pub(super) reports: watch::Sender<Arc<Report>>,
}

/// A place in the queue: the turn, whether it is part of something large and not what somebody has just done, a ticket.
type Place = (u8, bool, u64);

/// A write under way.
struct Flight {
    turn: u8,
    job: Job,
    finding: Finding,
    since: Option<Instant>,
    /// Whether the watch has said something about the key meanwhile: then its echo need not be waited for.
    echoed: bool,
}

/// The loop's state.
pub(super) struct Engine {
    parts: Parts,
    keeper: Keeper,
    live: LiveIndex,
    namespaces: Namespaces,
    served: Option<ServedKinds>,
    /// The grants, as last seen.
    granted: Arc<Board>,
    desired: Arc<DesiredState>,
    staying: DesiredState,
    leaving: DesiredState,
    /// Keys to judge, each with the instant at which the cluster showed something new about it.
    dirty: HashMap<Key, Option<Instant>>,
    /// What is not as Git says, and all else that is worth a report.
    findings: BTreeMap<Key, Finding>,
    /// How far the writes that these ask for have come.
    progress: Counts,
    /// Keys whose next step undoes something: a fetch that started after the instant comes first.
    doubtful: HashMap<Key, Instant>,
    /// Keys in doubt while the fetch runs.
    asked: HashMap<Key, Instant>,
    refresh: Option<BoxFuture<'static, ()>>,
    /// Keys whose next step can be taken, in turn.
    queue: BTreeSet<(Place, Key)>,
    queued: HashMap<Key, (Place, Option<Instant>)>,
    tickets: u64,
    flights: HashMap<Key, Flight>,
    jobs: JoinSet<(Key, Result<Deed, WriteError>)>,
    setbacks: Setbacks,
    /// Keys that were written and whose echo is waited for.
    settling: HashMap<Key, Instant>,
    pace: Pace,
    /// When each kind was listed last: what a list brings up is no event whose healing could be timed.
    listed: HashMap<Kind, Instant>,
    /// When sources came or spoke otherwise last: what that brings up is no such event either.
    taken_up: Arrivals,
    first_plan: Option<Instant>,
    reported: Instant,
    /// Since when there is work, if there is.
    busy: Option<Instant>,
    unreported: bool,
    /// When the next exemption ends: what it kept from being pruned is judged again.
    next_end: Option<Timestamp>,
}

impl Engine {
    pub(super) fn new(parts: Parts) -> Self {
        let keeper = parts.writer.keeper.clone();
        let next_end = parts.rules.next_end(Timestamp::now());
        Self {
            keeper,
            parts,
            live: LiveIndex::default(),
            namespaces: Namespaces::default(),
            served: None,
            granted: Arc::default(),
            desired: Arc::default(),
            staying: DesiredState::default(),
            leaving: DesiredState::default(),
            dirty: HashMap::new(),
            findings: BTreeMap::new(),
            progress: Counts::default(),
            doubtful: HashMap::new(),
            asked: HashMap::new(),
            refresh: None,
            queue: BTreeSet::new(),
            queued: HashMap::new(),
            tickets: 0,
            flights: HashMap::new(),
            jobs: JoinSet::new(),
            setbacks: Setbacks::default(),
            settling: HashMap::new(),
            pace: Pace::default(),
            listed: HashMap::new(),
            taken_up: Arrivals::default(),
            first_plan: None,
            reported: Instant::now(),
            busy: None,
            unreported: true,
            next_end,
        }
    }

    /// Works until cancelled, or until the watches end. A write under way is cut off: the one that leads next may be
    /// writing already.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        let mut news = self.keeper.changes();
        self.take_desired();
        self.take_grants();
        loop {
            self.judge_dirty();
            self.begin_refresh();
            self.begin_writes();
            self.publish();
            let wake = tokio::time::Instant::from_std(self.next_wake());
            tokio::select! {
                () = shutdown.cancelled() => break,
                sight = self.parts.sights.recv() => match sight {
                    Some(sight) => self.take_sights(sight),
                    None => break,
                },
                noted = news.changed() => match noted {
                    Ok(()) => self.take_desired(),
                    Err(_) => break,
                },
                noted = self.parts.grants.changed() => match noted {
                    Ok(()) => self.take_grants(),
                    Err(_) => break,
                },
                Some(ended) = self.jobs.join_next() => match ended {
                    Ok((key, result)) => self.finish(&key, result),
                    Err(_) => break,
                },
                () = wait_for(&mut self.refresh) => self.finish_refresh(),
                () = tokio::time::sleep_until(wake) => self.wake(),
            }
        }
        self.jobs.shutdown().await;
        self.parts.metrics.queue.set(0);
    }

    fn scene(&self) -> Scene<'_> {
        Scene {
            desired: &self.staying,
            leaving: &self.leaving,
            rules: &self.parts.rules,
            grants: &self.granted.grants,
            now: Timestamp::now(),
            live: &self.live,
            namespaces: &self.namespaces,
        }
    }

    fn mark(&mut self, key: Key, since: Option<Instant>) {
        let entry = self.dirty.entry(key).or_default();
        *entry = (*entry).max(since);
    }

    /// Whether enough is known to conclude anything.
    fn is_ready(&self) -> bool {
        let Some(deadline) = self.first_plan else {
            return false;
        };
        // What a grant names must not be undone by a process that has just started.
        let all_known = self.live.is_complete() && self.granted.is_listed;
        self.namespaces.are_listed() && (all_known || Instant::now() >= deadline)
    }

    /// Whether every key was judged that had to be; those being written are judged again after it.
    fn can_report(&self) -> bool {
        self.is_ready() && self.dirty.keys().all(|key| self.is_held_back(key))
    }

    /// Whether judging the key has to wait: for its write, for the echo of that, or since it is being fought over.
    fn is_held_back(&self, key: &Key) -> bool {
        self.flights.contains_key(key) || self.settling.contains_key(key) || self.pace.rests(key)
    }

    fn next_wake(&self) -> Instant {
        let now = Instant::now();
        let report = (self.unreported && self.can_report()).then(|| self.next_report());
        let first_plan = self.first_plan.filter(|deadline| *deadline > now);
        let echo = self.settling.values().min().copied();
        let left = |end: Timestamp| Duration::try_from(end.duration_since(Timestamp::now())).unwrap_or_default();
        let end = self.next_end.map(|end| now + left(end).min(LONGEST_SLEEP));
        let due = [
            report,
            first_plan,
            echo,
            self.pace.next_due(),
            self.setbacks.next_due(),
            end,
            self.next_end_of_grant(now),
        ];
        due.into_iter().flatten().min().unwrap_or(now + LONGEST_SLEEP)
    }

    fn wake(&mut self) {
        let (now, time) = (Instant::now(), Timestamp::now());
        if self.next_end.is_some_and(|end| end <= time) {
            self.next_end = self.parts.rules.next_end(time);
            self.mark_all(None);
        }
        for key in self.setbacks.due(now).into_iter().chain(self.pace.due(now)) {
            self.mark(key, None);
        }
        let silent: Vec<Key> = self
            .settling
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(key, _)| key.clone())
            .collect();
        for key in silent {
            self.settling.remove(&key);
            self.mark(key, None);
        }
        self.restore_ungranted(now);
    }

    /// When the report may be brought up to date while there is work.
    fn next_report(&self) -> Instant {
        Some(self.reported).max(self.busy).unwrap_or(self.reported) + REPORT_EVERY
    }

    /// Brings the report up to date when there is nothing left to do, and now and then while there is.
    fn publish(&mut self) {
        let waiting = self.queue.len() + self.flights.len() + self.doubtful.len() + self.asked.len();
        self.parts.metrics.queue.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        // What was written and not seen yet would be told as if it were still to do.
        let unseen = !self.settling.is_empty();
        let busy = waiting > 0 || unseen || self.setbacks.iter().any(|(_, setback)| setback.may_pass());
        let now = Instant::now();
        self.busy = busy.then(|| self.busy.unwrap_or(now));
        if !self.unreported || !self.can_report() || (busy && now < self.next_report()) {
            return;
        }
        let report = Arc::new(self.report());
        self.parts.metrics.left_to_do(self.progress.pending());
        self.parts.reports.send_if_modified(|before| {
            let changed = **before != *report;
            *before = Arc::clone(&report);
            changed
        });
        self.reported = now;
        self.unreported = false;
    }

    fn report(&self) -> Report {
        let mut report = Report::of(self.findings.iter(), &self.setbacks);
        report.complete = self.live.is_complete();
        for source in self.desired.sources() {
            let tally = report.sources.entry(Arc::clone(&source.name)).or_default();
            tally.being_removed = source.being_removed;
            tally.progress = self.progress.of(&source.name);
            tally.commit = source.head.as_ref().map(|head| head.commit.id.clone());
        }
        let drift = self
            .findings
            .values()
            .filter(|finding| finding.standing.is_drift())
            .count();
        self.parts.metrics.drift.set(i64::try_from(drift).unwrap_or(i64::MAX));
        report
    }
}

async fn wait_for(refresh: &mut Option<BoxFuture<'static, ()>>) {
    match refresh {
        Some(refresh) => refresh.await,
        None => future::pending().await,
    }
}

#[cfg(test)]
mod tests;
