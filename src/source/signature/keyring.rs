//! The keys that may sign for a source, from the Secret that its spec names.

use std::collections::BTreeMap;

use ssh_key::public::KeyData;

use super::allowed_signers::{self, Line};
use super::certificate::{self, Certificate};

/// Keys that may sign.
#[derive(Debug)]
pub(in crate::source) struct Keyring {
    /// SSH keys.
    pub(super) ssh: Vec<Line>,
    /// SSH keys that may not sign, whatever lists them.
    pub(super) revoked_ssh: Vec<KeyData>,
    /// `OpenPGP` certificates.
    pub(super) certificates: Vec<Certificate>,
}

/// Why a list of keys cannot be used. Phrased for who wrote the Secret; shows nothing of it but names and numbers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::source) enum KeyringError {
    /// An entry cannot be read.
    #[error("its entry {0} cannot be used: {1}")]
    Entry(String, String),
    /// An entry that nobody reads may be a misspelt one.
    #[error("its entry {0} is none of allowed_signers, revoked_keys and *.asc")]
    Unknown(String),
    /// It names no key that may sign.
    #[error("it lists no key")]
    Empty,
}

impl Keyring {
    /// Reads the Secret's entries: `allowed_signers` and `revoked_keys` for SSH, `*.asc` for `OpenPGP`. One unreadable
    /// entry makes all of it useless: it may be the one that revokes a key.
    pub(in crate::source) fn read(entries: &BTreeMap<String, Vec<u8>>) -> Result<Self, KeyringError> {
        let mut keyring = Self {
            ssh: Vec::new(),
            revoked_ssh: Vec::new(),
            certificates: Vec::new(),
        };
        for (name, content) in entries {
            let refuse = |problem| KeyringError::Entry(name.clone(), problem);
            let text = std::str::from_utf8(content).map_err(|_| refuse("it is not text".to_owned()))?;
            match name.as_str() {
                "allowed_signers" => keyring.ssh = allowed_signers::read(text).map_err(refuse)?,
                "revoked_keys" => keyring.revoked_ssh = allowed_signers::read_keys(text).map_err(refuse)?,
                _ if name.strip_suffix(".asc").is_some() => {
                    keyring.certificates.extend(certificate::read(text).map_err(refuse)?);
                }
                _ => return Err(KeyringError::Unknown(name.clone())),
            }
        }
        if keyring.ssh.is_empty() && keyring.certificates.is_empty() {
            return Err(KeyringError::Empty);
        }
        Ok(keyring)
    }
}
