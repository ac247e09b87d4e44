//! What the webhook's answer to an allowed request costs, against parsing the review: `cargo bench --bench webhook`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark; figures are for people"
)]
#![allow(missing_docs, reason = "criterion's macros write functions")]

#[path = "../tests/git_support/mod.rs"]
mod git_support;
mod support;

use std::hint::black_box;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use criterion::{Criterion, criterion_group, criterion_main};
use git_support::{Origin, TestResult, Watched};
use headgate::cluster::{Grants, Namespaces};
use headgate::config::Config;
use headgate::ledger::{Ledger, LedgerMetrics};
use headgate::webhook::{Gate, WebhookMetrics, router};
use http_body_util::BodyExt as _;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use support::{kubernetes, parsing, ratio};
use tower::ServiceExt as _;

/// A gate over a repository that has this one policy.
async fn gate(policy: &Value) -> TestResult<(axum::Router, Watched, Origin)> {
    let origin = Origin::new()?;
    let mut file = policy.clone();
    let metadata = file.pointer_mut("/metadata").and_then(Value::as_object_mut).unwrap();
    metadata.retain(|name, _| matches!(name.as_str(), "name" | "namespace" | "labels" | "annotations"));
    origin.write("policy.json", &file.to_string())?;
    let commit = origin.commit_and_push("one policy")?;
    let watched = Watched::start(&origin.file_url(), |_| ())?;
    watched.until_head(&commit).await?;
    let nowhere = kube::Config::new("http://127.0.0.1:9".parse()?);
    let mut registry = Registry::default();
    let gate = Gate {
        keeper: watched.keeper.clone(),
        rules: Arc::new(Config::read(None)?.rules),
        grants: Grants::none(),
        namespaces: Namespaces::new(kube::Client::try_from(nowhere)?),
        ledger: Ledger::new(std::io::sink(), LedgerMetrics::register(&mut registry)),
        metrics: WebhookMetrics::register(&mut registry),
    };
    Ok((router(Arc::new(gate)), watched, origin))
}

async fn ask(gate: axum::Router, review: String) -> axum::body::Bytes {
    let request = Request::post("/validate?timeout=10s").body(Body::from(review)).unwrap();
    let answer = gate.oneshot(request).await.unwrap();
    answer.into_body().collect().await.unwrap().to_bytes()
}

fn review(operation: &str, object: &Value, old: &Value) -> String {
    let kind = json!({"group": "networking.k8s.io", "version": "v1", "kind": "NetworkPolicy"});
    let resource = json!({"group": "networking.k8s.io", "version": "v1", "resource": "networkpolicies"});
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": kind, "requestKind": kind, "resource": resource, "requestResource": resource,
            "name": "allow-clients", "namespace": "payments", "operation": operation,
            "userInfo": {"username": "alice@example.com", "groups": ["developers", "system:authenticated"]},
            "object": object, "oldObject": old, "dryRun": false,
            "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
        },
    })
    .to_string()
}

fn answer(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let policy = kubernetes();
    let (gate, watched, _origin) = runtime.block_on(gate(&policy)).unwrap();
    let mut old = policy.clone();
    *old.pointer_mut("/spec/ingress/2/ports/0/port").unwrap() = json!(1);
    let reviews = [
        ("CREATE", review("CREATE", &policy, &Value::Null)),
        ("UPDATE", review("UPDATE", &policy, &old)),
    ];
    for (operation, review) in reviews {
        let answer = runtime.block_on(ask(gate.clone(), review.clone()));
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(
            answer.pointer("/response/auditAnnotations/reason"),
            Some(&json!("MatchesHead")),
            "{answer}"
        );
        let name = format!("the answer to an allowed {operation} of {} bytes", review.len());
        ratio(
            criterion,
            &name,
            "",
            (
                || (gate.clone(), review.clone()),
                |(gate, review)| {
                    black_box(runtime.block_on(ask(gate, review)));
                },
            ),
            parsing(&review),
        );
    }
    runtime.block_on(watched.stop());
}

criterion_group!(benches, answer);
criterion_main!(benches);
