//! What the loop's own writes left in the cluster. The API server answers a write with the object as it stored it, and the
//! watch shows the same version once more: nothing of it has to be read a second time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::live::Sighting;
use crate::policy::Key;

/// So many are kept: more than there are writes at once.
const KEPT: usize = 64;
/// An echo that has not come by then was seen before the answer, or in a list. Nothing older is believed: a restored store
/// counts its versions anew.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was written and not seen yet, and when. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Echoes(Arc<Mutex<VecDeque<(Instant, Sighting)>>>);

impl Echoes {
    /// Keeps what a write left, as the API that is watched has it.
    pub(super) fn expect(&self, sighting: Sighting, now: Instant) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.truncate(KEPT - 1);
        kept.push_front((now, sighting));
    }

    /// The object stored under this name, where a write left exactly this version of it. A version of an object never
    /// changes.
    pub(super) fn take(&self, place: &Key, uid: &str, resource_version: &str, now: Instant) -> Option<Sighting> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(since, _)| now.saturating_duration_since(*since) < PATIENCE);
        let is_it = |(_, sighting): &(Instant, Sighting)| {
            let object = &sighting.object;
            (&*object.uid, &*object.resource_version) == (uid, resource_version) && sighting.place == *place
        };
        let at = kept.iter().position(is_it)?;
        kept.remove(at).map(|(_, sighting)| sighting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::live::{Content, LiveObject};

    fn sighting(name: usize, version: &str) -> Result<Sighting, crate::policy::key::KeyError> {
        let key: Key = format!("networkpolicy.networking.k8s.io/n/p{name}").parse()?;
        Ok(Sighting {
            place: key.clone(),
            object: LiveObject {
                key,
                content: Content::Unreadable("x".into()),
                terminating: false,
                exempt_until: None,
                uid: "u".into(),
                resource_version: version.into(),
                created: None,
            },
        })
    }

    #[test]
    fn only_the_version_that_was_written_is_known_and_only_once() -> Result<(), crate::policy::key::KeyError> {
        let (echoes, now) = (Echoes::default(), Instant::now());
        let written = sighting(1, "7")?;
        echoes.expect(written.clone(), now);
        assert!(echoes.take(&written.place, "u", "8", now).is_none());
        assert!(echoes.take(&written.place, "another", "7", now).is_none());
        assert!(echoes.take(&sighting(2, "7")?.place, "u", "7", now).is_none());
        let taken = echoes.take(&written.place, "u", "7", now);
        assert_eq!(taken.map(|taken| taken.object), Some(written.object));
        assert!(echoes.take(&written.place, "u", "7", now).is_none());
        Ok(())
    }

    #[test]
    fn what_no_watch_asks_for_is_pushed_out_or_forgotten() -> Result<(), crate::policy::key::KeyError> {
        let (echoes, now) = (Echoes::default(), Instant::now());
        for name in 0..=KEPT {
            echoes.expect(sighting(name, "7")?, now);
        }
        assert!(echoes.take(&sighting(0, "7")?.place, "u", "7", now).is_none());
        assert!(echoes.take(&sighting(1, "7")?.place, "u", "7", now).is_some());
        let later = now + PATIENCE;
        assert!(echoes.take(&sighting(2, "7")?.place, "u", "7", later).is_none());
        Ok(())
    }
}
