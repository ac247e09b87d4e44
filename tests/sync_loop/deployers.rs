//! What other deployers make of odd repositories, and what the loop makes of them. Each is a sentence of a comparison that
//! was measured: a bad HEAD stops neither the healing towards the last good one nor the next commit, and so on.

use serde_json::{Value, json};

use crate::harness::{Bench, Running, allow, condition, deny, until};
use crate::repository::{Repository, git};
use crate::{Failure, Outcome};

/// Twelve policies, one of which lets in a port that says which commit is applied.
async fn begin(bench: &Bench, spec: &Value) -> Result<(Running, String), Failure> {
    for index in 0..11 {
        let name = format!("p{index:02}");
        bench
            .repository
            .write(&format!("{name}.yaml"), &deny(&bench.name, &name))?;
    }
    let first = port(bench, 8000)?;
    bench.make_source(spec).await?;
    let running = bench.run().await?;
    bench.until_synced_at(&first).await?;
    Ok((running, first))
}

fn port(bench: &Bench, port: u16) -> Result<String, Failure> {
    bench.repository.write("port.yaml", &allow(&bench.name, "port", port))?;
    bench.repository.commit(&format!("Port {port}"))
}

/// What somebody does now is undone.
async fn assert_healing_goes_on(bench: &Bench, head: &str) -> Outcome {
    bench.delete("p03").await?;
    bench.until_there("p03").await?;
    bench.patch("p04", json!({"spec": {"ingress": [{}]}})).await?;
    until("p04 to be closed", async || {
        let live = bench.policies().get("p04").await?;
        Ok(live.spec.is_some_and(|spec| spec.ingress.is_none()).then_some(()))
    })
    .await?;
    bench.create(&allow(&bench.name, "rogue", 22)).await?;
    bench.until_gone("rogue").await?;
    let source = bench.source().await?;
    let status = source.status.as_ref().ok_or("no status")?;
    assert_eq!(status.head.as_ref().map(|at| at.commit.as_str()), Some(head));
    assert_eq!(
        condition(&source, "Ready").map(|(ready, _)| ready).as_deref(),
        Some("False")
    );
    Ok(())
}

type Breaking = fn(&Repository, &str) -> Outcome;

/// Ways in which a HEAD is bad, and what is said of each.
const BAD_HEADS: [(&str, Breaking); 5] = [
    ("UnreadableFile", |repository, _| {
        repository.write("bad.yaml", "kind: {[}\n")
    }),
    // Argo CD skips it in silence.
    ("UnreadableFile", |repository, _| {
        repository.write("bad.yaml", "metadata: {name: p99}\nspec: {podSelector: {}}\n")
    }),
    ("DuplicateObject", |repository, name| {
        repository.write("bad.yaml", &deny(name, "p00"))
    }),
    ("TooManyRemovals", |repository, _| {
        (0..8).try_for_each(|index| repository.remove(&format!("p{index:02}.yaml")))
    }),
    ("EmptyTree", |repository, _| {
        git(repository.work(), &["rm", "-rq", "."]).map(drop)
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_head_stops_neither_the_healing_nor_the_next_commit() -> Outcome {
    let bench = Bench::new("bad-heads").await?;
    let (running, mut head) = begin(&bench, &json!({"sync": {"prune": "All"}})).await?;
    for (index, (reason, spoil)) in BAD_HEADS.iter().enumerate() {
        spoil(&bench.repository, &bench.name)?;
        let bad = bench.repository.commit("Something that must not be accepted")?;
        bench.until_says("bad-heads", "Accepted", reason).await?;
        let deleted = running.count("deleted")?;
        assert_healing_goes_on(&bench, &head).await?;
        until(&format!("nothing but the rogue to go for {reason}"), async || {
            Ok((running.count("deleted")? == deleted + 1).then_some(()))
        })
        .await?;
        // The repair is taken at once, however often the bad one was looked at.
        git(bench.repository.work(), &["checkout", "--quiet", "HEAD~1", "--", "."])?;
        if bench.repository.work().join("bad.yaml").exists() {
            bench.repository.remove("bad.yaml")?;
        }
        let port_now = 8001 + u16::try_from(index)?;
        head = port(&bench, port_now)?;
        bench.until_synced_at(&head).await?;
        bench.until_port("port", port_now).await?;
        assert_ne!(head, bad);
        assert_eq!(running.inexact(&bench.client).await?, Vec::<String>::new());
    }
    assert_eq!(running.count("failed")?, 0);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_force_push_is_not_followed_until_somebody_says_so() -> Outcome {
    let bench = Bench::new("forced-push").await?;
    let (running, first) = begin(&bench, &json!({})).await?;
    let second = port(&bench, 8001)?;
    bench.until_synced_at(&second).await?;
    git(bench.repository.work(), &["reset", "--quiet", "--hard", &first])?;
    let rewritten = port(&bench, 9000)?;
    let why = bench.until_says("forced-push", "Accepted", "HistoryRewritten").await?;
    assert!(why.contains("spec.allowRewind"), "{why}");
    assert_healing_goes_on(&bench, &second).await?;
    bench.until_port("port", 8001).await?;
    bench.change_source("forced-push", json!({"allowRewind": true})).await?;
    bench.until_synced_at(&rewritten).await?;
    bench.until_port("port", 9000).await?;
    // Going back to what was before, without a rewrite, is a commit like any other.
    bench
        .change_source("forced-push", json!({"allowRewind": false}))
        .await?;
    let next = port(&bench, 8001)?;
    bench.until_synced_at(&next).await?;
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_sticks_whatever_the_branch_does_meanwhile() -> Outcome {
    let bench = Bench::new("sticking").await?;
    let (running, good) = begin(&bench, &json!({})).await?;
    let bad = port(&bench, 6666)?;
    bench.until_synced_at(&bad).await?;
    bench
        .change_source("sticking", json!({"git": {"ref": {"commit": good}}}))
        .await?;
    bench.until_port("port", 8000).await?;
    bench.until_synced_at(&good).await?;
    let replaced = running.count("replaced")?;
    // The branch goes on, and somebody tries to have the bad one back.
    let mut tip = bad;
    for next in 6667..6670 {
        tip = port(&bench, next)?;
        let looked = bench.repository.commit("Nothing")?;
        assert_ne!(looked, tip);
        bench
            .patch("port", json!({"spec": {"ingress": [{"ports": [{"port": next}]}]}}))
            .await?;
        bench.until_port("port", 8000).await?;
        tip = looked;
    }
    until("three heals and no more", async || {
        Ok((running.count("replaced")? == replaced + 3).then_some(()))
    })
    .await?;
    bench.until_synced_at(&good).await?;
    bench
        .change_source("sticking", json!({"git": {"ref": {"commit": null}}}))
        .await?;
    bench.until_synced_at(&tip).await?;
    bench.until_port("port", 6669).await?;
    running.stop().await
}
