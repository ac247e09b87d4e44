//! Many sources: whose word counts where several speak, and what is said to each of them.

use headgate::source::resource::OnRemoval;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::Outcome;
use crate::harness::{Bench, allow, deny, until};
use crate::repository::Repository;

fn spec(repository: &Repository, namespaces: &[&str], more: &Value) -> Value {
    let mut spec = json!({"git": {"url": repository.url(), "interval": "1s"}, "scope": {"namespaces": namespaces}});
    crate::harness::merge(&mut spec, more);
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sources_that_disagree_freeze_an_object_until_one_gives_way() -> Outcome {
    let bench = Bench::new("teams").await?;
    let other = bench.another_repository("other")?;
    bench.repository.write("shared.yaml", &allow("teams", "shared", 80))?;
    bench.repository.write("mine.yaml", &deny("teams", "mine"))?;
    bench.repository.commit("Mine")?;
    other.write("shared.yaml", &allow("teams", "shared", 443))?;
    other.write("theirs.yaml", &deny("teams", "theirs"))?;
    other.commit("Theirs")?;
    bench.make_source(&json!({})).await?;
    let running = bench.run().await?;
    bench.until_port("shared", 80).await?;
    let alone = bench.until_says("teams", "Overlapping", "NoOverlap").await?;
    assert!(alone.contains("No other source"), "{alone}");

    // One that comes while the loop runs, and disagrees.
    bench
        .make_source_named(
            "teams-other",
            &spec(&other, &["team*"], &json!({"sync": {"onRemoval": "Prune"}})),
        )
        .await?;
    for source in ["teams", "teams-other"] {
        let why = bench.until_says(source, "Synced", "Conflict").await?;
        assert!(
            why.contains("teams and teams-other") && why.contains("teams/shared"),
            "{why}"
        );
    }
    let overlap = bench.until_says("teams", "Overlapping", "ScopesOverlap").await?;
    assert!(overlap.contains("teams-other (priority 0)"), "{overlap}");
    bench.until_there("theirs").await?;
    // Frozen: what somebody writes there now stays for whom it may concern.
    bench
        .patch("shared", json!({"spec": {"ingress": [{"ports": [{"port": 22}]}]}}))
        .await?;
    bench.delete("mine").await?;
    bench.until_there("mine").await?;
    bench.until_port("shared", 22).await?;

    // One gives way by priority, and the object is healed at once.
    bench.change_source("teams-other", json!({"priority": 10})).await?;
    bench.until_port("shared", 443).await?;
    for source in ["teams", "teams-other"] {
        bench.until_says(source, "Synced", "Synced").await?;
    }
    // Its file goes: the other's word counts again.
    other.remove("shared.yaml")?;
    other.commit("Leave it to the others")?;
    bench.until_port("shared", 80).await?;

    // It goes with what is its own, and with nothing else.
    let source = bench.sources().get("teams-other").await?;
    assert_eq!(source.spec.sync.on_removal, OnRemoval::Prune);
    until("the finalizer", async || {
        let source = bench.sources().get("teams-other").await?;
        Ok(source.metadata.finalizers.map(|_| ()))
    })
    .await?;
    bench.sources().delete("teams-other", &DeleteParams::default()).await?;
    bench.until_gone("theirs").await?;
    until("the source to be gone", async || {
        Ok(bench.sources().get_opt("teams-other").await?.is_none().then_some(()))
    })
    .await?;
    bench.until_says("teams", "Overlapping", "NoOverlap").await?;
    assert!(bench.policies().get_opt("mine").await?.is_some());
    assert!(bench.policies().get_opt("shared").await?.is_some());
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_outside_the_scope_is_reported_and_the_rest_is_applied() -> Outcome {
    let bench = Bench::new("scoped").await?;
    bench.make_namespace("not-scoped").await?;
    bench.repository.write("team/mine.yaml", &deny("scoped", "mine"))?;
    bench
        .repository
        .write("team/theirs.yaml", &allow("not-scoped", "theirs", 22))?;
    let first = bench.repository.commit("Reach out")?;
    bench.make_source(&json!({})).await?;
    let running = bench.run().await?;
    bench.until_synced_at(&first).await?;
    bench.until_there("mine").await?;
    let status = bench.source().await?.status.unwrap_or_default();
    let skipped = status.skipped.first().ok_or("it is told")?;
    assert_eq!(
        (skipped.path.as_str(), skipped.object.as_str()),
        ("team/theirs.yaml", "networkpolicy.networking.k8s.io/not-scoped/theirs")
    );
    assert!(skipped.reason.contains("spec.scope.namespaces"), "{}", skipped.reason);
    let accepted = bench.until_says("scoped", "Accepted", "Accepted").await?;
    assert!(accepted.contains("team/theirs.yaml:1"), "{accepted}");
    let others =
        kube::Api::<k8s_openapi::api::networking::v1::NetworkPolicy>::namespaced(bench.client.clone(), "not-scoped");
    assert!(others.get_opt("theirs").await?.is_none());
    assert_eq!(running.count("created")?, 1);
    running.stop().await
}
