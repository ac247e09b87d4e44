//! Logs, metrics and health: what an operator's tools read.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::source::Keeper;
use crate::webhook::Certificates;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// Why telemetry cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error("--log: \"{filter}\" is not a log filter: {source}")]
    Filter {
        /// The filter.
        filter: String,
        /// Why.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The address cannot be had.
    #[error("metrics and probes cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The server stopped by itself.
    #[error("the server of metrics and probes failed: {0}")]
    Serve(#[source] std::io::Error),
}

/// Sends log lines to the standard error; the standard output belongs to records.
///
/// # Errors
/// When the filter cannot be read.
pub fn start_logging(filter: &str, format: LogFormat) -> Result<(), TelemetryError> {
    let parsed = EnvFilter::try_new(filter).map_err(|source| TelemetryError::Filter {
        filter: filter.to_owned(),
        source,
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        // It would be told to the standard error, which is what failed, with a panic: a full disk must not end the gate.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    // A second start, as in tests, keeps the first one's settings.
    let _ = match format {
        LogFormat::Text => builder
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .with_target(false)
            .try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}

/// Whether this process should be asked for verdicts: its listener is bound, it has a certificate to serve, its sources
/// are listed, each has a head or one failed attempt on record, and it is not about to stop.
#[derive(Clone)]
pub struct Readiness {
    keeper: Keeper,
    certificates: Option<Certificates>,
    /// Once ready, a process stays so: a new source has no head anywhere yet, and must not take the gate out of service.
    settled: Arc<AtomicBool>,
    draining: Arc<AtomicBool>,
}

impl Readiness {
    /// Follows a keeper, and what the webhook serves with where there is one. Made after the listener was bound.
    pub fn new(keeper: Keeper, certificates: Option<Certificates>) -> Self {
        Self {
            keeper,
            certificates,
            settled: Arc::default(),
            draining: Arc::default(),
        }
    }

    /// From now on the process is not ready.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    fn state(&self) -> Result<(), &'static str> {
        if self.draining.load(Ordering::Relaxed) {
            return Err("stopping");
        }
        if self.settled.load(Ordering::Relaxed) {
            return Ok(());
        }
        if !self.keeper.settled() {
            return Err("waiting for the list of PolicySources, and for one look at each repository");
        }
        if self
            .certificates
            .as_ref()
            .is_some_and(|certificates| !certificates.is_there())
        {
            return Err("waiting for the sync loop to make a certificate");
        }
        self.settled.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// Serves `/metrics`, `/healthz` and `/readyz`.
pub struct ProbeServer {
    listener: TcpListener,
    address: SocketAddr,
}

#[derive(Clone)]
struct Probes {
    registry: Arc<Mutex<Registry>>,
    readiness: Readiness,
}

impl ProbeServer {
    /// Binds the listener.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn bind(address: SocketAddr) -> Result<Self, TelemetryError> {
        let failed = |source| TelemetryError::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
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
        registry: Registry,
        readiness: Readiness,
        shutdown: CancellationToken,
    ) -> Result<(), TelemetryError> {
        let probes = Probes {
            registry: Arc::new(Mutex::new(registry)),
            readiness,
        };
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(|| async { "ok" }))
            .route("/readyz", get(ready))
            .with_state(probes);
        let listener = tokio::net::TcpListener::from_std(self.listener).map_err(TelemetryError::Serve)?;
        axum::serve(listener, router)
            .with_graceful_shutdown(shutdown.cancelled_owned())
            .await
            .map_err(TelemetryError::Serve)
    }
}

async fn ready(State(probes): State<Probes>) -> Response {
    match probes.readiness.state() {
        Ok(()) => "ok".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
    }
}

async fn metrics(State(probes): State<Probes>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let mut text = String::new();
    let encoded = {
        let registry = probes.registry.lock().unwrap_or_else(PoisonError::into_inner);
        prometheus_client::encoding::text::encode(&mut text, &registry)
    };
    match encoded {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// A registry with the build's version and the configuration's hash in it.
pub fn registry(config_hash: &str) -> Registry {
    let mut registry = Registry::with_prefix("headgate");
    let labels = vec![
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("config", config_hash.to_owned()),
    ];
    registry.register(
        "build",
        "The version that runs, and the hash of its configuration",
        Info::new(labels),
    );
    registry
}
