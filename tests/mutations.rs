//! Every change of meaning changes the digest: each leaf, member and list item of stored objects is changed, dropped,
//! added or moved, and the result is never taken for the object it was, but for the exceptions below.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a test"
)]
#![allow(unreachable_pub, dead_code, reason = "the recordings are shared by several tests")]

mod mutation;
mod recorded;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use headgate::policy::manifest::parse;
use headgate::policy::{Canonical, Key, METADATA_ANNOTATION, Placement, canonicalize};
use mutation::{How, Mutation};
use serde_json::{Value, json};

/// What makes two objects the same to Headgate: the key, the text that the digest is of, and the place.
type Identity = (Key, Vec<u8>, Placement);

fn identity(object: &Value) -> Option<Identity> {
    let made: Canonical = canonicalize(object.clone()).ok()?;
    let text = serde_json_canonicalizer::to_vec(&made.form).ok()?;
    Some((made.key, text, made.placement))
}

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
const REASONS: &[&str] = &[SERVER, STATUS, LAST_APPLIED, TIER_LABEL, DEFAULT, EMPTY, ANNOTATION, ONE_PORT];

/// The reason for which this change may go unnoticed.
fn reason(object: &Value, mutation: &Mutation) -> Option<&'static str> {
    let path: Vec<&str> = mutation.path.iter().map(String::as_str).collect();
    let kind = object["kind"].as_str().unwrap_or_default();
    let is_calico = object["apiVersion"]
        .as_str()
        .is_some_and(|version| version.contains("projectcalico.org/"));
    match path.as_slice() {
        ["metadata", name, ..] if BOOKKEEPING.contains(name) => return Some(SERVER),
        ["metadata", "generateName"] => return Some(SERVER),
        ["status", ..] => return Some(STATUS),
        [
            "metadata",
            "annotations",
            "kubectl.kubernetes.io/last-applied-configuration",
        ] => return Some(LAST_APPLIED),
        ["metadata", "labels", "projectcalico.org/tier"] if is_calico => return Some(TIER_LABEL),
        ["metadata", "namespace"] if kind.contains("Global") || kind == "Tier" || kind == "HostEndpoint" => {
            return Some(REASONS[7]);
        }
        ["spec", "types" | "policyTypes", ..] if object["spec"]["stagedAction"] == "Delete" => return Some(REASONS[6]),
        ["metadata", "annotations", METADATA_ANNOTATION] if mutation.how == How::Dropped => return Some(ANNOTATION),
        ["metadata", map @ ("labels" | "annotations"), rest @ ..] if overridden(object, map, rest) => {
            return Some(ANNOTATION);
        }
        ["metadata", "finalizers", ..] if is_calico && kind == "Tier" => return Some(REASONS[9]),
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
        ("order", Value::Number(number)) => kind == "Tier" && number.as_f64() == Some(1_000_000.0),
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
    let list = object_at(object, above);
    let is_only_item = list.as_array().is_some_and(|items| items.len() == 1);
    is_only_item.then(|| reason_to_drop(object, kind, is_calico, above, &list))?
}

fn object_at(object: &Value, path: &[&str]) -> Value {
    let pointer: String = path.iter().map(|name| format!("/{name}")).collect();
    object.pointer(&pointer).cloned().unwrap_or_default()
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

/// Changes an object in every way; counts what went unnoticed by its reason.
fn mutate(object: &Value, unnoticed: &mut BTreeMap<&'static str, usize>) -> usize {
    // What is misplaced is refused whatever it says.
    let Some(before) = identity(object).filter(|(_, _, placement)| *placement == Placement::AsNamed) else {
        return 0;
    };
    let mutations = mutation::all(object);
    let count = mutations.len();
    for mutation in mutations {
        if identity(&mutation.after) != Some(before.clone()) {
            continue;
        }
        match reason(object, &mutation) {
            Some(reason) => *unnoticed.entry(reason).or_default() += 1,
            None => panic!(
                "{:?} of {} went unnoticed: {}\n{object:#}",
                mutation.how,
                mutation.place(),
                mutation.before
            ),
        }
    }
    count
}

/// Every object that a server sent or stored, each content once.
fn recorded_objects() -> Vec<Value> {
    let (mut seen, mut objects) = (HashSet::new(), Vec::new());
    for line in recorded::lines() {
        let reviews = line.value["reviews"].as_array().unwrap().iter();
        let reviewed = reviews.flat_map(|review| [&review["request"]["object"], &review["request"]["oldObject"]]);
        let stored = ["stored", "stored_v3", "stored_crd_v1"].map(|place| &line.value[place]);
        for object in reviewed.chain(stored) {
            if let Some((key, text, placement)) = identity(object)
                && seen.insert((
                    key,
                    text,
                    placement == Placement::AsNamed,
                    object["apiVersion"].to_string(),
                ))
            {
                objects.push(object.clone());
            }
        }
    }
    objects
}

/// The objects of the corpus with everything that a server fills in.
fn corpus_objects() -> Vec<Value> {
    let Some(root) = recorded::shared("corpus") else {
        return Vec::new();
    };
    let (mut seen, mut objects) = (HashSet::new(), Vec::new());
    for file in files_below(&root) {
        for manifest in parse(&std::fs::read(file).unwrap()).manifests {
            if seen.insert(manifest.digest) {
                let mut object = manifest.object;
                let (metadata, form) = (object["metadata"].take(), manifest.form);
                for (name, member) in form.as_object().unwrap() {
                    object[name] = member.clone();
                }
                object["metadata"] = metadata;
                objects.push(object);
            }
        }
    }
    objects
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = recorded::entries(folder).into_iter();
    let found = entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] });
    found
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect()
}

#[test]
fn every_change_of_a_recorded_object_is_noticed() {
    let (objects, mut unnoticed) = (recorded_objects(), BTreeMap::new());
    let mutations: usize = objects.iter().map(|object| mutate(object, &mut unnoticed)).sum();
    eprintln!(
        "{mutations} changes of {} recorded objects; unnoticed: {unnoticed:#?}",
        objects.len()
    );
    if !objects.is_empty() {
        for reason in REASONS {
            assert!(
                unnoticed.contains_key(reason),
                "no object needs the exception: {reason}"
            );
        }
    }
}

#[test]
fn every_change_of_an_object_of_the_corpus_is_noticed() {
    let (objects, mut unnoticed) = (corpus_objects(), BTreeMap::new());
    let mutations: usize = objects.iter().map(|object| mutate(object, &mut unnoticed)).sum();
    eprintln!(
        "{mutations} changes of {} objects of the corpus; unnoticed: {unnoticed:#?}",
        objects.len()
    );
}

/// Whatever Calico's annotation says: no other spec, and no other labels than those it declares itself, pass for the
/// object.
#[test]
fn no_annotation_makes_another_object_pass() {
    let mut tried = 0;
    for object in recorded_objects() {
        if !object["apiVersion"]
            .as_str()
            .unwrap_or_default()
            .contains("projectcalico.org/")
        {
            continue;
        }
        let before = identity(&object).unwrap();
        let name = before.0.name().to_owned();
        let own = object["metadata"]["annotations"][METADATA_ANNOTATION]
            .as_str()
            .unwrap_or("{}")
            .to_owned();
        let forged = [
            own,
            json!({"name": name}).to_string(),
            json!({"name": name, "labels": object["metadata"]["labels"]}).to_string(),
            json!({"name": name, "spec": object["spec"]}).to_string(),
            json!({"name": name, "Spec": object["spec"]}).to_string(),
        ];
        let mut others: Vec<Value> = Vec::new();
        for (member, value) in [
            ("selector", json!("all() || forged == ''")),
            ("nets", json!(["203.0.113.0/24"])),
            ("order", json!(0.25)),
            ("ingress", json!([{"action": "Allow", "protocol": 99}])),
        ] {
            let mut other = object.clone();
            other["spec"][member] = value;
            others.push(other);
        }
        let mut labelled = object.clone();
        labelled["metadata"]["labels"]["forged"] = "label".into();
        others.push(labelled);
        for other in others {
            for annotation in &forged {
                let mut other = other.clone();
                other["metadata"]["annotations"][METADATA_ANNOTATION] = annotation.as_str().into();
                assert_ne!(identity(&other), Some(before.clone()), "{other:#}");
                tried += 1;
            }
        }
        // A v3 object with the annotation is always another one.
        if object["apiVersion"] == "projectcalico.org/v3"
            && object["metadata"]["annotations"][METADATA_ANNOTATION].is_null()
        {
            for annotation in &forged {
                let mut other = object.clone();
                other["metadata"]["annotations"][METADATA_ANNOTATION] = annotation.as_str().into();
                assert_ne!(identity(&other), Some(before.clone()), "{other:#}");
                tried += 1;
            }
        }
    }
    eprintln!("{tried} forgeries are noticed");
}

/// Each member of Calico's annotation counts, but for the bookkeeping in it.
#[test]
fn every_change_inside_calicos_annotation_is_noticed() {
    let (mut tried, mut unnoticed) = (0, 0);
    for object in recorded_objects() {
        let Some(packed) = object["metadata"]["annotations"][METADATA_ANNOTATION].as_str() else {
            continue;
        };
        let Ok(packed) = serde_json::from_str::<Value>(packed) else {
            continue;
        };
        let before = identity(&object);
        if object["apiVersion"] != "crd.projectcalico.org/v1" || !matches!(before, Some((_, _, Placement::AsNamed))) {
            continue;
        }
        for mutation in mutation::all(&packed) {
            let mut other = object.clone();
            other["metadata"]["annotations"][METADATA_ANNOTATION] = mutation.after.to_string().into();
            tried += 1;
            if identity(&other) == before {
                unnoticed += 1;
                assert!(is_bookkeeping(&object, &packed, &mutation), "{mutation:?}\n{object:#}");
            }
        }
    }
    eprintln!("{tried} changes inside annotations, {unnoticed} of bookkeeping");
}

fn is_bookkeeping(object: &Value, packed: &Value, mutation: &Mutation) -> bool {
    let path: Vec<&str> = mutation.path.iter().map(String::as_str).collect();
    match path.as_slice() {
        [name, ..] if BOOKKEEPING.contains(name) => *name != "addedByTheTest",
        ["namespace" | "generateName"] => true,
        ["annotations", "kubectl.kubernetes.io/last-applied-configuration"] => true,
        ["labels", "projectcalico.org/tier"] => true,
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
