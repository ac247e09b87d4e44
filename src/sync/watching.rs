//! The watches: one on every served kind and one on the namespaces, each handing on what it sees as digests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::core::{ApiResource, PartialObjectMeta};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::echoes::Echoes;
use super::live::Sighting;
use super::namespaces::Phase;
use super::served::{Offer, ServedKinds};
use super::stored::Stored;
use crate::gate::Rules;
use crate::policy::{Key, Kind};

/// A watch is renewed this often, so that a connection that died in silence is noticed.
const WATCH_SECONDS: u32 = 60;
/// A list that brings nothing for this long is begun anew.
const LIST_PATIENCE: Duration = Duration::from_mins(1);

/// Discovery can lag behind a CRD that goes: this long is waited before it is asked why a watch found nothing, or before
/// what a watch could not read is listed.
const RECHECK_DELAY: Duration = Duration::from_millis(500);

/// What the watches have to say.
#[derive(Debug)]
pub(super) enum Sight {
    /// Discovery: these kinds are served.
    Served(ServedKinds),
    /// A part of a kind was listed completely.
    Listed(Kind, Option<&'static str>, Vec<Sighting>, Instant),
    /// An object is new, or has a new state.
    Seen(Sighting, Instant),
    /// An object is gone.
    Lost(Key, Instant),
    /// The namespaces were listed completely.
    Namespaces(Vec<(Arc<str>, Phase)>),
    /// A namespace came, began to go, or is gone.
    Namespace(Arc<str>, Option<Phase>),
}

/// Watches, and hands on what it sees.
#[derive(Clone)]
pub(super) struct Watching {
    pub(super) client: Client,
    pub(super) rules: Arc<Rules>,
    pub(super) echoes: Echoes,
    pub(super) sights: mpsc::Sender<Sight>,
    pub(super) rediscover: Duration,
    pub(super) patience: Duration,
}

/// The kind's watch found that its API is no longer served.
struct NoLongerServed;

impl Watching {
    /// Watches until cancelled, or until nobody listens. Which kinds are served is looked up again and again: a CRD
    /// may come later than Headgate.
    pub(super) async fn run(self, shutdown: CancellationToken) {
        let mut running: HashMap<Kind, (ApiResource, CancellationToken)> = HashMap::new();
        let mut watches: JoinSet<(Kind, Option<NoLongerServed>)> = JoinSet::new();
        let namespaces = self.clone().watch_namespaces();
        tokio::pin!(namespaces);
        let mut known = ServedKinds::new();
        loop {
            let offer = Offer::discover(&self.client, &self.rules.guarded, self.patience).await;
            known = offer.choose(&self.rules.guarded, &known);
            running.retain(|kind, (api, token)| {
                let stays = known.get(kind).is_some_and(|served| served.watch == *api);
                if !stays {
                    token.cancel();
                }
                stays
            });
            if self.sights.send(Sight::Served(known.clone())).await.is_err() {
                return;
            }
            for (kind, served) in &known {
                if running.contains_key(kind) {
                    continue;
                }
                let token = shutdown.child_token();
                watches.spawn(self.clone().watch_kind(*kind, served.watch.clone(), token.clone()));
                running.insert(*kind, (served.watch.clone(), token));
            }
            let pause = if offer.is_complete() {
                self.rediscover
            } else {
                self.rediscover / 10
            };
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
                () = &mut namespaces => return,
                Some(ended) = watches.join_next() => match ended {
                    Ok((kind, Some(NoLongerServed))) => {
                        running.remove(&kind);
                        tokio::time::sleep(RECHECK_DELAY).await;
                    }
                    Ok((_, None)) => {}
                    // A watch that panicked: this part dies, and the process with it.
                    Err(_) => return,
                }
            }
        }
        watches.shutdown().await;
    }

    async fn watch_kind(
        self,
        kind: Kind,
        api: ApiResource,
        token: CancellationToken,
    ) -> (Kind, Option<NoLongerServed>) {
        let parts = kind
            .parts()
            .into_iter()
            .map(|part| Box::pin(self.follow_part(kind, part, &api)));
        let end = tokio::select! {
            () = token.cancelled() => None,
            (end, ..) = futures::future::select_all(parts) => end,
        };
        (kind, end)
    }

    async fn follow_part(&self, kind: Kind, part: Option<&'static str>, api: &ApiResource) -> Option<NoLongerServed> {
        let objects: Api<Stored> = match part {
            None => Api::all_with(self.client.clone(), api),
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, api),
        };
        loop {
            let stream = watcher(objects.clone(), watcher::Config::default().timeout(WATCH_SECONDS)).default_backoff();
            tokio::pin!(stream);
            let mut listing: Option<Vec<Sighting>> = Some(Vec::new());
            while let Some(event) = next(&mut stream, listing.is_some()).await {
                let now = Instant::now();
                let sight = |stored| Sighting::of(kind, api, stored, &self.rules);
                let handed_on = match event {
                    Ok(watcher::Event::Init) => {
                        listing = Some(Vec::new());
                        continue;
                    }
                    Ok(watcher::Event::InitApply(stored)) => {
                        listing.get_or_insert_default().extend(sight(stored));
                        continue;
                    }
                    Ok(watcher::Event::InitDone) => Sight::Listed(kind, part, listing.take().unwrap_or_default(), now),
                    Ok(watcher::Event::Apply(stored)) => match self.echo(kind, &stored).or_else(|| sight(stored)) {
                        Some(sighting) => Sight::Seen(sighting, now),
                        None => continue,
                    },
                    Ok(watcher::Event::Delete(stored)) => {
                        let name = stored.name_any();
                        Sight::Lost(Key::new(kind, stored.namespace().as_deref(), &name), now)
                    }
                    Err(error) if says_not_found(&error) => return Some(NoLongerServed),
                    Err(error) => {
                        tracing::warn!(kind = %kind, %error, "a watch failed; it is taken up again");
                        if cannot_be_read(&error) {
                            // The event is lost; a list says what it said.
                            tokio::time::sleep(RECHECK_DELAY).await;
                            break;
                        }
                        continue;
                    }
                };
                if self.sights.send(handed_on).await.is_err() {
                    return None;
                }
            }
        }
    }

    /// What the object says, where the loop itself has just written it so.
    fn echo(&self, kind: Kind, stored: &Stored) -> Option<Sighting> {
        let metadata = stored.meta();
        let place = Key::new(kind, metadata.namespace.as_deref(), metadata.name.as_deref()?);
        let version = metadata.resource_version.as_deref()?;
        self.echoes
            .take(&place, metadata.uid.as_deref()?, version, Instant::now())
    }

    async fn watch_namespaces(self) {
        let namespaces: Api<PartialObjectMeta<Namespace>> = Api::all(self.client.clone());
        loop {
            let config = watcher::Config::default().timeout(WATCH_SECONDS);
            let stream = watcher(namespaces.clone(), config).default_backoff();
            tokio::pin!(stream);
            let mut listing: Option<Vec<(Arc<str>, Phase)>> = Some(Vec::new());
            while let Some(event) = next(&mut stream, listing.is_some()).await {
                let handed_on = match event {
                    Ok(watcher::Event::Init) => {
                        listing = Some(Vec::new());
                        continue;
                    }
                    Ok(watcher::Event::InitApply(namespace)) => {
                        listing.get_or_insert_default().push(phase(&namespace));
                        continue;
                    }
                    Ok(watcher::Event::InitDone) => Sight::Namespaces(listing.take().unwrap_or_default()),
                    Ok(watcher::Event::Apply(namespace)) => {
                        let (name, phase) = phase(&namespace);
                        Sight::Namespace(name, Some(phase))
                    }
                    Ok(watcher::Event::Delete(namespace)) => Sight::Namespace(phase(&namespace).0, None),
                    Err(error) => {
                        tracing::warn!(%error, "the watch on namespaces failed; it is taken up again");
                        continue;
                    }
                };
                if self.sights.send(handed_on).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// The next event. While a list is under way it has to come in time, since the client would wait for ever; the list is
/// then begun anew.
async fn next<S: futures::Stream + Unpin>(stream: &mut S, listing: bool) -> Option<S::Item> {
    if !listing {
        return stream.next().await;
    }
    tokio::time::timeout(LIST_PATIENCE, stream.next()).await.ok().flatten()
}

pub(super) fn phase(namespace: &PartialObjectMeta<Namespace>) -> (Arc<str>, Phase) {
    let phase = match namespace.metadata.deletion_timestamp {
        Some(_) => Phase::Terminating,
        None => Phase::Active,
    };
    (Arc::from(namespace.name_any()), phase)
}

fn cannot_be_read(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchFailed(kube::Error::SerdeError(_)))
}

fn says_not_found(error: &watcher::Error) -> bool {
    let (watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error)) = error else {
        return false;
    };
    matches!(error, kube::Error::Api(status) if status.code == 404)
}
