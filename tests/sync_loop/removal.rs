//! A source that goes, with its objects or without.

use kube::api::DeleteParams;
use serde_json::json;

use headgate::source::resource::Mode;

use crate::Outcome;
use crate::harness::{Bench, allow, deny, until};

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

#[tokio::test(flavor = "multi_thread")]
async fn what_another_source_declares_stays_and_becomes_what_that_one_says() -> Outcome {
    let bench = Bench::new("heirs").await?;
    let other = bench.another_repository("other")?;
    for name in ["shared", "alone"] {
        bench
            .repository
            .write(&format!("{name}.yaml"), &allow("heirs", name, 80))?;
    }
    let first = bench.repository.commit("Two of mine")?;
    other.write("shared.yaml", &allow("heirs", "shared", 443))?;
    other.commit("One of theirs, with another port")?;
    bench
        .make_source(&json!({"priority": 10, "sync": {"onRemoval": "Prune"}}))
        .await?;
    let spec = json!({"git": {"url": other.url(), "interval": "1s"}, "scope": {"namespaces": ["heirs"]},
        "sync": {"onRemoval": "Prune"}});
    bench.make_source_named("heirs-other", &spec).await?;
    let running = bench.run().await?;
    bench.until_synced_at(&first).await?;
    bench.until_port("shared", 80).await?;
    bench.until_held("heirs").await?;
    let uid = bench.policies().get("shared").await?.metadata.uid;
    bench.delete_source("heirs").await?;
    bench.until_source_gone("heirs").await?;
    bench.until_gone("alone").await?;
    bench.until_port("shared", 443).await?;
    assert_eq!(
        bench.policies().get("shared").await?.metadata.uid,
        uid,
        "it was never gone"
    );
    // The last one takes it along.
    bench.until_held("heirs-other").await?;
    bench.delete_source("heirs-other").await?;
    bench.until_source_gone("heirs-other").await?;
    bench.until_gone("shared").await?;
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_source_goes_and_leaves_everything_as_it_is() -> Outcome {
    let bench = Bench::new("asleep").await?;
    bench.repository.write("deny.yaml", &deny("asleep", "deny"))?;
    let first = bench.repository.commit("Deny")?;
    bench.make_source(&json!({"sync": {"onRemoval": "Prune"}})).await?;
    let running = bench.run().await?;
    bench.until_synced_at(&first).await?;
    bench.until_held("asleep").await?;
    bench.change_source("asleep", json!({"suspend": true})).await?;
    bench.until_says("asleep", "Synced", "Suspended").await?;
    bench.delete_source("asleep").await?;
    bench.until_source_gone("asleep").await?;
    assert!(bench.policies().get_opt("deny").await?.is_some());
    assert_eq!(running.count("deleted")?, 0);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_goes_with_its_objects_while_git_cannot_be_read() -> Outcome {
    let bench = Bench::new("unread").await?;
    bench.repository.write("deny.yaml", &deny("unread", "deny"))?;
    let first = bench.repository.commit("Deny")?;
    bench.make_source(&json!({"sync": {"onRemoval": "Prune"}})).await?;
    let running = bench.run().await?;
    bench.until_synced_at(&first).await?;
    bench.until_held("unread").await?;
    std::fs::rename(bench.repository.bare(), bench.dir.path().join("away"))?;
    bench.until_says("unread", "Fetched", "FetchFailed").await?;
    bench.delete_source("unread").await?;
    bench.until_source_gone("unread").await?;
    bench.until_gone("deny").await?;
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_does_not_know_what_a_source_declared_waits_with_its_end() -> Outcome {
    let bench = Bench::new("forgotten").await?;
    bench.repository.write("deny.yaml", &deny("forgotten", "deny"))?;
    let first = bench.repository.commit("Deny")?;
    bench.make_source(&json!({"sync": {"onRemoval": "Prune"}})).await?;
    let running = bench.run().await?;
    bench.until_synced_at(&first).await?;
    bench.until_held("forgotten").await?;
    running.stop().await?;
    let away = bench.dir.path().join("away");
    std::fs::rename(bench.repository.bare(), &away)?;
    bench.delete_source("forgotten").await?;
    // With nothing on disk.
    let running = bench.run_as(Mode::Enforce, None, "another-disk").await?;
    bench.until_says("forgotten", "Fetched", "FetchFailed").await?;
    assert!(bench.sources().get_opt("forgotten").await?.is_some());
    assert!(bench.policies().get_opt("deny").await?.is_some());
    std::fs::rename(&away, bench.repository.bare())?;
    bench.until_source_gone("forgotten").await?;
    bench.until_gone("deny").await?;
    running.stop().await?;

    // Who does not want to wait for Git has it released.
    bench.repository.write("deny.yaml", &deny("forgotten", "deny"))?;
    bench.make_source(&json!({"sync": {"onRemoval": "Prune"}})).await?;
    let running = bench.run().await?;
    bench.until_synced_at(&first).await?;
    bench.until_held("forgotten").await?;
    running.stop().await?;
    std::fs::rename(bench.repository.bare(), &away)?;
    bench.delete_source("forgotten").await?;
    let running = bench.run_as(Mode::Enforce, None, "a-third-disk").await?;
    bench.until_says("forgotten", "Fetched", "FetchFailed").await?;
    bench
        .change_source("forgotten", json!({"sync": {"onRemoval": "Release"}}))
        .await?;
    bench.until_source_gone("forgotten").await?;
    assert!(bench.policies().get_opt("deny").await?.is_some());
    running.stop().await
}
