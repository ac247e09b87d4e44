//! Signatures by `OpenPGP` keys, as gpg makes them for git.

use jiff::Timestamp;
use pgp::composed::{Deserializable, DetachedSignature};
use pgp::packet::{Signature, SignatureType, SignatureVersion, SubpacketData};
use pgp::types::VerifyingKey;

use super::certificate::{Certificate, Component, LEEWAY, check_strength, is_by, is_strong_digest, moment};
use super::verdict::{Fault, SignatureFault, Signer, Verdict};

/// Verifies a signature against the certificates, as of a moment.
pub(super) fn verify(payload: &[u8], armored: &str, certificates: &[Certificate], at: Timestamp) -> Verdict {
    let signature = read(armored)?;
    check_form(&signature)?;
    check_time(&signature, at)?;
    let mut faults = Vec::new();
    let mut signer = None;
    for certificate in certificates {
        for component in certificate.components() {
            match by_component(payload, &signature, certificate, component, at) {
                Some(Ok(found)) => signer = signer.or(Some(found)),
                Some(Err(fault)) => faults.push(fault),
                None => {}
            }
        }
    }
    // One copy of a certificate that is revoked outdoes any other that is not.
    if let Some(revoked) = faults.iter().position(|fault| fault.kind == SignatureFault::KeyRevoked) {
        return Err(faults.swap_remove(revoked));
    }
    // A key that has the right name and made something else says less than one that made this.
    faults.sort_by_key(|fault| fault.kind == SignatureFault::BadSignature);
    signer.ok_or_else(|| faults.into_iter().next().unwrap_or_else(|| unknown(&signature)))
}

/// Whether this key made the signature; none where the signature names another one.
fn by_component(
    payload: &[u8],
    signature: &Signature,
    certificate: &Certificate,
    component: Component<'_>,
    at: Timestamp,
) -> Option<Verdict> {
    match component {
        Component::Primary => by_key(payload, signature, certificate.primary()),
        Component::Subkey(subkey) => by_key(payload, signature, &subkey.key),
    }
    .map(|made| {
        let key = made?;
        certificate.permits(component, at)?;
        Ok(Signer {
            name: certificate.user(),
            key,
        })
    })
}

fn by_key(payload: &[u8], signature: &Signature, key: &impl VerifyingKey) -> Option<Result<String, Fault>> {
    if !is_by(signature, key) {
        return None;
    }
    if let Err(weak) = check_strength(key) {
        return Some(Err(weak));
    }
    let fingerprint = format!("{:X}", key.fingerprint());
    if signature.verify(key, payload).is_ok() {
        return Some(Ok(fingerprint));
    }
    let message = format!("it is not what {fingerprint} signed");
    Some(Err(Fault::new(SignatureFault::BadSignature, message)))
}

fn read(armored: &str) -> Result<Signature, Fault> {
    let unreadable = |why: &str| {
        Fault::new(
            SignatureFault::SignatureUnreadable,
            format!("its OpenPGP signature {why}"),
        )
    };
    if !armored.ends_with("-----END PGP SIGNATURE-----") {
        return Err(unreadable("has no end, or something follows it"));
    }
    let (mut parsed, _) =
        DetachedSignature::from_armor_many(armored.as_bytes()).map_err(|_| unreadable("cannot be read"))?;
    let first = parsed.next().ok_or_else(|| unreadable("is empty"))?;
    let first = first.map_err(|_| unreadable("cannot be read"))?;
    match parsed.next() {
        None => Ok(first.signature),
        Some(Ok(_)) => Err(Fault::new(
            SignatureFault::SeveralSignatures,
            "it carries several OpenPGP signatures",
        )),
        Some(Err(_)) => Err(unreadable("cannot be read to its end")),
    }
}

fn check_form(signature: &Signature) -> Result<(), Fault> {
    let unsupported = |what: &str| {
        Err(Fault::new(
            SignatureFault::SignatureUnsupported,
            format!("its OpenPGP signature {what}"),
        ))
    };
    let Some(config) = signature.config() else {
        return unsupported("is of an unknown version");
    };
    if !matches!(config.version(), SignatureVersion::V4 | SignatureVersion::V6) {
        return unsupported("is of an old version");
    }
    if config.typ() != SignatureType::Binary {
        return unsupported("is not one of a document");
    }
    let is_unknown = |data: &SubpacketData| {
        matches!(
            data,
            SubpacketData::Other(..) | SubpacketData::Experimental(..) | SubpacketData::Notation(_)
        )
    };
    if config
        .hashed_subpackets()
        .any(|subpacket| subpacket.is_critical && is_unknown(&subpacket.data))
    {
        return unsupported("has a critical part that is not understood");
    }
    if !is_strong_digest(signature.hash_alg()) {
        let digest = signature
            .hash_alg()
            .map_or_else(String::new, |digest| digest.to_string());
        let message = format!("its OpenPGP signature uses {digest}, which no longer proves anything");
        return Err(Fault::new(SignatureFault::WeakAlgorithm, message));
    }
    Ok(())
}

fn check_time(signature: &Signature, at: Timestamp) -> Result<(), Fault> {
    let Some(made) = signature.created() else {
        let message = "its OpenPGP signature does not say when it was made";
        return Err(Fault::new(SignatureFault::SignatureUnreadable, message));
    };
    let made = i64::from(made.as_secs());
    if made > at.as_second() + LEEWAY {
        let message = format!("its OpenPGP signature is dated {}, which is yet to come", moment(made));
        return Err(Fault::new(SignatureFault::NotYetValid, message));
    }
    let lasts = signature
        .signature_expiration_time()
        .map_or(0, pgp::types::Duration::as_secs);
    if lasts != 0 && made + i64::from(lasts) <= at.as_second() {
        let message = format!("its OpenPGP signature expired at {}", moment(made + i64::from(lasts)));
        return Err(Fault::new(SignatureFault::SignatureExpired, message));
    }
    Ok(())
}

fn unknown(signature: &Signature) -> Fault {
    let fingerprint = signature
        .issuer_fingerprint()
        .first()
        .map(|fingerprint| format!("{fingerprint:X}"));
    let id = || signature.issuer_key_id().first().map(ToString::to_string);
    let who = fingerprint.or_else(id).unwrap_or_else(|| "an unnamed key".to_owned());
    Fault::new(
        SignatureFault::UnknownKey,
        format!("it is signed with {who}, which no *.asc entry holds"),
    )
}
