//! The canonical form: an object reduced to what someone decided.

use serde_json::Value;

use super::digest::Digest;
use super::key::Key;

/// Where an object is stored, against the name its key has in this release of its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Under its own name.
    AsNamed,
    /// Under a name that its key does not have; forged annotations make these.
    Misplaced,
    /// Its `projectcalico.org/metadata` annotation is not JSON; Calico's own server hides such an object.
    UnreadableMetadata,
}

/// An object reduced to what someone decided: defaults filled in, server bookkeeping and status gone, one spelling
/// for each meaning.
#[derive(Clone, Debug, PartialEq)]
pub struct Canonical {
    /// What makes it the same object as another manifest.
    pub key: Key,
    /// `{metadata: {labels, annotations, finalizers, ownerReferences}, spec: …}`, each member only where it says something.
    pub form: Value,
    /// Where it is stored.
    pub placement: Placement,
    /// Whether it carries a deletion timestamp, in its own metadata or in Calico's annotation.
    pub terminating: bool,
}

/// Why an object has no canonical form.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CanonicalError {
    /// Not an object, or without a kind that Headgate guards.
    #[error("{api_version} {kind} is not a guarded kind")]
    NotGuarded {
        /// `apiVersion` as found, or empty.
        api_version: String,
        /// `kind` as found, or empty.
        kind: String,
    },
    /// A field that every object needs is absent.
    #[error("{path} is missing")]
    Missing {
        /// The field, as in `metadata.name`.
        path: String,
    },
    /// A field is of another type than the kind's structure says.
    #[error("{path} has the wrong type: expected {expected}")]
    WrongType {
        /// The field, as in `spec.ingress[0].ports`.
        path: String,
        /// What belongs there, in plain words.
        expected: &'static str,
    },
}

/// The canonical form of an object of any guarded kind, in any API group that serves it.
pub fn canonicalize(object: Value) -> Result<Canonical, CanonicalError> {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    Err(CanonicalError::NotGuarded {
        api_version: text("apiVersion"),
        kind: text("kind"),
    })
}

impl Canonical {
    /// The digest of the form.
    ///
    /// # Errors
    /// When the form has no RFC 8785 text; a form made by [`canonicalize`] always has one.
    pub fn digest(&self) -> Result<Digest, serde_json::Error> {
        Digest::of(&self.form)
    }
}
