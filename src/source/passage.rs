//! From one head to the next: how many commits lie between them, and which objects they say differently.

use std::collections::BTreeMap;

use gix::ObjectId;

use super::blobs::Blobs;
use super::builder::{BuildError, build};
use super::evaluation::Head;
use super::reader::{ReadError, Reader};
use super::snapshot::Snapshot;
use crate::policy::Key;

/// Commits that are counted; beyond, the number is not known.
const MOST_COMMITS: usize = 1000;
/// Objects that are named.
const NAMED: usize = 5;

/// What a head is against an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passage {
    /// Commits that are new; none where there are more than a thousand, or the earlier one is not in the mirror.
    pub brought: Option<usize>,
    /// Commits that are left behind: a rollback, or a rewritten history.
    pub undone: Option<usize>,
    /// What it says differently; none where the earlier one cannot be read any more.
    pub changes: Option<Changes>,
}

/// Which objects one snapshot says differently from another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Objects that were not declared before.
    pub created: usize,
    /// Objects that are declared with other content.
    pub changed: usize,
    /// Objects that are declared no more.
    pub removed: usize,
    /// The first of them all, by key.
    pub first: BTreeMap<Key, Touch>,
}

/// What became of an object's declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// It is new.
    Created,
    /// It says something else.
    Changed,
    /// It is gone.
    Removed,
}

impl Touch {
    /// As the status has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::Changed => "Changed",
            Self::Removed => "Removed",
        }
    }
}

impl Changes {
    /// What the first head of a source says: everything is new.
    pub fn first_of(head: &Snapshot) -> Self {
        let mut changes = Self::default();
        head.entries.keys().for_each(|key| changes.note(key, Touch::Created));
        changes
    }

    /// What `after` says differently from `before`.
    pub fn between(before: &Snapshot, after: &Snapshot) -> Self {
        let mut changes = Self::default();
        for (key, entry) in &after.entries {
            match before.entries.get(key) {
                None => changes.note(key, Touch::Created),
                Some(old) if old.digest != entry.digest => changes.note(key, Touch::Changed),
                Some(_) => {}
            }
        }
        for key in before.entries.keys().filter(|key| !after.entries.contains_key(*key)) {
            changes.note(key, Touch::Removed);
        }
        changes
    }

    /// Whether nothing is said differently.
    pub fn is_empty(&self) -> bool {
        self.created + self.changed + self.removed == 0
    }

    fn note(&mut self, key: &Key, touch: Touch) {
        match touch {
            Touch::Created => self.created += 1,
            Touch::Changed => self.changed += 1,
            Touch::Removed => self.removed += 1,
        }
        if self.first.len() < NAMED || self.first.last_key_value().is_some_and(|(last, _)| key < last) {
            self.first.insert(key.clone(), touch);
        }
        if self.first.len() > NAMED {
            self.first.pop_last();
        }
    }
}

/// Looks from `from` to `to`. `known` is the snapshot of `from`, where somebody still has it; else it is read once more,
/// under the settings of today, which costs what the two differ in. Blocks on the disk.
pub(super) fn passage(
    head: &Head,
    blobs: &Blobs,
    from: &str,
    known: Option<&Snapshot>,
    to: &Snapshot,
) -> Result<Passage, ReadError> {
    let known = known.filter(|known| known.commit.id == from);
    let mut passage = Passage {
        changes: known.map(|known| Changes::between(known, to)),
        ..Passage::default()
    };
    let reader = Reader::open(head.store.dir())?;
    let (Ok(from), Ok(tip)) = (from.parse::<ObjectId>(), to.commit.id.parse::<ObjectId>()) else {
        return Ok(passage);
    };
    if !reader.has(from)? || !reader.has(tip)? {
        return Ok(passage);
    }
    passage.brought = reader.range(tip, &[from], MOST_COMMITS)?.map(|commits| commits.len());
    passage.undone = reader.range(from, &[tip], MOST_COMMITS)?.map(|commits| commits.len());
    if passage.changes.is_none() {
        passage.changes = match build(&reader, blobs, &head.built.settings, from, Some(&head.built)) {
            Ok(before) => Some(Changes::between(&before.snapshot, to)),
            Err(BuildError::Refused(..)) => None,
            Err(BuildError::Read(error)) => return Err(error),
        };
    }
    Ok(passage)
}

#[cfg(test)]
mod tests;
