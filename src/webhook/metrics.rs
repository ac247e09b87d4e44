//! What the webhook counts. Every label comes from a closed list.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::gate::decision::{Reason, Verdict};
use crate::gate::review::Operation;
use crate::gate::wording::verb;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Answered {
    Allowed,
    Denied,
    WouldDeny,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    operation: &'static str,
    outcome: Answered,
    reason: &'static str,
    dry_run: &'static str,
}

/// Counters of verdicts and the time they took.
#[derive(Clone, Debug)]
pub struct WebhookMetrics {
    verdicts: Family<Labels, Counter>,
    seconds: Histogram,
    in_flight: Gauge,
}

/// A review that is being judged, as long as this is held.
pub(super) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl WebhookMetrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let verdicts = Family::default();
        let seconds = Histogram::new(exponential_buckets(0.000_1, 2.5, 13));
        registry.register("verdicts", "Verdicts on admission reviews", verdicts.clone());
        registry.register_with_unit(
            "review_duration",
            "Time from a review's arrival to its answer",
            Unit::Seconds,
            seconds.clone(),
        );
        let in_flight = Gauge::default();
        registry.register("reviews_in_flight", "Reviews that are being judged", in_flight.clone());
        Self {
            verdicts,
            seconds,
            in_flight,
        }
    }

    pub(super) fn judged(&self, operation: Operation, verdict: &Verdict<'_>, dry_run: bool) {
        let outcome = match (verdict.allowed, verdict.reason.allows()) {
            (true, true) => Answered::Allowed,
            (true, false) => Answered::WouldDeny,
            (false, _) => Answered::Denied,
        };
        self.count(verb(operation), outcome, verdict.reason, dry_run);
    }

    pub(super) fn not_judged(&self, reason: Reason, allowed: bool) {
        let outcome = if allowed { Answered::WouldDeny } else { Answered::Denied };
        self.count("unknown", outcome, reason, false);
    }

    pub(super) fn begun(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    pub(super) fn answered(&self, took: Duration) {
        self.seconds.observe(took.as_secs_f64());
    }

    fn count(&self, operation: &'static str, outcome: Answered, reason: Reason, dry_run: bool) {
        let dry_run = if dry_run { "true" } else { "false" };
        self.verdicts
            .get_or_create(&Labels {
                operation,
                outcome,
                reason: reason.as_str(),
                dry_run,
            })
            .inc();
    }
}
