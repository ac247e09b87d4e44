//! The HTTPS server that the API server calls.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use tokio_util::sync::CancellationToken;

use super::certificates::{CertificateError, CertificateSource, Certificates};
use super::desk::Desk;
use super::handler::{self, Gate};

/// The largest review that is read, in bytes: old and new object together may each reach the API server's own limit.
pub const MAX_BODY: usize = 7 * 1024 * 1024;
/// A client that has not sent its headers by then loses its connection.
const HEADER_PATIENCE: Duration = Duration::from_secs(10);

/// Where and how the server listens.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The address.
    pub listen: SocketAddr,
    /// Where the certificate comes from.
    pub certificates: CertificateSource,
    /// Between the order to stop and the closing of the listener, so that the API server has time to look elsewhere.
    pub drain_delay: Duration,
    /// How long requests in flight may take after the listener is closed.
    pub drain_patience: Duration,
}

/// Why the server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The certificate cannot be served.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The address cannot be had.
    #[error("the webhook cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The server stopped by itself.
    #[error("the webhook's server failed: {0}")]
    Serve(#[source] std::io::Error),
}

/// A server with its listener bound and its certificate read.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    certificates: Certificates,
    options: ServerOptions,
}

impl Server {
    /// Reads the certificate and binds the listener.
    ///
    /// # Errors
    /// When either cannot be had.
    pub fn bind(options: ServerOptions) -> Result<Self, ServerError> {
        let certificates = Certificates::read(options.certificates.clone())?;
        let failed = |source| ServerError::Listen {
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
            options,
        })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it serves with.
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// Serves until told to stop, then drains.
    ///
    /// # Errors
    /// When the server stops by itself.
    pub async fn run(self, gate: Arc<Gate>, shutdown: CancellationToken) -> Result<(), ServerError> {
        let Self {
            listener,
            certificates,
            options,
            ..
        } = self;
        let tls = RustlsConfig::from_config(certificates.server_config()?);
        let handle = Handle::new();
        let mut server = axum_server::from_tcp_rustls(listener, tls)
            .map_err(ServerError::Serve)?
            .handle(handle.clone());
        // The API server speaks HTTP/1.1 to webhooks; what else could be spoken would only be held open.
        let http1 = server.http_builder().clone().http1_only();
        *server.http_builder() = http1;
        server
            .http_builder()
            .http1()
            .timer(hyper_util::rt::TokioTimer::new())
            .header_read_timeout(HEADER_PATIENCE);
        let drain = async {
            shutdown.cancelled().await;
            tokio::time::sleep(options.drain_delay).await;
            handle.graceful_shutdown(Some(options.drain_patience));
            // The server's own future ends the select below once the last request is answered.
            std::future::pending::<()>().await;
        };
        let renew = certificates.keep_current(shutdown.child_token());
        tokio::pin!(renew);
        tokio::select! {
            ended = server.serve(router(gate).into_make_service()) => ended.map_err(ServerError::Serve),
            () = drain => Ok(()),
            () = async { renew.await; std::future::pending::<()>().await } => Ok(()),
        }
    }
}

/// The routes, without TLS.
pub fn router(gate: Arc<Gate>) -> Router {
    Router::new()
        .route("/validate", post(handler::validate))
        // The handler keeps to its own limit, so that a review beyond it is on record, too.
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::new(Desk::new(gate)))
}
