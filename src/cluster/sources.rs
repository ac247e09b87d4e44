//! Hands the sources to the keeper, all of them at first and then each that changes.

use std::collections::BTreeMap;

use futures::StreamExt;
use kube::api::Api;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use tokio_util::sync::CancellationToken;

use super::ClusterError;
use crate::source::{Keeper, PolicySource};

/// Follows the `PolicySources` until told to stop.
///
/// # Errors
/// When the watch ends by itself.
pub async fn follow_sources(client: Client, keeper: Keeper, shutdown: CancellationToken) -> Result<(), ClusterError> {
    let api: Api<PolicySource> = Api::all(client);
    let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
    let mut listing = BTreeMap::new();
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            event = events.next() => event.ok_or(ClusterError::Ended("PolicySources"))?,
        };
        match event {
            Ok(event) => match news(event, &mut listing) {
                Some(News::Listed(sources)) => keeper.set_sources(sources),
                Some(News::Changed(source)) => keeper.set_source(*source),
                Some(News::Gone(name)) => keeper.remove_source(&name),
                None => {}
            },
            Err(error) => tracing::warn!(%error, "PolicySources cannot be watched; the known ones stay in force"),
        }
    }
}

/// What an event tells.
enum News {
    Listed(Vec<PolicySource>),
    Changed(Box<PolicySource>),
    Gone(String),
}

/// What an event tells, if it does. A listing counts only when it is complete: else a broken connection would look like
/// sources going.
fn news(event: watcher::Event<PolicySource>, listing: &mut BTreeMap<String, PolicySource>) -> Option<News> {
    match event {
        watcher::Event::Init => listing.clear(),
        watcher::Event::InitApply(source) => {
            listing.insert(source.name_any(), source);
        }
        watcher::Event::InitDone => return Some(News::Listed(std::mem::take(listing).into_values().collect())),
        watcher::Event::Apply(source) => return Some(News::Changed(Box::new(source))),
        watcher::Event::Delete(source) => return Some(News::Gone(source.name_any())),
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str) -> PolicySource {
        PolicySource::new(name, crate::source::PolicySourceSpec::default())
    }

    #[test]
    fn a_listing_that_breaks_off_takes_no_source_away() {
        let mut listing = BTreeMap::new();
        let mut say = |event| news(event, &mut listing);
        assert!(say(watcher::Event::Init).is_none());
        assert!(say(watcher::Event::InitApply(source("half"))).is_none());
        assert!(say(watcher::Event::Init).is_none());
        assert!(say(watcher::Event::InitApply(source("whole"))).is_none());
        let mut listed = || match say(watcher::Event::InitDone) {
            Some(News::Listed(sources)) => Some(sources.iter().map(ResourceExt::name_any).collect::<Vec<_>>()),
            _ => None,
        };
        assert_eq!(listed(), Some(vec!["whole".to_owned()]));
        assert_eq!(listed(), Some(Vec::new()));
    }
}
