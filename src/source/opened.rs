//! Mirrors that objects are read from one after the other stay open for a moment: opening one costs more than reading a
//! file of it, and a first sync reads every file.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::home::Store;
use super::reader::{Portable, ReadError, Reader};

/// So many stay open. The loop writes namespace by namespace, so that few are read at a time.
const OPEN: usize = 4;
/// One is opened anew after this long: gix's object store has room for few packs over a handle's life.
const LIFE: Duration = Duration::from_secs(10);

/// Mirrors that are open.
#[derive(Default)]
pub(super) struct Opened(Mutex<VecDeque<Open>>);

struct Open {
    /// Held, so that the folder stays as long as it is in use.
    store: Arc<Store>,
    mirror: Portable,
    since: Instant,
}

impl Opened {
    /// A reader of this repository. Touches the disk where it is not open.
    pub(super) fn reader(&self, store: &Arc<Store>) -> Result<Reader, ReadError> {
        if let Some(mirror) = self.find(store) {
            return Ok(mirror.into_reader());
        }
        let reader = Reader::open(store.dir())?;
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.truncate(OPEN - 1);
        open.push_front(Open {
            store: Arc::clone(store),
            mirror: reader.for_thread(),
            since: Instant::now(),
        });
        Ok(reader)
    }

    fn find(&self, store: &Arc<Store>) -> Option<Portable> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|open| open.since.elapsed() < LIFE);
        let found = open.iter().find(|open| Arc::ptr_eq(&open.store, store))?;
        Some(found.mirror.clone())
    }
}
