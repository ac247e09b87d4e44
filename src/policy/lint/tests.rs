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
/// Lets something out, and no question to a name server.
const WEB: &str = "{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 443}]}]}";
const DNS: &str =
    "{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 53, protocol: UDP}, {port: 53}]}]}";

#[test]
fn restricted_egress_without_dns_is_found() {
    assert_eq!(found(&policy("web", "web", WEB)), [(0, "dns-cut-off")]);
    let tcp_only = "{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 53}]}]}";
    assert_eq!(found(&policy("web", "tcp", tcp_only)), [(0, "dns-cut-off")]);
    assert_eq!(found(&policy("web", "dns", DNS)), []);
    assert_eq!(
        found(&policy("web", "in", "{podSelector: {}, policyTypes: [Ingress]}")),
        []
    );
}

#[test]
fn a_policy_that_lets_nothing_out_cuts_off_no_more_than_it_says() {
    let deny = policy("web", "deny", DENY);
    assert_eq!(found(&deny), []);
    assert_eq!(found(&(deny + &policy("web", "web", WEB))), [(1, "dns-cut-off")]);
    for egress in ["[]", "[{action: Deny}]", "[{action: Log}, {action: Deny}]"] {
        let spec = format!("{{selector: a == 'b', types: [Egress], egress: {egress}}}");
        assert_eq!(found(&global("deny", &spec)), [], "{egress}");
    }
}

#[test]
fn name_servers_may_listen_where_those_of_openshift_do() {
    let openshift = DNS.replace("port: 53", "port: 5353");
    assert_eq!(found(&policy("web", "dns", &openshift)), []);
    let both = policy("web", "web", WEB) + &policy("web", "dns", &openshift);
    assert_eq!(found(&both), []);
    let headgate = policy("headgate-system", "dns", &openshift);
    assert_eq!(found(&headgate), [(0, "headgate-cut-off")], "that is no way to Git");
}

#[test]
fn another_policy_may_let_the_dns_through() {
    let web = policy("web", "web", WEB);
    assert_eq!(found(&(web.clone() + &policy("web", "dns", DNS))), []);
    assert_eq!(
        found(&(web.clone() + &policy("other", "dns", DNS))),
        [(0, "dns-cut-off")]
    );
    let of = |spec: &str, labels: &str| {
        spec.replace(
            "podSelector: {}",
            &format!("podSelector: {{matchLabels: {{{labels}}}}}"),
        )
    };
    let narrow = of(DNS, "app: a");
    assert_eq!(
        found(&(web.clone() + &policy("web", "dns", &narrow))),
        [(0, "dns-cut-off")]
    );
    let narrow_web = policy("web", "web", &of(WEB, "app: a, tier: b"));
    assert_eq!(found(&(narrow_web.clone() + &policy("web", "dns", &narrow))), []);
    let other = narrow.replace("app: a", "app: c");
    assert_eq!(
        found(&(narrow_web.clone() + &policy("web", "dns", &other))),
        [(0, "dns-cut-off")]
    );
    let more = narrow.replace("app: a", "app: a, tier: c");
    assert_eq!(
        found(&(narrow_web + &policy("web", "dns", &more))),
        [(0, "dns-cut-off")]
    );
    let everywhere =
        "{order: 1, types: [Egress], egress: [{action: Allow, protocol: UDP, destination: {ports: [53]}}]}";
    // For Headgate, the end of the tier then stops all else.
    assert_eq!(found(&(web + &global("dns", everywhere))), [(1, "headgate-cut-off")]);
}

#[test]
fn calico_selectors_are_compared_one_by_one() {
    let rule = |ports: &str| {
        format!("types: [Egress], egress: [{{action: Allow, protocol: UDP, destination: {{ports: [{ports}]}}}}]")
    };
    let web = global(
        "web",
        &format!("{{selector: a == 'b', namespaceSelector: c == 'd', {}}}", rule("80")),
    );
    let cut_off = |selectors: &str| {
        let dns = global("dns", &format!("{{{selectors}, {}}}", rule("53")));
        found(&(web.clone() + &dns)).contains(&(0, "dns-cut-off"))
    };
    assert!(!cut_off("selector: a == 'b'"));
    assert!(!cut_off("namespaceSelector: c == 'd', selector: all()"));
    assert!(!cut_off("selector: a == 'b', namespaceSelector: c == 'd'"));
    assert!(cut_off("selector: a == 'c'"));
    assert!(cut_off("selector: a == 'b', serviceAccountSelector: has(x)"));
}

#[test]
fn a_label_that_all_policies_name_brings_no_crowd_together() {
    let dns = |n: usize| {
        let select = format!(
            "podSelector: {{matchLabels: {{env: prod, app: a{n}, zone: z{}}}}}",
            n % 2
        );
        policy("web", &format!("dns-{n}"), &DNS.replace("podSelector: {}", &select))
    };
    let parsed = parse((0..100).map(dns).collect::<String>().as_bytes());
    let passing = HashSet::new();
    let policies = parsed
        .manifests
        .iter()
        .filter_map(|manifest| Policy::of(manifest, &passing));
    let selections: Vec<_> = policies.map(|policy| policy.selection()).collect();
    assert_eq!(selections.len(), 100);
    let kept = Selections::new(selections.clone());
    assert_eq!(kept.largest_crowd(), 1);
    assert!(selections.iter().all(|selection| kept.select_all_of(selection)));
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
    let all = [(0, "headgate-cut-off"), (0, "webhook-cut-off")];
    assert_eq!(found(&deny("podSelector: {}")), all);
    assert_eq!(
        found(&deny("podSelector: {matchLabels: {app.kubernetes.io/instance: x}}")),
        all
    );
    assert_eq!(found(&deny("podSelector: {matchLabels: {app: web}}")), []);
    let sync = "podSelector: {matchLabels: {app.kubernetes.io/component: sync}}";
    assert_eq!(found(&deny(sync)), [(0, "headgate-cut-off")]);
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
