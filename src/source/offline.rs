//! The commits of a repository on this disk as snapshots, without a keeper and a network: what is measured, and what
//! compares commits with each other.

use std::path::Path;
use std::sync::Arc;

use gix::ObjectId;

use super::blobs::Blobs;
use super::builder::{BuildError, Built, build};
use super::limits::Limits;
use super::reader::Reader;
use super::settings::Settings;
use super::snapshot::Snapshot;

/// Reads commits one after the other, each at the cost of what it changed.
pub struct CommitReader {
    reader: Reader,
    blobs: Blobs,
    settings: Arc<Settings>,
    last: Option<Built>,
}

/// Why a commit cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// No full commit id.
    #[error("{0} is not a full commit id")]
    Id(String),
    /// The repository cannot be read.
    #[error("the repository cannot be read: {0}")]
    Repository(String),
    /// The commit would not be accepted.
    #[error("{0}")]
    Refused(String),
}

impl CommitReader {
    /// Opens the repository in this folder. The scope, path and patterns are those of the settings.
    ///
    /// # Errors
    /// When the folder holds no repository.
    pub fn open(folder: &Path, settings: Settings) -> Result<Self, CommitError> {
        let reader = Reader::open(folder).map_err(|error| CommitError::Repository(error.to_string()))?;
        Ok(Self {
            reader,
            blobs: Blobs::new(Limits::default()),
            settings: Arc::new(settings),
            last: None,
        })
    }

    /// The snapshot of a commit. Nobody asks whether it may follow the one before.
    ///
    /// # Errors
    /// When the commit is not there, or has a file that keeps it from being accepted.
    pub fn read(&mut self, commit: &str) -> Result<Arc<Snapshot>, CommitError> {
        let id: ObjectId = commit.parse().map_err(|_| CommitError::Id(commit.to_owned()))?;
        let built = build(&self.reader, &self.blobs, &self.settings, id, self.last.as_ref());
        let built = built.map_err(|error| match error {
            BuildError::Refused(_, message) => CommitError::Refused(message),
            BuildError::Read(error) => CommitError::Repository(error.to_string()),
        })?;
        let snapshot = Arc::clone(&built.snapshot);
        self.last = Some(built);
        Ok(snapshot)
    }
}
