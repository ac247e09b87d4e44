//! The webhook's router with recorded reviews: what real servers sent when a file was applied passes where Git has that
//! file, and nothing else does.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a test"
)]
#![allow(unreachable_pub, dead_code, reason = "the support is shared by several tests")]

mod git_support;
mod recorded;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use git_support::{Origin, TestResult, Watched};
use headgate::cluster::{Grants, Namespaces};
use headgate::config::Config;
use headgate::ledger::{Ledger, LedgerMetrics};
use headgate::policy::{Key, canonicalize, manifest};
use headgate::source::Keeper;
use headgate::source::resource::Scope;
use headgate::webhook::{Gate, WebhookMetrics, router};
use http_body_util::BodyExt as _;
use prometheus_client::registry::Registry;
use recorded::{Line, lines};
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// A gate over this keeper, with nothing behind it: a look at a namespace finds nobody.
fn gate(keeper: &Keeper) -> TestResult<axum::Router> {
    gate_with(keeper, "")
}

fn gate_with(keeper: &Keeper, configuration: &str) -> TestResult<axum::Router> {
    let nowhere = kube::Config::new("http://127.0.0.1:9".parse()?);
    let client = kube::Client::try_from(nowhere)?;
    let mut registry = Registry::default();
    Ok(router(Arc::new(Gate {
        keeper: keeper.clone(),
        rules: Arc::new(Config::from_text(configuration, Path::new("config.yaml"))?.rules),
        grants: Grants::none(),
        namespaces: Namespaces::new(client),
        ledger: Ledger::new(std::io::sink(), LedgerMetrics::register(&mut registry)),
        metrics: WebhookMetrics::register(&mut registry),
    })))
}

async fn ask(gate: &axum::Router, review: &Value) -> TestResult<Value> {
    let request = axum::http::Request::post("/validate?timeout=10s").body(Body::from(review.to_string()))?;
    let answer = gate.clone().oneshot(request).await?;
    assert_eq!(answer.status(), 200);
    let body = answer.into_body().collect().await?.to_bytes();
    Ok(serde_json::from_slice::<Value>(&body)?["response"].clone())
}

/// A recorded creation whose file Git may have.
struct Case {
    line: Line,
    key: Key,
    reviews: Vec<Value>,
}

/// The recorded creations that `check` accepts, and that a server did as asked.
fn cases() -> Vec<Case> {
    let made = lines().into_iter().filter(Line::is_accepted).filter_map(|line| {
        let parsed = manifest::parse(line.value["input"].to_string().as_bytes());
        let [manifest] = parsed.manifests.as_slice() else {
            return None;
        };
        let reviews: Vec<Value> = line.value["reviews"]
            .as_array()?
            .iter()
            .filter(|review| says(review, manifest.digest))
            .cloned()
            .collect();
        let key = manifest.key.clone();
        (!reviews.is_empty()).then_some(Case { line, key, reviews })
    });
    made.collect()
}

/// Whether a review asks to store what the file says.
fn says(review: &Value, digest: headgate::policy::Digest) -> bool {
    let request = &review["request"];
    let object = canonicalize(request["object"].clone()).ok();
    request["operation"] == "CREATE" && object.is_some_and(|object| object.digest().is_ok_and(|own| own == digest))
}

/// Cases that one repository can hold together: each key once.
fn batches(cases: Vec<Case>) -> Vec<HashMap<Key, Case>> {
    let mut batches: Vec<HashMap<Key, Case>> = Vec::new();
    for case in cases {
        let free = batches.iter().position(|batch| !batch.contains_key(&case.key));
        let index = free.unwrap_or_else(|| {
            batches.push(HashMap::new());
            batches.len() - 1
        });
        batches[index].insert(case.key.clone(), case);
    }
    batches
}

/// The same review about something slightly else.
fn altered(review: &Value, alter: impl Fn(&mut Value)) -> Value {
    let mut review = review.clone();
    alter(&mut review["request"]);
    review
}

fn reason(answer: &Value) -> &Value {
    &answer["auditAnnotations"]["reason"]
}

/// One repository a batch would be slow where many files tell of one object: these are enough to have every shape.
const BATCHES: usize = 6;

#[tokio::test]
async fn recorded_creations_pass_where_git_has_the_file_and_nothing_else_does() -> TestResult {
    let mut judged = 0;
    for batch in batches(cases()).into_iter().take(BATCHES) {
        let origin = Origin::new()?;
        for (index, case) in batch.values().enumerate() {
            origin.write(&format!("{index}.json"), &case.line.value["input"].to_string())?;
        }
        let commit = origin.commit_and_push("recorded files")?;
        let watched = Watched::start(&origin.file_url(), |_| ())?;
        watched.until_head(&commit).await?;
        let gate = gate(&watched.keeper)?;
        // At once: all who are about to be refused wait for the same fetch.
        let reviews = batch
            .values()
            .flat_map(|case| case.reviews.iter().map(|review| (case.line.label(), review)));
        let verdicts = reviews.map(|(label, review)| judge(&gate, label, review));
        judged += futures::future::try_join_all(verdicts).await?.len();
    }
    if recorded::shared("reviews").is_some() {
        assert!(judged > 300, "only {judged} reviews were judged");
    }
    Ok(())
}

/// A direct write of a policy to `crd.projectcalico.org/v1` that leaves its types to nobody.
fn leaves_types_out(review: &Value) -> bool {
    let request = &review["request"];
    let kind = request["kind"]["kind"].as_str().unwrap_or_default();
    let is_policy = kind.ends_with("NetworkPolicy") && kind != "StagedKubernetesNetworkPolicy";
    let spec = &request["object"]["spec"];
    let without = spec["types"].is_null() && spec["stagedAction"] != "Delete";
    request["kind"]["group"] == "crd.projectcalico.org" && is_policy && without
}

async fn judge(gate: &axum::Router, label: String, review: &Value) -> TestResult {
    let answer = ask(gate, review).await?;
    if leaves_types_out(review) {
        // Equal to the file in form, and yet not what Calico's client would have stored.
        assert_eq!(reason(&answer), &json!("ForgedMetadata"), "{label}: {answer}");
        return Ok(());
    }
    assert_eq!(
        (&answer["allowed"], reason(&answer)),
        (&json!(true), &json!("MatchesHead")),
        "{label}: {answer}"
    );
    assert_eq!(answer["uid"], review["request"]["uid"], "{label}");

    let labelled = altered(review, |request| {
        request["object"]["metadata"]["labels"]["added"] = "by the attacker".into();
    });
    let answer = ask(gate, &labelled).await?;
    assert_eq!(
        (&answer["allowed"], &answer["status"]["code"]),
        (&json!(false), &json!(403)),
        "{label}: {answer}"
    );

    let renamed = altered(review, |request| {
        request["object"]["metadata"]["name"] = "of-no-file".into();
    });
    assert_eq!(ask(gate, &renamed).await?["allowed"], false, "{label}");

    let deleted = altered(review, |request| {
        request["operation"] = "DELETE".into();
        request["oldObject"] = request["object"].take();
    });
    let answer = ask(gate, &deleted).await?;
    assert_eq!(
        (&answer["allowed"], reason(&answer)),
        (&json!(false), &json!("StillDeclared")),
        "{label}: {answer}"
    );
    Ok(())
}

#[tokio::test]
async fn recorded_forgeries_are_refused_on_both_groups() -> TestResult {
    let origin = Origin::new()?;
    origin.write("deny.yaml", &git_support::policy("payments", "deny", 80))?;
    let commit = origin.commit_and_push("one file")?;
    // Nothing else about them would be refused here: no source speaks for them, and that passes.
    let watched = Watched::start(&origin.file_url(), |source| {
        source.spec.scope = Some(Scope {
            namespaces: Some(vec!["payments".to_owned()]),
            ..Scope::default()
        });
    })?;
    watched.until_head(&commit).await?;
    let gate = gate_with(&watched.keeper, "uncovered: Allow\n")?;
    let forged = [
        "create/meta/metadata-annotation-forged",
        "forged/v3-patch-annotation",
        "crd/two-objects-one-v3-name",
        "crd/annotation-name-differs",
    ];
    let mut refused: HashMap<String, usize> = HashMap::new();
    for line in lines()
        .iter()
        .filter(|line| forged.iter().any(|case| line.case.contains(case)))
    {
        let reviews = line.value["reviews"].as_array().into_iter().flatten();
        for review in reviews.filter(|review| review["request"]["operation"] != "DELETE") {
            let answer = ask(&gate, review).await?;
            assert_eq!(
                (&answer["allowed"], reason(&answer)),
                (&json!(false), &json!("ForgedMetadata")),
                "{}: {answer}",
                line.label()
            );
            *refused
                .entry(review["request"]["kind"]["group"].to_string())
                .or_default() += 1;
        }
    }
    if recorded::shared("reviews").is_some() {
        assert!(
            refused.len() == 2 && refused.values().all(|count| *count > 4),
            "{refused:?}"
        );
    }
    Ok(())
}

/// An object of a review as a file of Git's.
fn as_file(object: &Value) -> TestResult<(Key, String)> {
    let canonical = canonicalize(object.clone())?;
    let definition = canonical.key.kind().definition();
    let (group, version) = definition.served[0];
    let mut written = canonical.form;
    written["apiVersion"] = format!("{group}/{version}").into();
    written["kind"] = definition.kind.into();
    written["metadata"]["name"] = canonical.key.name().into();
    written["metadata"]["namespace"] = canonical.key.namespace().into();
    Ok((canonical.key, written.to_string()))
}

/// The strongest exemption that may be had without an end.
const SERVERS_ARE_EXEMPT: &str = "exemptions:\n  - users: [\"system:serviceaccount:calico-apiserver:calico-apiserver\"]\n    \
    kinds: [networkpolicy.projectcalico.org, globalnetworkpolicy.projectcalico.org, tier.projectcalico.org, \
    stagednetworkpolicy.projectcalico.org, stagedglobalnetworkpolicy.projectcalico.org, networkset.projectcalico.org, \
    stagedkubernetesnetworkpolicy.projectcalico.org, globalnetworkset.projectcalico.org, hostendpoint.projectcalico.org]\n    \
    operations: [CREATE, UPDATE, DELETE]\n    reason: too much\n";

/// Calico's server asks nobody about most deletes on v3: what arrives is its own delete of the stored object, or an
/// update that marks the object as going. Both have to be refused, whatever an exemption says of the server.
#[tokio::test]
async fn recorded_deletes_through_calicos_server_are_refused_though_nobody_was_asked_on_v3() -> TestResult {
    let is_delete = |line: &&Line| line.folder.starts_with("calico-aggregated") && line.case.contains("delete");
    let mut reviews: Vec<(String, Value)> = Vec::new();
    let mut unasked = 0;
    for line in lines().iter().filter(is_delete) {
        let all = line.value["reviews"].as_array().cloned().unwrap_or_default();
        let group = |review: &Value| review["request"]["kind"]["group"].clone();
        let by_server = |review: &&Value| {
            let user = review["request"]["userInfo"]["username"].as_str().unwrap_or_default();
            group(review) == "crd.projectcalico.org" && user.ends_with(":calico-apiserver")
        };
        unasked += usize::from(
            all.iter().any(|review| by_server(&review)) && !all.iter().any(|one| group(one) == "projectcalico.org"),
        );
        let stored = all.iter().filter(by_server).filter(|review| {
            let request = &review["request"];
            let goes = canonicalize(request["object"].clone()).is_ok_and(|object| object.terminating);
            let went = canonicalize(request["oldObject"].clone()).is_ok_and(|object| object.terminating);
            request["operation"] == "DELETE" || (goes && !went)
        });
        reviews.extend(stored.map(|review| (line.label(), review.clone())));
    }
    let origin = Origin::new()?;
    let mut declared = HashMap::new();
    for (_, review) in &reviews {
        let (key, file) = as_file(&review["request"]["oldObject"])?;
        declared.entry(key).or_insert(file);
    }
    for (index, file) in declared.values().enumerate() {
        origin.write(&format!("{index}.json"), file)?;
    }
    let commit = origin.commit_and_push("what will be deleted")?;
    let watched = Watched::start(&origin.file_url(), |_| ())?;
    watched.until_head(&commit).await?;
    for configuration in ["", SERVERS_ARE_EXEMPT] {
        let gate = gate_with(&watched.keeper, configuration)?;
        let judged = reviews.iter().map(|(label, review)| {
            let gate = &gate;
            async move { Ok::<_, Box<dyn std::error::Error + Send + Sync>>((label, ask(gate, review).await?)) }
        });
        for (label, answer) in futures::future::try_join_all(judged).await? {
            assert_eq!(
                (&answer["allowed"], reason(&answer)),
                (&json!(false), &json!("StillDeclared")),
                "{label}: {answer}"
            );
        }
    }
    eprintln!("{} deletes, {unasked} without a review on v3", reviews.len());
    if recorded::shared("reviews").is_some() {
        assert!(reviews.len() > 20 && unasked > 10, "{} {unasked}", reviews.len());
    }
    Ok(())
}

/// The annotation alone decides on a set's labels.
#[tokio::test]
async fn a_recorded_update_of_the_annotation_alone_differs_from_git() -> TestResult {
    for line in lines().iter().filter(|line| line.case == "crd/update-annotation-only") {
        for review in line.value["reviews"].as_array().into_iter().flatten() {
            let old = &review["request"]["oldObject"];
            if old.is_null() {
                continue;
            }
            let origin = Origin::new()?;
            origin.write("set.json", &as_file(old)?.1)?;
            let commit = origin.commit_and_push("one set")?;
            let watched = Watched::start(&origin.file_url(), |_| ())?;
            watched.until_head(&commit).await?;
            let answer = ask(&gate(&watched.keeper)?, review).await?;
            assert_eq!(
                (&answer["allowed"], reason(&answer)),
                (&json!(false), &json!("Differs")),
                "{}: {answer}",
                line.label()
            );
            let text = answer["status"]["message"].as_str().unwrap_or_default();
            assert!(text.contains("metadata.labels"), "{text}");
        }
    }
    Ok(())
}
