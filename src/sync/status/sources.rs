//! The sources as this process knows them: as the watch says, or as it wrote them itself, whichever is newer.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::runtime::watcher;

use crate::source::PolicySource;

/// The sources. A status that is made of an older one than there is would take back what is in the newer.
#[derive(Default)]
pub(super) struct Sources {
    known: BTreeMap<String, PolicySource>,
    /// The list in the making, until it is complete.
    listing: Option<BTreeMap<String, PolicySource>>,
}

impl Sources {
    /// Whether no list is in the making.
    pub(super) fn are_listed(&self) -> bool {
        self.listing.is_none()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.known.keys()
    }

    pub(super) fn get(&self, name: &str) -> Option<&PolicySource> {
        self.known.get(name)
    }

    /// Takes what the API server answered to a write.
    pub(super) fn note(&mut self, written: PolicySource) {
        self.known.insert(written.name_any(), written);
    }

    /// Takes what the watch says; answers the names of the sources that are gone by it.
    pub(super) fn take(&mut self, event: watcher::Event<PolicySource>) -> Vec<String> {
        match event {
            watcher::Event::Init => self.listing = Some(BTreeMap::new()),
            watcher::Event::InitApply(source) => {
                // While it is listed nothing is written here: what the list says is the newest.
                self.listing.get_or_insert_default().insert(source.name_any(), source);
            }
            watcher::Event::InitDone => {
                let listed = self.listing.take().unwrap_or_default();
                let before = std::mem::replace(&mut self.known, listed);
                return before
                    .into_keys()
                    .filter(|name| !self.known.contains_key(name))
                    .collect();
            }
            watcher::Event::Apply(source) => {
                let source = self.newer(source);
                self.note(source);
            }
            watcher::Event::Delete(source) => {
                let name = source.name_any();
                self.known.remove(&name);
                return vec![name];
            }
        }
        Vec::new()
    }

    /// What is seen, or what is known where that is newer: the watch may still speak of what was before a write.
    fn newer(&self, seen: PolicySource) -> PolicySource {
        match self.known.get(&seen.name_any()) {
            Some(known) if is_older(&seen, known) => known.clone(),
            _ => seen,
        }
    }
}

/// Whether one was so before the other. Versions of one resource count up:
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>.
fn is_older(one: &PolicySource, other: &PolicySource) -> bool {
    let version = |source: &PolicySource| source.metadata.resource_version.as_deref()?.parse::<u64>().ok();
    let is_same = one.metadata.uid == other.metadata.uid;
    is_same && matches!((version(one), version(other)), (Some(one), Some(other)) if one < other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::PolicySourceSpec;

    fn source(name: &str, uid: &str, version: &str) -> PolicySource {
        let mut source = PolicySource::new(name, PolicySourceSpec::default());
        source.metadata.uid = Some(uid.to_owned());
        source.metadata.resource_version = Some(version.to_owned());
        source
    }

    fn version_of(sources: &Sources, name: &str) -> Option<String> {
        sources.get(name)?.metadata.resource_version.clone()
    }

    #[test]
    fn what_the_watch_says_late_takes_back_nothing_that_was_written_since() {
        let mut sources = Sources::default();
        sources.take(watcher::Event::Apply(source("a", "1", "9")));
        sources.note(source("a", "1", "11"));
        for (seen, known) in [("10", "11"), ("9", "11"), ("11", "11"), ("12", "12")] {
            sources.take(watcher::Event::Apply(source("a", "1", seen)));
            assert_eq!(version_of(&sources, "a").as_deref(), Some(known), "{seen}");
        }
        // A list counts as it is: the API server's store may have been restored.
        sources.take(watcher::Event::Init);
        sources.take(watcher::Event::InitApply(source("a", "1", "8")));
        sources.take(watcher::Event::InitDone);
        assert_eq!(version_of(&sources, "a").as_deref(), Some("8"));
    }

    #[test]
    fn a_source_that_was_made_anew_is_another() {
        let mut sources = Sources::default();
        sources.note(source("a", "1", "11"));
        sources.take(watcher::Event::Apply(source("a", "2", "5")));
        assert_eq!(version_of(&sources, "a").as_deref(), Some("5"));
    }

    #[test]
    fn what_a_list_lacks_is_gone_once_the_list_is_complete() {
        let mut sources = Sources::default();
        sources.note(source("stays", "1", "1"));
        sources.note(source("goes", "2", "1"));
        assert!(sources.take(watcher::Event::Init).is_empty());
        assert!(!sources.are_listed());
        assert!(
            sources
                .take(watcher::Event::InitApply(source("stays", "1", "1")))
                .is_empty()
        );
        assert_eq!(sources.names().count(), 2);
        assert_eq!(sources.take(watcher::Event::InitDone), ["goes"]);
        assert!(sources.are_listed());
        assert_eq!(
            sources.take(watcher::Event::Delete(source("stays", "1", "1"))),
            ["stays"]
        );
        assert_eq!(sources.names().count(), 0);
    }
}
