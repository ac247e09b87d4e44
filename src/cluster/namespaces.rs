//! Which namespaces exist, and which are going.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::ClusterError;

/// The namespaces as last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Those that exist, the ones that are going included.
    pub existing: HashSet<String>,
    /// Those that are going.
    pub terminating: HashSet<String>,
    /// Whether they have been listed completely at least once.
    pub listed: bool,
}

/// Follows the namespaces. Cheap to clone.
#[derive(Clone)]
pub struct Namespaces {
    client: Client,
    view: watch::Sender<Arc<View>>,
}

impl Namespaces {
    /// Nothing is known before [`Namespaces::follow`] runs.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            view: watch::Sender::default(),
        }
    }

    /// The namespaces as last seen.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    /// Tells when the view changes.
    pub fn changes(&self) -> watch::Receiver<Arc<View>> {
        self.view.subscribe()
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
        let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
        let mut listing = View::default();
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

    fn apply(&self, event: watcher::Event<PartialObjectMeta<Namespace>>, listing: &mut View) {
        match event {
            watcher::Event::Init => *listing = View::default(),
            watcher::Event::InitApply(namespace) => listing.put(&namespace),
            watcher::Event::InitDone => {
                listing.listed = true;
                self.view.send_replace(Arc::new(std::mem::take(listing)));
            }
            watcher::Event::Apply(namespace) => self.view.send_modify(|view| Arc::make_mut(view).put(&namespace)),
            watcher::Event::Delete(namespace) => {
                self.view
                    .send_modify(|view| Arc::make_mut(view).remove(&namespace.name_any()));
            }
        }
    }
}

impl View {
    fn put(&mut self, namespace: &PartialObjectMeta<Namespace>) {
        let name = namespace.name_any();
        if namespace.metadata.deletion_timestamp.is_some() {
            self.terminating.insert(name.clone());
        } else {
            self.terminating.remove(&name);
        }
        self.existing.insert(name);
    }

    fn remove(&mut self, name: &str) {
        self.existing.remove(name);
        self.terminating.remove(name);
    }
}
