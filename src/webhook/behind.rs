//! A replica that knows of a newer commit than its head: what rests on that head waits for a moment.

use std::sync::Arc;
use std::time::Instant;

use super::handler::Gate;
use crate::source::resource::Mode;
use crate::source::{Awaited, SourceState};

impl Gate {
    /// What these sources wait for: a commit that was announced to this replica, and that it does not have yet. In `Audit`
    /// nobody waits.
    pub(super) fn awaited<'a>(&self, sources: impl Iterator<Item = &'a SourceState>) -> Vec<(Arc<str>, Awaited)> {
        let now = Instant::now();
        let enforces =
            |source: &&SourceState| self.rules.mode == Mode::Enforce && source.settings.mode == Mode::Enforce;
        sources
            .filter(enforces)
            .filter_map(|source| Some((Arc::clone(&source.name), source.awaits(now)?)))
            .collect()
    }
}
