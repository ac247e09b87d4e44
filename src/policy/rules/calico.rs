//! Calico's kinds: what `libcalico-go/lib/validator/v3` and the schemas of release 3.32 refuse.

use serde_json::{Map, Value};

use super::{calico_rule, calico_sets, is_present, kubernetes, selector};
use crate::policy::kind::Kind;
use crate::policy::manifest::{Findings, is_label};

/// Checks an object; what has the wrong type is passed over, the structure's check has told it.
pub(super) fn check<'a>(kind: Kind, object: &'a Map<String, Value>, findings: &mut Findings<'a>) {
    let name = object
        .get("metadata")
        .and_then(|metadata| metadata.get("name"))
        .and_then(Value::as_str);
    if matches!(kind.definition().kind, "NetworkSet" | "GlobalNetworkSet") {
        calico_sets::check_labels(object, findings);
    }
    let Some(Value::Object(spec)) = object.get("spec") else {
        return check_absent_spec(kind, findings);
    };
    findings.member("spec", |findings| match kind.definition().kind {
        "StagedKubernetesNetworkPolicy" => {
            check_implied_types(spec, "policyTypes", findings);
            check_staged_deletion(spec, &["stagedAction"], findings);
            kubernetes::check_spec(spec, findings);
        }
        "Tier" => check_tier(spec, name.unwrap_or_default(), findings),
        "NetworkSet" | "GlobalNetworkSet" => calico_sets::check_networks(spec, findings),
        "HostEndpoint" => calico_sets::check_host_endpoint(spec, findings),
        _ => check_policy(kind, spec, findings),
    });
}

/// Calico's native mode refuses these kinds without a spec; elsewhere a policy without one selects everything.
fn check_absent_spec(kind: Kind, findings: &mut Findings<'_>) {
    if kind.definition().kind != "HostEndpoint" {
        findings.error("`spec` is missing: one of Calico's modes refuses the object, the other takes it as empty");
    }
}

fn check_policy<'a>(kind: Kind, spec: &'a Map<String, Value>, findings: &mut Findings<'a>) {
    check_implied_types(spec, "types", findings);
    check_staged_deletion(spec, &["stagedAction", "tier"], findings);
    for name in ["selector", "serviceAccountSelector", "namespaceSelector"] {
        check_selector(spec, name, GlobalToken::Never, findings);
    }
    let is_global = !kind.definition().namespaced;
    if is_global {
        check_flags(spec, findings);
    }
    if let Some(tier) = spec.get("tier").and_then(Value::as_str)
        && !(tier.is_empty() || is_label(tier))
    {
        findings.member("tier", |findings| {
            findings.error(format!("no tier can be named \"{tier}\""));
        });
    }
    for direction in ["ingress", "egress"] {
        if let Some(Value::Array(rules)) = spec.get(direction) {
            findings.member(direction, |findings| {
                for (index, rule) in rules
                    .iter()
                    .enumerate()
                    .filter_map(|(index, rule)| Some((index, rule.as_object()?)))
                {
                    findings.item(index, |findings| {
                        calico_rule::check(rule, direction, is_global, findings);
                    });
                }
            });
        }
    }
}

/// Where a selector may say `global()`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum GlobalToken {
    /// Anywhere.
    Free,
    /// Not in this text, not even inside a string.
    Never,
    /// Only as the whole selector.
    Alone,
}

/// Checks the selector of this name. Calico tests `global()` on the text, not on its tokens.
pub(super) fn check_selector<'a>(
    members: &'a Map<String, Value>,
    name: &'static str,
    global: GlobalToken,
    findings: &mut Findings<'a>,
) {
    let Some(text) = members.get(name).and_then(Value::as_str) else {
        return;
    };
    findings.member(name, |findings| {
        if let Err(reason) = selector::check(text) {
            findings.error(reason);
        }
        let alone = || {
            let inside = text
                .trim_matches([' ', '\t'])
                .strip_prefix("global(")
                .and_then(|rest| rest.strip_suffix(')'));
            inside.is_some_and(|inside| inside.trim_matches([' ', '\t']).is_empty())
        };
        match global {
            GlobalToken::Never if text.contains("global()") => {
                findings.error("`global()` is only for the namespaceSelector of a rule");
            }
            GlobalToken::Alone if text.contains("global(") && !alone() => {
                findings.error("`global()` has to stand alone, and not in a string");
            }
            _ => {}
        }
    });
}

/// Without types, Calico's own server looks for rules, and the native mode for the field, be it an empty list.
fn check_implied_types(spec: &Map<String, Value>, name: &'static str, findings: &mut Findings<'_>) {
    if is_deletion(spec) || is_present(spec, name) {
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

fn is_deletion(spec: &Map<String, Value>) -> bool {
    spec.get("stagedAction").is_some_and(|action| action == "Delete")
}

/// `validateStagedNetworkPolicy`: a staged deletion says nothing else. Types are cleared without a word.
fn check_staged_deletion<'a>(spec: &'a Map<String, Value>, allowed: &[&str], findings: &mut Findings<'a>) {
    if !is_deletion(spec) {
        return;
    }
    let cleared = ["types", "policyTypes"];
    for (name, value) in spec {
        let says_nothing = match value {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(members) => members.is_empty(),
            _ => false,
        };
        if !says_nothing && !allowed.contains(&name.as_str()) && !cleared.contains(&name.as_str()) {
            findings.member(name, |findings| {
                findings.error(format!(
                    "a policy with `stagedAction: Delete` has no `{name}`: remove it"
                ));
            });
        }
    }
}

/// `validateGlobalNetworkPolicySpec`.
fn check_flags<'a>(spec: &'a Map<String, Value>, findings: &mut Findings<'a>) {
    let is_set = |name: &str| spec.get(name).is_some_and(|value| *value == true);
    let egress_rules = spec
        .get("egress")
        .and_then(Value::as_array)
        .is_some_and(|rules| !rules.is_empty());
    let types = spec.get("types").and_then(Value::as_array);
    let for_egress = types.is_some_and(|types| types.iter().any(|direction| direction == "Egress"));
    // Without types the native mode adds Egress for the mere field.
    let implied_egress = types.is_none() && is_present(spec, "egress");
    if is_set("doNotTrack") && is_set("preDNAT") {
        findings.error("`doNotTrack` and `preDNAT` exclude one another");
    }
    if (is_set("doNotTrack") || is_set("preDNAT")) && !is_set("applyOnForward") {
        findings.error("`doNotTrack` and `preDNAT` need `applyOnForward: true`");
    }
    if is_set("preDNAT") && (egress_rules || for_egress || implied_egress) {
        findings.error("a policy with `preDNAT` is for ingress only: remove egress from its rules and types");
    }
}

/// `validateTier`, and the schema's rules for the built-in tiers.
fn check_tier<'a>(spec: &'a Map<String, Value>, name: &str, findings: &mut Findings<'a>) {
    let built_in = match name {
        "default" => Some((1_000_000, "Deny")),
        "kube-admin" => Some((1_000, "Pass")),
        "kube-baseline" => Some((10_000_000, "Pass")),
        _ => None,
    };
    let order = spec.get("order").filter(|order| !order.is_null());
    let action = spec.get("defaultAction").and_then(Value::as_str);
    if order.is_none() {
        let order = built_in.map_or_else(String::new, |(fixed, _)| format!(": {fixed}"));
        findings.error(format!(
            "without `order` the tier comes before the default tier in one of Calico's modes and last in the other: write \
             `order{order}`"
        ));
    }
    match built_in {
        Some((fixed, _)) if order.is_some_and(|order| *order != fixed) => findings.member("order", |findings| {
            findings.error(format!("the order of the tier {name} is fixed: write {fixed}"));
        }),
        Some((_, fixed)) if action.unwrap_or("Deny") != fixed => {
            findings.error(format!(
                "the default action of the tier {name} is fixed: write `defaultAction: {fixed}`"
            ));
        }
        _ => {}
    }
}
