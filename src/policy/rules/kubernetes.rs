//! `networking.k8s.io/v1` (pkg/apis/networking/validation), and Calico's staged form of it, which no server checks.

use serde_json::{Map, Value};

use super::net::Network;
use super::port::is_service_name;
use super::{is_present, selectors};
use crate::policy::manifest::Findings;

/// Checks the spec of a policy.
pub(super) fn check_spec<'a>(spec: &'a Map<String, Value>, findings: &mut Findings<'a>) {
    selectors::check_member(spec, "podSelector", findings);
    if spec
        .get("policyTypes")
        .and_then(Value::as_array)
        .is_some_and(|types| types.len() > 2)
    {
        findings.member("policyTypes", |findings| {
            findings.error("at most two: Ingress and Egress");
        });
    }
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        let Some(Value::Array(rules)) = spec.get(direction) else {
            continue;
        };
        findings.member(direction, |findings| {
            for (index, rule) in rules
                .iter()
                .enumerate()
                .filter_map(|(index, rule)| Some((index, rule.as_object()?)))
            {
                findings.item(index, |findings| {
                    each(rule, peers, findings, check_peer);
                    each(rule, "ports", findings, check_port);
                });
            }
        });
    }
}

fn each<'a>(
    rule: &'a Map<String, Value>,
    name: &'static str,
    findings: &mut Findings<'a>,
    check: fn(&'a Map<String, Value>, &mut Findings<'a>),
) {
    if let Some(Value::Array(items)) = rule.get(name) {
        findings.member(name, |findings| {
            for (index, item) in items
                .iter()
                .enumerate()
                .filter_map(|(index, item)| Some((index, item.as_object()?)))
            {
                findings.item(index, |findings| check(item, findings));
            }
        });
    }
}

/// `ValidateNetworkPolicyPeer`.
fn check_peer<'a>(peer: &'a Map<String, Value>, findings: &mut Findings<'a>) {
    let selectors = ["podSelector", "namespaceSelector"];
    let selects = selectors.into_iter().any(|name| is_present(peer, name));
    match (selects, is_present(peer, "ipBlock")) {
        (false, false) => findings.error("a peer needs `podSelector`, `namespaceSelector` or `ipBlock`"),
        (true, true) => findings.error("`ipBlock` excludes selectors in the same peer: write two peers"),
        _ => {}
    }
    for name in selectors {
        selectors::check_member(peer, name, findings);
    }
    if let Some(Value::Object(block)) = peer.get("ipBlock") {
        findings.member("ipBlock", |findings| check_block(block, findings));
    }
}

/// `ValidateIPBlock`.
fn check_block<'a>(block: &'a Map<String, Value>, findings: &mut Findings<'a>) {
    let Some(text) = block.get("cidr").and_then(Value::as_str) else {
        return;
    };
    let whole = findings.member("cidr", |findings| check_network(text, findings));
    let Some(Value::Array(exceptions)) = block.get("except") else {
        return;
    };
    findings.member("except", |findings| {
        for (index, text) in exceptions
            .iter()
            .enumerate()
            .filter_map(|(index, text)| Some((index, text.as_str()?)))
        {
            findings.item(index, |findings| {
                let part = check_network(text, findings);
                if let (Some(whole), Some(part)) = (whole, part)
                    && !whole.strictly_contains(&part)
                {
                    findings.error(format!("\"{text}\" is not a part of the block, smaller than it"));
                }
            });
        }
    });
}

fn check_network(text: &str, findings: &mut Findings<'_>) -> Option<Network> {
    let network = Network::parse(text);
    match network {
        None => findings.error(format!(
            "\"{text}\" is no network: write an address and its mask, as 10.0.0.0/8"
        )),
        Some(network) if network.has_host_bits() => findings.error(format!(
            "\"{text}\" has bits set beyond its mask: write {}/{}",
            network.first(),
            network.prefix
        )),
        Some(_) => {}
    }
    network
}

/// `ValidateNetworkPolicyPort`.
fn check_port<'a>(port: &'a Map<String, Value>, findings: &mut Findings<'a>) {
    let number = match port.get("port") {
        Some(Value::String(name)) if !is_service_name(name) => {
            findings.member("port", |findings| {
                findings.error(format!(
                    "\"{name}\" is no port: write a number without quotes, or a name of lower-case letters, digits and '-', at \
                     most 15 characters"
                ));
            });
            return;
        }
        Some(Value::Number(number)) => number.as_i64(),
        _ => None,
    };
    if number.is_some_and(|number| !(1..=65535).contains(&number)) {
        findings.member("port", |findings| findings.error("write a port from 1 to 65535"));
    }
    if let Some(end) = port.get("endPort").and_then(Value::as_i64) {
        findings.member("endPort", |findings| match number {
            None => findings.error("`endPort` needs a `port` that is a number"),
            Some(first) if end < first => findings.error("`endPort` is below `port`"),
            Some(_) => {}
        });
    }
}
