//! What earlier heads declared.

use std::collections::HashSet;
use std::sync::Arc;

use super::snapshot::Snapshot;
use crate::policy::Key;

/// What earlier heads declared and the present one does not: such objects are the source's to remove, however old.
/// Known since this process took its first head.
#[derive(Default)]
pub(super) struct Formerly {
    last: Option<Arc<Snapshot>>,
    keys: Arc<HashSet<Key>>,
}

impl Formerly {
    /// Takes note of the head in force.
    pub(super) fn follow(&mut self, head: Option<&Arc<Snapshot>>) {
        let Some(head) = head.filter(|head| !self.last.as_ref().is_some_and(|last| Arc::ptr_eq(last, head))) else {
            return;
        };
        if let Some(last) = self.last.replace(Arc::clone(head)) {
            let declared_before = last.entries.keys().chain(self.keys.iter());
            let gone = declared_before.filter(|key| !head.entries.contains_key(key));
            self.keys = Arc::new(gone.cloned().collect());
        }
    }

    /// The keys.
    pub(super) fn keys(&self) -> Arc<HashSet<Key>> {
        Arc::clone(&self.keys)
    }
}
