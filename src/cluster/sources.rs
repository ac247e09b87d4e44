//! Hands the list of sources to the keeper, now and whenever it changes.

use std::collections::BTreeMap;

use futures::StreamExt;
use kube::api::Api;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use tokio_util::sync::CancellationToken;

use super::ClusterError;
use crate::source::{Keeper, PolicySource};

/// Follows the list of `PolicySources` until told to stop.
///
/// # Errors
/// When the watch ends by itself.
pub async fn follow_sources(client: Client, keeper: Keeper, shutdown: CancellationToken) -> Result<(), ClusterError> {
    let api: Api<PolicySource> = Api::all(client);
    let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
    let mut list = SourceList::default();
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            event = events.next() => event.ok_or(ClusterError::Ended("PolicySources"))?,
        };
        match event {
            Ok(event) => {
                if list.apply(event) {
                    keeper.set_sources(list.current.values().cloned().collect());
                }
            }
            Err(error) => tracing::warn!(%error, "PolicySources cannot be watched; the known ones stay in force"),
        }
    }
}

/// The list as the events tell it. A new listing replaces the old one only when it is complete: else a broken connection
/// would look like sources going.
#[derive(Default)]
struct SourceList {
    current: BTreeMap<String, PolicySource>,
    listing: BTreeMap<String, PolicySource>,
}

impl SourceList {
    /// Whether the list may have changed.
    fn apply(&mut self, event: watcher::Event<PolicySource>) -> bool {
        match event {
            watcher::Event::Init => self.listing.clear(),
            watcher::Event::InitApply(source) => {
                self.listing.insert(source.name_any(), source);
            }
            watcher::Event::InitDone => {
                self.current = std::mem::take(&mut self.listing);
                return true;
            }
            watcher::Event::Apply(source) => {
                self.current.insert(source.name_any(), source);
                return true;
            }
            watcher::Event::Delete(source) => {
                self.current.remove(&source.name_any());
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str) -> PolicySource {
        PolicySource::new(name, crate::source::PolicySourceSpec::default())
    }

    #[test]
    fn a_listing_that_breaks_off_takes_no_source_away() {
        let mut list = SourceList::default();
        list.apply(watcher::Event::Init);
        list.apply(watcher::Event::InitApply(source("a")));
        assert!(list.apply(watcher::Event::InitDone));
        assert!(!list.apply(watcher::Event::Init));
        assert!(list.current.contains_key("a"));
        assert!(list.apply(watcher::Event::InitDone));
        assert!(list.current.is_empty());
    }
}
