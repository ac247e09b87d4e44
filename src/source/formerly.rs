//! What earlier heads declared.

use std::collections::HashSet;
use std::sync::Arc;

use gix::ObjectId;

use super::snapshot::Snapshot;
use crate::policy::Key;

/// What earlier heads declared and the present one does not: such objects are the source's to remove, however old.
/// Known since this process took its first head.
#[derive(Default)]
pub(super) struct Formerly {
    last: Option<Arc<Snapshot>>,
    keys: Arc<HashSet<Key>>,
    /// The heads that were in force here, and those that the status named when a later one came into force here.
    passed: Arc<HashSet<String>>,
}

impl Formerly {
    /// Takes note of the head in force.
    pub(super) fn follow(&mut self, head: Option<&Arc<Snapshot>>, recorded: Option<ObjectId>) {
        let Some(head) = head.filter(|head| !self.last.as_ref().is_some_and(|last| Arc::ptr_eq(last, head))) else {
            return;
        };
        let passed = Arc::make_mut(&mut self.passed);
        passed.insert(head.commit.id.clone());
        passed.extend(recorded.map(|commit| commit.to_string()));
        if let Some(last) = self.last.replace(Arc::clone(head)) {
            let declared_before = last.entries.keys().chain(self.keys.iter());
            let gone = declared_before.filter(|key| !head.entries.contains_key(key));
            self.keys = Arc::new(gone.cloned().collect());
        }
    }

    /// Whether the status names a head that this process has never passed: another one led, and got further. Undoing
    /// what that one did would take the cluster back.
    pub(super) fn is_behind(&self, recorded: Option<ObjectId>) -> bool {
        self.last.is_some() && recorded.is_some_and(|commit| !self.passed.contains(&commit.to_string()))
    }

    /// The commits that are no news here: those that were in force, and those that the status named before them.
    pub(super) fn passed(&self) -> Arc<HashSet<String>> {
        Arc::clone(&self.passed)
    }

    /// The keys.
    pub(super) fn keys(&self) -> Arc<HashSet<Key>> {
        Arc::clone(&self.keys)
    }
}
