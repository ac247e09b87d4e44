//! Whether `check` and a real API server agree about network policies: the same object to both, unknown fields refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use headgate::policy::Severity;
use headgate::policy::manifest::parse;
use serde_json::{Value, json};

use crate::controlplane::ControlPlane;
use crate::{Failure, Outcome};

const NAMESPACE: &str = "agreement";

/// Why the two may disagree about an object: the class, whether the server is the one that accepts it, and whether the
/// object belongs to the class. `docs/check.md` explains each in these words.
type Exception = (&'static str, bool, fn(&Case) -> bool);

const EXCEPTIONS: &[Exception] = &[
    ("`generateName` gives another object each time", true, |case| {
        case.is_at("metadata.generateName")
    }),
    (
        "`resourceVersion` keeps a server from creating the object",
        true,
        |case| case.is_at("metadata.resourceVersion"),
    ),
    ("null among strings is read as the empty string", true, |case| {
        let object = case.object.to_string();
        object.contains(":null") || object.contains("[null")
    }),
    ("`status` is the server's, and not sent", false, |case| {
        case.object.get("status").is_some()
    }),
];

/// An object, and what was changed in it.
struct Case {
    what: String,
    path: String,
    object: Value,
}

impl Case {
    fn is_at(&self, path: &str) -> bool {
        self.path == path || self.path.starts_with(&format!("{path}."))
    }
}

/// Every field of a `NetworkPolicy`, each with something in it.
fn base() -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {
            "name": "web", "namespace": NAMESPACE, "labels": {"app": "web"}, "annotations": {"note": "x"},
            "finalizers": ["example.com/hold"],
            "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "u", "controller": true}],
        },
        "spec": {
            "podSelector": {
                "matchLabels": {"app": "web"},
                "matchExpressions": [{"key": "tier", "operator": "In", "values": ["front"]}],
            },
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{
                "from": [
                    {"podSelector": {"matchLabels": {"app": "a"}}, "namespaceSelector": {"matchLabels": {"team": "b"}}},
                    {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
                ],
                "ports": [{"protocol": "TCP", "port": 80, "endPort": 90}, {"port": "http"}],
            }],
            "egress": [{"to": [{"podSelector": {}}], "ports": [{"protocol": "UDP", "port": 53}]}],
        },
    })
}

/// What is tried in the place of every value.
fn odd_values() -> Vec<Value> {
    let mut values = vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1),
        json!(80),
        json!(65535),
        json!(65536),
        json!(1.5),
        json!(3_000_000_000_u64),
        json!([]),
        json!({}),
        json!([null]),
        json!([{}]),
        json!([""]),
        json!({"a": "b"}),
        json!({"a": null}),
        json!({"a": 1}),
        json!({"a b": "c"}),
        json!({"a": "b c"}),
        json!([1]),
        json!(["Ingress"]),
        json!(["Ingress", "Ingress"]),
        json!(["Ingress", "Egress", "Ingress"]),
    ];
    let texts = [
        "",
        "x",
        "X",
        "80",
        "http",
        "HTTP",
        "a--b",
        "TCP",
        "tcp",
        "SCTP",
        "ICMP",
        "In",
        "NotIn",
        "Exists",
        "in",
        "Ingress",
        "ingress",
        "10.0.0.0/8",
        "10.0.0.1/8",
        "10.0.0.1",
        "10.0.0.0/33",
        "010.0.0.0/8",
        "::/0",
        "fe80::/10",
        "::ffff:10.0.0.0/104",
        "10.1.0.0/16",
        "0.0.0.0/0",
        "a/b",
        "a.b/c",
        "a_b",
        "-a",
        "a b",
        "ä",
        "a\nb",
    ];
    values.extend(texts.into_iter().map(Value::from));
    values.push("x".repeat(64).into());
    values.push("x".repeat(254).into());
    values
}

/// The paths of everything in a value below `metadata` and `spec`, as JSON pointers.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.replace('/', "~1"), value))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| (index.to_string(), item))
            .collect(),
        _ => Vec::new(),
    };
    for (name, value) in below {
        let at = format!("{at}/{name}");
        found.push(at.clone());
        pointers(value, &at, found);
    }
}

fn generated() -> Vec<Case> {
    let base = base();
    let mut places = Vec::new();
    pointers(&base["metadata"], "/metadata", &mut places);
    pointers(&base["spec"], "/spec", &mut places);
    places.push("/spec".to_owned());
    // The API server takes the request by its name and namespace: other ones are another request.
    places.retain(|place| place != "/metadata/namespace");
    let mut cases = Vec::new();
    for place in places {
        let path = place.trim_start_matches('/').replace('/', ".");
        let mut add = |what: &str, change: &dyn Fn(&mut Value)| {
            let mut object = base.clone();
            change(&mut object);
            cases.push(Case {
                what: format!("{path}: {what}"),
                path: path.clone(),
                object,
            });
        };
        for value in odd_values() {
            add(&value.to_string(), &|object| {
                if let Some(target) = object.pointer_mut(&place) {
                    *target = value.clone();
                }
            });
        }
        add("removed", &|object| remove(object, &place));
        add("an unknown member", &|object| {
            if let Some(Value::Object(members)) = object.pointer_mut(&place) {
                members.insert("unheardOf".to_owned(), json!("x"));
            }
        });
    }
    for (name, value) in [
        ("generateName", json!("web-")),
        ("resourceVersion", json!("1")),
        ("uid", json!("u")),
        ("generation", json!(7)),
        ("creationTimestamp", json!("2020-01-01T00:00:00Z")),
        ("managedFields", json!([])),
    ] {
        let mut object = base.clone();
        object["metadata"][name] = value;
        let path = format!("metadata.{name}");
        cases.push(Case {
            what: path.clone(),
            path,
            object,
        });
    }
    cases
}

fn remove(object: &mut Value, place: &str) {
    let Some((parent, name)) = place.rsplit_once('/') else {
        return;
    };
    match object.pointer_mut(parent) {
        Some(Value::Object(members)) => drop(members.remove(name)),
        Some(Value::Array(items)) => drop(name.parse().map(|index: usize| items.remove(index))),
        _ => {}
    }
}

/// The network policies of the corpus, each in the test's namespace.
fn corpus() -> Result<Vec<Case>, Failure> {
    let Some(root) = crate::calico::shared("corpus")? else {
        return Ok(Vec::new());
    };
    let mut files = Vec::new();
    files_below(&root, &mut files)?;
    let mut cases = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file)?;
        for (index, document) in text.split("\n---").enumerate() {
            let Ok(mut object) = serde_saphyr::from_str::<Value>(document) else {
                continue;
            };
            if object["apiVersion"] != "networking.k8s.io/v1" || object["kind"] != "NetworkPolicy" {
                continue;
            }
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.insert("namespace".to_owned(), NAMESPACE.into());
            }
            let what = format!("{} {index}", file.display());
            cases.push(Case {
                what,
                path: String::new(),
                object,
            });
        }
    }
    Ok(cases)
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) -> Outcome {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files_below(&path, found)?;
        } else if path.extension().is_some_and(|end| end == "yaml" || end == "yml") {
            found.push(path);
        }
    }
    Ok(())
}

/// Whether the API server would create the object; its complaint where it would not.
async fn ask(client: &kube::Client, object: &Value) -> Result<Result<(), String>, Failure> {
    let uri =
        format!("/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies?dryRun=All&fieldValidation=Strict");
    let request = axum::http::Request::post(uri)
        .header("content-type", "application/json")
        .body(serde_json::to_vec(object)?)?;
    match client.request::<Value>(request).await {
        Ok(_) => Ok(Ok(())),
        Err(kube::Error::Api(status)) if (400..500).contains(&status.code) => Ok(Err(status.message.clone())),
        Err(error) => Err(error.into()),
    }
}

/// Whether `check` takes it; its complaints where it does not.
fn check(object: &Value) -> Result<(), String> {
    let parsed = parse(object.to_string().as_bytes());
    let errors: Vec<String> = parsed
        .problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .map(|problem| format!("{}: {}", problem.field, problem.message))
        .collect();
    match (errors.is_empty(), parsed.manifests.is_empty()) {
        (true, false) => Ok(()),
        _ => Err(errors.join("; ")),
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "how many agreed is worth knowing")]
fn check_and_the_api_server_agree_about_network_policies() -> Outcome {
    let plane = ControlPlane::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut cases = corpus()?;
    let from_files = cases.len();
    cases.extend(generated());
    let mut disagreements = Vec::new();
    let mut excepted: BTreeMap<&str, usize> = EXCEPTIONS.iter().map(|(reason, ..)| (*reason, 0)).collect();
    runtime.block_on(async {
        let client = plane.client().await?;
        let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(client.clone());
        let namespace = serde_json::from_value(json!({"metadata": {"name": NAMESPACE}}))?;
        namespaces.create(&kube::api::PostParams::default(), &namespace).await?;
        for case in &cases {
            let (server, checked) = (ask(&client, &case.object).await?, check(&case.object));
            if server.is_ok() == checked.is_ok() {
                continue;
            }
            let known = EXCEPTIONS
                .iter()
                .find(|(_, server_accepts, applies)| *server_accepts == server.is_ok() && applies(case));
            match known {
                Some((reason, ..)) => *excepted.entry(*reason).or_default() += 1,
                None => disagreements.push(format!("{}\n  server: {server:?}\n  check: {checked:?}", case.what)),
            }
        }
        Ok::<_, Failure>(())
    })?;
    eprintln!(
        "{} objects of files and {} generated: {excepted:#?}",
        from_files,
        cases.len() - from_files
    );
    assert!(
        disagreements.is_empty(),
        "{} disagreements\n{}",
        disagreements.len(),
        disagreements.join("\n")
    );
    let unused: Vec<_> = excepted.iter().filter(|(_, count)| **count == 0).collect();
    assert!(unused.is_empty(), "exceptions for nothing: {unused:?}");
    Ok(())
}

#[test]
fn the_documentation_explains_every_disagreement() -> Outcome {
    let documentation = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/check.md"))?;
    for (reason, ..) in EXCEPTIONS {
        assert!(documentation.contains(reason), "docs/check.md does not say: {reason}");
    }
    Ok(())
}
