//! The law, on a real API server: for every manifest that the check accepts, the digest of the file is the digest of the
//! object in the CREATE review, of the object read back, and of the old object in later reviews; whether it was created,
//! replaced, or applied by kubectl, client side or server side.
#![expect(clippy::print_stderr, reason = "a test")]
#![expect(clippy::indexing_slicing, reason = "an absent member of a JSON value reads as null")]

mod case;
#[path = "../controlplane/mod.rs"]
mod controlplane;
mod corpus;
mod exceptions;
mod generate;
mod recorder;
mod server;
mod steps;

use std::collections::BTreeMap;

use axum::http::Method;
use corpus::{Corpus, Refused, errors};
use headgate::policy::Kind;
use serde_json::{Value, json};
use server::{Server, request, shared};
use steps::Outcome;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

fn runtime() -> Result<tokio::runtime::Runtime, std::io::Error> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Holds an outcome to the law.
fn uphold(outcome: &Outcome) {
    let mut reasons = Reasons::default();
    for (text, message) in &outcome.refused {
        reasons.sort(exceptions::REFUSED_BY_THE_SERVER, message, text);
    }
    eprintln!(
        "{} digests compared; refused by the server alone: {:#?}",
        outcome.compared, reasons.known
    );
    assert_none("broken", &outcome.objections);
    assert_none("accepted by the check, refused by the server", &reasons.unknown);
}

/// Disagreements, and how many have each reason.
#[derive(Default)]
struct Reasons {
    known: BTreeMap<&'static str, usize>,
    unknown: Vec<String>,
}

impl Reasons {
    fn sort(&mut self, exceptions: &[(&str, &'static str)], message: &str, input: &str) {
        match exceptions.iter().find(|(part, _)| message.contains(part)) {
            Some((_, reason)) => *self.known.entry(reason).or_default() += 1,
            None => self.unknown.push(format!("{message}\n{input}")),
        }
    }
}

fn assert_none(what: &str, found: &[String]) {
    let some = found.iter().take(12).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(found.is_empty(), "{}: {what}:\n{some}", found.len());
}

#[test]
fn the_corpus_keeps_the_law() -> Result<(), Failure> {
    let (Some(root), Some(server)) = (shared("corpus")?, Server::turn()?) else {
        return Ok(());
    };
    let corpus = Corpus::read(&root)?;
    let outcome = runtime()?.block_on(steps::run(&server, &corpus.accepted))?;
    eprintln!("{} objects of the corpus", corpus.accepted.len());
    uphold(&outcome);
    assert!(corpus.accepted.len() > 800, "{}", corpus.accepted.len());
    Ok(())
}

#[test]
fn generated_manifests_keep_the_law() -> Result<(), Failure> {
    let Some(server) = Server::turn()? else {
        return Ok(());
    };
    let generated = generate::all();
    let outcome = runtime()?.block_on(steps::run(&server, &generated.accepted))?;
    eprintln!(
        "{} generated manifests, and {} that the check refuses",
        generated.accepted.len(),
        generated.refused.len()
    );
    uphold(&outcome);
    assert!(generated.accepted.len() > 400, "{}", generated.accepted.len());
    hold_to_reasons(&server, &generated.refused)
}

/// Names and namespaces are what Kubernetes says they are.
#[test]
fn names_are_valid_where_the_server_takes_them() -> Result<(), Failure> {
    let Some(server) = Server::turn()? else {
        return Ok(());
    };
    let (longest_name, longest_label) = ("a".repeat(253), "a".repeat(63));
    let (too_long, label_too_long) = ("a".repeat(254), "a".repeat(64));
    let dotted = format!("{longest_label}.{label_too_long}");
    let names = [
        "a",
        "0",
        "a-b",
        "a.b",
        "a..b",
        "a.-b",
        "-a",
        "a-",
        ".a",
        "a.",
        "A",
        "a_b",
        "a b",
        "ü",
        "a/b",
        "a%b",
        "..",
        "default",
        "1.2.3",
        "xn--a",
        "a--b",
        &longest_name,
        &longest_label,
        &too_long,
        &label_too_long,
        &dotted,
    ];
    runtime()?.block_on(async {
        let client = server.plane.client().await?;
        for name in names {
            let mut policy = json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name, "namespace": "default"},
            });
            assert_eq!(errors(&policy).is_empty(), is_accepted(&client, &policy).await?, "name {name}");
            policy["metadata"] = json!({"name": "a", "namespace": name});
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            let made = request(&client, Method::POST, "/api/v1/namespaces", Some(&namespace)).await;
            let is_name = match made {
                Err(kube::Error::Api(status)) => status.reason == "AlreadyExists",
                made => made.is_ok(),
            };
            assert_eq!(errors(&policy).is_empty(), is_name, "namespace {name}");
        }
        Ok(())
    })
}

/// A file that the API server takes and the check does not needs a good reason.
#[test]
fn what_the_check_alone_refuses_has_a_reason() -> Result<(), Failure> {
    let (Some(root), Some(server)) = (shared("corpus")?, Server::turn()?) else {
        return Ok(());
    };
    hold_to_reasons(&server, &Corpus::read(&root)?.refused)
}

fn hold_to_reasons(server: &Server, refused: &[Refused]) -> Result<(), Failure> {
    let (mut both, mut reasons) = (0, Reasons::default());
    runtime()?.block_on(async {
        let client = server.plane.client().await?;
        for refused in refused {
            let accepted = is_accepted(&client, &refused.object).await?;
            if !accepted {
                both += 1;
                continue;
            }
            for message in &refused.messages {
                let input = format!("{}\n{}", refused.label, refused.object);
                let exceptions = if text(&refused.object, "apiVersion").contains("projectcalico.org/") {
                    exceptions::REFUSED_BY_THE_CHECK
                } else {
                    &[exceptions::NULL]
                };
                reasons.sort(exceptions, message, &input);
            }
        }
        Ok::<_, Failure>(())
    })?;
    eprintln!("{both} refused by both; by the check alone: {:#?}", reasons.known);
    assert_none("accepted by the server, refused by the check", &reasons.unknown);
    Ok(())
}

fn text<'a>(object: &'a Value, member: &str) -> &'a str {
    object[member].as_str().unwrap_or_default()
}

/// Whether the server would store the object; it is only asked.
async fn is_accepted(client: &kube::Client, object: &Value) -> Result<bool, Failure> {
    let kind = Kind::of_manifest(text(object, "apiVersion"), text(object, "kind")).ok_or("not a guarded kind")?;
    let definition = kind.definition();
    let namespace = definition.namespaced.then_some("default");
    let path = case::collection(&object["apiVersion"], definition.plural, namespace);
    if !object["metadata"].is_object() {
        return Ok(false);
    }
    let mut object = object.clone();
    object["metadata"]["namespace"] = namespace.into();
    match request(client, Method::POST, &path, Some(&object)).await {
        Err(kube::Error::Api(_)) => Ok(false),
        made => {
            let name = made?["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            request(client, Method::DELETE, &format!("{path}/{name}"), None).await?;
            Ok(true)
        }
    }
}
