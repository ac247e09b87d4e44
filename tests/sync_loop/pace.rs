//! How fast: heals and the first sync, each measured beside what a bare client needs in the same run.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::json;

use crate::Outcome;
use crate::harness::{Bench, allow, deny, parse};

/// Generous, since machines of all kinds run this; the figures are printed.
const SLOWEST_MEDIAN: Duration = Duration::from_secs(2);

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_twentieth_heal_is_as_quick_as_the_first() -> Outcome {
    let bench = Bench::new("pace").await?;
    bench.repository.write("deny.yaml", &deny("pace", "deny"))?;
    let first = bench.repository.commit("Deny")?;
    bench.make_source(&json!({"git": {"interval": "1h"}})).await?;
    let running = bench.run().await?;
    bench.until_synced_at(&first).await?;
    let mut events = watcher(bench.policies(), watcher::Config::default())
        .default_backoff()
        .touched_objects()
        .boxed();
    let closed = |policy: &NetworkPolicy| {
        let spec = policy.spec.as_ref();
        policy.metadata.deletion_timestamp.is_none() && spec.is_some_and(|spec| spec.ingress.is_none())
    };
    let (mut deletions, mut edits) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let start = Instant::now();
        bench.delete("deny").await?;
        bench.until_there("deny").await?;
        deletions.push(start.elapsed());
        while !silent(&mut events, Duration::from_millis(100)).await {}
        let start = Instant::now();
        bench.patch("deny", json!({"spec": {"ingress": [{}]}})).await?;
        let mut opened = false;
        while let Some(policy) = events.try_next().await? {
            opened |= !closed(&policy);
            if opened && closed(&policy) {
                break;
            }
        }
        edits.push(start.elapsed());
        // The same again a second later, as in the comparison with other deployers.
        while !silent(&mut events, Duration::from_secs(1)).await {}
    }
    let (deletion, edit) = (median(deletions.clone()), median(edits.clone()));
    println!("deletions healed: median {deletion:?}, {deletions:?}");
    println!("edits healed: median {edit:?}, {edits:?}");
    assert!(deletion < SLOWEST_MEDIAN && edit < SLOWEST_MEDIAN);
    running.stop().await
}

/// Takes what the watch has to say; true once it was silent for so long.
async fn silent(events: &mut (impl futures::Stream + Unpin), long: Duration) -> bool {
    tokio::time::timeout(long, events.next()).await.is_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_sync_keeps_up_with_a_bare_client() -> Outcome {
    const POLICIES: usize = 500;
    let bench = Bench::new("first").await?;
    bench.make_namespace("bare").await?;
    for index in 0..POLICIES {
        let name = format!("p{index:04}");
        bench
            .repository
            .write(&format!("{name}.yaml"), &allow("first", &name, 80))?;
    }
    let first = bench.repository.commit("Many policies")?;
    let bare: Api<NetworkPolicy> = Api::namespaced(bench.client.clone(), "bare");
    let start = Instant::now();
    futures::stream::iter(0..POLICIES)
        .map(Ok::<usize, crate::Failure>)
        .try_for_each_concurrent(16, |index| {
            let bare = bare.clone();
            async move {
                let policy = serde_json::from_value(parse(&allow("bare", &format!("p{index:04}"), 80))?)?;
                bare.create(&PostParams::default(), &policy).await?;
                Ok(())
            }
        })
        .await?;
    let by_hand = start.elapsed();
    bench.make_source(&json!({})).await?;
    let start = Instant::now();
    let running = bench.run().await?;
    bench.until_synced_at(&first).await?;
    let took = start.elapsed();
    let created: Vec<jiff::Timestamp> = running
        .records()?
        .iter()
        .filter(|record| record["outcome"] == "created")
        .filter_map(|record| record["time"].as_str()?.parse().ok())
        .collect();
    assert_eq!(created.len(), POLICIES);
    let writing = match (created.iter().min(), created.iter().max()) {
        (Some(from), Some(to)) => Duration::try_from(to.duration_since(*from))?,
        _ => Duration::ZERO,
    };
    println!(
        "{POLICIES} policies: bare client {by_hand:?}; the loop's writes {writing:?}, from start to status {took:?}"
    );
    running.stop().await
}
