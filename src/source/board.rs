//! What all sources' tasks publish to, and everyone else reads from.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::desired::{DesiredState, SourceState};
use super::report::SourceReport;

/// The reports of all sources, by name.
pub(super) type Reports = BTreeMap<Arc<str>, SourceReport>;

/// The desired state and the reports, always whole.
#[derive(Default)]
pub(super) struct Board {
    desired: ArcSwap<DesiredState>,
    changed: watch::Sender<u64>,
    reports: watch::Sender<Arc<Reports>>,
    states: Mutex<BTreeMap<Arc<str>, Arc<SourceState>>>,
}

impl Board {
    pub(super) fn desired(&self) -> Arc<DesiredState> {
        self.desired.load_full()
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(super) fn reports(&self) -> watch::Receiver<Arc<Reports>> {
        self.reports.subscribe()
    }

    /// Puts a source's state and report up, unless its task was told to end: then another one may have its place.
    pub(super) fn publish(&self, state: SourceState, report: SourceReport, ended: &CancellationToken) {
        let mut states = self.states();
        if ended.is_cancelled() {
            return;
        }
        let name = Arc::clone(&state.name);
        let state = Arc::new(state);
        let old = states.insert(Arc::clone(&name), Arc::clone(&state));
        // In place before anyone is told.
        self.swap(&states);
        self.reports.send_modify(|reports| {
            Arc::make_mut(reports).insert(name, report);
        });
        if old.is_none_or(|old| differs(&old, &state)) {
            self.bump();
        }
    }

    /// Takes a source down, after its task was told to end.
    pub(super) fn remove(&self, name: &str) {
        let mut states = self.states();
        states.remove(name);
        self.swap(&states);
        self.reports.send_modify(|reports| {
            Arc::make_mut(reports).remove(name);
        });
        self.bump();
    }

    fn swap(&self, states: &BTreeMap<Arc<str>, Arc<SourceState>>) {
        self.desired
            .store(Arc::new(DesiredState::new(states.values().cloned().collect())));
    }

    fn bump(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<SourceState>>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether what is declared, covered or enforced differs. A confirmation alone does not count.
fn differs(old: &SourceState, new: &SourceState) -> bool {
    let heads_differ = match (&old.head, &new.head) {
        (Some(old), Some(new)) => !Arc::ptr_eq(old, new),
        (None, None) => false,
        _ => true,
    };
    heads_differ
        || old.is_behind != new.is_behind
        || old.is_unverified != new.is_unverified
        || !Arc::ptr_eq(&old.settings, &new.settings)
        || old.had_head != new.had_head
        || old.adopted_at != new.adopted_at
        || old.being_removed != new.being_removed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::resource::PolicySourceSpec;
    use crate::source::settings::Settings;

    fn state(settings: &Arc<Settings>) -> SourceState {
        SourceState {
            name: Arc::from("platform"),
            settings: Arc::clone(settings),
            head: None,
            had_head: false,
            confirmed_at: None,
            adopted_at: None,
            being_removed: false,
            is_unverified: false,
            is_behind: false,
            formerly: Arc::default(),
            awaited: None,
        }
    }

    #[test]
    fn a_confirmation_alone_is_no_change() {
        let board = Board::default();
        let (changes, going_on) = (board.changes(), CancellationToken::new());
        let settings = Arc::new(Settings::unusable(&PolicySourceSpec::default()));
        let mut state = state(&settings);
        board.publish(state.clone(), SourceReport::default(), &going_on);
        assert_eq!(*changes.borrow(), 1);
        state.confirmed_at = Some(jiff::Timestamp::UNIX_EPOCH);
        board.publish(state.clone(), SourceReport::default(), &going_on);
        assert_eq!(*changes.borrow(), 1);
        let confirmed = board
            .desired()
            .source("platform")
            .and_then(|source| source.confirmed_at);
        assert_eq!(confirmed, state.confirmed_at);
        state.being_removed = true;
        board.publish(state, SourceReport::default(), &going_on);
        assert_eq!(*changes.borrow(), 2);
    }

    #[test]
    fn a_task_that_was_told_to_end_publishes_nothing() {
        let (board, ended) = (Board::default(), CancellationToken::new());
        ended.cancel();
        let settings = Arc::new(Settings::unusable(&PolicySourceSpec::default()));
        board.publish(state(&settings), SourceReport::default(), &ended);
        assert!(board.desired().sources().is_empty());
        assert!(board.reports().borrow().is_empty());
    }
}
