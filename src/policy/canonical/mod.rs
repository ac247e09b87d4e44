//! The canonical form: an object reduced to what someone decided.
//!
//! One function for the file in Git, the object in a review, the live object and the command line. It never drops what
//! a server would keep: an unknown field of a stored object stays in the form, and so differs from every file.

mod calico;
mod calico_stored;
mod calico_uid;
mod cilium;
mod generic;
mod kubernetes;
mod metadata;
mod policy_api;
mod spelling;

use serde_json::{Map, Value};

use super::deployer::Marked;
use super::digest::Digest;
use super::key::Key;
use super::kind::{CALICO_CRD, Family, Kind, api_version as joined, is_built_in, split_api_version};
use metadata::Metadata;

pub use calico::METADATA_ANNOTATION;
pub(crate) use spelling::whole;

/// How deep an object may be nested. `serde_json` reads no deeper than this either.
const MOST_DEPTH: usize = 128;

/// Where an object is stored, against the name its key has in this release of its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Under its own name.
    AsNamed,
    /// Under a name that its key does not have; forged annotations make these.
    Misplaced,
    /// Its `projectcalico.org/metadata` annotation is not JSON, or not metadata; Calico's own server hides such an
    /// object.
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
    /// A guarded kind in a version whose structure is not known.
    #[error("{kind} is known in {known}, not in {api_version}")]
    UnknownVersion {
        /// `apiVersion` as found.
        api_version: String,
        /// The kind.
        kind: &'static str,
        /// The version that is known.
        known: String,
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
    /// Nested deeper than any object of a guarded kind can be.
    #[error("the object is nested deeper than {MOST_DEPTH} levels")]
    TooDeep,
}

/// The canonical form of an object of any guarded kind, in any API group that serves it.
///
/// # Errors
/// When the object is of no guarded kind, lacks its name, or has metadata of the wrong type.
pub fn canonicalize(object: Value) -> Result<Canonical, CanonicalError> {
    let Value::Object(mut members) = object else {
        return Err(CanonicalError::NotGuarded {
            api_version: String::new(),
            kind: String::new(),
        });
    };
    let api_version = take_text(&mut members, "apiVersion");
    let kind_name = take_text(&mut members, "kind");
    let Some(kind) = Kind::of_manifest(&api_version, &kind_name) else {
        return Err(CanonicalError::NotGuarded {
            api_version,
            kind: kind_name,
        });
    };
    check_version(kind, &api_version)?;
    let mut metadata = Metadata::read(members.remove("metadata"))?;
    members.remove("status");
    if !members.values().all(|value| within_depth(value, MOST_DEPTH)) {
        return Err(CanonicalError::TooDeep);
    }
    let placement = match kind.definition().family {
        Family::Calico if api_version.starts_with(CALICO_CRD) => calico_stored::unpack(kind, &mut metadata, &members),
        _ => Placement::AsNamed,
    };
    match kind.definition().family {
        Family::Kubernetes => kubernetes::normalise(kind, &mut members),
        Family::Calico => calico::normalise(kind, &mut metadata, &mut members),
        Family::PolicyApi => policy_api::normalise(kind, &mut members),
        Family::Cilium => cilium::normalise(kind, &mut members),
        Family::Generic => generic::normalise(kind, &mut members),
    }
    Ok(Canonical {
        key: Key::new(kind, metadata.namespace.as_deref(), &metadata.name),
        terminating: metadata.terminating,
        form: form(kind, metadata, members),
        placement,
    })
}

/// The annotation in which Calico keeps the metadata of what it stores in `crd.projectcalico.org/v1`, as an object
/// carries it. On a `projectcalico.org/v3` object it is always forged: it would replace the metadata that Calico
/// writes itself.
pub fn calico_metadata(object: &Value) -> Option<&Value> {
    object.get("metadata")?.get("annotations")?.get(METADATA_ANNOTATION)
}

impl Canonical {
    /// The digest of the form.
    ///
    /// # Errors
    /// When the form has no RFC 8785 text; a form made by [`canonicalize`] always has one.
    pub fn digest(&self) -> Result<Digest, serde_json::Error> {
        Digest::of(&self.form)
    }

    /// The deployers' marks that it carries, if any.
    ///
    /// # Errors
    /// As of [`Canonical::digest`].
    pub fn marked(&self) -> Result<Option<Marked>, serde_json::Error> {
        Marked::of(self.key.kind(), &self.form)
    }

    /// The finalizers that count, in order; of a stored Calico object those in Calico's annotation, and its own.
    pub fn finalizers(&self) -> Vec<&str> {
        let list = self.form.pointer("/metadata/finalizers").and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// The form without its finalizers: two objects for which it is equal differ in nothing else.
    pub fn form_without_finalizers(&self) -> Value {
        let mut form = self.form.clone();
        if let Some(members) = form.as_object_mut()
            && let Some(metadata) = members.get_mut("metadata").and_then(Value::as_object_mut)
        {
            metadata.remove("finalizers");
            if metadata.is_empty() {
                members.remove("metadata");
            }
        }
        form
    }

    /// The tier a Calico policy is in; none for kinds without tiers.
    pub fn tier(&self) -> Option<&str> {
        calico::is_tiered(self.key.kind())
            .then(|| self.form.pointer("/spec/tier").and_then(Value::as_str))
            .flatten()
    }
}

/// Custom resources keep empty objects as they were written; the API server's own kinds and Calico's drop them.
fn form(kind: Kind, metadata: Metadata, mut members: Map<String, Value>) -> Value {
    let keeps_empty = match kind.definition().family {
        Family::Kubernetes | Family::Calico => false,
        Family::PolicyApi | Family::Cilium => true,
        Family::Generic => !is_built_in(kind.definition().group),
    };
    members.retain(|_, value| !(value.is_null() || !keeps_empty && value.as_object().is_some_and(Map::is_empty)));
    if let Some(metadata) = metadata.into_form() {
        members.insert("metadata".to_owned(), metadata);
    }
    Value::Object(members)
}

fn take_text(members: &mut Map<String, Value>, name: &str) -> String {
    match members.remove(name) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    }
}

fn check_version(kind: Kind, api_version: &str) -> Result<(), CanonicalError> {
    let definition = kind.definition();
    let (group, version) = split_api_version(api_version);
    let served = definition.served.iter().find(|(served, _)| *served == group);
    match served {
        Some((_, known)) if *known != version => Err(CanonicalError::UnknownVersion {
            api_version: api_version.to_owned(),
            kind: definition.kind,
            known: joined(group, known),
        }),
        _ => Ok(()),
    }
}

pub(crate) fn within_depth(value: &Value, most: usize) -> bool {
    let Some(deeper) = most.checked_sub(1) else {
        return false;
    };
    match value {
        Value::Object(members) => members.values().all(|member| within_depth(member, deeper)),
        Value::Array(items) => items.iter().all(|item| within_depth(item, deeper)),
        _ => true,
    }
}

#[cfg(test)]
mod tests;
