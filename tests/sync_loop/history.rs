//! What is remembered of commits: in the source's status, whoever leads.

use headgate::source::resource::{HistoryEntry, Mode};
use serde_json::json;

use crate::harness::{Bench, allow, deny, until};
use crate::repository::git;
use crate::{Failure, Outcome};

async fn history(bench: &Bench) -> Result<Vec<HistoryEntry>, Failure> {
    Ok(bench.source().await?.status.unwrap_or_default().history)
}

/// Waits until the newest entry is this commit's, and was reached.
async fn until_noted(bench: &Bench, commit: &str) -> Result<Vec<HistoryEntry>, Failure> {
    until(&format!("{commit} to be noted"), async || {
        let history = history(bench).await?;
        let newest = history.first();
        let is_it = newest.is_some_and(|entry| entry.commit == commit && entry.applied_at.is_some());
        Ok(is_it.then_some(history))
    })
    .await
}

fn counts(entry: &HistoryEntry) -> (Option<i64>, Option<i64>, Option<i64>, Option<i64>) {
    (entry.commits, entry.created, entry.changed, entry.removed)
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_change_policy_are_remembered_once_whoever_leads() -> Outcome {
    let bench = Bench::new("history").await?;
    bench.repository.write("a.yaml", &deny("history", "a"))?;
    bench.repository.write("b.yaml", &deny("history", "b"))?;
    let first = bench.repository.commit("Two policies")?;
    bench.make_source(&json!({})).await?;
    let running = bench.run().await?;
    let noted = until_noted(&bench, &first).await?;
    assert_eq!(noted.len(), 1);
    assert_eq!(counts(&noted[0]), (None, Some(2), Some(0), Some(0)));
    assert_eq!(
        (noted[0].from.as_str(), noted[0].subject.as_str()),
        ("", "Two policies")
    );

    // Nothing in policy: no entry.
    bench.repository.write("README.md", "Policies")?;
    let quiet = bench.repository.commit("A word about it")?;
    bench.until_synced_at(&quiet).await?;
    assert_eq!(history(&bench).await?, noted);

    // The process is gone while commits come; the next one has nothing of its memory, and another one nothing on disk.
    running.stop().await?;
    bench.repository.write("a.yaml", &allow("history", "a", 80))?;
    bench.repository.commit("Let a in")?;
    bench.repository.remove("b.yaml")?;
    let second = bench.repository.commit("Without b")?;
    let restarted = bench.run_as(Mode::Enforce, None, "state").await?;
    let noted = until_noted(&bench, &second).await?;
    assert_eq!(noted.len(), 2);
    assert_eq!(counts(&noted[0]), (Some(2), Some(0), Some(1), Some(1)));
    assert_eq!(noted[0].from, quiet);

    restarted.stop().await?;
    bench.repository.write("c.yaml", &deny("history", "c"))?;
    let third = bench.repository.commit("And c")?;
    let elsewhere = bench.run_as(Mode::Enforce, None, "another-state").await?;
    let noted = until_noted(&bench, &third).await?;
    assert_eq!(noted.len(), 3);
    assert_eq!(counts(&noted[0]), (Some(1), Some(1), Some(0), Some(0)));

    two_at_once(&bench, &third).await?;
    elsewhere.stop().await
}

/// Beside the loop that runs: two without a lease, as for a moment when it changes hands, write no entry twice.
async fn two_at_once(bench: &Bench, from: &str) -> Outcome {
    let other = bench.run_as(Mode::Enforce, None, "a-third-state").await?;
    let mut last = from.to_owned();
    for round in 0..3 {
        bench.repository.write("c.yaml", &allow("history", "c", 9000 + round))?;
        last = bench.repository.commit("Another port")?;
        until_noted(bench, &last).await?;
        bench.until_synced_at(&last).await?;
    }
    let noted = until_noted(bench, &last).await?;
    let commits: Vec<&str> = noted.iter().map(|entry| entry.commit.as_str()).collect();
    let mut once = commits.clone();
    once.dedup();
    assert_eq!(commits, once);
    assert_eq!(noted.len(), 6, "{commits:?}");
    other.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_was_rewritten_is_told_by_what_came_and_went() -> Outcome {
    let bench = Bench::new("rewritten").await?;
    bench.repository.write("a.yaml", &deny("rewritten", "a"))?;
    let first = bench.repository.commit("One policy")?;
    bench.make_source(&json!({"allowRewind": true})).await?;
    let running = bench.run().await?;
    until_noted(&bench, &first).await?;
    bench.repository.write("a.yaml", &allow("rewritten", "a", 80))?;
    let second = bench.repository.commit("Let a in")?;
    until_noted(&bench, &second).await?;
    git(bench.repository.work(), &["reset", "--hard", "--quiet", "HEAD~1"])?;
    bench.repository.write("b.yaml", &deny("rewritten", "b"))?;
    let third = bench.repository.commit("And b instead")?;
    let noted = until_noted(&bench, &third).await?;
    assert_eq!((noted[0].commits, noted[0].undone), (Some(1), Some(1)));
    assert_eq!(counts(&noted[0]), (Some(1), Some(1), Some(1), Some(0)));
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_marks_of_a_sources_deployer_are_no_drift_and_stay_when_drift_is_healed() -> Outcome {
    let bench = Bench::new("marked").await?;
    bench.repository.write("web.yaml", &allow("marked", "web", 80))?;
    let head = bench.repository.commit("A policy")?;
    bench.make_source(&json!({"deployer": "argo-cd"})).await?;
    let running = bench.run().await?;
    bench.until_synced_at(&head).await?;
    let marks = json!({"labels": {"app.kubernetes.io/instance": "app"}, "annotations": {
        "argocd.argoproj.io/tracking-id": "app:networking.k8s.io/NetworkPolicy:marked/web"}});
    bench.patch("web", json!({"metadata": marks})).await?;
    let marked = bench.policies().get("web").await?.metadata.resource_version;
    // What comes after it in the watch was healed: it was looked at, and left.
    bench.repository.write("web2.yaml", &deny("marked", "web2"))?;
    let second = bench.repository.commit("Another policy")?;
    bench.until_synced_at(&second).await?;
    bench.delete("web2").await?;
    bench.until_there("web2").await?;
    assert_eq!(bench.policies().get("web").await?.metadata.resource_version, marked);
    bench.patch("web", json!({"spec": {"ingress": [{}]}})).await?;
    bench.until_port("web", 80).await?;
    let healed = serde_json::to_value(bench.policies().get("web").await?)?;
    for field in ["labels", "annotations"] {
        assert_eq!(healed["metadata"][field], marks[field], "they are Argo CD's");
    }
    // Another tool's mark is drift.
    bench
        .patch(
            "web",
            json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}}),
        )
        .await?;
    until("the foreign mark to go", async || {
        let live = serde_json::to_value(bench.policies().get("web").await?)?;
        Ok((live["metadata"]["labels"] == marks["labels"]).then_some(()))
    })
    .await?;
    running.stop().await
}
