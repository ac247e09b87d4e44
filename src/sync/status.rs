//! Keeps the status of every `PolicySource` current, and lets go of sources that are being removed.

mod history;
mod overlaps;
mod pace;
mod sources;
mod wording;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::report::{Report, Tally};
use super::request::{CallError, Failure, within};
use crate::gate::Rules;
use crate::ledger::{Ledger, Outcome, Record, Subject};
use crate::source::keeper::Refusal;
use crate::source::resource::OnRemoval;
use crate::source::{
    Changes, DesiredState, Keeper, Passage, PolicySource, PolicySourceStatus, Snapshot, SourceReport, SourceState,
};
use history::Moved;
use overlaps::Overlaps;
use pace::Pace;
use sources::Sources;
use wording::{Facts, is_behind, status_of};

/// While nothing changes, the loop looks up this often.
const LONGEST_SLEEP: Duration = Duration::from_mins(1);
/// A failed write is tried again after this long.
const RETRY: Duration = Duration::from_secs(1);
/// The manager of the status fields.
const STATUS_MANAGER: &str = "headgate-sync";
/// Keeps a source with `onRemoval: Prune` until its objects are gone.
pub(super) const FINALIZER: &str = "headgate.dev/removal";

/// Writes the sources' status.
pub(super) struct Herald {
    api: Api<PolicySource>,
    keeper: Keeper,
    rules: Arc<Rules>,
    ledger: Ledger,
    reports: watch::Receiver<Arc<Report>>,
    patience: Duration,
    sources: Sources,
    /// When a source's status may be written again after a failure.
    retries: HashMap<String, Instant>,
    /// What was recorded of each source: its head, and the commit refused last.
    recorded: HashMap<String, (Option<String>, Option<Refusal>)>,
    overlaps: Overlaps,
    /// The head that each source's status names, where it was written here: what the next one is compared with.
    heads: HashMap<String, Arc<Snapshot>>,
    /// The hash of the configuration that is in force.
    configuration: String,
    /// What each source's status was made of last.
    told: HashMap<String, Basis>,
    pace: Pace,
}

/// What a status is made of. While it is the same, so is the status.
struct Basis {
    look: SourceReport,
    state: Option<Arc<SourceState>>,
    tally: Option<Tally>,
    complete: bool,
    comparisons: u64,
    /// It becomes stale with time alone.
    is_stale: bool,
    version: Option<String>,
}

impl PartialEq for Basis {
    fn eq(&self, other: &Self) -> bool {
        let same_state = match (&self.state, &other.state) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        let rest = |it: &Self| (it.complete, it.comparisons, it.is_stale);
        let same_rest = rest(self) == rest(other) && self.version == other.version;
        same_state && same_rest && self.look == other.look && self.tally == other.tally
    }
}

/// All that the loop and the keeper have to say, taken at one moment.
struct News {
    report: Arc<Report>,
    desired: Arc<DesiredState>,
    comparisons: u64,
    /// Sources for which objects are being written, or that are being read for the first time.
    in_progress: usize,
}

impl Herald {
    pub(super) fn new(
        client: Client,
        keeper: Keeper,
        rules: Arc<Rules>,
        ledger: Ledger,
        reports: watch::Receiver<Arc<Report>>,
        patience: Duration,
    ) -> Self {
        Self {
            api: Api::all(client),
            keeper,
            rules,
            ledger,
            reports,
            patience,
            sources: Sources::default(),
            retries: HashMap::new(),
            recorded: HashMap::new(),
            overlaps: Overlaps::default(),
            heads: HashMap::new(),
            configuration: String::new(),
            told: HashMap::new(),
            pace: Pace::default(),
        }
    }

    /// The same with the hash of the configuration that is in force.
    pub(super) fn with_configuration(self, configuration: String) -> Self {
        Self { configuration, ..self }
    }

    /// Works until cancelled. What a commit changes in the status (its head, its announcement) is written at once, and
    /// while the loop begins to apply it: other replicas accept the loop's writes as soon as they have fetched it.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        let mut looks = self.keeper.reports();
        let stream = watcher(self.api.clone(), watcher::Config::default()).default_backoff();
        tokio::pin!(stream);
        loop {
            // While the list is incomplete nothing is written, and no retry is due.
            let wake = if self.sources.are_listed() {
                self.next_wake()
            } else {
                LONGEST_SLEEP
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                event = stream.next() => match event {
                    Some(Ok(event)) => for gone in self.sources.take(event) { self.forget(&gone) },
                    Some(Err(error)) => {
                        tracing::warn!(%error, "the watch on sources failed; it is taken up again");
                        continue;
                    }
                    None => return,
                },
                changed = looks.changed() => if changed.is_err() { return },
                changed = self.reports.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(wake) => {}
            }
            if self.sources.are_listed() {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = self.write_all() => {}
                }
            }
        }
    }

    fn forget(&mut self, name: &str) {
        self.recorded.remove(name);
        self.retries.remove(name);
        self.told.remove(name);
        self.heads.remove(name);
        self.pace.forget(name);
    }

    fn next_wake(&self) -> Duration {
        let again = |name: &String| self.retries.get(name).copied();
        // What could not be written is not tried earlier for having something to tell.
        let waiting = self
            .pace
            .waiting()
            .map(|(name, due)| again(name).map_or(due, |at| at.max(due)));
        let due = self.retries.values().copied().chain(waiting).min();
        let left = due.map_or(LONGEST_SLEEP, |at| at.saturating_duration_since(Instant::now()));
        left.min(self.next_stale().unwrap_or(LONGEST_SLEEP))
    }

    /// Until the next source becomes stale: nothing else happens then.
    fn next_stale(&self) -> Option<Duration> {
        let now = Timestamp::now();
        let desired = self.keeper.desired();
        let left = desired.sources().iter().filter_map(|source| {
            let left = source.settings.stale_after.checked_sub(source.age(now)?)?;
            Some(left + Duration::from_millis(10))
        });
        left.min()
    }

    /// Writes what is new. A source about which there is no news costs a comparison.
    async fn write_all(&mut self) {
        let looks = self.keeper.reports().borrow().clone();
        let news = self.news(&looks);
        let names: Vec<String> = self.sources.names().cloned().collect();
        for name in names {
            let Some(look) = looks.get(name.as_str()) else {
                self.retries.remove(&name);
                continue;
            };
            let now = Instant::now();
            if self.retries.get(&name).is_some_and(|at| *at > now) {
                continue;
            }
            let is_due = self.retries.remove(&name).is_some() || self.pace.is_due(&name, now);
            let mut basis = self.basis(&name, look, &news);
            if !is_due && self.told.get(&name) == Some(&basis) {
                continue;
            }
            self.record(&name, look);
            match self.write(&name, look, &news).await {
                Ok(()) => {
                    // What the status was made of; only its own write is newer.
                    basis.version = self.sources.get(&name).and_then(ResourceExt::resource_version);
                    self.told.insert(name, basis);
                }
                Err(error) if error.failure() == Failure::NotFound => {}
                Err(error) => {
                    tracing::warn!(source = name, %error, "cannot write the source's status; trying again");
                    self.retries.insert(name, Instant::now() + RETRY);
                }
            }
        }
    }

    fn news(&mut self, looks: &BTreeMap<Arc<str>, SourceReport>) -> News {
        let (report, desired) = (self.reports.borrow().clone(), self.keeper.desired());
        let written = report.sources.values().filter(|tally| tally.progress.is_some()).count();
        let is_fetched = |name: &str| desired.source(name).is_some_and(|state| !state.settings.suspend);
        let is_being_read = |(name, look): &(&Arc<str>, &SourceReport)| {
            look.head.is_none() && look.attempt.is_none() && look.invalid.is_none() && is_fetched(name)
        };
        News {
            comparisons: self.overlaps.follow(&desired),
            in_progress: written + looks.iter().filter(is_being_read).count(),
            report,
            desired,
        }
    }

    fn basis(&self, name: &str, look: &SourceReport, news: &News) -> Basis {
        let state = news.desired.source(name).cloned();
        Basis {
            look: look.clone(),
            is_stale: state.as_ref().is_some_and(|state| state.is_stale(Timestamp::now())),
            state,
            tally: news.report.sources.get(name).cloned(),
            complete: news.report.complete,
            comparisons: news.comparisons,
            version: self.sources.get(name).and_then(ResourceExt::resource_version),
        }
    }

    async fn write(&mut self, name: &str, look: &SourceReport, news: &News) -> Result<(), CallError> {
        let Some(source) = self.sources.get(name).cloned() else {
            return Ok(());
        };
        let state = news.desired.source(name).map(Arc::as_ref);
        let from = source.status.as_ref().and_then(|status| status.head.as_ref());
        let from = from.map(|head| head.commit.as_str());
        let head = look.head.as_ref().filter(|_| !is_behind(look, state, from));
        let passage = match head {
            Some(head) => self.passage(name, from, head).await,
            None => None,
        };
        let moved = head.zip(passage.as_ref()).map(|(head, passage)| Moved {
            head,
            from,
            passage,
            pinned: state.is_some_and(|state| state.settings.reference.commit.is_some()),
        });
        let facts = Facts {
            generation: source.metadata.generation,
            before: source.status.as_ref(),
            look,
            state,
            moved,
            overlapping: self.overlaps.of(name),
            tally: news.report.sources.get(name),
            complete: news.report.complete,
            scope: source.spec.scope_digest(),
            gate_mode: self.rules.mode,
            configuration: &self.configuration,
            now: Timestamp::now(),
        };
        let status = status_of(&facts);
        let worth = pace::worth(source.status.as_ref(), &status);
        if self.pace.permits(name, worth, news.in_progress, Instant::now()) {
            self.write_status(&source, status).await?;
        }
        let named = self
            .sources
            .get(name)
            .and_then(|source| Some(&source.status.as_ref()?.head.as_ref()?.commit));
        if let Some(head) = head.filter(|head| named == Some(&head.commit.id)) {
            self.heads.insert(name.to_owned(), Arc::clone(head));
        }
        // The finalizers and the version that guards them have to come from one and the same state.
        match self.sources.get(name).cloned() {
            Some(source) => self.tend_finalizer(&source, &news.report).await,
            None => Ok(()),
        }
    }

    /// What the head is against the one that the status names; none where it is that one.
    async fn passage(&self, name: &str, from: Option<&str>, head: &Arc<Snapshot>) -> Option<Passage> {
        let Some(from) = from else {
            return Some(Passage {
                changes: Some(Changes::first_of(head)),
                ..Passage::default()
            });
        };
        if from == head.commit.id {
            return None;
        }
        let known = self.heads.get(name).cloned();
        let looked = self.keeper.passage(name, from, known, Arc::clone(head)).await;
        Some(looked.unwrap_or_else(|error| {
            tracing::warn!(
                source = name,
                error,
                "what a commit changed cannot be told in the source's history"
            );
            Passage::default()
        }))
    }

    async fn write_status(&mut self, source: &PolicySource, status: PolicySourceStatus) -> Result<(), CallError> {
        let name = source.name_any();
        let patch = Patch::Apply(json!({
            "apiVersion": PolicySource::api_version(&()),
            "kind": PolicySource::kind(&()),
            // The uid keeps the head of one source from a later one of the same name.
            "metadata": {"name": name, "uid": source.metadata.uid},
            "status": status,
        }));
        let params = PatchParams::apply(STATUS_MANAGER).force();
        let call = self.api.patch_status(&name, &params, &patch);
        let written = within(self.patience, call).await?;
        self.sources.note(written);
        Ok(())
    }

    /// Holds a source that takes its objects along until they are gone.
    async fn tend_finalizer(&mut self, source: &PolicySource, report: &Report) -> Result<(), CallError> {
        let has = source.finalizers().iter().any(|name| name == FINALIZER);
        let prunes = source.spec.sync.on_removal == OnRemoval::Prune;
        let going = source.metadata.deletion_timestamp.is_some();
        let done = self.is_cleared(&source.name_any(), report);
        let finalizers: Vec<&str> = source.finalizers().iter().map(String::as_str).collect();
        match (has, prunes) {
            (false, true) if !going => {
                let with = finalizers.iter().copied().chain([FINALIZER]).collect();
                self.write_finalizers(source, with).await
            }
            (true, _) if !prunes || (going && done) => {
                let without = finalizers.into_iter().filter(|name| *name != FINALIZER).collect();
                self.write_finalizers(source, without).await
            }
            _ => Ok(()),
        }
    }

    /// Whether nothing is left that the source would take along. Of a head that is not here (yet) nothing is known.
    fn is_cleared(&self, name: &str, report: &Report) -> bool {
        let desired = self.keeper.desired();
        let Some(state) = desired
            .source(name)
            .filter(|state| state.head.is_some() || !state.had_head)
        else {
            return false;
        };
        // A report from before the head came counts nothing of what it declares.
        let head = state.head.as_ref().map(|head| head.commit.id.as_str());
        let cleared = |tally: &Tally| {
            let is_done = tally.leaving == 0 && tally.unknown == 0 && tally.not_listed.is_empty();
            tally.being_removed && tally.commit.as_deref() == head && is_done
        };
        report.complete && report.sources.get(name).is_some_and(cleared)
    }

    async fn write_finalizers(&mut self, source: &PolicySource, finalizers: Vec<&str>) -> Result<(), CallError> {
        let name = source.name_any();
        let patch = Patch::Merge(json!({"metadata": {
            "finalizers": finalizers,
            "resourceVersion": self.sources.get(&name).and_then(ResourceExt::resource_version),
        }}));
        let params = PatchParams::default();
        let call = self.api.patch(&name, &params, &patch);
        let written = within(self.patience, call).await?;
        self.sources.note(written);
        Ok(())
    }

    /// Tells the ledger once what was accepted and what was refused.
    fn record(&mut self, name: &str, look: &SourceReport) {
        let head = look.head.as_ref().map(|head| head.commit.id.clone());
        let now = (head, look.refusal.clone());
        let before = self.recorded.insert(name.to_owned(), now.clone()).unwrap_or_default();
        if let Some(snapshot) = look.head.as_ref().filter(|_| before.0 != now.0) {
            let message = format!("Source {name} is at {} now.", snapshot.commit.short());
            let mut record = Record::new(Timestamp::now(), Subject::Head, Outcome::Accepted, "accepted", message);
            record.source = Some(name.to_owned());
            record.commit = Some(snapshot.commit.id.clone());
            self.ledger.record(record);
        }
        if let Some(refusal) = look.refusal.as_ref().filter(|_| before.1 != now.1) {
            let reason = refusal.reason.as_str();
            let message = format!("Source {name} does not follow to a new commit: {}", refusal.message);
            let mut record = Record::new(Timestamp::now(), Subject::Head, Outcome::Refused, reason, message);
            record.source = Some(name.to_owned());
            record.commit = Some(refusal.commit.clone()).filter(|commit| !commit.is_empty());
            self.ledger.record(record);
        }
    }
}
