//! How a source fares at this replica, for those who show it.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

use super::signature::SignatureFault;
use super::snapshot::Snapshot;

/// Why a fetched commit is not in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalReason {
    /// A file that counts cannot be read, or has an error.
    UnreadableFile,
    /// Two files declare one object.
    DuplicateObject,
    /// It does not descend from the head.
    HistoryRewritten,
    /// It removes more than `maxRemovals`.
    TooManyRemovals,
    /// It declares nothing, and the head declared something; or `spec.git.path` is not in it.
    EmptyTree,
    /// It is not signed as `spec.verify` asks, for this reason.
    NotVerified(SignatureFault),
    /// The ref, or the pinned commit, is not in the repository or not on the branch.
    NotFound,
}

impl RefusalReason {
    /// The reason as conditions, records and metrics write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnreadableFile => "UnreadableFile",
            Self::DuplicateObject => "DuplicateObject",
            Self::HistoryRewritten => "HistoryRewritten",
            Self::TooManyRemovals => "TooManyRemovals",
            Self::EmptyTree => "EmptyTree",
            Self::NotVerified(fault) => fault.as_str(),
            Self::NotFound => "RefNotFound",
        }
    }
}

impl EncodeLabelValue for RefusalReason {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

/// What is known of the signatures of the head in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Verification {
    /// Nothing: the source asks for none, or no head is in force here.
    #[default]
    Unknown,
    /// It is signed by a key of the source's list.
    Signed {
        /// Who signed it, by that list, and with which key.
        by: String,
        /// Why the list cannot be read again, if so.
        keys_problem: Option<String>,
    },
    /// Its signature does not count, or no longer.
    Failed {
        /// Why.
        fault: SignatureFault,
        /// Why, for people.
        message: String,
        /// Whether it goes on deciding all the same.
        kept: bool,
    },
}

/// A commit that was fetched and not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its full id; empty where the ref was not found.
    pub commit: String,
    /// Why.
    pub reason: RefusalReason,
    /// Why, for people: names files and lines, at most 1 KB.
    pub message: String,
}

/// A look at a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When it ended.
    pub at: Timestamp,
    /// Why it failed, for people; URLs and credentials left out.
    pub outcome: Result<(), String>,
}

/// How a source fares at this replica; the sync role makes its status from it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceReport {
    /// The generation of the spec that this speaks of.
    pub generation: Option<i64>,
    /// Why the spec cannot be used, if so.
    pub invalid: Option<String>,
    /// The last look at the repository; none before the first ended.
    pub attempt: Option<Attempt>,
    /// The commit that was fetched last and is not in force, if so.
    pub refusal: Option<Refusal>,
    /// The head in force.
    pub head: Option<Arc<Snapshot>>,
    /// Whether the head was made under other settings than those that the spec asks for: a new scope is not in force yet.
    pub scope_pending: bool,
    /// What is known of the head's signatures.
    pub verification: Verification,
    /// The moment as of which the head's signature was judged, where the source asks for one.
    pub verified_at: Option<Timestamp>,
    /// The furthest commit of the branch that was ever in force.
    pub highest_head: Option<String>,
    /// The branch's tip, where neither the status nor an announcement names it yet.
    pub found: Option<String>,
    /// What the status announced when this process took that in last.
    pub heard: String,
    /// The value of the last request to refresh that a fetch has answered.
    pub refreshed: Option<String>,
    /// Commits that were in force here, or that the status named when a later one came into force here: a status that
    /// names another is ahead of this process.
    pub passed: Arc<HashSet<String>>,
}
