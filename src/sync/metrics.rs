//! What the loop does, in numbers.

use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::request::Failure;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EncodeLabelValue)]
pub enum Action {
    /// A missing object.
    Create,
    /// A changed object.
    Replace,
    /// An undeclared object.
    Delete,
}

/// How a write went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum WriteOutcome {
    /// Done.
    Done,
    /// Not needed any more when looked at again.
    Needless,
    /// Not found.
    NotFound,
    /// Someone else wrote in between.
    Conflict,
    /// Refused on admission.
    Denied,
    /// Not permitted.
    NotPermitted,
    /// Refused as such.
    Invalid,
    /// No answer, or one that says "later".
    Unavailable,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    action: Action,
    outcome: WriteOutcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PendingLabels {
    source: String,
    action: Action,
}

/// What the loop does, in numbers. Cheap to clone; all clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    writes: Family<WriteLabels, Counter>,
    own: Family<WriteLabels, Counter>,
    pub(super) own_unkept: Gauge,
    pub(super) own_manifests_unusable: Gauge,
    pub(super) drift: Gauge,
    heal: Histogram,
    pub(super) queue: Gauge,
    pending: Family<PendingLabels, Gauge>,
    pub(super) leader: Gauge,
    pub(super) trusted: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            writes: Family::default(),
            own: Family::default(),
            own_unkept: Gauge::default(),
            own_manifests_unusable: Gauge::default(),
            drift: Gauge::default(),
            heal: Histogram::new(exponential_buckets(0.002, 2.0, 16)),
            queue: Gauge::default(),
            pending: Family::default(),
            leader: Gauge::default(),
            trusted: Gauge::default(),
        }
    }
}

impl Metrics {
    /// Makes the metrics visible under `headgate_sync_…`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("sync");
        registry.register("writes", "Writes of guarded objects", self.writes.clone());
        registry.register("own_writes", "Writes of Headgate's own objects", self.own.clone());
        registry.register(
            "own_unkept",
            "Headgate's own objects that are not as they are to be, and could not be put back",
            self.own_unkept.clone(),
        );
        registry.register(
            "own_manifests_unusable",
            "Whether the ConfigMap that says what Headgate's own objects are to be is missing, unreadable or wrong",
            self.own_manifests_unusable.clone(),
        );
        registry.register(
            "drift",
            "Live objects that are missing, changed or undeclared",
            self.drift.clone(),
        );
        registry.register_with_unit(
            "heal",
            "From the event that showed the drift to the write that undid it",
            Unit::Seconds,
            self.heal.clone(),
        );
        registry.register(
            "queue",
            "Objects waiting to be written or being written",
            self.queue.clone(),
        );
        registry.register(
            "pending_objects",
            "Objects that are still to be created, replaced or deleted for a source; absent where there is nothing to do",
            self.pending.clone(),
        );
        registry.register("leader", "Whether this process writes", self.leader.clone());
        registry.register(
            "trusted_authorities",
            "Authorities that the API server is to trust for the webhook; more than one while a certificate is renewed",
            self.trusted.clone(),
        );
    }

    pub(super) fn count(&self, action: Action, outcome: WriteOutcome) {
        self.writes.get_or_create(&WriteLabels { action, outcome }).inc();
    }

    /// Shows what is left to do, in place of what was shown before.
    pub(super) fn left_to_do<'a>(&self, pending: impl Iterator<Item = (&'a Arc<str>, Action, usize)>) {
        self.pending.clear();
        for (source, action, left) in pending {
            let source = source.to_string();
            let gauge = self.pending.get_or_create(&PendingLabels { source, action });
            gauge.set(i64::try_from(left).unwrap_or(i64::MAX));
        }
    }

    pub(super) fn count_own(&self, action: Action, outcome: WriteOutcome) {
        self.own.get_or_create(&WriteLabels { action, outcome }).inc();
    }

    pub(super) fn healed(&self, took: std::time::Duration) {
        self.heal.observe(took.as_secs_f64());
    }
}

impl From<Failure> for WriteOutcome {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotFound => Self::NotFound,
            Failure::Conflict => Self::Conflict,
            Failure::Denied => Self::Denied,
            Failure::NotPermitted => Self::NotPermitted,
            Failure::Invalid => Self::Invalid,
            Failure::Unavailable => Self::Unavailable,
        }
    }
}
