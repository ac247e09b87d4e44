//! One manifest, in a place of its own on the server.

use std::collections::HashMap;

use headgate::policy::manifest::{Parsed, parse};
use headgate::policy::{Canonical, Digest, Family, Key, Manifest, Severity, canonicalize, differences};
use serde_json::Value;

use crate::recorder::Place;

/// One manifest that the check accepts.
pub(crate) struct Case {
    /// Where it is from.
    pub(crate) label: String,
    /// The text that kubectl is given.
    pub(crate) text: String,
    pub(crate) manifest: Manifest,
}

impl Case {
    /// The only object of a text, where the check accepts it.
    pub(crate) fn read(label: &str, text: String) -> Option<Self> {
        let Parsed {
            mut manifests,
            problems,
            ..
        } = parse(text.as_bytes());
        let refused = problems.iter().any(|problem| problem.severity == Severity::Error);
        if manifests.len() != 1 || refused {
            return None;
        }
        let manifest = manifests.pop()?;
        // kubectl refuses to send a status where the kind has none; Headgate leaves it out, with a warning.
        let has_status = problems.iter().any(|problem| problem.field == "status");
        Some(Self {
            label: label.to_owned(),
            text: if has_status { manifest.object.to_string() } else { text },
            manifest,
        })
    }

    pub(crate) fn name(&self) -> &str {
        self.manifest.key.name()
    }

    pub(crate) fn namespace(&self) -> &str {
        self.manifest.key.namespace().unwrap_or_default()
    }

    fn group_and_version(&self) -> (&str, &str) {
        let written = self.manifest.object["apiVersion"].as_str().unwrap_or_default();
        written.split_once('/').unwrap_or_default()
    }

    fn plural(&self) -> &'static str {
        self.manifest.key.kind().definition().plural
    }

    pub(crate) fn place(&self) -> Place {
        let (group, _) = self.group_and_version();
        [group, self.plural(), self.namespace(), self.name()]
            .map(str::to_owned)
            .into()
    }

    /// The path of the kind's collection.
    pub(crate) fn collection(&self) -> String {
        collection(
            &self.manifest.object["apiVersion"],
            self.plural(),
            self.manifest.key.namespace(),
        )
    }

    pub(crate) fn path(&self) -> String {
        format!("{}/{}", self.collection(), self.name())
    }

    /// Whether only one object of this kind can be there at a time.
    pub(crate) fn is_alone(&self) -> bool {
        self.manifest.key.kind().definition().kind == "BaselineAdminNetworkPolicy"
    }

    /// Whether a custom resource holds a null. Every write drops it but server-side apply, which refuses it in the spec,
    /// and trips over one of Calico's admission policies where it stands for the labels.
    pub(crate) fn holds_null(&self) -> bool {
        self.manifest.key.kind().definition().family != Family::Kubernetes && holds_null(&self.manifest.object)
    }

    /// How an object differs from the file; nothing where the law holds.
    pub(crate) fn objection(&self, what: &str, object: &Value) -> Option<String> {
        let complain = |told: String| Some(format!("{}: {what}: {told}\n{}", self.label, self.text));
        let made = match canonicalize(object.clone()) {
            Ok(made) => made,
            Err(error) => return complain(error.to_string()),
        };
        if same(&self.manifest.key, &self.manifest.digest, &made) {
            return None;
        }
        let told: Vec<String> = differences(&self.manifest.form, &made.form)
            .iter()
            .map(ToString::to_string)
            .collect();
        complain(format!("{} {told:#?}", made.key))
    }
}

fn holds_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(holds_null),
        Value::Object(members) => members.values().any(holds_null),
        _ => false,
    }
}

pub(crate) fn collection(api_version: &Value, plural: &str, namespace: Option<&str>) -> String {
    let api_version = api_version.as_str().unwrap_or_default();
    match namespace {
        Some(namespace) => format!("/apis/{api_version}/namespaces/{namespace}/{plural}"),
        None => format!("/apis/{api_version}/{plural}"),
    }
}

fn same(key: &Key, digest: &Digest, made: &Canonical) -> bool {
    made.key == *key && made.digest().is_ok_and(|made| made == *digest)
}

/// Gives each object a place that no other has: the first of a name goes into the first namespace, the second into the
/// second, and so on. Objects without namespace get a number in their name.
#[derive(Default)]
pub(crate) struct Places {
    prefix: String,
    taken: HashMap<(String, String), usize>,
}

impl Places {
    pub(crate) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            taken: HashMap::new(),
        }
    }

    /// The namespace and the name for one more object of this kind and name.
    pub(crate) fn next(
        &mut self,
        api_version: &str,
        kind: &str,
        namespaced: bool,
        name: &str,
    ) -> (Option<String>, String) {
        let taken = self
            .taken
            .entry((format!("{api_version} {kind}"), name.to_owned()))
            .or_default();
        let number = *taken;
        *taken += 1;
        match (namespaced, kind) {
            (true, _) => (Some(format!("{}-{number}", self.prefix)), name.to_owned()),
            (false, "BaselineAdminNetworkPolicy") => (None, name.to_owned()),
            (false, _) => (None, format!("{name}-{}{number}", self.prefix)),
        }
    }
}

/// The object in another place, where it has metadata at all.
pub(crate) fn moved(mut object: Value, (namespace, name): &(Option<String>, String)) -> Value {
    if !object["metadata"].is_object() {
        return object;
    }
    object["metadata"]["name"] = name.as_str().into();
    if let Some(namespace) = namespace {
        object["metadata"]["namespace"] = namespace.as_str().into();
    }
    object
}

/// The same done to the text, where its `metadata` is a block of lines.
pub(crate) fn moved_text(text: &str, (namespace, name): &(Option<String>, String)) -> Option<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let start = 1 + lines.iter().position(|line| line.trim_end() == "metadata:")?;
    let rest = lines.get(start..)?;
    let indent = rest.first()?.len() - rest.first()?.trim_start().len();
    let belongs = |line: &String| line.trim().is_empty() || line.starts_with(' ');
    let end = start + rest.iter().take_while(|line| belongs(line)).count();
    let mut set = |member: &str, value: &str, end: usize| {
        let written = format!("{}{member}: {value}", " ".repeat(indent));
        let begins = format!("{}{member}:", " ".repeat(indent));
        let found = (start..end).find(|index| lines.get(*index).is_some_and(|line| line.starts_with(&begins)));
        match found.and_then(|index| lines.get_mut(index)) {
            Some(line) => *line = written,
            None => lines.insert(start, written),
        }
    };
    set("name", name, end);
    if let Some(namespace) = namespace {
        set("namespace", namespace, end);
    }
    Some(lines.join("\n") + "\n")
}
