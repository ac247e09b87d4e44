//! Attacks: every verb on every guarded kind, by whoever, with whatever in it.

use axum::http::Request;
use serde_json::{Map, Value, json};

use crate::Failure;
use crate::stand::NAMESPACE;

/// Where guarded objects are, all that the cluster serves.
pub(crate) fn collections(namespaces: &[&str], has_calico: bool) -> Vec<String> {
    let mut all = Vec::new();
    for namespace in namespaces {
        all.push(format!(
            "/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"
        ));
        for plural in ["networkpolicies", "stagednetworkpolicies", "networksets"] {
            all.push(format!("/apis/projectcalico.org/v3/namespaces/{namespace}/{plural}"));
        }
    }
    for plural in [
        "tiers",
        "globalnetworkpolicies",
        "stagedglobalnetworkpolicies",
        "globalnetworksets",
        "hostendpoints",
    ] {
        all.push(format!("/apis/projectcalico.org/v3/{plural}"));
    }
    all.retain(|path| has_calico || !path.contains("projectcalico"));
    all
}

/// What an object does and what it says about itself, without the server's bookkeeping.
fn essence(object: &Value) -> Value {
    let metadata = |name: &str| match &object["metadata"][name] {
        Value::Object(members) if members.is_empty() => Value::Null,
        Value::Array(items) if items.is_empty() => Value::Null,
        value => value.clone(),
    };
    json!([
        object["spec"],
        metadata("labels"),
        metadata("annotations"),
        metadata("finalizers"),
        metadata("ownerReferences"),
        metadata("deletionTimestamp")
    ])
}

/// A declared object, as it was when all was well.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    collection: String,
    name: String,
    object: Value,
}

impl Target {
    pub(crate) fn new(collection: &str, list: &Value, item: &Value) -> Self {
        let mut object = item.clone();
        object["apiVersion"] = list["apiVersion"].clone();
        let kind = list["kind"].as_str().unwrap_or_default().trim_end_matches("List");
        object["kind"] = kind.into();
        Self {
            collection: collection.to_owned(),
            name: item["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            object,
        }
    }

    pub(crate) fn path(&self) -> String {
        format!("{}/{}", self.collection, self.name)
    }

    pub(crate) fn is(&self, collection: &str, name: &Value) -> bool {
        self.collection == collection && *name == self.name.as_str()
    }

    pub(crate) fn is_held_by(&self, object: &Value) -> bool {
        essence(object) == essence(&self.object)
    }

    fn key(&self, name: &str) -> String {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let group = text(&self.object["apiVersion"]);
        let group = group.split('/').next().unwrap_or_default();
        let kind = text(&self.object["kind"]).to_lowercase();
        match self.object["metadata"]["namespace"].as_str() {
            Some(namespace) => format!("{kind}.{group}/{namespace}/{name}"),
            None => format!("{kind}.{group}/{name}"),
        }
    }
}

/// One request.
#[derive(Debug)]
pub(crate) struct Attack {
    target: Target,
    method: &'static str,
    path: String,
    content_type: &'static str,
    body: Value,
    user: Option<String>,
    /// The object that it makes; none where it is about the target.
    makes: Option<String>,
    pub(crate) is_dry_run: bool,
}

impl Attack {
    pub(crate) fn request(&self) -> Result<Request<Vec<u8>>, Failure> {
        let mut request = Request::builder().method(self.method).uri(&self.path);
        request = request.header("content-type", self.content_type);
        if let Some(user) = &self.user {
            request = request
                .header("impersonate-user", user)
                .header("impersonate-group", "system:masters");
        }
        Ok(request.body(self.body.to_string().into_bytes())?)
    }

    /// Whether what the API server answered to it is still what Git says.
    pub(crate) fn leaves_as_is(&self, answer: &Value) -> bool {
        if self.is_of_the_collection() {
            // What the selector found.
            return answer["items"].as_array().is_none_or(Vec::is_empty);
        }
        self.method != "DELETE" && self.makes.is_none() && self.target.is_held_by(answer)
    }

    fn is_of_the_collection(&self) -> bool {
        self.method == "DELETE" && self.path.split('?').next() == Some(&self.target.collection)
    }

    /// Whether it may have undone what another one did.
    pub(crate) fn concerns(&self, other: &Self) -> bool {
        let same_place = self.target.collection == other.target.collection;
        let same_key = self.changed_key() == other.changed_key();
        same_place && (same_key || self.is_of_the_collection() || other.is_of_the_collection())
    }

    /// Whose record has to be there if it was stored; none for a collection, of which more than one object may have gone.
    pub(crate) fn changed_key(&self) -> Option<String> {
        (!self.is_of_the_collection()).then(|| self.target.key(self.makes.as_deref().unwrap_or(&self.target.name)))
    }

    pub(crate) fn namespace(&self) -> Option<&str> {
        self.target.object["metadata"]["namespace"].as_str()
    }
}

/// Throws attacks, always the same from one seed.
pub(crate) struct Attacker {
    dice: fastrand::Rng,
    thrown: usize,
}

const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
const JSON: &str = "application/json";

impl Attacker {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            dice: fastrand::Rng::with_seed(seed),
            thrown: 0,
        }
    }

    pub(crate) fn pick<'a>(&mut self, targets: &'a [Target]) -> &'a Target {
        &targets[self.dice.usize(..targets.len())]
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.dice.usize(..all.len())]
    }

    /// Something to do to the target, by somebody.
    pub(crate) fn attack(&mut self, target: &Target, live: Option<Value>) -> Attack {
        self.thrown += 1;
        let mut attack = Attack {
            target: target.clone(),
            method: "PATCH",
            path: target.path(),
            content_type: MERGE,
            body: Value::Null,
            user: self.user(),
            makes: None,
            is_dry_run: self.dice.u8(..8) == 0,
        };
        match self.dice.u8(..14) {
            0..=2 => attack.body = self.spoiled_members(target),
            3 => {
                attack.content_type = JSON_PATCH;
                let whole = self.spoiled(&target.object);
                attack.body = json!([
                    {"op": "replace", "path": "/spec", "value": whole["spec"]},
                    {"op": "add", "path": "/metadata/labels", "value": {"siege": "json"}},
                ]);
            }
            4 => {
                attack.content_type = STRATEGIC;
                attack.body = self.spoiled_members(target);
            }
            5 | 6 => {
                attack.content_type = APPLY;
                attack.path += "?force=true&fieldManager=";
                attack.path += self.one_of(&["kubectl", "headgate-sync", "siege"]);
                attack.body = self.spoiled(&target.object);
                strip(&mut attack.body);
            }
            7..=9 => {
                attack.method = "PUT";
                attack.content_type = JSON;
                attack.body = self.spoiled(&live.unwrap_or_else(|| target.object.clone()));
            }
            10 => self.make(&mut attack, target),
            11 => {
                attack.method = "DELETE";
                attack.content_type = JSON;
                attack.body = self.delete_options();
            }
            12 => {
                attack.method = "DELETE";
                attack.content_type = JSON;
                attack.path.clone_from(&target.collection);
                attack.path += self.one_of(&["", "?labelSelector=team", "?labelSelector=siege"]);
                attack.body = self.delete_options();
            }
            _ => {
                attack.path += self.one_of(&["/status", "/scale", "/finalize"]);
                attack.body = self.spoiled_members(target);
            }
        }
        if attack.is_dry_run {
            attack.path += if attack.path.contains('?') { "&" } else { "?" };
            attack.path += "dryRun=All";
        }
        attack
    }

    /// Whoever this is, they may do anything.
    fn user(&mut self) -> Option<String> {
        let kube = "system:serviceaccount:kube-system";
        match self.dice.u8(..6) {
            0 => Some("mallory".to_owned()),
            1 => Some(format!("system:serviceaccount:{NAMESPACE}:headgate-sync")),
            2 => Some(format!("{kube}:generic-garbage-collector")),
            3 => Some(format!("{kube}:namespace-controller")),
            4 => Some("system:serviceaccount:calico-apiserver:calico-apiserver".to_owned()),
            _ => None,
        }
    }

    /// An object of its own, beside the target or by a generated name.
    fn make(&mut self, attack: &mut Attack, target: &Target) {
        attack.method = "POST";
        attack.content_type = JSON;
        attack.path.clone_from(&target.collection);
        let mut object = target.object.clone();
        strip(&mut object);
        let name = format!("rogue-{}", self.thrown);
        object["metadata"]["name"] = name.clone().into();
        if self.dice.u8(..4) == 0 {
            object["metadata"]["generateName"] = "rogue-".into();
        }
        attack.body = object;
        attack.makes = Some(name);
    }

    fn delete_options(&mut self) -> Value {
        let policy = self.one_of(&["Background", "Foreground", "Orphan"]);
        json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy,
               "gracePeriodSeconds": self.one_of(&[0, 30])})
    }

    /// What a merge changes.
    fn spoiled_members(&mut self, target: &Target) -> Value {
        let spoiled = self.spoiled(&target.object);
        let mut members = Map::new();
        for place in [
            "labels",
            "annotations",
            "finalizers",
            "ownerReferences",
            "managedFields",
        ] {
            if let Some(value) = spoiled["metadata"].get(place) {
                members.insert(place.to_owned(), value.clone());
            }
        }
        json!({"metadata": members, "spec": spoiled["spec"], "status": {"siege": true}})
    }

    /// The object with something changed in it.
    fn spoiled(&mut self, object: &Value) -> Value {
        let mut object = object.clone();
        let metadata = &mut object["metadata"];
        match self.dice.u8(..9) {
            0 => metadata["labels"]["siege"] = "x".into(),
            1 => metadata["annotations"]["siege"] = "x".into(),
            2 => metadata["annotations"]["projectcalico.org/metadata"] = r#"{"name":"other"}"#.into(),
            3 => metadata["finalizers"] = json!(["example.com/for-ever"]),
            4 => {
                metadata["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "gone",
                    "uid": "5f3c1b1e-0000-4000-8000-000000000000"}]);
            }
            5 => metadata["managedFields"] = json!([{}]),
            6 => {}
            _ => self.spoil_spec(&mut object["spec"]),
        }
        object
    }

    fn spoil_spec(&mut self, spec: &mut Value) {
        let Some(members) = spec.as_object_mut() else { return };
        let names: Vec<String> = members.keys().cloned().collect();
        let Some(name) = self.dice.choice(&names) else { return };
        let changed = match &members[name] {
            Value::Number(number) => json!(number.as_f64().unwrap_or_default() + 1.0),
            Value::String(_) if name == "selector" => "all()".into(),
            Value::Array(list) if name == "nets" && list.len() < 3 => json!(["0.0.0.0/0"]),
            Value::Array(_) if name == "ingress" => json!([{"action": "Allow"}]),
            Value::Array(_) => json!([]),
            Value::Object(_) => json!({"matchLabels": {"app": "siege"}}),
            _ => Value::Null,
        };
        members.insert(name.clone(), changed);
    }
}

/// Takes away what only the server may say, and what would make an apply fail.
fn strip(object: &mut Value) {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for name in [
            "managedFields",
            "resourceVersion",
            "uid",
            "creationTimestamp",
            "generation",
            "selfLink",
        ] {
            metadata.remove(name);
        }
    }
}
