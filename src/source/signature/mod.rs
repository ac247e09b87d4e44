//! Signatures: whether a key of a source's list made one. Pure: bytes, keys and the moment are handed in.

mod allowed_signers;
mod certificate;
mod keyring;
mod object;
mod openpgp;
mod ssh;
mod verdict;

pub(super) use certificate::fingerprints;
pub(super) use keyring::Keyring;
pub(super) use object::{Signed, signed_commit, signed_tag, tag_name};
pub use verdict::SignatureFault;
pub(super) use verdict::{Fault, Signer, Verdict};

use jiff::Timestamp;

/// Verifies what was signed against its signature, as of a moment.
pub(super) fn verify(signed: &Signed, keyring: &Keyring, at: Timestamp) -> Verdict {
    let unreadable = |message: &str| Fault::new(SignatureFault::SignatureUnreadable, message);
    let text = std::str::from_utf8(&signed.signature).map_err(|_| unreadable("its signature is not text"))?;
    let text = text.trim();
    if text.matches("-----BEGIN ").count() > 1 {
        return Err(Fault::new(
            SignatureFault::SeveralSignatures,
            "it carries several signatures",
        ));
    }
    // The parsers are other people's, and anybody who may push chooses what they read.
    let verified = std::panic::catch_unwind(|| {
        if text.starts_with("-----BEGIN SSH SIGNATURE-----") {
            ssh::verify(&signed.payload, text, &keyring.ssh, &keyring.revoked_ssh, at)
        } else if text.starts_with("-----BEGIN PGP SIGNATURE-----") {
            openpgp::verify(&signed.payload, text, &keyring.certificates, at)
        } else if text.starts_with("-----BEGIN SIGNED MESSAGE-----") {
            let message = "it is signed with an X.509 certificate; use an SSH or OpenPGP key";
            Err(Fault::new(SignatureFault::SignatureUnsupported, message))
        } else {
            Err(unreadable("its signature is of no known kind"))
        }
    });
    verified.unwrap_or_else(|_| Err(unreadable("its signature cannot be read")))
}

#[cfg(test)]
mod tests;
