//! The loop that brings the cluster to HEAD and keeps it there: what is live as digests, the plan (pure), the writes,
//! the sources' status, the leader election.
//!
//! [`run`] is the whole of it; [`survey`](survey::survey) is one look without a write.

mod apply;
pub mod certificates;
mod change;
mod echoes;
mod engine;
mod follower;
pub mod leader;
pub mod live;
pub mod metrics;
pub mod namespaces;
pub mod own;
pub mod plan;
pub mod progress;
mod registrar;
pub mod report;
pub mod request;
pub mod served;
pub mod setback;
mod status;
pub mod stored;
pub mod survey;
mod trust;
mod watching;

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use certificates::CertificateOptions;
pub use leader::LeaderElection;
pub use metrics::Metrics;
pub use own::OwnOptions;
pub use plan::{Finding, Hold, Standing, Step};
pub use report::{Report, Tally};
pub use survey::{Survey, SurveyError, survey};
pub use trust::{InForce, TrustOptions};

use crate::cluster::Grants;
use crate::gate::Rules;
use crate::ledger::Ledger;
use crate::source::Keeper;

/// Sights that may wait to be taken in.
const SIGHTS: usize = 4096;

/// How the loop works.
#[derive(Clone, Debug)]
pub struct Options {
    /// The election to win before anything is written; none where there is only one process.
    pub leader: Option<LeaderElection>,
    /// So many writes at once.
    pub concurrency: usize,
    /// How long an edit or an undeclared object stays while a fresher commit is looked for.
    pub refresh_patience: Duration,
    /// After this long a call to the API server is given up.
    pub call_timeout: Duration,
    /// How often kinds that were not served are looked for.
    pub rediscover: Duration,
    /// Who may step around Git for a while; who follows them hands them in.
    pub grants: Grants,
    /// Counts what is done.
    pub metrics: Metrics,
    /// Headgate's own objects to keep; none where nobody said what they are to be.
    pub own: Option<OwnOptions>,
    /// The webhook's certificate to make and renew; none where somebody else does.
    pub certificates: Option<CertificateOptions>,
    /// What is trusted, whose changes are put on record; none where nobody keeps a ledger.
    pub trust: Option<TrustOptions>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            leader: None,
            concurrency: 16,
            refresh_patience: Duration::from_millis(300),
            call_timeout: Duration::from_secs(15),
            rediscover: Duration::from_secs(30),
            grants: Grants::none(),
            metrics: Metrics::default(),
            own: None,
            certificates: None,
            trust: None,
        }
    }
}

/// Why the loop ended although nobody asked it to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A part ended by itself.
    #[error("a part of the sync loop ended: {0}; restart the process")]
    Ended(&'static str),
    /// A part panicked.
    #[error("a part of the sync loop failed; restart the process: {0}")]
    Failed(#[from] tokio::task::JoinError),
}

/// Brings the cluster to the keeper's heads and keeps it there, until `shutdown` is cancelled. Who lists the sources
/// hands them to the keeper; this only writes their status.
///
/// # Errors
/// When a part of the loop dies: the process should, too.
pub async fn run(
    client: Client,
    keeper: Keeper,
    rules: Arc<Rules>,
    ledger: Ledger,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let Some(election) = options.leader.clone() else {
        options.metrics.leader.set(1);
        return lead(client, keeper, rules, ledger, options, shutdown).await;
    };
    let mut candidate = leader::Candidate::new(client.clone(), election);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = candidate.win() => {}
            () = follower::announce(&client, &keeper, options.call_timeout) => {
                return Err(Error::Ended("the announcements of a process that does not lead"));
            }
        }
        tracing::info!("this process leads: it writes from now on");
        options.metrics.leader.set(1);
        let term = shutdown.child_token();
        let (client, keeper, rules) = (client.clone(), keeper.clone(), Arc::clone(&rules));
        let mut leading = std::pin::pin!(lead(
            client,
            keeper,
            rules,
            ledger.clone(),
            options.clone(),
            term.clone()
        ));
        let ended = tokio::select! {
            ended = &mut leading => Some(ended),
            () = candidate.keep() => None,
        };
        options.metrics.leader.set(0);
        let Some(ended) = ended else {
            tracing::warn!("the lease is lost: this process writes no more");
            term.cancel();
            leading.await?;
            continue;
        };
        candidate.release().await;
        return ended;
    }
}

/// Runs all parts, and ends them all when one ends.
async fn lead(
    client: Client,
    keeper: Keeper,
    rules: Arc<Rules>,
    ledger: Ledger,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let token = shutdown.child_token();
    let (sights_in, sights) = mpsc::channel(SIGHTS);
    let (reports_in, reports) = watch::channel(Arc::default());
    let echoes = echoes::Echoes::default();
    let watching = watching::Watching {
        client: client.clone(),
        rules: Arc::clone(&rules),
        echoes: echoes.clone(),
        sights: sights_in,
        rediscover: options.rediscover,
        patience: options.call_timeout,
    };
    let engine = engine::Engine::new(engine::Parts {
        writer: apply::Writer {
            client: client.clone(),
            keeper: keeper.clone(),
            rules: Arc::clone(&rules),
            echoes,
            patience: options.call_timeout,
        },
        rules: Arc::clone(&rules),
        grants: options.grants.board(),
        ledger: ledger.clone(),
        metrics: options.metrics.clone(),
        concurrency: options.concurrency.max(1),
        refresh_patience: options.refresh_patience,
        sights,
        reports: reports_in,
    });
    let registrar = registrar::Registrar::new(
        client.clone(),
        options.grants.board(),
        ledger.clone(),
        options.call_timeout,
    );
    let own = options.own.map(|own| own::Own {
        client: client.clone(),
        options: own,
        ledger: ledger.clone(),
        metrics: options.metrics.clone(),
        patience: options.call_timeout,
    });
    let rotation = options.certificates.map(|certificates| certificates::Rotation {
        client: client.clone(),
        options: certificates,
        ledger: ledger.clone(),
        metrics: options.metrics.clone(),
        patience: options.call_timeout,
    });
    let configuration = options.trust.as_ref().map(|trust| trust.configuration.hash.clone());
    let trust = options.trust.map(|trust| trust::Trust {
        client: client.clone(),
        options: trust,
        ledger: ledger.clone(),
        patience: options.call_timeout,
    });
    let herald = status::Herald::new(client, keeper, rules, ledger, reports, options.call_timeout)
        .with_configuration(configuration.unwrap_or_default());
    let mut parts: JoinSet<&'static str> = JoinSet::new();
    let cancelled = || token.clone();
    parts.spawn(run_part("the watches", watching.run(cancelled())));
    parts.spawn(run_part("the engine", engine.run(cancelled())));
    parts.spawn(run_part("the sources' status", herald.run(cancelled())));
    parts.spawn(run_part("the status of grants", registrar.run(cancelled())));
    if let Some(trust) = trust {
        parts.spawn(run_part("the records of what is trusted", trust.run(cancelled())));
    }
    if let Some(own) = own {
        parts.spawn(run_part("the keeper of Headgate's own objects", own.run(cancelled())));
    }
    if let Some(rotation) = rotation {
        parts.spawn(run_part(
            "the keeper of the webhook's certificate",
            rotation.run(cancelled()),
        ));
    }
    let ended = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        Some(ended) = parts.join_next() => match ended {
            // The parts see the cancellation at the same time as this does.
            Ok(_) if shutdown.is_cancelled() => Ok(()),
            Ok(part) => Err(Error::Ended(part)),
            Err(error) => Err(error.into()),
        },
    };
    token.cancel();
    while let Some(last) = parts.join_next().await {
        last?;
    }
    ended
}

async fn run_part(name: &'static str, part: impl Future<Output = ()>) -> &'static str {
    part.await;
    name
}
