//! Calico's kinds, whichever of its two groups carries them: defaults of libcalico-go/lib/clientv3 and lib/resources.

use serde_json::{Map, Value, json};

use super::kubernetes;
use super::metadata::Metadata;
use super::spelling::{self, Empties};
use crate::policy::kind::{Family, Kind};
use crate::policy::structure;

/// Where Calico keeps the metadata of what it stores in `crd.projectcalico.org/v1`.
pub const METADATA_ANNOTATION: &str = "projectcalico.org/metadata";
/// Follows `spec.tier`; releases write it for some tiers, all tiers or none.
const TIER_LABEL: &str = "projectcalico.org/tier";
/// Put on Tiers by Calico's own controller in the native mode.
const TIER_FINALIZER: &str = "projectcalico.org/tier-controller";

/// Whether policies of this kind are in a tier.
pub(super) fn is_tiered(kind: Kind) -> bool {
    let definition = kind.definition();
    definition.family == Family::Calico
        && matches!(
            definition.kind,
            "NetworkPolicy" | "GlobalNetworkPolicy" | "StagedNetworkPolicy" | "StagedGlobalNetworkPolicy"
        )
}

pub(super) fn normalise(kind: Kind, metadata: &mut Metadata, members: &mut Map<String, Value>) {
    if is_tiered(kind) {
        metadata.labels.remove(TIER_LABEL);
    }
    spelling::object(members, structure::body(kind), Empties::Calico);
    // Calico stores an absent spec as an empty one, with its defaults. The second pass fills them in.
    if !members.contains_key("spec") {
        members.insert("spec".to_owned(), json!({}));
        spelling::object(members, structure::body(kind), Empties::Calico);
    }
    let Some(Value::Object(spec)) = members.get_mut("spec") else {
        return;
    };
    match kind.definition().kind {
        "Tier" => {
            metadata.finalizers.retain(|finalizer| finalizer != TIER_FINALIZER);
        }
        "StagedKubernetesNetworkPolicy" => {
            spec.entry("podSelector").or_insert_with(|| json!({}));
            fill_in_types(spec, "policyTypes", kubernetes::implied_types);
        }
        _ if is_tiered(kind) => fill_in_types(spec, "types", implied_types),
        _ => {}
    }
}

/// A staged deletion has no types: Calico clears them.
fn fill_in_types(spec: &mut Map<String, Value>, name: &str, implied: fn(&Map<String, Value>) -> Value) {
    if spec.get("stagedAction").is_some_and(|action| action == "Delete") {
        spec.remove(name);
    } else if !spec.contains_key(name) {
        let types = implied(spec);
        spec.insert(name.to_owned(), types);
    }
}

/// `defaultPolicyTypesField`, libcalico-go/lib/clientv3/policy.go. Empty lists are gone by now.
fn implied_types(spec: &Map<String, Value>) -> Value {
    match (spec.contains_key("ingress"), spec.contains_key("egress")) {
        (true, true) => json!(["Ingress", "Egress"]),
        (false, true) => json!(["Egress"]),
        (_, false) => json!(["Ingress"]),
    }
}
