//! `OpenPGP` certificates: which of their keys may sign, and until when. The library parses and computes; that a key
//! is bound, not revoked, not expired and there to sign with is decided here.
//!
//! What a certificate says now counts, not what it said once: the newest self-signature of each kind, and any
//! revocation, whatever its reason and date, as in gpg.

use jiff::Timestamp;
use pgp::composed::{Deserializable, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{PublicKey, Signature, SignatureConfig, SignatureType, SubpacketData};
use pgp::ser::Serialize;
use pgp::types::{KeyDetails, PublicParams, SignedUser, Tag};

use super::ssh::MIN_RSA_BITS;
use super::verdict::{Fault, SignatureFault};

const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
/// How far clocks may be apart.
pub(super) const LEEWAY: i64 = 600;

/// A certificate.
#[derive(Debug)]
pub(in crate::source) struct Certificate(SignedPublicKey);

/// One of a certificate's keys.
#[derive(Clone, Copy)]
pub(super) enum Component<'a> {
    Primary,
    Subkey(&'a SignedPublicSubKey),
}

/// Reads armored certificates, as `gpg --armor --export` writes them, one block after the other.
pub(super) fn read(text: &str) -> Result<Vec<Certificate>, String> {
    if text.contains("PRIVATE KEY BLOCK") {
        return Err("it holds a private key; export the public one, and take this one out of use".to_owned());
    }
    let mut certificates = Vec::new();
    for (number, block) in text.split(BEGIN).enumerate().skip(1) {
        let refuse = |problem: &str| format!("block {number}: {problem}");
        let armored = format!("{BEGIN}{block}");
        let parsed = std::panic::catch_unwind(|| {
            let (keys, _) = SignedPublicKey::from_armor_many(armored.as_bytes())?;
            keys.collect::<pgp::errors::Result<Vec<_>>>()
        });
        let keys = match parsed {
            Ok(Ok(keys)) if !keys.is_empty() => keys,
            Ok(Ok(_)) => {
                return Err(refuse(
                    "there is no key; a revocation has to be imported and exported with its key",
                ));
            }
            Ok(Err(error)) => return Err(refuse(&error.to_string().chars().take(200).collect::<String>())),
            Err(_) => return Err(refuse("it cannot be read")),
        };
        certificates.extend(keys.into_iter().map(Certificate));
    }
    if certificates.is_empty() {
        return Err("there is no public key block".to_owned());
    }
    Ok(certificates)
}

/// The fingerprints of armored certificates and whose they are; none where one cannot be read.
pub(in crate::source) fn fingerprints(content: &[u8]) -> Option<Vec<String>> {
    let certificates = read(std::str::from_utf8(content).ok()?).ok()?;
    let shown = |one: &Certificate| format!("{} {}", one.user(), one.primary().fingerprint());
    Some(certificates.iter().map(shown).collect())
}

impl Certificate {
    pub(super) fn primary(&self) -> &PublicKey {
        &self.0.primary_key
    }

    /// The primary key and its subkeys.
    pub(super) fn components(&self) -> impl Iterator<Item = Component<'_>> {
        std::iter::once(Component::Primary).chain(self.0.public_subkeys.iter().map(Component::Subkey))
    }

    /// Whose it is: the user of the newest self-signature.
    pub(super) fn user(&self) -> String {
        let users = self.0.details.users.iter();
        let newest = users
            .filter_map(|user| Some((self.user_binding(user)?.created()?, user)))
            .max_by_key(|(created, _)| created.as_secs());
        newest.map_or_else(String::new, |(_, user)| {
            String::from_utf8_lossy(user.id.id()).chars().take(200).collect()
        })
    }

    /// Whether one of its keys may have signed as of that moment.
    pub(super) fn permits(&self, component: Component<'_>, at: Timestamp) -> Result<(), Fault> {
        let primary = self.primary();
        if self.is_revoked() {
            return Err(revoked(primary));
        }
        let binding = self.binding()?;
        check_time(primary, binding, at)?;
        let Component::Subkey(subkey) = component else {
            // Without flags a key may do what its algorithm can.
            let may_sign = !has_flags(binding) || binding.key_flags().sign();
            return if may_sign {
                Ok(())
            } else {
                Err(not_for_signing(primary, "is not marked as one to sign with"))
            };
        };
        let of_subkey = |kind| {
            let signatures = subkey.signatures.iter();
            signatures.filter(move |signature| signature.typ() == Some(kind))
        };
        let revokes = |signature: &Signature| {
            signature.verify_subkey_binding(primary, &subkey.key).is_ok() || !is_by(signature, primary)
        };
        if of_subkey(SignatureType::SubkeyRevocation).any(revokes) {
            return Err(revoked(&subkey.key));
        }
        let binding =
            newest(of_subkey(SignatureType::SubkeyBinding).filter(|signature| {
                is_strong(signature) && signature.verify_subkey_binding(primary, &subkey.key).is_ok()
            }));
        let binding = binding.ok_or_else(|| not_for_signing(&subkey.key, "is not bound to its primary key"))?;
        if !binding.key_flags().sign() {
            return Err(not_for_signing(&subkey.key, "is not marked as one to sign with"));
        }
        // Else anybody could claim somebody's signing key as theirs.
        let answers = binding
            .embedded_signature()
            .is_some_and(|answer| is_strong(answer) && answer.verify_primary_key_binding(&subkey.key, primary).is_ok());
        if !answers {
            return Err(not_for_signing(
                &subkey.key,
                "does not confirm that it belongs to its primary key",
            ));
        }
        check_time(&subkey.key, binding, at)
    }

    /// A revocation by another key counts as well: who put it into the Secret means it.
    fn is_revoked(&self) -> bool {
        let primary = self.primary();
        let revocations = self.0.details.revocation_signatures.iter();
        let mut revocations = revocations.chain(&self.0.details.direct_signatures);
        revocations.any(|signature| {
            signature.typ() == Some(SignatureType::KeyRevocation)
                && (signature.verify_key(primary).is_ok() || !is_by(signature, primary))
        })
    }

    /// The self-signature that says what the primary key is for, and until when.
    fn binding(&self) -> Result<&Signature, Fault> {
        let primary = self.primary();
        let details = &self.0.details;
        let direct = details.direct_signatures.iter().filter(|signature| {
            signature.typ() == Some(SignatureType::Key) && is_strong(signature) && signature.verify_key(primary).is_ok()
        });
        let by_user = details.users.iter().filter_map(|user| self.user_binding(user));
        newest(direct.chain(by_user)).ok_or_else(|| {
            if details
                .users
                .iter()
                .any(|user| self.newest_of(user).is_some_and(is_revocation))
            {
                return Fault::new(
                    SignatureFault::KeyRevoked,
                    format!("every user of {} is revoked", primary.fingerprint()),
                );
            }
            not_for_signing(primary, "has no self-signature with a strong digest")
        })
    }

    /// The self-signature that binds a user, unless that was revoked since.
    fn user_binding<'a>(&'a self, user: &'a SignedUser) -> Option<&'a Signature> {
        self.newest_of(user).filter(|signature| !is_revocation(signature))
    }

    fn newest_of<'a>(&'a self, user: &'a SignedUser) -> Option<&'a Signature> {
        newest(user.signatures.iter().filter(|signature| {
            let counts = is_revocation(signature) || (signature.is_certification() && is_strong(signature));
            counts
                && signature
                    .verify_certification(self.primary(), Tag::UserId, &user.id)
                    .is_ok()
        }))
    }
}

/// Whether a digest still proves something.
pub(super) fn is_strong_digest(digest: Option<HashAlgorithm>) -> bool {
    use HashAlgorithm::{Sha3_256, Sha3_512, Sha256, Sha384, Sha512};
    matches!(digest, Some(Sha256 | Sha384 | Sha512 | Sha3_256 | Sha3_512))
}

/// Whether a key is of a kind and size that still proves something.
pub(super) fn check_strength(key: &impl KeyDetails) -> Result<(), Fault> {
    let weak = |what: String| {
        let message = format!("it is signed with {}, {what}", key.fingerprint());
        Err(Fault::new(SignatureFault::WeakAlgorithm, message))
    };
    match key.public_params() {
        PublicParams::RSA(rsa) => {
            // A number of OpenPGP begins with its size in bits.
            let mut written = Vec::new();
            let bits = match rsa.to_writer(&mut written) {
                Ok(()) => written
                    .first_chunk()
                    .map_or(0, |size| usize::from(u16::from_be_bytes(*size))),
                Err(_) => 0,
            };
            if bits < MIN_RSA_BITS {
                return weak(format!("an RSA key of {bits} bits; {MIN_RSA_BITS} are the least"));
            }
            Ok(())
        }
        PublicParams::ECDSA(_) | PublicParams::EdDSALegacy(_) | PublicParams::Ed25519(_) | PublicParams::Ed448(_) => {
            Ok(())
        }
        _ => weak("a kind of key that is not relied on".to_owned()),
    }
}

/// Whether a signature says that this key made it, or does not say who did.
pub(super) fn is_by(signature: &Signature, key: &impl KeyDetails) -> bool {
    let (ids, fingerprints) = (signature.issuer_key_id(), signature.issuer_fingerprint());
    let is_unnamed = ids.is_empty() && fingerprints.is_empty();
    is_unnamed
        || ids.iter().any(|id| **id == key.legacy_key_id())
        || fingerprints
            .iter()
            .any(|fingerprint| **fingerprint == key.fingerprint())
}

fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>) -> Option<&'a Signature> {
    // Of equally old ones the last.
    signatures.max_by_key(|signature| signature.created().map_or(0, pgp::types::Timestamp::as_secs))
}

fn is_revocation(signature: &Signature) -> bool {
    signature.typ() == Some(SignatureType::CertRevocation)
}

fn is_strong(signature: &Signature) -> bool {
    is_strong_digest(signature.hash_alg())
}

fn has_flags(signature: &Signature) -> bool {
    let subpackets = signature
        .config()
        .into_iter()
        .flat_map(SignatureConfig::hashed_subpackets);
    subpackets
        .into_iter()
        .any(|subpacket| matches!(subpacket.data, SubpacketData::KeyFlags(_)))
}

/// Whether a key exists and has not expired, as its newest binding says.
fn check_time(key: &impl KeyDetails, binding: &Signature, at: Timestamp) -> Result<(), Fault> {
    let created = i64::from(key.created_at().as_secs());
    let at = at.as_second();
    let says = |kind, what: String| Err(Fault::new(kind, format!("the key {} {what}", key.fingerprint())));
    if at < created - LEEWAY {
        return says(
            SignatureFault::NotYetValid,
            format!("exists from {} on", moment(created)),
        );
    }
    let ends = |seconds: u32, from: i64| (seconds != 0).then(|| from + i64::from(seconds));
    let key_ends = binding
        .key_expiration_time()
        .and_then(|lasts| ends(lasts.as_secs(), created));
    let made = binding.created().map_or(0, |made| i64::from(made.as_secs()));
    let binding_ends = binding
        .signature_expiration_time()
        .and_then(|lasts| ends(lasts.as_secs(), made));
    match key_ends.into_iter().chain(binding_ends).min() {
        Some(end) if end <= at => says(SignatureFault::KeyExpired, format!("expired at {}", moment(end))),
        _ => Ok(()),
    }
}

pub(super) fn moment(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

fn revoked(key: &impl KeyDetails) -> Fault {
    Fault::new(
        SignatureFault::KeyRevoked,
        format!("the key {} is revoked", key.fingerprint()),
    )
}

fn not_for_signing(key: &impl KeyDetails, why: &str) -> Fault {
    Fault::new(
        SignatureFault::NotASigningKey,
        format!("the key {} {why}", key.fingerprint()),
    )
}
