//! What may be shown of what a source trusts: public keys and certificates by their fingerprints, of everything else a
//! hash that never leaves the process, URLs without passwords.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::redact::without_userinfo;
use super::signature;

/// So many public keys of an entry are shown; of more, the last line has the hash.
const MOST_LINES: usize = 64;
/// So much is shown of what stands beside a public key, in characters.
const MAX_BESIDE: usize = 200;

/// An entry of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Public keys or certificates, a line each.
    Public(Vec<String>),
    /// The SHA-256 of anything else. Whoever sees it can try out passwords: it is not to be shown.
    Private([u8; 32]),
}

impl Entry {
    /// What is known of the entry of this name. What cannot be read as the public thing that its name promises counts
    /// as secret.
    pub fn of(name: &str, content: &[u8]) -> Self {
        let lines = match name {
            "known_hosts" | "allowed_signers" | "revoked_keys" | "identity.pub" => ssh_keys(content),
            "ca.crt" => certificates(content),
            _ if name.strip_suffix(".asc").is_some() => signature::fingerprints(content),
            _ => None,
        };
        let hash = Sha256::digest(content);
        match lines {
            Some(mut lines) => {
                if lines.len() > MOST_LINES {
                    lines.truncate(MOST_LINES);
                    lines.push(format!("… {}", hex(&hash)));
                }
                Self::Public(lines)
            }
            None => Self::Private(hash.into()),
        }
    }
}

/// Takes user names and passwords out of every URL in a value.
pub fn without_passwords(value: &mut Value) {
    match value {
        Value::String(text) => *text = without_userinfo(text),
        Value::Array(items) => items.iter_mut().for_each(without_passwords),
        Value::Object(members) => members.values_mut().for_each(without_passwords),
        _ => {}
    }
}

/// Keys of a list, a line each: what stands before the key, and its fingerprint as `ssh-keygen -l` has it.
fn ssh_keys(content: &[u8]) -> Option<Vec<String>> {
    let text = std::str::from_utf8(content).ok()?;
    let lines = text.lines().map(str::trim);
    let keys: Option<Vec<String>> = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(ssh_key)
        .collect();
    keys.filter(|keys| !keys.is_empty())
}

fn ssh_key(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let place = words.windows(2).position(|pair| match pair {
        [kind, key] => is_key_type(kind) && blob(kind, key).is_some(),
        _ => false,
    })?;
    let (before, key) = words.split_at_checked(place)?;
    let hash = Sha256::digest(blob(key.first()?, key.get(1)?)?);
    let fingerprint = format!("SHA256:{}", BASE64_STANDARD_NO_PAD.encode(hash));
    let beside: String = before.join(" ").chars().take(MAX_BESIDE).collect();
    Some(format!("{beside} {fingerprint}").trim_start().to_owned())
}

fn is_key_type(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"].iter().any(|start| word.starts_with(start))
}

/// The key itself, which begins with its own type.
fn blob(kind: &str, encoded: &str) -> Option<Vec<u8>> {
    let blob = BASE64_STANDARD.decode(encoded).ok()?;
    let length = u32::try_from(kind.len()).ok()?;
    let begins = blob.get(..4) == Some(&length.to_be_bytes()) && blob.get(4..4 + kind.len()) == Some(kind.as_bytes());
    begins.then_some(blob)
}

fn certificates(content: &[u8]) -> Option<Vec<String>> {
    let found: Result<Vec<String>, _> = CertificateDer::pem_slice_iter(content)
        .map(|certificate| certificate.map(|der| format!("sha256:{}", hex(&Sha256::digest(&der)))))
        .collect();
    found.ok().filter(|found| !found.is_empty())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJb0dFFSvO5tSVGMS+WTzCC2PyJUrBq3MDyhCq9ba4y7";

    #[test]
    fn public_keys_are_shown_with_what_restricts_them() {
        let list = format!("# who signs\nada@example.com namespaces=\"git,x y\" {KEY} laptop\n\nbob {KEY}\n");
        let Entry::Public(lines) = Entry::of("allowed_signers", list.as_bytes()) else {
            unreachable!("a list of keys is public");
        };
        assert_eq!(lines.len(), 2);
        assert!(
            lines
                .iter()
                .zip(["ada@example.com namespaces=\"git,x y\" SHA256:", "bob SHA256:"])
                .all(|(line, start)| line.starts_with(start)),
            "{lines:?}"
        );
        assert_eq!(Entry::of("revoked_keys", KEY.as_bytes()), {
            let fingerprint = lines.first().and_then(|line| line.rsplit(' ').next());
            Entry::Public(vec![fingerprint.unwrap_or_default().to_owned()])
        });
    }

    #[test]
    fn what_is_not_what_its_name_promises_counts_as_secret() {
        for (name, content) in [
            ("password", "s3cret"),
            ("known_hosts", "s3cret"),
            ("known_hosts", "git.example.com ssh-ed25519 AAAA"),
            ("ca.crt", "s3cret"),
            ("team.asc", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n"),
            ("identity", KEY),
        ] {
            assert!(
                matches!(Entry::of(name, content.as_bytes()), Entry::Private(_)),
                "{name}"
            );
        }
    }
}
