//! The tokens of the sources that take pushes: read ahead of any delivery, so that what a delivery costs and how long its
//! answer takes does not tell whether there is such a source.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use futures::StreamExt as _;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::authentication::Token;
use crate::source::{CredentialStore, Keeper};

/// The entry of the Secret.
const ENTRY: &str = "token";
/// Secrets are read again this often.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// A delivery that fails may be the first after a rotation: then they are read again, but not more often than this.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_secs(2);
/// One that could not be read, or used, is read again after this.
const RETRY: Duration = Duration::from_secs(5);
/// Secrets that are read at the same time.
const AT_ONCE: usize = 8;
/// How long a read may take.
const PATIENCE: Duration = Duration::from_secs(10);

type Read = Result<Arc<Token>, String>;

/// What is known of the tokens. Clones are the same.
#[derive(Clone)]
pub struct Tokens {
    keeper: Keeper,
    store: Arc<dyn CredentialStore>,
    /// By the Secret's name.
    read: Arc<ArcSwap<BTreeMap<String, Read>>>,
    doubted: Arc<Notify>,
    /// The Secrets that may have changed.
    doubtful: Arc<Mutex<BTreeSet<String>>>,
}

impl Tokens {
    /// None is known before [`Tokens::keep_current`] has read them.
    pub fn new(keeper: Keeper, store: Arc<dyn CredentialStore>) -> Self {
        Self {
            keeper,
            store,
            read: Arc::default(),
            doubted: Arc::default(),
            doubtful: Arc::default(),
        }
    }

    /// The token of a source; none where it takes no pushes, or its Secret has none.
    pub(super) fn of(&self, source: &str) -> Option<Arc<Token>> {
        let desired = self.keeper.desired();
        let secret = desired.source(source)?.settings.push_secret.as_ref()?;
        self.read.load().get(secret)?.as_ref().ok().cloned()
    }

    /// A delivery for this source did not fit what is known: its Secret may have changed. Nothing is read for a source
    /// that names none.
    pub(super) fn doubt(&self, source: &str) {
        let desired = self.keeper.desired();
        let secret = desired
            .source(source)
            .and_then(|source| source.settings.push_secret.clone());
        let Some(secret) = secret else { return };
        self.doubtful().insert(secret);
        self.doubted.notify_one();
    }

    fn doubtful(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.doubtful.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the Secrets until told to stop: when sources change, when a delivery failed, and every thirty seconds.
    pub async fn keep_current(self, shutdown: CancellationToken) {
        let mut changes = self.keeper.changes();
        let mut all_read: Option<Instant> = None;
        loop {
            let started = Instant::now();
            changes.borrow_and_update();
            let doubtful = std::mem::take(&mut *self.doubtful());
            let is_due = all_read.is_none_or(|at| at + LOOK_EVERY <= started);
            // One failed read of a Secret that is good costs a delivery: the next one comes soon.
            let before = self.read.load_full();
            let failed = |name: &str| before.get(name).is_some_and(Result::is_err);
            self.look(|name| is_due || doubtful.contains(name) || failed(name))
                .await;
            let is_whole = self.read.load().values().all(Result::is_ok);
            let all_at = if is_due { started } else { all_read.unwrap_or(started) };
            all_read = Some(all_at);
            let pause = async {
                tokio::time::sleep_until((started + LOOK_AT_MOST_EVERY).into()).await;
                let next = if is_whole { all_at + LOOK_EVERY } else { started + RETRY };
                let left = tokio::time::sleep_until(next.into());
                tokio::select! {
                    () = self.doubted.notified() => {}
                    () = left => {}
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.until_unread(&mut changes) => {}
                () = pause => {}
            }
        }
    }

    /// Waits until a source names a Secret that was not looked at yet.
    async fn until_unread(&self, changes: &mut tokio::sync::watch::Receiver<u64>) {
        loop {
            let read = self.read.load_full();
            if self.named().iter().any(|name| !read.contains_key(name)) {
                return;
            }
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    fn named(&self) -> BTreeSet<String> {
        let desired = self.keeper.desired();
        let secrets = desired.sources().iter();
        secrets
            .filter_map(|source| source.settings.push_secret.clone())
            .collect()
    }

    /// Reads the Secrets that `wants` picks and those that were never read, and keeps what is known of the others.
    async fn look(&self, wants: impl Fn(&str) -> bool) {
        let before = self.read.load_full();
        let reads = self.named().into_iter().map(|name| {
            let known = before.get(&name).cloned();
            let known = known.filter(|_| !wants(&name));
            async move {
                let read = match known {
                    Some(known) => known,
                    None => self.read_one(&name).await,
                };
                (name, read)
            }
        });
        let reads: BTreeMap<String, Read> = futures::stream::iter(reads).buffer_unordered(AT_ONCE).collect().await;
        for (name, read) in &reads {
            let last = before.get(name);
            match read {
                Err(why) if last.and_then(|last| last.as_ref().err()) != Some(why) => {
                    tracing::warn!(secret = name, "pushes are not taken by this Secret: {why}");
                }
                Ok(_) if !matches!(last, Some(Ok(_))) => {
                    tracing::info!(secret = name, "pushes are taken by the token of this Secret");
                }
                _ => {}
            }
        }
        self.read.store(Arc::new(reads));
    }

    async fn read_one(&self, name: &str) -> Read {
        let entries = tokio::time::timeout(PATIENCE, self.store.load(name))
            .await
            .unwrap_or_else(|_| Err("no answer".to_owned()))?;
        let entry = entries.get(ENTRY).ok_or_else(|| format!("it has no entry {ENTRY}"))?;
        let token = Token::read(entry).map_err(|error| error.to_string())?;
        Ok(Arc::new(token))
    }
}
