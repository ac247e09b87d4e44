//! A folder as a source would read it from a commit: the same files, the same bounds, the same words.

use std::path::{Component, Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::scope::Source;
use crate::cli::Failure;
use crate::gate::wording::inline;
use crate::source::reading::{self, ListError, MAX_DEPTH, MAX_ENTRIES};
use crate::source::{Limits, is_manifest_path};

/// Something that a source would read, or would not.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    /// As people find it from where they are.
    pub(super) shown: String,
    pub(super) fate: Fate,
}

/// What a source would do with it.
#[derive(Debug)]
pub(super) enum Fate {
    /// Read it.
    Read,
    /// Refuse the whole commit.
    Refuse(String),
    /// Pass it by, although it looks like a manifest.
    Pass(String),
}

/// Everything below the source's folder that counts, in the order of its names, so that two runs say the same.
pub(super) fn entries(dir: &Path, source: &Source, limits: &Limits) -> Result<Vec<Entry>, Failure> {
    let mut walk = Walk {
        dir,
        source,
        limits,
        found: Vec::new(),
        bytes: 0,
        files: 0,
        seen: 0,
    };
    let folder = walk.folder()?;
    let mut entries = WalkDir::new(&folder).min_depth(1).sort_by_file_name().into_iter();
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(|error| inline(&error.to_string()))?;
        match walk.entry(&entry) {
            Next::On => {}
            Next::PastFolder => entries.skip_current_dir(),
            Next::Stop => break,
        }
    }
    Ok(walk.found)
}

/// A path as it was given, without dots that lead nowhere: editors and GitHub find the file by it.
pub(super) fn shown(path: &Path) -> String {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    match parts.collect::<PathBuf>() {
        empty if empty.as_os_str().is_empty() => ".".to_owned(),
        path => path.display().to_string(),
    }
}

enum Next {
    On,
    PastFolder,
    Stop,
}

struct Walk<'a> {
    dir: &'a Path,
    source: &'a Source,
    limits: &'a Limits,
    found: Vec<Entry>,
    bytes: u64,
    files: usize,
    seen: usize,
}

impl Walk<'_> {
    /// The folder that counts. Git knows no folder behind a symbolic link, and none in a repository within this one.
    fn folder(&self) -> Result<PathBuf, Failure> {
        let mut folder = self.dir.to_owned();
        if !folder.is_dir() {
            return Err(inline(&format!("{} is not a folder", folder.display())).into());
        }
        for part in self.source.path.split('/').filter(|part| !part.is_empty()) {
            folder.push(part);
            let is_folder = folder.symlink_metadata().is_ok_and(|found| found.is_dir());
            if !is_folder || is_repository(&folder) {
                return Err(inline(&ListError::NoFolder(self.source.path.clone()).to_string()).into());
            }
        }
        Ok(folder)
    }

    fn entry(&mut self, entry: &DirEntry) -> Next {
        if entry.file_name() == ".git" {
            return if entry.file_type().is_dir() {
                Next::PastFolder
            } else {
                Next::On
            };
        }
        self.seen += 1;
        if self.seen > MAX_ENTRIES {
            self.refuse(entry, ListError::TooManyEntries.to_string());
            return Next::Stop;
        }
        let relative = entry.path().strip_prefix(self.dir).unwrap_or(entry.path());
        let relative = relative.to_string_lossy().into_owned();
        if entry.file_type().is_dir() {
            self.subfolder(entry, relative)
        } else {
            self.file(entry, relative)
        }
    }

    fn subfolder(&mut self, entry: &DirEntry, relative: String) -> Next {
        if is_repository(entry.path()) {
            if !self.source.ignores(&relative) {
                self.refuse(entry, ListError::Submodule(relative).to_string());
            }
            return Next::PastFolder;
        }
        if entry.depth() > MAX_DEPTH {
            self.refuse(entry, ListError::TooDeep(relative).to_string());
            return Next::PastFolder;
        }
        Next::On
    }

    fn file(&mut self, entry: &DirEntry, relative: String) -> Next {
        let counts = is_manifest_path(&relative);
        let nearly_counts = is_manifest_path(&relative.to_lowercase());
        if !nearly_counts || self.source.ignores(&relative) {
            return Next::On;
        }
        if !counts {
            let why = "no source reads this file: only names that end in .yaml, .yml or .json count, in lower case";
            self.add(entry, Fate::Pass(why.to_owned()));
            return Next::On;
        }
        self.files += 1;
        if self.files > self.limits.files {
            self.refuse(entry, ListError::TooManyFiles(self.limits.files).to_string());
            return Next::Stop;
        }
        let below = entry.path().strip_prefix(self.dir).unwrap_or(entry.path());
        let is_plain = below.iter().all(|part| reading::is_plain(part.as_encoded_bytes()));
        let size = entry.metadata().map_or(0, |found| found.len());
        if !is_plain {
            self.refuse(entry, ListError::Name(reading::shown(&relative)).to_string());
        } else if entry.path_is_symlink() {
            self.refuse(entry, ListError::Symlink(relative).to_string());
        } else if !entry.file_type().is_file() {
            let why = "this is neither a file nor a folder: Git cannot hold it, and it is not read";
            self.refuse(entry, why.to_owned());
        } else if size > self.limits.file_size {
            self.refuse(entry, self.limits.too_large());
        } else {
            self.bytes += size + relative.len() as u64;
            if self.bytes > self.limits.total_size {
                self.refuse(entry, ListError::TooLarge(self.limits.total_size).to_string());
                return Next::Stop;
            }
            self.add(entry, Fate::Read);
        }
        Next::On
    }

    fn refuse(&mut self, entry: &DirEntry, why: String) {
        self.add(entry, Fate::Refuse(why));
    }

    fn add(&mut self, entry: &DirEntry, fate: Fate) {
        self.found.push(Entry {
            path: entry.path().to_owned(),
            shown: shown(entry.path()),
            fate,
        });
    }
}

/// A folder with its own `.git` is a submodule, and would become one if it were added.
fn is_repository(folder: &Path) -> bool {
    folder.join(".git").symlink_metadata().is_ok()
}
