//! Which items of two lists are the same item, edited: so that one inserted beside an edited one does not make both
//! look changed.

use serde_json::Value;

/// Longer stretches, by the product of both lengths, are paired place by place.
const MOST_PAIRS: usize = 400;

/// An item of Git and one of the other, or one alone, by their places.
pub(super) type Pair = (Option<usize>, Option<usize>);

/// Pairs items in their order so that the least has to be told.
pub(super) fn pair(git: &[&Value], other: &[&Value]) -> Vec<Pair> {
    if git.len() == other.len() || git.len().saturating_mul(other.len()) > MOST_PAIRS {
        let place = |place: usize, len: usize| (place < len).then_some(place);
        let longest = git.len().max(other.len());
        return (0..longest)
            .map(|at| (place(at, git.len()), place(at, other.len())))
            .collect();
    }
    // cost[i][j]: what has to be told of the items from i and from j on, and the first step to take there.
    let mut costs = vec![vec![(0_usize, Step::Both); other.len() + 1]; git.len() + 1];
    for i in (0..=git.len()).rev() {
        for j in (0..=other.len()).rev() {
            let rest = |i: usize, j: usize| costs.get(i).and_then(|row| row.get(j)).map_or(0, |(cost, _)| *cost);
            let (mine, theirs) = (git.get(i).copied(), other.get(j).copied());
            let both = mine
                .zip(theirs)
                .map(|(a, b)| (differing(a, b) + rest(i + 1, j + 1), Step::Both));
            let only_git = mine.map(|a| (leaves(a) + rest(i + 1, j), Step::Git));
            let only_other = theirs.map(|b| (leaves(b) + rest(i, j + 1), Step::Other));
            let best = [both, only_git, only_other]
                .into_iter()
                .flatten()
                .min_by_key(|(cost, _)| *cost);
            if let (Some(best), Some(cell)) = (best, costs.get_mut(i).and_then(|row| row.get_mut(j))) {
                *cell = best;
            }
        }
    }
    follow(&costs, git.len(), other.len())
}

#[derive(Clone, Copy)]
enum Step {
    Both,
    Git,
    Other,
}

fn follow(costs: &[Vec<(usize, Step)>], git: usize, other: usize) -> Vec<Pair> {
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < git || j < other {
        let step = costs
            .get(i)
            .and_then(|row| row.get(j))
            .map_or(Step::Both, |(_, step)| *step);
        let pair = match step {
            Step::Both => (Some(i), Some(j)),
            Step::Git => (Some(i), None),
            Step::Other => (None, Some(j)),
        };
        i += usize::from(pair.0.is_some());
        j += usize::from(pair.1.is_some());
        pairs.push(pair);
    }
    pairs
}

/// How much there is to tell of two values, in leaves.
fn differing(git: &Value, other: &Value) -> usize {
    match (git, other) {
        (Value::Object(git), Value::Object(other)) => {
            let known = git
                .iter()
                .map(|(name, value)| other.get(name).map_or_else(|| leaves(value), |b| differing(value, b)));
            let added = other
                .iter()
                .filter(|(name, _)| !git.contains_key(*name))
                .map(|(_, value)| leaves(value));
            known.chain(added).sum()
        }
        (Value::Array(git), Value::Array(other)) => {
            let shared: usize = git.iter().zip(other).map(|(a, b)| differing(a, b)).sum();
            let alone = git.iter().skip(other.len()).chain(other.iter().skip(git.len()));
            shared + alone.map(leaves).sum::<usize>()
        }
        _ if git == other => 0,
        _ => leaves(git).max(leaves(other)),
    }
}

fn leaves(value: &Value) -> usize {
    let below: usize = match value {
        Value::Object(members) => members.values().map(leaves).sum(),
        Value::Array(items) => items.iter().map(leaves).sum(),
        _ => 1,
    };
    below.max(1)
}
