//! The decision table, a sentence a row.

#![expect(
    clippy::needless_pass_by_value,
    reason = "objects are handed over so that the tests read as sentences"
)]

use std::collections::HashSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Basis, Lenience, Reason, decide};
use crate::gate::{DryRun, Exemption, ExemptionSpec, GrantSet, Operation, Request, Rules, Subject, Uncovered};
use crate::policy::{Key, canonicalize};
use crate::source::resource::{Git, Mode, OnRemoval, PolicySourceSpec, Prune, Scope, WhenStale};
use crate::source::{BlobId, Commit, DesiredState, Entries, Entry, Settings, Snapshot, SourceState, UrlRules};

mod calico_server;
mod content;
mod deployers;
mod forgeries;
mod grants;
mod leniences;
mod namespaces;
mod sources;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 365 * 50)
}

fn spec() -> PolicySourceSpec {
    PolicySourceSpec {
        git: Git {
            url: "https://git.example.com/acme/policies.git".to_owned(),
            interval: "30s".to_owned(),
            ..Git::default()
        },
        max_removals: "20%".to_owned(),
        stale_after: "10m".to_owned(),
        ..PolicySourceSpec::default()
    }
}

/// A policy whose content is told by its port.
fn policy(namespace: &str, name: &str, port: u16) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": "2019-01-01T00:00:00Z"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"],
                 "ingress": [{"ports": [{"protocol": "TCP", "port": port}]}]}
    })
}

fn snapshot(declared: &[Value]) -> Result<Snapshot, Box<dyn std::error::Error>> {
    let mut entries = Entries::default();
    for (index, object) in declared.iter().enumerate() {
        let canonical = canonicalize(object.clone())?;
        let entry = Entry {
            digest: canonical.digest()?,
            marked: canonical.marked()?.map(std::sync::Arc::new),
            path: "policies.yaml".into(),
            blob: BlobId([0; 20]),
            index,
            line: 1,
        };
        entries.insert(canonical.key, entry);
    }
    let commit = Commit {
        id: "3f2a91c0000000000000000000000000000000000"
            .get(..40)
            .unwrap_or_default()
            .to_owned(),
        tree: String::new(),
        time: now(),
        author: "Ada".to_owned(),
        subject: "Allow the web".to_owned(),
    };
    Ok(Snapshot {
        commit,
        entries,
        skipped: Vec::new(),
        ignored: 0,
    })
}

fn source(name: &str, spec: &PolicySourceSpec, declared: &[Value]) -> Result<SourceState, Box<dyn std::error::Error>> {
    Ok(SourceState {
        name: name.into(),
        settings: Arc::new(Settings::from_spec(spec, &UrlRules::default())?),
        head: Some(Arc::new(snapshot(declared)?)),
        had_head: true,
        confirmed_at: Some(now()),
        adopted_at: Some(now() - SignedDuration::from_hours(1)),
        being_removed: false,
        is_unverified: false,
        is_behind: false,
        formerly: Arc::default(),
        awaited: None,
    })
}

fn rules() -> Rules {
    Rules {
        mode: Mode::Enforce,
        uncovered: Uncovered::Deny,
        dry_run: DryRun::Deny,
        guarded: Vec::new(),
        exemptions: Vec::new(),
        guard_namespaces: false,
    }
}

fn request(
    operation: Operation,
    object: Option<Value>,
    old_object: Option<Value>,
) -> Result<Subject, Box<dyn std::error::Error>> {
    let any = object.as_ref().or(old_object.as_ref()).cloned().unwrap_or_default();
    let text = |pointer: &str| {
        any.pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let api_version = text("/apiVersion");
    let (group, version) = crate::policy::kind::split_api_version(&api_version);
    let review = json!({"request": {
        "uid": "u", "kind": {"group": group, "version": version, "kind": text("/kind")},
        "name": text("/metadata/name"), "namespace": text("/metadata/namespace"), "operation": operation,
        "userInfo": {"username": "alice", "groups": ["system:masters"]},
        "object": object, "oldObject": old_object
    }});
    let request = Request::read(review.to_string().as_bytes()).map_err(|(_, error)| error)?;
    Ok(Subject::new(request)?)
}

fn create(object: Value) -> Result<Subject, Box<dyn std::error::Error>> {
    request(Operation::Create, Some(object), None)
}

fn delete(object: Value) -> Result<Subject, Box<dyn std::error::Error>> {
    request(Operation::Delete, None, Some(object))
}

fn update(old: Value, new: Value) -> Result<Subject, Box<dyn std::error::Error>> {
    request(Operation::Update, Some(new), Some(old))
}

fn with(mut object: Value, pointer: &str, key: &str, value: Value) -> Value {
    if let Some(place) = object.pointer_mut(pointer).and_then(Value::as_object_mut) {
        place.insert(key.to_owned(), value);
    }
    object
}

/// The decision in a cluster with these sources.
fn verdict(subject: &Subject, sources: Vec<SourceState>, rules: &Rules) -> (Reason, bool) {
    verdict_in(subject, sources, rules, &HashSet::new())
}

fn verdict_in(
    subject: &Subject,
    sources: Vec<SourceState>,
    rules: &Rules,
    terminating: &HashSet<String>,
) -> (Reason, bool) {
    verdict_with(subject, sources, rules, terminating, &GrantSet::default())
}

fn verdict_with(
    subject: &Subject,
    sources: Vec<SourceState>,
    rules: &Rules,
    terminating: &HashSet<String>,
    grants: &GrantSet,
) -> (Reason, bool) {
    let desired = DesiredState::new(sources.into_iter().map(Arc::new).collect());
    let verdict = decide(
        subject,
        Basis {
            desired: &desired,
            rules,
            grants,
            terminating,
            now: now(),
        },
    );
    (verdict.reason, verdict.allowed)
}

fn one(declared: &[Value]) -> Result<Vec<SourceState>, Box<dyn std::error::Error>> {
    Ok(vec![source("platform", &spec(), declared)?])
}

#[test]
fn every_reason_is_written_once() {
    let names: HashSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(names.len(), Reason::ALL.len());
}
