//! Which sources can speak for the same objects. Every two of them are compared once, not at every write of a status.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::source::{DesiredState, Settings};

/// Another source and its priority.
pub(super) type Neighbour = (Arc<str>, i32);

/// What was found when the scopes were last compared.
#[derive(Default)]
pub(super) struct Overlaps {
    compared: Vec<(Arc<str>, Arc<Settings>)>,
    comparisons: u64,
    found: BTreeMap<Arc<str>, Vec<Neighbour>>,
}

impl Overlaps {
    /// Compares the scopes, if there is another one than before; answers how often they were compared.
    pub(super) fn follow(&mut self, desired: &DesiredState) -> u64 {
        if !self.is_current(desired) {
            self.compare(desired);
            self.comparisons += 1;
        }
        self.comparisons
    }

    /// The other sources that can speak for objects of this one, as of the last comparison.
    pub(super) fn of(&self, name: &str) -> Vec<Neighbour> {
        self.found.get(name).cloned().unwrap_or_default()
    }

    /// Settings stay the same object while a spec does.
    fn is_current(&self, desired: &DesiredState) -> bool {
        let mut compared = self.compared.iter();
        let same = present(desired).all(|(name, settings)| {
            compared
                .next()
                .is_some_and(|before| before.0 == name && Arc::ptr_eq(&before.1, &settings))
        });
        same && compared.next().is_none()
    }

    fn compare(&mut self, desired: &DesiredState) {
        self.compared = present(desired).collect();
        self.found.clear();
        for (index, (name, settings)) in self.compared.iter().enumerate() {
            for (other, its) in self.compared.iter().skip(index + 1) {
                if settings.coverage.overlaps(&its.coverage) {
                    let mut note = |of: &Arc<str>, name: &Arc<str>, settings: &Settings| {
                        let found = self.found.entry(Arc::clone(of)).or_default();
                        found.push((Arc::clone(name), settings.priority));
                    };
                    note(name, other, its);
                    note(other, name, settings);
                }
            }
        }
    }
}

/// One that is going decides nothing any more.
fn present(desired: &DesiredState) -> impl Iterator<Item = (Arc<str>, Arc<Settings>)> {
    let staying = desired.sources().iter().filter(|source| !source.being_removed);
    staying.map(|source| (Arc::clone(&source.name), Arc::clone(&source.settings)))
}
