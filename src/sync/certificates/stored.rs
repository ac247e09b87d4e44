//! The Secret as the rotation reads and writes it. All of a rotation's state is in this one object, so that no step can
//! be half done: which certificate is served, which comes next, and by which authorities they are trusted.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use rustls::RootCertStore;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use sha2::{Digest as _, Sha256};

use super::issue::Issued;
use super::plan::{Fingerprint, Leaf, State, Trusted};
use crate::cluster::certificates::{AUTHORITIES, CERTIFICATE, KEY, content, validity};

/// The certificate that is served next, and its key.
const NEXT_CERTIFICATE: &str = "next-tls.crt";
const NEXT_KEY: &str = "next-tls.key";
/// Whoever sets this annotation asks for a new certificate.
pub const RENEW: &str = "headgate.dev/renew";

/// An authority's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    pub(super) fingerprint: Fingerprint,
    pub(super) der: CertificateDer<'static>,
    until: Timestamp,
}

/// What the Secret holds.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    /// What the plan is made from.
    pub(super) state: State,
    pub(super) authorities: Vec<Authority>,
    serving: Option<Pair>,
    next: Option<Pair>,
}

/// A certificate and its key, PEM.
#[derive(Clone)]
struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Pair")
    }
}

/// The certificates of a bundle; what cannot be read is none.
pub(super) fn authorities(pem: &[u8]) -> Vec<Authority> {
    let certificates = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
    certificates.filter_map(Authority::of).collect()
}

impl Authority {
    fn of(der: CertificateDer<'static>) -> Option<Self> {
        let (_, until) = validity(&der)?;
        let fingerprint = Sha256::digest(&der).into();
        Some(Self {
            fingerprint,
            der,
            until,
        })
    }

    /// A store with this authority alone.
    pub(super) fn alone(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates([self.der.clone()]);
        roots
    }
}

impl Stored {
    /// Reads the Secret, or what there is without one.
    pub(super) fn read(secret: Option<&Secret>, names: &[ServerName<'static>]) -> Self {
        let bytes = |key| secret.map_or(&[][..], |secret| content(secret, key));
        let authorities = authorities(bytes(AUTHORITIES));
        let pair = |certificate, key| {
            let pair = Pair {
                certificate: bytes(certificate).to_vec(),
                key: bytes(key).to_vec(),
            };
            Some((leaf(&pair, &authorities, names)?, pair))
        };
        let (serving, serving_pair) = pair(CERTIFICATE, KEY).unzip();
        let (next, next_pair) = pair(NEXT_CERTIFICATE, NEXT_KEY).unzip();
        let annotations = secret.and_then(|secret| secret.metadata.annotations.as_ref());
        let trusted = |authority: &Authority| Trusted {
            fingerprint: authority.fingerprint,
            until: authority.until,
        };
        Self {
            state: State {
                trusted: authorities.iter().map(trusted).collect(),
                serving,
                next,
                asked: annotations.is_some_and(|annotations| annotations.contains_key(RENEW)),
            },
            serving: serving_pair,
            next: next_pair,
            authorities,
        }
    }

    /// The authority of the certificate that is served.
    pub(super) fn serving_authority(&self) -> Option<&Authority> {
        let fingerprint = self.state.serving.as_ref()?.authority;
        self.authorities.iter().find(|one| one.fingerprint == fingerprint)
    }

    /// The first certificate, with the authorities of what is served from elsewhere. Where there are such, it waits until
    /// it is trusted.
    pub(super) fn begun(issued: &Issued, beside: &[Authority]) -> Content {
        let mut content = Content::default();
        let authorities = pem(beside) + &issued.authority;
        content.put(AUTHORITIES, authorities);
        let (certificate, key) = if beside.is_empty() {
            (CERTIFICATE, KEY)
        } else {
            (NEXT_CERTIFICATE, NEXT_KEY)
        };
        content.put(certificate, issued.certificate.clone());
        content.put(key, issued.key.clone());
        content
    }

    /// Another certificate comes next, and its authority is trusted beside those of what is or may be served.
    pub(super) fn prepared(&self, issued: &Issued, now: Timestamp) -> Content {
        let never_served = self.state.next.as_ref().map(|leaf| leaf.authority);
        let needed = |one: &&Authority| now < one.until && Some(one.fingerprint) != never_served;
        let needed: Vec<Authority> = self.authorities.iter().filter(needed).cloned().collect();
        let mut content = self.kept();
        content.put(AUTHORITIES, pem(&needed) + &issued.authority);
        content.put(NEXT_CERTIFICATE, issued.certificate.clone());
        content.put(NEXT_KEY, issued.key.clone());
        content
    }

    /// What came next is served now.
    pub(super) fn served(&self) -> Content {
        let mut content = Content::default();
        content.put(AUTHORITIES, pem(&self.authorities));
        if let Some(next) = &self.next {
            content.put(CERTIFICATE, next.certificate.clone());
            content.put(KEY, next.key.clone());
        }
        content
    }

    /// These authorities are trusted no more.
    pub(super) fn retired(&self, gone: &[Fingerprint]) -> Content {
        let stays = |one: &&Authority| !gone.contains(&one.fingerprint);
        let left: Vec<Authority> = self.authorities.iter().filter(stays).cloned().collect();
        let mut content = self.kept();
        content.put(AUTHORITIES, pem(&left));
        content
    }

    fn kept(&self) -> Content {
        let mut content = Content::default();
        if let Some(serving) = &self.serving {
            content.put(CERTIFICATE, serving.certificate.clone());
            content.put(KEY, serving.key.clone());
        }
        content
    }
}

/// The whole of what the Secret is to hold.
#[derive(Clone, Default)]
pub(super) struct Content(BTreeMap<&'static str, Vec<u8>>);

impl Content {
    fn put(&mut self, key: &'static str, value: impl Into<Vec<u8>>) {
        self.0.insert(key, value.into());
    }

    /// The Secret's `data`, in which what goes is null where `removing` it.
    pub(super) fn data(&self, removing: bool) -> BTreeMap<&'static str, Option<ByteString>> {
        let all = [AUTHORITIES, CERTIFICATE, KEY, NEXT_CERTIFICATE, NEXT_KEY];
        let value = |key| (key, self.0.get(key).cloned().map(ByteString));
        let values = all.into_iter().map(value);
        values.filter(|(_, value)| removing || value.is_some()).collect()
    }
}

/// What can be served: a pair that fits together, and that a trusted authority has signed.
fn leaf(pair: &Pair, authorities: &[Authority], names: &[ServerName<'static>]) -> Option<Leaf> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let certificate = CertificateDer::from_pem_slice(&pair.certificate).ok()?;
    let key = PrivateKeyDer::from_pem_slice(&pair.key).ok()?;
    let matching = CertifiedKey::from_der(vec![certificate.clone()], key, &provider).ok()?;
    matching.keys_match().ok()?;
    let (from, until) = validity(&certificate)?;
    let parsed = ParsedCertificate::try_from(&certificate).ok()?;
    // Whether it is good now is the plan's to say.
    let then = u64::try_from(from.as_second()).ok()?;
    let then = UnixTime::since_unix_epoch(std::time::Duration::from_secs(then));
    let algorithms = provider.signature_verification_algorithms.all;
    let signed = |one: &&Authority| {
        verify_server_cert_signed_by_trust_anchor(&parsed, &one.alone(), &[], then, algorithms).is_ok()
    };
    let authority = authorities.iter().find(signed)?;
    Some(Leaf {
        authority: authority.fingerprint,
        from,
        until: until.min(authority.until),
        fits: names.iter().all(|name| verify_server_name(&parsed, name).is_ok()),
    })
}

fn pem(authorities: &[Authority]) -> String {
    let mut text = String::new();
    for authority in authorities {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = serde_json::to_value(ByteString(authority.der.to_vec())).unwrap_or_default();
        let mut rest = encoded.as_str().unwrap_or_default();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(64));
            text.push_str(line);
            text.push('\n');
            rest = after;
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

#[cfg(test)]
#[path = "stored_tests.rs"]
mod tests;
