//! The loop: takes what the watches see and what Git says, judges the keys that this concerns, and has the steps
//! carried out. One task owns all of it; only the writes themselves run beside it.

mod record;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::{FutureExt, future};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::apply::{Deed, Job, WriteError, Writer};
use super::live::LiveIndex;
use super::metrics::{Metrics, WriteOutcome};
use super::namespaces::Namespaces;
use super::plan::{self, Finding, Scene, Standing};
use super::report::Report;
use super::request::Failure;
use super::served::ServedKinds;
use super::setback::Setbacks;
use super::watching::Sight;
use crate::gate::Rules;
use crate::ledger::Ledger;
use crate::policy::{Family, Key, Kind, Rank};
use crate::source::{DesiredState, Keeper};

/// The first planning waits this long for kinds that cannot be listed, so that one of them does not hold up the rest.
const FIRST_LISTS: Duration = Duration::from_secs(10);
/// After a write its echo on the watch is waited for; if none comes in this time, the key is judged again.
const ECHO_PATIENCE: Duration = Duration::from_secs(5);
/// While there is work, the report is brought up to date this often.
const REPORT_EVERY: Duration = Duration::from_millis(500);
/// So many sights are taken in before the next planning.
const SIGHTS_AT_ONCE: usize = 2048;
/// A failure that may pass by itself is not reported before this many attempts.
const QUIET_ATTEMPTS: u32 = 4;

/// What the loop works with.
pub(super) struct Parts {
    pub(super) writer: Writer,
    pub(super) rules: Arc<Rules>,
    pub(super) ledger: Ledger,
    pub(super) metrics: Metrics,
    pub(super) concurrency: usize,
    pub(super) refresh_patience: Duration,
    pub(super) sights: mpsc::Receiver<Sight>,
    pub(super) reports: watch::Sender<Arc<Report>>,
}

/// A write under way.
struct Flight {
    turn: u8,
    job: Job,
    finding: Finding,
    since: Option<Instant>,
    /// When the watch last said something about the key meanwhile.
    touched: Option<Instant>,
}

/// The loop's state.
pub(super) struct Engine {
    parts: Parts,
    keeper: Keeper,
    live: LiveIndex,
    namespaces: Namespaces,
    served: Option<ServedKinds>,
    desired: Arc<DesiredState>,
    staying: DesiredState,
    leaving: DesiredState,
    once_declared: HashSet<Key>,
    /// Keys to judge, each with the instant at which the cluster showed something new about it.
    dirty: HashMap<Key, Option<Instant>>,
    /// What is not as Git says, and all else that is worth a report.
    findings: HashMap<Key, Finding>,
    /// Keys whose next step undoes something: a fetch that started after the instant comes first.
    doubtful: HashMap<Key, Instant>,
    /// Keys in doubt while the fetch runs.
    asked: HashMap<Key, Instant>,
    refresh: Option<BoxFuture<'static, Instant>>,
    /// Keys whose next step can be taken, in turn.
    queue: BTreeSet<(u8, u64, Key)>,
    queued: HashMap<Key, (u8, u64, Option<Instant>)>,
    tickets: u64,
    flights: HashMap<Key, Flight>,
    jobs: JoinSet<(Key, Result<Deed, WriteError>)>,
    setbacks: Setbacks,
    /// Keys that were written and whose echo is waited for.
    settling: HashMap<Key, Instant>,
    first_plan: Option<Instant>,
    reported: Instant,
    unreported: bool,
}

impl Engine {
    pub(super) fn new(parts: Parts) -> Self {
        let keeper = parts.writer.keeper.clone();
        Self {
            keeper,
            parts,
            live: LiveIndex::default(),
            namespaces: Namespaces::default(),
            served: None,
            desired: Arc::default(),
            staying: DesiredState::default(),
            leaving: DesiredState::default(),
            once_declared: HashSet::new(),
            dirty: HashMap::new(),
            findings: HashMap::new(),
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
            first_plan: None,
            reported: Instant::now(),
            unreported: true,
        }
    }

    /// Works until cancelled, or until the watches end. A write under way is cut off: the one that leads next may be
    /// writing already.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        let mut changes = self.keeper.changes();
        self.take_desired();
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
                changed = changes.changed() => match changed {
                    Ok(()) => self.take_desired(),
                    Err(_) => break,
                },
                Some(ended) = self.jobs.join_next() => match ended {
                    Ok((key, result)) => self.finish(&key, result),
                    Err(_) => break,
                },
                asked = wait_for(&mut self.refresh) => self.finish_refresh(asked),
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
            live: &self.live,
            namespaces: &self.namespaces,
            once_declared: &self.once_declared,
        }
    }

    fn mark(&mut self, key: Key, since: Option<Instant>) {
        let entry = self.dirty.entry(key).or_default();
        *entry = (*entry).max(since);
    }

    fn take_sights(&mut self, first: Sight) {
        let mut next = Some(first);
        let mut taken = 0;
        while let Some(sight) = next {
            self.take_sight(sight);
            taken += 1;
            next = if taken < SIGHTS_AT_ONCE {
                self.parts.sights.try_recv().ok()
            } else {
                None
            };
        }
    }

    fn take_sight(&mut self, sight: Sight) {
        match sight {
            Sight::Served(served) => self.take_served(served),
            Sight::Listed(kind, sightings, at) => {
                let first = self.live.knowledge(kind) != super::live::Knowledge::Complete;
                let changed = self.live.replace(kind, sightings);
                if first {
                    self.mark_all_of(kind, Some(at));
                }
                for key in changed {
                    self.notice(key, true, at);
                }
            }
            Sight::Seen(sighting, at) => {
                let (keys, changed) = self.live.see(sighting);
                for key in keys {
                    self.notice(key, changed, at);
                }
            }
            Sight::Lost(place, at) => {
                if let Some(key) = self.live.lose(&place) {
                    self.notice(key, true, at);
                }
            }
            Sight::Namespaces(list) => {
                for name in self.namespaces.replace(list) {
                    self.mark_namespace(&name);
                }
            }
            Sight::Namespace(name, phase) => {
                if self.namespaces.note(Arc::clone(&name), phase) {
                    self.mark_namespace(&name);
                }
            }
        }
    }

    /// The cluster showed something about a key. A new drift forgets an earlier setback: the tenth heal is as quick as
    /// the first.
    fn notice(&mut self, key: Key, changed: bool, at: Instant) {
        self.settling.remove(&key);
        if let Some(flight) = self.flights.get_mut(&key) {
            flight.touched = Some(at);
        }
        if changed {
            self.setbacks.clear(&key);
        }
        self.mark(key, Some(at));
    }

    fn mark_namespace(&mut self, name: &str) {
        let concerned = self.findings.iter().filter(|(key, finding)| {
            key.namespace() == Some(name)
                && (finding.standing == Standing::WaitingForNamespace
                    || finding.standing == Standing::Terminating
                    || finding.standing == Standing::Missing)
        });
        let keys: Vec<Key> = concerned.map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.setbacks.clear(&key);
            self.mark(key, None);
        }
    }

    fn mark_all_of(&mut self, kind: Kind, since: Option<Instant>) {
        let keys = plan::all_keys(&self.scene());
        for key in keys.into_iter().filter(|key| key.kind() == kind) {
            self.mark(key, since);
        }
    }

    fn mark_all(&mut self, since: Option<Instant>) {
        let keys = plan::all_keys(&self.scene());
        let known: Vec<Key> = self.findings.keys().cloned().collect();
        for key in keys.into_iter().chain(known) {
            self.mark(key, since);
        }
    }

    fn take_served(&mut self, served: ServedKinds) {
        let old = self.served.take().unwrap_or_default();
        for kind in old.keys().filter(|kind| !served.contains_key(kind)) {
            self.mark_all_of(*kind, None);
            self.live.forget(*kind);
        }
        for kind in served.keys() {
            self.live.serve(*kind);
        }
        self.served = Some(served);
        self.first_plan.get_or_insert_with(|| Instant::now() + FIRST_LISTS);
    }

    /// Takes what Git says now, and marks the keys about which it says something else than before. A new commit
    /// forgets the setbacks: a repaired object is written at once.
    fn take_desired(&mut self) {
        let new = self.keeper.desired();
        let old = std::mem::replace(&mut self.desired, Arc::clone(&new));
        (self.staying, self.leaving) = plan::part(&new);
        let change = super::change::between(&old, &new);
        self.once_declared.extend(change.undeclared);
        self.once_declared.retain(|key| {
            !self
                .staying
                .sources()
                .iter()
                .any(|source| source.declares(key).is_some())
        });
        if change.everything {
            self.mark_all(None);
        }
        for key in change.keys {
            self.mark(key, None);
        }
        let failed: Vec<Key> = self.setbacks.keys().cloned().collect();
        for key in failed {
            self.setbacks.clear(&key);
            self.mark(key, None);
        }
        self.unreported = true;
    }

    /// Whether enough is known to conclude anything.
    fn is_ready(&self) -> bool {
        let Some(deadline) = self.first_plan else {
            return false;
        };
        self.namespaces.are_listed() && (self.live.is_complete() || Instant::now() >= deadline)
    }

    fn judge_dirty(&mut self) {
        if !self.is_ready() {
            return;
        }
        let now = Instant::now();
        for (key, since) in std::mem::take(&mut self.dirty) {
            if self.flights.contains_key(&key) || self.settling.contains_key(&key) {
                continue;
            }
            let finding = plan::judge(&key, &self.scene());
            self.route(key, finding, since, now);
        }
    }

    /// Sends a key where its finding belongs: nowhere, to the fetch that comes first, or to the queue.
    fn route(&mut self, key: Key, finding: Finding, since: Option<Instant>, now: Instant) {
        self.unqueue(&key);
        self.asked.remove(&key);
        let doubt = self.doubtful.remove(&key);
        let since = since.max(doubt);
        match finding.turn(key.kind()) {
            None => {
                self.setbacks.clear(&key);
            }
            Some(_) if self.setbacks.holds(&key, now) => {}
            Some(turn) => match since {
                Some(instant) if finding.steps.first().is_some_and(plan::Step::undoes) => {
                    self.doubtful.insert(key.clone(), instant);
                }
                _ => self.enqueue(key.clone(), turn, since),
            },
        }
        self.keep(key, finding);
    }

    fn keep(&mut self, key: Key, finding: Finding) {
        let before = if finding.standing.is_worth_keeping() {
            let unchanged = self.findings.get(&key) == Some(&finding);
            self.unreported |= !unchanged;
            self.findings.insert(key, finding)
        } else {
            self.findings.remove(&key).inspect(|_| self.unreported = true)
        };
        drop(before);
    }

    fn enqueue(&mut self, key: Key, turn: u8, since: Option<Instant>) {
        self.tickets += 1;
        self.queue.insert((turn, self.tickets, key.clone()));
        self.queued.insert(key, (turn, self.tickets, since));
    }

    fn unqueue(&mut self, key: &Key) {
        if let Some((turn, ticket, _)) = self.queued.remove(key) {
            self.queue.remove(&(turn, ticket, key.clone()));
        }
    }

    /// Before anything is undone, one fetch that started after the cluster showed it: a commit fresher than this
    /// head is not undone, and all keys in doubt share the fetch.
    fn begin_refresh(&mut self) {
        if self.refresh.is_some() || self.doubtful.is_empty() {
            return;
        }
        self.asked = std::mem::take(&mut self.doubtful);
        let mut sources: BTreeSet<Arc<str>> = BTreeSet::new();
        for key in self.asked.keys() {
            sources.extend(self.desired.covering(key).map(|source| Arc::clone(&source.name)));
        }
        let sources: Vec<Arc<str>> = sources.into_iter().collect();
        let since = self.asked.values().copied().max().unwrap_or_else(Instant::now);
        let keeper = self.keeper.clone();
        let patience = self.parts.refresh_patience;
        let refresh = async move {
            if let crate::source::Refresh::NotRefreshed(why) = keeper.refresh(&sources, since, patience).await {
                tracing::debug!(why, "going on with the heads there are");
            }
            since
        };
        self.refresh = Some(refresh.boxed());
    }

    /// Also when the fetch failed: then the head there is counts.
    fn finish_refresh(&mut self, _since: Instant) {
        self.refresh = None;
        self.take_desired_if_changed();
        let now = Instant::now();
        for (key, since) in std::mem::take(&mut self.asked) {
            if self.dirty.contains_key(&key) {
                continue;
            }
            let finding = plan::judge(&key, &self.scene());
            if let Some(turn) = finding.turn(key.kind())
                && !self.setbacks.holds(&key, now)
            {
                self.enqueue(key.clone(), turn, Some(since));
            }
            self.keep(key, finding);
        }
    }

    fn take_desired_if_changed(&mut self) {
        if !Arc::ptr_eq(&self.desired, &self.keeper.desired()) {
            self.take_desired();
        }
    }

    fn begin_writes(&mut self) {
        while self.flights.len() < self.parts.concurrency {
            let Some((turn, _, key)) = self.queue.first().cloned() else {
                return;
            };
            if self.flights.values().any(|flight| flight.turn < turn) {
                return;
            }
            let since = self.queued.get(&key).and_then(|(_, _, since)| *since);
            self.unqueue(&key);
            let finding = plan::judge(&key, &self.scene());
            match finding.turn(key.kind()) {
                Some(due) if due == turn => self.begin_write(key, turn, finding, since),
                Some(due) => self.enqueue(key, due, since),
                None => self.keep(key, finding),
            }
        }
    }

    fn begin_write(&mut self, key: Key, turn: u8, finding: Finding, since: Option<Instant>) {
        let served = self.served.as_ref().and_then(|served| served.get(&key.kind())).cloned();
        let (Some(served), Some(step)) = (served, finding.steps.first().cloned()) else {
            return;
        };
        let job = Job {
            key: key.clone(),
            step,
            served,
            declaration: finding.declaration.clone(),
        };
        let flight = Flight {
            turn,
            job: job.clone(),
            finding,
            since,
            touched: None,
        };
        let writer = self.parts.writer.clone();
        self.flights.insert(key.clone(), flight);
        self.jobs.spawn(async move { (key, writer.carry_out(&job).await) });
    }

    fn finish(&mut self, key: &Key, result: Result<Deed, WriteError>) {
        let Some(flight) = self.flights.remove(key) else {
            return;
        };
        let now = Instant::now();
        let action = record::action(&flight.job.step);
        match result {
            Ok(deed) => {
                let outcome = match &deed {
                    Deed::Done(done) => {
                        if let Some(since) = flight.since {
                            self.parts.metrics.healed(now - since);
                        }
                        self.parts
                            .ledger
                            .record(&record::change(&flight.job, &flight.finding, done));
                        WriteOutcome::Done
                    }
                    Deed::Needless => WriteOutcome::Needless,
                };
                self.parts.metrics.count(action, outcome);
                self.setbacks.clear(key);
                self.forgive_dependants(key);
                self.settling.insert(key.clone(), now + ECHO_PATIENCE);
            }
            Err(error) => self.set_back(key, &flight, &error, now),
        }
        if let Some(at) = flight.touched {
            self.settling.remove(key);
            self.mark(key.clone(), Some(at));
        }
        self.unreported = true;
    }

    fn set_back(&mut self, key: &Key, flight: &Flight, error: &WriteError, now: Instant) {
        let failure = error.failure();
        self.parts
            .metrics
            .count(record::action(&flight.job.step), failure.into());
        if self.setbacks.note(key, failure, error.to_string(), now) {
            tracing::warn!(key = %key, %error, "a write failed; it is tried again");
            self.parts
                .ledger
                .record(&record::failure(&flight.job, &flight.finding, failure, error));
        }
    }

    /// A tier that is there now may be what refused policies were waiting for.
    fn forgive_dependants(&mut self, key: &Key) {
        let definition = key.kind().definition();
        if definition.family != Family::Calico || definition.rank != Rank::Tier {
            return;
        }
        let refused = self.setbacks.iter().filter(|(other, setback)| {
            other.kind().definition().family == Family::Calico && setback.failure == Failure::Invalid
        });
        let refused: Vec<Key> = refused.map(|(other, _)| other.clone()).collect();
        for other in refused {
            self.setbacks.clear(&other);
            self.mark(other, None);
        }
    }

    fn next_wake(&self) -> Instant {
        let now = Instant::now();
        let report = self.unreported.then_some(self.reported + REPORT_EVERY);
        let first_plan = self.first_plan.filter(|deadline| *deadline > now);
        let echo = self.settling.values().min().copied();
        let due = [report, first_plan, echo, self.setbacks.next_due()];
        due.into_iter().flatten().min().unwrap_or(now + Duration::from_secs(60))
    }

    fn wake(&mut self) {
        let now = Instant::now();
        for key in self.setbacks.due(now) {
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
    }

    /// Brings the report up to date when there is nothing left to do, and now and then while there is.
    fn publish(&mut self) {
        let waiting = self.queue.len() + self.flights.len() + self.doubtful.len() + self.asked.len();
        self.parts.metrics.queue.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        let busy = waiting > 0
            || self.setbacks.iter().any(|(_, setback)| {
                setback.attempts < QUIET_ATTEMPTS
                    && matches!(setback.failure, Failure::Denied | Failure::Conflict | Failure::NotFound)
            });
        let ready = self.is_ready() && self.dirty.is_empty();
        if !self.unreported || !ready || (busy && self.reported.elapsed() < REPORT_EVERY) {
            return;
        }
        let mut report = Report::of(self.findings.iter(), &self.setbacks);
        report.complete = self.live.is_complete();
        for source in self.desired.sources() {
            let tally = report.sources.entry(Arc::clone(&source.name)).or_default();
            tally.being_removed = source.being_removed;
            tally.commit = source.head.as_ref().map(|head| head.commit.id.clone());
        }
        let drift = self
            .findings
            .values()
            .filter(|finding| finding.standing.is_drift())
            .count();
        self.parts.metrics.drift.set(i64::try_from(drift).unwrap_or(i64::MAX));
        let report = Arc::new(report);
        self.parts.reports.send_if_modified(|before| {
            let changed = **before != *report;
            *before = Arc::clone(&report);
            changed
        });
        self.reported = Instant::now();
        self.unreported = false;
    }
}

async fn wait_for(refresh: &mut Option<BoxFuture<'static, Instant>>) -> Instant {
    match refresh {
        Some(refresh) => refresh.await,
        None => future::pending().await,
    }
}
