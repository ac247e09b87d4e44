//! Kubernetes Events for people who look with kubectl. They are a convenience beside the lines: limited in rate,
//! grouped, and gone after an hour.
//!
//! They live in Headgate's own namespace: in a namespace that is going none could be created.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::groups::{Group, Groups, Step};
use super::metrics::LedgerMetrics;
use super::record::{Outcome, Record, Subject};
use crate::gate::wording::inline;
use crate::policy::kind::api_version;
use crate::source::PolicySource;

/// How long one write may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often counts that are behind are looked at.
const TICK: Duration = Duration::from_secs(5);
/// Longer user names share their groups.
const MAX_USER: usize = 256;
/// The API server refuses longer notes.
const MAX_NOTE: usize = 1024;

/// Where Events go and who writes them.
#[derive(Clone, Debug)]
pub struct EventOptions {
    /// Headgate's own namespace.
    pub namespace: String,
    /// Which half writes: `webhook` or `sync`.
    pub role: &'static str,
    /// The process, a Pod's name for example.
    pub instance: String,
}

/// Writes Events until told to stop, or until no ledger is left.
pub async fn write_events(
    client: Client,
    options: EventOptions,
    mut records: mpsc::Receiver<Record>,
    metrics: LedgerMetrics,
    shutdown: CancellationToken,
) {
    let api = Api::namespaced(client, &options.namespace);
    let mut writer = Writer {
        api,
        options,
        metrics,
        groups: Groups::new(Instant::now()),
    };
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            record = records.recv() => match record {
                Some(record) => writer.take(&record).await,
                None => return,
            },
            _ = tick.tick() => writer.catch_up().await,
        }
    }
}

struct Writer {
    api: Api<Event>,
    options: EventOptions,
    metrics: LedgerMetrics,
    groups: Groups,
}

impl Writer {
    async fn take(&mut self, record: &Record) {
        let user = record
            .user
            .as_ref()
            .map(|user| cut(&user.username, MAX_USER))
            .unwrap_or_default();
        let group = Group {
            user,
            key: record.key.clone(),
            namespace: record.namespace.clone(),
            own: record.object.clone(),
            reason: record.reason,
        };
        match self.groups.take(&group, Instant::now()) {
            Step::Create => self.create(group, record).await,
            Step::Count { name, count } => self.count(&name, count).await,
            Step::Later => {}
            Step::Drop => self.metrics.event_dropped(),
        }
    }

    async fn catch_up(&mut self) {
        for (name, count) in self.groups.behind(Instant::now()) {
            self.count(&name, count).await;
        }
    }

    async fn create(&mut self, group: Group, record: &Record) {
        let event = self.event(&group, record);
        let name = event.metadata.name.clone().unwrap_or_default();
        let parameters = PostParams::default();
        let written = tokio::time::timeout(PATIENCE, self.api.create(&parameters, &event)).await;
        if self.counted(&written) {
            self.groups.created(group, name, Instant::now());
        }
    }

    async fn count(&self, name: &str, count: i32) {
        let series = EventSeries {
            count,
            last_observed_time: MicroTime(Timestamp::now()),
        };
        let patch = Patch::Merge(serde_json::json!({ "series": series }));
        let parameters = PatchParams::default();
        let written = tokio::time::timeout(PATIENCE, self.api.patch(name, &parameters, &patch)).await;
        self.counted(&written);
    }

    fn counted<T>(&self, written: &Result<kube::Result<T>, tokio::time::error::Elapsed>) -> bool {
        let written = matches!(written, Ok(Ok(_)));
        if written {
            self.metrics.event_written();
        } else {
            self.metrics.event_dropped();
        }
        written
    }

    fn event(&self, group: &Group, record: &Record) -> Event {
        let namespace = &self.options.namespace;
        Event {
            metadata: ObjectMeta {
                name: Some(event_name(group, record.time)),
                namespace: Some(namespace.clone()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(record.time)),
            reporting_controller: Some(format!("headgate.dev/{}", self.options.role)),
            reporting_instance: Some(cut(&self.options.instance, 128)),
            action: Some(record.action().to_owned()),
            reason: Some(record.reason.to_owned()),
            type_: Some(if record.is_warning() { "Warning" } else { "Normal" }.to_owned()),
            note: Some(cut(&note(record), MAX_NOTE)),
            regarding: Some(regarding(namespace, record)),
            related: related(record),
            ..Event::default()
        }
    }
}

/// An Event may only regard an object of its own namespace; of what is cluster-scoped the API server asks the same.
fn regarding(namespace: &str, record: &Record) -> ObjectReference {
    let reference = |api_version: &str, kind: &str, name: &str| ObjectReference {
        api_version: Some(api_version.to_owned()),
        kind: Some(kind.to_owned()),
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        ..ObjectReference::default()
    };
    match &record.source {
        Some(source) => reference(&PolicySource::api_version(&()), &PolicySource::kind(&()), source),
        None => reference("v1", "Namespace", namespace),
    }
}

fn related(record: &Record) -> Option<ObjectReference> {
    if let Some(namespace) = &record.namespace {
        return Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Namespace".to_owned()),
            name: Some(namespace.clone()),
            ..ObjectReference::default()
        });
    }
    let key = record.key.as_ref()?;
    let definition = key.kind().definition();
    let (group, version) = definition.served.first()?;
    Some(ObjectReference {
        api_version: Some(api_version(group, version)),
        kind: Some(definition.kind.to_owned()),
        name: Some(key.name().to_owned()),
        namespace: key.namespace().map(str::to_owned),
        ..ObjectReference::default()
    })
}

fn note(record: &Record) -> String {
    match &record.user {
        Some(user) => inline(&format!("{}: {}", user.username, record.message)),
        None => inline(&record.message),
    }
}

/// Unique per group and time, and a valid name whatever the user or the object are called.
fn event_name(group: &Group, time: Timestamp) -> String {
    use std::fmt::Write as _;
    let mut hash = Sha256::new();
    hash.update(format!("{group:?} {}", time.as_nanosecond()));
    hash.finalize()
        .iter()
        .take(10)
        .fold("headgate.".to_owned(), |mut name, byte| {
            let _ = write!(name, "{byte:02x}");
            name
        })
}

fn cut(text: &str, most: usize) -> String {
    text.get(..text.floor_char_boundary(most))
        .unwrap_or_default()
        .to_owned()
}

impl Record {
    /// Whether the record becomes an Event: refusals, what the loop had to put right, and all that has to do with a grant;
    /// never a dry run.
    pub(super) fn makes_event(&self) -> bool {
        let everyday = match self.outcome {
            // What comes of what was asked makes one.
            Outcome::Allowed | Outcome::Asked | Outcome::Started => true,
            Outcome::Created => self.object.is_none(),
            _ => false,
        };
        !self.dry_run && (!everyday || self.grant.is_some())
    }

    fn is_warning(&self) -> bool {
        matches!(
            self.outcome,
            Outcome::Denied | Outcome::WouldDeny | Outcome::Failed | Outcome::Refused | Outcome::Granted
        ) || self.subject == Subject::Verdict && self.grant.is_some()
    }

    fn action(&self) -> &'static str {
        match self.subject {
            Subject::Verdict => "Judge",
            Subject::Change => "Sync",
            Subject::Head => "Accept",
            Subject::Grant => "Grant",
            Subject::Trust => "Trust",
        }
    }
}
