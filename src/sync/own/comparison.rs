//! What to do about one of Headgate's own objects: a pure function of what it is to be and of what it is.

use k8s_openapi::ByteString;
use serde_json::{Map, Value, json};

use super::manifest::{Manifest, OwnKind};
use crate::policy::Difference;
use crate::policy::difference::differences;

/// What the object needs.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Nothing.
    Keep,
    /// It is not there.
    Create(Value),
    /// It is not what it is to be.
    Replace {
        /// The whole of it, on top of the state that was compared.
        object: Value,
        /// What was changed about it: `git` is what it is to be.
        differences: Vec<Difference>,
    },
}

/// Compares. `ca` is the base64 of the certificates to trust, for manifests that do not say; without it what is there
/// stays.
pub(super) fn plan(manifest: &Manifest, live: Option<&Value>, ca: Option<&str>) -> Step {
    let mut wanted = manifest.object.clone();
    if manifest.kind == OwnKind::WebhookConfiguration {
        fill_in_ca(&mut wanted, live, ca);
    }
    let Some(live) = live else {
        return Step::Create(wanted);
    };
    let differences = differences(
        &view(manifest.kind, &wanted, &wanted),
        &view(manifest.kind, live, &wanted),
    );
    if differences.is_empty() {
        return Step::Keep;
    }
    Step::Replace {
        object: replacement(manifest.kind, live, &wanted),
        differences,
    }
}

/// Whether nothing but the authorities changed, and those because they are to be others now: nobody did anything to the
/// object. `last` is what it was to trust when this process looked last, `ca` what it is to trust now.
pub(super) fn follows(manifest: &Manifest, live: &Value, last: Option<&str>, ca: Option<&str>) -> bool {
    if manifest.kind != OwnKind::WebhookConfiguration || ca.is_none() {
        return false;
    }
    if last.is_some() {
        return plan(manifest, Some(live), last) == Step::Keep;
    }
    // This process has not looked before: another leader may have come this far, or nobody.
    let bundles = items(live.get("webhooks")).map(|webhook| webhook.pointer("/clientConfig/caBundle"));
    let bundles: Vec<&str> = bundles
        .map(|bundle| bundle.and_then(Value::as_str).unwrap_or_default())
        .collect();
    let is_new = !items(live.pointer("/metadata/managedFields")).any(|entry| {
        entry
            .get("manager")
            .is_some_and(|manager| manager == super::FIELD_MANAGER)
    });
    let expected = |bundle: &&str| bundle.is_empty() == is_new && adds_to(ca, bundle);
    plan(manifest, Some(live), None) == Step::Keep && bundles.iter().all(expected)
}

/// Whether all that this bundle trusts is trusted by the other, too.
fn adds_to(ca: Option<&str>, bundle: &str) -> bool {
    let pem = |base64: &str| serde_json::from_value::<ByteString>(base64.into()).map(|bytes| bytes.0);
    let (Some(Ok(more)), Ok(less)) = (ca.map(pem), pem(bundle)) else {
        return false;
    };
    less.is_empty() || more.windows(less.len()).any(|part| part == less)
}

fn fill_in_ca(wanted: &mut Value, live: Option<&Value>, ca: Option<&str>) {
    let there = |name: &Value| {
        let webhook = items(live?.get("webhooks")).find(|webhook| webhook.get("name") == Some(name))?;
        webhook.pointer("/clientConfig/caBundle").cloned()
    };
    for webhook in items_mut(wanted.get_mut("webhooks")) {
        let name = webhook.get("name").cloned().unwrap_or_default();
        let Some(client) = webhook.get_mut("clientConfig").and_then(Value::as_object_mut) else {
            continue;
        };
        if client.contains_key("caBundle") {
            continue;
        }
        if let Some(bundle) = ca.map(Value::from).or_else(|| there(&name)) {
            client.insert("caBundle".to_owned(), bundle);
        }
    }
}

/// What counts of an object: all that it does, the labels and annotations that it is to have, and whatever could make
/// the garbage collector or a deletion take it.
fn view(kind: OwnKind, object: &Value, wanted: &Value) -> Value {
    let mut body = object.get(kind.body()).cloned().unwrap_or_default();
    fill_in_defaults(kind, &mut body);
    let metadata = |name: &str| object.pointer(&format!("/metadata/{name}"));
    let mut counted = Map::new();
    for name in ["labels", "annotations"] {
        let expected = wanted.pointer(&format!("/metadata/{name}")).and_then(Value::as_object);
        let values = expected.into_iter().flatten().filter_map(|(key, _)| {
            let value = metadata(name)?.get(key)?;
            Some((key.clone(), value.clone()))
        });
        counted.insert(name.to_owned(), values.collect::<Map<_, _>>().into());
    }
    for name in ["ownerReferences", "finalizers"] {
        let value = metadata(name).filter(|value| value.as_array().is_some_and(|list| !list.is_empty()));
        counted.insert(name.to_owned(), value.cloned().unwrap_or_else(|| json!([])));
    }
    json!({"metadata": counted, kind.body(): body})
}

fn replacement(kind: OwnKind, live: &Value, wanted: &Value) -> Value {
    let mut object = live.clone();
    if let Some(members) = object.as_object_mut() {
        let body = wanted.get(kind.body()).cloned().unwrap_or_default();
        members.insert(kind.body().to_owned(), body);
        members.remove("status");
    }
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return object;
    };
    for name in ["ownerReferences", "finalizers", "managedFields"] {
        metadata.remove(name);
    }
    for name in ["labels", "annotations"] {
        let expected = wanted.pointer(&format!("/metadata/{name}")).and_then(Value::as_object);
        let Some(expected) = expected else { continue };
        let values = metadata.entry(name).or_insert_with(|| json!({}));
        if let Some(values) = values.as_object_mut() {
            values.extend(expected.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
    }
    object
}

/// What the API server fills in (admissionregistration/v1): a manifest that leaves it out means the same.
fn fill_in_defaults(kind: OwnKind, body: &mut Value) {
    match kind {
        OwnKind::WebhookConfiguration => items_mut(Some(body)).for_each(fill_in_webhook),
        OwnKind::Policy => {
            fill_in(body, "failurePolicy", json!("Fail"));
            if let Some(constraints) = body.get_mut("matchConstraints") {
                fill_in_matching(constraints);
            }
        }
        OwnKind::Binding => {
            if let Some(resources) = body.get_mut("matchResources") {
                fill_in_matching(resources);
            }
        }
    }
}

fn fill_in_webhook(webhook: &mut Value) {
    fill_in(webhook, "failurePolicy", json!("Fail"));
    fill_in(webhook, "matchPolicy", json!("Equivalent"));
    fill_in(webhook, "timeoutSeconds", json!(10));
    fill_in(webhook, "namespaceSelector", json!({}));
    fill_in(webhook, "objectSelector", json!({}));
    if let Some(service) = webhook.pointer_mut("/clientConfig/service") {
        fill_in(service, "port", json!(443));
    }
    for rule in items_mut(webhook.get_mut("rules")) {
        fill_in(rule, "scope", json!("*"));
    }
}

fn fill_in_matching(constraints: &mut Value) {
    fill_in(constraints, "matchPolicy", json!("Equivalent"));
    fill_in(constraints, "namespaceSelector", json!({}));
    fill_in(constraints, "objectSelector", json!({}));
    for rules in ["resourceRules", "excludeResourceRules"] {
        for rule in items_mut(constraints.get_mut(rules)) {
            fill_in(rule, "scope", json!("*"));
        }
    }
}

fn fill_in(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.entry(name).or_insert(value);
    }
}

fn items(list: Option<&Value>) -> impl Iterator<Item = &Value> {
    list.and_then(Value::as_array).into_iter().flatten()
}

fn items_mut(list: Option<&mut Value>) -> impl Iterator<Item = &mut Value> {
    list.and_then(Value::as_array_mut).into_iter().flatten()
}

/// Who wrote the object last, as far as its managed fields tell: they name a program, not a person, and forget who only
/// took something away.
pub(super) fn last_writer(live: &Value) -> Option<String> {
    let entry = items(live.pointer("/metadata/managedFields"))
        .filter(|entry| entry.get("subresource").is_none_or(|part| part == ""))
        .filter(|entry| {
            entry
                .get("manager")
                .is_some_and(|manager| manager != super::FIELD_MANAGER)
        })
        .max_by_key(|entry| entry.get("time").and_then(Value::as_str).unwrap_or_default())?;
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or("?");
    Some(format!("{} ({}, {})", text("manager"), text("operation"), text("time")))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
