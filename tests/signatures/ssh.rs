//! SSH signatures.

use headgate::source::keeper::SignatureFault;
use headgate::source::resource::VerifyMode;

use crate::git_support::{Secrets, TestResult};
use crate::keys::SshKeys;
use crate::workshop::{SIGNERS, Workshop, unsigned};

fn listing(allowed: &str) -> Secrets {
    Secrets::of(SIGNERS, &[("allowed_signers", allowed.as_bytes())])
}

#[tokio::test]
async fn what_a_listed_ssh_key_signed_is_accepted_as_git_accepts_it() -> TestResult {
    let keys = SshKeys::new()?;
    for (kind, bits) in [("ed25519", ""), ("ecdsa", "256"), ("rsa", "2048")] {
        let public = keys.make(kind, kind, bits)?;
        for options in [
            "",
            "namespaces=\"file,git\" ",
            "valid-after=\"20200101\",valid-before=\"29990101Z\" ",
        ] {
            // Whose the key is by the list need not be who the commit says: it is the key that is trusted.
            let allowed = format!("# ours\ncarol@example.com,\"x\" {options}{public}\n").replace(",\"x\"", "");
            let workshop = Workshop::new()?;
            let signing = keys.signing(kind, &allowed)?;
            let commit = workshop.commit(&signing)?;
            assert!(workshop.git_verifies(&commit, &signing), "{kind} {options}");
            let judged = workshop.judge(&commit, &listing(&allowed), VerifyMode::Head).await?;
            assert_eq!(judged, None, "{kind} {options}");
        }
    }
    Ok(())
}

/// A list with a line for the key, after its principals and options, and what comes of it.
async fn judged_under(keys: &SshKeys, name: &str, allowed: &str) -> TestResult<(Option<SignatureFault>, bool)> {
    let workshop = Workshop::new()?;
    let signing = keys.signing(name, allowed)?;
    let commit = workshop.commit(&signing)?;
    let git = workshop.git_verifies(&commit, &signing);
    Ok((workshop.judge(&commit, &listing(allowed), VerifyMode::Head).await?, git))
}

#[tokio::test]
async fn each_way_in_which_an_ssh_key_may_not_sign_has_its_own_reason_and_git_refuses_it_too() -> TestResult {
    use SignatureFault::{KeyExpired, NotYetValid, SignatureUnsupported, UnknownKey, WeakAlgorithm, WrongNamespace};
    let keys = SshKeys::new()?;
    let (ada, bob) = (keys.make("ada", "ed25519", "")?, keys.make("bob", "ed25519", "")?);
    for (line, expected) in [
        (format!("bob {bob}"), UnknownKey),
        (format!("bob {bob}\nada cert-authority {ada}"), UnknownKey),
        (format!("ada namespaces=\"file\" {ada}"), WrongNamespace),
        (format!("ada valid-before=\"20240101\" {ada}"), KeyExpired),
        (format!("ada valid-after=\"29990101\" {ada}"), NotYetValid),
    ] {
        assert_eq!(
            judged_under(&keys, "ada", &format!("{line}\n")).await?,
            (Some(expected), false),
            "{line}"
        );
    }
    // What git would believe, and what is not believed here.
    let wide = keys.make("wide", "ecdsa", "384")?;
    let short = keys.make("short", "rsa", "1024")?;
    for (name, public, expected) in [("wide", &wide, SignatureUnsupported), ("short", &short, WeakAlgorithm)] {
        let judged = judged_under(&keys, name, &format!("{name} {public}\n")).await?;
        assert_eq!(judged, (Some(expected), true), "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_certificate_is_not_followed_to_its_authority_though_git_does() -> TestResult {
    let keys = SshKeys::new()?;
    let authority = keys.make("ca", "ed25519", "")?;
    let ada = keys.make("ada", "ed25519", "")?;
    keys.certify("ca", "ada", "ada@example.com")?;
    let allowed = format!("ada@example.com cert-authority {authority}\nada@example.com {ada}\n");
    let judged = judged_under(&keys, "ada-cert.pub", &allowed).await?;
    assert_eq!(judged, (Some(SignatureFault::SignatureUnsupported), true));
    assert_eq!(
        judged_under(&keys, "ada", &allowed).await?,
        (None, true),
        "the other keys go on"
    );
    Ok(())
}

#[tokio::test]
async fn a_key_that_is_on_two_lines_may_sign_where_one_of_them_lets_it() -> TestResult {
    let keys = SshKeys::new()?;
    let ada = keys.make("ada", "ed25519", "")?;
    let allowed = format!("ada valid-before=\"20240101\" {ada}\nada@new {ada}\n");
    assert_eq!(judged_under(&keys, "ada", &allowed).await?, (None, true));
    let workshop = Workshop::new()?;
    let commit = workshop.commit(&keys.signing("ada", &allowed)?)?;
    let entries: [(&str, &[u8]); 2] = [
        ("allowed_signers", allowed.as_bytes()),
        ("revoked_keys", ada.as_bytes()),
    ];
    let judged = workshop
        .judge(&commit, &Secrets::of(SIGNERS, &entries), VerifyMode::Head)
        .await?;
    assert_eq!(judged, Some(SignatureFault::KeyRevoked));
    Ok(())
}

#[tokio::test]
async fn a_commit_that_is_not_what_was_signed_is_refused() -> TestResult {
    use SignatureFault::{BadSignature, SeveralSignatures, Unsigned, WrongNamespace};
    let keys = SshKeys::new()?;
    let allowed = format!("ada {}\n", keys.make("ada", "ed25519", "")?);
    let (signing, secrets) = (keys.signing("ada", &allowed)?, listing(&allowed));
    let workshop = Workshop::new()?;
    let missing = workshop.unsigned_commit()?;
    assert_eq!(
        workshop.judge(&missing, &secrets, VerifyMode::Head).await?,
        Some(Unsigned)
    );
    let good = workshop.commit(&signing)?;
    let raw = workshop.raw(&good)?;
    let tampered = workshop.forge(raw.replace("\n\nsigned", "\n\nSigned").as_bytes())?;
    assert_eq!(
        workshop.judge(&tampered, &secrets, VerifyMode::Head).await?,
        Some(BadSignature)
    );
    assert!(!workshop.git_verifies(&tampered, &signing));
    let (header, message) = unsigned(&raw)?;
    let elsewhere = keys.sign_for("ada", "file", &format!("{header}\n{message}"))?;
    let misused = workshop.sign_with(&good, &elsewhere)?;
    assert_eq!(
        workshop.judge(&misused, &secrets, VerifyMode::Head).await?,
        Some(WrongNamespace)
    );
    assert!(!workshop.git_verifies(&misused, &signing));
    // The same by our own hand is what git itself does: the harness puts signatures where they belong.
    let ours = keys.sign_for("ada", "git", &format!("{header}\n{message}"))?;
    let signed = workshop.sign_with(&good, &ours)?;
    assert_eq!(workshop.judge(&signed, &secrets, VerifyMode::Head).await?, None);
    assert!(workshop.git_verifies(&signed, &signing));
    let twice = workshop.sign_with(&good, &format!("{}\n{}", ours.trim_end(), ours.trim_end()))?;
    assert_eq!(
        workshop.judge(&twice, &secrets, VerifyMode::Head).await?,
        Some(SeveralSignatures)
    );
    Ok(())
}

#[tokio::test]
async fn a_list_that_cannot_be_read_accepts_nothing_and_says_where() -> TestResult {
    let keys = SshKeys::new()?;
    let ada = keys.make("ada", "ed25519", "")?;
    let workshop = Workshop::new()?;
    workshop.commit(&keys.signing("ada", &format!("ada {ada}\n"))?)?;
    let good = format!("ada {ada}\n");
    let broken = format!("{good}bob nonsense\n");
    for (secrets, says) in [
        (listing(&broken), "allowed_signers cannot be used: line 2"),
        (listing(""), "lists no key"),
        (Secrets::default(), "does not exist"),
        (
            Secrets::of(SIGNERS, &[("allowed-signers", good.as_bytes())]),
            "allowed-signers is none of",
        ),
        (Secrets::of(SIGNERS, &[("a.asc", b"nonsense")]), "no public key block"),
    ] {
        let (_state, watched) = workshop.watch(&secrets, VerifyMode::Head)?;
        let report = watched
            .until("it is refused", |report| report.refusal.is_some())
            .await?;
        assert_eq!(crate::workshop::fault(&report), Some(SignatureFault::KeysUnavailable));
        let message = report.refusal.map(|refusal| refusal.message).unwrap_or_default();
        assert!(message.contains(says), "{message}");
        assert!(!message.contains("nonsense"), "shows what is in the Secret: {message}");
    }
    Ok(())
}
