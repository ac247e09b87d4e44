use std::collections::BTreeMap;

use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJb0dFFSvO5tSVGMS+WTzCC2PyJUrBq3MDyhCq9ba4y7";

fn keyring() -> Result<Keyring, String> {
    let entries = BTreeMap::from([("allowed_signers".to_owned(), format!("ada {KEY}\n").into_bytes())]);
    Keyring::read(&entries).map_err(|error| error.to_string())
}

/// Whatever the bytes, there is a reason; the signatures that count are made with git in `tests/signatures`.
#[test]
fn garbage_is_refused_in_bounded_time_and_without_a_panic() -> Result<(), String> {
    let keyring = keyring()?;
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..20_000 {
        let kind = if round % 2 == 0 { "SSH" } else { "PGP" };
        let mut body: Vec<u8> = (0..random.usize(..600)).map(|_| random.u8(..)).collect();
        if round % 4 == 0 {
            // The right beginning, so that more of it is looked at.
            body.splice(..0, b"SSHSIG\0\0\0\x01".iter().copied());
        } else if round % 4 == 1 {
            // A packet of a signature, version 4, by an EdDSA key.
            let head = [0xC2, 0xFF, 0, 0, 2, 0, 4, 0, 22, 8, 0, random.u8(..)];
            body.splice(..0, head);
        }
        let text = if round % 8 < 6 {
            base64(&body)
        } else {
            String::from_utf8_lossy(&body).into_owned()
        };
        let blank = if kind == "PGP" { "\n" } else { "" };
        let signature = format!("-----BEGIN {kind} SIGNATURE-----\n{blank}{text}\n-----END {kind} SIGNATURE-----\n");
        let signed = Signed {
            payload: b"payload".to_vec(),
            signature: signature.into_bytes(),
        };
        let verdict = verify(&signed, &keyring, Timestamp::UNIX_EPOCH);
        assert!(verdict.is_err(), "{}", String::from_utf8_lossy(&signed.signature));
        assert!(verdict.is_err_and(|fault| fault.message.len() < 600));
    }
    Ok(())
}

/// gpg in a folder of its own.
fn gpg(
    home: &std::path::Path,
    arguments: &[&str],
    input: Option<&std::path::Path>,
) -> Result<String, Box<dyn std::error::Error>> {
    let mut command = std::process::Command::new("gpg");
    command
        .arg("--homedir")
        .arg(home)
        .args(["--batch", "--quiet", "--no-tty", "--pinentry-mode", "loopback"]);
    command.args(["--passphrase", ""]).args(arguments).args(input);
    let output = command.output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// Else whoever is on the list could claim somebody's signing key as a subkey of theirs.
#[test]
fn a_subkey_that_does_not_confirm_its_primary_key_signs_nothing() -> Result<(), Box<dyn std::error::Error>> {
    use std::os::unix::fs::PermissionsExt as _;

    use pgp::composed::{ArmorOptions, Deserializable, SignedPublicKey};
    use pgp::packet::SubpacketData;

    let home = tempfile::tempdir()?;
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o700))?;
    gpg(
        home.path(),
        &["--quick-generate-key", "Ada <ada@example.com>", "ed25519", "cert", "0"],
        None,
    )?;
    let listed = gpg(home.path(), &["--list-keys", "--with-colons"], None)?;
    let key = listed
        .lines()
        .find_map(|line| line.strip_prefix("fpr:::::::::")?.strip_suffix(':'))
        .ok_or("no key")?;
    gpg(home.path(), &["--quick-add-key", key, "ed25519", "sign", "0"], None)?;
    let payload = home.path().join("payload");
    std::fs::write(&payload, "payload")?;
    let signature = gpg(
        home.path(),
        &["--armor", "--output", "-", "--detach-sign"],
        Some(&payload),
    )?;
    let signed = Signed {
        payload: b"payload".to_vec(),
        signature: signature.into_bytes(),
    };
    let certificate = gpg(home.path(), &["--armor", "--export", key], None)?;
    let judge = |certificate: &str| -> Result<Verdict, Box<dyn std::error::Error>> {
        let entries = BTreeMap::from([("a.asc".to_owned(), certificate.as_bytes().to_vec())]);
        Ok(verify(&signed, &Keyring::read(&entries)?, Timestamp::now()))
    };
    assert!(judge(&certificate)?.is_ok_and(|signer| signer.name == "Ada <ada@example.com>"));

    let (mut stripped, _) = SignedPublicKey::from_string(&certificate)?;
    for binding in stripped
        .public_subkeys
        .iter_mut()
        .flat_map(|subkey| &mut subkey.signatures)
    {
        let unhashed = binding
            .config()
            .into_iter()
            .flat_map(pgp::packet::SignatureConfig::unhashed_subpackets);
        let answer = unhashed
            .into_iter()
            .position(|subpacket| matches!(subpacket.data, SubpacketData::EmbeddedSignature(_)));
        binding.unhashed_subpacket_remove(answer.ok_or("no back signature")?)?;
    }
    let refused = judge(&stripped.to_armored_string(ArmorOptions::default())?)?;
    assert!(refused.is_err_and(|fault| fault.kind == SignatureFault::NotASigningKey));
    let _ = std::process::Command::new("gpgconf")
        .arg("--homedir")
        .arg(home.path())
        .args(["--kill", "all"])
        .status();
    Ok(())
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number = chunk
            .iter()
            .fold(0_usize, |number, byte| number << 8 | usize::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..=3_usize {
            let digit = DIGITS
                .get(number >> (18 - 6 * place) & 63)
                .copied()
                .map_or('=', char::from);
            text.push(if place > chunk.len() { '=' } else { digit });
        }
        if text.len() % 71 == 70 {
            text.push('\n');
        }
    }
    text
}

#[test]
fn every_fault_has_a_name_of_its_own() {
    let names: std::collections::HashSet<&str> = SignatureFault::ALL.iter().map(|fault| fault.as_str()).collect();
    assert_eq!(names.len(), SignatureFault::ALL.len());
}
