//! What the ledger counts. Every label comes from a closed list.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::record::Record;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    subject: &'static str,
    outcome: &'static str,
}

/// Counters of records and Events.
#[derive(Clone, Debug, Default)]
pub struct LedgerMetrics {
    records: Family<Labels, Counter>,
    lines_dropped: Counter,
    events: Counter,
    events_dropped: Counter,
}

impl LedgerMetrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("records", "Records taken", metrics.records.clone());
        registry.register(
            "records_dropped",
            "Records whose line could not be written",
            metrics.lines_dropped.clone(),
        );
        registry.register("events", "Events written or updated", metrics.events.clone());
        registry.register(
            "events_dropped",
            "Records without an Event: too many at once, or the API server refused it",
            metrics.events_dropped.clone(),
        );
        metrics
    }

    pub(super) fn recorded(&self, record: &Record) {
        let labels = Labels {
            subject: record.subject.as_str(),
            outcome: record.outcome.as_str(),
        };
        self.records.get_or_create(&labels).inc();
    }

    /// Counts one, and tells how many there were before.
    pub(super) fn line_dropped(&self) -> u64 {
        self.lines_dropped.inc()
    }

    pub(super) fn event_written(&self) {
        self.events.inc();
    }

    pub(super) fn event_dropped(&self) {
        self.events_dropped.inc();
    }
}
