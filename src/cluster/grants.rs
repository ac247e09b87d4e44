//! Grants as the API server lists them. Until they are listed there are none: requests are refused, never let pass.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use jiff::Timestamp;
use kube::api::{Api, ListParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::ClusterError;
use crate::gate::{Grant, GrantError, GrantRules, GrantSet, PolicyGrant};

/// A watch is renewed after this long, so that a connection that died silently does not hide the end of a grant for longer.
const WATCH_SECONDS: u32 = 60;
const NOT_FOUND: u16 = 404;

/// A grant as it is stored, and what to make of it.
#[derive(Clone, Debug)]
pub struct Known {
    /// The object.
    pub object: Arc<PolicyGrant>,
    /// The grant, or why it covers nothing.
    pub grant: Result<Grant, GrantError>,
    /// When this process saw it first.
    seen: Timestamp,
}

/// What is known of grants.
#[derive(Clone, Debug, Default)]
pub struct Board {
    /// Whether they were listed, or it is known that there are none.
    pub is_listed: bool,
    /// What decides.
    pub grants: Arc<GrantSet>,
    /// All of them by name.
    pub known: BTreeMap<String, Known>,
}

/// Follows the grants. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Grants {
    rules: GrantRules,
    board: watch::Sender<Arc<Board>>,
}

impl Grants {
    /// Nothing is known before [`Grants::follow`] runs.
    pub fn new(rules: GrantRules) -> Self {
        let board = Board {
            is_listed: !rules.enabled,
            ..Board::default()
        };
        Self {
            rules,
            board: watch::Sender::new(Arc::new(board)),
        }
    }

    /// There never are any.
    pub fn none() -> Self {
        Self::new(GrantRules {
            enabled: false,
            ..GrantRules::default()
        })
    }

    /// What decides, as last seen.
    pub fn current(&self) -> Arc<GrantSet> {
        Arc::clone(&self.board.borrow().grants)
    }

    /// What is known, now and whenever it changes.
    pub fn board(&self) -> watch::Receiver<Arc<Board>> {
        self.board.subscribe()
    }

    /// One look at the list of grants, for who does not follow them; none where their definition is not installed.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn look(rules: GrantRules, client: Client) -> Result<GrantSet, kube::Error> {
        if !rules.enabled {
            return Ok(GrantSet::default());
        }
        let listed = match Api::<PolicyGrant>::all(client).list(&ListParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == NOT_FOUND => return Ok(GrantSet::default()),
            listed => listed?,
        };
        let now = Timestamp::now();
        let usable = listed
            .items
            .iter()
            .filter_map(|object| Grant::new(object, now, rules.max_duration).ok());
        Ok(GrantSet::new(usable.collect()))
    }

    /// Follows the list of grants until told to stop. While it cannot be watched, the known ones end at their time.
    ///
    /// # Errors
    /// When the watch ends by itself.
    pub async fn follow(self, client: Client, shutdown: CancellationToken) -> Result<(), ClusterError> {
        if !self.rules.enabled {
            shutdown.cancelled().await;
            return Ok(());
        }
        let api: Api<PolicyGrant> = Api::all(client);
        let config = watcher::Config::default().timeout(WATCH_SECONDS);
        let mut events = watcher(api, config).default_backoff().boxed();
        let mut listing = BTreeMap::new();
        loop {
            let event = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                event = events.next() => event.ok_or(ClusterError::Ended("PolicyGrants"))?,
            };
            match event {
                Ok(event) => self.apply(event, &mut listing),
                Err(error) => self.fail(&error),
            }
        }
    }

    fn apply(&self, event: watcher::Event<PolicyGrant>, listing: &mut BTreeMap<String, Known>) {
        let now = Timestamp::now();
        match event {
            watcher::Event::Init => listing.clear(),
            watcher::Event::InitApply(object) => {
                let known = self.know(object, now);
                listing.insert(known.object.name_any(), known);
            }
            watcher::Event::InitDone => self.publish(std::mem::take(listing)),
            watcher::Event::Apply(object) => {
                let mut all = self.board.borrow().known.clone();
                let known = self.know(object, now);
                all.insert(known.object.name_any(), known);
                self.publish(all);
            }
            watcher::Event::Delete(object) => {
                let mut all = self.board.borrow().known.clone();
                all.remove(&object.name_any());
                self.publish(all);
            }
        }
    }

    fn know(&self, object: PolicyGrant, now: Timestamp) -> Known {
        let board = self.board.borrow();
        let before = board.known.get(&object.name_any());
        let same = before.filter(|known| known.object.uid() == object.uid());
        let seen = same.map_or(now, |known| known.seen);
        let grant = Grant::new(&object, seen, self.rules.max_duration);
        if let (None, Err(error)) = (same, &grant) {
            tracing::warn!(grant = object.name_any(), %error, "a grant covers nothing");
        }
        Known {
            object: Arc::new(object),
            grant,
            seen,
        }
    }

    /// Only [`Grants::follow`] writes, so what it read is not overtaken before this.
    fn publish(&self, known: BTreeMap<String, Known>) {
        let grants = known.values().filter_map(|known| known.grant.clone().ok()).collect();
        self.board.send_replace(Arc::new(Board {
            is_listed: true,
            grants: Arc::new(GrantSet::new(grants)),
            known,
        }));
    }

    /// Where the definition is not installed there are none, and nobody needs to be told again and again.
    fn fail(&self, error: &watcher::Error) {
        let status = match error {
            watcher::Error::InitialListFailed(kube::Error::Api(status)) => Some(status.code),
            _ => None,
        };
        if status != Some(NOT_FOUND) {
            tracing::warn!(%error, "PolicyGrants cannot be watched; the known ones end at their time");
            return;
        }
        let board = self.board.borrow().clone();
        if !board.is_listed || !board.known.is_empty() {
            tracing::info!("the cluster has no PolicyGrants: their definition is not installed");
            self.publish(BTreeMap::new());
        }
    }
}

#[cfg(test)]
mod tests;
