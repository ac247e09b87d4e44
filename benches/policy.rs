//! What a canonical form and its digest cost, against parsing the same JSON: `cargo bench --bench policy`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark; figures are for people"
)]
#![allow(missing_docs, reason = "criterion's macros write functions")]

mod support;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use headgate::policy::manifest::parse;
use headgate::policy::{Digest, canonicalize, differences};
use serde_json::{Value, json};
use support::{kubernetes, parsing, ratio};

/// Two kilobytes of a policy of Calico.
fn calico() -> Value {
    let rule = |number: u16| {
        json!({
            "action": "Allow",
            "protocol": "TCP",
            "source": {
                "selector": format!("app.kubernetes.io/name == 'client-{number}' && environment != 'test'"),
                "namespaceSelector": format!("kubernetes.io/metadata.name == 'team-{number}'"),
            },
            "destination": {"ports": [8000 + number, "9000:9010"], "nets": [format!("10.{number}.0.0/16")]},
        })
    };
    json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": "platform.allow-clients",
            "namespace": "payments",
            "uid": "0b2f6c0e-9f52-4d33-8a38-5c1f2a0a7d11",
            "resourceVersion": "81234567",
            "creationTimestamp": "2026-05-04T10:11:12Z",
            "labels": {"app.kubernetes.io/name": "payments", "team": "payments"},
        },
        "spec": {
            "tier": "platform",
            "order": 100.0,
            "selector": "app.kubernetes.io/name == 'payments'",
            "types": ["Ingress", "Egress"],
            "ingress": [rule(1), rule(2), rule(3), rule(4)],
            "egress": [rule(5), rule(6)],
        },
    })
}

fn policies() -> [(&'static str, Value); 2] {
    [("NetworkPolicy", kubernetes()), ("Calico NetworkPolicy", calico())]
}

fn digest(criterion: &mut Criterion) {
    for (kind, policy) in policies() {
        let text = policy.to_string();
        let name = format!("canonical form and digest of a {kind} of {} bytes", text.len());
        ratio(
            criterion,
            &name,
            ", wanted at most 3",
            (
                || policy.clone(),
                |policy| {
                    black_box(canonicalize(policy).unwrap().digest().unwrap());
                },
            ),
            parsing(&text),
        );
    }
}

fn steps(criterion: &mut Criterion) {
    let policy = kubernetes();
    let text = policy.to_string();
    let form = canonicalize(policy.clone()).unwrap().form;
    let mut changed = form.clone();
    *changed.pointer_mut("/spec/ingress/2/ports/0/port").unwrap() = json!(1);
    let group = |criterion: &mut Criterion, name: &str, run: &dyn Fn()| {
        ratio(criterion, name, "", (|| (), |()| run()), parsing(&text));
    };
    group(criterion, "the digest alone", &|| {
        black_box(Digest::of(&form).unwrap());
    });
    group(criterion, "the differences of one field", &|| {
        black_box(differences(&form, &changed));
    });
    group(criterion, "reading the file as YAML", &|| {
        black_box(parse(text.as_bytes()));
    });
}

criterion_group!(benches, digest, steps);
criterion_main!(benches);
