//! `policy.networking.k8s.io`: what the schemas demand beyond structure (kubernetes-sigs/network-policy-api, experimental
//! channel): one member of several, networks, domain names, and no named port towards what has none.

use serde_json::{Map, Value};

use super::net::Network;
use crate::policy::manifest::Findings;

/// The longest name of a rule.
const LONGEST_NAME: usize = 100;
/// Peers outside the cluster, or below its names for ports.
const WITHOUT_PORT_NAMES: &[&str] = &["nodes", "networks", "domainNames"];

/// Checks the spec of a policy of any of the three kinds.
pub(super) fn check_spec<'a>(spec: &'a Map<String, Value>, findings: &mut Findings<'a>) {
    if let Some(Value::Object(subject)) = spec.get("subject") {
        findings.member("subject", |findings| check_choice(subject, findings));
    }
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        each(spec, direction, findings, |rule, findings| {
            check_rule(rule, peers, findings);
        });
    }
}

fn check_rule<'a>(rule: &'a Map<String, Value>, peers: &'static str, findings: &mut Findings<'a>) {
    if let Some(Value::String(name)) = rule.get("name")
        && name.chars().count() > LONGEST_NAME
    {
        findings.member("name", |findings| {
            findings.error(format!("at most {LONGEST_NAME} characters"));
        });
    }
    each(rule, peers, findings, |peer, findings| {
        check_choice(peer, findings);
        each_text(peer, "networks", findings, check_network);
        each_text(peer, "domainNames", findings, check_domain);
    });
    each(rule, "ports", findings, |port, findings| check_choice(port, findings));
    each(rule, "protocols", findings, |protocol, findings| {
        check_choice(protocol, findings);
        for name in ["tcp", "udp", "sctp"] {
            if let Some(Value::Object(transport)) = protocol.get(name) {
                findings.member(name, |findings| check_transport(transport, findings));
            }
        }
    });
    let holds = |list: &str, names: &[&str]| {
        let items = rule.get(list).and_then(Value::as_array).into_iter().flatten();
        items
            .filter_map(Value::as_object)
            .any(|item| names.iter().any(|name| super::is_present(item, name)))
    };
    let names_a_port = holds("ports", &["namedPort"]) || holds("protocols", &["destinationNamedPort"]);
    if names_a_port && holds("to", WITHOUT_PORT_NAMES) {
        findings.error("only pods name their ports: write a number for nodes, networks and domain names, or two rules");
    }
}

/// `minProperties: 1`, `maxProperties: 1`; null is dropped before.
fn check_choice(members: &Map<String, Value>, findings: &mut Findings<'_>) {
    match members.values().filter(|value| !value.is_null()).count() {
        0 => findings.error("empty: write one of the fields that belong here"),
        1 => {}
        _ => findings.error("only one field may be here: write an item for each"),
    }
}

fn check_transport<'a>(transport: &'a Map<String, Value>, findings: &mut Findings<'a>) {
    let Some(Value::Object(port)) = transport.get("destinationPort") else {
        findings.error("`destinationPort` is missing: write one");
        return;
    };
    findings.member("destinationPort", |findings| {
        check_choice(port, findings);
        let bound = |name: &str| port.get("range")?.get(name)?.as_i64();
        if let (Some(start), Some(end)) = (bound("start"), bound("end"))
            && start >= end
        {
            findings.member("range", |findings| findings.error("`end` has to be above `start`"));
        }
    });
}

/// CEL's `isCIDR`, which is `netip.ParsePrefix` without IPv4 in IPv6: bits beyond the mask are fine, zeros before it are
/// not.
fn check_network(text: &str, findings: &mut Findings<'_>) {
    let mask = text.split_once('/').map_or("", |(_, mask)| mask);
    let is_plain = mask == "0" || !mask.starts_with('0');
    let is_mapped = |network: &Network| !network.address.is_ipv4() && network.version() == 4;
    match Network::parse(text) {
        Some(network) if is_plain && !is_mapped(&network) => {}
        _ => findings.error(format!(
            "\"{text}\" is no network: write an address and its mask, as 10.0.0.0/8"
        )),
    }
}

/// The schema's pattern: labels of letters, digits, `-` and `_` (the first also of what lies between `Z` and `a`), two at
/// least; `*.` may stand first, a dot last.
fn check_domain(text: &str, findings: &mut Findings<'_>) {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        let first = label.bytes().next();
        let last = label.bytes().last();
        first.is_some_and(|byte| byte.is_ascii_digit() || (b'A'..=b'z').contains(&byte))
            && label
                .bytes()
                .skip(1)
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && (label.len() == 1 || last.is_some_and(|byte| byte.is_ascii_alphanumeric()))
    };
    if !name.contains('.') || !name.split('.').all(is_label) {
        findings.error(format!(
            "\"{text}\" is no domain name: write it with at least one dot, perhaps with `*.` before it"
        ));
    }
}

fn each<'a>(
    members: &'a Map<String, Value>,
    name: &'static str,
    findings: &mut Findings<'a>,
    check: impl Fn(&'a Map<String, Value>, &mut Findings<'a>),
) {
    if let Some(Value::Array(items)) = members.get(name) {
        findings.member(name, |findings| {
            for (index, item) in items.iter().enumerate() {
                if let Value::Object(item) = item {
                    findings.item(index, |findings| check(item, findings));
                }
            }
        });
    }
}

fn each_text<'a>(
    members: &'a Map<String, Value>,
    name: &'static str,
    findings: &mut Findings<'a>,
    check: fn(&str, &mut Findings<'_>),
) {
    if let Some(Value::Array(items)) = members.get(name) {
        findings.member(name, |findings| {
            for (index, item) in items.iter().enumerate() {
                if let Value::String(text) = item {
                    findings.item(index, |findings| check(text, findings));
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::policy::manifest::{Severity, parse};
    use serde_json::{Value, json};

    fn messages(rule: &Value) -> Vec<String> {
        let object = json!({
            "apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy", "metadata": {"name": "a"},
            "spec": {"tier": "Admin", "priority": 1, "subject": {"namespaces": {}, "pods": null}, "egress": [rule]},
        });
        let problems = parse(object.to_string().as_bytes()).problems;
        let errors = problems
            .into_iter()
            .filter(|problem| problem.severity == Severity::Error);
        errors
            .map(|problem| format!("{}: {}", problem.field, problem.message))
            .collect()
    }

    #[test]
    fn what_the_schemas_take_is_accepted() {
        let fine = [
            json!({"action": "Deny", "to": [{"networks": ["10.1.2.3/8", "2001:db8::/32", "0.0.0.0/0"]}]}),
            json!({"action": "Accept", "to": [{"domainNames": ["*.example.com", "example.com."]}]}),
            json!({"action": "Accept", "to": [{"namespaces": {}}], "protocols": [{"destinationNamedPort": "web"}]}),
            json!({"action": "Accept", "to": [{"nodes": {}}], "protocols": [{"tcp": {"destinationPort": {"range": {"start": 1, "end": 2}}}}]}),
        ];
        for rule in fine {
            assert_eq!(messages(&rule), Vec::<String>::new(), "{rule}");
        }
    }

    #[test]
    fn what_the_schemas_refuse_is_told() {
        let refused = [
            (json!({"action": "Deny", "to": [{}]}), "spec.egress[0].to[0]: empty"),
            (
                json!({"action": "Deny", "to": [{"nodes": {}, "namespaces": {}}]}),
                "spec.egress[0].to[0]: only one",
            ),
            (
                json!({"action": "Deny", "to": [{"networks": ["10.0.0.0/08"]}]}),
                "networks[0]: ",
            ),
            (
                json!({"action": "Deny", "to": [{"networks": ["::ffff:10.0.0.0/104"]}]}),
                "networks[0]: ",
            ),
            (
                json!({"action": "Accept", "to": [{"domainNames": ["example"]}]}),
                "domainNames[0]: ",
            ),
            (
                json!({"action": "Accept", "to": [{"domainNames": ["a..b"]}]}),
                "domainNames[0]: ",
            ),
            (
                json!({"action": "Accept", "to": [{"nodes": {}}], "protocols": [{"destinationNamedPort": "web"}]}),
                "only pods",
            ),
            (
                json!({"action": "Accept", "to": [{"nodes": {}}], "protocols": [{"tcp": {}}]}),
                "tcp: `destinationPort`",
            ),
            (
                json!({"action": "Accept", "to": [{"nodes": {}}], "protocols": [{"tcp": {"destinationPort": {"range": {"start": 2, "end": 2}}}}]}),
                "range: `end`",
            ),
            (
                json!({"action": "Deny", "name": "a".repeat(101), "to": [{"nodes": {}}]}),
                "name: at most",
            ),
        ];
        for (rule, expected) in refused {
            let told = messages(&rule);
            assert!(
                told.iter().any(|message| message.contains(expected)),
                "{rule}: {told:?}"
            );
        }
    }
}
