//! `OpenPGP` signatures.

use headgate::source::keeper::SignatureFault;
use headgate::source::resource::VerifyMode;

use crate::git_support::{Secrets, TestResult};
use crate::keys::Gpg;
use crate::workshop::{SIGNERS, Workshop};

/// When keys of the past are made.
const THEN: &str = "20240101T000000";

fn holding(certificates: &[&str]) -> Secrets {
    let all = certificates.join("\n");
    Secrets::of(SIGNERS, &[("team.asc", all.as_bytes())])
}

/// Signs a commit at a time with further options of gpg's; what git says of it, and the repository.
fn signed(gpg: &Gpg, key: &str, time: &str, options: &str) -> TestResult<(Workshop, String, bool)> {
    let workshop = Workshop::new()?;
    let faked = if time.is_empty() {
        String::new()
    } else {
        format!("--faked-system-time {time}")
    };
    let commit = workshop.commit(&gpg.signing(key, &format!("{faked} {options}"))?)?;
    let git = workshop.git_verifies(&commit, &gpg.signing(key, "")?);
    Ok((workshop, commit, git))
}

#[tokio::test]
async fn what_a_key_of_a_certificate_signed_is_accepted_as_git_accepts_it() -> TestResult {
    let gpg = Gpg::new()?;
    let rsa = gpg.make_at("", "Rita <rita@example.com>", "rsa2048", "sign,cert", "0")?;
    let ed = gpg.make_at("", "Ed <ed@example.com>", "ed25519", "cert", "1y")?;
    gpg.run_at("", &["--quick-add-key", &ed, "ed25519", "sign", "1y"], "")?;
    let both = [gpg.export(&rsa)?, gpg.export(&ed)?];
    let secrets = holding(&[&both[0], &both[1]]);
    for key in [&rsa, &ed] {
        let (workshop, commit, git) = signed(&gpg, key, "", "")?;
        assert!(git);
        assert_eq!(workshop.judge(&commit, &secrets, VerifyMode::Head).await?, None);
        let (_state, watched) = workshop.watch(&secrets, VerifyMode::Head)?;
        let report = watched.until_head(&commit).await?;
        let said = format!("{:?}", report.verification);
        assert!(said.contains("@example.com>"), "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn an_expired_key_a_revoked_one_and_an_unknown_one_have_their_own_reasons() -> TestResult {
    use SignatureFault::{KeyExpired, KeyRevoked, UnknownKey};
    let gpg = Gpg::new()?;
    let short = gpg.make_at(THEN, "Short <short@example.com>", "ed25519", "sign,cert", "1y")?;
    let (workshop, commit, git) = signed(&gpg, &short, "20240601T000000", "")?;
    assert!(!git);
    let secrets = holding(&[&gpg.export(&short)?]);
    assert_eq!(
        workshop.judge(&commit, &secrets, VerifyMode::Head).await?,
        Some(KeyExpired)
    );

    let lost = gpg.make_at("", "Lost <lost@example.com>", "ed25519", "sign,cert", "0")?;
    let (workshop, commit, git) = signed(&gpg, &lost, "", "")?;
    assert!(git);
    let before = gpg.export(&lost)?;
    assert_eq!(
        workshop.judge(&commit, &secrets, VerifyMode::Head).await?,
        Some(UnknownKey)
    );
    gpg.revoke(&lost)?;
    let after = gpg.export(&lost)?;
    assert!(!workshop.git_verifies(&commit, &gpg.signing(&lost, "")?));
    assert_eq!(
        workshop.judge(&commit, &holding(&[&before]), VerifyMode::Head).await?,
        None
    );
    assert_eq!(
        workshop.judge(&commit, &holding(&[&after]), VerifyMode::Head).await?,
        Some(KeyRevoked)
    );
    // An older copy of the certificate beside it takes nothing back.
    assert_eq!(
        workshop
            .judge(&commit, &holding(&[&before, &after]), VerifyMode::Head)
            .await?,
        Some(KeyRevoked)
    );
    Ok(())
}

#[tokio::test]
async fn a_revoked_or_expired_subkey_does_not_sign_while_its_primary_key_lives() -> TestResult {
    use SignatureFault::{KeyExpired, KeyRevoked};
    let gpg = Gpg::new()?;
    let key = gpg.make_at(THEN, "Sub <sub@example.com>", "ed25519", "cert", "0")?;
    gpg.run_at(THEN, &["--quick-add-key", &key, "ed25519", "sign", "1y"], "")?;
    let (workshop, commit, git) = signed(&gpg, &key, "20240601T000000", "")?;
    assert!(!git);
    let secrets = holding(&[&gpg.export(&key)?]);
    assert_eq!(
        workshop.judge(&commit, &secrets, VerifyMode::Head).await?,
        Some(KeyExpired)
    );
    let commands = "key 1\nrevkey\ny\n0\n\ny\nsave\n";
    gpg.run_at("", &["--command-fd", "0", "--edit-key", &key], commands)?;
    let secrets = holding(&[&gpg.export(&key)?]);
    assert_eq!(
        workshop.judge(&commit, &secrets, VerifyMode::Head).await?,
        Some(KeyRevoked)
    );
    Ok(())
}

#[tokio::test]
async fn a_key_that_is_not_there_to_sign_with_does_not_sign() -> TestResult {
    let gpg = Gpg::new()?;
    let primary = gpg.make_at("", "One <one@example.com>", "ed25519", "sign,cert", "0")?;
    let other = gpg.make_at("", "Two <two@example.com>", "ed25519", "cert", "0")?;
    gpg.run_at("", &["--quick-add-key", &other, "ed25519", "sign,auth", "0"], "")?;
    for (key, which) in [(&primary, ""), (&other, "key 1\n")] {
        let (workshop, commit, git) = signed(&gpg, key, "", "")?;
        assert!(git);
        let before = holding(&[&gpg.export(key)?]);
        assert_eq!(workshop.judge(&commit, &before, VerifyMode::Head).await?, None);
        gpg.forbid_signing(key, which)?;
        let secrets = holding(&[&gpg.export(key)?]);
        let judged = workshop.judge(&commit, &secrets, VerifyMode::Head).await?;
        assert_eq!(judged, Some(SignatureFault::NotASigningKey), "{which}");
    }
    Ok(())
}

#[tokio::test]
async fn weak_digests_several_signatures_and_expired_ones_are_refused() -> TestResult {
    use SignatureFault::{NotYetValid, SeveralSignatures, SignatureExpired, WeakAlgorithm};
    let gpg = Gpg::new()?;
    let ada = gpg.make_at(THEN, "Ada <ada@example.com>", "rsa2048", "sign,cert", "0")?;
    let bob = gpg.make_at(THEN, "Bob <bob@example.com>", "rsa2048", "sign,cert", "0")?;
    let secrets = holding(&[&gpg.export(&ada)?, &gpg.export(&bob)?]);
    let two = format!("-u {bob}");
    for (time, options, expected) in [
        ("", "--digest-algo SHA1", WeakAlgorithm),
        ("", two.as_str(), SeveralSignatures),
        ("20240601T000000", "--default-sig-expire 30d", SignatureExpired),
        ("20990101T000000", "", NotYetValid),
    ] {
        let (workshop, commit, _) = signed(&gpg, &ada, time, options)?;
        let judged = workshop.judge(&commit, &secrets, VerifyMode::Head).await?;
        assert_eq!(judged, Some(expected), "{options}");
    }
    let (workshop, commit, git) = signed(&gpg, &ada, "", "")?;
    assert!(git);
    assert_eq!(workshop.judge(&commit, &secrets, VerifyMode::Head).await?, None);
    let raw = workshop.raw(&commit)?;
    let tampered = workshop.forge(raw.replace("\n\nsigned", "\n\nSigned").as_bytes())?;
    let judged = workshop.judge(&tampered, &secrets, VerifyMode::Head).await?;
    assert_eq!(judged, Some(SignatureFault::BadSignature));
    Ok(())
}

#[tokio::test]
async fn a_private_key_in_the_list_is_refused() -> TestResult {
    let gpg = Gpg::new()?;
    let ada = gpg.make_at("", "Ada <ada@example.com>", "ed25519", "sign,cert", "0")?;
    let private = gpg.run_at("", &["--armor", "--export-secret-keys", &ada], "")?;
    let (workshop, commit, _) = signed(&gpg, &ada, "", "")?;
    let judged = workshop.judge(&commit, &holding(&[&private]), VerifyMode::Head).await?;
    assert_eq!(judged, Some(SignatureFault::KeysUnavailable));
    Ok(())
}
