//! Who selects at least what another selects, among many policies, without comparing each with each.

use std::collections::{HashMap, HashSet};

/// What a policy selects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Selection<'m> {
    /// None for the whole cluster.
    pub(super) namespace: Option<&'m str>,
    /// Calico's selectors of Pods, namespaces and service accounts, each empty where it selects everything.
    pub(super) narrowing: [&'m str; 3],
    /// The requirements of Kubernetes' Pod selector, sorted, each once.
    pub(super) requirements: Vec<String>,
}

/// Where a selection is kept: by all of it that has to be equal, and by one of its requirements.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Place<'m> {
    namespace: Option<&'m str>,
    narrowing: [&'m str; 3],
    requirement: Option<String>,
}

/// Selections, to be asked whether one of them selects at least what another selects.
pub(super) struct Selections<'m> {
    by_place: HashMap<Place<'m>, HashSet<Vec<String>>>,
}

impl<'m> Selections<'m> {
    /// Each is kept by the rarest of its requirements, so that a label that most of them name brings no crowd together.
    pub(super) fn new(all: Vec<Selection<'m>>) -> Self {
        let mut uses: HashMap<String, usize> = HashMap::new();
        for requirement in all.iter().flat_map(|selection| &selection.requirements) {
            *uses.entry(requirement.clone()).or_default() += 1;
        }
        let mut by_place: HashMap<_, HashSet<_>> = HashMap::new();
        for selection in all {
            let rarest = selection
                .requirements
                .iter()
                .min_by_key(|requirement| uses.get(*requirement).copied());
            let place = Place {
                namespace: selection.namespace,
                narrowing: selection.narrowing,
                requirement: rarest.cloned(),
            };
            by_place.entry(place).or_default().insert(selection.requirements);
        }
        Self { by_place }
    }

    /// How many selections are looked at in one place at most.
    #[cfg(test)]
    pub(super) fn largest_crowd(&self) -> usize {
        self.by_place.values().map(HashSet::len).max().unwrap_or_default()
    }

    /// Whether one of them surely selects all that another selection does: it selects everything there, or says at most what
    /// the other says.
    pub(super) fn select_all_of(&self, other: &Selection<'m>) -> bool {
        let own: HashSet<&String> = other.requirements.iter().collect();
        let requirements = || {
            let named = other.requirements.iter().cloned().map(Some);
            std::iter::once(None).chain(named)
        };
        // Each of the three selectors as the other has it, or left out.
        let subsets = (0..8_u8).map(|kept| {
            let [pods, namespaces, accounts] = other.narrowing;
            let text = |bit: u8, text: &'m str| if kept & bit == 0 { "" } else { text };
            [text(1, pods), text(2, namespaces), text(4, accounts)]
        });
        let subsets: HashSet<[&str; 3]> = subsets.collect();
        let namespaces: HashSet<Option<&str>> = HashSet::from([None, other.namespace]);
        let is_at_most = |place: &Place<'m>| {
            let found = self.by_place.get(place);
            found.is_some_and(|all| all.iter().any(|said| said.iter().all(|one| own.contains(one))))
        };
        namespaces.into_iter().any(|namespace| {
            subsets.iter().any(|narrowing| {
                requirements().any(|requirement| {
                    is_at_most(&Place {
                        namespace,
                        narrowing: *narrowing,
                        requirement,
                    })
                })
            })
        })
    }
}
