//! The namespaces there are, and which of them are going.

use std::collections::HashMap;
use std::sync::Arc;

/// What is known of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Objects can be created in it.
    Active,
    /// It is being deleted: nothing can be created, and what is in it goes by itself.
    Terminating,
}

/// The namespaces there are.
#[derive(Clone, Debug, Default)]
pub struct Namespaces {
    phases: Option<HashMap<Arc<str>, Phase>>,
}

impl Namespaces {
    /// Whether they were listed yet.
    pub fn are_listed(&self) -> bool {
        self.phases.is_some()
    }

    /// What is known of this one; none where it does not exist.
    pub fn phase(&self, name: &str) -> Option<Phase> {
        self.phases.as_ref()?.get(name).copied()
    }

    /// Takes a complete list; answers the names whose phase it changes.
    pub fn replace(&mut self, list: impl IntoIterator<Item = (Arc<str>, Phase)>) -> Vec<Arc<str>> {
        let fresh: HashMap<Arc<str>, Phase> = list.into_iter().collect();
        let old = self.phases.take().unwrap_or_default();
        let gone = old.keys().filter(|name| !fresh.contains_key(*name)).cloned();
        let new = fresh
            .iter()
            .filter(|(name, phase)| old.get(*name) != Some(*phase))
            .map(|(name, _)| Arc::clone(name));
        let changed = gone.chain(new).collect();
        self.phases = Some(fresh);
        changed
    }

    /// Takes what happened to one: none says it is gone. Answers whether that changes anything.
    pub fn note(&mut self, name: Arc<str>, phase: Option<Phase>) -> bool {
        let phases = self.phases.get_or_insert_default();
        match phase {
            Some(phase) => phases.insert(name, phase) != Some(phase),
            None => phases.remove(&name).is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_what_came_went_and_began_to_go() {
        let name = |text: &str| Arc::<str>::from(text);
        let mut namespaces = Namespaces::default();
        assert!(!namespaces.are_listed());
        namespaces.replace([(name("a"), Phase::Active), (name("b"), Phase::Active)]);
        let mut changed = namespaces.replace([(name("b"), Phase::Terminating), (name("c"), Phase::Active)]);
        changed.sort();
        assert_eq!(changed, ["a", "b", "c"].map(name));
        assert_eq!(namespaces.phase("b"), Some(Phase::Terminating));
        assert!(!namespaces.note(name("c"), Some(Phase::Active)));
        assert!(namespaces.note(name("c"), None));
        assert_eq!(namespaces.phase("c"), None);
    }
}
