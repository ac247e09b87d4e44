//! How far the writes for each source have come since the cluster was last as it says. Counted as findings come and go,
//! so that it costs nothing to know.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::metrics::Action;
use super::plan::{Finding, Step};

/// How far the writes for a source have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Objects that have been written or deleted, or need no more to be.
    pub done: usize,
    /// All that had to be since the source had nothing to do.
    pub total: usize,
}

/// The counts of all sources that have something to do.
#[derive(Debug, Default)]
pub(super) struct Counts {
    sources: BTreeMap<Arc<str>, Count>,
}

/// What a source has to do.
#[derive(Debug, Default)]
pub(super) struct Count {
    done: usize,
    pending: BTreeMap<Action, usize>,
}

impl Counts {
    /// Takes note of what is found of a key now, and what was found before.
    pub(super) fn follow(&mut self, before: Option<&Finding>, after: Option<&Finding>) {
        // First what comes: a source that goes from one step to the next has not been idle between them.
        for (source, action) in after.into_iter().flat_map(due) {
            let count = self.sources.entry(Arc::clone(source)).or_default();
            *count.pending.entry(action).or_default() += 1;
        }
        for (source, action) in before.into_iter().flat_map(due) {
            let goes_on = after.is_some_and(|after| due(after).any(|(other, _)| other == source));
            let Some(count) = self.sources.get_mut(source) else {
                continue;
            };
            if let Some(pending) = count.pending.get_mut(&action) {
                *pending -= 1;
            }
            count.done += usize::from(!goes_on);
            if count.pending() == 0 {
                self.sources.remove(source);
            }
        }
    }

    /// How far a source has come; none where it has nothing to do.
    pub(super) fn of(&self, source: &str) -> Option<Progress> {
        let count = self.sources.get(source)?;
        Some(Progress {
            done: count.done,
            total: count.done + count.pending(),
        })
    }

    /// What is to be done for each source that has something to do.
    pub(super) fn pending(&self) -> impl Iterator<Item = (&Arc<str>, Action, usize)> {
        self.sources.iter().flat_map(|(source, count)| {
            count
                .pending
                .iter()
                .map(move |(action, pending)| (source, *action, *pending))
        })
    }
}

impl Count {
    fn pending(&self) -> usize {
        self.pending.values().sum()
    }
}

/// The sources for which a finding asks for a write, each with what kind of write comes next.
fn due(finding: &Finding) -> impl Iterator<Item = (&Arc<str>, Action)> {
    let action = finding.steps.first().map(action);
    finding.sources.iter().filter_map(move |source| Some((source, action?)))
}

/// What a step does, as the metrics name it.
pub(super) fn action(step: &Step) -> Action {
    match step {
        Step::Create => Action::Create,
        Step::Replace { .. } => Action::Replace,
        Step::Delete { .. } => Action::Delete,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::plan::{Standing, Through};

    fn missing(sources: &[&str]) -> Finding {
        let mut finding = Finding::new(
            Standing::Missing,
            sources.iter().map(|source| Arc::from(*source)).collect(),
        );
        finding.steps.push(Step::Create);
        finding
    }

    #[test]
    fn what_is_done_counts_until_nothing_is_left_to_do() {
        let (mut counts, missing, settled) = (
            Counts::default(),
            missing(&["a"]),
            Finding::new(Standing::InSync, Vec::new()),
        );
        for _ in 0..3 {
            counts.follow(None, Some(&missing));
        }
        assert_eq!(counts.of("a"), Some(Progress { done: 0, total: 3 }));
        counts.follow(Some(&missing), Some(&settled));
        counts.follow(None, Some(&missing));
        assert_eq!(counts.of("a"), Some(Progress { done: 1, total: 4 }));
        assert_eq!(
            counts
                .pending()
                .map(|(_, action, left)| (action, left))
                .collect::<Vec<_>>(),
            [(Action::Create, 3)]
        );
        for _ in 0..3 {
            counts.follow(Some(&missing), None);
        }
        assert_eq!(counts.of("a"), None);
        counts.follow(None, Some(&missing));
        assert_eq!(counts.of("a"), Some(Progress { done: 0, total: 1 }), "a new beginning");
    }

    #[test]
    fn a_key_that_goes_on_to_its_next_step_is_not_done() -> Result<(), crate::policy::key::KeyError> {
        let mut counts = Counts::default();
        let (first, mut then) = (missing(&["a", "b"]), missing(&["a"]));
        then.steps = vec![Step::Replace {
            place: "tier.projectcalico.org/x".parse()?,
            through: Through::Written,
        }];
        counts.follow(None, Some(&first));
        counts.follow(Some(&first), Some(&then));
        assert_eq!(counts.of("a"), Some(Progress { done: 0, total: 1 }));
        assert_eq!(counts.of("b"), None);
        Ok(())
    }
}
