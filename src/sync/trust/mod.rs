//! Puts on record when what is trusted changes: the sources, the Secrets that they name, the configuration.
//!
//! The leader tells, and remembers in a Secret what it told: so a process that takes over says what changed meanwhile, and
//! nothing twice. It is a Secret since marks of secrets are in it, and the key that makes them.

mod memory;
mod telling;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use self::memory::{Notebook, Store};
use self::telling::{Present, tell};
use super::request::{CallError, Failure};
use crate::cluster::secrets::SightReceiver;
use crate::ledger::Ledger;
use crate::source::PolicySource;

/// What cannot be read or written is tried again after this long.
const RETRY: Duration = Duration::from_secs(5);
/// With nothing to wait for, the loop looks up this often: that a Secret was seen again as it was wakes nobody, and may be
/// what a new leader waits for.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// The configuration that is in force.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InForce {
    /// Its hash, as metrics and the sources' status have it.
    pub hash: String,
    /// What it says, with everything that it leaves out filled in.
    pub content: Value,
}

/// What is trusted, and where it is remembered.
#[derive(Clone, Debug)]
pub struct TrustOptions {
    /// Headgate's own namespace.
    pub namespace: String,
    /// The configuration that is in force.
    pub configuration: Arc<InForce>,
    /// What this process sees of the sources' Secrets.
    pub sights: SightReceiver,
}

/// Tells the ledger about what is trusted.
pub(super) struct Trust {
    pub(super) client: Client,
    pub(super) options: TrustOptions,
    pub(super) ledger: Ledger,
    pub(super) patience: Duration,
}

impl Trust {
    /// Works until cancelled.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        self.options.sights = self.options.sights.from_now_on();
        let store = Store::new(self.client.clone(), &self.options.namespace, self.patience);
        let api: Api<PolicySource> = Api::all(self.client.clone());
        let stream = watcher(api, watcher::Config::default()).default_backoff();
        let stream = stream.peekable();
        tokio::pin!(stream);
        let mut listing = Some(BTreeMap::new());
        let mut sources = BTreeMap::new();
        let mut notebook: Option<Notebook> = None;
        let mut trouble = false;
        loop {
            let sleep = if trouble { RETRY } else { LONGEST_SLEEP };
            let (mut is_news, mut told) = (true, BTreeSet::new());
            tokio::select! {
                () = shutdown.cancelled() => return,
                event = stream.next() => match event {
                    Some(event) => {
                        told.extend(changed_by(&event));
                        is_news = take(event, &mut listing, &mut sources);
                    }
                    None => return,
                },
                going_on = self.options.sights.changed() => if !going_on { return },
                () = tokio::time::sleep(sleep) => {}
            }
            // Sources often change together, as when they are installed: one look and one write for all of them. Two changes of
            // one source are looked at one by one, and so is what a new list follows, or the first would leave no trace.
            while let Some(Some(next)) = stream.as_mut().peek().now_or_never()
                && changed_by(next).map_or(listing.is_some(), |name| told.insert(name))
                && let Some(event) = stream.next().await
            {
                is_news |= take(event, &mut listing, &mut sources);
            }
            if !is_news || listing.is_some() {
                continue;
            }
            let looked = tokio::select! {
                () = shutdown.cancelled() => return,
                looked = self.look(&store, &sources, &mut notebook) => looked,
            };
            if let Err(error) = &looked
                && !trouble
            {
                tracing::warn!(%error, "what was trusted before cannot be read or noted; trying again");
            }
            trouble = looked.is_err();
        }
    }

    /// Compares what is trusted with what was told last, tells the difference, and notes it.
    async fn look(
        &mut self,
        store: &Store,
        sources: &BTreeMap<String, PolicySource>,
        notebook: &mut Option<Notebook>,
    ) -> Result<(), CallError> {
        let mut notes = match notebook.take() {
            Some(notes) => notes,
            None => store.load().await?,
        };
        let present = Present {
            configuration: &self.options.configuration,
            sources,
            secrets: &self.options.sights.current(),
        };
        let (records, next) = tell(&notes, &present, Timestamp::now());
        // Told first: if this process dies now, it is told twice rather than never.
        for record in records {
            self.ledger.record(record);
        }
        let is_new = next != notes.memory;
        notes.memory = next;
        if !is_new && notes.is_stored {
            *notebook = Some(notes);
            return Ok(());
        }
        notes.is_stored = false;
        match store.save(&notes).await {
            Ok(version) => {
                notes.version = Some(version);
                notes.is_stored = true;
                *notebook = Some(notes);
                Ok(())
            }
            // Another leader told it: what it noted is read before anything else is told.
            Err(error) if error.failure() == Failure::Conflict => Err(error),
            Err(error) => {
                *notebook = Some(notes);
                Err(error)
            }
        }
    }
}

/// The source that changed, where an event speaks of one and not of a list.
fn changed_by(event: &watcher::Result<watcher::Event<PolicySource>>) -> Option<String> {
    match event {
        Ok(watcher::Event::Apply(source) | watcher::Event::Delete(source)) => Some(source.name_any()),
        _ => None,
    }
}

/// Takes in what the watch says; false where nothing that is trusted changed, as when only the status did.
fn take(
    event: watcher::Result<watcher::Event<PolicySource>>,
    listing: &mut Option<BTreeMap<String, PolicySource>>,
    sources: &mut BTreeMap<String, PolicySource>,
) -> bool {
    let event = match event {
        Ok(event) => event,
        Err(error) => {
            tracing::warn!(%error, "the watch on sources failed; it is taken up again");
            return false;
        }
    };
    match event {
        watcher::Event::Init => {
            *listing = Some(BTreeMap::new());
            false
        }
        watcher::Event::InitApply(source) => {
            listing
                .get_or_insert_default()
                .insert(source.name_any(), without_status(source));
            false
        }
        watcher::Event::InitDone => {
            *sources = listing.take().unwrap_or_default();
            true
        }
        watcher::Event::Apply(source) => {
            let identity = |source: &PolicySource| (source.uid(), source.metadata.generation);
            let now = identity(&source);
            let before = sources.insert(source.name_any(), without_status(source));
            before.is_none_or(|before| identity(&before) != now)
        }
        watcher::Event::Delete(source) => {
            sources.remove(&source.name_any());
            true
        }
    }
}

fn without_status(source: PolicySource) -> PolicySource {
    PolicySource { status: None, ..source }
}
