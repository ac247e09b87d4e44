//! What holds for any input. The fuzz targets ask it of inputs that a fuzzer finds, and `tests/fuzz_bounded.rs` of
//! some thousand mutations, without a nightly compiler.
#![allow(dead_code, reason = "each fuzz target uses one of these")]

use std::collections::HashSet;

use headgate::config::Config;
use headgate::gate::decision::{Basis, decide};
use headgate::gate::wording::{self, Findings};
use headgate::gate::{GrantSet, Request, Subject};
use headgate::policy::difference::MOST_DIFFERENCES;
use headgate::policy::manifest::parse;
use headgate::policy::{Canonical, canonicalize, differences};
use headgate::source::DesiredState;
use jiff::Timestamp;
use serde_json::{Value, json};

/// A file's text: every problem has a place in it and words of bounded length, and every manifest is sendable: what
/// would be sent reads as the same object.
pub fn yaml(bytes: &[u8]) {
    let parsed = parse(bytes);
    // A carriage return alone ends a line too.
    let lines = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).count();
    assert!(parsed.problems.len() <= 101);
    for problem in &parsed.problems {
        assert!(
            (1..=lines).contains(&problem.line) && problem.column >= 1,
            "{problem:?}"
        );
        assert!(!problem.message.is_empty(), "{problem:?}");
        assert!(problem.message.len() + problem.field.len() <= 2100);
    }
    for ignored in &parsed.ignored {
        assert!(
            (1..=lines).contains(&ignored.line) && !ignored.what.is_empty(),
            "{ignored:?}"
        );
    }
    // An alias stands for more than it is long, within a bound.
    let objects: usize = parsed
        .manifests
        .iter()
        .map(|manifest| manifest.object.to_string().len())
        .sum();
    assert!(objects <= 100 * bytes.len() + (64 << 20), "{objects}");
    for manifest in &parsed.manifests {
        let again = parse(manifest.object.to_string().as_bytes());
        assert!(
            again
                .problems
                .iter()
                .all(|problem| problem.severity < headgate::policy::Severity::Error)
        );
        let [again] = again.manifests.as_slice() else {
            panic!("the object of one manifest is not one: {}", manifest.object);
        };
        assert_eq!(
            (&again.key, again.digest),
            (&manifest.key, manifest.digest),
            "{}",
            manifest.object
        );
    }
}

/// A review's body: it is read or refused, and a refusal's text is bounded.
pub fn review(bytes: &[u8]) {
    let request = match Request::read(bytes) {
        Ok(request) => request,
        Err((_, error)) => return check_text(&wording::denial_without_subject(&error.to_string())),
    };
    let subject = match Subject::new(request) {
        Ok(subject) => subject,
        Err(error) => return check_text(&wording::denial_without_subject(&error.to_string())),
    };
    let now = Timestamp::UNIX_EPOCH;
    let rules = Config::read(None).expect("the default configuration").rules;
    let desired = DesiredState::new(Vec::new());
    let terminating = HashSet::new();
    let grants = GrantSet::default();
    let basis = Basis {
        desired: &desired,
        rules: &rules,
        grants: &grants,
        terminating: &terminating,
        now,
    };
    let verdict = decide(&subject, basis);
    let found = match (&subject.old, &subject.new) {
        (Some(old), Some(new)) => differences(&old.canonical.form, &new.canonical.form),
        _ => Vec::new(),
    };
    let findings = Findings {
        differences: &found,
        in_cluster: &found,
        marks_of: None,
        unread: &headgate::gate::wording::Unread::Nothing,
        edit_url: None,
        now,
    };
    check_text(&wording::denial(&subject, &verdict, findings));
}

fn check_text(text: &str) {
    assert!(text.len() <= wording::MAX_TEXT);
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
}

/// JSON of one object, or of a list of two: the form is that of the form, and differences tell equal forms from others.
pub fn canonical(bytes: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else {
        return;
    };
    let objects = match value {
        Value::Array(objects) => objects,
        object => vec![object],
    };
    let made = objects
        .into_iter()
        .take(2)
        .filter_map(|object| canonicalize(object).ok());
    let forms: Vec<Canonical> = made.collect();
    for canonical in &forms {
        let again = canonicalize(object(canonical)).expect("a form is that of an object");
        assert_eq!(again.form, canonical.form);
        assert_eq!(again.key, canonical.key);
        assert_eq!(differences(&again.form, &canonical.form), []);
    }
    if let [one, other] = forms.as_slice() {
        let found = differences(&one.form, &other.form);
        assert_eq!(found.is_empty(), one.form == other.form);
        let digests = (one.digest().expect("a digest"), other.digest().expect("a digest"));
        assert_eq!(found.is_empty(), digests.0 == digests.1);
        assert!(found.len() <= MOST_DIFFERENCES + 1);
        for difference in &found {
            // A path may be as long as the names in it; values are cut.
            assert!(
                difference.to_string().len() <= 8 * difference.path.len() + 8 * 200,
                "{difference:?}"
            );
        }
    }
}

/// An object that has this canonical form.
fn object(canonical: &Canonical) -> Value {
    let definition = canonical.key.kind().definition();
    let (group, version) = definition.served[0];
    let mut object = canonical.form.clone();
    object["apiVersion"] = json!(format!("{group}/{version}"));
    object["kind"] = json!(definition.kind);
    object["metadata"]["name"] = json!(canonical.key.name());
    if let Some(namespace) = canonical.key.namespace() {
        object["metadata"]["namespace"] = json!(namespace);
    }
    object
}
