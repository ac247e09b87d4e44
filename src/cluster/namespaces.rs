//! Which namespaces are going: their policies may go with them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use tokio_util::sync::CancellationToken;

use super::ClusterError;

/// A watch is renewed after this long, so that a connection that died silently is not trusted for longer.
const WATCH_SECONDS: u32 = 60;

/// Follows the namespaces that are going. Cheap to clone.
#[derive(Clone)]
pub struct Namespaces {
    client: Client,
    terminating: Arc<ArcSwap<HashSet<String>>>,
}

impl Namespaces {
    /// Nothing is known before [`Namespaces::follow`] runs.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            terminating: Arc::default(),
        }
    }

    /// The namespaces that are going, as last seen.
    pub fn terminating(&self) -> Arc<HashSet<String>> {
        self.terminating.load_full()
    }

    /// Asks the API server itself whether a namespace is going, for at most this long. No answer counts as no.
    pub async fn is_terminating_now(&self, name: &str, patience: Duration) -> bool {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let look = tokio::time::timeout(patience, api.get_metadata_opt(name)).await;
        matches!(look, Ok(Ok(Some(namespace))) if namespace.metadata.deletion_timestamp.is_some())
    }

    /// Follows the namespaces until told to stop.
    ///
    /// # Errors
    /// When the watch ends by itself.
    pub async fn follow(self, shutdown: CancellationToken) -> Result<(), ClusterError> {
        let api: Api<PartialObjectMeta<Namespace>> = Api::all(self.client.clone());
        let mut events = watcher(api, watcher::Config::default().timeout(WATCH_SECONDS))
            .default_backoff()
            .boxed();
        let mut listing = HashSet::new();
        loop {
            let event = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                event = events.next() => event.ok_or(ClusterError::Ended("namespaces"))?,
            };
            match event {
                Ok(event) => self.apply(event, &mut listing),
                Err(error) => tracing::warn!(%error, "namespaces cannot be watched; what was seen last stays in force"),
            }
        }
    }

    fn apply(&self, event: watcher::Event<PartialObjectMeta<Namespace>>, listing: &mut HashSet<String>) {
        match event {
            watcher::Event::Init => listing.clear(),
            watcher::Event::InitApply(namespace) => put(listing, &namespace),
            watcher::Event::InitDone => self.terminating.store(Arc::new(std::mem::take(listing))),
            watcher::Event::Apply(namespace) => self.change(|terminating| put(terminating, &namespace)),
            watcher::Event::Delete(namespace) => self.change(|terminating| {
                terminating.remove(&namespace.name_any());
            }),
        }
    }

    /// Only [`Namespaces::follow`] writes, so what is loaded here is not overtaken before it is stored.
    fn change(&self, change: impl FnOnce(&mut HashSet<String>)) {
        let mut terminating = HashSet::clone(&self.terminating.load());
        change(&mut terminating);
        self.terminating.store(Arc::new(terminating));
    }
}

fn put(terminating: &mut HashSet<String>, namespace: &PartialObjectMeta<Namespace>) {
    let name = namespace.name_any();
    if namespace.metadata.deletion_timestamp.is_some() {
        terminating.insert(name);
    } else {
        terminating.remove(&name);
    }
}
