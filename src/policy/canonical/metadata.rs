//! The part of an object's metadata that someone decided; the rest is the server's bookkeeping.

use serde_json::{Map, Value};

use super::CanonicalError;

/// `kubectl apply` keeps what it sent last here.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What of `metadata` makes the key or counts in the form.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) labels: Map<String, Value>,
    pub(super) annotations: Map<String, Value>,
    pub(super) finalizers: Vec<Value>,
    pub(super) owner_references: Vec<Value>,
    pub(super) terminating: bool,
}

impl Metadata {
    /// Reads `metadata`; uid, resourceVersion, generation, timestamps, managedFields and the like are left behind.
    pub(super) fn read(metadata: Option<Value>) -> Result<Self, CanonicalError> {
        let mut members = match metadata {
            Some(Value::Object(members)) => members,
            None | Some(Value::Null) => return Err(missing("metadata.name")),
            Some(_) => return Err(wrong_type("metadata", "an object")),
        };
        let name = text(&mut members, "name")?;
        let namespace = text(&mut members, "namespace")?;
        Ok(Self {
            name: name.ok_or_else(|| missing("metadata.name"))?,
            namespace,
            labels: strings(&mut members, "labels")?,
            annotations: strings(&mut members, "annotations")?,
            finalizers: list(&mut members, "finalizers")?,
            owner_references: owner_references(list(&mut members, "ownerReferences")?),
            terminating: members.get("deletionTimestamp").is_some_and(|time| !time.is_null()),
        })
    }

    /// The form's `metadata`, where anything in it says something.
    pub(super) fn into_form(mut self) -> Option<Value> {
        self.annotations.remove(LAST_APPLIED);
        let mut form = Map::new();
        for (name, map) in [("labels", self.labels), ("annotations", self.annotations)] {
            if !map.is_empty() {
                form.insert(name.to_owned(), Value::Object(map));
            }
        }
        for (name, list) in [
            ("finalizers", self.finalizers),
            ("ownerReferences", self.owner_references),
        ] {
            if !list.is_empty() {
                form.insert(name.to_owned(), Value::Array(list));
            }
        }
        (!form.is_empty()).then_some(Value::Object(form))
    }
}

/// Optional members of an owner reference are pointers: null is absent.
pub(super) fn owner_references(mut list: Vec<Value>) -> Vec<Value> {
    for owner in &mut list {
        if let Value::Object(members) = owner {
            members.retain(|_, value| !value.is_null());
        }
    }
    list
}

/// A map of strings, in which the API server reads null as the empty string.
pub(super) fn null_is_empty(map: &mut Map<String, Value>) {
    for value in map.values_mut().filter(|value| value.is_null()) {
        *value = Value::String(String::new());
    }
}

fn text(members: &mut Map<String, Value>, name: &str) -> Result<Option<String>, CanonicalError> {
    match members.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong_type(&format!("metadata.{name}"), "a string")),
    }
}

fn strings(members: &mut Map<String, Value>, name: &str) -> Result<Map<String, Value>, CanonicalError> {
    let refuse = || wrong_type(&format!("metadata.{name}"), "an object whose values are strings");
    match members.remove(name) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(mut map)) => {
            null_is_empty(&mut map);
            if map.values().all(Value::is_string) {
                Ok(map)
            } else {
                Err(refuse())
            }
        }
        Some(_) => Err(refuse()),
    }
}

fn list(members: &mut Map<String, Value>, name: &str) -> Result<Vec<Value>, CanonicalError> {
    match members.remove(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(wrong_type(&format!("metadata.{name}"), "a list")),
    }
}

fn missing(path: &str) -> CanonicalError {
    CanonicalError::Missing { path: path.to_owned() }
}

fn wrong_type(path: &str, expected: &'static str) -> CanonicalError {
    CanonicalError::WrongType {
        path: path.to_owned(),
        expected,
    }
}
