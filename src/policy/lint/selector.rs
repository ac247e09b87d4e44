//! Whom a selector selects: Kubernetes' label selectors, and Calico's, on labels of which some are not known.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// How deep parentheses are followed; what is deeper is not known.
const MOST_DEPTH: usize = 64;

/// The answer of a selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    Yes,
    No,
    Unknown,
}

/// The labels of one of Headgate's Pods, as its chart sets them, and of what is around it.
pub(super) struct Labels {
    namespace: String,
    pod: Known,
    of_namespace: Known,
    service_account: Known,
}

/// Labels that are known to be set; whether others are depends.
pub(super) struct Known {
    set: BTreeMap<String, String>,
    /// Whether a label that is not known may be there all the same.
    open: bool,
}

/// Labels that the chart sets to what only the installation knows.
const ANY_VALUE: &[&str] = &[
    "app.kubernetes.io/instance",
    "app.kubernetes.io/version",
    "app.kubernetes.io/managed-by",
    "helm.sh/chart",
    "pod-template-hash",
];

impl Labels {
    pub(super) fn of_headgate(namespace: &str, role: &str) -> Self {
        let known = |labels: &[(&str, &str)], open| Known {
            set: labels
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            open,
        };
        let mut pod = known(
            &[
                ("app.kubernetes.io/name", "headgate"),
                ("app.kubernetes.io/part-of", "headgate"),
                ("app.kubernetes.io/component", role),
                ("projectcalico.org/namespace", namespace),
                ("projectcalico.org/orchestrator", "k8s"),
            ],
            false,
        );
        pod.set.insert(
            "projectcalico.org/serviceaccount".to_owned(),
            format!("headgate-{role}"),
        );
        Self {
            namespace: namespace.to_owned(),
            pod,
            of_namespace: known(
                &[
                    ("kubernetes.io/metadata.name", namespace),
                    ("projectcalico.org/name", namespace),
                ],
                true,
            ),
            service_account: known(&[("projectcalico.org/name", &format!("headgate-{role}"))], true),
        }
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(super) fn pod(&self) -> &Known {
        &self.pod
    }

    pub(super) fn of_namespace(&self) -> &Known {
        &self.of_namespace
    }

    pub(super) fn service_account(&self) -> &Known {
        &self.service_account
    }

    /// Whether a Kubernetes label selector selects the Pod.
    pub(super) fn matches(&self, selector: &Value) -> bool {
        requirements(selector).iter().all(|requirement| {
            let text = |name: &str| requirement.get(name).and_then(Value::as_str).unwrap_or_default();
            let values = requirement.get("values").and_then(Value::as_array);
            let listed = |value: &str| values.is_some_and(|values| values.iter().any(|one| one == value));
            let truth = match text("operator") {
                "In" => self.pod.test(text("key"), listed),
                "NotIn" => not(self.pod.test(text("key"), listed)),
                "Exists" => self.pod.test(text("key"), |_| true),
                _ => not(self.pod.test(text("key"), |_| true)),
            };
            // In Headgate's own namespace, who names its release means it.
            truth != Truth::No
        })
    }
}

impl Known {
    fn test(&self, key: &str, holds: impl Fn(&str) -> bool) -> Truth {
        match self.set.get(key) {
            Some(value) if holds(value) => Truth::Yes,
            None if self.open || ANY_VALUE.contains(&key) => Truth::Unknown,
            Some(_) | None => Truth::No,
        }
    }
}

/// The requirements of a Kubernetes label selector, all in the form of expressions.
pub(super) fn requirements(selector: &Value) -> Vec<Value> {
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    let labels = labels.into_iter().flatten();
    let equal = labels.map(|(key, value)| json!({"key": key, "operator": "In", "values": [value]}));
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    let plain = |expression: &Value| {
        let members: Map<String, Value> = expression.as_object().cloned().unwrap_or_default();
        Value::Object(members)
    };
    equal.chain(expressions.into_iter().flatten().map(plain)).collect()
}

/// What one of Calico's selectors says of labels; its syntax was checked before.
pub(super) fn evaluate(text: &str, labels: &Known) -> Truth {
    let mut reader = Reader { rest: text, labels };
    reader
        .either(MOST_DEPTH)
        .filter(|_| reader.rest.trim().is_empty())
        .unwrap_or(Truth::Unknown)
}

fn not(truth: Truth) -> Truth {
    match truth {
        Truth::Yes => Truth::No,
        Truth::No => Truth::Yes,
        Truth::Unknown => Truth::Unknown,
    }
}

fn and(one: Truth, two: Truth) -> Truth {
    match (one, two) {
        (Truth::No, _) | (_, Truth::No) => Truth::No,
        (Truth::Yes, Truth::Yes) => Truth::Yes,
        _ => Truth::Unknown,
    }
}

struct Reader<'a> {
    rest: &'a str,
    labels: &'a Known,
}

/// None where something is not as expected.
impl<'a> Reader<'a> {
    fn either(&mut self, depth: usize) -> Option<Truth> {
        let mut truth = self.both(depth)?;
        while self.take("||") {
            truth = not(and(not(truth), not(self.both(depth)?)));
        }
        Some(truth)
    }

    fn both(&mut self, depth: usize) -> Option<Truth> {
        let mut truth = self.negated(depth)?;
        while self.take("&&") {
            truth = and(truth, self.negated(depth)?);
        }
        Some(truth)
    }

    fn negated(&mut self, depth: usize) -> Option<Truth> {
        let mut is_negated = false;
        while self.take("!") {
            is_negated = !is_negated;
        }
        let truth = self.operand(depth)?;
        Some(if is_negated { not(truth) } else { truth })
    }

    fn operand(&mut self, depth: usize) -> Option<Truth> {
        if self.take("(") {
            let truth = self.either(depth.checked_sub(1)?)?;
            return self.take(")").then_some(truth);
        }
        if self.take("all(") {
            return self.take(")").then_some(Truth::Yes);
        }
        if self.take("has(") {
            let key = self.label()?;
            return self.take(")").then(|| self.labels.test(key, |_| true));
        }
        let key = self.label()?;
        self.comparison(key)
    }

    fn comparison(&mut self, key: &str) -> Option<Truth> {
        if self.take("==") {
            let wanted = self.string()?;
            return Some(self.labels.test(key, |value| value == wanted));
        }
        if self.take("!=") {
            let unwanted = self.string()?;
            return Some(not(self.labels.test(key, |value| value == unwanted)));
        }
        if self.take("not") {
            let unwanted = self.take("in").then(|| self.strings())??;
            return Some(not(self.labels.test(key, |value| unwanted.contains(&value))));
        }
        if self.take("in") {
            let wanted = self.strings()?;
            return Some(self.labels.test(key, |value| wanted.contains(&value)));
        }
        if self.take("contains") {
            let part = self.string()?;
            return Some(self.labels.test(key, |value| value.contains(part)));
        }
        let starts = self.take("starts");
        if (starts || self.take("ends")) && self.take("with") {
            let part = self.string()?;
            let holds = |value: &str| {
                if starts {
                    value.starts_with(part)
                } else {
                    value.ends_with(part)
                }
            };
            return Some(self.labels.test(key, holds));
        }
        None
    }

    fn strings(&mut self) -> Option<Vec<&'a str>> {
        let mut list = Vec::new();
        if !self.take("{") {
            return None;
        }
        while !self.take("}") {
            list.push(self.string()?);
            self.take(",");
        }
        Some(list)
    }

    fn string(&mut self) -> Option<&'a str> {
        self.space();
        let quote = self.rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (text, rest) = self.rest.get(1..)?.split_once(quote)?;
        self.rest = rest;
        Some(text)
    }

    fn label(&mut self) -> Option<&'a str> {
        self.space();
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-');
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (label, rest) = self.rest.split_at_checked(end).filter(|(label, _)| !label.is_empty())?;
        self.rest = rest;
        Some(label)
    }

    fn take(&mut self, token: &str) -> bool {
        self.space();
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }
}
