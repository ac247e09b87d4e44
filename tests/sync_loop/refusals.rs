//! Objects that the API server does not take: told with its words, counted, tried again, and nobody else's business.

use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::Outcome;
use crate::harness::{Bench, allow, deny, parse, until};

/// The API server refuses policies for which this CEL expression is false, in this namespace from now on.
async fn refuse(bench: &Bench, group: &str, expression: &str, probe: &Value, message: &str) -> Outcome {
    let name = bench.name.as_str();
    let policy: ValidatingAdmissionPolicy = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
                "resourceRules": [{"apiGroups": [group], "apiVersions": ["*"],
                    "operations": ["CREATE", "UPDATE"], "resources": ["networkpolicies"]}]},
            "validations": [{"expression": expression, "message": message}]}
    }))?;
    let binding: ValidatingAdmissionPolicyBinding = serde_json::from_value(json!({
        "metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}
    }))?;
    let post = PostParams::default();
    kube::Api::all(bench.client.clone()).create(&post, &policy).await?;
    kube::Api::all(bench.client.clone()).create(&post, &binding).await?;
    let probe = serde_json::from_value(probe.clone())?;
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    until("the policy to refuse", async || {
        Ok(bench.policies().create(&dry, &probe).await.is_err().then_some(()))
    })
    .await
}

/// Whether a policy lets in the port that the API server is told to refuse.
const NO_666: &str = "!has(object.spec.ingress) || object.spec.ingress.all(rule, !has(rule.ports) || \
                      rule.ports.all(port, port.port != 666))";

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_object_is_told_in_the_servers_words_counted_and_tried_again() -> Outcome {
    let bench = Bench::new("refused").await?;
    let probe = parse(&allow("refused", "probe", 666))?;
    refuse(&bench, "networking.k8s.io", NO_666, &probe, "the evil port").await?;
    for index in 0..6 {
        let name = format!("p{index}");
        bench
            .repository
            .write(&format!("{name}.yaml"), &deny("refused", &name))?;
    }
    // One that is not there yet, and one that is, with other content.
    bench.repository.write("new.yaml", &allow("refused", "new", 666))?;
    bench.repository.write("old.yaml", &allow("refused", "old", 666))?;
    bench.create(&allow("refused", "old", 80)).await?;
    bench.repository.commit("Two of them are refused")?;
    bench.make_source(&json!({})).await?;
    let running = bench.run().await?;
    until("the source to tell of both, in the server's words", async || {
        let why = bench.until_says("refused", "Synced", "WriteFailed").await?;
        let told = ["refused/new", "the evil port", "(and 1 more)"];
        Ok(told.iter().all(|said| why.contains(said)).then_some(()))
    })
    .await?;
    bench.until_says("refused", "Ready", "WriteFailed").await?;
    for index in 0..6 {
        bench.until_there(&format!("p{index}")).await?;
    }
    until("both to be counted", async || {
        Ok((running.refusals("Create")? >= 1.0 && running.refusals("Replace")? >= 1.0).then_some(()))
    })
    .await?;

    // Tried again by itself: somebody lets it pass.
    let tried = running.refusals("Create")?;
    until("it to be tried again", async || {
        Ok((running.refusals("Create")? > tried).then_some(()))
    })
    .await?;

    // Each new drift, and each new commit, is tried at once: with pauses that grew from five seconds on, eight of them
    // would take twenty minutes.
    for round in 0..8_u16 {
        let before = running.refusals("Replace")?;
        if round % 2 == 0 {
            bench
                .patch(
                    "old",
                    json!({"spec": {"ingress": [{"ports": [{"port": 100 + round}]}]}}),
                )
                .await?;
        } else {
            let name = format!("round-{round}");
            bench
                .repository
                .write(&format!("{name}.yaml"), &deny("refused", &name))?;
            bench.repository.commit("Another one beside it")?;
            bench.until_there(&name).await?;
        }
        until("another try", async || {
            Ok((running.refusals("Replace")? > before).then_some(()))
        })
        .await?;
    }
    let failed = running.count("failed")?;
    assert!(failed >= 2, "both are on record");
    // Once the API server takes them nothing else is needed; the next try is soon, since the last commit reset the pause.
    let name = "refused";
    let params = DeleteParams::default();
    kube::Api::<ValidatingAdmissionPolicyBinding>::all(bench.client.clone())
        .delete(name, &params)
        .await?;
    bench.until_port("new", 666).await?;
    bench.until_port("old", 666).await?;
    bench.until_says("refused", "Synced", "Synced").await?;
    assert_eq!(running.inexact(&bench.client).await?, Vec::<String>::new());
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_object_holds_up_no_later_commit_and_its_repair_needs_no_retry() -> Outcome {
    let bench = Bench::new("repaired").await?;
    let probe = parse(&allow("repaired", "probe", 666))?;
    refuse(&bench, "networking.k8s.io", NO_666, &probe, "the evil port").await?;
    bench.repository.write("bad.yaml", &allow("repaired", "bad", 666))?;
    bench.repository.write("web.yaml", &allow("repaired", "web", 8000))?;
    bench.repository.write("going.yaml", &deny("repaired", "going"))?;
    bench.repository.commit("One is refused")?;
    bench.make_source(&json!({"maxRemovals": "100%"})).await?;
    let running = bench.run().await?;
    bench.until_says("repaired", "Synced", "WriteFailed").await?;
    for port in 8001..8004 {
        bench.repository.write("web.yaml", &allow("repaired", "web", port))?;
        bench.repository.commit("Later, with the refused one still in it")?;
        bench.until_port("web", port).await?;
    }
    // Nor does it hold up what is to go.
    bench.repository.remove("going.yaml")?;
    bench.repository.commit("Without another one")?;
    bench.until_gone("going").await?;
    bench.repository.write("bad.yaml", &allow("repaired", "bad", 667))?;
    let repaired = bench.repository.commit("Another port")?;
    bench.until_port("bad", 667).await?;
    bench.until_synced_at(&repaired).await?;
    running.stop().await
}
