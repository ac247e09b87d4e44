//! Signatures by SSH keys, as `ssh-keygen -Y sign` makes them for git.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, EcdsaCurve, HashAlg, PublicKey, SshSig};

use super::allowed_signers::Line;
use super::verdict::{Fault, SignatureFault, Signer, Verdict};

/// What git signs for.
const NAMESPACE: &str = "git";
/// Bits of the smallest RSA key that counts.
pub(super) const MIN_RSA_BITS: usize = 2048;
/// Bits of the largest one: the library that verifies takes no larger.
const MAX_RSA_BITS: usize = 4096;

/// Verifies a signature against the list, as of a moment.
pub(super) fn verify(payload: &[u8], signature: &str, allowed: &[Line], revoked: &[KeyData], at: Timestamp) -> Verdict {
    let signature = signature.trim();
    let signature = SshSig::from_pem(signature).map_err(|error| {
        if names_certificate(signature) {
            return unsupported("an SSH certificate, which is not followed to its authority");
        }
        let message = format!("its SSH signature cannot be read: {error}");
        Fault::new(SignatureFault::SignatureUnreadable, message)
    })?;
    if signature.namespace() != NAMESPACE {
        let message = "its signature was made for another purpose than git";
        return Err(Fault::new(SignatureFault::WrongNamespace, message));
    }
    let key = signature.public_key();
    check_algorithm(key, &signature)?;
    let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
    if revoked.contains(key) {
        let message = format!("it is signed with {fingerprint}, which revoked_keys lists");
        return Err(Fault::new(SignatureFault::KeyRevoked, message));
    }
    let lines: Vec<&Line> = allowed
        .iter()
        .filter(|line| line.key == *key && !line.options.is_authority)
        .collect();
    if lines.is_empty() {
        let message = format!("it is signed with {fingerprint}, which allowed_signers does not list");
        return Err(Fault::new(SignatureFault::UnknownKey, message));
    }
    if PublicKey::from(key.clone())
        .verify(NAMESPACE, payload, &signature)
        .is_err()
    {
        let message = format!("it is not what {fingerprint} signed");
        return Err(Fault::new(SignatureFault::BadSignature, message));
    }
    // Any line that lets the key sign will do; else the first one says why not.
    let mut refused = None;
    for line in lines {
        match permits(line, &fingerprint, at) {
            Ok(()) => {
                return Ok(Signer {
                    name: line.principals.clone(),
                    key: fingerprint,
                });
            }
            Err(fault) => refused = refused.or(Some(fault)),
        }
    }
    Err(refused.unwrap_or_else(|| Fault::new(SignatureFault::UnknownKey, "no line lists its key")))
}

fn unsupported(what: &str) -> Fault {
    let message = format!("it is signed with {what}; use ssh-ed25519, ecdsa-sha2-nistp256 or ssh-rsa");
    Fault::new(SignatureFault::SignatureUnsupported, message)
}

/// Whether a signature that cannot be read names a certificate where its key belongs, at its beginning.
fn names_certificate(pem: &str) -> bool {
    const KIND: &[u8] = b"-cert-v01@openssh.com";
    let body: String = pem
        .lines()
        .filter(|line| !line.starts_with('-'))
        .map(str::trim)
        .collect();
    let bytes = STANDARD.decode(body).unwrap_or_default();
    let beginning = bytes.get(..80).unwrap_or(&bytes);
    beginning.windows(KIND.len()).any(|found| found == KIND)
}

fn check_algorithm(key: &KeyData, signature: &SshSig) -> Result<(), Fault> {
    let is_supported = match key {
        KeyData::Ed25519(_) | KeyData::Rsa(_) => true,
        KeyData::Ecdsa(key) => key.curve() == EcdsaCurve::NistP256,
        _ => false,
    };
    if !is_supported {
        return Err(unsupported(&format!("a key of the type {}", key.algorithm().as_str())));
    }
    let weak = |message: String| Err(Fault::new(SignatureFault::WeakAlgorithm, message));
    if let KeyData::Rsa(key) = key {
        let bits = key.n.as_positive_bytes().map_or(0, bits);
        if bits > MAX_RSA_BITS {
            return Err(unsupported(&format!(
                "an RSA key of {bits} bits, more than {MAX_RSA_BITS}"
            )));
        }
        if bits < MIN_RSA_BITS {
            return weak(format!(
                "it is signed with an RSA key of {bits} bits, and {MIN_RSA_BITS} are the least"
            ));
        }
        if signature.algorithm() == (Algorithm::Rsa { hash: None }) {
            return weak("its signature uses SHA-1".to_owned());
        }
    }
    Ok(())
}

fn bits(number: &[u8]) -> usize {
    let zeros = number.first().map_or(0, |byte| byte.leading_zeros() as usize);
    (number.len() * 8).saturating_sub(zeros)
}

fn permits(line: &Line, fingerprint: &str, at: Timestamp) -> Result<(), Fault> {
    let options = &line.options;
    let (kind, what) = if !options.is_for(NAMESPACE) {
        (SignatureFault::WrongNamespace, "may not sign for git".to_owned())
    } else if let Some(after) = options.valid_after.filter(|after| at < *after) {
        (SignatureFault::NotYetValid, format!("is valid from {after} on"))
    } else if let Some(before) = options.valid_before.filter(|before| at > *before) {
        (SignatureFault::KeyExpired, format!("was valid until {before}"))
    } else {
        return Ok(());
    };
    let message = format!("it is signed with {fingerprint}, which {what} according to allowed_signers");
    Err(Fault::new(kind, message))
}
