//! Generated manifests: they vary everything that has more than one spelling. Some are refused by the check; those that
//! it accepts have to keep the law.

mod calico;
mod dice;
mod kubernetes;
mod policy_api;
mod spelling;

use serde_json::{Map, Value, json};

use crate::case::Case;
use crate::corpus::{Refused, errors};
use dice::Dice;

/// How many of a family.
const EACH: usize = 150;
/// Where they live.
const NAMESPACE: &str = "generated";

/// What was made.
pub(crate) struct Generated {
    pub(crate) accepted: Vec<Case>,
    pub(crate) refused: Vec<Refused>,
}

/// Gives `apiVersion`, `kind` and `spec`.
type Make = fn(&mut Dice) -> (&'static str, &'static str, Value);

/// The same manifests every time.
pub(crate) fn all() -> Generated {
    let mut generated = Generated {
        accepted: Vec::new(),
        refused: Vec::new(),
    };
    let families: [(&str, Make); 4] = [
        ("kubernetes", kubernetes::policy),
        ("calico", calico::policy),
        ("calico-other", calico::other),
        ("policy-api", policy_api::policy),
    ];
    for (seed, (family, make)) in (1..).zip(families) {
        let mut dice = Dice::new(seed);
        for number in 0..EACH {
            let label = format!("{family}-{number}");
            let (api_version, kind, spec) = make(&mut dice);
            let object = json!({
                "apiVersion": api_version, "kind": kind, "metadata": metadata(&mut dice, kind, &label), "spec": spec,
            });
            match Case::read(&label, spelling::spell(&object, &mut dice)) {
                Some(case) => generated.accepted.push(case),
                None => generated.refused.push(Refused {
                    label,
                    messages: errors(&object),
                    object,
                }),
            }
        }
    }
    generated
}

fn metadata(dice: &mut Dice, kind: &str, name: &str) -> Value {
    let mut metadata = Map::new();
    let name = if kind == "BaselineAdminNetworkPolicy" {
        "default"
    } else {
        name
    };
    metadata.insert("name".to_owned(), name.into());
    // The namespace of what has none is ignored, with a warning; kubectl would refuse it.
    if kubernetes_scope(kind) {
        metadata.insert("namespace".to_owned(), NAMESPACE.into());
    }
    dice.member(&mut metadata, "labels", 60, labels);
    dice.member(&mut metadata, "annotations", 50, annotations);
    dice.member(&mut metadata, "finalizers", 10, |dice| {
        dice.some(&["example.com/b", "example.com/a"])
    });
    dice.member(&mut metadata, "ownerReferences", 5, |_| json!([]));
    dice.member(&mut metadata, "creationTimestamp", 0, |_| Value::Null);
    dice.member(&mut metadata, "managedFields", 0, |_| Value::Null);
    Value::Object(metadata)
}

fn kubernetes_scope(kind: &str) -> bool {
    matches!(
        kind,
        "NetworkPolicy" | "StagedNetworkPolicy" | "StagedKubernetesNetworkPolicy" | "NetworkSet"
    )
}

fn labels(dice: &mut Dice) -> Value {
    dice.strings(&[
        ("app", |dice| {
            dice.pick(&["web", "true", "0755", "1e3", "", "no"]).into()
        }),
        ("example.com/Team", |dice| dice.pick(&["a.b_c-d", "Y", "~"]).into()),
        ("projectcalico.org/tier", |dice| dice.pick(&["default", "wrong"]).into()),
        ("projectcalico.org/x", |_| "y".into()),
    ])
}

fn annotations(dice: &mut Dice) -> Value {
    dice.strings(&[
        ("note", |dice| {
            dice.pick(&[
                "",
                " spaces ",
                "two\nlines\n",
                "tab\tand \"quotes\" and 'more'",
                "ü 漢 🙂",
                "null",
                "a: b # c",
                "\\n",
            ])
            .into()
        }),
        ("example.com/UPPER", |dice| {
            dice.pick(&["1.0", "{}", "[a]", "- x", "|", "2001-01-01"]).into()
        }),
    ])
}
