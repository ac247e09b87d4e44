//! Every new commit, on all sides of a merge.

use headgate::source::keeper::{RefusalReason, SignatureFault};
use headgate::source::resource::VerifyMode;

use crate::git_support::{Secrets, TestResult, head_of};
use crate::keys::{Signing, SshKeys};
use crate::workshop::{SIGNERS, Workshop, fault};

/// A key, the list with it alone, and how to sign with it.
pub(crate) fn ada() -> TestResult<(SshKeys, Secrets, Signing)> {
    let keys = SshKeys::new()?;
    let allowed = format!("ada {}\n", keys.make("ada", "ed25519", "")?);
    let secrets = Secrets::of(SIGNERS, &[("allowed_signers", allowed.as_bytes())]);
    let signing = keys.signing("ada", &allowed)?;
    Ok((keys, secrets, signing))
}

/// Merges a branch with one commit into the one checked out, and signs the merge.
fn merge(workshop: &Workshop, side: &Signing, is_side_signed: bool, signing: &Signing) -> TestResult<String> {
    workshop.origin.git(&["checkout", "--quiet", "-b", "side"])?;
    let mut commit = side.git_options();
    let sign = if is_side_signed { "--gpg-sign" } else { "--no-gpg-sign" };
    commit.extend(["commit", "--quiet", "--allow-empty", sign, "-m", "side"].map(str::to_owned));
    workshop.git(&commit)?;
    workshop.origin.git(&["checkout", "--quiet", "main"])?;
    let mut arguments = signing.git_options();
    arguments.extend(["merge", "--quiet", "--no-ff", "--gpg-sign", "-m", "merge", "side"].map(str::to_owned));
    workshop.git(&arguments)?;
    workshop.origin.git(&["branch", "--quiet", "-D", "side"])?;
    workshop.publish()
}

#[tokio::test]
async fn a_merge_brings_in_no_unsigned_commit_where_all_have_to_be_signed() -> TestResult {
    let (_keys, secrets, signing) = ada()?;
    let workshop = Workshop::new()?;
    let first = workshop.commit(&signing)?;
    let (_all_state, all) = workshop.watch(&secrets, VerifyMode::All)?;
    let (_head_state, head) = workshop.watch(&secrets, VerifyMode::Head)?;
    all.until_head(&first).await?;
    head.until_head(&first).await?;
    let good = merge(&workshop, &signing, true, &signing)?;
    all.refreshed().await?;
    all.until_head(&good).await?;
    let merged = merge(&workshop, &signing, false, &signing)?;
    head.refreshed().await?;
    head.until_head(&merged).await?;
    let report = all.refreshed().await?;
    assert_eq!(
        (head_of(&report), fault(&report)),
        (Some(good.as_str()), Some(SignatureFault::Unsigned))
    );
    // Nothing on top of it helps: it stays among what is new.
    workshop.commit(&signing)?;
    assert_eq!(fault(&all.refreshed().await?), Some(SignatureFault::Unsigned));
    Ok(())
}

#[tokio::test]
async fn a_chain_begins_where_the_source_says() -> TestResult {
    let (_keys, secrets, signing) = ada()?;
    let workshop = Workshop::new()?;
    let old = workshop.unsigned_commit()?;
    let tip = workshop.commit(&signing)?;
    assert_eq!(workshop.judge(&tip, &secrets, VerifyMode::Head).await?, None);
    assert_eq!(
        workshop.judge(&tip, &secrets, VerifyMode::All).await?,
        Some(SignatureFault::Unsigned)
    );
    let state = tempfile::tempdir()?;
    let mut watched = workshop.watch_in(state.path(), &secrets, VerifyMode::All, |source| {
        source.spec.verify.from = Some("1".repeat(40));
    })?;
    let report = watched
        .until_refused(RefusalReason::NotVerified(SignatureFault::WrongStart))
        .await?;
    assert!(report.head.is_none());
    watched.change(|source| source.spec.verify.from = Some(old.clone()));
    watched.until_head(&tip).await?;
    workshop.unsigned_commit()?;
    assert_eq!(fault(&watched.refreshed().await?), Some(SignatureFault::Unsigned));
    Ok(())
}

#[tokio::test]
async fn what_is_not_signed_keeps_the_old_head_and_the_next_signed_commit_is_taken() -> TestResult {
    let (_keys, secrets, signing) = ada()?;
    let workshop = Workshop::new()?;
    let first = workshop.commit(&signing)?;
    let (_state, watched) = workshop.watch(&secrets, VerifyMode::Head)?;
    watched.until_head(&first).await?;
    let unsigned = workshop.unsigned_commit()?;
    let report = watched.refreshed().await?;
    assert_eq!(
        (head_of(&report), fault(&report)),
        (Some(first.as_str()), Some(SignatureFault::Unsigned))
    );
    let message = report.refusal.map(|refusal| refusal.message).unwrap_or_default();
    assert_eq!(message, format!("commit {}: it is not signed", &unsigned[..7]));
    let good = workshop.commit(&signing)?;
    watched.refreshed().await?;
    watched.until_head(&good).await?;
    Ok(())
}
