//! From a commit's files to a snapshot, or to the reason why the commit is refused as a whole.

use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use foldhash::fast::RandomState;
use gix::ObjectId;

use super::blobs::{Blobs, Summary};
use super::keeper::RefusalReason;
use super::limits::Limits;
use super::listing::ListError;
use super::reader::{ReadError, Reader};
use super::settings::Settings;
use super::snapshot::{BlobId, Entries, Entry, Skipped, Snapshot};

/// Errors that one refusal names; the others are counted.
const SHOWN: usize = 5;
/// From so many unknown files on, more than one thread reads them.
const WORTH_A_THREAD: usize = 64;
/// After so many errors no further file is read.
const ENOUGH_ERRORS: usize = 1000;

/// A snapshot together with what it was made of, so that the next one costs what changed.
pub(super) struct Built {
    pub(super) snapshot: Arc<Snapshot>,
    /// The settings it was made under.
    pub(super) settings: Arc<Settings>,
    /// In the order of their paths.
    files: Vec<File>,
}

#[derive(Clone)]
struct File {
    path: Arc<str>,
    blob: BlobId,
    summary: Arc<Summary>,
}

/// Why there is no snapshot of a commit.
#[derive(Debug, thiserror::Error)]
pub(super) enum BuildError {
    /// The commit is to blame.
    #[error("{1}")]
    Refused(RefusalReason, String),
    /// The mirror is.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Reads a commit under the given settings. `previous` is any snapshot that is likely to resemble it.
pub(super) fn build(
    reader: &Reader,
    blobs: &Blobs,
    settings: &Arc<Settings>,
    commit: ObjectId,
    previous: Option<&Built>,
) -> Result<Built, BuildError> {
    let described = reader.commit(commit)?;
    let files = list(reader, blobs, settings, commit, previous)?;
    let index = match previous.filter(|previous| Arc::ptr_eq(&previous.settings, settings)) {
        Some(previous) => Index::patched(previous, &files)?,
        None => Index::fresh(settings, &files)?,
    };
    Ok(Built {
        snapshot: Arc::new(Snapshot {
            commit: described,
            entries: index.entries,
            skipped: index.skipped,
            ignored: files.iter().map(|file| file.summary.ignored).sum(),
        }),
        settings: Arc::clone(settings),
        files,
    })
}

/// A file that the tree has, before it is known what it says.
struct Found {
    path: Arc<str>,
    blob: BlobId,
    summary: Option<Arc<Summary>>,
}

/// The commit's files with their summaries; those that `previous` has unchanged are taken from there.
fn list(
    reader: &Reader,
    blobs: &Blobs,
    settings: &Arc<Settings>,
    commit: ObjectId,
    previous: Option<&Built>,
) -> Result<Vec<File>, BuildError> {
    let mut found = Vec::with_capacity(previous.map_or(0, |previous| previous.files.len()));
    let mut known = previous.map_or(&[][..], |previous| &previous.files).iter().peekable();
    // Of a file that counted under the same settings no pattern is asked again.
    let counted = previous.filter(|previous| Arc::ptr_eq(&previous.settings, settings));
    let mut counted = counted.map_or(&[][..], |previous| &previous.files).iter().peekable();
    let mut is_ignored = |path: &str| {
        while counted.next_if(|file| *file.path < *path).is_some() {}
        counted.peek().is_none_or(|file| *file.path != *path) && settings.ignore.is_match(path)
    };
    let budget = Budget::new(blobs.limits());
    reader.visit_files(
        commit,
        &settings.path,
        blobs.limits(),
        &mut is_ignored,
        &mut |path, blob| {
            while known.next_if(|file| *file.path < *path).is_some() {}
            let same_path = known.next_if(|file| *file.path == *path);
            let summary = same_path
                .filter(|file| file.blob == blob)
                .map(|file| Arc::clone(&file.summary))
                .or_else(|| blobs.known(blob));
            budget.bytes.fetch_add(path.len() as u64, Relaxed);
            if let Some(summary) = &summary {
                budget.take(summary);
            }
            let path = same_path.map_or_else(|| Arc::from(path), |file| Arc::clone(&file.path));
            found.push(Found { path, blob, summary });
        },
    )?;
    read_unknown(reader, blobs, &mut found, &budget)?;
    let count = found.len();
    let file = |found: Found| {
        Some(File {
            path: found.path,
            blob: found.blob,
            summary: found.summary?,
        })
    };
    let files: Vec<File> = found.into_iter().filter_map(file).collect();
    // Reading may have stopped over them.
    refuse_faulty(&files, count)?;
    budget.check()?;
    if files.len() < count {
        return Err(ReadError::interrupted().into());
    }
    Ok(files)
}

/// What is left of the bounds while a commit is read.
struct Budget<'a> {
    limits: &'a Limits,
    bytes: AtomicU64,
    objects: AtomicUsize,
    errors: AtomicUsize,
}

impl<'a> Budget<'a> {
    fn new(limits: &'a Limits) -> Self {
        Self {
            limits,
            bytes: AtomicU64::new(0),
            objects: AtomicUsize::new(0),
            errors: AtomicUsize::new(0),
        }
    }

    fn take(&self, summary: &Summary) {
        self.bytes.fetch_add(summary.bytes, Relaxed);
        self.objects.fetch_add(summary.objects.len(), Relaxed);
        self.errors.fetch_add(summary.errors, Relaxed);
    }

    fn check(&self) -> Result<(), ListError> {
        if self.bytes.load(Relaxed) > self.limits.total_size {
            return Err(ListError::TooLarge(self.limits.total_size));
        }
        if self.objects.load(Relaxed) > self.limits.objects {
            return Err(ListError::TooManyObjects(self.limits.objects));
        }
        Ok(())
    }

    fn is_hopeless(&self) -> bool {
        self.errors.load(Relaxed) > ENOUGH_ERRORS
    }
}

/// Reads the files whose content is not known yet, until a bound is passed or there is enough to complain of.
fn read_unknown(reader: &Reader, blobs: &Blobs, found: &mut [Found], budget: &Budget<'_>) -> Result<(), ListError> {
    let mut unknown: Vec<&mut Found> = found.iter_mut().filter(|found| found.summary.is_none()).collect();
    if unknown.len() < WORTH_A_THREAD {
        return read_each(reader, blobs, &mut unknown, budget);
    }
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get().min(4));
    let share = unknown.len().div_ceil(threads);
    std::thread::scope(|scope| {
        let running: Vec<_> = unknown
            .chunks_mut(share)
            .map(|part| {
                let reader = reader.for_thread();
                scope.spawn(move || read_each(&reader.into_reader(), blobs, part, budget))
            })
            .collect();
        running
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|_| Err(ReadError::interrupted().into())))
    })
}

fn read_each(reader: &Reader, blobs: &Blobs, unknown: &mut [&mut Found], budget: &Budget<'_>) -> Result<(), ListError> {
    for found in unknown {
        budget.check()?;
        if budget.is_hopeless() {
            break;
        }
        // Another file of this commit may have the same content.
        let summary = match blobs.known(found.blob) {
            Some(known) => known,
            None => blobs.read(reader, found.blob)?,
        };
        budget.take(&summary);
        found.summary = Some(summary);
    }
    Ok(())
}

/// One unreadable file refuses the commit: a part of it must never be taken for the whole.
fn refuse_faulty(files: &[File], of: usize) -> Result<(), BuildError> {
    let total: usize = files.iter().map(|file| file.summary.errors).sum();
    if total == 0 {
        return Ok(());
    }
    let mut shown: Vec<String> = files
        .iter()
        .flat_map(|file| file.summary.faults.iter().map(move |fault| (file, fault)))
        .take(SHOWN)
        .map(|(file, fault)| format!("{}:{}:{}: {}", file.path, fault.line, fault.column, fault.message))
        .collect();
    if total > shown.len() {
        let rest = total - shown.len();
        shown.push(if files.len() < of {
            format!("and at least {rest} more")
        } else {
            format!("and {rest} more")
        });
    }
    Err(BuildError::Refused(RefusalReason::UnreadableFile, shown.join("; ")))
}

/// What a snapshot says, in the making.
struct Index<'a> {
    settings: &'a Settings,
    entries: Entries,
    skipped: Vec<Skipped>,
}

impl<'a> Index<'a> {
    fn fresh(settings: &'a Settings, files: &[File]) -> Result<Self, BuildError> {
        let mut index = Self {
            settings,
            entries: Entries::with_capacity_and_hasher(files.len(), RandomState::default()),
            skipped: Vec::new(),
        };
        files.iter().try_for_each(|file| index.add(file))?;
        Ok(index)
    }

    /// A copy of the previous index, changed where the files are. Both lists are in the order of their paths.
    fn patched(previous: &'a Built, files: &[File]) -> Result<Self, BuildError> {
        let mut index = Self {
            settings: &previous.settings,
            entries: previous.snapshot.entries.clone(),
            skipped: previous.snapshot.skipped.clone(),
        };
        let (removed, added) = changes(&previous.files, files);
        for file in removed {
            index.remove(file);
        }
        added.into_iter().try_for_each(|file| index.add(file))?;
        Ok(index)
    }

    fn remove(&mut self, file: &File) {
        for object in &file.summary.objects {
            if self
                .entries
                .get(&object.key)
                .is_some_and(|entry| entry.path == file.path)
            {
                self.entries.remove(&object.key);
            }
        }
        if !self.skipped.is_empty() {
            self.skipped.retain(|skipped| *skipped.path != *file.path);
        }
    }

    fn add(&mut self, file: &File) -> Result<(), BuildError> {
        for (index, object) in file.summary.objects.iter().enumerate() {
            if let Some(why) = self.settings.coverage.outside(&object.key, object.tier.as_deref()) {
                self.skipped.push(Skipped {
                    path: file.path.to_string(),
                    line: object.line,
                    key: object.key.clone(),
                    why,
                });
                continue;
            }
            let entry = Entry {
                digest: object.digest,
                marked: object.marked.clone(),
                path: Arc::clone(&file.path),
                blob: file.blob,
                index,
                line: object.line,
            };
            if let Some(other) = self.entries.insert(object.key.clone(), entry) {
                return Err(BuildError::Refused(
                    RefusalReason::DuplicateObject,
                    format!(
                        "{} is declared twice: in {}:{} and in {}:{}",
                        object.key.label(),
                        other.path,
                        other.line,
                        file.path,
                        object.line
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// The files of `old` that are not in `new`, and the files of `new` that are not in `old`, content counted.
fn changes<'a, 'b>(old: &'a [File], new: &'b [File]) -> (Vec<&'a File>, Vec<&'b File>) {
    let (mut removed, mut added) = (Vec::new(), Vec::new());
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(before), Some(after)) if Arc::ptr_eq(&before.path, &after.path) => Ordering::Equal,
            (Some(before), Some(after)) => before.path.cmp(&after.path),
        };
        let before = if order.is_le() { old.next() } else { None };
        let after = if order.is_ge() { new.next() } else { None };
        if before.map(|file| file.blob) != after.map(|file| file.blob) {
            removed.extend(before);
            added.extend(after);
        }
    }
    (removed, added)
}

impl From<ListError> for BuildError {
    fn from(error: ListError) -> Self {
        match error {
            ListError::Read(error) => Self::Read(error),
            ListError::NoFolder(_) => Self::Refused(RefusalReason::EmptyTree, error.to_string()),
            _ => Self::Refused(RefusalReason::UnreadableFile, error.to_string()),
        }
    }
}
