//! One rule of a Calico policy: `validateRule`, `validateEntityRule`, `validateICMPFields` and `validateHTTPRule` in
//! libcalico-go/lib/validator/v3/validator.go.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::calico::{GlobalToken, check_selector};
use super::net::Network;
use super::port::{Port, Protocol, check_port};
use super::{is_present, labels};
use crate::policy::manifest::{Findings, is_subdomain};

const SIDES: [&str; 2] = ["source", "destination"];

/// Checks a rule of either direction; `is_global` for policies without a namespace.
pub(super) fn check<'a>(
    rule: &'a Map<String, Value>,
    direction: &'static str,
    is_global: bool,
    findings: &mut Findings<'a>,
) {
    let protocol = check_protocol(rule, "protocol", findings);
    let other_protocol = check_protocol(rule, "notProtocol", findings);
    check_icmp(rule, protocol.as_ref(), findings);
    check_ip_version(rule, protocol.as_ref(), other_protocol.as_ref(), findings);
    check_http(rule, direction, findings);
    for name in SIDES {
        if let Some(Value::Object(entity)) = rule.get(name) {
            findings.member(name, |findings| {
                check_entity(entity, findings);
                check_ports(entity, is_present(rule, "protocol"), protocol.as_ref(), findings);
                check_services(entity, name, direction, is_global, findings);
            });
        }
    }
    if let Some(Value::Object(annotations)) = rule.get("metadata").and_then(|metadata| metadata.get("annotations")) {
        findings.member("metadata", |findings| {
            findings.member("annotations", |findings| {
                labels::check_annotation_keys(annotations, findings);
            });
        });
    }
}

fn check_protocol<'a>(
    rule: &'a Map<String, Value>,
    name: &'static str,
    findings: &mut Findings<'a>,
) -> Option<Protocol> {
    let value = rule.get(name).filter(|value| !value.is_null())?;
    match Protocol::parse(value) {
        Ok(protocol) => Some(protocol),
        Err(reason) => {
            findings.member(name, |findings| findings.error(reason));
            None
        }
    }
}

fn check_icmp<'a>(rule: &'a Map<String, Value>, protocol: Option<&Protocol>, findings: &mut Findings<'a>) {
    if is_present(rule, "icmp") && !matches!(protocol, Some(Protocol::Name("ICMP" | "ICMPv6"))) {
        findings.member("icmp", |findings| {
            findings.error("`icmp` needs `protocol: ICMP` or `protocol: ICMPv6`");
        });
    }
    for name in ["icmp", "notICMP"] {
        if let Some(Value::Object(fields)) = rule.get(name)
            && is_present(fields, "code")
            && !is_present(fields, "type")
        {
            findings.member(name, |findings| findings.error("an ICMP `code` needs a `type`"));
        }
    }
}

/// The protocol, the IP version and all networks of a rule have to be of one family.
fn check_ip_version<'a>(
    rule: &'a Map<String, Value>,
    protocol: Option<&Protocol>,
    other_protocol: Option<&Protocol>,
    findings: &mut Findings<'a>,
) {
    let version = rule.get("ipVersion").and_then(Value::as_i64);
    for protocol in [protocol, other_protocol].into_iter().flatten() {
        let needed = match protocol {
            Protocol::Name("ICMP") => 4,
            Protocol::Name("ICMPv6") => 6,
            _ => continue,
        };
        if version.is_some_and(|version| version != needed) {
            findings.member("ipVersion", |findings| {
                findings.error(format!("this protocol needs `ipVersion: {needed}`"));
            });
        }
    }
    let lists = SIDES
        .into_iter()
        .filter_map(|side| rule.get(side))
        .flat_map(|side| [side.get("nets"), side.get("notNets")]);
    let nets = lists
        .flatten()
        .filter_map(Value::as_array)
        .flatten()
        .filter_map(Value::as_str);
    let mut versions = nets
        .filter_map(Network::parse)
        .map(|network| network.version())
        .chain(version);
    if let Some(first) = versions.next()
        && versions.any(|other| other != first)
    {
        findings.error("a rule is for IPv4 or for IPv6: write one rule for each");
    }
}

fn check_entity<'a>(entity: &'a Map<String, Value>, findings: &mut Findings<'a>) {
    check_selector(entity, "selector", GlobalToken::Never, findings);
    check_selector(entity, "notSelector", GlobalToken::Free, findings);
    check_selector(entity, "namespaceSelector", GlobalToken::Alone, findings);
    if let Some(Value::Object(accounts)) = entity.get("serviceAccounts") {
        findings.member("serviceAccounts", |findings| {
            check_selector(accounts, "selector", GlobalToken::Free, findings);
        });
    }
    for name in ["nets", "notNets"] {
        if let Some(Value::Array(nets)) = entity.get(name) {
            findings.member(name, |findings| {
                for (index, net) in nets
                    .iter()
                    .enumerate()
                    .filter_map(|(index, net)| Some((index, net.as_str()?)))
                {
                    findings.item(index, |findings| check_network(net, name == "notNets", findings));
                }
            });
        }
    }
}

fn check_network(text: &str, is_excluded: bool, findings: &mut Findings<'_>) {
    match Network::parse(text) {
        None => findings.error(format!(
            "\"{text}\" is no network: write an address and its mask, as 10.0.0.0/8"
        )),
        Some(network) if network.has_host_bits() => findings.error(format!(
            "\"{text}\" has bits set beyond its mask: write {}/{}",
            network.first(),
            network.prefix
        )),
        // The first is compared as text, the second by value.
        Some(network) if is_excluded && (text == "0.0.0.0/0" || (network.version() == 6 && network.prefix == 0)) => {
            findings.error("everything cannot be excluded: the rule would match nothing");
        }
        Some(_) => {}
    }
}

fn check_ports<'a>(
    entity: &'a Map<String, Value>,
    has_protocol: bool,
    protocol: Option<&Protocol>,
    findings: &mut Findings<'a>,
) {
    for name in ["ports", "notPorts"] {
        let Some(Value::Array(ports)) = entity.get(name) else {
            continue;
        };
        findings.member(name, |findings| {
            for (index, port) in ports.iter().enumerate() {
                findings.item(index, |findings| match check_port(port) {
                    Err(reason) => findings.error(reason),
                    Ok(Port::Numbered) if !has_protocol => {
                        findings.error("ports need a protocol: write `protocol: TCP`, `UDP` or `SCTP`");
                    }
                    Ok(_) if protocol.is_some_and(|protocol| !protocol.has_ports()) => {
                        findings.error("this protocol has no ports: write `protocol: TCP`, `UDP` or `SCTP`");
                    }
                    Ok(_) => {}
                });
            }
        });
    }
}

fn check_services<'a>(
    entity: &'a Map<String, Value>,
    side: &'static str,
    direction: &'static str,
    is_global: bool,
    findings: &mut Findings<'a>,
) {
    let Some(Value::Object(services)) = entity.get("services") else {
        return;
    };
    let expected = if direction == "ingress" {
        "source"
    } else {
        "destination"
    };
    if side != expected {
        findings.error(format!(
            "an {direction} rule can name services in its `{expected}` only"
        ));
    }
    let mut excluded = vec![
        "namespaceSelector",
        "selector",
        "notSelector",
        "serviceAccounts",
        "nets",
        "notNets",
    ];
    if side == "destination" {
        excluded.extend(["ports", "notPorts"]);
    }
    for name in excluded.into_iter().filter(|name| is_said(entity, name)) {
        findings.error(format!("`services` excludes `{name}` on the same side: remove one"));
    }
    findings.member("services", |findings| {
        check_service_names(services, is_global, findings);
    });
}

fn check_service_names<'a>(services: &'a Map<String, Value>, is_global: bool, findings: &mut Findings<'a>) {
    let text = |name: &str| services.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("name").is_empty() {
        findings.error("`name` is missing: services are named one by one");
    }
    if is_global && text("namespace").is_empty() {
        findings.error("`namespace` is missing: a global policy has none of its own");
    }
    for name in ["name", "namespace"] {
        if !text(name).is_empty() && !is_subdomain(text(name)) {
            findings.member(name, |findings| {
                findings.error("this is no name of a service or namespace");
            });
        }
    }
}

/// Empty values do not count, but for an object.
fn is_said(entity: &Map<String, Value>, name: &str) -> bool {
    match entity.get(name) {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(_) => true,
    }
}

fn check_http<'a>(rule: &'a Map<String, Value>, direction: &str, findings: &mut Findings<'a>) {
    let Some(Value::Object(http)) = rule.get("http") else {
        return;
    };
    let is_tcp = rule
        .get("protocol")
        .is_none_or(|protocol| protocol.is_null() || protocol == "TCP");
    let is_allow = rule.get("action").is_some_and(|action| action == "Allow");
    findings.member("http", |findings| {
        if direction != "ingress" || !is_allow || !is_tcp {
            findings.error("`http` is for ingress rules with `action: Allow`, and `protocol: TCP` or none");
        }
        if let Some(Value::Array(methods)) = http.get("methods") {
            let mut seen = HashSet::new();
            let mut texts = methods
                .iter()
                .enumerate()
                .filter_map(|(index, method)| Some((index, method.as_str()?)));
            let repeated = texts.find(|(_, method)| !seen.insert(*method));
            if let Some((index, method)) = repeated {
                findings.member("methods", |findings| {
                    findings.item(index, |findings| {
                        findings.error(format!("\"{method}\" is in the list twice: remove one"));
                    });
                });
            }
        }
        if let Some(Value::Array(paths)) = http.get("paths") {
            findings.member("paths", |findings| {
                for (index, path) in paths
                    .iter()
                    .enumerate()
                    .filter_map(|(index, path)| Some((index, path.as_object()?)))
                {
                    findings.item(index, |findings| check_path(path, findings));
                }
            });
        }
    });
}

fn check_path<'a>(path: &'a Map<String, Value>, findings: &mut Findings<'a>) {
    let text = |name: &str| path.get(name).and_then(Value::as_str).unwrap_or_default();
    let written = match (text("exact"), text("prefix")) {
        ("", "") => return findings.error("a path needs `exact` or `prefix`"),
        (exact, "") => exact,
        ("", prefix) => prefix,
        _ => return findings.error("a path has `exact` or `prefix`, not both"),
    };
    if !written.starts_with('/') || written.contains(['?', '#', ' ']) || written.len() > 1024 {
        findings.error("a path begins with '/', has no '?', '#' or space, and at most 1024 bytes");
    }
}
