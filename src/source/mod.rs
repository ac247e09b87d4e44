//! From a `PolicySource` to a head: the resource, the mirror, acceptance, the snapshot, and the keeper that keeps
//! heads current. Touches Git and the disk, nothing else; who lists the sources and reads their Secrets hands them in.

mod acceptance;
mod access;
mod address;
mod ancestry;
mod announcement;
mod blobs;
mod board;
mod builder;
pub mod coverage;
pub mod desired;
pub mod edit_url;
mod evaluation;
mod fetching;
mod flight;
mod formerly;
mod hearsay;
mod home;
pub mod keeper;
mod keys;
pub mod limits;
mod listing;
mod metrics;
mod mirror;
mod offline;
mod opened;
mod overlap;
mod pace;
mod pack;
pub mod passage;
mod published;
mod reader;
mod receiving;
mod redact;
mod report;
#[expect(
    unreachable_pub,
    clippy::duplicated_attributes,
    reason = "the schema derive repeats every struct in a scope of its own; two table columns may be of one type"
)]
pub mod resource;
mod selection;
pub mod settings;
mod signature;
pub mod snapshot;
mod ssh;
mod task;
mod transport;
pub mod trusted;
mod verification;
mod wanted;

/// The bounds of a commit's files, and what is said of one that exceeds them: `check` says the same of a folder.
pub(crate) mod reading {
    pub(crate) use super::limits::{MAX_ALLOCATION, MAX_DEPTH, MAX_ENTRIES};
    pub(crate) use super::listing::{ListError, is_plain, shown};
}

pub use address::UrlRules;
pub use announcement::Awaited;
pub use desired::{Declared, DesiredState, Lookup, SourceState};
pub use edit_url::edit_url;
pub use keeper::{CredentialStore, Credentials, Keeper, KeeperOptions, NotRead, Refresh, SourceReport};
pub use limits::Limits;
pub use listing::is_manifest_path;
pub use offline::{CommitError, CommitReader};
pub use passage::{Changes, Passage, Touch};
pub use resource::{PolicySource, PolicySourceSpec, PolicySourceStatus};
pub use settings::{Coverage, Settings, SettingsError};
pub use snapshot::{BlobId, Commit, Entries, Entry, Skipped, Snapshot};
