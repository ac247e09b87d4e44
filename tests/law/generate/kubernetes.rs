//! `networking.k8s.io/v1`, and the parts of it that other families use.

use serde_json::{Value, json};

use super::dice::Dice;

pub(super) fn policy(dice: &mut Dice) -> (&'static str, &'static str, Value) {
    ("networking.k8s.io/v1", "NetworkPolicy", spec(dice))
}

fn spec(dice: &mut Dice) -> Value {
    dice.object(&[
        ("podSelector", selector),
        ("policyTypes", |dice| dice.some(&["Ingress", "Egress"])),
        ("ingress", |dice| dice.list(2, |dice| rule(dice, "from"))),
        ("egress", |dice| dice.list(2, |dice| rule(dice, "to"))),
    ])
}

pub(super) fn rule(dice: &mut Dice, peers: &str) -> Value {
    if dice.chance(5) {
        return Value::Null;
    }
    dice.object(&[(peers, |dice| dice.list(2, peer)), ("ports", |dice| dice.list(2, port))])
}

fn peer(dice: &mut Dice) -> Value {
    if dice.chance(40) {
        let except = dice.pick(&[
            json!(null),
            json!([]),
            json!(["10.1.0.0/16"]),
            json!(["10.2.0.0/16", "10.1.0.0/16", "10.2.0.0/16"]),
        ]);
        return json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": except}, "podSelector": null});
    }
    let mut peer = dice.object(&[("podSelector", selector), ("ipBlock", |_| Value::Null)]);
    peer["namespaceSelector"] = selector(dice);
    peer
}

fn port(dice: &mut Dice) -> Value {
    dice.object(&[
        ("protocol", |dice| dice.pick(&["TCP", "UDP", "SCTP"]).into()),
        ("port", |dice| {
            dice.pick(&[json!(80), json!(53), json!("http"), json!(100), json!(443)])
        }),
        ("endPort", |_| json!(8080)),
    ])
}

/// A label selector; nothing, `{}` and empty lists mean the same, but for whether there is a selector at all.
pub(super) fn selector(dice: &mut Dice) -> Value {
    dice.object(&[
        ("matchLabels", |dice| {
            dice.strings(&[
                ("app", |dice| dice.pick(&["web", "", "true", "1"]).into()),
                ("example.com/role", |_| "db".into()),
            ])
        }),
        ("matchExpressions", |dice| dice.list(2, expression)),
    ])
}

fn expression(dice: &mut Dice) -> Value {
    match dice.below(4) {
        0 => json!({"key": "a", "operator": "Exists"}),
        1 => json!({"key": "a", "operator": "DoesNotExist", "values": []}),
        2 => json!({"key": "a", "operator": "Exists", "values": null}),
        _ => json!({"key": "a", "operator": dice.pick(&["In", "NotIn"]), "values": ["b", "", "b"]}),
    }
}
