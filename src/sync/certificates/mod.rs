//! The webhook's certificate, made and renewed by the leader of the loop, so that no valid request is ever refused:
//!
//! 1. the next certificate and its authority are put into the Secret; the webhook configuration trusts both authorities;
//! 2. once API servers had time to take that up, the next certificate is served;
//! 3. once every replica serves it, its authority is the only one that is trusted.
//!
//! What comes next is a pure function (`plan.rs`), all state is in one Secret (`stored.rs`). This reads, looks, and
//! writes the Secret; the webhook configuration follows it by [`super::own`], and replicas watch it.

mod dial;
pub mod issue;
mod plan;
mod stored;

use std::time::{Duration, Instant, SystemTime};

use futures::stream::SelectAll;
use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use dial::Dialer;
use plan::{Replicas, Sight, Step, Wait};
pub use stored::RENEW;
use stored::{Authority, Content, Stored};

use super::metrics::Metrics;
use super::own::manifest::{OwnKind, Wish};
use super::own::{Nudges, nudge};
use super::request::{CallError, FIELD_MANAGER, Failure, within};
use crate::cluster::certificates::AUTHORITIES;
use crate::ledger::{Ledger, Outcome, Record, Subject};

/// While a rotation is under way, or something failed, it is looked again after this long.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Otherwise after this long, whatever the watches say.
const REST: Duration = Duration::from_secs(30);
/// Rounds begin at least so far apart.
const PAUSE: Duration = Duration::from_millis(200);

/// Reasons of records.
const MADE: &str = "certificate-made";
const PREPARED: &str = "certificate-prepared";
const SERVED: &str = "certificate-served";
const SETTLED: &str = "certificate-settled";
const FAILED: &str = "certificate-failed";

/// Which certificate is kept, and for whom.
#[derive(Clone, Debug)]
pub struct CertificateOptions {
    /// Headgate's own namespace.
    pub namespace: String,
    /// The Secret that holds all of it.
    pub secret: String,
    /// The `ConfigMap` that says which webhook configuration trusts it.
    pub config_map: String,
    /// The Service whose endpoints are all replicas.
    pub service: String,
    /// The names and addresses under which the webhook is called; replicas are looked at by the first.
    pub names: Vec<String>,
    /// How long a certificate is good for; it is renewed when two thirds are over.
    pub validity: Duration,
    /// How long API servers may take to take up a changed webhook configuration.
    pub settle: Duration,
}

/// Why a certificate cannot be made or renewed.
#[derive(Debug, thiserror::Error)]
enum RotationError {
    #[error("{what} cannot be read: {source}")]
    Read { what: String, source: CallError },
    #[error("the Secret {secret} cannot be written: {source}")]
    Write { secret: String, source: CallError },
    #[error("no certificate can be made: {0}")]
    Issue(#[from] rcgen::Error),
    #[error("{0}")]
    Wish(String),
    #[error("\"{0}\" is neither a DNS name nor an address")]
    Name(String),
    #[error("the webhook has no name: --own-certs-name is needed")]
    NoName,
}

/// Keeps the certificate.
pub(super) struct Rotation {
    pub(super) client: Client,
    pub(super) options: CertificateOptions,
    pub(super) ledger: Ledger,
    pub(super) metrics: Metrics,
    pub(super) patience: Duration,
}

/// What a round leaves for the next one.
#[derive(Default)]
struct Memory {
    /// The authorities that the webhook configuration has trusted since then, as base64.
    configured: Option<(String, Instant)>,
    /// What was said last about a wait or a failure.
    said: Option<String>,
    /// Whose webhook configurations are watched.
    watched: Vec<String>,
}

impl Memory {
    /// For how long every entry of the webhook configurations has trusted what the Secret wants, without a break.
    fn configured_for(&mut self, wanted: String, bundles: &[String]) -> Option<Duration> {
        let is_configured = !wanted.is_empty() && !bundles.is_empty() && bundles.iter().all(|one| *one == wanted);
        let before = self.configured.take().filter(|(seen, _)| *seen == wanted);
        self.configured = is_configured.then(|| before.unwrap_or_else(|| (wanted, Instant::now())));
        self.configured.as_ref().map(|(_, since)| since.elapsed())
    }
}

/// How a round ended.
enum Ended {
    /// Something was written, or has to be tried again.
    Written,
    /// Nothing is to be done yet.
    Waiting(Wait),
    /// Headgate is being uninstalled.
    Over,
}

impl Rotation {
    /// Keeps it until cancelled.
    pub(super) async fn run(self, shutdown: CancellationToken) {
        self.keep(&shutdown).await;
        // Whoever leads next tells how many are trusted.
        self.metrics.trusted.set(0);
    }

    async fn keep(&self, shutdown: &CancellationToken) {
        let mut memory = Memory::default();
        let mut nudges = self.watch(&[]);
        loop {
            let begun = tokio::time::Instant::now();
            let watched = memory.watched.clone();
            let Some(ended) = shutdown.run_until_cancelled(self.round(&mut memory)).await else {
                return;
            };
            let pause = match ended {
                Ok(Ended::Written) => Duration::ZERO,
                Ok(Ended::Waiting(Wait::Renewal(_)) | Ended::Over) => {
                    memory.said = None;
                    REST
                }
                Ok(Ended::Waiting(_)) => LOOK_AGAIN,
                Err(error) => {
                    self.complain(&error, &mut memory);
                    LOOK_AGAIN
                }
            };
            if watched != memory.watched {
                nudges = self.watch(&memory.watched);
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                _ = nudges.next() => {}
            }
            tokio::time::sleep_until(begun + PAUSE).await;
            // What came meanwhile is one round.
            while matches!(nudges.next().now_or_never(), Some(Some(()))) {}
        }
    }

    fn watch(&self, configurations: &[String]) -> Nudges {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.options.namespace);
        let mut nudges = SelectAll::new();
        nudges.push(nudge(secrets, &self.options.secret));
        for name in configurations {
            nudges.push(nudge(self.configurations(), name));
        }
        nudges
    }

    fn configurations(&self) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &OwnKind::WebhookConfiguration.api())
    }

    async fn round(&self, memory: &mut Memory) -> Result<Ended, RotationError> {
        let Some(configurations) = self.wish().await? else {
            return Ok(Ended::Over);
        };
        memory.watched = configurations;
        let names = self.names()?;
        let dialer = Dialer {
            client: self.client.clone(),
            namespace: self.options.namespace.clone(),
            service: self.options.service.clone(),
            name: names.first().ok_or(RotationError::NoName)?.clone(),
            patience: self.patience,
        };
        let secret = self.secret().await?;
        let stored = Stored::read(secret.as_ref(), &names);
        let trusted = i64::try_from(stored.authorities.len());
        self.metrics.trusted.set(trusted.unwrap_or(i64::MAX));
        let bundles = self.bundles(&memory.watched).await?;
        let mut sight = Sight {
            now: Timestamp::now(),
            state: stored.state.clone(),
            configured: memory.configured_for(secret.as_ref().map(bundle).unwrap_or_default(), &bundles),
            replicas: Replicas::Unknown,
        };
        let mut step = plan::plan(&sight, self.options.settle);
        if let (Step::Wait(Wait::Replicas), Some(authority)) = (&step, stored.serving_authority()) {
            let endpoints = self.endpoints(&dialer).await?;
            let (replicas, why) = dialer.replicas(&endpoints, authority).await;
            if let Some(why) = why {
                let text = format!("not every replica serves the new certificate yet: {why}");
                say(memory, &text);
            }
            sight.replicas = replicas;
            step = plan::plan(&sight, self.options.settle);
        }
        let (content, reason, message) = match step {
            Step::Wait(wait) => {
                if wait == Wait::Trust {
                    say(
                        memory,
                        "the next certificate waits until API servers trust its authority",
                    );
                }
                return Ok(Ended::Waiting(wait));
            }
            Step::Begin => self.begin(&dialer, &bundles).await?,
            Step::Prepare => {
                let message = "the next one is prepared; its authority is trusted beside the old one";
                (stored.prepared(&self.issue()?, sight.now), PREPARED, message)
            }
            Step::Serve => (stored.served(), SERVED, "the next one is served from now on"),
            Step::Retire(gone) => (stored.retired(&gone), SETTLED, "the old authority is trusted no more"),
        };
        if self.write(secret.as_ref(), &content).await? {
            memory.said = None;
            self.record(Outcome::Replaced, reason, message);
        }
        Ok(Ended::Written)
    }

    /// The first certificate. What replicas serve from elsewhere, out of another mode's Secret or from before this one was
    /// deleted, stays trusted meanwhile: only authorities that verify what a ready replica serves, whoever else is in the
    /// webhook configuration.
    async fn begin(
        &self,
        dialer: &Dialer,
        bundles: &[String],
    ) -> Result<(Content, &'static str, &'static str), RotationError> {
        let endpoints = self.endpoints(dialer).await?;
        let mut beside: Vec<Authority> = Vec::new();
        let decoded = bundles.iter().filter_map(|bundle| decoded(bundle));
        for authority in decoded.flat_map(|pem| stored::authorities(&pem)) {
            if !beside.contains(&authority) && dialer.is_served(&endpoints, &authority).await {
                beside.push(authority);
            }
        }
        let content = Stored::begun(&self.issue()?, &beside);
        Ok(if beside.is_empty() {
            (content, MADE, "there was none; the first one is served from now on")
        } else {
            let message = "the first one is prepared; what replicas serve stays trusted meanwhile";
            (content, PREPARED, message)
        })
    }

    fn issue(&self) -> Result<issue::Issued, RotationError> {
        Ok(issue::issue(
            &self.options.names,
            self.options.validity,
            SystemTime::now(),
        )?)
    }

    fn names(&self) -> Result<Vec<ServerName<'static>>, RotationError> {
        let name = |name: &String| ServerName::try_from(name.clone()).map_err(|_| RotationError::Name(name.clone()));
        self.options.names.iter().map(name).collect()
    }

    /// Which webhook configurations trust the certificate; none where Headgate is being uninstalled.
    async fn wish(&self) -> Result<Option<Vec<String>>, RotationError> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.options.namespace);
        let name = &self.options.config_map;
        let map = within(self.patience, maps.get_opt(name)).await;
        let map = map.map_err(reading(format!("the ConfigMap {name}")))?;
        let map = map.ok_or_else(|| RotationError::Wish(format!("the ConfigMap {name} is not there")))?;
        let wish = Wish::of(&map);
        let wish =
            wish.map_err(|error| RotationError::Wish(format!("the ConfigMap {name} cannot be used: {error}")))?;
        Ok(match wish {
            Wish::LetGo(_) => None,
            Wish::Keep(manifests) => {
                let webhooks = |kind| kind == OwnKind::WebhookConfiguration;
                let names = manifests.into_iter().filter(|own| webhooks(own.kind));
                Some(names.map(|own| own.name).collect())
            }
        })
    }

    async fn secret(&self) -> Result<Option<Secret>, RotationError> {
        let name = &self.options.secret;
        let secret = within(self.patience, self.secrets().get_opt(name)).await;
        secret.map_err(reading(format!("the Secret {name}")))
    }

    async fn endpoints(&self, dialer: &Dialer) -> Result<Vec<dial::Endpoint>, RotationError> {
        let what = format!("the EndpointSlices of the Service {}", self.options.service);
        dialer.endpoints().await.map_err(reading(what))
    }

    /// What each entry of the webhook configurations trusts, as base64; empty where one trusts nobody.
    async fn bundles(&self, configurations: &[String]) -> Result<Vec<String>, RotationError> {
        let mut bundles = Vec::new();
        for name in configurations {
            let live = within(self.patience, self.configurations().get_opt(name)).await;
            let live = live.map_err(reading(format!("the webhook configuration {name}")))?;
            let webhooks = live.as_ref().and_then(|live| live.data.get("webhooks")?.as_array());
            for webhook in webhooks.into_iter().flatten() {
                let bundle = webhook.pointer("/clientConfig/caBundle").and_then(Value::as_str);
                bundles.push(bundle.unwrap_or_default().to_owned());
            }
        }
        Ok(bundles)
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.options.namespace)
    }

    /// Writes the Secret as a whole, on top of what was read. One that is not there is made by an apply: RBAC can tell
    /// the name of what is created so, and not by a POST. False where somebody wrote in between: it is looked again.
    async fn write(&self, secret: Option<&Secret>, content: &Content) -> Result<bool, RotationError> {
        let name = &self.options.secret;
        let version = secret.and_then(|secret| secret.metadata.resource_version.as_ref());
        let (params, patch) = if let Some(version) = version {
            let patch = json!({
                "metadata": {"resourceVersion": version, "annotations": {RENEW: null}},
                "data": content.data(true),
            });
            let params = PatchParams {
                field_manager: Some(FIELD_MANAGER.to_owned()),
                ..PatchParams::default()
            };
            (params, Patch::Merge(patch))
        } else {
            let apply = json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": content.data(false),
            });
            (PatchParams::apply(FIELD_MANAGER), Patch::Apply(apply))
        };
        let secrets = self.secrets();
        let written = within(self.patience, secrets.patch(name, &params, &patch)).await;
        match written {
            Err(error) if error.failure() == Failure::Conflict => Ok(false),
            Err(source) => Err(RotationError::Write {
                secret: name.clone(),
                source,
            }),
            Ok(_) => Ok(true),
        }
    }

    fn complain(&self, error: &RotationError, memory: &mut Memory) {
        let text = error.to_string();
        if memory.said.as_ref() != Some(&text) {
            tracing::warn!(error = text, "the webhook's certificate cannot be kept");
            self.record(Outcome::Failed, FAILED, &text);
            memory.said = Some(text);
        }
    }

    fn record(&self, outcome: Outcome, reason: &'static str, message: &str) {
        let object = format!("secrets/{}", self.options.secret);
        let message = format!("The webhook's certificate, {object}: {message}.");
        if outcome != Outcome::Failed {
            tracing::info!(reason, "{message}");
        }
        let mut record = Record::new(Timestamp::now(), Subject::Change, outcome, reason, message);
        record.object = Some(object);
        self.ledger.record(record);
    }
}

/// Says each thing once.
fn say(memory: &mut Memory, text: &str) {
    if memory.said.as_deref() != Some(text) {
        tracing::info!("{text}");
        memory.said = Some(text.to_owned());
    }
}

fn reading(what: String) -> impl FnOnce(CallError) -> RotationError {
    move |source| RotationError::Read { what, source }
}

/// What the Secret wants to be trusted, as base64.
fn bundle(secret: &Secret) -> String {
    let bytes = secret.data.as_ref().and_then(|data| data.get(AUTHORITIES));
    let text = bytes.and_then(|bytes| serde_json::to_value(bytes).ok());
    text.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn decoded(bundle: &str) -> Option<Vec<u8>> {
    let bytes: k8s_openapi::ByteString = serde_json::from_value(bundle.into()).ok()?;
    Some(bytes.0)
}
