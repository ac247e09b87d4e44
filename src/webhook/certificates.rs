//! The serving certificate: read from a folder or from a Secret, and read again when it changes, without a restart.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use k8s_openapi::api::core::v1::Secret;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::sync::CancellationToken;

use crate::cluster::certificates::{self, OwnSecret};

/// How often the folder is looked at. Kubelet swaps a symlink when a Secret changes, so there is no file to watch.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Something cannot be read, or holds no PEM of the right sort.
    #[error("{place} cannot be used: {source}")]
    Pem {
        /// What.
        place: String,
        /// Why.
        source: rustls_pki_types::pem::Error,
    },
    /// There is no certificate in it.
    #[error("{0} holds no certificate")]
    NoCertificate(String),
    /// Key and certificate do not belong together, or the key is of no known sort.
    #[error("the key and the certificate in {place} cannot be used together: {source}")]
    Pair {
        /// Where they are.
        place: String,
        /// Why.
        source: rustls::Error,
    },
    /// TLS cannot be set up at all.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[source] rustls::Error),
}

/// Where the certificate comes from.
#[derive(Clone, Debug)]
pub enum CertificateSource {
    /// A folder with `tls.crt` and `tls.key`. They have to be there at the start.
    Folder(PathBuf),
    /// The Secret that the sync loop keeps. Until there is something in it, nobody can be served.
    Secret(OwnSecret),
}

/// Serves the pair that was read last; nobody before there is one.
#[derive(Debug, Default)]
struct Resolver {
    pair: ArcSwapOption<CertifiedKey>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.pair.load_full()
    }
}

/// The certificate that is served: a chain and its key.
#[derive(Clone, Debug)]
pub struct Certificates {
    source: CertificateSource,
    resolver: Arc<Resolver>,
    provider: Arc<CryptoProvider>,
    /// When the certificate that is served ends, in seconds since 1970; 0 before there is one.
    ends: Gauge,
}

impl Certificates {
    /// Reads the pair where it is in a folder; one in a Secret is read by [`Certificates::keep_current`].
    ///
    /// # Errors
    /// When it cannot be served.
    pub fn read(source: CertificateSource) -> Result<Self, CertificateError> {
        let certificates = Self {
            source,
            resolver: Arc::default(),
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
            ends: Gauge::default(),
        };
        if let CertificateSource::Folder(folder) = &certificates.source {
            certificates.serve(read_folder(folder, &certificates.provider)?);
        }
        Ok(certificates)
    }

    /// Whether there is a certificate to serve.
    pub fn is_there(&self) -> bool {
        self.resolver.pair.load().is_some()
    }

    /// Makes visible when the certificate ends.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "certificate_expiration_timestamp",
            "When the certificate that is served ends, since 1970; 0 while there is none",
            Unit::Seconds,
            self.ends.clone(),
        );
    }

    /// A TLS configuration that always serves the newest pair.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, CertificateError> {
        let config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(CertificateError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.resolver) as Arc<dyn ResolvesServerCert>);
        Ok(Arc::new(config))
    }

    /// Looks at the source until told to stop. A pair that cannot be used, half of a rotation for example, leaves the
    /// old one in service.
    pub async fn keep_current(self, shutdown: CancellationToken) {
        let mut last_error = None;
        match self.source.clone() {
            CertificateSource::Folder(folder) => {
                while shutdown
                    .run_until_cancelled(tokio::time::sleep(LOOK_EVERY))
                    .await
                    .is_some()
                {
                    self.take(read_folder(&folder, &self.provider), &mut last_error);
                }
            }
            CertificateSource::Secret(secret) => {
                let take = |secret: &Secret| {
                    // The sync loop has not been here yet.
                    if !certificates::content(secret, certificates::CERTIFICATE).is_empty() {
                        self.take(read_secret(secret, &self.provider), &mut last_error);
                    }
                };
                if let Err(error) = secret.follow(take, shutdown).await {
                    tracing::error!(%error, "the certificate is renewed no more; restart the process");
                }
            }
        }
    }

    fn take(&self, read: Result<CertifiedKey, CertificateError>, last_error: &mut Option<String>) {
        match read {
            Ok(pair) => {
                *last_error = None;
                let before = self.resolver.pair.load();
                if before.as_ref().is_none_or(|before| before.cert != pair.cert) {
                    let source = &self.source;
                    if before.is_some() {
                        tracing::info!(?source, "the certificate was replaced");
                    } else {
                        tracing::info!(?source, "there is a certificate to serve");
                    }
                    self.serve(pair);
                }
            }
            Err(error) => {
                let error = error.to_string();
                if last_error.as_ref() != Some(&error) {
                    tracing::warn!(
                        error,
                        "the certificate cannot be read again; the old one stays in service"
                    );
                    *last_error = Some(error);
                }
            }
        }
    }

    fn serve(&self, pair: CertifiedKey) {
        let validity = pair.cert.first().and_then(|leaf| certificates::validity(leaf));
        self.ends.set(validity.map_or(0, |(_, until)| until.as_second()));
        self.resolver.pair.store(Some(Arc::new(pair)));
    }
}

fn read_folder(folder: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, CertificateError> {
    let chain_path = folder.join("tls.crt");
    let key_path = folder.join("tls.key");
    let pem = |path: &Path, source| CertificateError::Pem {
        place: path.display().to_string(),
        source,
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&chain_path)
        .and_then(Iterator::collect)
        .map_err(|error| pem(&chain_path, error))?;
    if chain.is_empty() {
        return Err(CertificateError::NoCertificate(chain_path.display().to_string()));
    }
    let key = PrivateKeyDer::from_pem_file(&key_path).map_err(|error| pem(&key_path, error))?;
    pair(chain, key, provider, || folder.display().to_string())
}

fn read_secret(secret: &Secret, provider: &CryptoProvider) -> Result<CertifiedKey, CertificateError> {
    let place = |key: &str| format!("{key} of the Secret {}", secret.metadata.name.as_deref().unwrap_or("?"));
    let pem = |key: &str, source| CertificateError::Pem {
        place: place(key),
        source,
    };
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(certificates::content(secret, certificates::CERTIFICATE))
            .collect::<Result<_, _>>()
            .map_err(|error| pem(certificates::CERTIFICATE, error))?;
    if chain.is_empty() {
        return Err(CertificateError::NoCertificate(place(certificates::CERTIFICATE)));
    }
    let key = PrivateKeyDer::from_pem_slice(certificates::content(secret, certificates::KEY))
        .map_err(|error| pem(certificates::KEY, error))?;
    pair(chain, key, provider, || place(certificates::KEY))
}

fn pair(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
    place: impl Fn() -> String,
) -> Result<CertifiedKey, CertificateError> {
    CertifiedKey::from_der(chain, key, provider)
        .and_then(|pair| pair.keys_match().map(|()| pair))
        .map_err(|source| CertificateError::Pair { place: place(), source })
}
