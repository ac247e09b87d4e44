//! `cilium.io/v2` `CiliumNetworkPolicy` and `CiliumClusterwideNetworkPolicy` (pkg/policy/api in cilium/cilium). Only as
//! far down as something is filled in or commonly misspelt: the fields below that change with each release.

use super::{BOOLEAN, Field, Items, Shape, TEXT};

pub(super) const BODY: &[Field] = &[
    Field::new("spec", &RULE),
    Field::new("specs", &Shape::List(&Items::of(&RULE))),
];

const RULE: Shape = Shape::Object(&[
    Field::new("endpointSelector", &Shape::Any),
    Field::new("nodeSelector", &Shape::Any),
    Field::new("ingress", &DIRECTION),
    Field::new("ingressDeny", &DIRECTION),
    Field::new("egress", &DIRECTION),
    Field::new("egressDeny", &DIRECTION),
    Field::new("labels", &Shape::List(&Items::of(&Shape::Any))),
    Field::new(
        "enableDefaultDeny",
        &Shape::Object(&[Field::new("ingress", &BOOLEAN), Field::new("egress", &BOOLEAN)]),
    ),
    Field::new("log", &Shape::Object(&[Field::new("value", &TEXT)])),
    Field::new("description", &TEXT),
]);

const DIRECTION: Shape = Shape::List(&Items::of(&Shape::Open(&[Field::new(
    "icmps",
    &Shape::List(&Items::of(&Shape::Open(&[Field::new(
        "fields",
        &Shape::List(&Items::of(&Shape::Open(&[Field::new(
            "family",
            &Shape::Word(&["IPv4", "IPv6"]),
        )
        .or("IPv4")]))),
    )]))),
)])));
