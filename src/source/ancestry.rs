//! Which commits one has and others lack. gix walks the same, and at a cost that grows with the square of what a hostile
//! history puts before it; this one gives up instead.

use std::collections::{BinaryHeap, HashMap};

use gix::ObjectId;

/// Known commits that are looked at beyond where the walk could end: where a clock was wrong, one of them may lead to what
/// seemed to be new.
const SPARE: usize = 64;

/// What a walk needs to know of a commit.
pub(super) struct Commit {
    /// When it was committed, by its own account, in seconds: newer ones are looked at first.
    pub(super) time: i64,
    pub(super) parents: Vec<ObjectId>,
}

struct Mark {
    commit: Commit,
    /// Whether it is known, or an ancestor of what is.
    is_hidden: bool,
    is_queued: bool,
    /// Whether it was taken for one that counts.
    is_shown: bool,
}

impl Mark {
    /// Whether the walk has to go on for it.
    fn is_open(&self) -> bool {
        self.is_queued && (!self.is_hidden || self.is_shown)
    }
}

#[derive(Default)]
struct Walk {
    marks: HashMap<ObjectId, Mark>,
    queue: BinaryHeap<(i64, ObjectId)>,
    open: usize,
}

/// The commits that `tip` descends from, itself included, and none of `known` does; none where that takes a look at more
/// than `budget` commits. Where commits lie about their time, some that are known may be among them all the same, and none is missing.
///
/// # Errors
/// When `read` fails.
pub(super) fn range<E>(
    tip: ObjectId,
    known: &[ObjectId],
    budget: usize,
    mut read: impl FnMut(ObjectId) -> Result<Commit, E>,
) -> Result<Option<Vec<ObjectId>>, E> {
    let mut walk = Walk::default();
    for id in known {
        walk.paint(*id, true, &mut read)?;
    }
    walk.paint(tip, false, &mut read)?;
    let (mut shown, mut spare) = (Vec::new(), SPARE);
    while let Some((_, id)) = walk.queue.pop() {
        spare = if walk.open > 0 { SPARE } else { spare.saturating_sub(1) };
        if spare == 0 {
            break;
        }
        let Some(mark) = walk.marks.get_mut(&id) else { continue };
        walk.open -= usize::from(mark.is_open());
        mark.is_queued = false;
        mark.is_shown = !mark.is_hidden;
        if mark.is_shown {
            shown.push(id);
        }
        let (is_hidden, parents) = (mark.is_hidden, mark.commit.parents.clone());
        for parent in parents {
            if walk.marks.len() > budget && walk.open > 0 {
                return Ok(None);
            }
            walk.paint(parent, is_hidden, &mut read)?;
        }
    }
    shown.retain(|id| walk.marks.get(id).is_some_and(|mark| !mark.is_hidden));
    Ok(Some(shown))
}

impl Walk {
    /// Takes a commit in, or hides it where it was not. Each is queued at most twice.
    fn paint<E>(
        &mut self,
        id: ObjectId,
        hide: bool,
        read: &mut impl FnMut(ObjectId) -> Result<Commit, E>,
    ) -> Result<(), E> {
        let Some(mark) = self.marks.get_mut(&id) else {
            let commit = read(id)?;
            let time = commit.time;
            let mark = Mark {
                commit,
                is_hidden: hide,
                is_queued: true,
                is_shown: false,
            };
            self.open += usize::from(mark.is_open());
            self.marks.insert(id, mark);
            self.queue.push((time, id));
            return Ok(());
        };
        if hide && !mark.is_hidden {
            self.open -= usize::from(mark.is_open());
            mark.is_hidden = true;
            if !mark.is_queued {
                mark.is_queued = true;
                self.queue.push((mark.commit.time, id));
            }
            self.open += usize::from(mark.is_open());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn id(number: u32) -> ObjectId {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        ObjectId::from_bytes_or_panic(&bytes)
    }

    /// Walks a history of (commit, time, parents).
    fn walked(history: &[(u32, i64, &[u32])], tip: u32, known: &[u32], budget: usize) -> (Option<Vec<u32>>, usize) {
        let mut looked = 0;
        let read = |wanted: ObjectId| {
            looked += 1;
            let found = history.iter().find(|(number, ..)| id(*number) == wanted);
            let (time, parents) = found.map_or((0, &[][..]), |(_, time, parents)| (*time, *parents));
            Ok::<_, Infallible>(Commit {
                time,
                parents: parents.iter().copied().map(id).collect(),
            })
        };
        let known: Vec<ObjectId> = known.iter().copied().map(id).collect();
        let Ok(found) = range(id(tip), &known, budget, read);
        let numbers = found.map(|found| {
            let number = |commit: &ObjectId| {
                history
                    .iter()
                    .map(|(number, ..)| *number)
                    .find(|number| id(*number) == *commit)
            };
            let mut numbers: Vec<u32> = found.iter().filter_map(number).collect();
            numbers.sort_unstable();
            numbers
        });
        (numbers, looked)
    }

    #[test]
    fn what_is_new_on_all_sides_of_a_merge_counts_and_what_was_there_does_not() {
        // 1 - 2 - 3 ------ 6
        //      \- 4 - 5 -/
        let history: &[(u32, i64, &[u32])] = &[
            (6, 60, &[3, 5]),
            (5, 50, &[4]),
            (4, 40, &[2]),
            (3, 30, &[2]),
            (2, 20, &[1]),
            (1, 10, &[]),
        ];
        assert_eq!(walked(history, 6, &[3], 100).0, Some(vec![4, 5, 6]));
        assert_eq!(walked(history, 3, &[6], 100).0, Some(vec![]));
        assert_eq!(walked(history, 6, &[6], 100).0, Some(vec![]));
        assert_eq!(walked(history, 6, &[], 100).0, Some(vec![1, 2, 3, 4, 5, 6]));
        assert_eq!(walked(history, 5, &[3], 100).0, Some(vec![4, 5]));
    }

    #[test]
    fn only_what_lies_between_is_looked_at() {
        let parents: Vec<[u32; 1]> = (0..1000).map(|number| [number]).collect();
        let history: Vec<(u32, i64, &[u32])> = parents
            .iter()
            .map(|parent| (parent[0] + 1, i64::from(parent[0]), &parent[..]))
            .collect();
        let (new, looked) = walked(&history, 1000, &[995], 100);
        assert_eq!(new, Some(vec![996, 997, 998, 999, 1000]));
        assert!(looked < SPARE + 10, "{looked}");
    }

    #[test]
    fn a_commit_that_lies_about_its_time_hides_nothing_that_is_new() {
        // 3 is known and claims to be old; what it descends from claims to be new.
        let history: &[(u32, i64, &[u32])] = &[(4, 60, &[2]), (3, 5, &[2]), (2, 100, &[1]), (1, 90, &[])];
        assert_eq!(walked(history, 4, &[3], 100).0, Some(vec![4]));
        // A new one that claims to be older than everything is among them all the same.
        let history: &[(u32, i64, &[u32])] = &[(3, 50, &[1, 2]), (2, 0, &[]), (1, 10, &[])];
        assert_eq!(walked(history, 3, &[1], 100).0, Some(vec![2, 3]));
    }

    #[test]
    fn a_wide_history_is_given_up_at_the_budget() {
        let wide: Vec<u32> = (10..100_010).collect();
        let history: &[(u32, i64, &[u32])] = &[(3, 200, &[2, 1]), (2, 100, &wide), (1, -1, &[])];
        let (found, looked) = walked(history, 3, &[2], 1000);
        assert_eq!(found, None);
        assert!(looked < 1010, "{looked}");
    }
}
