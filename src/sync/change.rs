//! What a new desired state says otherwise than the one before: work proportional to what changed.

use std::collections::HashSet;
use std::sync::Arc;

use crate::policy::Key;
use crate::source::{DesiredState, Settings, Snapshot, SourceState};

/// What changed.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Every key of these scopes has to be judged again: a source came, went, or speaks for other objects.
    pub(super) scopes: Vec<Arc<Settings>>,
    /// Whether what failed before may fare better: a source came, went, has another spec or another commit. That a
    /// commit was confirmed, or its time of adoption learned, changes nothing for a write that was refused.
    pub(super) forgives: bool,
    /// The keys whose declarations changed.
    pub(super) keys: HashSet<Key>,
}

/// What `new` says otherwise than `old`.
pub(super) fn between(old: &DesiredState, new: &DesiredState) -> Change {
    let mut change = Change::default();
    for source in new.sources() {
        match old.source(&source.name) {
            None => {
                change.scopes.push(Arc::clone(&source.settings));
                change.forgives = true;
            }
            Some(before) if Arc::ptr_eq(before, source) => {}
            Some(before) => {
                if speaks_otherwise(before, source) {
                    change.scopes.push(Arc::clone(&source.settings));
                    let is_other = !Arc::ptr_eq(&before.settings, &source.settings);
                    change.scopes.extend(is_other.then(|| Arc::clone(&before.settings)));
                }
                change.forgives |= !Arc::ptr_eq(&before.settings, &source.settings)
                    || commit(before) != commit(source)
                    || before.is_unverified != source.is_unverified;
                compare(before.head.as_ref(), source.head.as_ref(), &mut change);
            }
        }
    }
    for gone in old.sources().iter().filter(|before| new.source(&before.name).is_none()) {
        change.scopes.push(Arc::clone(&gone.settings));
        change.forgives = true;
    }
    change
}

fn commit(source: &SourceState) -> Option<&str> {
    source.head.as_ref().map(|head| head.commit.id.as_str())
}

fn speaks_otherwise(before: &SourceState, after: &SourceState) -> bool {
    !Arc::ptr_eq(&before.settings, &after.settings)
        || before.being_removed != after.being_removed
        || before.is_behind != after.is_behind
        || before.is_unverified != after.is_unverified
        || before.adopted_at != after.adopted_at
        || before.head.is_some() != after.head.is_some()
        || before.had_head != after.had_head
}

fn compare(before: Option<&Arc<Snapshot>>, after: Option<&Arc<Snapshot>>, change: &mut Change) {
    let (Some(before), Some(after)) = (before, after) else {
        return;
    };
    if Arc::ptr_eq(before, after) {
        return;
    }
    for (key, entry) in &after.entries {
        if before.entries.get(key).is_none_or(|old| old.digest != entry.digest) {
            change.keys.insert(key.clone());
        }
    }
    for key in before.entries.keys().filter(|key| !after.entries.contains_key(*key)) {
        change.keys.insert(key.clone());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::policy::Digest;
    use crate::source::{BlobId, Commit, Entries, Entry, UrlRules};

    type Failure = Box<dyn std::error::Error>;

    fn head(declares: &[(&str, &str)]) -> Result<Arc<Snapshot>, Failure> {
        let mut entries = Entries::default();
        for (name, says) in declares {
            let entry = Entry {
                digest: Digest::of(&Value::String((*says).to_owned()))?,
                marked: None,
                path: "a.yaml".into(),
                blob: BlobId([0; 20]),
                index: 0,
                line: 1,
            };
            entries.insert(format!("tier.projectcalico.org/{name}").parse()?, entry);
        }
        let commit = Commit {
            id: String::new(),
            tree: String::new(),
            time: jiff::Timestamp::UNIX_EPOCH,
            author: String::new(),
            subject: String::new(),
        };
        Ok(Arc::new(Snapshot {
            commit,
            entries,
            skipped: Vec::new(),
            ignored: 0,
        }))
    }

    fn source(head: Arc<Snapshot>) -> Result<SourceState, Failure> {
        let spec = serde_json::from_value(json!({"git": {"url": "https://git.example.com/x.git"}}))?;
        Ok(SourceState {
            name: "s".into(),
            settings: Arc::new(Settings::from_spec(&spec, &UrlRules::default())?),
            head: Some(head),
            had_head: true,
            confirmed_at: None,
            adopted_at: None,
            being_removed: false,
            is_unverified: false,
            is_behind: false,
            formerly: Arc::default(),
            awaited: None,
        })
    }

    fn state(source: SourceState) -> DesiredState {
        DesiredState::new(vec![Arc::new(source)])
    }

    #[test]
    fn a_new_head_concerns_only_what_it_says_otherwise() -> Result<(), Failure> {
        let old = source(head(&[("same", "1"), ("changed", "1"), ("removed", "1")])?)?;
        let new = SourceState {
            head: Some(head(&[("same", "1"), ("changed", "2"), ("added", "1")])?),
            ..old.clone()
        };
        let change = between(&state(old), &state(new));
        assert!(change.scopes.is_empty());
        let mut names: Vec<&str> = change.keys.iter().map(Key::name).collect();
        names.sort_unstable();
        assert_eq!(names, ["added", "changed", "removed"]);
        Ok(())
    }

    fn scoped(known: &SourceState, namespaces: &[&str]) -> Result<SourceState, Failure> {
        let spec = json!({"git": {"url": "https://git.example.com/x.git"}, "scope": {"namespaces": namespaces}});
        Ok(SourceState {
            settings: Arc::new(Settings::from_spec(
                &serde_json::from_value(spec)?,
                &UrlRules::default(),
            )?),
            ..known.clone()
        })
    }

    #[test]
    fn a_source_that_comes_goes_or_speaks_otherwise_concerns_what_it_spoke_and_speaks_for() -> Result<(), Failure> {
        let known = scoped(&source(head(&[])?)?, &["payments"])?;
        let none = DesiredState::default();
        let concerned = |change: Change| -> Result<Vec<&str>, Failure> {
            let mut concerned = Vec::new();
            for namespace in ["payments", "shop", "other"] {
                let key = format!("networkpolicy.networking.k8s.io/{namespace}/a").parse()?;
                let is_in_scope = change.scopes.iter().any(|settings| settings.coverage.covers(&key));
                concerned.extend(is_in_scope.then_some(namespace));
            }
            Ok(concerned)
        };
        assert_eq!(concerned(between(&none, &state(known.clone())))?, ["payments"]);
        assert_eq!(concerned(between(&state(known.clone()), &none))?, ["payments"]);
        let going = SourceState {
            being_removed: true,
            ..known.clone()
        };
        assert_eq!(concerned(between(&state(known.clone()), &state(going)))?, ["payments"]);
        let moved = scoped(&known, &["shop"])?;
        assert_eq!(
            concerned(between(&state(known.clone()), &state(moved)))?,
            ["payments", "shop"]
        );
        let confirmed = SourceState {
            confirmed_at: Some(jiff::Timestamp::UNIX_EPOCH),
            ..known.clone()
        };
        let change = between(&state(known), &state(confirmed));
        assert!(change.scopes.is_empty() && change.keys.is_empty() && !change.forgives);
        Ok(())
    }

    #[test]
    fn only_another_commit_spec_or_source_forgives_what_failed() -> Result<(), Failure> {
        let known = source(head(&[("same", "1")])?)?;
        let forgives = |new: SourceState| between(&state(known.clone()), &state(new)).forgives;
        let adopted = SourceState {
            adopted_at: Some(jiff::Timestamp::UNIX_EPOCH),
            ..known.clone()
        };
        assert!(
            !between(&state(known.clone()), &state(adopted.clone()))
                .scopes
                .is_empty()
        );
        assert!(!forgives(adopted));
        assert!(forgives(source(head(&[("same", "1")])?)?), "another spec");
        let mut snapshot = Snapshot::clone(known.head.as_ref().ok_or("no head")?);
        snapshot.commit.id = "c0ffee".to_owned();
        assert!(forgives(SourceState {
            head: Some(Arc::new(snapshot)),
            ..known.clone()
        }));
        assert!(between(&state(known.clone()), &DesiredState::default()).forgives);
        Ok(())
    }
}
