//! Which files of a commit count, and what keeps them from counting as a whole.

use gix::objs::tree::EntryKind;

use super::limits::{Limits, MAX_DEPTH, MAX_ENTRIES, MAX_OPEN, MAX_PATH, Size};
use super::reader::{ReadError, Reader};
use super::redact::bounded;
use super::snapshot::BlobId;
use crate::policy::visible::{escape, is_hidden};

/// Bytes of a path that a message shows.
const SHOWN: usize = 300;

/// Why the files of a commit do not count as a whole. Phrased for who wrote the commit or the source.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListError {
    #[error("there is no folder {0} in the commit")]
    NoFolder(String),
    #[error("{0} is a symbolic link, which is not followed: put the file itself there, or name it in spec.git.ignore")]
    Symlink(String),
    #[error("{0} is a submodule, whose files are not read: name it in spec.git.ignore")]
    Submodule(String),
    #[error(
        "{0} has a name that no checkout could have, or that cannot be shown: rename it, or name it in spec.git.ignore"
    )]
    Name(String),
    #[error("the path {0} is longer than {MAX_PATH} bytes")]
    LongPath(String),
    #[error("{0} is listed twice, or not in the order of names: the folder was not written by git")]
    Disorder(String),
    #[error("the folder {0} cannot be read: it was not written by git")]
    Garbage(String),
    #[error("there are more than {0} manifests (git.limits.files)")]
    TooManyFiles(usize),
    #[error("the manifests have more than {} together (git.limits.totalSize)", Size(*.0))]
    TooLarge(u64),
    #[error("the manifests declare more than {0} objects (git.limits.objects)")]
    TooManyObjects(usize),
    #[error("the folders hold more than {MAX_ENTRIES} entries")]
    TooManyEntries,
    #[error("{0} is nested more than {MAX_DEPTH} folders deep")]
    TooDeep(String),
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<gix::Error> for ListError {
    fn from(error: gix::Error) -> Self {
        Self::Read(error.into())
    }
}

/// Whether a file of this name counts: `*.yaml`, `*.yml` and `*.json`.
pub fn is_manifest_path(path: &str) -> bool {
    let end = path.rsplit_once('.').map(|(_, end)| end);
    matches!(end, Some("yaml" | "yml" | "json"))
}

/// A path as a message shows it: nothing in it moves a cursor or hides a part.
pub(crate) fn shown(path: &str) -> String {
    bounded(escape(path), SHOWN)
}

/// The walk through one commit's folders.
pub(super) struct Walk<'a> {
    reader: &'a Reader,
    limits: &'a Limits,
    is_ignored: &'a mut dyn FnMut(&str) -> bool,
    visit: &'a mut dyn FnMut(&str, BlobId),
    files: usize,
    entries: usize,
    /// The file that counted last.
    last: String,
}

/// Where the walk is.
struct Place {
    path: String,
    depth: usize,
    /// Bytes of the folders that are open.
    open: usize,
    /// Whether every part of the path is a name as a checkout could have it.
    is_plain: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        reader: &'a Reader,
        limits: &'a Limits,
        is_ignored: &'a mut dyn FnMut(&str) -> bool,
        visit: &'a mut dyn FnMut(&str, BlobId),
    ) -> Self {
        Self {
            reader,
            limits,
            is_ignored,
            visit,
            files: 0,
            entries: 0,
            last: String::new(),
        }
    }

    /// Walks a folder, whose path from the root is given.
    pub(super) fn folder(&mut self, tree: &gix::Tree<'_>, path: &str) -> Result<(), ListError> {
        let mut place = Place {
            path: path.to_owned(),
            depth: 0,
            open: 0,
            is_plain: true,
        };
        self.tree(tree, &mut place)
    }

    fn tree(&mut self, tree: &gix::Tree<'_>, place: &mut Place) -> Result<(), ListError> {
        if place.depth > MAX_DEPTH {
            return Err(ListError::TooDeep(shown(&place.path)));
        }
        place.open += tree.data.len();
        if place.open > MAX_OPEN {
            return Err(ListError::TooManyEntries);
        }
        for entry in tree.iter() {
            // What the mirror holds is what was hashed, so it is the commit that is to blame.
            let entry = entry.map_err(|_| ListError::Garbage(shown(&place.path)))?;
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(ListError::TooManyEntries);
            }
            self.entry(&entry, place)?;
        }
        place.open -= tree.data.len();
        Ok(())
    }

    fn entry(&mut self, entry: &gix::object::tree::EntryRef<'_, '_>, place: &mut Place) -> Result<(), ListError> {
        let name: &[u8] = entry.filename();
        let (length, was_plain) = (place.path.len(), place.is_plain);
        let kind = entry.mode().kind();
        if length + 1 + name.len() > MAX_PATH {
            return if kind == EntryKind::Tree || is_manifest_path(&String::from_utf8_lossy(name)) {
                let full = format!("{}/{}", place.path, String::from_utf8_lossy(name));
                Err(ListError::LongPath(shown(full.trim_start_matches('/'))))
            } else {
                Ok(())
            };
        }
        if length > 0 {
            place.path.push('/');
        }
        // A name that is not UTF-8 cannot be written in a message or a glob; it is shown with marks instead.
        place.path.push_str(&String::from_utf8_lossy(name));
        place.is_plain &= is_plain(name);
        let counted = if kind == EntryKind::Tree {
            place.depth += 1;
            let walked = self
                .reader
                .tree(entry.object_id())
                .map_err(ListError::from)
                .and_then(|tree| self.tree(&tree, place));
            place.depth -= 1;
            walked
        } else {
            self.file(kind, entry.object_id(), place)
        };
        place.path.truncate(length);
        place.is_plain = was_plain;
        counted
    }

    fn file(&mut self, kind: EntryKind, id: gix::ObjectId, place: &Place) -> Result<(), ListError> {
        let path = &place.path;
        let counts = kind == EntryKind::Commit || is_manifest_path(path);
        if !counts || (self.is_ignored)(path) {
            return Ok(());
        }
        match kind {
            _ if !place.is_plain => return Err(ListError::Name(shown(path))),
            EntryKind::Link => return Err(ListError::Symlink(path.clone())),
            EntryKind::Commit => return Err(ListError::Submodule(path.clone())),
            _ => {}
        }
        // What reads the files relies on it, and a second file of one name could hide the first.
        if self.files > 0 && *path <= self.last {
            return Err(ListError::Disorder(path.clone()));
        }
        self.last.clone_from(path);
        self.files += 1;
        if self.files > self.limits.files {
            return Err(ListError::TooManyFiles(self.limits.files));
        }
        let Some(id) = id.as_slice().try_into().ok().map(BlobId) else {
            return Err(ListError::Read(ReadError("an object id that is not SHA-1".to_owned())));
        };
        (self.visit)(path, id);
        Ok(())
    }
}

/// Whether a checkout could have a file of this name, and a message show it.
pub(crate) fn is_plain(name: &[u8]) -> bool {
    let is_text = std::str::from_utf8(name).is_ok_and(|name| !name.chars().any(is_hidden));
    let is_special = name.is_empty() || name == b"." || name == b".." || name.eq_ignore_ascii_case(b".git");
    is_text && !is_special && !name.contains(&b'/')
}
