//! Headgate's own objects: the webhook configuration, and the admission policies that keep others from changing what
//! Headgate stands on. The API server asks no policy about policies, so whatever happens to these is put back.
//!
//! What they are to be is in a `ConfigMap` of Headgate's namespace, written by the chart before the objects themselves:
//! so an upgrade and the loop want the same. In `mode: Audit` they are kept, too: that mode is about network policy,
//! and without its webhook configuration nothing would be recorded any more.

mod comparison;
pub mod manifest;

use std::collections::HashMap;
use std::pin::Pin;
use std::time::Duration;

use futures::stream::SelectAll;
use futures::{FutureExt, Stream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{DynamicObject, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use comparison::Step;
use manifest::{Manifest, OwnKind, Wish};

use super::metrics::{Action, Metrics, WriteOutcome};
use super::request::{CallError, FIELD_MANAGER, Failure, within};
use crate::gate::Operation;
use crate::ledger::{Ledger, Outcome, Record, Subject};

/// A watch is renewed this often, so that a connection that died in silence is noticed.
const WATCH_SECONDS: u32 = 60;
/// Everything is looked at this often, whatever the watches say.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// After a failure it is tried again after this long.
const TRY_AGAIN: Duration = Duration::from_secs(2);
/// Rounds begin at least so far apart, so that a fight with another controller costs nobody the API server.
const PAUSE: Duration = Duration::from_millis(200);

/// Where it says what Headgate's own objects are to be.
#[derive(Clone, Debug)]
pub struct OwnOptions {
    /// Headgate's own namespace.
    pub namespace: String,
    /// The `ConfigMap` with the manifests.
    pub config_map: String,
    /// The Secret whose `ca.crt` the webhook configuration trusts, where the manifest does not say.
    pub ca_secret: Option<String>,
}

/// Keeps Headgate's own objects.
pub(super) struct Own {
    pub(super) client: Client,
    pub(super) options: OwnOptions,
    pub(super) ledger: Ledger,
    pub(super) metrics: Metrics,
    pub(super) patience: Duration,
}

/// Something happened to one of the objects, or to the `ConfigMap`.
pub(super) type Nudges = SelectAll<Pin<Box<dyn Stream<Item = ()> + Send>>>;

/// What was complained about last, by object: one line for each new reason.
type Complaints = HashMap<String, String>;

/// What a round leaves for the next one.
#[derive(Default)]
struct Memory {
    complaints: Complaints,
    /// What the webhook configuration was to trust last, in base64.
    authority: Option<String>,
}

/// How a look at one of the objects ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Done,
    Overtaken,
    Failed,
}

impl Own {
    /// Keeps them until cancelled.
    pub(super) async fn run(self, shutdown: CancellationToken) {
        self.keep_all(&shutdown).await;
        // Who leads next counts them; here nobody looks any more.
        self.metrics.own_unkept.set(0);
        self.metrics.own_manifests_unusable.set(0);
    }

    async fn keep_all(&self, shutdown: &CancellationToken) {
        let mut last: Option<Wish> = None;
        let mut memory = Memory::default();
        let mut nudges = self.watch(&[]);
        let mut watched: Vec<(OwnKind, String)> = Vec::new();
        loop {
            if shutdown.is_cancelled() {
                return;
            }
            let begun = Instant::now();
            let read = self.wish().await;
            let mut complete = read.is_ok();
            self.metrics.own_manifests_unusable.set(i64::from(read.is_err()));
            match read {
                Ok(wish) => {
                    if matches!(wish, Wish::LetGo(_)) && !matches!(last, Some(Wish::LetGo(_))) {
                        tracing::warn!("Headgate is being uninstalled: nothing of its own is put back any more");
                    }
                    memory.complaints.remove(&self.options.config_map);
                    last = Some(wish);
                }
                Err(error) => self.cannot_read(&error, last.is_some(), &mut memory.complaints),
            }
            let mut unkept = 0;
            if let Some(Wish::Keep(manifests)) = &last {
                let all: Vec<_> = manifests.iter().map(|own| (own.kind, own.name.clone())).collect();
                if all != watched {
                    nudges = self.watch(manifests);
                    watched = all;
                }
                for manifest in manifests {
                    let kept = self.keep(manifest, &mut memory).await;
                    unkept += i64::from(kept == Kept::Failed);
                    complete &= kept == Kept::Done;
                }
            }
            self.metrics.own_unkept.set(unkept);
            let pause = if complete { LOOK_AGAIN } else { TRY_AGAIN };
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

    /// What the `ConfigMap` says now.
    async fn wish(&self) -> Result<Wish, String> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.options.namespace);
        let map = within(self.patience, maps.get_opt(&self.options.config_map)).await;
        let name = &self.options.config_map;
        let map = map.map_err(|error| format!("the ConfigMap {name} cannot be read: {error}"))?;
        let map = map.ok_or_else(|| format!("the ConfigMap {name} is not there"))?;
        Wish::of(&map).map_err(|error| format!("the ConfigMap {name} cannot be used: {error}"))
    }

    /// Without the `ConfigMap` nobody knows what a new version wants, and a process that starts knows nothing at all.
    fn cannot_read(&self, error: &str, is_known: bool, complaints: &mut Complaints) {
        let name = &self.options.config_map;
        let meanwhile = if is_known {
            "what it said last stays in force"
        } else {
            "none of Headgate's own objects is kept until it can"
        };
        let error = format!("{error}; {meanwhile}");
        if complaints.get(name) != Some(&error) {
            let message = format!("Headgate's own objects may not be as they are to be: {error}");
            let mut record = Record::new(
                Timestamp::now(),
                Subject::Change,
                Outcome::Failed,
                "own-failed",
                message,
            );
            record.object = Some(format!("configmaps/{}/{name}", self.options.namespace));
            self.ledger.record(record);
        }
        complain(complaints, name, &error);
    }

    fn watch(&self, manifests: &[Manifest]) -> Nudges {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.options.namespace);
        let mut nudges = Nudges::new();
        nudges.push(nudge(maps, &self.options.config_map));
        if let Some(secret) = &self.options.ca_secret {
            let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.options.namespace);
            nudges.push(nudge(secrets, secret));
        }
        for own in manifests {
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &own.kind.api());
            nudges.push(nudge(api, &own.name));
        }
        nudges
    }

    /// Brings one object to what it is to be; false where that has to be tried again.
    async fn keep(&self, manifest: &Manifest, memory: &mut Memory) -> Kept {
        let label = manifest.label();
        match self.heal(manifest, memory).await {
            Ok(()) => {
                memory.complaints.remove(&label);
                Kept::Done
            }
            // Somebody wrote in between: the next round compares again.
            Err(error) if error.failure() == Failure::Conflict => Kept::Overtaken,
            Err(error) => {
                let text = error.to_string();
                if memory.complaints.get(&label) != Some(&text) {
                    self.ledger.record(failure(manifest, &text));
                }
                complain(&mut memory.complaints, &label, &text);
                Kept::Failed
            }
        }
    }

    async fn heal(&self, manifest: &Manifest, memory: &mut Memory) -> Result<(), CallError> {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &manifest.kind.api());
        let live = within(self.patience, api.get_opt(&manifest.name)).await?;
        let live = live.map(serde_json::to_value).transpose().map_err(not_json)?;
        let ca = self.authority(manifest).await?;
        match comparison::plan(manifest, live.as_ref(), ca.as_deref()) {
            Step::Keep => {}
            Step::Create(object) => {
                self.write(&api, manifest, Action::Create, &object).await?;
                self.ledger.record(change(manifest, Outcome::Created, None));
            }
            Step::Replace { object, differences } => {
                let written = self.write(&api, manifest, Action::Replace, &object).await?;
                let version = |object: &Value| object.pointer("/metadata/resourceVersion").cloned();
                // The API server may say the same in other words; then it stored nothing, and nothing had been changed.
                if version(&written) != version(&object) {
                    let live = live.unwrap_or_default();
                    let last = memory.authority.as_deref();
                    let mut record = if comparison::follows(manifest, &live, last, ca.as_deref()) {
                        trusting(manifest)
                    } else {
                        change(manifest, Outcome::Replaced, comparison::last_writer(&live).as_deref())
                    };
                    record.differences = differences;
                    self.ledger.record(record);
                }
            }
        }
        if ca.is_some() {
            memory.authority = ca;
        }
        Ok(())
    }

    async fn write(
        &self,
        api: &Api<DynamicObject>,
        manifest: &Manifest,
        action: Action,
        object: &Value,
    ) -> Result<Value, CallError> {
        let object: DynamicObject = serde_json::from_value(object.clone()).map_err(not_json)?;
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let written = match action {
            Action::Create => within(self.patience, api.create(&params, &object)).await,
            _ => within(self.patience, api.replace(&manifest.name, &params, &object)).await,
        };
        let outcome = match &written {
            Ok(_) => WriteOutcome::Done,
            Err(error) => error.failure().into(),
        };
        self.metrics.count_own(action, outcome);
        serde_json::to_value(written?).map_err(not_json)
    }

    /// The certificates that the webhook configuration is to trust, in base64, where a Secret holds them.
    async fn authority(&self, manifest: &Manifest) -> Result<Option<String>, CallError> {
        let Some(name) = self
            .options
            .ca_secret
            .as_ref()
            .filter(|_| manifest.kind == OwnKind::WebhookConfiguration)
        else {
            return Ok(None);
        };
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.options.namespace);
        let secret = within(self.patience, secrets.get_opt(name)).await?;
        let authority = secret.and_then(|secret| secret.data?.remove("ca.crt"));
        let text = authority.filter(|bytes| !bytes.0.is_empty()).map(serde_json::to_value);
        let text = text.transpose().map_err(not_json)?;
        Ok(text.as_ref().and_then(Value::as_str).map(str::to_owned))
    }
}

fn not_json(error: serde_json::Error) -> CallError {
    CallError::Answer(kube::Error::SerdeError(error))
}

/// A stream that says when something happens to this object, also that it is gone.
pub(super) fn nudge<K>(api: Api<K>, name: &str) -> Pin<Box<dyn Stream<Item = ()> + Send>>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let config = watcher::Config::default()
        .fields(&format!("metadata.name={name}"))
        .timeout(WATCH_SECONDS);
    let events = watcher(api, config).default_backoff();
    Box::pin(events.filter_map(async |event| {
        matches!(
            event,
            Ok(watcher::Event::Apply(_) | watcher::Event::Delete(_) | watcher::Event::InitDone)
        )
        .then_some(())
    }))
}

fn complain(complaints: &mut Complaints, about: &str, error: &str) {
    if complaints.get(about).map(String::as_str) != Some(error) {
        tracing::warn!(object = about, error, "one of Headgate's own objects cannot be kept");
        complaints.insert(about.to_owned(), error.to_owned());
    }
}

/// The record of something that was put back.
fn change(manifest: &Manifest, outcome: Outcome, writer: Option<&str>) -> Record {
    let label = manifest.label();
    let created = outcome == Outcome::Created;
    let message = if created {
        // An object that is gone tells nobody who took it: the API server's audit log does.
        format!("{label}, one of Headgate's own objects, was missing; created.")
    } else {
        let writer = writer.map(|writer| format!("; the last other writer was {writer}"));
        format!(
            "{label}, one of Headgate's own objects, was changed{}; put back.",
            writer.unwrap_or_default()
        )
    };
    let reason = if created { "own-missing" } else { "own-changed" };
    about(manifest, outcome, reason, message, created)
}

/// The record of a webhook configuration that follows a certificate.
fn trusting(manifest: &Manifest) -> Record {
    let message = format!(
        "{} trusts from now on whom the webhook's certificate needs.",
        manifest.label()
    );
    about(manifest, Outcome::Replaced, "certificate-trusted", message, false)
}

fn failure(manifest: &Manifest, error: &str) -> Record {
    let message = format!(
        "{}, one of Headgate's own objects, cannot be kept: {error}",
        manifest.label()
    );
    about(manifest, Outcome::Failed, "own-failed", message, false)
}

fn about(manifest: &Manifest, outcome: Outcome, reason: &'static str, message: String, created: bool) -> Record {
    let mut record = Record::new(Timestamp::now(), Subject::Change, outcome, reason, message);
    record.object = Some(manifest.label());
    record.operation = Some(if created { Operation::Create } else { Operation::Update });
    record
}
