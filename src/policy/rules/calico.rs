//! Calico's kinds.

use serde_json::{Map, Value};

use crate::policy::kind::Kind;
use crate::policy::manifest::Findings;

/// Checks an object whose structure is right.
pub(super) fn check<'a>(kind: Kind, object: &'a Map<String, Value>, findings: &mut Findings<'a>) {
    let Some(Value::Object(spec)) = object.get("spec") else {
        return;
    };
    findings.member("spec", |findings| match kind.definition().kind {
        "NetworkPolicy" | "GlobalNetworkPolicy" | "StagedNetworkPolicy" | "StagedGlobalNetworkPolicy" => {
            check_implied_types(spec, "types", findings);
        }
        "StagedKubernetesNetworkPolicy" => check_implied_types(spec, "policyTypes", findings),
        "Tier" if !is_present(spec, "order") => {
            findings.warning("without `order` the tier comes last in one of Calico's modes and at 1000000 in the other: write `order`");
        }
        _ => {}
    });
}

fn is_present(spec: &Map<String, Value>, name: &str) -> bool {
    spec.get(name).is_some_and(|value| !value.is_null())
}

/// Without types, Calico's own server looks for rules, and the native mode for the field, be it an empty list.
fn check_implied_types(spec: &Map<String, Value>, name: &'static str, findings: &mut Findings<'_>) {
    let staged_deletion = spec.get("stagedAction").is_some_and(|action| action == "Delete");
    if staged_deletion || is_present(spec, name) {
        return;
    }
    let has_rules = |name: &str| {
        spec.get(name)
            .and_then(Value::as_array)
            .is_some_and(|rules| !rules.is_empty())
    };
    let implied = |ingress: bool, egress: bool| match (ingress, egress) {
        (_, false) => (true, false),
        (false, true) if name == "types" => (false, true),
        (_, true) => (true, true),
    };
    let aggregated = implied(has_rules("ingress"), has_rules("egress"));
    let native = implied(is_present(spec, "ingress"), is_present(spec, "egress"));
    if aggregated != native {
        findings.error(format!(
            "without `{name}`, an empty list of rules means one thing in one of Calico's modes and another in the other: \
             write `{name}`"
        ));
    }
}
