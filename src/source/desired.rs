//! The desired state: the snapshots of all sources together, with their conflicts.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::announcement::Awaited;
use super::resource::{Prune, WhenStale, WhenUnverified};
use super::settings::Settings;
use super::snapshot::{Entry, Snapshot};
use crate::policy::{Key, Statement};

/// One source as this replica knows it now.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and none excludes another"
)]
pub struct SourceState {
    /// The name of its `PolicySource`.
    pub name: Arc<str>,
    /// What its spec asks for.
    pub settings: Arc<Settings>,
    /// The head in force; none before the first was accepted here.
    pub head: Option<Arc<Snapshot>>,
    /// Whether the source ever had a head, here or by its status.
    pub had_head: bool,
    /// When the last successful fetch started: the head was then what the repository asks for, or a newer commit had
    /// been looked at and refused. A refused commit makes nothing stale, since the old head stays in force on purpose.
    pub confirmed_at: Option<Timestamp>,
    /// When its first head was accepted; older undeclared objects are unadopted.
    pub adopted_at: Option<Timestamp>,
    /// Whether its `PolicySource` is being deleted.
    pub being_removed: bool,
    /// Whether the head's signature no longer counts.
    pub is_unverified: bool,
    /// Whether the status names a head that was never in force here: another process got further.
    pub is_behind: bool,
    /// What earlier heads declared and this one does not, as far as this replica knows.
    pub formerly: Arc<HashSet<Key>>,
    /// The status announces a commit that this replica does not have yet.
    pub awaited: Option<Awaited>,
}

/// Sources by priority, highest first, then by name.
#[derive(Clone, Debug, Default)]
pub struct DesiredState {
    sources: Vec<Arc<SourceState>>,
}

/// What the desired state says of a key.
#[derive(Clone, Debug)]
pub enum Lookup<'a> {
    /// No source speaks for it.
    NotCovered,
    /// A source that may declare it has no head here.
    HeadUnknown {
        /// That source.
        source: &'a SourceState,
    },
    /// Sources of equal priority declare it with different content.
    Conflict {
        /// One of them.
        first: Declared<'a>,
        /// The other.
        second: Declared<'a>,
    },
    /// A head declares it.
    Declared(Declared<'a>),
    /// The heads of all covering sources were looked at; none declares it.
    Absent {
        /// The covering sources that have a head, highest priority first; never empty.
        sources: Vec<&'a SourceState>,
    },
}

/// A declaration and the source that made it.
#[derive(Clone, Copy, Debug)]
pub struct Declared<'a> {
    /// The source.
    pub source: &'a SourceState,
    /// Its head.
    pub snapshot: &'a Snapshot,
    /// What the head says.
    pub entry: &'a Entry,
}

impl Declared<'_> {
    /// Whether an object says what the head says, the marks of the source's deployer aside.
    pub fn matches(&self, object: Statement<'_>) -> bool {
        self.entry.statement().matches(object, self.source.settings.deployer)
    }
}

impl DesiredState {
    /// Puts the sources into their order.
    pub fn new(mut sources: Vec<Arc<SourceState>>) -> Self {
        sources.sort_by(|a, b| {
            b.settings
                .priority
                .cmp(&a.settings.priority)
                .then_with(|| a.name.cmp(&b.name))
        });
        Self { sources }
    }

    /// Every source, highest priority first.
    pub fn sources(&self) -> &[Arc<SourceState>] {
        &self.sources
    }

    /// The source of this name.
    pub fn source(&self, name: &str) -> Option<&Arc<SourceState>> {
        self.sources.iter().find(|source| &*source.name == name)
    }

    /// The sources that speak for a key, highest priority first.
    pub fn covering<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = &'a SourceState> {
        self.sources
            .iter()
            .map(Arc::as_ref)
            .filter(move |source| source.settings.coverage.covers(key))
    }

    /// What the heads say of a key.
    pub fn look_up<'a>(&'a self, key: &'a Key) -> Lookup<'a> {
        let covering: Vec<&SourceState> = self.covering(key).collect();
        if covering.is_empty() {
            return Lookup::NotCovered;
        }
        let mut declared = covering.iter().filter_map(|source| source.declares(key));
        if let Some(first) = declared.next() {
            // Sources come by priority: one that would win, had it its head, must not be overruled meanwhile.
            let priority = first.source.settings.priority;
            let lost = |source: &&&SourceState| {
                source.settings.priority > priority && source.head.is_none() && source.had_head
            };
            if let Some(source) = covering.iter().find(lost) {
                return Lookup::HeadUnknown { source };
            }
            let rival = declared
                .take_while(|other| other.source.settings.priority == priority)
                .find(|other| other.entry.digest != first.entry.digest);
            return match rival {
                Some(second) => Lookup::Conflict { first, second },
                None => Lookup::Declared(first),
            };
        }
        let with_head: Vec<&SourceState> = covering
            .iter()
            .copied()
            .filter(|source| source.head.is_some())
            .collect();
        let unknown = covering
            .iter()
            .find(|source| source.head.is_none() && (source.had_head || with_head.is_empty()));
        match unknown {
            Some(source) => Lookup::HeadUnknown { source },
            None => Lookup::Absent { sources: with_head },
        }
    }
}

impl SourceState {
    /// What this source's head says of a key.
    pub fn declares(&self, key: &Key) -> Option<Declared<'_>> {
        let snapshot = self.head.as_deref()?;
        let entry = snapshot.entries.get(key)?;
        Some(Declared {
            source: self,
            snapshot,
            entry,
        })
    }

    /// Whether the head went without confirmation for longer than the source allows.
    pub fn is_stale(&self, now: Timestamp) -> bool {
        self.age(now).is_none_or(|age| age > self.settings.stale_after)
    }

    /// Whether requests that this source decides are refused because its head is stale. The head of a suspended source
    /// is kept on purpose.
    pub fn refuses_as_stale(&self, now: Timestamp) -> bool {
        self.settings.when_stale == WhenStale::Deny && !self.settings.suspend && self.is_stale(now)
    }

    /// A commit that this replica knows of and does not have, as long as requests should wait for it.
    pub fn awaits(&self, now: Instant) -> Option<Awaited> {
        self.awaited.filter(|awaited| now < awaited.until)
    }

    /// Whether requests that this source decides are refused because its head's signature no longer counts.
    pub fn refuses_as_unverified(&self) -> bool {
        self.settings.verification.when_unverified == WhenUnverified::Deny && self.is_unverified
    }

    /// Whether an undeclared object is this source's to remove: all are where it prunes all; else those that an
    /// earlier head declared, or that are younger than the source's adoption.
    pub fn adopts(&self, key: &Key, created: Option<Timestamp>) -> bool {
        let younger = matches!((created, self.adopted_at), (Some(created), Some(adopted)) if created >= adopted);
        self.settings.prune == Prune::All || younger || self.formerly.contains(key)
    }

    /// How long ago the head was confirmed; none if never.
    pub fn age(&self, now: Timestamp) -> Option<Duration> {
        let confirmed = self.confirmed_at?;
        Some(Duration::try_from(now.duration_since(confirmed)).unwrap_or_default())
    }
}
