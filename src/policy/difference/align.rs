//! Which items two lists share, and in which order: what was kept, moved, and put in the place of something else.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;

use serde_json::Value;

use crate::policy::digest::Digest;

/// How two lists differ, by the places of their items.
#[derive(Debug, Default)]
pub(super) struct Alignment {
    /// Items of Git, and those that are in their place in the other list.
    pub(super) changed: Vec<(Vec<usize>, Vec<usize>)>,
    /// Items that are in both, in another order: the place in Git, and the other one.
    pub(super) moved: Vec<(usize, usize)>,
}

/// Aligns two lists in the time that it takes to sort them, however long they are.
///
/// Equal items are taken for one another in their order; of these, as many as possible count as kept, the others as moved.
/// Where no item is there twice, no shorter account is possible.
pub(super) fn align(git: &[Value], other: &[Value]) -> Alignment {
    let (Some(mine), Some(theirs)) = (digests(git), digests(other)) else {
        return Alignment {
            changed: vec![((0..git.len()).collect(), (0..other.len()).collect())],
            moved: Vec::new(),
        };
    };
    let (mine_left, theirs_left) = without_ends(&mine, &theirs);
    let twins = twins(&mine, mine_left.clone(), &theirs, theirs_left.clone());
    let kept = longest_increasing(&twins);
    let is_kept: HashSet<usize> = kept.iter().map(|(at, _)| *at).collect();
    let moved: Vec<(usize, usize)> = twins.into_iter().filter(|(at, _)| !is_kept.contains(at)).collect();
    let from: HashSet<usize> = moved.iter().map(|(from, _)| *from).collect();
    let to: HashSet<usize> = moved.iter().map(|(_, to)| *to).collect();
    let mut changed = Vec::new();
    let (mut i, mut j) = (mine_left.start, theirs_left.start);
    for (next_i, next_j) in kept.into_iter().chain([(mine_left.end, theirs_left.end)]) {
        let left: Vec<usize> = (i..next_i).filter(|at| !from.contains(at)).collect();
        let right: Vec<usize> = (j..next_j).filter(|at| !to.contains(at)).collect();
        if !left.is_empty() || !right.is_empty() {
            changed.push((left, right));
        }
        (i, j) = (next_i + 1, next_j + 1);
    }
    Alignment { changed, moved }
}

fn digests(items: &[Value]) -> Option<Vec<Digest>> {
    items.iter().map(|item| Digest::of(item).ok()).collect()
}

/// What is left of both lists between what they begin and end with alike.
fn without_ends(mine: &[Digest], theirs: &[Digest]) -> (Range<usize>, Range<usize>) {
    let alike = |(a, b): &(&Digest, &Digest)| a == b;
    let start = mine.iter().zip(theirs).take_while(alike).count();
    let room = mine.len().min(theirs.len()) - start;
    let backwards = mine.iter().rev().zip(theirs.iter().rev());
    let end = backwards.take(room).take_while(alike).count();
    (start..mine.len() - end, start..theirs.len() - end)
}

/// Equal items of both lists, the first with the first, in Git's order.
fn twins(
    mine: &[Digest],
    mine_left: Range<usize>,
    theirs: &[Digest],
    theirs_left: Range<usize>,
) -> Vec<(usize, usize)> {
    let mut waiting: HashMap<&Digest, VecDeque<usize>> = HashMap::new();
    for at in theirs_left {
        if let Some(digest) = theirs.get(at) {
            waiting.entry(digest).or_default().push_back(at);
        }
    }
    let twin = |at: usize| Some((at, waiting.get_mut(mine.get(at)?)?.pop_front()?));
    mine_left.filter_map(twin).collect()
}

/// The longest chain of pairs in which both places grow; the first place grows already.
fn longest_increasing(pairs: &[(usize, usize)]) -> Vec<(usize, usize)> {
    // tails[n]: the pair with the smallest place at which a chain of n + 1 ends; before[at]: what comes before it there.
    let (mut tails, mut before) = (Vec::<usize>::new(), Vec::new());
    for (at, (_, place)) in pairs.iter().enumerate() {
        let ends_before = |tail: &usize| pairs.get(*tail).is_some_and(|(_, end)| end < place);
        let length = tails.partition_point(ends_before);
        before.push(length.checked_sub(1).and_then(|last| tails.get(last).copied()));
        match tails.get_mut(length) {
            Some(tail) => *tail = at,
            None => tails.push(at),
        }
    }
    let mut chain = Vec::with_capacity(tails.len());
    let mut next = tails.last().copied();
    while let Some(at) = next {
        chain.extend(pairs.get(at));
        next = before.get(at).copied().flatten();
    }
    chain.reverse();
    chain
}
