//! Keys that change, and replicas that start.

use headgate::source::keeper::{RefusalReason, SignatureFault, Verification};
use headgate::source::resource::{HeadStatus, VerifyMode, WhenUnverified};
use headgate::source::{Lookup, PolicySource, PolicySourceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::chain::ada;
use crate::git_support::{Secrets, TestResult, Watched, head_of};
use crate::keys::SshKeys;
use crate::workshop::{SIGNERS, Workshop, fault};

fn record(source: &mut PolicySource, commit: &str, verified_at: Option<&str>) {
    let verified_at = verified_at.and_then(|at| Some(Time(at.parse().ok()?)));
    source.status = Some(PolicySourceStatus {
        head: Some(HeadStatus {
            commit: commit.to_owned(),
            objects: 1,
            verified_at,
            ..HeadStatus::default()
        }),
        ..PolicySourceStatus::default()
    });
}

/// Whether what the source decides is refused.
fn refuses(watched: &Watched) -> TestResult<bool> {
    let desired = watched.keeper.desired();
    let key = "networkpolicy.networking.k8s.io/payments/a".parse()?;
    match desired.look_up(&key) {
        Lookup::Declared(declared) => Ok(declared.source.refuses_as_unverified()),
        _ => Err("not declared".into()),
    }
}

#[tokio::test]
async fn a_key_that_is_removed_leaves_the_head_in_force_or_takes_it_out_as_the_source_says() -> TestResult {
    let (keys, secrets, signing) = ada()?;
    let bob = keys.make("bob", "ed25519", "")?;
    let workshop = Workshop::new()?;
    let commit = workshop.commit(&signing)?;
    let (_state, mut watched) = workshop.watch(&secrets, VerifyMode::Head)?;
    watched.until_head(&commit).await?;
    assert!(!refuses(&watched)?);
    let allowed = format!("bob {bob}\n");
    secrets.put(SIGNERS, &[("allowed_signers", allowed.as_bytes())]);
    let report = watched.refreshed().await?;
    let is_unknown = |verification: &Verification, expected: bool| matches!(verification, Verification::Failed { fault: SignatureFault::UnknownKey, kept, .. } if *kept == expected);
    assert!(is_unknown(&report.verification, true), "{:?}", report.verification);
    assert_eq!(head_of(&report), Some(commit.as_str()));
    assert_eq!(report.refusal, None);
    assert!(!refuses(&watched)?, "Keep");
    watched.change(|source| source.spec.verify.when_unverified = WhenUnverified::Deny);
    watched
        .until("it is taken out", |report| is_unknown(&report.verification, false))
        .await?;
    assert!(refuses(&watched)?, "Deny");
    // A commit by a key of the new list is taken.
    let next = workshop.commit(&keys.signing("bob", &allowed)?)?;
    watched.refreshed().await?;
    watched.until_head(&next).await?;
    assert!(!refuses(&watched)?);
    Ok(())
}

#[tokio::test]
async fn a_list_that_is_gone_lets_nothing_new_in_and_leaves_the_head_alone() -> TestResult {
    let (_keys, secrets, signing) = ada()?;
    let workshop = Workshop::new()?;
    let first = workshop.commit(&signing)?;
    let state = tempfile::tempdir()?;
    let watched = workshop.watch_in(state.path(), &secrets, VerifyMode::Head, |source| {
        source.spec.verify.when_unverified = WhenUnverified::Deny;
    })?;
    watched.until_head(&first).await?;
    secrets.remove(SIGNERS);
    workshop.commit(&signing)?;
    let report = watched.refreshed().await?;
    assert_eq!(
        (head_of(&report), fault(&report)),
        (Some(first.as_str()), Some(SignatureFault::KeysUnavailable))
    );
    assert!(!refuses(&watched)?);
    Ok(())
}

#[tokio::test]
async fn a_replica_without_state_verifies_the_recorded_head_by_itself() -> TestResult {
    let (_keys, secrets, signing) = ada()?;
    let workshop = Workshop::new()?;
    let unsigned = workshop.unsigned_commit()?;
    let state = tempfile::tempdir()?;
    let watched = workshop.watch_in(state.path(), &secrets, VerifyMode::Head, |source| {
        record(source, &unsigned, None);
    })?;
    let report = watched
        .until_refused(RefusalReason::NotVerified(SignatureFault::Unsigned))
        .await?;
    assert!(report.head.is_none(), "the status permits nothing");
    // What is signed on top of it is taken.
    let signed = workshop.commit(&signing)?;
    watched.refreshed().await?;
    watched.until_head(&signed).await?;
    Ok(())
}

#[tokio::test]
async fn a_chain_does_not_begin_with_a_recorded_head_that_is_not_signed() -> TestResult {
    let (_keys, secrets, signing) = ada()?;
    let workshop = Workshop::new()?;
    workshop.commit(&signing)?;
    let unsigned = workshop.unsigned_commit()?;
    workshop.commit(&signing)?;
    let state = tempfile::tempdir()?;
    let watched = workshop.watch_in(state.path(), &secrets, VerifyMode::All, |source| {
        record(source, &unsigned, None);
    })?;
    let report = watched
        .until_refused(RefusalReason::NotVerified(SignatureFault::Unsigned))
        .await?;
    assert!(report.head.is_none());
    Ok(())
}

#[tokio::test]
async fn validity_is_judged_as_of_the_first_acceptance_on_every_replica() -> TestResult {
    let keys = SshKeys::new()?;
    let allowed = format!("ada valid-before=\"20250101Z\" {}\n", keys.make("ada", "ed25519", "")?);
    let secrets = Secrets::of(SIGNERS, &[("allowed_signers", allowed.as_bytes())]);
    let workshop = Workshop::new()?;
    let commit = workshop.commit(&keys.signing("ada", &allowed)?)?;
    let expired = RefusalReason::NotVerified(SignatureFault::KeyExpired);
    for (verified_at, is_accepted) in [
        (Some("2024-06-01T00:00:00Z"), true),
        (Some("2025-06-01T00:00:00Z"), false),
        (None, false),
    ] {
        let state = tempfile::tempdir()?;
        let change = |source: &mut PolicySource| record(source, &commit, verified_at);
        let watched = workshop.watch_in(state.path(), &secrets, VerifyMode::Head, change)?;
        if is_accepted {
            let report = watched.until_head(&commit).await?;
            assert_eq!(report.verified_at, Some("2024-06-01T00:00:00Z".parse()?));
        } else {
            watched.until_refused(expired).await?;
        }
        watched.stop().await;
    }
    Ok(())
}

#[tokio::test]
async fn a_pin_goes_back_to_what_a_key_signed_that_has_expired_since() -> TestResult {
    let keys = SshKeys::new()?;
    let (old, new) = (keys.make("old", "ed25519", "")?, keys.make("new", "ed25519", "")?);
    let allowed = format!("old valid-before=\"20250101Z\" {old}\nnew {new}\n");
    let secrets = Secrets::of(SIGNERS, &[("allowed_signers", allowed.as_bytes())]);
    let workshop = Workshop::new()?;
    let first = workshop.commit(&keys.signing("old", &allowed)?)?;
    let raw = workshop.raw(&first)?;
    // Committed while the key held.
    let (header, message) = crate::workshop::unsigned(&raw)?;
    let dated = header
        .lines()
        .map(|line| match line.strip_prefix("committer ") {
            Some(who) => format!(
                "committer {}> 1717200000 +0000\n",
                who.split('>').next().unwrap_or_default()
            ),
            None => format!("{line}\n"),
        })
        .collect::<String>();
    let signature = keys.sign_for("old", "git", &format!("{dated}\n{message}"))?;
    let dated = format!(
        "{dated}gpgsig {}\n\n{message}",
        signature.trim_end().replace('\n', "\n ")
    );
    let first = workshop.forge(dated.as_bytes())?;
    assert!(workshop.git_verifies(&first, &keys.signing("old", &allowed)?));
    // New, it is judged as of today.
    let judged = workshop.judge(&first, &secrets, VerifyMode::Head).await?;
    assert_eq!(judged, Some(SignatureFault::KeyExpired));
    let second = workshop.commit(&keys.signing("new", &allowed)?)?;
    let (_state, mut watched) = workshop.watch(&secrets, VerifyMode::Head)?;
    watched.until_head(&second).await?;
    watched.change(|source| source.spec.git.r#ref.commit = Some(first.clone()));
    watched.until_head(&first).await?;
    Ok(())
}

#[tokio::test]
async fn a_restart_keeps_what_it_accepted_itself_though_its_key_is_gone() -> TestResult {
    let (keys, secrets, signing) = ada()?;
    let bob = keys.make("bob", "ed25519", "")?;
    let workshop = Workshop::new()?;
    let commit = workshop.commit(&signing)?;
    let state = tempfile::tempdir()?;
    let watched = workshop.watch_in(state.path(), &secrets, VerifyMode::Head, |_| ())?;
    watched.until_head(&commit).await?;
    watched.stop().await;
    secrets.put(SIGNERS, &[("allowed_signers", format!("bob {bob}\n").as_bytes())]);
    let change = |source: &mut PolicySource| record(source, &commit, None);
    let watched = workshop.watch_in(state.path(), &secrets, VerifyMode::Head, change)?;
    let report = watched.until_head(&commit).await?;
    assert!(matches!(report.verification, Verification::Failed { .. }));
    watched.stop().await;
    // With nothing on disk there is only the status, and that permits nothing.
    let empty = tempfile::tempdir()?;
    let watched = workshop.watch_in(empty.path(), &secrets, VerifyMode::Head, change)?;
    let report = watched
        .until_refused(RefusalReason::NotVerified(SignatureFault::UnknownKey))
        .await?;
    assert!(report.head.is_none());
    Ok(())
}
