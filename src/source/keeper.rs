//! Keeps the heads of all sources current, and answers what they declare.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::desired::DesiredState;
use super::resource::PolicySource;
use super::snapshot::{Entry, Snapshot};
use crate::policy::Manifest;

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
    /// Whether `file:` URLs may be used.
    pub allow_file_urls: bool,
    /// After this long a fetch is cut off.
    pub fetch_timeout: Duration,
    /// Where credentials come from.
    pub credentials: Arc<dyn CredentialStore>,
}

/// Keeps heads current: one task a source. Cheap to clone.
#[derive(Clone)]
pub struct Keeper {
    desired: Arc<arc_swap::ArcSwap<DesiredState>>,
    changed: watch::Sender<u64>,
    reports: watch::Sender<Arc<BTreeMap<Arc<str>, SourceReport>>>,
}

/// What came of waiting for a fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// A fetch that started after the given instant succeeded for every source asked for.
    Fresh,
    /// It failed, was not tried because the last failure is too recent, or took too long; why, for people.
    NotRefreshed(String),
}

/// Why a fetched commit is not in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// A file that counts cannot be read, or has an error.
    UnreadableFile,
    /// Two files declare one object.
    DuplicateObject,
    /// It does not descend from the head.
    HistoryRewritten,
    /// It removes more than `maxRemovals`.
    TooManyRemovals,
    /// It declares nothing, and the head declared something; or `spec.git.path` is not in it.
    EmptyTree,
    /// It is not signed as `spec.verify` asks.
    NotVerified,
    /// The ref, or the pinned commit, is not in the repository or not on the branch.
    NotFound,
}

/// A commit that was fetched and not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its full id; empty where the ref was not found.
    pub commit: String,
    /// Why.
    pub reason: RefusalReason,
    /// Why, for people: names files and lines, at most 1 KB.
    pub message: String,
}

/// A look at a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When it ended.
    pub at: Timestamp,
    /// Why it failed, for people; URLs and credentials left out.
    pub outcome: Result<(), String>,
}

/// How a source fares at this replica; the sync role makes its status from it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceReport {
    /// The generation of the spec that this speaks of.
    pub generation: Option<i64>,
    /// Why the spec cannot be used, if so.
    pub invalid: Option<String>,
    /// The last look at the repository; none before the first ended.
    pub attempt: Option<Attempt>,
    /// The commit that was fetched last and is not in force, if so.
    pub refusal: Option<Refusal>,
    /// The head in force.
    pub head: Option<Arc<Snapshot>>,
    /// The furthest commit of the branch that was ever in force.
    pub highest_head: Option<String>,
}

impl Keeper {
    /// Starts with no sources. Its tasks end when `shutdown` is cancelled.
    pub fn start(options: KeeperOptions, shutdown: CancellationToken) -> Self {
        let _ = (options, shutdown);
        Self {
            desired: Arc::default(),
            changed: watch::Sender::new(0),
            reports: watch::Sender::default(),
        }
    }

    /// Takes the list of sources as the API server has it now: starts, restarts and stops tasks accordingly.
    pub fn set_sources(&self, sources: Vec<PolicySource>) {
        let _ = sources;
    }

    /// The desired state now. Never blocks.
    pub fn desired(&self) -> Arc<DesiredState> {
        self.desired.load_full()
    }

    /// Counts up whenever what the desired state declares, covers or enforces has changed (a mere confirmation does not count).
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// How each source fares, by name.
    pub fn reports(&self) -> watch::Receiver<Arc<BTreeMap<Arc<str>, SourceReport>>> {
        self.reports.subscribe()
    }

    /// Waits for a fetch of these sources that started after `since`: one fetch is shared by all who wait. After a
    /// failure none waits for ten seconds; at most one fetch a second and source.
    pub async fn refresh(&self, sources: &[Arc<str>], since: Instant, patience: Duration) -> Refresh {
        let _ = (sources, since, patience);
        Refresh::NotRefreshed("not built".to_owned())
    }

    /// Reads what a head declares from the mirror.
    ///
    /// # Errors
    /// For people: why the object cannot be read.
    pub async fn manifest(&self, source: &str, entry: &Entry) -> Result<Arc<Manifest>, String> {
        let _ = (source, entry);
        Err("not built".to_owned())
    }
}
