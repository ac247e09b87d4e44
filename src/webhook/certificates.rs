//! The serving certificate: read from a folder, and read again when it changes, without a restart.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::sync::CancellationToken;

/// How often the folder is looked at. Kubelet swaps a symlink when a Secret changes, so there is no file to watch.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read, or holds no PEM of the right sort.
    #[error("{path} cannot be used: {source}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls_pki_types::pem::Error,
    },
    /// The file has no certificate in it.
    #[error("{0} holds no certificate")]
    NoCertificate(PathBuf),
    /// Key and certificate do not belong together, or the key is of no known sort.
    #[error("the key and the certificate in {folder} cannot be used together: {source}")]
    Pair {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// TLS cannot be set up at all.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[source] rustls::Error),
}

/// Serves the pair that was read last.
#[derive(Debug)]
struct Resolver {
    pair: ArcSwap<CertifiedKey>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.pair.load_full())
    }
}

/// The certificate in a folder: `tls.crt`, a chain, and `tls.key`.
#[derive(Clone, Debug)]
pub struct Certificates {
    folder: PathBuf,
    resolver: Arc<Resolver>,
    provider: Arc<CryptoProvider>,
}

impl Certificates {
    /// Reads the pair.
    ///
    /// # Errors
    /// When it cannot be served.
    pub fn read(folder: &Path) -> Result<Self, CertificateError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let pair = read_pair(folder, &provider)?;
        let resolver = Arc::new(Resolver {
            pair: ArcSwap::from_pointee(pair),
        });
        Ok(Self {
            folder: folder.to_owned(),
            resolver,
            provider,
        })
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

    /// Looks at the folder until told to stop. A pair that cannot be used, half of a rotation for example, leaves the
    /// old one in service.
    pub async fn keep_current(self, shutdown: CancellationToken) {
        let mut last_error = None;
        while shutdown
            .run_until_cancelled(tokio::time::sleep(LOOK_EVERY))
            .await
            .is_some()
        {
            match read_pair(&self.folder, &self.provider) {
                Ok(pair) => {
                    last_error = None;
                    if pair.cert != self.resolver.pair.load().cert {
                        self.resolver.pair.store(Arc::new(pair));
                        tracing::info!(folder = %self.folder.display(), "the certificate was replaced");
                    }
                }
                Err(error) => {
                    let error = error.to_string();
                    if last_error.as_ref() != Some(&error) {
                        tracing::warn!(
                            error,
                            "the certificate cannot be read again; the old one stays in service"
                        );
                        last_error = Some(error);
                    }
                }
            }
        }
    }
}

fn read_pair(folder: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, CertificateError> {
    let chain_path = folder.join("tls.crt");
    let key_path = folder.join("tls.key");
    let pem = |path: &Path, source| CertificateError::Pem {
        path: path.to_owned(),
        source,
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&chain_path)
        .and_then(Iterator::collect)
        .map_err(|error| pem(&chain_path, error))?;
    if chain.is_empty() {
        return Err(CertificateError::NoCertificate(chain_path));
    }
    let key = PrivateKeyDer::from_pem_file(&key_path).map_err(|error| pem(&key_path, error))?;
    CertifiedKey::from_der(chain, key, provider)
        .and_then(|pair| pair.keys_match().map(|()| pair))
        .map_err(|source| CertificateError::Pair {
            folder: folder.to_owned(),
            source,
        })
}
