//! History that was rewritten, as a real Git server serves it: refused by who has the head and by who has nothing, with both
//! commits and the way to accept it; and the ways back that are none.

mod git_support;

use std::path::Path;
use std::time::Duration;

use git_support::http::serve;
use git_support::{Origin, Secrets, TestResult, Watched, head_of, objects, policy};
use headgate::source::PolicySource;
use headgate::source::keeper::{Refusal, RefusalReason};
use headgate::source::resource::{GitRef, HeadStatus, PolicySourceStatus};

const TIMEOUT: Duration = Duration::from_secs(30);

/// What the leader wrote of its head.
fn record(source: &mut PolicySource, commit: &str) {
    source.status = Some(PolicySourceStatus {
        head: Some(HeadStatus {
            commit: commit.to_owned(),
            objects: 3,
            ..HeadStatus::default()
        }),
        highest_head: commit.to_owned(),
        ..PolicySourceStatus::default()
    });
}

fn follow_tag(source: &mut PolicySource) {
    source.spec.git.r#ref = GitRef {
        branch: None,
        tag: Some("prod".to_owned()),
        commit: None,
    };
}

/// A replica that has nothing on disk but knows the recorded head.
fn replica(state: &Path, url: &str, head: &str, is_tag: bool) -> TestResult<Watched> {
    Watched::start_with(state, url, Secrets::default(), TIMEOUT, |source| {
        record(source, head);
        if is_tag {
            follow_tag(source);
        }
    })
}

fn says_what_to_do(refusal: &Refusal, old: &str, new: &str) {
    assert_eq!(refusal.reason, RefusalReason::HistoryRewritten);
    let message = &refusal.message;
    for commit in [old, new] {
        let short: String = commit.chars().take(7).collect();
        assert!(message.contains(&short), "{short} is not in: {message}");
    }
    assert!(message.contains("spec.allowRewind"), "{message}");
}

/// Two commits, of which the second is in force, and a branch and a tag at it.
fn history() -> TestResult<(Origin, String, String)> {
    let (origin, first) = Origin::with_policies(3)?;
    origin.write("policies/p0.yaml", &policy("payments", "p0", 81))?;
    let second = origin.commit_and_push("another port")?;
    origin.git(&["tag", "prod"])?;
    origin.git(&["push", "--quiet", "origin", "prod"])?;
    Ok((origin, first, second))
}

#[tokio::test]
async fn a_branch_moved_back_or_beside_and_a_moved_tag_are_refused_with_both_commits_by_every_replica() -> TestResult {
    for (what, is_tag) in [("back", false), ("beside", false), ("back", true), ("beside", true)] {
        let (origin, first, second) = history()?;
        let server = serve(&origin).await?;
        let state = tempfile::tempdir()?;
        let mut leader = Watched::start_with(state.path(), &server.url, Secrets::default(), TIMEOUT, |source| {
            if is_tag {
                follow_tag(source);
            }
        })?;
        leader.until_head(&second).await?;
        origin.git(&["reset", "--quiet", "--hard", &first])?;
        let moved = if what == "back" {
            first.clone()
        } else {
            origin.write("policies/p1.yaml", &policy("payments", "p1", 82))?;
            origin.commit("beside")?
        };
        origin.push()?;
        origin.git(&[
            "push",
            "--quiet",
            "--force",
            "origin",
            &format!("{moved}:refs/tags/prod"),
        ])?;
        let report = leader.refreshed().await?;
        assert_eq!(head_of(&report), Some(second.as_str()), "{what}");
        says_what_to_do(&report.refusal.ok_or("accepted")?, &second, &moved);

        let empty = tempfile::tempdir()?;
        let mut other = replica(empty.path(), &server.url, &second, is_tag)?;
        let report = other.until_refused(RefusalReason::HistoryRewritten).await?;
        assert_eq!(head_of(&report), None, "{what}");
        says_what_to_do(&report.refusal.ok_or("accepted")?, &second, &moved);

        for replica in [&mut leader, &mut other] {
            replica.change(|source| source.spec.allow_rewind = true);
            replica.until_head(&moved).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_revert_and_a_pin_lead_back_without_a_word_and_so_does_a_replica_without_state() -> TestResult {
    let (origin, first, second) = history()?;
    let server = serve(&origin).await?;
    let mut leader = Watched::start(&server.url, |_| ())?;
    leader.until_head(&second).await?;
    leader.change(|source| source.spec.git.r#ref.commit = Some(first.clone()));
    leader.until_head(&first).await?;
    let empty = tempfile::tempdir()?;
    let pinned = Watched::start_with(empty.path(), &server.url, Secrets::default(), TIMEOUT, |source| {
        record(source, &first);
        if let Some(status) = &mut source.status {
            status.highest_head.clone_from(&second);
        }
        source.spec.git.r#ref.commit = Some(first.clone());
    })?;
    pinned.until_head(&first).await?;
    leader.change(|source| source.spec.git.r#ref.commit = None);
    leader.until_head(&second).await?;
    origin.git(&["revert", "--no-edit", &second])?;
    let reverted = origin.git(&["rev-parse", "HEAD"])?;
    origin.push()?;
    leader.refreshed().await?;
    let report = leader.until_head(&reverted).await?;
    assert_eq!(report.refusal, None);
    let empty = tempfile::tempdir()?;
    let other = replica(empty.path(), &server.url, &second, false)?;
    other.until_head(&reverted).await?;
    Ok(())
}

#[tokio::test]
async fn another_repository_with_as_many_other_objects_removes_all_the_old_ones() -> TestResult {
    let (origin, first) = Origin::with_policies(20)?;
    let mut watched = Watched::start(&origin.file_url(), |_| ())?;
    watched.until_head(&first).await?;
    let other = Origin::new()?;
    for number in 0..20 {
        let name = format!("q{number}");
        other.write(&format!("policies/{name}.yaml"), &policy("payments", &name, 80))?;
    }
    let theirs = other.commit_and_push("Others")?;
    watched.change(|source| {
        source.spec.git.url = other.file_url();
        source.spec.allow_rewind = true;
    });
    let report = watched.until_refused(RefusalReason::TooManyRemovals).await?;
    assert_eq!((head_of(&report), objects(&report)), (Some(first.as_str()), 20));
    let message = report.refusal.map(|refusal| refusal.message).unwrap_or_default();
    assert!(message.contains("removes 20 of 20 objects"), "{message}");
    watched.change(|source| source.spec.accept = theirs.clone());
    watched.until_head(&theirs).await?;
    Ok(())
}
