//! The review as received. An own struct: kube's `DynamicObject` drops metadata that it does not know, so it cannot tell
//! what was really asked for. An object with a key twice is refused: who reads it might take the other one.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::policy::strict_json::StrictValue;

/// What the request does to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// A new object.
    Create,
    /// A new state of an object; patches and applies too.
    Update,
    /// An object goes.
    Delete,
    /// A connection to a subresource; never guarded, and refused as unreadable.
    Connect,
}

impl Operation {
    /// The operation as the API server writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The name the API server authenticated.
    #[serde(default)]
    pub username: String,
    /// The groups it belongs to.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// A group, version and kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct GroupVersionKind {
    /// The API group; empty for the core group.
    #[serde(default)]
    pub group: String,
    /// The version.
    #[serde(default)]
    pub version: String,
    /// The kind.
    #[serde(default)]
    pub kind: String,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    request: Option<RawRequest<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawRequest<'a> {
    uid: String,
    kind: GroupVersionKind,
    #[serde(default)]
    sub_resource: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
    operation: Operation,
    #[serde(default)]
    user_info: User,
    #[serde(default, borrow)]
    object: Option<&'a RawValue>,
    #[serde(default, borrow)]
    old_object: Option<&'a RawValue>,
    #[serde(default)]
    dry_run: Option<bool>,
}

/// An admission request, its objects parsed and nothing of them lost.
#[derive(Clone, Debug)]
pub struct Request {
    /// The review's id, to be answered with.
    pub uid: String,
    /// The kind of the objects.
    pub kind: GroupVersionKind,
    /// The name as the request has it; empty for collections and generated names.
    pub name: String,
    /// The namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// What is done.
    pub operation: Operation,
    /// Who asks.
    pub user: User,
    /// The new state.
    pub object: Option<Value>,
    /// The stored state.
    pub old_object: Option<Value>,
    /// Whether nothing will be stored.
    pub dry_run: bool,
}

/// Why a review cannot be judged. Each is a denial.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// Not JSON, or not an `AdmissionReview`.
    #[error("the admission review cannot be read: {0}")]
    Unreadable(#[source] serde_json::Error),
    /// The review carries no request.
    #[error("the admission review carries no request")]
    NoRequest,
    /// An object inside it cannot be read.
    #[error("{field} of the admission review cannot be read: {source}")]
    Object {
        /// `object` or `oldObject`.
        field: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// The operation needs an object that is not there.
    #[error("the admission review of this {operation:?} lacks {field}")]
    Lacks {
        /// The operation.
        operation: Operation,
        /// `object` or `oldObject`.
        field: &'static str,
    },
    /// An operation or subresource that Headgate is not to be asked about.
    #[error("Headgate judges CREATE, UPDATE and DELETE of objects, not {0}")]
    NotJudged(String),
}

impl Request {
    /// Reads an `AdmissionReview` of `admission.k8s.io/v1`.
    ///
    /// # Errors
    /// When it cannot be judged; the error carries the review's uid where that could be read.
    pub fn read(body: &[u8]) -> Result<Self, (Option<String>, ReviewError)> {
        let envelope: Envelope<'_> =
            serde_json::from_slice(body).map_err(|error| (uid_of(body), ReviewError::Unreadable(error)))?;
        let raw = envelope.request.ok_or((None, ReviewError::NoRequest))?;
        let uid = raw.uid.clone();
        Self::from_raw(raw).map_err(|error| (Some(uid), error))
    }

    fn from_raw(raw: RawRequest<'_>) -> Result<Self, ReviewError> {
        let operation = raw.operation;
        if operation == Operation::Connect {
            return Err(ReviewError::NotJudged("CONNECT".to_owned()));
        }
        if !raw.sub_resource.is_empty() {
            return Err(ReviewError::NotJudged(format!("the subresource {}", raw.sub_resource)));
        }
        let object = read_object("object", raw.object)?;
        let old_object = read_object("oldObject", raw.old_object)?;
        let lacks = |field| ReviewError::Lacks { operation, field };
        if operation != Operation::Delete && object.is_none() {
            return Err(lacks("object"));
        }
        if operation != Operation::Create && old_object.is_none() {
            return Err(lacks("oldObject"));
        }
        Ok(Self {
            uid: raw.uid,
            kind: raw.kind,
            name: raw.name,
            namespace: raw.namespace,
            operation,
            user: raw.user_info,
            object,
            old_object,
            dry_run: raw.dry_run.unwrap_or(false),
        })
    }
}

/// `null` and an absent object are the same: the API server writes either.
fn read_object(field: &'static str, raw: Option<&RawValue>) -> Result<Option<Value>, ReviewError> {
    let Some(raw) = raw.filter(|raw| raw.get() != "null") else {
        return Ok(None);
    };
    serde_json::from_str::<StrictValue>(raw.get())
        .map(|object| Some(object.0))
        .map_err(|source| ReviewError::Object { field, source })
}

/// The uid of a review whose rest cannot be read, so that even that answer reaches the right request.
fn uid_of(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    Some(value.get("request")?.get("uid")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body(request: &Value) -> Vec<u8> {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})
            .to_string()
            .into()
    }

    #[test]
    fn a_delete_of_a_collection_has_no_name_and_still_its_old_object() {
        let request = json!({
            "uid": "u", "kind": {"group": "networking.k8s.io", "version": "v1", "kind": "NetworkPolicy"},
            "operation": "DELETE", "userInfo": {"username": "alice"}, "object": null, "oldObject": {"a": 1}
        });
        let read = Request::read(&body(&request));
        assert!(read.is_ok_and(|read| read.name.is_empty() && read.object.is_none() && read.old_object.is_some()));
    }

    #[test]
    fn a_review_that_lacks_its_object_is_refused_with_its_uid() {
        let request = json!({"uid": "u-1", "kind": {}, "operation": "UPDATE", "object": {"a": 1}});
        let error = Request::read(&body(&request)).err();
        assert!(matches!(error, Some((Some(uid), ReviewError::Lacks { field: "oldObject", .. })) if uid == "u-1"));
    }

    #[test]
    fn what_is_no_review_is_refused() {
        assert!(Request::read(b"").is_err());
        assert!(Request::read(b"{}").is_err());
        assert!(Request::read(&body(&json!({"uid": "u", "kind": {}, "operation": "CONNECT"}))).is_err());
        let unknown = Request::read(&body(&json!({"uid": "u", "kind": {}, "operation": "EXPLODE"})));
        assert!(matches!(unknown, Err((Some(_), ReviewError::Unreadable(_)))));
    }
}
