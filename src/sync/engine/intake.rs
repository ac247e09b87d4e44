//! Takes in what the watches see and what Git says, and marks the keys that this concerns.

use std::sync::Arc;
use std::time::Instant;

use super::{Engine, FIRST_LISTS, SIGHTS_AT_ONCE};
use crate::policy::key::within;
use crate::policy::{Key, Kind};
use crate::source::{Coverage, SourceState};
use crate::sync::change;
use crate::sync::live::Knowledge;
use crate::sync::plan::{self, Standing};
use crate::sync::served::ServedKinds;
use crate::sync::watching::Sight;

impl Engine {
    pub(super) fn take_sights(&mut self, first: Sight) {
        let mut next = Some(first);
        let mut taken = 0;
        while let Some(sight) = next {
            self.take_sight(sight);
            taken += 1;
            next = if taken < SIGHTS_AT_ONCE {
                self.parts.sights.try_recv().ok()
            } else {
                None
            };
        }
    }

    fn take_sight(&mut self, sight: Sight) {
        match sight {
            Sight::Served(served) => self.take_served(served),
            Sight::Listed(kind, part, sightings, at) => {
                self.listed.insert(kind, at);
                let known = self.live.knowledge(kind) == Knowledge::Complete;
                let changed = self.live.replace(kind, part, sightings);
                if !known && self.live.knowledge(kind) == Knowledge::Complete {
                    self.mark_all_of(kind, Some(at));
                }
                for key in changed {
                    self.notice(key, true, at);
                }
            }
            Sight::Seen(sighting, at) => {
                let (keys, changed) = self.live.see(sighting);
                for key in keys {
                    self.notice(key, changed, at);
                }
            }
            Sight::Lost(place, at) => {
                if let Some(key) = self.live.lose(&place) {
                    self.notice(key, true, at);
                }
            }
            Sight::Namespaces(list) => {
                for name in self.namespaces.replace(list) {
                    self.mark_namespace(&name);
                }
            }
            Sight::Namespace(name, phase) => {
                if self.namespaces.note(Arc::clone(&name), phase) {
                    self.mark_namespace(&name);
                }
            }
        }
    }

    /// The cluster showed something about a key. A new drift forgets an earlier setback: the tenth heal is as quick as
    /// the first.
    pub(super) fn notice(&mut self, key: Key, changed: bool, at: Instant) {
        self.settling.remove(&key);
        if let Some(flight) = self.flights.get_mut(&key) {
            flight.echoed = true;
        }
        if changed {
            self.setbacks.clear(&key);
        }
        self.mark(key, Some(at));
    }

    fn mark_namespace(&mut self, name: &str) {
        let concerned = self.findings.iter().filter(|(key, finding)| {
            key.namespace() == Some(name)
                && (finding.standing == Standing::WaitingForNamespace
                    || finding.standing == Standing::Terminating
                    || finding.standing == Standing::Missing)
        });
        let keys: Vec<Key> = concerned.map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.setbacks.clear(&key);
            self.mark(key, None);
        }
    }

    fn mark_all_of(&mut self, kind: Kind, since: Option<Instant>) {
        self.mark_those(since, |key| key.kind() == kind);
    }

    pub(super) fn mark_all(&mut self, since: Option<Instant>) {
        self.mark_those(since, |_| true);
    }

    /// Marks those of all keys that Git or the cluster knows, or of which something was found.
    fn mark_those(&mut self, since: Option<Instant>, concerned: impl Fn(&Key) -> bool) {
        let marked: Vec<Key> = {
            let scene = self.scene();
            let known = plan::all_keys(&scene).chain(self.findings.keys());
            known.filter(|key| concerned(key)).cloned().collect()
        };
        for key in marked {
            self.mark(key, since);
        }
    }

    /// Marks what a source speaks for. Where its namespaces are named nothing else is looked at.
    fn mark_scope(&mut self, scope: &Coverage, since: Instant) {
        let Some(places) = scope.places() else {
            return self.mark_those(Some(since), |key| scope.covers(key));
        };
        let near = |source: &SourceState| source.settings.coverage.overlaps(scope);
        let mut known: Vec<&Key> = plan::declared_by(&self.scene(), near).collect();
        for place in places {
            known.extend(self.live.keys_in(place));
            for kind in Kind::all() {
                known.extend(within(&self.findings, kind, place).map(|(key, _)| key));
            }
        }
        known.retain(|key| self.parts.rules.guards(key.kind()) && scope.covers(key));
        let marked: Vec<Key> = known.into_iter().cloned().collect();
        for key in marked {
            self.mark(key, Some(since));
        }
    }

    fn take_served(&mut self, served: ServedKinds) {
        let old = self.served.take().unwrap_or_default();
        for kind in old.keys().filter(|kind| !served.contains_key(kind)) {
            self.mark_all_of(*kind, None);
            self.live.forget(*kind);
        }
        for kind in served.keys() {
            self.live.serve(*kind);
        }
        self.served = Some(served);
        self.first_plan.get_or_insert_with(|| Instant::now() + FIRST_LISTS);
    }

    /// Takes what Git says now, and marks the keys about which it says something else than before. A new commit
    /// forgets the setbacks: a repaired object is written at once.
    pub(super) fn take_desired(&mut self) {
        let new = self.keeper.desired();
        let old = std::mem::replace(&mut self.desired, Arc::clone(&new));
        (self.staying, self.leaving) = plan::part(&new);
        let change = change::between(&old, &new);
        if !change.scopes.is_empty() {
            // A source that has just been taken up may hold the head of its last run.
            let now = Instant::now();
            // A source that changes has two scopes, the old one and the new.
            let most = 2 * new.sources().len().max(change.scopes.len());
            self.taken_up.note(&change.scopes, now, most);
            for scope in &change.scopes {
                self.mark_scope(&scope.coverage, now);
            }
        }
        for key in change.keys {
            self.mark(key, None);
        }
        if change.forgives {
            self.forgive_all();
        }
        self.unreported = true;
    }

    fn forgive_all(&mut self) {
        let failed: Vec<Key> = self.setbacks.keys().cloned().collect();
        for key in failed {
            self.setbacks.clear(&key);
            self.mark(key, None);
        }
    }
}
