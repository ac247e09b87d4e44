//! Reads commits, trees and files of a mirror. Opened anew for each use, or after some seconds: gix's object store has
//! room for few packs over a handle's life.

use std::path::Path;

use gix::ObjectId;
use gix::refs::transaction::PreviousValue;
use jiff::Timestamp;

use super::ancestry;
use super::limits::{Limits, MAX_ALLOCATION};
use super::listing::{ListError, Walk};
use super::redact::{bounded, explained};
use super::snapshot::{BlobId, Commit};
use crate::policy::visible::escape;

/// Commits that are looked at for each that may be found: an old branch that is merged leads past all that came since.
const LOOKS: usize = 20;
/// Names the commit that was accepted last, so that a restart finds it again: an annotated tag, so that what is noted with
/// it is written in the same moment. Mirrors of earlier versions name the commit itself.
const ACCEPTED: &str = "refs/headgate/accepted";

/// Why a mirror cannot be read: it is damaged, or not a repository.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the mirror: {0}")]
pub(crate) struct ReadError(pub(super) String);

/// A handle on a mirror.
pub(super) struct Reader {
    repository: gix::Repository,
}

/// Opens a bare repository, with nothing taken from the machine's or the user's git configuration.
pub(super) fn open(dir: &Path) -> Result<gix::Repository, ReadError> {
    Ok(options().open_path_as_is(true).open(dir)?.to_thread_local())
}

/// Makes a bare repository in an empty folder.
pub(super) fn init(dir: &Path) -> Result<gix::Repository, ReadError> {
    let create = gix::create::Options::default();
    let made = gix::ThreadSafeRepository::init_opts(dir, gix::create::Kind::Bare, create, options())?;
    Ok(made.to_thread_local())
}

/// Trusted whoever owns the folder: on a cluster's volumes that is often another user.
fn options() -> gix::open::Options {
    gix::open::Options::isolated()
        .with(gix::sec::Trust::Full)
        .object_store_slots(gix::odb::store::init::Slots::Given(256))
        .config_overrides([
            "core.logAllRefUpdates=false".to_owned(),
            "user.name=headgate".to_owned(),
            "user.email=headgate@localhost".to_owned(),
            // A turned bit must not ask for terabytes.
            format!("gitoxide.objects.allocLimit={MAX_ALLOCATION}"),
            // How much memory unpacking takes is reckoned for one thread.
            "pack.threads=1".to_owned(),
        ])
}

/// A reader on its way to another thread.
#[derive(Clone)]
pub(super) struct Portable(gix::ThreadSafeRepository);

impl Portable {
    /// The reader, for the thread that calls.
    pub(super) fn into_reader(self) -> Reader {
        Reader::new(self.0.to_thread_local())
    }
}

impl Reader {
    /// A second reader of the same mirror, for another thread.
    pub(super) fn for_thread(&self) -> Portable {
        Portable(self.repository.clone().into_sync())
    }

    pub(super) fn open(dir: &Path) -> Result<Self, ReadError> {
        open(dir).map(Self::new)
    }

    pub(super) fn new(mut repository: gix::Repository) -> Self {
        repository.object_cache_size_if_unset(1 << 20);
        repository
            .objects
            .set_pack_cache(|| Box::new(gix::odb::pack::cache::lru::MemoryCappedHashmap::new(1 << 20)));
        Self { repository }
    }

    /// The commit that a ref names, tags peeled; none where there is no such ref.
    pub(super) fn tip(&self, reference: &str) -> Result<Option<ObjectId>, ReadError> {
        let Some(mut found) = self.repository.try_find_reference(reference)? else {
            return Ok(None);
        };
        Ok(Some(found.peel_to_commit()?.id))
    }

    /// The annotated tag that a ref names; none where it names a commit, or there is no such ref.
    pub(super) fn tag(&self, reference: &str) -> Result<Option<ObjectId>, ReadError> {
        let Some(found) = self.repository.try_find_reference(reference)? else {
            return Ok(None);
        };
        let Some(id) = found.target().try_id().map(ToOwned::to_owned) else {
            return Ok(None);
        };
        let kind = self.repository.find_header(id)?.kind();
        Ok((kind == gix::objs::Kind::Tag).then_some(id))
    }

    /// The commit that a tag leads to.
    pub(super) fn tagged(&self, tag: ObjectId) -> Result<ObjectId, ReadError> {
        Ok(self.repository.find_object(tag)?.peel_to_commit()?.id)
    }

    /// A commit's or tag's bytes, as they were hashed; none where there are more than `limit`.
    pub(super) fn raw(&self, id: ObjectId, limit: u64) -> Result<Option<Vec<u8>>, ReadError> {
        if self.repository.find_header(id)?.size() > limit {
            return Ok(None);
        }
        Ok(Some(self.object(id)?.detach().data))
    }

    /// When a commit was committed, by its own account.
    pub(super) fn committed_at(&self, commit: ObjectId) -> Result<Timestamp, ReadError> {
        let seconds = self.repository.find_commit(commit)?.time()?.seconds;
        Ok(Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// The commits that `tip` descends from, itself included, and none of `known` does; none where there are more
    /// than `limit`, or far more to be looked at. What is known and not in the mirror hides nothing.
    pub(super) fn range(
        &self,
        tip: ObjectId,
        known: &[ObjectId],
        limit: usize,
    ) -> Result<Option<Vec<ObjectId>>, ReadError> {
        let mut hidden = Vec::new();
        for commit in known {
            if self.has(*commit)? {
                hidden.push(*commit);
            }
        }
        let read = |id: ObjectId| {
            let commit = self.repository.find_commit(id)?;
            Ok::<_, ReadError>(ancestry::Commit {
                time: commit.time()?.seconds,
                parents: commit.parent_ids().map(gix::Id::detach).collect(),
            })
        };
        let commits = ancestry::range(tip, &hidden, LOOKS.saturating_mul(limit), read)?;
        Ok(commits.filter(|commits| commits.len() <= limit))
    }

    /// Whether the commit is in the mirror.
    pub(super) fn has(&self, commit: ObjectId) -> Result<bool, ReadError> {
        let header = self.repository.try_find_header(commit)?;
        Ok(header.is_some_and(|header| header.kind() == gix::objs::Kind::Commit))
    }

    /// Whether a commit is another one or descends from it. False where the other one is not in the mirror.
    pub(super) fn descends(&self, commit: ObjectId, from: ObjectId) -> Result<bool, ReadError> {
        if commit == from {
            return Ok(true);
        }
        if !self.has(from)? {
            return Ok(false);
        }
        let bases = self.repository.merge_bases_many(from, &[commit])?;
        Ok(bases.iter().any(|base| base.detach() == from))
    }

    /// The commit that was accepted last.
    pub(super) fn accepted(&self) -> Result<Option<ObjectId>, ReadError> {
        self.tip(ACCEPTED)
    }

    /// What was noted with it; none where nothing was.
    pub(super) fn accepted_note(&self) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(tag) = self.tag(ACCEPTED)? else {
            return Ok(None);
        };
        let tag = self.object(tag)?.try_into_tag()?;
        Ok(Some(tag.decode()?.message.to_vec()))
    }

    /// Records that a commit was accepted, with a note of one line.
    pub(super) fn record_accepted(&self, commit: ObjectId, note: &str) -> Result<(), ReadError> {
        if self.accepted()? == Some(commit) && self.accepted_note()?.as_deref() == Some(note.as_bytes()) {
            return Ok(());
        }
        let tag = self.repository.write_object(&gix::objs::Tag {
            target: commit,
            target_kind: gix::objs::Kind::Commit,
            name: "accepted".into(),
            tagger: None,
            message: note.into(),
            signature: None,
        })?;
        self.repository
            .reference(ACCEPTED, tag.detach(), PreviousValue::Any, "accept")?;
        Ok(())
    }

    /// What a commit says of itself.
    pub(super) fn commit(&self, id: ObjectId) -> Result<Commit, ReadError> {
        let commit = self.object(id)?.try_into_commit()?;
        let author = commit.author()?;
        let seconds = commit.time()?.seconds;
        Ok(Commit {
            id: id.to_string(),
            tree: commit.tree_id()?.to_string(),
            time: Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH),
            // Whoever may push chooses these, and people read them in a terminal.
            author: bounded(escape(&format!("{} <{}>", author.name, author.email)), 200),
            subject: bounded(escape(&commit.message()?.summary().to_string()), 200),
        })
    }

    /// Calls `visit` with each file that counts, in the order of their paths: `*.yaml`, `*.yml` and `*.json` below
    /// `folder` that are not ignored.
    pub(super) fn visit_files(
        &self,
        commit: ObjectId,
        folder: &str,
        limits: &Limits,
        is_ignored: &mut dyn FnMut(&str) -> bool,
        visit: &mut dyn FnMut(&str, BlobId),
    ) -> Result<(), ListError> {
        let id = self.object(commit)?.try_into_commit()?.tree_id()?.detach();
        let mut tree = self.tree(id)?;
        if !folder.is_empty() {
            let entry = tree.lookup_entry_by_path(folder)?;
            let below = entry.filter(|entry| entry.mode().is_tree());
            let below = below.ok_or_else(|| ListError::NoFolder(folder.to_owned()))?;
            tree = self.tree(below.object_id())?;
        }
        Walk::new(self, limits, is_ignored, visit).folder(&tree, folder)
    }

    /// A file's bytes; none where there are more than `limit`. How many there are is asked before any is unpacked.
    pub(super) fn blob(&self, id: BlobId, limit: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let id = ObjectId::from(id.0);
        if self.repository.find_header(id)?.size() > limit {
            return Ok(None);
        }
        Ok(Some(self.object(id)?.try_into_blob()?.take_data()))
    }

    pub(super) fn tree(&self, id: ObjectId) -> Result<gix::Tree<'_>, ReadError> {
        Ok(self.object(id)?.try_into_tree()?)
    }

    /// An object that is what its id says: a disk may have turned a bit, and a policy with it.
    fn object(&self, id: ObjectId) -> Result<gix::Object<'_>, ReadError> {
        let object = self.repository.find_object(id)?;
        let actual = gix::objs::compute_hash(id.kind(), object.kind, &object.data)?;
        if actual != id {
            return Err(ReadError(format!("the object {id} is damaged")));
        }
        Ok(object)
    }
}

impl ReadError {
    /// The reading thread did not come to its end.
    pub(super) fn interrupted() -> Self {
        Self("the reading thread ended unexpectedly".to_owned())
    }
}

impl From<gix::Error> for ReadError {
    fn from(error: gix::Error) -> Self {
        Self(explained(&error))
    }
}
