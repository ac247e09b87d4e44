//! What the push endpoint counts. Every label comes from a closed list: names in requests are anybody's to make up.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Outcome {
    /// A fetch was asked for, or one is under way that answers it.
    Accepted,
    /// It is authentic, and its source is suspended or cannot be used: nothing is fetched.
    NotFetched,
    /// Unknown source, no usable Secret, or not authentic.
    Unauthenticated,
    /// Too large.
    TooLarge,
    /// It did not arrive in time, or broke off.
    Incomplete,
    /// Not a POST to /push/SOURCE.
    NotADelivery,
    /// The connection was closed at once: too many were open.
    TooManyConnections,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    outcome: Outcome,
}

/// Counts deliveries. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct PushMetrics {
    deliveries: Family<Labels, Counter>,
}

impl PushMetrics {
    /// Makes the metrics visible under `headgate_push_…`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("push");
        registry.register(
            "deliveries",
            "Deliveries at the push endpoint, by what became of them",
            self.deliveries.clone(),
        );
    }

    pub(super) fn count(&self, outcome: Outcome) {
        self.deliveries.get_or_create(&Labels { outcome }).inc();
    }
}
