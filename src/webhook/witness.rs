//! Who asks for a change of what is trusted: sources, grants, and the Secrets that sources may name. Such reviews are
//! never refused: who may is for RBAC and the API server's own policies to say. Only here the API server tells *who*.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use kube::Resource as _;
use serde_json::Value;

use crate::cluster::secrets::is_marked;
use crate::gate::{Operation, PolicyGrant, Request};
use crate::ledger::Record;
use crate::ledger::trust::{Trusted, asked, changes, shown_secret, shown_spec};
use crate::source::PolicySource;
use crate::source::trusted::Entry;

/// What is trusted that a review is about; none where it is about something else.
pub(super) fn about(request: &Request) -> Option<Trusted> {
    let is = |group: &str, kind: &str| request.kind.group == group && request.kind.kind == kind;
    let own = PolicySource::group(&());
    if is(&own, &PolicySource::kind(&())) {
        Some(Trusted::Source)
    } else if is(&own, &PolicyGrant::kind(&())) {
        Some(Trusted::Grant)
    } else if is("", "Secret") {
        Some(Trusted::Secret)
    } else {
        None
    }
}

/// The record of who asks for what; none where nothing that is trusted would change.
pub(super) fn record(trusted: Trusted, request: &Request, now: Timestamp) -> Option<Record> {
    let (before, after) = (request.old_object.as_ref(), request.object.as_ref());
    let [before, after] = match trusted {
        Trusted::Secret => secrets(before, after),
        _ => [before, after].map(|state| state.map(|state| shown_spec(state.get("spec").unwrap_or(&Value::Null)))),
    };
    if before == after {
        return None;
    }
    let object = request.object.as_ref().or(request.old_object.as_ref())?;
    let metadata = |field: &str| object.get("metadata").and_then(|metadata| metadata.get(field));
    let name = metadata("name").and_then(Value::as_str).unwrap_or(&request.name);
    let verb = match request.operation {
        Operation::Create => "create",
        Operation::Delete => "delete",
        Operation::Update | Operation::Connect => "change",
    };
    let told = changes(before.as_ref(), after.as_ref());
    Some(Record {
        user: Some(request.user.clone()),
        operation: Some(request.operation),
        dry_run: request.dry_run,
        review: Some(request.uid.clone()),
        generation: metadata("generation").and_then(Value::as_i64),
        ..asked(trusted, name, verb, told, now)
    })
}

/// The two states of a Secret. Of what is secret in it nothing is shown, not even a mark: whether it changes is. One that
/// is not marked is not read, and counts as not there.
fn secrets(before: Option<&Value>, after: Option<&Value>) -> [Option<Value>; 2] {
    let [before, after] = [before, after].map(|state| state.and_then(entries));
    let was = |name: &str, hash: &[u8; 32]| before.as_ref()?.get(name).map(|entry| *entry == Entry::Private(*hash));
    let shown = after.as_ref().map(|entries| {
        shown_secret(entries, |name, hash| match was(name, hash) {
            Some(false) => "hidden, and another".to_owned(),
            _ => HIDDEN.to_owned(),
        })
    });
    let before = before
        .as_ref()
        .map(|entries| shown_secret(entries, |_, _| HIDDEN.to_owned()));
    [before, shown]
}

const HIDDEN: &str = "hidden";

fn entries(secret: &Value) -> Option<BTreeMap<String, Entry>> {
    let labels = secret.pointer("/metadata/labels").cloned().unwrap_or_default();
    let labels: BTreeMap<String, String> = serde_json::from_value(labels).unwrap_or_default();
    if !is_marked(&labels) {
        return None;
    }
    let data = secret.get("data").and_then(Value::as_object);
    let entry = |(name, value): (&String, &Value)| {
        let content = BASE64_STANDARD.decode(value.as_str().unwrap_or_default());
        (name.clone(), Entry::of(name, &content.unwrap_or_default()))
    };
    Some(data.into_iter().flatten().map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::review::GroupVersionKind;
    use serde_json::json;

    fn request(kind: &str, old: Value, new: Value) -> Request {
        let group = if kind == "Secret" { "" } else { "headgate.dev" };
        Request {
            uid: "u".to_owned(),
            kind: GroupVersionKind {
                group: group.to_owned(),
                kind: kind.to_owned(),
                ..GroupVersionKind::default()
            },
            name: String::new(),
            namespace: String::new(),
            operation: Operation::Update,
            user: crate::gate::User {
                username: "alice".to_owned(),
                groups: Vec::new(),
            },
            object: Some(new).filter(|new| !new.is_null()),
            old_object: Some(old).filter(|old| !old.is_null()),
            dry_run: false,
        }
    }

    fn told(request: &Request) -> Option<(String, Vec<String>)> {
        let record = record(about(request)?, request, Timestamp::UNIX_EPOCH)?;
        let text = serde_json::to_string(&record).unwrap_or_default();
        assert!(!text.contains("czNjcmV0") && !text.contains("s3cret"), "{text}");
        let paths = record.changes.into_iter().map(|change| change.path);
        Some((record.message, paths.collect()))
    }

    fn secret(is_marked: bool, data: &Value) -> Value {
        let labels = if is_marked {
            json!({"headgate.dev/credentials": "true"})
        } else {
            json!({})
        };
        json!({"metadata": {"name": "acme-git", "labels": labels}, "data": data})
    }

    #[test]
    fn a_secret_that_may_be_read_is_told_of_by_the_names_of_its_entries() {
        let old = json!({"password": "czNjcmV0", "username": "bWU="});
        let new = json!({"password": "MHRoZXI=", "username": "bWU="});
        let changed = told(&request("Secret", secret(true, &old), secret(true, &new)));
        assert_eq!(
            changed,
            Some((
                "Asked to change Secret acme-git: password.".to_owned(),
                vec!["password".to_owned()]
            ))
        );
        assert_eq!(told(&request("Secret", secret(true, &old), secret(true, &old))), None);
        assert_eq!(told(&request("Secret", secret(false, &old), secret(false, &new))), None);
        let marked = told(&request("Secret", secret(false, &old), secret(true, &old)));
        assert!(marked.is_some_and(|(_, paths)| paths == ["password", "username"]));
    }

    #[test]
    fn what_changes_nothing_of_a_source_is_not_told_and_other_kinds_are_not_ours() {
        let source = |url: &str, finalizers: Value| json!({"metadata": {"name": "payments", "finalizers": finalizers}, "spec": {"git": {"url": url}}});
        let url = "https://me:s3cret@git.example.com/x";
        let kept = request("PolicySource", source(url, json!([])), source(url, json!(["a"])));
        assert_eq!(told(&kept), None);
        let gone = told(&request("PolicySource", source(url, json!([])), Value::Null));
        assert!(gone.is_some_and(|(_, paths)| paths == ["spec"]));
        let mut other = request("PolicySource", Value::Null, Value::Null);
        other.kind.group = "example.com".to_owned();
        assert_eq!(about(&other), None);
    }
}
