//! Keeps the heads of all sources current, and answers what they declare.

mod roster;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::address::UrlRules;
use super::announcement::Awaited;
use super::blobs::Blobs;
use super::board::{Board, Reports};
use super::desired::DesiredState;
use super::evaluation::Head;
use super::flight::Flight;
use super::limits::Limits;
use super::metrics::{Metrics, encode_staleness};
use super::mirror::{FetchError, Mirror};
use super::opened::Opened;
use super::passage::{Passage, passage};
use super::reader::ReadError;
use super::snapshot::{Entry, Snapshot};
use super::wanted::Wanted;
use crate::policy::Manifest;

pub use super::report::{Attempt, Refusal, RefusalReason, SourceReport, Verification};
pub use super::signature::SignatureFault;

/// Mirrors that are read at the same time.
const READERS: usize = 2;
/// Mirrors that are opened at the same time. One that another process or task lets go of is waited for a moment, which must not
/// hold up who reads.
const OPENERS: usize = 8;
/// Repositories that are fetched at the same time. Generous: one that hangs holds its place until it is cut off.
const FETCHES: usize = 32;

/// What a source's Secret holds, by key.
pub type Credentials = BTreeMap<String, Vec<u8>>;

/// Reads the Secrets that sources name; handed in, since this room does not talk to Kubernetes.
pub trait CredentialStore: Send + Sync {
    /// The content of the Secret of this name, or why it cannot be had, for people.
    fn load<'a>(&'a self, name: &'a str) -> Pin<Box<dyn Future<Output = Result<Credentials, String>> + Send + 'a>>;
}

/// How a keeper works.
pub struct KeeperOptions {
    /// Holds one bare mirror a source.
    pub state_dir: PathBuf,
    /// Which URLs sources may name.
    pub urls: UrlRules,
    /// After this long a fetch is cut off.
    pub fetch_timeout: Duration,
    /// What one repository may cost.
    pub limits: Limits,
    /// Where credentials come from.
    pub credentials: Arc<dyn CredentialStore>,
}

/// Keeps heads current: one task a source. Cheap to clone.
#[derive(Clone)]
pub struct Keeper {
    shared: Arc<Shared>,
    running: Arc<Mutex<BTreeMap<Arc<str>, Running>>>,
    /// Whether the list of sources was ever given.
    listed: Arc<AtomicBool>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    /// Cancelled when a task panicked.
    broken: CancellationToken,
}

/// What all tasks share.
pub(super) struct Shared {
    pub(super) options: KeeperOptions,
    pub(super) board: Board,
    pub(super) blobs: Blobs,
    pub(super) opened: Opened,
    pub(super) metrics: Metrics,
    pub(super) readers: Arc<Semaphore>,
    pub(super) openers: Arc<Semaphore>,
    pub(super) fetches: Arc<Semaphore>,
}

/// A source becomes stale without anything happening, so this is looked up when it is asked for.
struct Staleness(Weak<Shared>);

impl std::fmt::Debug for Staleness {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Staleness")
    }
}

impl Collector for Staleness {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let Some(shared) = self.0.upgrade() else { return Ok(()) };
        encode_staleness(&shared.board.desired(), Timestamp::now(), encoder)
    }
}

impl Shared {
    /// Lets go of what is kept for who reads many objects one after the other, once nobody does any more.
    pub(super) fn tidy(&self) {
        self.blobs.tidy();
        self.opened.tidy();
    }

    /// Reads a mirror, few at a time.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        on_disk(&self.readers, work).await
    }

    /// Opens a mirror, few at a time.
    pub(super) async fn open(&self, name: Arc<str>, url: String) -> Result<Mirror, FetchError> {
        let folder = self.options.state_dir.clone();
        on_disk(&self.openers, move || Ok(Mirror::open(&folder, &name, &url)?)).await
    }
}

/// Runs what blocks on the disk in a thread of its own: each costs memory, so there are as many as there are permits.
async fn on_disk<T, E>(permits: &Arc<Semaphore>, work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<ReadError> + Send + 'static,
{
    // The semaphores are never closed; were one, working without a permit does no harm.
    let permit = Arc::clone(permits).acquire_owned().await;
    let span = tracing::Span::current();
    let task = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        span.in_scope(work)
    });
    task.await.unwrap_or_else(|_| Err(ReadError::interrupted().into()))
}

/// The handle of a source's task.
struct Running {
    wanted: watch::Sender<Arc<Wanted>>,
    head: watch::Receiver<Option<Arc<Head>>>,
    flight: Arc<Flight>,
    /// Ends the task and has it remove its mirror.
    removal: CancellationToken,
}

/// What came of waiting for a fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// A fetch that started after the given instant succeeded for every source asked for.
    Fresh,
    /// It failed for these sources, was not tried because the last failure is too recent, or took too long. Never empty.
    NotRefreshed(Vec<NotRead>),
}

/// A source whose repository could not be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotRead {
    /// The source.
    pub source: Arc<str>,
    /// Why, for those whose source it is: it may name their server, or their Secret.
    pub why: String,
}

impl Refresh {
    /// Why it failed, source by source, for who may read of all of them.
    pub fn failure(&self) -> Option<String> {
        let Self::NotRefreshed(sources) = self else { return None };
        let each = sources
            .iter()
            .map(|not_read| format!("{}: {}", not_read.source, not_read.why));
        Some(each.collect::<Vec<_>>().join("; "))
    }
}

impl Keeper {
    /// Starts with no sources. Its tasks end when `shutdown` is cancelled.
    pub fn start(options: KeeperOptions, shutdown: CancellationToken) -> Self {
        let shared = Shared {
            blobs: Blobs::new(options.limits.clone()),
            options,
            board: Board::default(),
            opened: Opened::default(),
            metrics: Metrics::default(),
            readers: Arc::new(Semaphore::new(READERS)),
            openers: Arc::new(Semaphore::new(OPENERS)),
            fetches: Arc::new(Semaphore::new(FETCHES)),
        };
        Self {
            shared: Arc::new(shared),
            running: Arc::default(),
            listed: Arc::default(),
            tasks: TaskTracker::new(),
            broken: CancellationToken::new(),
            shutdown,
        }
    }

    /// The desired state now. Never blocks.
    pub fn desired(&self) -> Arc<DesiredState> {
        self.shared.board.desired()
    }

    /// Counts up whenever what the desired state declares, covers or enforces has changed (a mere confirmation does not count).
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.board.changes()
    }

    /// How each source fares, by name.
    pub fn reports(&self) -> watch::Receiver<Arc<Reports>> {
        self.shared.board.reports()
    }

    /// Hands what is counted on the way, and how fresh each source is, to a registry.
    pub fn register(&self, registry: &mut Registry) {
        self.shared.metrics.register(registry);
        registry.register_collector(Box::new(Staleness(Arc::downgrade(&self.shared))));
    }

    /// Whether every listed source has a head, or has been looked at once, or never will be; false before the first
    /// list. What readiness waits for.
    pub fn settled(&self) -> bool {
        if !self.listed.load(Ordering::Relaxed) {
            return false;
        }
        // Not borrowed while the other lock is held: whoever publishes takes them the other way round.
        let reports = Arc::clone(&self.reports().borrow());
        self.running().iter().all(|(name, source)| {
            let report = reports.get(name);
            let looked_at = report.is_some_and(|report| report.head.is_some() || report.attempt.is_some());
            looked_at || source.wanted.borrow().never_fetches(false)
        })
    }

    /// Waits for a fetch of these sources that started after `since`: one fetch is shared by all who wait. After a
    /// failure none waits for ten seconds; over time one fetch a second and source, and three in a row. Where none can
    /// start within the patience nobody waits.
    pub async fn refresh(&self, sources: &[Arc<str>], since: Instant, patience: Duration) -> Refresh {
        let waits: Vec<_> = sources.iter().map(|name| (name, self.flight(name))).collect();
        let waits = waits.into_iter().map(|(name, flight)| async move {
            let why = match flight {
                Ok(flight) => flight.wait(since, patience).await.err()?,
                Err(why) => why.to_owned(),
            };
            Some(NotRead {
                source: Arc::clone(name),
                why,
            })
        });
        let failed: Vec<NotRead> = futures::future::join_all(waits).await.into_iter().flatten().collect();
        if failed.is_empty() {
            Refresh::Fresh
        } else {
            Refresh::NotRefreshed(failed)
        }
    }

    /// Waits until these sources have the commits that were announced to this replica, or until that cannot be waited for
    /// any longer: at most two seconds after the first announcement, whatever came after it.
    pub async fn catch_up(&self, awaited: &[(Arc<str>, Awaited)]) {
        let waits = awaited.iter().map(|(name, awaited)| async move {
            if let Ok(flight) = self.flight(name) {
                let patience = awaited.until.saturating_duration_since(Instant::now());
                // Where it fails, the head there is decides.
                let _ = flight.wait_for_news(awaited.since, patience).await;
            }
        });
        futures::future::join_all(waits).await;
    }

    /// Asks for a fetch at once, since somebody has news of the repository; false where the source is never fetched. News
    /// without end costs one fetch a second.
    pub fn urge(&self, source: &str) -> bool {
        let flight = self.flight(source);
        flight.is_ok_and(|flight| {
            flight.urge();
            true
        })
    }

    /// Reads what a head declares from the mirror.
    ///
    /// # Errors
    /// For people: why the object cannot be read.
    pub async fn manifest(&self, source: &str, entry: &Entry) -> Result<Arc<Manifest>, String> {
        let head = self
            .running()
            .get(source)
            .and_then(|running| running.head.borrow().clone());
        let head = head.ok_or_else(|| format!("source {source} has no head here"))?;
        let (blob, index) = (entry.blob, entry.index);
        let shared = Arc::clone(&self.shared);
        let read = self
            .shared
            .read(move || shared.blobs.manifests(|| shared.opened.reader(&head.store), blob));
        let manifests = read.await.map_err(|error| error.to_string())?;
        let found = manifests.as_ref().and_then(|manifests| manifests.get(index));
        match found {
            Some(manifest) if manifest.digest == entry.digest => Ok(Arc::clone(manifest)),
            _ => Err(format!(
                "{} does not hold the object that its head declares",
                entry.path
            )),
        }
    }

    /// What a head is against an earlier one of the source. `known` is the earlier one's snapshot, where the caller has it.
    ///
    /// # Errors
    /// For people: why the mirror cannot be read.
    pub async fn passage(
        &self,
        source: &str,
        from: &str,
        known: Option<Arc<Snapshot>>,
        to: Arc<Snapshot>,
    ) -> Result<Passage, String> {
        let head = self
            .running()
            .get(source)
            .and_then(|running| running.head.borrow().clone());
        let head = head.ok_or_else(|| format!("source {source} has no head here"))?;
        let (from, blobs) = (from.to_owned(), self.shared.blobs.clone());
        let look = move || passage(&head, &blobs, &from, known.as_deref(), &to);
        self.shared.read(look).await.map_err(|error| error.to_string())
    }

    /// Waits until a task has panicked: its head would stay in force and never move again, so the process should end.
    pub async fn broken(&self) {
        self.broken.cancelled().await;
    }

    /// Waits until every task has ended, after `shutdown` was cancelled.
    pub async fn stopped(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn flight(&self, name: &str) -> Result<Arc<Flight>, &'static str> {
        let running = self.running();
        let Some(source) = running.get(name) else {
            return Err("there is no such source");
        };
        let wanted = source.wanted.borrow();
        let has_head = source.head.borrow().is_some();
        match wanted.never_fetches(has_head) {
            true if wanted.invalid.is_some() => Err("its spec cannot be used"),
            true => Err("it is suspended"),
            false => Ok(Arc::clone(&source.flight)),
        }
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
