//! What the keeper counts. Label values come from closed sets, and from the names of sources.

use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric as _};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::desired::DesiredState;
use super::report::{RefusalReason, SourceReport};
use super::signature::SignatureFault;

/// The keeper's metrics. Clones count together.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    fetches: Family<FetchLabels, Counter>,
    duration: Histogram,
    refusals: Family<RefusalLabels, Counter>,
    unverified: Family<RefusalLabels, Counter>,
    confirmed: Family<SourceLabels, Gauge>,
    objects: Family<SourceLabels, Gauge>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Outcome {
    Ok,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FetchLabels {
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    reason: RefusalReason,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabels {
    source: String,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            fetches: Family::default(),
            duration: Histogram::new([0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0]),
            refusals: Family::default(),
            unverified: Family::default(),
            confirmed: Family::default(),
            objects: Family::default(),
        }
    }
}

impl Metrics {
    /// Hands the metrics to a registry.
    pub(super) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("source");
        registry.register("fetches", "Looks at repositories", self.fetches.clone());
        registry.register_with_unit("fetch", "Time a look took", Unit::Seconds, self.duration.clone());
        registry.register(
            "refusals",
            "Commits that were fetched and not accepted, counted once each",
            self.refusals.clone(),
        );
        registry.register(
            "unverified_heads",
            "Heads in force whose signature stopped to count, once each",
            self.unverified.clone(),
        );
        registry.register_with_unit(
            "confirmed_timestamp",
            "When the head of a source was confirmed last, in Unix time",
            Unit::Seconds,
            self.confirmed.clone(),
        );
        registry.register(
            "objects",
            "Objects that the head of a source declares",
            self.objects.clone(),
        );
    }

    pub(super) fn fetched(&self, succeeded: bool, took: Duration) {
        let outcome = if succeeded { Outcome::Ok } else { Outcome::Failed };
        self.fetches.get_or_create(&FetchLabels { outcome }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    pub(super) fn refused(&self, reason: RefusalReason) {
        self.refusals.get_or_create(&RefusalLabels { reason }).inc();
    }

    pub(super) fn unverified(&self, fault: SignatureFault) {
        let reason = RefusalReason::NotVerified(fault);
        self.unverified.get_or_create(&RefusalLabels { reason }).inc();
    }

    pub(super) fn stands(&self, source: &str, report: &SourceReport, confirmed_at: Option<Timestamp>) {
        let labels = label(source);
        if let Some(head) = &report.head {
            let objects = i64::try_from(head.entries.len()).unwrap_or(i64::MAX);
            self.objects.get_or_create(&labels).set(objects);
        }
        if let Some(confirmed_at) = confirmed_at {
            self.confirmed.get_or_create(&labels).set(confirmed_at.as_second());
        }
    }

    pub(super) fn gone(&self, source: &str) {
        let labels = label(source);
        self.objects.remove(&labels);
        self.confirmed.remove(&labels);
    }
}

/// Writes of each source that ever had a head here whether that is stale. One that is suspended is kept on purpose.
pub(super) fn encode_staleness(
    desired: &DesiredState,
    now: Timestamp,
    mut encoder: DescriptorEncoder<'_>,
) -> std::fmt::Result {
    let gauge = |stale: bool| ConstGauge::<i64>::new(i64::from(stale));
    let mut family = encoder.encode_descriptor(
        "source_stale",
        "Whether the repository of a source could not be read for longer than spec.staleAfter",
        None,
        gauge(false).metric_type(),
    )?;
    let with_head = desired.sources().iter().filter(|source| source.head.is_some());
    for source in with_head {
        let stale = gauge(!source.settings.suspend && source.is_stale(now));
        stale.encode(family.encode_family(&label(&source.name))?)?;
    }
    Ok(())
}

fn label(source: &str) -> SourceLabels {
    SourceLabels {
        source: source.to_owned(),
    }
}
