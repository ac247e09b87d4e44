//! The settings under which a source is published.

use std::sync::Arc;

use super::settings::Settings;

/// The settings that are wanted, with the coverage of the head where that was made under older ones.
pub(super) struct Published {
    wanted: Arc<Settings>,
    made_under: Option<Arc<Settings>>,
    settings: Arc<Settings>,
}

impl Published {
    /// `made_under` are the settings of the head, if there is one.
    pub(super) fn new(wanted: &Arc<Settings>, made_under: Option<&Arc<Settings>>) -> Self {
        let settings = match made_under {
            // The new scope holds from the moment on that there is a snapshot of it: until then the old head would
            // seem to leave out whatever the new scope adds.
            Some(old) if !Arc::ptr_eq(old, wanted) => Arc::new(Settings {
                coverage: old.coverage.clone(),
                ..Settings::clone(wanted)
            }),
            _ => Arc::clone(wanted),
        };
        Self {
            wanted: Arc::clone(wanted),
            made_under: made_under.cloned(),
            settings,
        }
    }

    /// What is published now.
    pub(super) fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// Goes over to other settings or another head. The same ones stay the very same, so that nothing seems to change.
    pub(super) fn follow(&mut self, wanted: &Arc<Settings>, made_under: Option<&Arc<Settings>>) {
        let same_head = match (&self.made_under, made_under) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (None, None) => true,
            _ => false,
        };
        if !same_head || !Arc::ptr_eq(&self.wanted, wanted) {
            *self = Self::new(wanted, made_under);
        }
    }
}
