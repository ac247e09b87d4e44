//! What must not happen on the way from one commit to the next, whoever else is at work.

use std::collections::BTreeSet;

use futures::StreamExt;
use headgate::source::resource::Mode;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, ListParams};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::harness::{Bench, allow, deny, until};
use crate::{Failure, Outcome};

/// What is there, and in which version.
async fn versions(bench: &Bench) -> Result<BTreeSet<(String, Option<String>)>, Failure> {
    let policies = bench.policies().list(&ListParams::default()).await?;
    Ok(policies
        .into_iter()
        .map(|policy| (policy.name_any(), policy.resource_version()))
        .collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_of_fifty_policies_leaves_no_moment_without_either() -> Outcome {
    let bench = Bench::new("rename").await?;
    for number in 0..50 {
        let name = format!("old-{number:02}");
        bench
            .repository
            .write(&format!("{number:02}.yaml"), &allow("rename", &name, 80))?;
    }
    let first = bench.repository.commit("Fifty policies")?;
    bench.make_source(&json!({"maxRemovals": "100%"})).await?;
    let running = bench.run().await?;
    bench.until_synced_at(&first).await?;
    let mut events = watcher(bench.policies(), watcher::Config::default()).boxed();
    let mut there = BTreeSet::new();
    for number in 0..50 {
        let name = format!("new-{number:02}");
        bench
            .repository
            .write(&format!("{number:02}.yaml"), &allow("rename", &name, 80))?;
    }
    let mut committed = false;
    let mut fewest = usize::MAX;
    while there.is_empty() || there.iter().any(|name: &String| name.starts_with("old-")) || there.len() != 50 {
        match events.next().await.ok_or("the watch ended")?? {
            watcher::Event::InitApply(policy) | watcher::Event::Apply(policy) => {
                there.insert(policy.name_any());
            }
            watcher::Event::Delete(policy) => {
                there.remove(&policy.name_any());
            }
            watcher::Event::InitDone => {
                assert_eq!(there.len(), 50);
                assert!(!committed, "the watch was lost, and with it what happened");
                bench.repository.commit("Rename all of them")?;
                committed = true;
            }
            watcher::Event::Init => there.clear(),
        }
        if committed {
            fewest = fewest.min(there.len());
            for number in 0..50 {
                let either = ["old", "new"].map(|name| there.contains(&format!("{name}-{number:02}")));
                assert_ne!(either, [false, false], "neither name of {number} is there");
            }
        }
    }
    assert_eq!(fewest, 50);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_removes_too_much_says_what_would_go_and_goes_by_a_word() -> Outcome {
    let bench = Bench::new("word").await?;
    for number in 0..20 {
        bench
            .repository
            .write(&format!("{number:02}.yaml"), &deny("word", &format!("p{number:02}")))?;
    }
    let first = bench.repository.commit("Twenty policies")?;
    bench.make_source(&json!({})).await?;
    let running = bench.run().await?;
    bench.until_synced_at(&first).await?;
    for number in 0..10 {
        bench.repository.remove(&format!("{number:02}.yaml"))?;
    }
    let second = bench.repository.commit("Remove half of them")?;
    let why = bench.until_says("word", "Accepted", "TooManyRemovals").await?;
    for said in ["10 of 20", "word/p0", "spec.accept", second.as_str()] {
        assert!(why.contains(said), "{said}: {why}");
    }
    bench.delete("p03").await?;
    bench.until_there("p03").await?;
    assert_eq!(running.count("deleted")?, 0);
    assert_eq!(versions(&bench).await?.len(), 20);
    bench.change_source("word", json!({"accept": second})).await?;
    bench.until_synced_at(&second).await?;
    assert_eq!(versions(&bench).await?.len(), 10);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_made_again_gets_its_policies_again() -> Outcome {
    let bench = Bench::new("again").await?;
    for number in 0..5 {
        bench
            .repository
            .write(&format!("{number}.yaml"), &deny("again", &format!("p{number}")))?;
    }
    let first = bench.repository.commit("Five policies")?;
    bench.make_source(&json!({})).await?;
    let running = bench.run().await?;
    bench.until_synced_at(&first).await?;
    let namespaces: Api<Namespace> = Api::all(bench.client.clone());
    namespaces.delete("again", &DeleteParams::default()).await?;
    until("the namespace to be gone", async || {
        Ok(namespaces.get_opt("again").await?.is_none().then_some(()))
    })
    .await?;
    bench.until_says("again", "Synced", "WaitingForNamespace").await?;
    bench.make_namespace("again").await?;
    for number in 0..5 {
        bench.until_there(&format!("p{number}")).await?;
    }
    bench.until_says("again", "Synced", "Synced").await?;
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_loops_without_a_lease_do_no_harm() -> Outcome {
    let bench = Bench::new("twins").await?;
    for number in 0..30 {
        bench
            .repository
            .write(&format!("{number:02}.yaml"), &deny("twins", &format!("p{number:02}")))?;
    }
    let first = bench.repository.commit("Thirty policies")?;
    bench.make_source(&json!({"maxRemovals": "100%"})).await?;
    let one = bench.run_as(Mode::Enforce, None, "one").await?;
    let two = bench.run_as(Mode::Enforce, None, "two").await?;
    bench.until_synced_at(&first).await?;
    let mut head = first;
    for round in 0..5 {
        // A commit that changes, adds and removes, and drift meanwhile.
        let port = 8000 + round;
        for number in 0..10 {
            bench.repository.write(
                &format!("{number:02}.yaml"),
                &allow("twins", &format!("p{number:02}"), port),
            )?;
        }
        bench
            .repository
            .write(&format!("r{round}.yaml"), &deny("twins", &format!("r{round}")))?;
        if round > 0 {
            bench.repository.remove(&format!("r{}.yaml", round - 1))?;
        }
        head = bench.repository.commit("Another round")?;
        bench.delete("p20").await?;
        bench.patch("p21", json!({"spec": {"ingress": [{}]}})).await?;
        bench.create(&allow("twins", "rogue", 22)).await?;
        bench.until_gone("rogue").await?;
        bench.until_there("p20").await?;
        until("p21 to be as Git says", async || {
            let live = serde_json::to_value(bench.policies().get("p21").await?)?;
            Ok(live["spec"]["ingress"].is_null().then_some(()))
        })
        .await?;
    }
    bench.until_synced_at(&head).await?;
    bench.until_port("p09", 8004).await?;
    bench.until_gone("r3").await?;
    assert_eq!(versions(&bench).await?.len(), 31);
    for running in [&one, &two] {
        for record in running.records()? {
            let key = record["key"].as_str().unwrap_or_default();
            let undeclared = key.contains("/twins/rogue") || key.contains("/twins/r");
            assert!(record["outcome"] != "deleted" || undeclared, "{record}");
        }
    }
    // Neither goes on writing.
    let settled = versions(&bench).await?;
    let quiet = bench.repository.commit("Nothing")?;
    bench.until_synced_at(&quiet).await?;
    assert_eq!(versions(&bench).await?, settled);
    one.stop().await?;
    two.stop().await
}
