//! Checks one guarded object of a file: its metadata, its structure, and the rules of its family.

use serde_json::{Map, Value};

use super::findings::Findings;
use super::name;
use super::shape;
use crate::policy::canonical::METADATA_ANNOTATION;
use crate::policy::kind::{Family, Kind, api_version, is_built_in, split_api_version};
use crate::policy::rules;
use crate::policy::structure;

/// `TotalAnnotationSizeLimitB`, k8s.io/apimachinery/pkg/api/validation/objectmeta.go.
const MOST_ANNOTATION_BYTES: usize = 256 << 10;

/// What only a server may say about an object.
const BOOKKEEPING: &[&str] = &[
    "uid",
    "generation",
    "creationTimestamp",
    "selfLink",
    "managedFields",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// Takes out what no API server reads from a file, or refuses: bookkeeping, status, a namespace that the kind has not.
pub(super) fn make_sendable(kind: Kind, object: &mut Map<String, Value>) {
    object.remove("status");
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.retain(|name, _| !BOOKKEEPING.contains(&name.as_str()) && name != "resourceVersion");
        if !kind.definition().namespaced {
            metadata.remove("namespace");
        }
    }
}

/// Finds what is wrong with an object of this kind.
pub(super) fn check<'a>(kind: Kind, object: &'a Map<String, Value>, findings: &mut Findings<'a>) {
    check_version(kind, object, findings);
    match object.get("metadata") {
        Some(Value::Object(metadata)) => {
            findings.member("metadata", |findings| check_metadata(kind, metadata, findings));
        }
        Some(Value::Null) | None => findings.error("`metadata` is missing: an object needs a name"),
        Some(_) => {}
    }
    if object.get("status").is_some_and(|status| !status.is_null()) {
        findings.member("status", |findings| {
            findings.warning("`status` is the server's: it is not read from Git");
        });
    }
    let is_open = kind.definition().family == Family::Generic;
    shape::check_members(object, &[structure::ENVELOPE, structure::body(kind)], is_open, findings);
    rules::check(kind, object, findings);
}

fn check_version<'a>(kind: Kind, object: &'a Map<String, Value>, findings: &mut Findings<'a>) {
    let written = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    let (group, version) = split_api_version(written);
    let definition = kind.definition();
    let served = definition.served.iter().find(|(served, _)| *served == group);
    if let Some((_, known)) = served.filter(|(_, known)| *known != version) {
        findings.member("apiVersion", |findings| {
            findings.error(format!(
                "{} is known in {} only: write that",
                definition.kind,
                api_version(group, known)
            ));
        });
    }
}

fn check_metadata<'a>(kind: Kind, metadata: &'a Map<String, Value>, findings: &mut Findings<'a>) {
    let present = |name: &str| metadata.get(name).is_some_and(|value| !value.is_null());
    if present("resourceVersion") {
        findings.member("resourceVersion", |findings| {
            findings.error("`resourceVersion` makes an API server refuse to create the object: remove it");
        });
    }
    for name in BOOKKEEPING.iter().filter(|name| present(name)) {
        findings.member(name, |findings| {
            findings.warning(format!(
                "`{name}` is the server's bookkeeping and is not read from Git: remove it"
            ));
        });
    }
    let generates_name = metadata
        .get("generateName")
        .is_some_and(|value| !value.is_null() && value != "");
    if generates_name {
        findings.member("generateName", |findings| {
            findings.error("`generateName` gives another object each time: write `name`");
        });
    } else {
        check_name(kind, metadata, findings);
    }
    check_namespace(kind, metadata, findings);
    if let Some(Value::Object(annotations)) = metadata.get("annotations") {
        findings.member("annotations", |findings| check_annotations(kind, annotations, findings));
    }
    if let Some(Value::Array(finalizers)) = metadata.get("finalizers") {
        findings.member("finalizers", |findings| {
            let is_typed = is_built_in(kind.definition().group);
            rules::labels::check_finalizers(finalizers, is_typed, findings);
        });
    }
    if let Some(Value::Array(owners)) = metadata.get("ownerReferences") {
        findings.member("ownerReferences", |findings| rules::owners::check(owners, findings));
    }
    if let Some(Value::Object(labels)) = metadata.get("labels") {
        findings.member("labels", |findings| rules::labels::check_labels(labels, findings));
    }
}

fn check_name<'a>(kind: Kind, metadata: &'a Map<String, Value>, findings: &mut Findings<'a>) {
    match metadata.get("name") {
        Some(Value::String(text)) if !text.is_empty() => findings.member("name", |findings| {
            if let Err(reason) = name::check_name(kind, text) {
                findings.error(reason);
            }
        }),
        None | Some(Value::Null | Value::String(_)) => findings.error("`name` is missing: write one"),
        Some(_) => {}
    }
}

fn check_namespace<'a>(kind: Kind, metadata: &'a Map<String, Value>, findings: &mut Findings<'a>) {
    let namespace = metadata
        .get("namespace")
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty());
    match namespace {
        None if kind.definition().namespaced => {
            findings.error("`namespace` is missing: write the one this object belongs in");
        }
        Some(_) if !kind.definition().namespaced => findings.member("namespace", |findings| {
            findings.warning(format!(
                "{} has no namespace: this one is ignored",
                kind.definition().kind
            ));
        }),
        Some(text) => findings.member("namespace", |findings| {
            if let Err(reason) = name::check_label(text) {
                findings.error(reason);
            }
        }),
        None => {}
    }
}

fn check_annotations<'a>(kind: Kind, annotations: &'a Map<String, Value>, findings: &mut Findings<'a>) {
    if kind.definition().family == Family::Calico && annotations.contains_key(METADATA_ANNOTATION) {
        findings.member(METADATA_ANNOTATION, |findings| {
            findings.error(
                "Calico keeps its own copy of the metadata here, and one in a file would replace it: remove it, and \
                 write the name, labels and annotations themselves",
            );
        });
    }
    if annotations.contains_key("kubectl.kubernetes.io/last-applied-configuration") {
        findings.member("kubectl.kubernetes.io/last-applied-configuration", |findings| {
            findings.warning("kubectl writes this into the cluster, and it is not read from Git: remove it");
        });
    }
    rules::labels::check_annotation_keys(annotations, findings);
    let size = |(name, value): (&String, &Value)| name.len() + value.as_str().map_or(0, str::len);
    if annotations.iter().map(size).sum::<usize>() > MOST_ANNOTATION_BYTES {
        findings.error(format!(
            "the annotations are larger than the {MOST_ANNOTATION_BYTES} bytes that an API server takes"
        ));
    }
}
