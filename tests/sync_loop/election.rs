//! One of several processes writes; another takes over when it goes.

use headgate::source::resource::Mode;
use headgate::sync::LeaderElection;
use serde_json::json;

use crate::Outcome;
use crate::harness::{Bench, deny, until};

fn candidate(identity: &str) -> LeaderElection {
    LeaderElection {
        namespace: "elected".to_owned(),
        name: "headgate-sync".to_owned(),
        identity: identity.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_takes_over_when_the_leader_stops_or_crashes() -> Outcome {
    let bench = Bench::new("elected").await?;
    bench.repository.write("deny.yaml", &deny("elected", "deny"))?;
    let first = bench.repository.commit("Deny")?;
    bench.make_source(&json!({})).await?;
    let one = bench.run_as(Mode::Enforce, Some(candidate("one")), "one").await?;
    bench.until_synced_at(&first).await?;
    let two = bench.run_as(Mode::Enforce, Some(candidate("two")), "two").await?;
    bench.delete("deny").await?;
    bench.until_there("deny").await?;
    until("the leader to record it", async || {
        Ok((one.count("created")? == 2).then_some(()))
    })
    .await?;
    assert_eq!(two.count("created")?, 0);

    one.stop().await?;
    let released = std::time::Instant::now();
    bench.delete("deny").await?;
    bench.until_there("deny").await?;
    until("the next leader to record it", async || {
        Ok((two.count("created")? == 1).then_some(()))
    })
    .await?;
    assert!(
        released.elapsed().as_secs() < 12,
        "a leader that stops lets go of the lease"
    );

    two.crash();
    let three = bench.run_as(Mode::Enforce, Some(candidate("three")), "three").await?;
    bench.delete("deny").await?;
    until("the lease to run out", async || {
        Ok((three.count("created")? == 1).then_some(()))
    })
    .await?;
    three.stop().await
}
