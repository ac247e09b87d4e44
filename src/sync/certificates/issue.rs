//! Making a certificate: an authority for this one certificate alone, whose key is thrown away once it has signed.
//!
//! Nobody can make another certificate that the API server would trust, not even who reads every Secret. What it costs
//! is that each renewal changes what the API server trusts; that path is then the only one, and often gone.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// Certificates are good from so long before they were made, for clocks that lag; shorter ones from a tenth of their
/// life.
const BACKDATED: Duration = Duration::from_hours(1);

/// A certificate and what it is trusted by, all PEM.
pub struct Issued {
    /// The authority's certificate.
    pub authority: String,
    /// The serving certificate.
    pub certificate: String,
    /// The serving certificate's key.
    pub key: String,
}

/// Makes an authority and a serving certificate for these DNS names and addresses, good for so long from `now` on.
///
/// # Errors
/// When a name is none, or there is no randomness.
pub fn issue(names: &[String], validity: Duration, now: SystemTime) -> Result<Issued, rcgen::Error> {
    let dated = |mut parameters: CertificateParams| {
        parameters.not_before = (now - BACKDATED.min(validity / 10)).into();
        parameters.not_after = (now + validity).into();
        parameters
    };
    let authority = CertifiedIssuer::self_signed(dated(authority()), KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let certificate = dated(serving(names)?).signed_by(&key, &authority)?;
    Ok(Issued {
        authority: authority.pem(),
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

fn authority() -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, "headgate-ca");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters
}

fn serving(names: &[String]) -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = CertificateParams::new(names)?;
    parameters
        .distinguished_name
        .push(DnType::CommonName, "headgate-webhook");
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters.use_authority_key_identifier_extension = true;
    Ok(parameters)
}
