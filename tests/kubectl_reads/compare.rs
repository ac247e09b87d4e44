//! What differs between the two readings of a text.

use std::fmt;

use headgate::policy::manifest::{Parsed, parse};
use headgate::policy::{Kind, Severity};
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::kubectl::{self, Reading};

/// How the two readings of a text differ.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Difference {
    /// kubectl reads it, and we refuse it.
    OnlyKubectl { error: String },
    /// We read it, and kubectl refuses it.
    OnlyHeadgate { error: String },
    /// Both read it, as something else.
    Otherwise { kubectl: Value, headgate: Value },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnlyKubectl { error } => write!(f, "kubectl reads it, Headgate says: {error}"),
            Self::OnlyHeadgate { error } => write!(f, "Headgate reads it, kubectl says: {error}"),
            Self::Otherwise { kubectl, headgate } => write!(f, "kubectl reads {kubectl}\n  Headgate reads {headgate}"),
        }
    }
}

/// The texts that are read differently, by their place.
pub(crate) fn differences(texts: &[String]) -> Outcome<Vec<(usize, Difference)>> {
    let readings = kubectl::read(texts)?;
    let compared = texts
        .iter()
        .zip(&readings)
        .map(|(text, reading)| compare(text, reading));
    let found = compared
        .enumerate()
        .filter_map(|(index, found)| found.map(|found| (index, found)));
    Ok(found.collect())
}

/// What kubectl says of a document that is no object of a kind. Headgate lists it as ignored: a repository may hold other
/// files.
pub(crate) const NO_OBJECT: &[&str] = &[
    "Object 'Kind' is missing",
    "Object 'apiVersion' is missing",
    "apiVersion not set",
    "kind not set",
    "cannot unmarshal",
    "no matches for kind",
];

fn compare(text: &str, reading: &Reading) -> Option<Difference> {
    let parsed = parse(text.as_bytes());
    check_places(text, &parsed);
    let is_syntax = |error: &&String| !NO_OBJECT.iter().any(|part| error.contains(part));
    let kubectl_error = reading.errors.iter().find(is_syntax);
    let problem = parsed
        .problems
        .iter()
        .find(|problem| problem.severity == Severity::Error);
    match (kubectl_error, problem) {
        (Some(_), Some(_)) => None,
        (Some(error), None) => Some(Difference::OnlyHeadgate { error: error.clone() }),
        (None, Some(problem)) => {
            let error = format!("{}:{}: {}", problem.line, problem.column, problem.message);
            Some(Difference::OnlyKubectl { error })
        }
        (None, None) => {
            let (kubectl, headgate) = (objects(reading), manifests(&parsed));
            let counts = parsed.ignored.len() + parsed.manifests.len() == reading.objects.len() + reading.errors.len();
            if kubectl == headgate && !counts {
                return Some(Difference::Otherwise {
                    kubectl: json!([reading.objects.len(), reading.errors]),
                    headgate: json!([parsed.manifests.len(), parsed.ignored]),
                });
            }
            (kubectl != headgate).then_some(Difference::Otherwise { kubectl, headgate })
        }
    }
}

/// Every problem has a place in the text, and words.
pub(crate) fn check_places(text: &str, parsed: &Parsed) {
    let lines: Vec<&str> = text.split('\n').collect();
    for problem in &parsed.problems {
        let line = problem.line.checked_sub(1).and_then(|index| lines.get(index));
        let is_inside = line.is_some_and(|line| (1..=line.chars().count() + 1).contains(&problem.column));
        assert!(is_inside && !problem.message.is_empty(), "{text:?}\n{problem:?}");
    }
}

/// The guarded objects as Headgate has them.
fn manifests(parsed: &Parsed) -> Value {
    parsed
        .manifests
        .iter()
        .map(|manifest| comparable(&manifest.object))
        .collect()
}

/// The guarded objects as kubectl would send them.
fn objects(reading: &Reading) -> Value {
    let guarded = reading.objects.iter().filter(|object| kind(object).is_some());
    guarded.map(comparable).collect()
}

pub(crate) fn kind(object: &Value) -> Option<Kind> {
    Kind::of_manifest(object["apiVersion"].as_str()?, object["kind"].as_str()?)
}

/// An object without what no server reads, and with one spelling for each number.
pub(crate) fn comparable(object: &Value) -> Value {
    const UNREAD: &[&str] = &[
        "uid",
        "generation",
        "creationTimestamp",
        "selfLink",
        "managedFields",
        "resourceVersion",
    ];
    let mut object = object.clone();
    let is_cluster_wide = kind(&object).is_some_and(|kind| !kind.definition().namespaced);
    if let Some(members) = object.as_object_mut() {
        members.remove("status");
        if let Some(Value::Object(metadata)) = members.get_mut("metadata") {
            metadata.retain(|name, _| !(UNREAD.contains(&name.as_str()) || is_cluster_wide && name == "namespace"));
        }
    }
    numbers(&object)
}

fn numbers(value: &Value) -> Value {
    match value {
        // Beyond this a float is written with more digits than it has, by one in another way than by the other.
        Value::Number(number) if number.as_i64().is_none_or(|whole| whole.unsigned_abs() >= 1 << 53) => {
            json!({"float": number.as_f64().map(|float| format!("{float:e}"))})
        }
        Value::Array(items) => items.iter().map(numbers).collect(),
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| (name.clone(), numbers(value));
            Value::Object(members.iter().map(member).collect::<Map<_, _>>())
        }
        _ => value.clone(),
    }
}
