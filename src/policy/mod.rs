//! Kinds, keys, manifests, the canonical form per family, digests and field differences. Pure: no clock, socket,
//! disk or task in here.
//!
//! One canonicaliser serves the file in Git, the object in a review, the live object and the command line:
//! [`canonicalize`]. [`manifest`] reads files into objects and says what is wrong with them.

pub mod canonical;
pub mod deployer;
pub mod difference;
pub mod digest;
pub mod key;
pub mod kind;
pub mod lint;
pub mod manifest;
mod rules;
pub(crate) mod strict_json;
mod structure;
pub mod visible;

pub use canonical::{Canonical, CanonicalError, METADATA_ANNOTATION, Placement, calico_metadata, canonicalize};
pub use deployer::{Deployer, Marked, Statement};
pub use difference::{Difference, differences};
pub use digest::Digest;
pub use key::Key;
pub use kind::{Family, GenericKind, Kind, Rank};
pub use lint::Lint;
pub use manifest::{Ignored, Manifest, Parsed, Problem, Severity};
