//! What a new desired state says otherwise than the one before: work proportional to what changed.

use std::collections::HashSet;
use std::sync::Arc;

use crate::policy::Key;
use crate::source::{DesiredState, Snapshot, SourceState};

/// What changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// Whether every key has to be judged again: a source came, went, or speaks for other objects.
    pub(super) everything: bool,
    /// The keys whose declarations changed.
    pub(super) keys: HashSet<Key>,
}

/// What `new` says otherwise than `old`.
pub(super) fn between(old: &DesiredState, new: &DesiredState) -> Change {
    let mut change = Change::default();
    for source in new.sources() {
        match old.source(&source.name) {
            None => change.everything = true,
            Some(before) if Arc::ptr_eq(before, source) => {}
            Some(before) => {
                change.everything |= speaks_otherwise(before, source);
                compare(before.head.as_ref(), source.head.as_ref(), &mut change);
            }
        }
    }
    change.everything |= old.sources().iter().any(|before| new.source(&before.name).is_none());
    change
}

fn speaks_otherwise(before: &SourceState, after: &SourceState) -> bool {
    !Arc::ptr_eq(&before.settings, &after.settings)
        || before.being_removed != after.being_removed
        || before.adopted_at != after.adopted_at
        || before.head.is_some() != after.head.is_some()
        || before.had_head != after.had_head
}

fn compare(before: Option<&Arc<Snapshot>>, after: Option<&Arc<Snapshot>>, change: &mut Change) {
    let (Some(before), Some(after)) = (before, after) else {
        return;
    };
    if Arc::ptr_eq(before, after) {
        return;
    }
    for (key, entry) in &after.entries {
        if before.entries.get(key).is_none_or(|old| old.digest != entry.digest) {
            change.keys.insert(key.clone());
        }
    }
    for key in before.entries.keys().filter(|key| !after.entries.contains_key(*key)) {
        change.keys.insert(key.clone());
    }
}
