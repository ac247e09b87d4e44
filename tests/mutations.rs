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
use mutation::exceptions::{REASONS, is_bookkeeping, reason};
use serde_json::{Value, json};

/// What makes two objects the same to Headgate: the key, the text that the digest is of, and the place.
type Identity = (Key, Vec<u8>, Placement);

fn identity(object: &Value) -> Option<Identity> {
    let made: Canonical = canonicalize(object.clone()).ok()?;
    let text = serde_json_canonicalizer::to_vec(&made.form).ok()?;
    Some((made.key, text, made.placement))
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
