//! Calico's network sets and host endpoints: `validateNetworkSet`, `validateHostEndpointSpec` and `validateEndpointPort`.

use serde_json::{Map, Value};

use super::net::{Network, parse_address};
use super::port::{Protocol, is_service_name};
use crate::policy::manifest::{Findings, is_subdomain};

/// A label that Calico itself gives what it derives from namespaces.
pub(super) fn check_labels<'a>(object: &'a Map<String, Value>, findings: &mut Findings<'a>) {
    const RESERVED: &str = "projectcalico.org/namespace";
    let labels = object
        .get("metadata")
        .and_then(|metadata| metadata.get("labels"))
        .and_then(Value::as_object);
    if labels.is_some_and(|labels| labels.contains_key(RESERVED)) {
        findings.member("metadata", |findings| {
            findings.member("labels", |findings| {
                findings.member(RESERVED, |findings| {
                    findings.error("Calico gives sets this label itself: remove it");
                });
            });
        });
    }
}

/// Looser than in rules: addresses without a mask and bits beyond it are fine.
pub(super) fn check_networks<'a>(spec: &'a Map<String, Value>, findings: &mut Findings<'a>) {
    each_text(spec, "nets", findings, |net, findings| {
        if !net.is_empty() && Network::parse(net).is_none() && parse_address(net).is_none() {
            findings.error(format!(
                "\"{net}\" is no address and no network: write 10.0.0.0/8 or 10.0.0.1"
            ));
        }
    });
}

/// A host endpoint names its node, and an interface or addresses on it.
pub(super) fn check_host_endpoint<'a>(spec: &'a Map<String, Value>, findings: &mut Findings<'a>) {
    let text = |name: &str| spec.get(name).and_then(Value::as_str).unwrap_or_default();
    if !text("node").is_empty() && !is_subdomain(text("node")) {
        findings.member("node", |findings| findings.error("this is no name of a node"));
    }
    if text("node").is_empty() && spec.get("node").is_some_and(Value::is_string) {
        findings.member("node", |findings| findings.error("write the name of the node"));
    }
    let interface = text("interfaceName");
    let has_addresses = spec
        .get("expectedIPs")
        .and_then(Value::as_array)
        .is_some_and(|list| !list.is_empty());
    if interface.is_empty() && !has_addresses {
        findings.error("write `interfaceName` or `expectedIPs`: the endpoint is found by one of them");
    }
    if !interface.is_empty() && interface != "*" && !is_interface(interface) {
        findings.member("interfaceName", |findings| {
            findings.error("write \"*\", or a name of at most 15 letters, digits, '_', '.' and '-'");
        });
    }
    each_text(spec, "expectedIPs", findings, |address, findings| {
        if parse_address(address).is_none() {
            findings.error(format!("\"{address}\" is no address: write it without a mask"));
        }
    });
    each_text(spec, "profiles", findings, |profile, findings| {
        if !is_subdomain(profile) {
            findings.error(format!("\"{profile}\" is no name of a profile"));
        }
    });
    check_ports(spec, findings);
}

fn is_interface(text: &str) -> bool {
    text.len() <= 15
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

fn check_ports<'a>(spec: &'a Map<String, Value>, findings: &mut Findings<'a>) {
    let Some(Value::Array(ports)) = spec.get("ports") else {
        return;
    };
    findings.member("ports", |findings| {
        for (index, port) in ports.iter().enumerate() {
            findings.item(index, |findings| check_port(port, findings));
        }
    });
}

fn check_port(port: &Value, findings: &mut Findings<'_>) {
    if let Some(Value::String(name)) = port.get("name")
        && !is_service_name(name)
    {
        findings.member("name", |findings| {
            findings.error("write a name of lower-case letters, digits and '-', at most 15 characters");
        });
    }
    if let Some(protocol) = port.get("protocol").filter(|protocol| !protocol.is_null())
        && !Protocol::parse(protocol).is_ok_and(|protocol| protocol.has_ports())
    {
        findings.member("protocol", |findings| findings.error("write `TCP`, `UDP` or `SCTP`"));
    }
}

fn each_text<'a>(
    spec: &'a Map<String, Value>,
    name: &'static str,
    findings: &mut Findings<'a>,
    check: impl Fn(&str, &mut Findings<'a>),
) {
    if let Some(Value::Array(items)) = spec.get(name) {
        findings.member(name, |findings| {
            for (index, item) in items
                .iter()
                .enumerate()
                .filter_map(|(index, item)| Some((index, item.as_str()?)))
            {
                findings.item(index, |findings| check(item, findings));
            }
        });
    }
}
