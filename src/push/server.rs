//! The listener of the push endpoint: HTTP, or HTTPS where there is a certificate, with bounds on connections and time.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum_server::accept::DefaultAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use axum_server::{Handle, Server};
use tokio_util::sync::CancellationToken;

use super::acceptor::Limited;
use super::delivery::{Receiver, router};
use super::metrics::PushMetrics;
use crate::webhook::certificates::CertificateError;
use crate::webhook::{CertificateSource, Certificates};

/// A client that has not sent its headers, or not shaken hands, by then loses its connection.
const HEADER_PATIENCE: Duration = Duration::from_secs(10);
/// Connections at once; each has one delivery, and lasts for half a minute at most.
const MAX_CONNECTIONS: usize = 64;
/// Deliveries under way may take this long once the listener is closed.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);

/// Where and how the endpoint listens.
#[derive(Clone, Debug)]
pub struct PushOptions {
    /// The address.
    pub listen: SocketAddr,
    /// A folder with `tls.crt` and `tls.key`; without it, plain HTTP is spoken, to a proxy that ends TLS.
    pub certificates: Option<PathBuf>,
}

/// Why the endpoint cannot run.
#[derive(Debug, thiserror::Error)]
pub enum PushServerError {
    /// The certificate cannot be served.
    #[error("the push endpoint: {0}")]
    Certificate(#[from] CertificateError),
    /// The address cannot be had.
    #[error("the push endpoint cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The server stopped by itself.
    #[error("the push endpoint failed: {0}")]
    Serve(#[source] std::io::Error),
}

/// An endpoint with its listener bound and its certificate read.
pub struct PushServer {
    listener: TcpListener,
    address: SocketAddr,
    certificates: Option<Certificates>,
}

impl PushServer {
    /// Reads the certificate, where there is one, and binds the listener.
    ///
    /// # Errors
    /// When either cannot be had.
    pub fn bind(options: PushOptions) -> Result<Self, PushServerError> {
        let certificates = options.certificates.map(CertificateSource::Folder);
        let certificates = certificates.map(Certificates::read).transpose()?;
        let failed = |source| PushServerError::Listen {
            address: options.listen,
            source,
        };
        let listener = TcpListener::bind(options.listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self {
            listener,
            address,
            certificates,
        })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until told to stop.
    ///
    /// # Errors
    /// When the server stops by itself.
    pub async fn run(
        self,
        receiver: Arc<Receiver>,
        metrics: PushMetrics,
        shutdown: CancellationToken,
    ) -> Result<(), PushServerError> {
        let handle = Handle::new();
        let app = router(receiver).into_make_service();
        let server = axum_server::from_tcp(self.listener).map_err(PushServerError::Serve)?;
        let server = bounded(server, handle.clone());
        let stopping = async {
            shutdown.cancelled().await;
            handle.graceful_shutdown(Some(DRAIN_PATIENCE));
            // The server's own future ends the select below.
            std::future::pending::<()>().await;
        };
        let Some(certificates) = self.certificates else {
            let server = server.map(|inner: DefaultAcceptor| Limited::new(inner, MAX_CONNECTIONS, metrics));
            return tokio::select! {
                ended = server.serve(app) => ended.map_err(PushServerError::Serve),
                () = stopping => Ok(()),
            };
        };
        let tls = RustlsConfig::from_config(certificates.server_config()?);
        let tls = RustlsAcceptor::new(tls).handshake_timeout(HEADER_PATIENCE);
        let server = server.acceptor(Limited::new(tls, MAX_CONNECTIONS, metrics));
        let renewing = certificates.keep_current(shutdown.child_token());
        tokio::pin!(renewing);
        tokio::select! {
            ended = server.serve(app) => ended.map_err(PushServerError::Serve),
            () = stopping => Ok(()),
            () = async { renewing.await; std::future::pending::<()>().await } => Ok(()),
        }
    }
}

/// One request a connection: who waits for the next one would take a place.
fn bounded<A>(server: Server<SocketAddr, A>, handle: Handle<SocketAddr>) -> Server<SocketAddr, A> {
    let mut server = server.handle(handle).first_request_timeout(HEADER_PATIENCE);
    let http1 = server.http_builder().clone().http1_only();
    *server.http_builder() = http1;
    server
        .http_builder()
        .http1()
        .keep_alive(false)
        .timer(hyper_util::rt::TokioTimer::new())
        .header_read_timeout(HEADER_PATIENCE);
    server
}
