//! A source that goes, with its objects or without.

use kube::api::DeleteParams;
use serde_json::json;

use crate::Outcome;
use crate::harness::{Bench, deny, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_source_with_on_removal_prune_takes_its_own_objects_along() -> Outcome {
    let bench = Bench::new("leaving").await?;
    bench.create(&deny("leaving", "not-from-git")).await?;
    bench.repository.write("deny.yaml", &deny("leaving", "deny"))?;
    let first = bench.repository.commit("Deny")?;
    bench.make_source(&json!({"sync": {"onRemoval": "Prune"}})).await?;
    let running = bench.run().await?;
    bench.until_synced_at(&first).await?;
    until("the finalizer", async || {
        Ok(bench.source().await?.metadata.finalizers.map(|_| ()))
    })
    .await?;
    bench.sources().delete(&bench.name, &DeleteParams::default()).await?;
    until("the source to be gone", async || {
        Ok(bench.sources().get_opt(&bench.name).await?.is_none().then_some(()))
    })
    .await?;
    assert!(bench.policies().get_opt("deny").await?.is_none());
    assert!(bench.policies().get_opt("not-from-git").await?.is_some());
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_releases_its_objects_leaves_them() -> Outcome {
    let bench = Bench::new("releasing").await?;
    bench.repository.write("deny.yaml", &deny("releasing", "deny"))?;
    let first = bench.repository.commit("Deny")?;
    bench.make_source(&json!({})).await?;
    let running = bench.run().await?;
    bench.until_synced_at(&first).await?;
    bench.sources().delete(&bench.name, &DeleteParams::default()).await?;
    until("the loop to know", async || {
        Ok(running.keeper.desired().sources().is_empty().then_some(()))
    })
    .await?;
    bench.delete("deny").await?;
    // Another object's fate shows that the loop has seen the deletion and had its chance.
    bench.create(&deny("releasing", "marker")).await?;
    assert!(bench.policies().get_opt("deny").await?.is_none());
    assert_eq!(running.count("deleted")?, 0);
    running.stop().await
}
