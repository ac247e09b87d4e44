//! What may change without another digest, and why.

use headgate::policy::METADATA_ANNOTATION;
use serde_json::Value;

use super::{How, Mutation};

/// Members of an object's metadata that only the server decides.
const BOOKKEEPING: &[&str] = &[
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "selfLink",
    "managedFields",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "addedByTheTest",
];

/// Why an object may stay the same. Each reason is met by some recorded object, or the test fails.
const SERVER: &str = "the server's bookkeeping";
const STATUS: &str = "status";
const LAST_APPLIED: &str = "kubectl's copy of what it applied last";
const TIER_LABEL: &str = "the tier label follows spec.tier";
const DEFAULT: &str = "a default, written or left out";
const EMPTY: &str = "an empty value, written or left out";
const ANNOTATION: &str = "what Calico's annotation repeats or overrides";
const ONE_PORT: &str = "two spellings of one port";
pub const REASONS: &[&str] = &[
    SERVER,
    STATUS,
    LAST_APPLIED,
    TIER_LABEL,
    DEFAULT,
    EMPTY,
    ANNOTATION,
    ONE_PORT,
];

/// The reason for which this change may go unnoticed.
pub fn reason(object: &Value, mutation: &Mutation) -> Option<&'static str> {
    let path: Vec<&str> = mutation.path.iter().map(String::as_str).collect();
    let kind = object["kind"].as_str().unwrap_or_default();
    let is_calico = object["apiVersion"]
        .as_str()
        .is_some_and(|version| version.contains("projectcalico.org/"));
    let is_tiered = is_calico && kind.ends_with("NetworkPolicy") && kind != "StagedKubernetesNetworkPolicy";
    match path.as_slice() {
        ["metadata", name, ..] if BOOKKEEPING.contains(name) => return Some(SERVER),
        ["metadata", "generateName"] => return Some(SERVER),
        ["status", ..] => return Some(STATUS),
        [
            "metadata",
            "annotations",
            "kubectl.kubernetes.io/last-applied-configuration",
        ] => return Some(LAST_APPLIED),
        ["metadata", "labels", "projectcalico.org/tier"] if is_tiered => return Some(TIER_LABEL),
        ["metadata", "annotations", METADATA_ANNOTATION] if mutation.how == How::Dropped => return Some(ANNOTATION),
        ["metadata", map @ ("labels" | "annotations"), rest @ ..] if overridden(object, map, rest) => {
            return Some(ANNOTATION);
        }
        _ => {}
    }
    if mutation.how == How::Swapped && is_calico && is_one_port(&mutation.before) {
        return Some(ONE_PORT);
    }
    if mutation.how == How::Dropped {
        reason_to_drop(object, kind, is_calico, &path, &mutation.before)
    } else {
        None
    }
}

/// Whether the first two different items of a list of Calico's ports are the same port: `"80"`, `"0080"`, `"80:80"`.
fn is_one_port(list: &Value) -> bool {
    let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let plain = |port: &Value| {
        let text = port.as_str().map_or_else(|| port.to_string(), str::to_owned);
        let bounds: Vec<String> = text
            .split(':')
            .map(|bound| bound.trim_start_matches('0').to_owned())
            .collect();
        if bounds.windows(2).all(|pair| pair[0] == pair[1]) {
            bounds[0].clone()
        } else {
            text
        }
    };
    let different = items.windows(2).find(|pair| pair[0] != pair[1]);
    different.is_some_and(|pair| plain(&pair[0]) == plain(&pair[1]))
}

/// Whether Calico's annotation says what stands here, be it one label or all there are; it wins.
fn overridden(object: &Value, map: &str, rest: &[&str]) -> bool {
    let own = object["metadata"]["annotations"][METADATA_ANNOTATION].as_str();
    let packed: Value = serde_json::from_str(own.unwrap_or("null")).unwrap_or_default();
    let is_stored = object["apiVersion"] == "crd.projectcalico.org/v1";
    let said = |name: &str| packed[map].get(name).is_some();
    is_stored
        && match rest {
            [name] => said(name),
            [] => object["metadata"][map]
                .as_object()
                .is_some_and(|all| all.keys().all(|name| said(name) || name == METADATA_ANNOTATION)),
            _ => false,
        }
}

fn reason_to_drop(object: &Value, kind: &str, is_calico: bool, path: &[&str], before: &Value) -> Option<&'static str> {
    let (last, above) = path.split_last()?;
    let is_empty = match before {
        Value::Null => true,
        Value::String(text) => is_calico && text.is_empty(),
        Value::Bool(flag) => is_calico && !flag,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Number(_) => false,
    };
    let is_default = match (*last, before) {
        ("protocol", Value::String(text)) => text == "TCP" && !is_calico,
        ("tier", Value::String(text)) => text == "default",
        ("stagedAction", Value::String(text)) => text == "Set",
        ("defaultAction", Value::String(text)) => kind == "Tier" && text == "Deny",
        ("types" | "policyTypes", Value::Array(_)) => true,
        ("podSelector", Value::Object(selector)) => path.len() == 2 && selector.is_empty(),
        _ => false,
    };
    if is_default {
        return Some(DEFAULT);
    }
    if is_empty || is_all_defaults(kind, path, before) {
        return Some(EMPTY);
    }
    // Without its only item a list is empty, and may as well be dropped.
    let parent = object_at(object, above)?;
    let is_only_item = parent.as_array().is_some_and(|items| items.len() == 1);
    is_only_item.then(|| reason_to_drop(object, kind, is_calico, above, parent))?
}

fn object_at<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, name| match value {
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        value => value.get(name),
    })
}

/// Whether something dropped as a whole said nothing in any of its parts.
fn is_all_defaults(kind: &str, path: &[&str], value: &Value) -> bool {
    match (path, value) {
        (["metadata", "labels"], Value::Object(labels)) => labels.keys().all(|name| name == "projectcalico.org/tier"),
        (["metadata", "annotations"], Value::Object(annotations)) => annotations
            .keys()
            .all(|name| name == "kubectl.kubernetes.io/last-applied-configuration" || name == METADATA_ANNOTATION),
        (["spec"], _) => kind != "HostEndpoint",
        _ => false,
    }
}

/// The same inside Calico's annotation.
pub fn is_bookkeeping(object: &Value, packed: &Value, mutation: &Mutation) -> bool {
    let path: Vec<&str> = mutation.path.iter().map(String::as_str).collect();
    match path.as_slice() {
        [name, ..] if BOOKKEEPING.contains(name) => *name != "addedByTheTest",
        ["namespace" | "generateName"]
        | ["annotations", "kubectl.kubernetes.io/last-applied-configuration"]
        | ["labels", "projectcalico.org/tier"] => true,
        // The stored object carries some of them itself, and its own name where the annotation has none.
        ["labels", name] => mutation.how == How::Dropped && object["metadata"]["labels"][*name] == mutation.before,
        ["annotations", name] => {
            mutation.how == How::Dropped && object["metadata"]["annotations"][*name] == mutation.before
        }
        ["name"] => mutation.how == How::Dropped,
        [only] => {
            mutation.how == How::Dropped
                && packed[*only].as_object().is_none_or(|members| {
                    members.iter().all(|(name, value)| {
                        name.contains("projectcalico.org/tier")
                            || name.starts_with("kubectl.kubernetes.io/last-applied")
                            || object["metadata"][*only][name] == *value
                    })
                })
        }
        _ => false,
    }
}
