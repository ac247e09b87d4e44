//! A `PolicySource` as the API server has it, read into what a task works with.

use std::sync::Arc;

use gix::ObjectId;
use jiff::Timestamp;

use super::address::UrlRules;
use super::evaluation::Recorded;
use super::resource::{PolicySource, PolicySourceSpec, REFRESH_REQUESTED};
use super::settings::Settings;

/// What is wanted of a task.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Tells a source that was deleted and made anew from one that was changed.
    pub(super) uid: Option<String>,
    pub(super) generation: Option<i64>,
    pub(super) spec: Arc<PolicySourceSpec>,
    pub(super) settings: Arc<Settings>,
    /// Why the spec cannot be used, if so.
    pub(super) invalid: Option<String>,
    pub(super) recorded: Recorded,
    /// None, too, where the adoption was under another scope: then nothing counts as younger until it is dated anew.
    pub(super) adopted_at: Option<Timestamp>,
    was_adopted: bool,
    /// What the status announces, as it is written there, and the commit that it names.
    pub(super) announcement: String,
    pub(super) announced: Option<ObjectId>,
    /// The value of the annotation by which somebody asks for a look at the repository.
    pub(super) refresh_requested: Option<String>,
    pub(super) being_removed: bool,
}

/// The longest value of a request to refresh; it comes back in the status.
const LONGEST_REQUEST: usize = 64;

impl Wanted {
    /// Reads a source. Keeps the settings of `previous` where the spec is the same: what was made of them stays valid.
    pub(super) fn of(source: PolicySource, urls: &UrlRules, previous: Option<&Self>) -> Self {
        let unchanged = previous.filter(|previous| *previous.spec == source.spec);
        let scope = source.spec.scope_digest();
        let (spec, settings, invalid) = if let Some(previous) = unchanged {
            let (spec, settings) = (Arc::clone(&previous.spec), Arc::clone(&previous.settings));
            (spec, settings, previous.invalid.clone())
        } else {
            let (settings, invalid) = match Settings::from_spec(&source.spec, urls) {
                Ok(settings) => (settings, None),
                Err(error) => (stand_in(&source.spec, previous), Some(error.to_string())),
            };
            (Arc::new(source.spec), Arc::new(settings), invalid)
        };
        let status = source.status.as_ref();
        let annotations = source.metadata.annotations.as_ref();
        let requested = annotations.and_then(|annotations| annotations.get(REFRESH_REQUESTED));
        let commit = |text: &str| text.parse::<ObjectId>().ok();
        let head = status.and_then(|status| status.head.as_ref());
        Self {
            uid: source.metadata.uid,
            generation: source.metadata.generation,
            spec,
            settings,
            invalid,
            recorded: Recorded {
                commit: head.and_then(|head| commit(&head.commit)),
                objects: head.map_or(0, |head| usize::try_from(head.objects).unwrap_or(0)),
                highest: status.and_then(|status| commit(&status.highest_head)),
                verified_at: head.and_then(|head| Some(head.verified_at.as_ref()?.0)),
            },
            adopted_at: status
                .filter(|status| match status.adopted_scope.as_str() {
                    "" => status.observed_generation == source.metadata.generation,
                    adopted => adopted == scope,
                })
                .and_then(|status| Some(status.adopted_at.as_ref()?.0)),
            was_adopted: status.is_some_and(|status| status.adopted_at.is_some()),
            refresh_requested: requested.filter(|value| value.len() <= LONGEST_REQUEST).cloned(),
            announcement: status.map_or_else(String::new, |status| status.announced.clone()),
            announced: status.and_then(|status| commit(&status.announced)),
            being_removed: source.metadata.deletion_timestamp.is_some(),
        }
    }

    /// Whether it says nothing else than `before`.
    pub(super) fn is_same(&self, before: &Self) -> bool {
        // Taken apart, so that a field that is added is not left out here. The settings are those of the spec, and the commit
        // is what the announcement names.
        let Self {
            uid,
            generation,
            spec: _,
            settings,
            invalid,
            recorded,
            adopted_at,
            was_adopted,
            announcement,
            announced: _,
            refresh_requested,
            being_removed,
        } = self;
        Arc::ptr_eq(settings, &before.settings)
            && (uid, generation, invalid) == (&before.uid, &before.generation, &before.invalid)
            && (recorded, adopted_at, was_adopted) == (&before.recorded, &before.adopted_at, &before.was_adopted)
            && (announcement, refresh_requested) == (&before.announcement, &before.refresh_requested)
            && *being_removed == before.being_removed
    }

    /// Whether the source ever had a head, by its status.
    pub(super) fn had_head(&self) -> bool {
        self.recorded.commit.is_some() || self.was_adopted
    }

    /// Whether the source is never fetched as things are: its spec cannot be used, or it is suspended and has its head.
    /// A replica that does not have the head yet fetches to get at it.
    pub(super) fn never_fetches(&self, has_head: bool) -> bool {
        let nothing_to_recall = has_head || self.recorded.commit.is_none();
        self.invalid.is_some() || (self.settings.suspend && nothing_to_recall)
    }

    /// Whether another fetch is needed to follow the spec from `before` to here.
    pub(super) fn fetches_differently(&self, before: &Self) -> bool {
        self.settings.url != before.settings.url
            || self.settings.reference.name != before.settings.reference.name
            || self.settings.credentials != before.settings.credentials
    }
}

/// What stands in for a spec that cannot be used. The repository stays the one it was: it will be again, most likely,
/// once the spec is mended.
fn stand_in(spec: &PolicySourceSpec, previous: Option<&Wanted>) -> Settings {
    let unusable = Settings::unusable(spec);
    match previous.map(|previous| &previous.settings) {
        Some(previous) => Settings {
            url: previous.url.clone(),
            reference: previous.reference.clone(),
            credentials: previous.credentials.clone(),
            ..unusable
        },
        None => unusable,
    }
}
