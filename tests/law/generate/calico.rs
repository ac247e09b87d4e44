//! Calico's kinds, in both of its groups.

use serde_json::{Value, json};

use super::dice::Dice;
use super::kubernetes;

const GROUPS: [&str; 3] = [
    "projectcalico.org/v3",
    "projectcalico.org/v3",
    "crd.projectcalico.org/v1",
];

pub(super) fn policy(dice: &mut Dice) -> (&'static str, &'static str, Value) {
    let kind = dice.pick(&[
        "NetworkPolicy",
        "NetworkPolicy",
        "GlobalNetworkPolicy",
        "StagedNetworkPolicy",
        "StagedGlobalNetworkPolicy",
    ]);
    let mut spec = dice.object(&[
        ("tier", |dice| dice.pick(&["default", "", "platform"]).into()),
        ("order", order),
        ("selector", selector),
        ("serviceAccountSelector", selector),
        ("types", |dice| {
            dice.pick(&[json!(["Ingress"]), json!(["Egress", "Ingress"]), json!(["Egress"])])
        }),
        ("ingress", |dice| dice.list(2, rule)),
        ("egress", |dice| dice.list(2, rule)),
        ("performanceHints", |dice| dice.some(&["AssumeNeededOnEveryNode"])),
    ]);
    if kind.contains("Global") {
        let flags = dice.object(&[
            ("namespaceSelector", selector),
            ("applyOnForward", |dice| dice.chance(50).into()),
            ("doNotTrack", |_| false.into()),
            ("preDNAT", |_| false.into()),
        ]);
        add(&mut spec, flags);
    }
    if kind.contains("Staged") {
        let action = dice.object(&[("stagedAction", |dice| {
            dice.pick(&["Set", "Set", "Learn", "Ignore", "Delete"]).into()
        })]);
        add(&mut spec, action);
    }
    (dice.pick(&GROUPS), kind, spec)
}

pub(super) fn other(dice: &mut Dice) -> (&'static str, &'static str, Value) {
    let (kind, spec) = match dice.below(5) {
        0 => (
            "Tier",
            dice.object(&[
                ("order", order),
                ("defaultAction", |dice| dice.pick(&["Deny", "Pass"]).into()),
            ]),
        ),
        1 => ("NetworkSet", dice.object(&[("nets", nets)])),
        2 => ("GlobalNetworkSet", dice.object(&[("nets", nets)])),
        3 => ("HostEndpoint", host_endpoint(dice)),
        _ => ("StagedKubernetesNetworkPolicy", staged_kubernetes(dice)),
    };
    (dice.pick(&GROUPS), kind, spec)
}

fn add(to: &mut Value, more: Value) {
    if let (Value::Object(to), Value::Object(more)) = (to, more) {
        to.extend(more);
    }
}

fn order(dice: &mut Dice) -> Value {
    dice.pick(&[
        json!(100),
        json!(100.0),
        json!(0),
        json!(-1.5),
        json!(0.1),
        json!(1_000_000),
        json!(1e21),
        json!(1e-7),
        json!(12_345_678_901_234_567_u64),
        json!(-0.0),
    ])
}

fn selector(dice: &mut Dice) -> Value {
    dice.pick(&[
        "",
        "all()",
        "app == 'web'",
        " has( a )  &&  b in {'c',\"d\"}",
        "!has(x) || y != ''",
    ])
    .into()
}

fn rule(dice: &mut Dice) -> Value {
    let mut rule = dice.object(&[
        ("source", |dice| entity(dice, false)),
        ("notProtocol", |dice| {
            dice.pick(&[json!("UDP"), json!(17), json!("17"), json!("017")])
        }),
        ("ipVersion", |_| json!(4)),
        ("metadata", |dice| {
            dice.pick(&[
                json!({}),
                json!({"annotations": {}}),
                json!({"annotations": {"a": ""}}),
                json!({"annotations": null}),
            ])
        }),
    ]);
    rule["action"] = dice.pick(&["Allow", "Deny", "Log", "Pass"]).into();
    match dice.below(3) {
        0 => {
            rule["protocol"] = dice.pick(&[
                json!("TCP"),
                json!("UDP"),
                json!(6),
                json!("6"),
                json!("006"),
                json!("SCTP"),
                json!(132),
            ]);
            rule["destination"] = entity(dice, true);
        }
        1 => {
            rule["protocol"] = "ICMP".into();
            let icmp = dice.pick(&[
                json!({}),
                json!({"type": 8}),
                json!({"type": 8, "code": 0}),
                json!({"type": 0, "code": null}),
                json!(null),
            ]);
            let name = dice.pick(&["icmp", "notICMP"]);
            rule[name] = icmp;
        }
        _ => {
            rule["destination"] = entity(dice, false);
        }
    }
    rule
}

fn entity(dice: &mut Dice, ported: bool) -> Value {
    let mut entity = dice.object(&[
        ("selector", selector),
        ("notSelector", selector),
        ("namespaceSelector", |dice| {
            dice.pick(&["", "all()", "global()", "env == 'p'"]).into()
        }),
        ("nets", rule_nets),
        ("notNets", rule_nets),
        ("serviceAccounts", |dice| {
            dice.pick(&[
                json!({}),
                json!({"names": []}),
                json!({"names": ["a"], "selector": ""}),
                json!({"selector": "all()"}),
            ])
        }),
    ]);
    if ported {
        let ports = dice.object(&[("ports", ports), ("notPorts", ports)]);
        add(&mut entity, ports);
    }
    entity
}

fn ports(dice: &mut Dice) -> Value {
    dice.list(4, |dice| {
        dice.pick(&[
            json!(80),
            json!("80"),
            json!("0080"),
            json!("80:80"),
            json!("80:90"),
            json!("0080:0090"),
            json!("http"),
            json!("http-2"),
            json!(65535),
            json!("1:65535"),
        ])
    })
}

fn rule_nets(dice: &mut Dice) -> Value {
    dice.some(&["10.0.0.0/8", "10.0.0.0/08", "192.0.2.0/24", "198.51.100.7/32"])
}

fn nets(dice: &mut Dice) -> Value {
    dice.some(&[
        "10.0.0.0/8",
        "10.1.2.3",
        "10.1.2.3/8",
        "2001:DB8::/32",
        "2001:db8::1",
        "::/0",
    ])
}

fn host_endpoint(dice: &mut Dice) -> Value {
    let mut spec = dice.object(&[
        ("expectedIPs", |dice| {
            dice.some(&["10.0.0.1", "2001:db8::1", "10.0.0.2"])
        }),
        ("profiles", |dice| dice.some(&["a", "b"])),
        ("ports", |dice| {
            dice.list(2, |dice| {
                let protocol = dice.pick(&[json!("TCP"), json!(6), json!("6"), json!("UDP")]);
                json!({"name": "web", "port": 80, "protocol": protocol})
            })
        }),
    ]);
    spec["node"] = "node-1".into();
    spec["interfaceName"] = dice.pick(&["*", "eth0"]).into();
    spec
}

fn staged_kubernetes(dice: &mut Dice) -> Value {
    dice.object(&[
        ("stagedAction", |dice| dice.pick(&["Set", "Learn"]).into()),
        ("podSelector", kubernetes::selector),
        ("policyTypes", |dice| {
            dice.pick(&[json!(["Ingress"]), json!(["Egress"]), json!(["Ingress", "Egress"])])
        }),
        ("ingress", |dice| dice.list(2, |dice| kubernetes::rule(dice, "from"))),
        ("egress", |dice| dice.list(2, |dice| kubernetes::rule(dice, "to"))),
    ])
}
