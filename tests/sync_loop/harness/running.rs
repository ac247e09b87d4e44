//! A loop under test, what it put on record, and how it ends.

use std::sync::{Arc, Mutex};

use headgate::policy::canonicalize;
use headgate::source::Keeper;
use headgate::sync;
use kube::api::DynamicObject;
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{Failure, Outcome};

/// A loop that runs.
pub(crate) struct Running {
    pub(crate) keeper: Keeper,
    pub(super) registry: prometheus_client::registry::Registry,
    pub(super) lines: Lines,
    pub(super) stop: CancellationToken,
    pub(super) task: JoinHandle<Result<(), sync::Error>>,
    pub(super) feeder: JoinHandle<()>,
}

/// What the ledger wrote.
#[derive(Clone, Default)]
pub(super) struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Ok(mut lines) = self.0.lock() {
            lines.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Running {
    /// The records of the ledger.
    pub(crate) fn records(&self) -> Result<Vec<Value>, Failure> {
        let lines = self.lines.0.lock().map_err(|_| "a writer panicked")?.clone();
        let records = serde_json::Deserializer::from_slice(&lines).into_iter::<Value>();
        Ok(records.collect::<Result<_, _>>()?)
    }

    /// How many records have this outcome.
    pub(crate) fn count(&self, outcome: &str) -> Result<usize, Failure> {
        Ok(self
            .records()?
            .iter()
            .filter(|record| record["outcome"] == outcome)
            .count())
    }

    /// What the metric says whose line begins like this, labels included; 0 where there is none yet.
    pub(crate) fn metric(&self, line: &str) -> Result<f64, Failure> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        let value = text
            .lines()
            .find_map(|found| found.strip_prefix(line)?.trim().parse().ok());
        Ok(value.unwrap_or(0.0))
    }

    /// How many writes the API server refused as such.
    pub(crate) fn refusals(&self, action: &str) -> Result<f64, Failure> {
        self.metric(&format!("sync_writes_total{{action=\"{action}\",outcome=\"Invalid\"}}"))
    }

    /// What the loop's head declares and the cluster does not hold by exactly this digest.
    pub(crate) async fn inexact(&self, client: &Client) -> Result<Vec<String>, Failure> {
        let mut inexact = Vec::new();
        for source in self.keeper.desired().sources() {
            let head = source.head.as_ref().ok_or("no head")?;
            for (key, entry) in &head.entries {
                let definition = key.kind().definition();
                let (group, version) = definition.served.first().copied().unwrap_or((definition.group, "v1"));
                let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, definition.kind));
                let api: Api<DynamicObject> = match key.namespace() {
                    Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
                    None => Api::all_with(client.clone(), &resource),
                };
                let live = serde_json::to_value(api.get_opt(key.name()).await?)?;
                let digest = canonicalize(live).ok().and_then(|canonical| canonical.digest().ok());
                if digest != Some(entry.digest) {
                    inexact.push(key.to_string());
                }
            }
        }
        Ok(inexact)
    }

    /// Ends the loop as a signal does.
    pub(crate) async fn stop(self) -> Outcome {
        self.stop.cancel();
        self.task.await??;
        self.feeder.await?;
        self.keeper.stopped().await;
        Ok(())
    }

    /// Ends the loop as a crash does: nothing is released.
    pub(crate) fn crash(self) {
        self.task.abort();
        self.feeder.abort();
        self.stop.cancel();
    }
}
