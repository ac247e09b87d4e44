//! Mirrors that objects are read from one after the other stay open for a moment: opening one costs more than reading a
//! file of it, and a first sync reads every file.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::home::Store;
use super::reader::{Portable, ReadError, Reader};

/// So many stay open. The loop writes source by source, so that few are read at a time.
const OPEN: usize = 4;
/// One is opened anew after this long: gix's object store has room for few packs over a handle's life.
const LIFE: Duration = Duration::from_secs(10);

/// Mirrors that are open.
#[derive(Default)]
pub(super) struct Opened(Mutex<VecDeque<Open>>);

struct Open {
    /// Not held: the folder of a mirror that was replaced goes with its last user, who holds it while reading.
    store: Weak<Store>,
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
            store: Arc::downgrade(store),
            mirror: reader.for_thread(),
            since: Instant::now(),
        });
        Ok(reader)
    }

    fn find(&self, store: &Arc<Store>) -> Option<Portable> {
        self.tidy();
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A weak one keeps its address from being used again.
        let found = open.iter().find(|open| open.store.as_ptr() == Arc::as_ptr(store))?;
        Some(found.mirror.clone())
    }

    /// Closes what was open for long, and what is gone: a pack takes room on the disk as long as it is mapped.
    pub(super) fn tidy(&self) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|open| open.since.elapsed() < LIFE && open.store.strong_count() > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::home::Home;
    use crate::source::reader;

    #[test]
    fn a_mirror_that_was_replaced_goes_though_it_is_still_open() -> Result<(), Box<dyn std::error::Error>> {
        let state = tempfile::tempdir()?;
        let (home, _) = Home::claim(state.path(), "a", "https://x")?;
        let partial = home.start_clone()?;
        reader::init(&partial)?;
        let store = home.finish_clone(&partial)?;
        let opened = Opened::default();
        opened.reader(&store)?;
        assert!(opened.find(&store).is_some());
        let dir = store.dir().to_owned();
        store.supersede();
        drop(store);
        assert!(!dir.exists());
        opened.tidy();
        let left = opened.0.lock().unwrap_or_else(PoisonError::into_inner).len();
        assert_eq!(left, 0);
        Ok(())
    }
}
