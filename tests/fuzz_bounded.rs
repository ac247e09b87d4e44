//! The fuzz targets over some thousand mutations of real input, the same ones each time.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a test"
)]
#![allow(unreachable_pub, dead_code, reason = "the recordings are shared by several tests")]

mod recorded;
#[path = "../fuzz/targets.rs"]
mod targets;

use std::path::{Path, PathBuf};

use fastrand::Rng;
use serde_json::{Value, json};

/// Longer input is slower, and finds no more.
const MOST_BYTES: usize = 4096;

const POLICY: &str = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: web, namespace: shop}\n\
    spec:\n  podSelector: {matchLabels: &labels {app: web}}\n  ingress:\n  - from:\n    - podSelector: {matchLabels: *labels}\n    \
    ports: [{port: 0x50}, {port: http, protocol: TCP}]\n---\napiVersion: projectcalico.org/v3\nkind: NetworkPolicy\n\
    metadata:\n  name: web\n  namespace: shop\nspec:\n  selector: app == 'web'\n  types: [Ingress]\n  ingress:\n  - action: Allow\n    \
    destination: {ports: [80, '8080:8090']}\n";

/// What means something to one of the readers.
const WORDS: &[&str] = &[
    "\n",
    "---\n",
    "...\n",
    ": ",
    "- ",
    "? ",
    "[",
    "]",
    "{",
    "}",
    "&a ",
    "*a",
    "<<: *labels",
    "!!str ",
    "| \n",
    "> \n",
    "'",
    "\"",
    "#",
    "~",
    "yes",
    "010",
    "1e400",
    ".inf",
    "0x",
    "\t",
    "\r\n",
    "\u{feff}",
    "\u{2028}",
    "\0",
    "null",
    "[[[[[[[[",
    "{\"a\":",
    "\\ud800",
    "-0",
    "18446744073709551616",
    "items:\n- ",
    "kind: List\n",
    "metadata",
    "spec",
    "projectcalico.org/metadata",
    "generateName",
    "deletionTimestamp",
    "finalizers",
    "é",
    "\u{202e}",
];

/// Values that fit nowhere.
fn odd(rng: &mut Rng) -> Value {
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("a\u{0}\u{202e}b"),
        json!("x".repeat(3000)),
        json!([]),
        json!({}),
        json!([null]),
        json!({"": null}),
        json!([[[[[[[[1]]]]]]]]),
        json!("65536"),
        json!("80:79"),
        json!({"a": {"b": [1, {}]}}),
        json!("{\"labels\": {\"a\": \"b\"}}"),
        json!("projectcalico.org/v3"),
        json!("default"),
    ];
    values[rng.usize(..values.len())].clone()
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in recorded::entries(folder) {
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// The corpus, and what is here in any case.
fn texts() -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    if let Some(root) = recorded::shared("corpus") {
        files_below(&root, &mut files);
    }
    let files = files.iter().map(|file| std::fs::read(file).unwrap());
    let mut texts: Vec<Vec<u8>> = files.filter(|text| text.len() <= MOST_BYTES).collect();
    texts.push(POLICY.into());
    texts
}

/// The recorded reviews, and what is here in any case.
fn reviews() -> Vec<Value> {
    let lines = recorded::lines();
    let recorded = lines.iter().flat_map(|line| line.value["reviews"].as_array().unwrap());
    let mut reviews: Vec<Value> = recorded
        .filter(|review| review.to_string().len() <= MOST_BYTES)
        .cloned()
        .collect();
    let object = json!({
        "apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selector": "all()", "types": ["Ingress"], "ingress": [{"action": "Allow", "destination": {"ports": [80]}}]},
    });
    reviews.push(json!({"request": {
        "uid": "u", "operation": "UPDATE", "name": "web", "namespace": "shop",
        "kind": {"group": "projectcalico.org", "version": "v3", "kind": "NetworkPolicy"},
        "userInfo": {"username": "alice"}, "object": object, "oldObject": object,
    }}));
    reviews
}

/// Changes some bytes.
fn mutate(bytes: &mut Vec<u8>, others: &[Vec<u8>], rng: &mut Rng) {
    for _ in 0..rng.usize(1..6) {
        let at = rng.usize(..=bytes.len());
        let end = (at + rng.usize(..40)).min(bytes.len());
        match rng.u8(..7) {
            0 if at < bytes.len() => bytes[at] = rng.u8(..),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.truncate(at),
            3 => {
                let copy = bytes[at..end].repeat(rng.usize(1..30));
                drop(bytes.splice(at..at, copy));
            }
            4 => {
                let other = &others[rng.usize(..others.len())];
                let from = rng.usize(..=other.len());
                drop(bytes.splice(at.., other[from..].iter().copied()));
            }
            _ => {
                let word = WORDS[rng.usize(..WORDS.len())].repeat(if rng.u8(..20) == 0 { 200 } else { 1 });
                drop(bytes.splice(at..at, word.into_bytes()));
            }
        }
    }
    bytes.truncate(2 * MOST_BYTES);
}

/// Changes some values of a tree.
fn mutate_value(value: &mut Value, rng: &mut Rng) {
    let stop = rng.u8(..6) == 0;
    match value {
        Value::Object(members) if !stop && !members.is_empty() => {
            let name = members.keys().nth(rng.usize(..members.len())).unwrap().clone();
            match rng.u8(..12) {
                0 => drop(members.remove(&name)),
                1 => drop(members.insert(WORDS[rng.usize(..WORDS.len())].to_owned(), odd(rng))),
                2 => {
                    let moved = members.remove(&name).unwrap();
                    members.insert(format!("{name}s"), moved);
                }
                _ => mutate_value(&mut members[&name], rng),
            }
        }
        Value::Array(items) if !stop && !items.is_empty() => {
            let at = rng.usize(..items.len());
            match rng.u8(..8) {
                0 => drop(items.remove(at)),
                1 => items.insert(at, odd(rng)),
                2 => {
                    let copy = vec![items[at].clone(); rng.usize(1..100)];
                    drop(items.splice(at..at, copy));
                }
                3 => items.reverse(),
                _ => mutate_value(&mut items[at], rng),
            }
        }
        value => *value = odd(rng),
    }
}

#[test]
fn mutated_files_are_read_in_bounded_time_and_without_a_panic() {
    let mut rng = Rng::with_seed(1);
    let seeds = texts();
    for seed in &seeds {
        targets::yaml(seed);
    }
    for _ in 0..4000 {
        let mut text = seeds[rng.usize(..seeds.len())].clone();
        mutate(&mut text, &seeds, &mut rng);
        targets::yaml(&text);
    }
    eprintln!("{} files, 4000 mutations", seeds.len());
}

#[test]
fn mutated_reviews_are_read_without_a_panic() {
    let mut rng = Rng::with_seed(2);
    let seeds = reviews();
    let texts: Vec<Vec<u8>> = seeds.iter().map(|review| review.to_string().into_bytes()).collect();
    for round in 0..5000 {
        let at = rng.usize(..seeds.len());
        let text = if round % 2 == 0 {
            let mut review = seeds[at].clone();
            (0..rng.usize(1..5)).for_each(|_| mutate_value(&mut review, &mut rng));
            review.to_string().into_bytes()
        } else {
            let mut text = texts[at].clone();
            mutate(&mut text, &texts, &mut rng);
            text
        };
        targets::review(&text);
    }
    eprintln!("{} reviews, 5000 mutations", seeds.len());
}

#[test]
fn mutated_objects_have_forms_without_a_panic() {
    let mut rng = Rng::with_seed(3);
    let seeds = reviews();
    let objects = seeds
        .iter()
        .flat_map(|review| [&review["request"]["object"], &review["request"]["oldObject"]]);
    let objects: Vec<&Value> = objects.filter(|object| object.is_object()).collect();
    for object in &objects {
        targets::canonical(object.to_string().as_bytes());
    }
    for _ in 0..5000 {
        let mut one = objects[rng.usize(..objects.len())].clone();
        (0..rng.usize(..4)).for_each(|_| mutate_value(&mut one, &mut rng));
        let mut other = one.clone();
        (0..rng.usize(..4)).for_each(|_| mutate_value(&mut other, &mut rng));
        targets::canonical(json!([one, other]).to_string().as_bytes());
    }
    eprintln!("{} objects, 5000 pairs of mutations", objects.len());
}
