//! What a request is about: its objects in canonical form, and the few raw facts that the form leaves out.

use std::str::FromStr;

use jiff::Timestamp;
use serde_json::Value;

use super::review::{GroupVersionKind, Operation, Request, User};
use crate::policy::canonical::{METADATA_ANNOTATION, calico_metadata};
use crate::policy::kind::{CALICO_CRD, CALICO_V3};
use crate::policy::{Canonical, CanonicalError, Digest, Key, Placement, Statement, canonicalize};
use crate::source::Declared;

/// The identities of Calico's API server: since 3.31 by its operator, and before or by its manifests.
pub const CALICO_SERVERS: [&str; 2] = [
    "system:serviceaccount:calico-system:calico-apiserver",
    "system:serviceaccount:calico-apiserver:calico-apiserver",
];

/// What a request is about. Made once; decided on as often as the desired state changes meanwhile.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The review's id.
    pub uid: String,
    /// Who asks.
    pub user: User,
    /// What is asked for, after what only looks like an update was recognised as a delete.
    pub operation: Operation,
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// The API group through which the object is written.
    pub api_group: String,
    /// The object: the new state's key, or the old one's where it goes.
    pub key: Key,
    /// The new state; none where it goes.
    pub new: Option<State>,
    /// The stored state; none where it is new.
    pub old: Option<State>,
    /// Whether the object came with `metadata.generateName`.
    pub generated_name: bool,
    /// What is forged about Calico's bookkeeping, if anything.
    pub forged: Option<Forgery>,
}

/// One state of the object.
#[derive(Clone, Debug)]
pub struct State {
    /// Reduced to what someone decided.
    pub canonical: Canonical,
    /// The name it is stored under; Calico shows some objects under another.
    pub stored_name: String,
    /// The digest of the form.
    pub digest: Digest,
    /// When the API server stored it first.
    pub created: Option<Timestamp>,
}

/// A way to make Calico take an object for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgery {
    /// A v3 object carries the annotation in which Calico keeps its own bookkeeping.
    AnnotationOnV3,
    /// The annotation gives a stored object a name that it does not have.
    OtherName,
    /// The annotation is not JSON; Calico's server would hide the object.
    UnreadableAnnotation,
    /// A policy is stored without its types. Calico's client fills them in, and Felix takes a policy without for one of
    /// both directions (felix/calc): stored so, it is not what a file without types says.
    TypesLeftOut,
    /// The annotation says that the object is being deleted, and the request does not delete it; Calico would take it
    /// for going, for ever.
    DeletionTimestamp,
}

/// Why nothing can be said about a request. Each is a denial.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// An object has no canonical form.
    #[error("{field} cannot be compared with Git: {source}")]
    NoForm {
        /// `object` or `oldObject`.
        field: &'static str,
        /// Why.
        source: CanonicalError,
    },
    /// A form has no digest.
    #[error("the digest of {field} cannot be computed: {source}")]
    NoDigest {
        /// `object` or `oldObject`.
        field: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// The review says one thing and its object another.
    #[error("the admission review is about {review}, and its object is {object}")]
    Mismatch {
        /// What the review says.
        review: String,
        /// What the object says.
        object: String,
    },
}

impl Subject {
    /// Takes a request's objects to their canonical form.
    ///
    /// # Errors
    /// When an object has none, or is not what the review says it is.
    pub fn new(request: Request) -> Result<Self, SubjectError> {
        let Request {
            uid,
            kind,
            name,
            namespace,
            operation,
            user,
            object,
            old_object,
            dry_run,
        } = request;
        let object = object.filter(|_| operation != Operation::Delete);
        let old_object = old_object.filter(|_| operation != Operation::Create);
        let generated_name = operation == Operation::Create && object.as_ref().is_some_and(has_generate_name);
        let leaves_out = |object: Option<&Value>| object.is_some_and(|object| is_stored_without_types(&kind, object));
        let types_left_out = leaves_out(object.as_ref()) && !leaves_out(old_object.as_ref());
        let changed_metadata = changes_calico_metadata(object.as_ref(), old_object.as_ref());
        let new = object.map(|object| State::new("object", object)).transpose()?;
        let old = old_object.map(|object| State::new("oldObject", object)).transpose()?;
        let Some(key) = new.as_ref().or(old.as_ref()).map(|state| state.canonical.key.clone()) else {
            // The review reader has refused a request without the object that its operation needs.
            return Err(SubjectError::Mismatch {
                review: name,
                object: "absent".to_owned(),
            });
        };
        check_match(&kind.group, &kind.kind, &namespace, &key)?;
        let forged = new
            .as_ref()
            .filter(|_| changed_metadata)
            .and_then(|new| forgery(&kind.group, new));
        let operation = effective(operation, new.as_ref(), old.as_ref());
        let going = |state: &State| state.canonical.terminating;
        let begins_to_go = new.as_ref().is_some_and(going) && !old.as_ref().is_some_and(going);
        let forged = forged.or((begins_to_go && operation != Operation::Delete).then_some(Forgery::DeletionTimestamp));
        let forged = forged.or(types_left_out.then_some(Forgery::TypesLeftOut));
        let new = new.filter(|_| operation != Operation::Delete);
        Ok(Self {
            uid,
            user,
            operation,
            dry_run,
            api_group: kind.group,
            key,
            new,
            old,
            generated_name,
            forged,
        })
    }

    /// Whether Calico's own API server stores the object, for somebody whom the request does not name. It has asked
    /// about creations and updates on `projectcalico.org` before; about most deletes it asks nobody.
    pub fn is_stored_by_calico(&self) -> bool {
        self.api_group == CALICO_CRD && CALICO_SERVERS.contains(&self.user.username.as_str())
    }

    /// The state that the request is judged by: what would be stored, or what would go.
    pub fn judged(&self) -> Option<&State> {
        self.new.as_ref().or(self.old.as_ref())
    }
}

impl State {
    fn new(field: &'static str, object: Value) -> Result<Self, SubjectError> {
        let created = object.pointer("/metadata/creationTimestamp").and_then(Value::as_str);
        let created = created.and_then(|text| Timestamp::from_str(text).ok());
        let name = object.pointer("/metadata/name").and_then(Value::as_str);
        let stored_name = name.unwrap_or_default().to_owned();
        let canonical = canonicalize(object).map_err(|source| SubjectError::NoForm { field, source })?;
        let no_digest = |source| SubjectError::NoDigest { field, source };
        let digest = canonical.digest().map_err(no_digest)?;
        Ok(Self {
            canonical,
            stored_name,
            digest,
            created,
        })
    }

    /// Whether it says what Git declares, the marks of the source's deployer aside. Those are looked for only where they
    /// can make the difference; where that fails, it says something else.
    pub fn says(&self, declared: Declared<'_>) -> bool {
        if self.digest == declared.entry.digest {
            return true;
        }
        if declared.source.settings.deployer.is_none() {
            return false;
        }
        let marked = self.canonical.marked().unwrap_or_default();
        declared.matches(Statement {
            digest: self.digest,
            marked: marked.as_ref(),
        })
    }

    /// Whether the two differ in nothing but finalizers.
    pub fn equals_without_finalizers(&self, other: &State) -> bool {
        self.canonical.form_without_finalizers() == other.canonical.form_without_finalizers()
    }
}

fn has_generate_name(object: &Value) -> bool {
    object
        .pointer("/metadata/generateName")
        .and_then(Value::as_str)
        .is_some_and(|name| !name.is_empty())
}

fn changes_calico_metadata(object: Option<&Value>, old_object: Option<&Value>) -> bool {
    let new = object.and_then(calico_metadata);
    new.is_some() && new != old_object.and_then(calico_metadata)
}

fn is_stored_without_types(kind: &GroupVersionKind, object: &Value) -> bool {
    const TIERED: [&str; 4] = [
        "NetworkPolicy",
        "GlobalNetworkPolicy",
        "StagedNetworkPolicy",
        "StagedGlobalNetworkPolicy",
    ];
    let is_deletion = object
        .pointer("/spec/stagedAction")
        .is_some_and(|action| action == "Delete");
    let types = object.pointer("/spec/types").and_then(Value::as_array);
    kind.group == CALICO_CRD && TIERED.contains(&kind.kind.as_str()) && !is_deletion && types.is_none_or(Vec::is_empty)
}

fn forgery(group: &str, new: &State) -> Option<Forgery> {
    match (group, new.canonical.placement) {
        (CALICO_V3, _) => Some(Forgery::AnnotationOnV3),
        (_, Placement::UnreadableMetadata) => Some(Forgery::UnreadableAnnotation),
        (_, Placement::Misplaced) => Some(Forgery::OtherName),
        (_, Placement::AsNamed) => None,
    }
}

/// Calico's aggregated server turns a delete of an object that has finalizers, or that is to go in the foreground, into
/// an update that writes the deletion timestamp into its annotation: that is a delete, and is judged as one.
fn effective(operation: Operation, new: Option<&State>, old: Option<&State>) -> Operation {
    match (new, old) {
        (Some(new), Some(old))
            if new.canonical.terminating && !old.canonical.terminating && new.equals_without_finalizers(old) =>
        {
            Operation::Delete
        }
        _ => operation,
    }
}

fn check_match(group: &str, kind: &str, namespace: &str, key: &Key) -> Result<(), SubjectError> {
    let same_kind = key.kind().is_served_by(group) && key.kind().definition().kind == kind;
    if same_kind && key.namespace().is_none_or(|own| own == namespace) {
        return Ok(());
    }
    let place = if namespace.is_empty() {
        String::new()
    } else {
        format!(" in namespace {namespace}")
    };
    Err(SubjectError::Mismatch {
        review: format!("a {kind}.{group}{place}"),
        object: key.to_string(),
    })
}

impl Forgery {
    /// What is wrong, for people.
    pub fn sentence(self) -> String {
        match self {
            Self::AnnotationOnV3 => {
                format!(
                    "the annotation {METADATA_ANNOTATION} is Calico's own bookkeeping and may not be set on a {CALICO_V3} object"
                )
            }
            Self::OtherName => {
                format!(
                    "the annotation {METADATA_ANNOTATION} gives this {CALICO_CRD} object a name that it is not stored under"
                )
            }
            Self::TypesLeftOut => {
                format!(
                    "spec.types is left out; Calico reads a {CALICO_CRD} policy without it as one of both directions, so write it"
                )
            }
            Self::DeletionTimestamp => {
                format!("the annotation {METADATA_ANNOTATION} says that the object is being deleted, and it is not")
            }
            Self::UnreadableAnnotation => {
                format!("the annotation {METADATA_ANNOTATION} of this {CALICO_CRD} object is not JSON")
            }
        }
    }
}
