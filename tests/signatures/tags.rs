//! Annotated tags.

use headgate::source::PolicySource;
use headgate::source::keeper::{RefusalReason, SignatureFault};
use headgate::source::resource::{GitRef, VerifyMode};

use crate::chain::ada;
use crate::git_support::{TestResult, head_of};
use crate::keys::Signing;
use crate::workshop::{Workshop, fault};

fn follow(source: &mut PolicySource) {
    source.spec.git.r#ref = GitRef {
        branch: None,
        tag: Some("v1".to_owned()),
        commit: None,
    };
}

/// Makes a tag of what is checked out, and publishes it. Signed where a way to sign is given.
fn tag(workshop: &Workshop, name: &str, signing: Option<&Signing>) -> TestResult {
    let mut arguments = signing.map(Signing::git_options).unwrap_or_default();
    let sign = if signing.is_some() { "--sign" } else { "--no-sign" };
    arguments.extend(["tag", "--force", "--annotate", sign, "--message", "tag", name].map(str::to_owned));
    workshop.git(&arguments)?;
    workshop
        .origin
        .git(&["push", "--quiet", "--force", "origin", &format!("refs/tags/{name}")])?;
    Ok(())
}

#[tokio::test]
async fn an_annotated_tag_has_to_be_signed_itself_and_speaks_for_its_commit() -> TestResult {
    let (_keys, secrets, signing) = ada()?;
    let workshop = Workshop::new()?;
    let commit = workshop.unsigned_commit()?;
    tag(&workshop, "v1", Some(&signing))?;
    let mut verify = signing.git_options();
    verify.extend(["verify-tag", "v1"].map(str::to_owned));
    workshop.git(&verify)?;
    let state = tempfile::tempdir()?;
    let watched = workshop.watch_in(state.path(), &secrets, VerifyMode::Head, follow)?;
    watched.until_head(&commit).await?;
    watched.stop().await;

    let signed = workshop.commit(&signing)?;
    tag(&workshop, "v1", None)?;
    assert!(workshop.git(&verify).is_err());
    let state = tempfile::tempdir()?;
    let watched = workshop.watch_in(state.path(), &secrets, VerifyMode::Head, follow)?;
    watched
        .until_refused(RefusalReason::NotVerified(SignatureFault::Unsigned))
        .await?;
    // Signed anew, at the same commit.
    tag(&workshop, "v1", Some(&signing))?;
    watched.refreshed().await?;
    watched.until_head(&signed).await?;
    Ok(())
}

#[tokio::test]
async fn a_signed_tag_under_another_name_speaks_for_nothing() -> TestResult {
    let (_keys, secrets, signing) = ada()?;
    let workshop = Workshop::new()?;
    workshop.unsigned_commit()?;
    tag(&workshop, "v0", Some(&signing))?;
    workshop
        .origin
        .bare_git(&["update-ref", "refs/tags/v1", "refs/tags/v0"])?;
    let state = tempfile::tempdir()?;
    let watched = workshop.watch_in(state.path(), &secrets, VerifyMode::Head, follow)?;
    watched
        .until_refused(RefusalReason::NotVerified(SignatureFault::WrongTag))
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_moved_tag_is_a_rewind_however_well_it_is_signed() -> TestResult {
    let (_keys, secrets, signing) = ada()?;
    let workshop = Workshop::new()?;
    let first = workshop.unsigned_commit()?;
    let second = workshop.unsigned_commit()?;
    tag(&workshop, "v1", Some(&signing))?;
    let state = tempfile::tempdir()?;
    let mut watched = workshop.watch_in(state.path(), &secrets, VerifyMode::Head, follow)?;
    watched.until_head(&second).await?;
    workshop.origin.git(&["reset", "--quiet", "--hard", &first])?;
    tag(&workshop, "v1", Some(&signing))?;
    let report = watched.refreshed().await?;
    let refused = report.refusal.as_ref().map(|refusal| refusal.reason);
    assert_eq!(
        (head_of(&report), refused),
        (Some(second.as_str()), Some(RefusalReason::HistoryRewritten))
    );
    // The tag that spoke for the head has moved on; the head is verified all the same.
    let signed = matches!(
        report.verification,
        headgate::source::keeper::Verification::Signed { .. }
    );
    assert!(signed && fault(&report).is_none(), "{:?}", report.verification);
    watched.change(|source| source.spec.allow_rewind = true);
    watched.until_head(&first).await?;
    Ok(())
}
