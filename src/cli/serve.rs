//! `headgate serve`, `webhook` and `sync`: puts the rooms together and runs them until told to stop.

mod certificates;
mod push;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use kube::Client;
use prometheus_client::registry::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::certificates::CertificateArguments;
use self::push::PushArguments;
use super::connect::ConnectArguments;
use super::{Ending, Failure};
use crate::cluster::{Grants, Namespaces, OwnSecret, SecretStore, follow_sources};
use crate::config::Config;
use crate::gate::Rules;
use crate::ledger::{self, EventOptions, Ledger, LedgerMetrics, write_events};
use crate::source::{CredentialStore, Keeper, KeeperOptions};
use crate::sync::{self, InForce, LeaderElection, OwnOptions, TrustOptions};
use crate::telemetry::{self, LogFormat, ProbeServer, Readiness};
use crate::webhook::{CertificateSource, Certificates, Gate, Server, ServerOptions, WebhookMetrics};

/// Requests in flight may take this long once the listener is closed.
const DRAIN_PATIENCE: Duration = Duration::from_secs(15);
/// Once the listener is closed, all parts may take this long to end.
const STOP_PATIENCE: Duration = Duration::from_secs(25);
/// The last records may take this long to be written.
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);

/// What both halves need.
#[derive(Clone, Debug, Args)]
struct CommonArguments {
    #[command(flatten)]
    connect: ConnectArguments,
    /// The configuration
    #[arg(long, env = "HEADGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder for the mirrors of the repositories
    #[arg(
        long,
        env = "HEADGATE_STATE_DIR",
        value_name = "DIR",
        default_value = "/var/lib/headgate"
    )]
    state_dir: PathBuf,
    /// Headgate's own namespace: Secrets, Events and the Lease are there
    #[arg(
        long,
        env = "HEADGATE_NAMESPACE",
        value_name = "NAME",
        default_value = "headgate-system"
    )]
    namespace: String,
    /// Where metrics and probes are served
    #[arg(
        long,
        env = "HEADGATE_METRICS_LISTEN",
        value_name = "ADDRESS",
        default_value = "[::]:8080"
    )]
    metrics_listen: SocketAddr,
    /// Let sources use file: URLs; for development
    #[arg(long, env = "HEADGATE_ALLOW_FILE_URLS")]
    allow_file_urls: bool,
    /// A fetch that takes longer is cut off; left out, git.limits.fetchTimeout of the configuration holds
    #[arg(long, env = "HEADGATE_FETCH_TIMEOUT", value_name = "DURATION", value_parser = humantime::parse_duration)]
    fetch_timeout: Option<Duration>,
    /// Which log lines to write, as in info or headgate=debug
    #[arg(long = "log", env = "HEADGATE_LOG", value_name = "FILTER", default_value = "info")]
    log_filter: String,
    /// How log lines look
    #[arg(long, env = "HEADGATE_LOG_FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,
}

/// What the webhook needs.
#[derive(Clone, Debug, Args)]
struct ListenArguments {
    /// The folder with tls.crt and tls.key
    #[arg(
        long,
        env = "HEADGATE_CERTS",
        value_name = "DIR",
        default_value = "/etc/headgate/certs"
    )]
    certs: PathBuf,
    /// The Secret of Headgate's namespace that holds them, where the sync loop makes and renews them (--own-certs)
    #[arg(long, env = "HEADGATE_CERTS_SECRET", value_name = "NAME", conflicts_with = "certs")]
    certs_secret: Option<String>,
    /// Where the API server's reviews are answered
    #[arg(long, env = "HEADGATE_LISTEN", value_name = "ADDRESS", default_value = "[::]:8443")]
    listen: SocketAddr,
    /// Between the order to stop and the closing of the listener
    #[arg(long, env = "HEADGATE_DRAIN_DELAY", value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    drain_delay: Duration,
}

/// What the sync loop needs.
#[derive(Clone, Debug, Args)]
struct LeaderArguments {
    /// Wait for a Lease before writing; for more than one replica
    #[arg(long, env = "HEADGATE_LEADER_ELECT")]
    leader_elect: bool,
    /// The `ConfigMap` of Headgate's namespace that says what its own objects are to be; without it they are left alone
    #[arg(long, env = "HEADGATE_OWN_MANIFESTS", value_name = "NAME")]
    own_manifests: Option<String>,
    /// The Secret whose ca.crt the webhook configuration is to trust, where the manifest does not say
    #[arg(long, env = "HEADGATE_OWN_CA", value_name = "NAME", requires = "own_manifests")]
    own_ca: Option<String>,
    #[command(flatten)]
    certificates: CertificateArguments,
    #[command(flatten)]
    push: PushArguments,
}

#[derive(Debug, Args)]
pub(super) struct ServeArguments {
    #[command(flatten)]
    common: CommonArguments,
    #[command(flatten)]
    listen: ListenArguments,
    #[command(flatten)]
    leader: LeaderArguments,
}

#[derive(Debug, Args)]
pub(super) struct WebhookArguments {
    #[command(flatten)]
    common: CommonArguments,
    #[command(flatten)]
    listen: ListenArguments,
}

#[derive(Debug, Args)]
pub(super) struct SyncArguments {
    #[command(flatten)]
    common: CommonArguments,
    #[command(flatten)]
    leader: LeaderArguments,
}

pub(super) async fn serve(arguments: ServeArguments) -> Result<Ending, Failure> {
    let mut process = Process::start("serve", &arguments.common).await?;
    process.add_webhook(&arguments.listen)?;
    process.add_push(&arguments.leader.push)?;
    process.add_sync(arguments.leader);
    process.run().await
}

pub(super) async fn webhook(arguments: WebhookArguments) -> Result<Ending, Failure> {
    let mut process = Process::start("webhook", &arguments.common).await?;
    process.add_webhook(&arguments.listen)?;
    process.run().await
}

pub(super) async fn sync(arguments: SyncArguments) -> Result<Ending, Failure> {
    let mut process = Process::start("sync", &arguments.common).await?;
    process.add_push(&arguments.leader.push)?;
    process.add_sync(arguments.leader);
    process.run().await
}

/// The parts of a process. Each is joined at the end: if one dies, the process does.
struct Process {
    client: Client,
    namespace: String,
    rules: Arc<Rules>,
    keeper: Keeper,
    ledger: Ledger,
    grants: Grants,
    namespaces: Namespaces,
    trust: TrustOptions,
    /// The Secrets that sources name: what is read of them is put on record.
    secrets: Arc<SecretStore>,
    registry: Registry,
    probes: ProbeServer,
    drain_delay: Duration,
    /// What the webhook serves with.
    certificates: Option<Certificates>,
    /// The webhook's listener closes when this is cancelled; the rest goes on meanwhile.
    stop_serving: CancellationToken,
    stop: CancellationToken,
    serving: JoinSet<Result<(), Failure>>,
    parts: JoinSet<(&'static str, Result<(), Failure>)>,
}

impl Process {
    async fn start(role: &'static str, arguments: &CommonArguments) -> Result<Self, Failure> {
        telemetry::start_logging(&arguments.log_filter, arguments.log_format)?;
        let config = Config::read(arguments.config.as_deref())?;
        let probes = ProbeServer::bind(arguments.metrics_listen)?;
        let client = arguments.connect.client().await?;
        let mut registry = telemetry::registry(&config.hash);
        let stop = CancellationToken::new();
        let secrets = Arc::new(SecretStore::new(client.clone(), &arguments.namespace));
        let trust = TrustOptions {
            namespace: arguments.namespace.clone(),
            configuration: Arc::new(InForce {
                hash: config.hash.clone(),
                content: config.content,
            }),
            sights: secrets.sights(),
        };
        let options = KeeperOptions {
            state_dir: arguments.state_dir.clone(),
            urls: config.urls.clone().with_files(arguments.allow_file_urls),
            fetch_timeout: arguments.fetch_timeout.unwrap_or(config.fetch_timeout),
            limits: config.limits.clone(),
            credentials: Arc::clone(&secrets) as Arc<dyn CredentialStore>,
        };
        let keeper = Keeper::start(options, stop.child_token());
        keeper.register(&mut registry);
        let metrics = LedgerMetrics::register(&mut registry);
        let (ledger, events) = Ledger::new(std::io::stdout(), metrics.clone()).with_events();
        let version = env!("CARGO_PKG_VERSION");
        ledger.record(ledger::trust::started(role, version, &config.hash, Timestamp::now()));
        let mut process = Self {
            trust,
            secrets,
            grants: Grants::new(config.grants),
            namespaces: Namespaces::new(client.clone()),
            rules: Arc::new(config.rules),
            namespace: arguments.namespace.clone(),
            drain_delay: Duration::ZERO,
            certificates: None,
            stop_serving: CancellationToken::new(),
            serving: JoinSet::new(),
            parts: JoinSet::new(),
            client,
            keeper,
            ledger,
            registry,
            probes,
            stop,
        };
        process.add_keeper();
        process.add_common(role, events, metrics);
        tracing::info!(role, version, config = config.hash, "headgate starts");
        Ok(process)
    }

    fn add_common(
        &mut self,
        role: &'static str,
        events: tokio::sync::mpsc::Receiver<crate::ledger::Record>,
        metrics: LedgerMetrics,
    ) {
        let client = self.client.clone();
        let sources = follow_sources(client.clone(), self.keeper.clone(), self.stop.child_token());
        self.add("the watch of PolicySources", async { Ok(sources.await?) });
        let grants = self.grants.clone().follow(client.clone(), self.stop.child_token());
        self.add("the watch of PolicyGrants", async { Ok(grants.await?) });
        let options = EventOptions {
            namespace: self.namespace.clone(),
            role,
            instance: instance(),
        };
        let writer = write_events(client, options, events, metrics, self.stop.child_token());
        self.add("the writer of Events", async {
            writer.await;
            Ok(())
        });
    }

    fn add_webhook(&mut self, arguments: &ListenArguments) -> Result<(), Failure> {
        let server = Server::bind(ServerOptions {
            listen: arguments.listen,
            certificates: match &arguments.certs_secret {
                Some(name) => CertificateSource::Secret(OwnSecret::new(self.client.clone(), &self.namespace, name)),
                None => CertificateSource::Folder(arguments.certs.clone()),
            },
            drain_delay: arguments.drain_delay,
            drain_patience: DRAIN_PATIENCE,
        })?;
        tracing::info!(address = %server.address(), "the webhook listens");
        self.drain_delay = arguments.drain_delay;
        server.certificates().register(&mut self.registry);
        self.certificates = Some(server.certificates().clone());
        let gate = Arc::new(Gate {
            keeper: self.keeper.clone(),
            rules: Arc::clone(&self.rules),
            grants: self.grants.clone(),
            namespaces: self.namespaces.clone(),
            ledger: self.ledger.clone(),
            metrics: WebhookMetrics::register(&mut self.registry),
        });
        let namespaces = self.namespaces.clone().follow(self.stop.child_token());
        self.add("the watch of namespaces", async { Ok(namespaces.await?) });
        let stop = self.stop_serving.clone();
        self.serving.spawn(async move { Ok(server.run(gate, stop).await?) });
        Ok(())
    }

    fn add_sync(&mut self, arguments: LeaderArguments) {
        let leader = arguments.leader_elect.then(|| LeaderElection {
            namespace: self.namespace.clone(),
            name: "headgate-sync".to_owned(),
            identity: format!("{}-{:08x}", instance(), fastrand::u32(..)),
        });
        let config_map = arguments.own_manifests;
        let certificates = arguments.certificates.options(&self.namespace, config_map.as_ref());
        let made = certificates.as_ref().map(|certificates| certificates.secret.clone());
        let own = config_map.map(|config_map| OwnOptions {
            namespace: self.namespace.clone(),
            config_map,
            ca_secret: made.or(arguments.own_ca),
        });
        let options = sync::Options {
            leader,
            grants: self.grants.clone(),
            own,
            certificates,
            trust: Some(self.trust.clone()),
            ..sync::Options::default()
        };
        options.metrics.register(&mut self.registry);
        let run = sync::run(
            self.client.clone(),
            self.keeper.clone(),
            Arc::clone(&self.rules),
            self.ledger.clone(),
            options,
            self.stop.child_token(),
        );
        self.add("the sync loop", async { Ok(run.await?) });
    }

    fn add_keeper(&mut self) {
        let (keeper, stop) = (self.keeper.clone(), self.stop.child_token());
        self.add("the keeper of heads", async move {
            tokio::select! {
                () = stop.cancelled() => Ok(()),
                () = keeper.broken() => Err("a task that keeps a head current failed".into()),
            }
        });
    }

    fn add(&mut self, name: &'static str, part: impl Future<Output = Result<(), Failure>> + Send + 'static) {
        self.parts.spawn(async move { (name, part.await) });
    }

    async fn run(mut self) -> Result<Ending, Failure> {
        let readiness = Readiness::new(self.keeper.clone(), self.certificates.clone());
        let registry = std::mem::take(&mut self.registry);
        tracing::info!(address = %self.probes.address(), "metrics and probes listen");
        let probes = self.probes.run(registry, readiness.clone(), self.stop.child_token());
        self.parts
            .spawn(async move { ("the server of metrics and probes", probes.await.map_err(Failure::from)) });
        let ended = tokio::select! {
            () = asked_to_stop() => {
                tracing::info!("asked to stop");
                Ok(())
            }
            Some(ended) = self.serving.join_next() => Err(early("the webhook", flatten(ended))),
            Some(ended) = self.parts.join_next() => Err(match ended {
                Ok((name, result)) => early(name, result),
                Err(error) => error.into(),
            }),
        };
        // The webhook drains while the mirrors and watches it decides by are still kept current.
        readiness.drain();
        self.stop_serving.cancel();
        let drained = async {
            let mut result = Ok(());
            while let Some(ended) = self.serving.join_next().await {
                result = result.and(flatten(ended));
            }
            self.stop.cancel();
            while let Some(ended) = self.parts.join_next().await {
                result = result.and(ended.map_err(Failure::from).and_then(|(_, ended)| ended));
            }
            result
        };
        let stopped = tokio::time::timeout(self.drain_delay + STOP_PATIENCE, drained).await;
        self.ledger.flush(FLUSH_PATIENCE);
        ended?;
        stopped.map_err(|_| format!("some parts did not stop within {STOP_PATIENCE:?}"))??;
        tracing::info!("headgate stops");
        Ok(Ending::Clean)
    }
}

/// This process among its like: in a Pod its name.
fn instance() -> String {
    std::env::var("HOSTNAME").unwrap_or_else(|_| "headgate".to_owned())
}

fn flatten(ended: Result<Result<(), Failure>, tokio::task::JoinError>) -> Result<(), Failure> {
    ended.map_err(Failure::from).and_then(std::convert::identity)
}

/// No part ends before it is told to.
fn early(name: &str, result: Result<(), Failure>) -> Failure {
    match result {
        Ok(()) => format!("{name} ended by itself").into(),
        Err(error) => error,
    }
}

async fn asked_to_stop() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be received; the process can only be killed");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
