//! The immutable index of one head.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::policy::{Digest, Key, Marked, Statement};

/// A Git object's id as raw SHA-1 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobId(pub [u8; 20]);

/// Where a head declares an object, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The digest of the canonical form.
    pub digest: Digest,
    /// The deployers' marks that the file declares itself, if any.
    pub marked: Option<Arc<Marked>>,
    /// The file, from the repository's root.
    pub path: Arc<str>,
    /// The file's content.
    pub blob: BlobId,
    /// Which of the file's guarded objects it is, from 0.
    pub index: usize,
    /// The line at which its document begins, from 1.
    pub line: usize,
}

impl Entry {
    /// What the head says of the object, to compare others with.
    pub fn statement(&self) -> Statement<'_> {
        Statement {
            digest: self.digest,
            marked: self.marked.as_deref(),
        }
    }
}

/// The commit a snapshot was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its full id.
    pub id: String,
    /// The id of its tree.
    pub tree: String,
    /// When it was committed.
    pub time: Timestamp,
    /// Who wrote it: name and address as the commit has them.
    pub author: String,
    /// The first line of its message.
    pub subject: String,
}

/// A readable object that the source does not speak for: it is left out and reported.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Skipped {
    /// The file.
    pub path: String,
    /// The line of its document, from 1.
    pub line: usize,
    /// The object.
    pub key: Key,
    /// Why it is outside the source's scope.
    pub why: String,
}

/// What a commit declares, by key. Every new head is compared with the one before key by key, and every request is looked
/// up, so the hash is a fast one. It is seeded anew in each process; what is in the map comes from the repository.
pub type Entries = HashMap<Key, Entry, foldhash::fast::RandomState>;

/// The immutable index of one head: key to digest, path and blob id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The commit it was made of.
    pub commit: Commit,
    /// What the commit declares in the source's scope.
    pub entries: Entries,
    /// What it declares outside of it.
    pub skipped: Vec<Skipped>,
    /// How many files and documents are of no guarded kind.
    pub ignored: usize,
}

impl Commit {
    /// The first seven digits of the id, as people write it.
    pub fn short(&self) -> &str {
        self.id.get(..7).unwrap_or(&self.id)
    }
}

impl std::fmt::Debug for BlobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
