//! What a replica knows after a restart: only what the status records, and only if the repository bears it out.

mod git_support;

use std::path::Path;
use std::time::Duration;

use git_support::{Origin, Secrets, TestResult, Watched, head_of, objects, policy};
use headgate::source::keeper::RefusalReason;
use headgate::source::resource::HeadStatus;
use headgate::source::{Lookup, PolicySource, PolicySourceStatus};

const TIMEOUT: Duration = Duration::from_secs(30);

/// A keeper that finds this commit in the status.
fn start(state: &Path, url: &str, commit: &str, objects: i64) -> TestResult<Watched> {
    Watched::start_with(state, url, Secrets::default(), TIMEOUT, |source| {
        source.status = Some(recorded(commit, objects));
    })
}

/// A status that says this commit is in force.
fn recorded(commit: &str, objects: i64) -> PolicySourceStatus {
    PolicySourceStatus {
        head: Some(HeadStatus {
            commit: commit.to_owned(),
            objects,
            ..HeadStatus::default()
        }),
        highest_head: commit.to_owned(),
        ..PolicySourceStatus::default()
    }
}

#[tokio::test]
async fn a_replica_without_state_takes_a_descendant_of_the_recorded_head() -> TestResult {
    let (origin, first) = Origin::with_policies(20)?;
    origin.write("policies/more.yaml", &policy("payments", "more", 80))?;
    let second = origin.commit_and_push("more")?;
    let state = tempfile::tempdir()?;
    let watched = start(state.path(), &origin.file_url(), &first, 20)?;
    assert_eq!(objects(&watched.until_head(&second).await?), 21);
    Ok(())
}

#[tokio::test]
async fn a_replica_without_state_holds_to_the_recorded_head_where_the_tip_removes_too_much() -> TestResult {
    let (origin, first) = Origin::with_policies(20)?;
    origin.git(&["rm", "-r", "--quiet", "policies"])?;
    origin.write("policies/more.yaml", &policy("payments", "more", 80))?;
    origin.commit_and_push("nearly empty")?;
    let state = tempfile::tempdir()?;
    let watched = start(state.path(), &origin.file_url(), &first, 20)?;
    let report = watched.until_refused(RefusalReason::TooManyRemovals).await?;
    assert_eq!((head_of(&report), objects(&report)), (Some(first.as_str()), 20));
    Ok(())
}

#[tokio::test]
async fn a_replica_without_state_has_no_head_where_history_was_rewritten() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    origin.git(&["commit", "--quiet", "--amend", "--message", "rewritten"])?;
    origin.push()?;
    let state = tempfile::tempdir()?;
    let watched = start(state.path(), &origin.file_url(), &first, 3)?;
    let report = watched.until_refused(RefusalReason::HistoryRewritten).await?;
    assert_eq!(head_of(&report), None);
    let key = "networkpolicy.networking.k8s.io/payments/p0".parse()?;
    assert!(matches!(
        watched.keeper.desired().look_up(&key),
        Lookup::HeadUnknown { .. }
    ));
    Ok(())
}

#[tokio::test]
async fn a_status_cannot_put_a_commit_into_force_that_the_branch_does_not_lead_to() -> TestResult {
    let (origin, first) = Origin::with_policies(20)?;
    let state = tempfile::tempdir()?;
    let url = origin.file_url();
    // A commit that was refused, and is in the mirror since; the branch does not have it any more.
    let watched = start(state.path(), &url, &first, 20)?;
    watched.until_head(&first).await?;
    origin.git(&["rm", "-r", "--quiet", "policies"])?;
    origin.write("policies/evil.yaml", &policy("payments", "evil", 80))?;
    let evil = origin.commit_and_push("evil")?;
    watched.refreshed().await?;
    watched.until_refused(RefusalReason::TooManyRemovals).await?;
    origin.git(&["reset", "--quiet", "--hard", &first])?;
    origin.push()?;
    watched.refreshed().await?;
    watched.stop().await;
    for suspend in [false, true] {
        let forged = |source: &mut PolicySource| {
            source.spec.suspend = suspend;
            source.status = Some(recorded(&evil, 1));
        };
        let watched = Watched::start_with(state.path(), &url, Secrets::default(), TIMEOUT, forged)?;
        let report = watched
            .until("it was looked at", |report| report.attempt.is_some())
            .await?;
        assert_eq!(head_of(&report), None, "suspended: {suspend}");
        watched.stop().await;
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_has_only_the_tip_gives_no_head_to_a_replica_without_state_and_takes_none_away() -> TestResult {
    let (origin, first) = Origin::with_policies(20)?;
    let kept = tempfile::tempdir()?;
    let watched = start(kept.path(), &origin.file_url(), &first, 20)?;
    watched.until_head(&first).await?;
    origin.write("policies/more.yaml", &policy("payments", "more", 80))?;
    let second = origin.commit_and_push("more")?;
    // A mirror that somebody cloned with a depth of one, in place of the repository.
    let shallow = origin.root().join("shallow.git");
    let from = format!("file://{}", origin.bare().display());
    let clone = [
        "clone",
        "--quiet",
        "--bare",
        "--depth",
        "1",
        &from,
        &shallow.display().to_string(),
    ];
    origin.git(&clone)?;
    std::fs::rename(origin.bare(), origin.root().join("whole.git"))?;
    std::fs::rename(&shallow, origin.bare())?;

    // Nothing would say whether the tip descends from the recorded head.
    let state = tempfile::tempdir()?;
    let without = start(state.path(), &origin.file_url(), &first, 20)?;
    let report = without
        .until("it was looked at", |report| report.attempt.is_some())
        .await?;
    assert_eq!((head_of(&report), &report.refusal), (None, &None));
    assert!(
        without
            .refresh()
            .await
            .failure()
            .is_some_and(|why| why.contains("shallow"))
    );
    assert!(
        watched
            .refresh()
            .await
            .failure()
            .is_some_and(|why| why.contains("shallow"))
    );
    let report = watched.report();
    assert_eq!((head_of(&report), objects(&report)), (Some(first.as_str()), 20));
    // The whole repository is back.
    std::fs::rename(origin.bare(), origin.root().join("shallow-again.git"))?;
    std::fs::rename(origin.root().join("whole.git"), origin.bare())?;
    for replica in [&watched, &without] {
        asked_again(replica).await?;
        assert_eq!(objects(&replica.until_head(&second).await?), 21);
    }
    Ok(())
}

/// Asks for fetches until one succeeds: after a failure the next one takes its time.
async fn asked_again(replica: &Watched) -> TestResult {
    let asking = async {
        while replica.refresh().await.failure().is_some() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    Ok(tokio::time::timeout(TIMEOUT, asking).await?)
}

#[tokio::test]
async fn a_server_that_lacks_objects_takes_no_head_away() -> TestResult {
    let (origin, first) = Origin::with_policies(20)?;
    let watched = Watched::start(&origin.file_url(), |_| {})?;
    watched.until_head(&first).await?;
    origin.write("policies/p0.yaml", &policy("payments", "p0", 443))?;
    let second = origin.commit_and_push("another port")?;
    // The blob of the changed file is gone from the server.
    let blob = origin.git(&["rev-parse", "HEAD:policies/p0.yaml"])?;
    let (folder, file) = blob.split_at(2);
    let object = origin.bare().join("objects").join(folder).join(file);
    let text = std::fs::read(&object)?;
    std::fs::remove_file(&object)?;
    assert!(watched.refresh().await.failure().is_some());
    let report = watched.report();
    assert_eq!((head_of(&report), objects(&report)), (Some(first.as_str()), 20));
    std::fs::write(&object, text)?;
    asked_again(&watched).await?;
    watched.until_head(&second).await?;
    Ok(())
}

#[tokio::test]
async fn a_restart_without_the_repository_begins_with_the_recorded_head() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let state = tempfile::tempdir()?;
    let url = origin.file_url();
    let watched = start(state.path(), &url, &first, 3)?;
    watched.until_head(&first).await?;
    watched.stop().await;
    std::fs::rename(origin.bare(), origin.root().join("gone"))?;
    let watched = start(state.path(), &url, &first, 3)?;
    let report = watched
        .until("it was looked at", |report| report.attempt.is_some())
        .await?;
    assert_eq!((head_of(&report), objects(&report)), (Some(first.as_str()), 3));
    assert!(report.attempt.is_some_and(|attempt| attempt.outcome.is_err()));
    let desired = watched.keeper.desired();
    let source = desired.source("platform").ok_or("no source")?;
    assert_eq!(source.confirmed_at, None, "nothing confirmed it");
    Ok(())
}

#[tokio::test]
async fn a_restart_after_a_force_push_keeps_the_head_that_was_accepted_here() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let state = tempfile::tempdir()?;
    let watched = start(state.path(), &origin.file_url(), &first, 3)?;
    watched.until_head(&first).await?;
    origin.git(&["commit", "--quiet", "--amend", "--message", "rewritten"])?;
    origin.push()?;
    watched.refreshed().await?;
    watched.stop().await;
    let watched = start(state.path(), &origin.file_url(), &first, 3)?;
    let report = watched.until_refused(RefusalReason::HistoryRewritten).await?;
    assert_eq!((head_of(&report), objects(&report)), (Some(first.as_str()), 3));
    Ok(())
}

#[tokio::test]
async fn a_path_at_which_nothing_is_declared_gives_a_replica_without_state_no_head() -> TestResult {
    let (origin, _) = Origin::with_policies(3)?;
    origin.write("docs/README.md", "nothing to declare")?;
    let first = origin.commit_and_push("docs")?;
    origin.write("docs/README.md", "nothing to declare here")?;
    let second = origin.commit_and_push("more docs")?;
    for recorded_commit in [&first, &second] {
        let state = tempfile::tempdir()?;
        let misled = |source: &mut PolicySource| {
            source.spec.git.path = "docs".to_owned();
            source.status = Some(recorded(recorded_commit, 3));
        };
        let watched = Watched::start_with(state.path(), &origin.file_url(), Secrets::default(), TIMEOUT, misled)?;
        let report = watched.until_refused(RefusalReason::EmptyTree).await?;
        assert_eq!(head_of(&report), None);
    }
    Ok(())
}

/// A repository with twenty objects below `big`, and one of them below `small`; and a state folder of a process that
/// accepted what is below `big`, with the commit.
async fn left_below_big() -> TestResult<(Origin, tempfile::TempDir, String)> {
    let origin = Origin::new()?;
    for name in 0..20 {
        let text = policy("payments", &format!("p{name}"), 80);
        origin.write(&format!("big/p{name}.yaml"), &text)?;
    }
    origin.write("small/p0.yaml", &policy("payments", "p0", 80))?;
    let commit = origin.commit_and_push("Two folders")?;
    let state = tempfile::tempdir()?;
    let watched = Watched::start_with(
        state.path(),
        &origin.file_url(),
        Secrets::default(),
        TIMEOUT,
        |source| {
            "big".clone_into(&mut source.spec.git.path);
        },
    )?;
    assert_eq!(objects(&watched.until_head(&commit).await?), 20);
    watched.stop().await;
    Ok((origin, state, commit))
}

#[tokio::test]
async fn a_path_that_removes_too_much_is_refused_after_a_restart_too_and_so_are_patterns() -> TestResult {
    let (origin, state, commit) = left_below_big().await?;
    let url = origin.file_url();
    let elsewhere = |source: &mut PolicySource| source.spec.git.path = "small".to_owned();
    let fewer = |source: &mut PolicySource| {
        source.spec.git.path = "big".to_owned();
        source.spec.git.ignore = vec!["big/p1*".to_owned()];
    };
    let changes: [&dyn Fn(&mut PolicySource); 2] = [&elsewhere, &fewer];
    for change in changes {
        // Once more, so that what the first of them noted on disk is seen.
        for _ in 0..2 {
            let restarted = |source: &mut PolicySource| {
                change(source);
                source.status = Some(recorded(&commit, 20));
            };
            let watched = Watched::start_with(state.path(), &url, Secrets::default(), TIMEOUT, restarted)?;
            let report = watched.until_refused(RefusalReason::TooManyRemovals).await?;
            assert_eq!((head_of(&report), objects(&report)), (Some(commit.as_str()), 20));
            watched.stop().await;
        }
    }
    // Nor does it come into force while nobody can ask the repository, and the word that lifts the refusal still does.
    let moved = |source: &mut PolicySource| {
        elsewhere(source);
        source.status = Some(recorded(&commit, 20));
    };
    std::fs::rename(origin.bare(), origin.root().join("gone"))?;
    let mut watched = Watched::start_with(state.path(), &url, Secrets::default(), TIMEOUT, moved)?;
    let report = watched
        .until("it was looked at", |report| report.attempt.is_some())
        .await?;
    assert_eq!((head_of(&report), objects(&report)), (Some(commit.as_str()), 20));
    watched.change(|source| source.spec.accept = commit.clone());
    watched.until("it is accepted", |report| objects(report) == 1).await?;
    Ok(())
}

#[tokio::test]
async fn a_replica_that_missed_the_word_for_another_path_follows_what_the_status_counts() -> TestResult {
    let (origin, state, commit) = left_below_big().await?;
    let moved = |source: &mut PolicySource| {
        source.spec.git.path = "small".to_owned();
        source.status = Some(recorded(&commit, 1));
    };
    let watched = Watched::start_with(state.path(), &origin.file_url(), Secrets::default(), TIMEOUT, moved)?;
    let report = watched
        .until("it was looked at", |report| report.attempt.is_some())
        .await?;
    assert_eq!((&report.refusal, objects(&report)), (&None, 1));
    Ok(())
}

#[tokio::test]
async fn a_suspended_source_gets_the_head_it_has_and_no_other() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    origin.write("policies/more.yaml", &policy("payments", "more", 80))?;
    let second = origin.commit_and_push("more")?;
    let state = tempfile::tempdir()?;
    let suspended = |source: &mut PolicySource| {
        source.spec.suspend = true;
        source.status = Some(recorded(&first, 3));
    };
    let mut watched = Watched::start_with(state.path(), &origin.file_url(), Secrets::default(), TIMEOUT, suspended)?;
    watched.until_head(&first).await?;
    assert!(
        watched
            .refresh()
            .await
            .failure()
            .is_some_and(|why| why.contains("suspended"))
    );
    watched.change(|source| source.spec.suspend = false);
    watched.until_head(&second).await?;
    Ok(())
}

#[tokio::test]
async fn a_damaged_mirror_is_cloned_anew() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let state = tempfile::tempdir()?;
    let watched = start(state.path(), &origin.file_url(), &first, 3)?;
    watched.until_head(&first).await?;
    watched.stop().await;
    damage(state.path())?;
    let watched = start(state.path(), &origin.file_url(), &first, 3)?;
    watched.until_head(&first).await?;
    Ok(())
}

/// Overwrites every pack.
fn damage(folder: &Path) -> TestResult {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            damage(&path)?;
        } else if path.extension().is_some_and(|end| end == "pack") {
            std::fs::remove_file(&path)?;
            std::fs::write(&path, "damaged")?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn readiness_waits_for_every_source() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let watched = Watched::start(&origin.file_url(), |_| ())?;
    assert!(!watched.keeper.settled());
    watched.until_head(&first).await?;
    watched
        .until("it was looked at", |report| report.attempt.is_some())
        .await?;
    assert!(watched.keeper.settled());
    let mut lost = watched.source.clone();
    lost.metadata.name = Some("lost".to_owned());
    lost.spec.git.url = "file:///nowhere/at/all.git".to_owned();
    watched.keeper.set_sources(vec![watched.source.clone(), lost]);
    assert!(!watched.keeper.settled());
    let mut reports = watched.keeper.reports();
    let looked_at = reports.wait_for(|reports| reports.get("lost").is_some_and(|lost| lost.attempt.is_some()));
    drop(tokio::time::timeout(TIMEOUT, looked_at).await??);
    assert!(watched.keeper.settled());
    Ok(())
}
