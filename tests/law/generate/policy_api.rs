//! `policy.networking.k8s.io`.

use serde_json::{Value, json};

use super::dice::Dice;
use super::kubernetes::selector;

pub(super) fn policy(dice: &mut Dice) -> (&'static str, &'static str, Value) {
    if dice.chance(40) {
        return (
            "policy.networking.k8s.io/v1alpha2",
            "ClusterNetworkPolicy",
            cluster(dice),
        );
    }
    let mut spec = dice.object(&[
        ("ingress", |dice| dice.list(2, ingress)),
        ("egress", |dice| dice.list(2, egress)),
    ]);
    spec["subject"] = peer(dice);
    if dice.chance(10) {
        return ("policy.networking.k8s.io/v1alpha1", "BaselineAdminNetworkPolicy", spec);
    }
    spec["priority"] = dice.pick(&[json!(0), json!(10), json!(100), json!(1000)]);
    ("policy.networking.k8s.io/v1alpha1", "AdminNetworkPolicy", spec)
}

fn cluster(dice: &mut Dice) -> Value {
    let mut spec = dice.object(&[
        ("ingress", |dice| dice.list(2, |dice| in_v2(dice, "from"))),
        ("egress", |dice| dice.list(2, |dice| in_v2(dice, "to"))),
    ]);
    spec["subject"] = peer(dice);
    spec["tier"] = dice.pick(&["Admin", "Baseline"]).into();
    spec["priority"] = dice.pick(&[json!(0), json!(100)]);
    spec
}

fn ingress(dice: &mut Dice) -> Value {
    let mut rule = dice.object(&[("name", name), ("ports", |dice| json!([port(dice)]))]);
    rule["action"] = dice.pick(&["Allow", "Deny"]).into();
    rule["from"] = json!([peer(dice)]);
    rule
}

fn egress(dice: &mut Dice) -> Value {
    let mut rule = dice.object(&[("name", name), ("ports", |dice| json!([port(dice)]))]);
    rule["action"] = dice.pick(&["Allow", "Deny"]).into();
    rule["to"] = json!([outside(dice)]);
    rule
}

fn in_v2(dice: &mut Dice, peers: &str) -> Value {
    let mut rule = dice.object(&[("name", name), ("protocols", |dice| json!([protocol(dice)]))]);
    rule["action"] = dice.pick(&["Accept", "Deny", "Pass"]).into();
    rule[peers] = json!([if peers == "to" { outside(dice) } else { peer(dice) }]);
    rule
}

fn name(dice: &mut Dice) -> Value {
    dice.pick(&["", "web", "A rule"]).into()
}

fn peer(dice: &mut Dice) -> Value {
    match dice.below(2) {
        0 => json!({"namespaces": selector(dice), "pods": null}),
        _ => json!({"pods": {"namespaceSelector": selector(dice), "podSelector": selector(dice)}}),
    }
}

fn outside(dice: &mut Dice) -> Value {
    match dice.below(4) {
        0 => json!({"nodes": selector(dice)}),
        1 => json!({"networks": ["10.1.2.3/8", "2001:DB8::/32", "0.0.0.0/0"]}),
        _ => peer(dice),
    }
}

fn port(dice: &mut Dice) -> Value {
    match dice.below(4) {
        0 => json!({"namedPort": "web"}),
        1 => json!({"portNumber": {"port": 80, "protocol": null}}),
        2 => json!({"portNumber": {"port": 80, "protocol": dice.pick(&["TCP", "UDP"])}}),
        _ => json!({"portRange": {"start": 1, "end": 100}}),
    }
}

fn protocol(dice: &mut Dice) -> Value {
    match dice.below(3) {
        0 => json!({"destinationNamedPort": "web"}),
        1 => json!({"tcp": {"destinationPort": {"number": 80}}, "udp": null}),
        _ => json!({"udp": {"destinationPort": {"range": {"start": 1, "end": 100}}}}),
    }
}
