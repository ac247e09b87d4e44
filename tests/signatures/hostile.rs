//! Signatures that nobody made in earnest. Whoever may push chooses every byte of a commit.

use headgate::source::SourceReport;
use headgate::source::keeper::SignatureFault;
use headgate::source::resource::VerifyMode;

use crate::git_support::{Secrets, TestResult, head_of};
use crate::keys::{Gpg, SshKeys};
use crate::workshop::{SIGNERS, Workshop, fault, unsigned};

#[tokio::test]
async fn hostile_signatures_are_refused_with_a_reason_and_never_end_the_process() -> TestResult {
    let (keys, gpg) = (SshKeys::new()?, Gpg::new()?);
    let allowed = format!("ada {}\n", keys.make("ada", "ed25519", "")?);
    let key = gpg.make_at("", "Ada <ada@example.com>", "ed25519", "sign,cert", "0")?;
    let certificate = gpg.export(&key)?;
    let entries: [(&str, &[u8]); 2] = [
        ("allowed_signers", allowed.as_bytes()),
        ("ada.asc", certificate.as_bytes()),
    ];
    let secrets = Secrets::of(SIGNERS, &entries);
    let workshop = Workshop::new()?;
    let first = workshop.commit(&keys.signing("ada", &allowed)?)?;
    let (_state, mut watched) = workshop.watch(&secrets, VerifyMode::Head)?;
    watched.until_head(&first).await?;
    let by_gpg = workshop.commit(&gpg.signing(&key, "")?)?;
    watched.refreshed().await?;
    watched.until_head(&by_gpg).await?;

    let ssh = signature_of(&workshop.raw(&first)?);
    let pgp = signature_of(&workshop.raw(&by_gpg)?);
    let mut hostile = vec![
        "garbage".to_owned(),
        "-----BEGIN SSH SIGNATURE-----".to_owned(),
        "-----BEGIN PGP SIGNATURE-----\n\n=\n-----END PGP SIGNATURE-----".to_owned(),
        "-----BEGIN SIGNED MESSAGE-----\nMII\n-----END SIGNED MESSAGE-----".to_owned(),
        format!(
            "-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----",
            "A".repeat(100_000)
        ),
        format!(
            "-----BEGIN PGP SIGNATURE-----\n\n{}\n-----END PGP SIGNATURE-----",
            "A".repeat(12_000)
        ),
        pgp.replace("SIGNATURE", "MESSAGE"),
        format!("{ssh}\n{pgp}"),
    ];
    // Every so many characters another one, and an end that comes early.
    for good in [&ssh, &pgp] {
        for at in (30..good.len() - 30).step_by(good.len() / 24) {
            let (before, after) = good.split_at(at);
            hostile.push(format!(
                "{before}{}{}",
                if after.starts_with('A') { 'B' } else { 'A' },
                &after[1..]
            ));
            hostile.push(format!("{before}\n{}", good.lines().last().unwrap_or_default()));
        }
    }
    // One on top of the other, so that each can be pinned without a fetch.
    let mut commits = Vec::new();
    let mut parent = by_gpg.clone();
    for signature in &hostile {
        let (header, message) = unsigned(&workshop.raw(&by_gpg)?)
            .map(|(header, message)| (header.replace(&first, &parent), message.to_owned()))?;
        let folded = signature.replace('\n', "\n ");
        parent = workshop.forge(format!("{header}gpgsig {folded}\n\n{message}").as_bytes())?;
        commits.push(parent.clone());
    }
    watched.refreshed().await?;
    let mut seen = std::collections::HashSet::new();
    for (commit, signature) in commits.iter().zip(&hostile) {
        watched.change(|source| source.spec.git.r#ref.commit = Some(commit.clone()));
        let is_judged = |report: &SourceReport| {
            let refused = report.refusal.as_ref().map(|refusal| &refusal.commit);
            refused == Some(commit) || head_of(report) == Some(commit)
        };
        let report = watched.until("it is judged", is_judged).await?;
        let fault = fault(&report).ok_or_else(|| format!("accepted: {signature}"))?;
        seen.insert(fault.as_str());
    }
    for expected in [
        SignatureFault::SignatureUnreadable,
        SignatureFault::BadSignature,
        SignatureFault::SignatureUnsupported,
    ] {
        assert!(seen.contains(expected.as_str()), "{seen:?}");
    }
    Ok(())
}

/// The signature that a commit carries.
fn signature_of(raw: &str) -> String {
    let mut lines = raw.lines().skip_while(|line| !line.starts_with("gpgsig "));
    let first = lines
        .next()
        .and_then(|line| line.strip_prefix("gpgsig "))
        .unwrap_or_default()
        .to_owned();
    lines
        .map_while(|line| line.strip_prefix(' '))
        .fold(first, |all, line| format!("{all}\n{line}"))
}
