//! After a sync every live object is what Git says, by its digest, whoever had a hand in it before.

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::harness::{Bench, allow, deny, merge, parse, until};
use crate::{Failure, Outcome};

const NAMES: [&str; 8] = [
    "applied",
    "merged",
    "forced",
    "finalized",
    "owned",
    "marked",
    "noted",
    "defaulted",
];

/// Makes a policy as a deployer does, with what it adds.
async fn apply(bench: &Bench, manager: &str, name: &str, more: &Value) -> Outcome {
    let mut policy = parse(&deny(&bench.name, name))?;
    merge(&mut policy, more);
    let params = PatchParams::apply(manager).force();
    bench.policies().patch(name, &params, &Patch::Apply(&policy)).await?;
    Ok(())
}

/// Leaves on every policy what some deployer, controller or person leaves.
async fn spoil(bench: &Bench, owner: &Value) -> Outcome {
    let open = json!({"spec": {"ingress": [{}], "egress": [{}], "policyTypes": ["Egress", "Ingress"]}});
    apply(bench, "someone", "applied", &open).await?;
    apply(bench, "kubectl", "merged", &json!({"metadata": {"labels": {"a": "b"}}})).await?;
    bench
        .patch("merged", json!({"spec": {"ingress": [{"from": []}]}}))
        .await?;
    for manager in ["one", "other", "third"] {
        let field = json!({"metadata": {"annotations": {manager: "x"}}, "spec": {"podSelector": {"matchLabels": {manager: "x"}}}});
        apply(bench, manager, "forced", &field).await?;
    }
    apply(
        bench,
        "someone",
        "finalized",
        &json!({"metadata": {"finalizers": ["example.com/held"]}}),
    )
    .await?;
    apply(
        bench,
        "someone",
        "owned",
        &json!({"metadata": {"ownerReferences": [owner]}}),
    )
    .await?;
    let marks = json!({"metadata": {
        "labels": {"app.kubernetes.io/instance": "x", "kustomize.toolkit.fluxcd.io/name": "x"},
        "annotations": {"argocd.argoproj.io/tracking-id": "x", "kustomize.toolkit.fluxcd.io/reconcile": "disabled"}}});
    apply(bench, "argocd-controller", "marked", &marks).await?;
    let noted = json!({"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}},
        "spec": {"ingress": [{}]}});
    apply(bench, "kubectl-client-side-apply", "noted", &noted).await?;
    apply(
        bench,
        "someone",
        "defaulted",
        &json!({"spec": {"policyTypes": ["Ingress", "Egress"]}}),
    )
    .await
}

async fn until_exact(bench: &Bench, running: &crate::harness::Running) -> Result<Vec<String>, Failure> {
    until("every object to be what Git says", async || {
        let inexact = running.inexact(&bench.client).await?;
        Ok(inexact.is_empty().then_some(inexact))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_there_before_and_whatever_is_done_later_each_object_is_exactly_what_git_says() -> Outcome {
    let bench = Bench::new("exact").await?;
    let owners: Api<ConfigMap> = Api::namespaced(bench.client.clone(), "exact");
    let owner = serde_json::from_value(json!({"metadata": {"name": "owner"}}))?;
    let owner = owners.create(&PostParams::default(), &owner).await?;
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.metadata.uid});
    spoil(&bench, &owner).await?;
    for name in NAMES {
        bench.repository.write(&format!("{name}.yaml"), &deny("exact", name))?;
    }
    // The files say nothing of what the API server fills in.
    let file = deny("exact", "defaulted").replace("  policyTypes: [Ingress]\n", "");
    bench.repository.write("defaulted.yaml", &file)?;
    let first = bench.repository.commit("All of them closed")?;
    bench.make_source(&json!({})).await?;
    let running = bench.run().await?;
    bench.until_synced_at(&first).await?;
    assert_eq!(running.inexact(&bench.client).await?, Vec::<String>::new());

    // The same again, behind the gate's back, while the loop runs.
    spoil(&bench, &owner).await?;
    until_exact(&bench, &running).await?;
    // Nothing of a stranger is left in what the server keeps of managers.
    for name in ["forced", "finalized", "owned"] {
        let live = serde_json::to_value(bench.policies().get(name).await?)?;
        let metadata = &live["metadata"];
        for field in ["annotations", "labels", "finalizers", "ownerReferences"] {
            assert!(metadata[field].is_null(), "{name}: {metadata}");
        }
    }
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_write_is_healed_every_time_and_once_each_time() -> Outcome {
    const TIMES: usize = 25;
    let bench = Bench::new("again-and-again").await?;
    bench.repository.write("deny.yaml", &deny("again-and-again", "deny"))?;
    let first = bench.repository.commit("Deny")?;
    bench.make_source(&json!({"git": {"interval": "1h"}})).await?;
    let running = bench.run().await?;
    bench.until_synced_at(&first).await?;
    let created = running.count("created")?;
    for round in 1..=TIMES {
        // Without a rest between them, by two managers in turn.
        let open = json!({"spec": {"ingress": [{}]}});
        if round % 2 == 0 {
            apply(&bench, "someone", "deny", &open).await?;
        } else {
            bench.patch("deny", open).await?;
        }
        until("the policy to be closed", async || {
            let live: NetworkPolicy = bench.policies().get("deny").await?;
            Ok(live.spec.is_some_and(|spec| spec.ingress.is_none()).then_some(()))
        })
        .await?;
    }
    until("every heal to be on record", async || {
        Ok((running.count("replaced")? == TIMES).then_some(()))
    })
    .await?;
    // Each took one write: none failed, none was put off and made up for later.
    let writes = |outcome: &str| {
        running.metric(&format!(
            "sync_writes_total{{action=\"Replace\",outcome=\"{outcome}\"}}"
        ))
    };
    assert_eq!(writes("Done")?.to_string(), TIMES.to_string());
    assert_eq!(
        running.metric("sync_heal_seconds_count")?.to_string(),
        TIMES.to_string()
    );
    assert_eq!((running.count("created")?, running.count("failed")?), (created, 0));
    // The allow that opened it is the only thing that was ever different.
    assert_eq!(running.inexact(&bench.client).await?, Vec::<String>::new());
    let _ = allow;
    running.stop().await
}
