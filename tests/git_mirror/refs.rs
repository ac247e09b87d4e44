//! Branches, tags and pins, and what becomes of them.

use headgate::source::keeper::RefusalReason;
use headgate::source::resource::GitRef;

use crate::git_support::{Origin, TestResult, Watched, head_of, policy};

#[tokio::test]
async fn a_pin_rolls_back_and_unpinning_goes_on_from_the_furthest_head() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    origin.write("policies/more.yaml", &policy("payments", "more", 80))?;
    let second = origin.commit_and_push("more")?;
    let mut watched = Watched::start(&origin.file_url(), |_| ())?;
    watched.until_head(&second).await?;
    watched.change(|source| source.spec.git.r#ref.commit = Some(first.clone()));
    let report = watched.until_head(&first).await?;
    assert_eq!(report.highest_head.as_deref(), Some(second.as_str()));
    // While it is pinned, the branch is rewritten to before its furthest head.
    origin.git(&["reset", "--quiet", "--hard", &first])?;
    let rewritten = origin.commit_and_push("another second")?;
    assert_eq!(head_of(&watched.refreshed().await?), Some(first.as_str()));
    watched.change(|source| source.spec.git.r#ref.commit = None);
    let report = watched.until_refused(RefusalReason::HistoryRewritten).await?;
    assert_eq!(head_of(&report), Some(first.as_str()));
    assert_eq!(report.refusal.map(|refusal| refusal.commit), Some(rewritten));
    // The furthest head is back, with a commit on top.
    origin.git(&["reset", "--quiet", "--hard", &second])?;
    let third = origin.commit_and_push("third")?;
    assert_eq!(head_of(&watched.refreshed().await?), Some(third.as_str()));
    Ok(())
}

#[tokio::test]
async fn a_pin_that_is_not_on_the_branch_is_refused() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    origin.git(&["checkout", "--quiet", "-b", "other"])?;
    let elsewhere = origin.commit("elsewhere")?;
    origin.git(&["push", "--quiet", "origin", "other"])?;
    let mut watched = Watched::start(&origin.file_url(), |_| ())?;
    watched.until_head(&first).await?;
    watched.change(|source| source.spec.git.r#ref.commit = Some(elsewhere.clone()));
    let report = watched.until_refused(RefusalReason::NotFound).await?;
    assert_eq!(head_of(&report), Some(first.as_str()));
    Ok(())
}

#[tokio::test]
async fn a_tag_is_followed_to_its_commit() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    origin.git(&["tag", "--annotate", "--message", "one", "v1"])?;
    origin.git(&["push", "--quiet", "origin", "v1"])?;
    let mut watched = Watched::start(&origin.file_url(), |source| {
        source.spec.git.r#ref = GitRef {
            branch: None,
            tag: Some("v1".to_owned()),
            commit: None,
        };
    })?;
    watched.until_head(&first).await?;
    origin.write("policies/more.yaml", &policy("payments", "more", 80))?;
    let second = origin.commit_and_push("more")?;
    // Another ref of the same history is followed without a word.
    watched.change(|source| source.spec.git.r#ref = GitRef::default());
    watched.until_head(&second).await?;
    Ok(())
}

#[tokio::test]
async fn a_branch_that_is_gone_keeps_the_old_head() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let watched = Watched::start(&origin.file_url(), |_| ())?;
    watched.until_head(&first).await?;
    origin.git(&["push", "--quiet", "origin", "HEAD:refs/heads/other"])?;
    origin.bare_git(&["update-ref", "-d", "refs/heads/main"])?;
    let report = watched.refreshed().await?;
    assert_eq!(head_of(&report), Some(first.as_str()));
    assert_eq!(
        report.refusal.map(|refusal| refusal.reason),
        Some(RefusalReason::NotFound)
    );
    Ok(())
}

#[tokio::test]
async fn a_force_push_keeps_the_old_head_until_it_is_allowed() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    origin.write("policies/more.yaml", &policy("payments", "more", 80))?;
    let second = origin.commit_and_push("more")?;
    let mut watched = Watched::start(&origin.file_url(), |_| ())?;
    watched.until_head(&second).await?;
    origin.git(&["reset", "--quiet", "--hard", &first])?;
    let rewritten = origin.commit_and_push("another second")?;
    let report = watched.refreshed().await?;
    assert_eq!(head_of(&report), Some(second.as_str()));
    let refusal = report.refusal.ok_or("accepted")?;
    assert_eq!(
        (refusal.reason, &refusal.commit),
        (RefusalReason::HistoryRewritten, &rewritten)
    );
    watched.change(|source| source.spec.allow_rewind = true);
    let report = watched.until_head(&rewritten).await?;
    assert_eq!(report.highest_head, Some(rewritten));
    Ok(())
}
