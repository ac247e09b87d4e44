use super::*;
use crate::policy::manifest::parse;
use selector::Truth;

fn found(text: &str) -> Vec<(usize, &'static str)> {
    let parsed = parse(text.as_bytes());
    assert_eq!(parsed.problems, [], "{text}");
    let manifests: Vec<&Manifest> = parsed.manifests.iter().collect();
    let surroundings = Surroundings {
        namespace: "headgate-system".to_owned(),
        webhook_port: 8443,
    };
    let found = lint(&manifests, &surroundings);
    found
        .iter()
        .map(|finding| (finding.manifest, finding.lint.name()))
        .collect()
}

fn policy(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec: {spec}\n"
    )
}

fn global(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    )
}

const DENY: &str = "{podSelector: {}, policyTypes: [Ingress, Egress]}";
const DNS: &str =
    "{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 53, protocol: UDP}, {port: 53}]}]}";

#[test]
fn restricted_egress_without_dns_is_found() {
    assert_eq!(found(&policy("web", "deny", DENY)), [(0, "dns-cut-off")]);
    let tcp_only = "{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 53}]}]}";
    assert_eq!(found(&policy("web", "tcp", tcp_only)), [(0, "dns-cut-off")]);
    assert_eq!(found(&policy("web", "dns", DNS)), []);
    assert_eq!(
        found(&policy("web", "in", "{podSelector: {}, policyTypes: [Ingress]}")),
        []
    );
}

#[test]
fn another_policy_may_let_the_dns_through() {
    let deny = policy("web", "deny", DENY);
    assert_eq!(found(&(deny.clone() + &policy("web", "dns", DNS))), []);
    assert_eq!(
        found(&(deny.clone() + &policy("other", "dns", DNS))),
        [(0, "dns-cut-off")]
    );
    let narrow = DNS.replace("podSelector: {}", "podSelector: {matchLabels: {app: a}}");
    assert_eq!(
        found(&(deny.clone() + &policy("web", "dns", &narrow))),
        [(0, "dns-cut-off")]
    );
    let narrow_deny = DENY.replace("podSelector: {}", "podSelector: {matchLabels: {app: a, tier: b}}");
    assert_eq!(
        found(&(policy("web", "deny", &narrow_deny) + &policy("web", "dns", &narrow))),
        []
    );
    let everywhere =
        "{order: 1, types: [Egress], egress: [{action: Allow, protocol: UDP, destination: {ports: [53]}}]}";
    // For Headgate, the end of the tier then stops all else.
    assert_eq!(found(&(deny + &global("dns", everywhere))), [(1, "headgate-cut-off")]);
}

#[test]
fn ranges_names_and_open_rules_let_the_dns_through() {
    for egress in [
        "[{}]",
        "[{ports: [{port: 1, endPort: 100, protocol: UDP}]}]",
        "[{ports: [{port: dns, protocol: UDP}]}]",
        "[{ports: [{protocol: UDP}]}]",
    ] {
        let spec = format!("{{podSelector: {{}}, policyTypes: [Egress], egress: {egress}}}");
        assert_eq!(found(&policy("web", "out", &spec)), [], "{egress}");
    }
    for egress in [
        "[{action: Allow, protocol: 17, destination: {ports: ['50:60']}}]",
        "[{action: Pass}]",
        "[{action: Log}, {action: Deny, protocol: TCP}, {action: Allow}]",
        "[{action: Deny, destination: {selector: a == 'b'}}, {action: Allow}]",
    ] {
        let spec = format!("{{selector: a == 'b', types: [Egress], egress: {egress}}}");
        assert_eq!(found(&global("out", &spec)), [], "{egress}");
    }
    for egress in [
        "[]",
        "[{action: Deny}, {action: Allow}]",
        "[{action: Allow, notProtocol: UDP}]",
    ] {
        let spec = format!("{{selector: a == 'b', types: [Egress], egress: {egress}}}");
        assert_eq!(found(&global("out", &spec)), [(0, "dns-cut-off")], "{egress}");
    }
}

#[test]
fn the_end_of_a_tier_may_let_pass() {
    let tier = "---\napiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: team}\nspec: {order: 1, defaultAction: Pass}\n";
    let open = "{tier: team, selector: a == 'b', types: [Egress], egress: [{action: Deny, protocol: TCP}]}";
    assert_eq!(found(&(tier.to_owned() + &global("out", open))), []);
    let shut = open.replace(", protocol: TCP", "");
    assert_eq!(found(&(tier.to_owned() + &global("out", &shut))), [(1, "dns-cut-off")]);
}

#[test]
fn a_policy_that_cuts_off_headgate_is_found() {
    let deny = |selector: &str| policy("headgate-system", "deny", &DENY.replace("podSelector: {}", selector));
    let all = [(0, "dns-cut-off"), (0, "headgate-cut-off"), (0, "webhook-cut-off")];
    assert_eq!(found(&deny("podSelector: {}")), all);
    assert_eq!(
        found(&deny("podSelector: {matchLabels: {app.kubernetes.io/instance: x}}")),
        all
    );
    assert_eq!(
        found(&deny("podSelector: {matchLabels: {app: web}}")),
        [(0, "dns-cut-off")]
    );
    let sync = "podSelector: {matchLabels: {app.kubernetes.io/component: sync}}";
    assert_eq!(found(&deny(sync)), [(0, "dns-cut-off"), (0, "headgate-cut-off")]);
}

#[test]
fn what_headgate_needs_may_be_let_through() {
    let open = "{podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{ports: [{port: 8443}]}], egress: [{}]}";
    assert_eq!(found(&policy("headgate-system", "open", open)), []);
    let named = open.replace("8443", "https");
    assert_eq!(found(&policy("headgate-system", "open", &named)), []);
    let pods_only = open.replace("{ports: [{port: 8443}]}", "{from: [{namespaceSelector: {}}]}");
    assert_eq!(
        found(&policy("headgate-system", "pods", &pods_only)),
        [(0, "webhook-cut-off")]
    );
    let deny = policy("headgate-system", "deny", DENY);
    assert_eq!(found(&(deny + &policy("headgate-system", "open", open))), []);
}

#[test]
fn a_global_default_deny_that_forgets_headgate_is_found() {
    let deny = |selector: &str| global("default-deny", &format!("{{{selector}types: [Ingress, Egress]}}"));
    let lints = |text: &str| {
        let names = found(text).into_iter().map(|(_, name)| name);
        names.filter(|name| *name != "dns-cut-off").collect::<Vec<_>>()
    };
    let cut_off = ["headgate-cut-off", "webhook-cut-off"];
    assert_eq!(lints(&deny("")), cut_off);
    assert_eq!(lints(&deny("selector: all(), ")), cut_off);
    assert_eq!(
        lints(&deny(
            "namespaceSelector: \"kubernetes.io/metadata.name not in {'kube-system'}\", "
        )),
        cut_off
    );
    let spared = "namespaceSelector: \"kubernetes.io/metadata.name not in {'kube-system', 'headgate-system'}\", ";
    assert!(lints(&deny(spared)).is_empty());
    assert!(lints(&deny("selector: projectcalico.org/namespace != 'headgate-system', ")).is_empty());
    assert!(
        lints(&deny("namespaceSelector: has(team), ")).is_empty(),
        "nobody knows"
    );
    let staged = deny("").replace("GlobalNetworkPolicy", "StagedGlobalNetworkPolicy");
    assert!(lints(&staged).is_empty());
}

#[test]
fn selectors_are_answered_as_calico_does() {
    let labels = Labels::of_headgate("ns", "sync");
    for (text, expected) in [
        ("all()", Truth::Yes),
        ("!has(app)", Truth::Yes),
        ("app != 'x'", Truth::Yes),
        ("app == 'x' || app.kubernetes.io/name == \"headgate\"", Truth::Yes),
        ("(app == 'x' || all()) && !(has(app))", Truth::Yes),
        ("app.kubernetes.io/name in {'a', 'headgate'}", Truth::Yes),
        ("app.kubernetes.io/name notin {'headgate'}", Truth::No),
        ("app.kubernetes.io/name starts with 'head'", Truth::Yes),
        ("app.kubernetes.io/name endswith 'x'", Truth::No),
        ("app.kubernetes.io/name contains 'dg'", Truth::Yes),
        ("has(app.kubernetes.io/instance)", Truth::Unknown),
        ("has(app.kubernetes.io/instance) || all()", Truth::Yes),
    ] {
        assert_eq!(selector::evaluate(text, labels.pod()), expected, "{text}");
    }
    let deep = "(".repeat(10_000) + "all()" + &")".repeat(10_000);
    assert_eq!(selector::evaluate(&deep, labels.pod()), Truth::Unknown);
}

#[test]
fn a_lint_is_found_by_its_name() {
    for lint in Lint::ALL {
        assert_eq!(Lint::of_name(lint.name()), Some(lint));
    }
    assert_eq!(Lint::of_name("no-such-lint"), None);
}
