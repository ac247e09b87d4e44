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

const OBJECTS: Shape = Shape::List(&Items::of(&Shape::Any));
const TEXTS: Shape = Shape::List(&Items::of(&TEXT));

/// Members of both directions; others pass, for releases add some.
const DIRECTION: Shape = Shape::List(&Items::of(&Shape::Open(&[
    Field::new("fromEndpoints", &OBJECTS),
    Field::new("fromRequires", &OBJECTS),
    Field::new("fromCIDR", &TEXTS),
    Field::new("fromCIDRSet", &OBJECTS),
    Field::new("fromEntities", &TEXTS),
    Field::new("fromGroups", &OBJECTS),
    Field::new("fromNodes", &OBJECTS),
    Field::new("toEndpoints", &OBJECTS),
    Field::new("toRequires", &OBJECTS),
    Field::new("toCIDR", &TEXTS),
    Field::new("toCIDRSet", &OBJECTS),
    Field::new("toEntities", &TEXTS),
    Field::new("toServices", &OBJECTS),
    Field::new("toFQDNs", &OBJECTS),
    Field::new("toGroups", &OBJECTS),
    Field::new("toNodes", &OBJECTS),
    Field::new("authentication", &Shape::Any),
    Field::new("toPorts", &Shape::List(&Items::of(&PORT_RULE))),
    Field::new("icmps", &Shape::List(&Items::of(&ICMP))),
])));

const PORT_RULE: Shape = Shape::Open(&[
    Field::new("ports", &Shape::List(&Items::of(&PORT))),
    Field::new("rules", &Shape::Any),
    Field::new("listener", &Shape::Any),
    Field::new("serverNames", &TEXTS),
    Field::new("terminatingTLS", &Shape::Any),
    Field::new("originatingTLS", &Shape::Any),
]);

const PORT: Shape = Shape::Open(&[
    Field::new("port", &TEXT),
    Field::new("endPort", &Shape::Integer(0, 65_535)),
    Field::new(
        "protocol",
        &Shape::Word(&["TCP", "UDP", "SCTP", "ICMP", "ICMPv6", "VRRP", "IGMP", "ANY"]),
    ),
]);

const ICMP: Shape = Shape::Open(&[Field::new(
    "fields",
    &Shape::List(&Items::of(&Shape::Open(&[
        Field::new("family", &Shape::Word(&["IPv4", "IPv6"])).or("IPv4"),
        Field::new("type", &Shape::IntegerOrText),
    ]))),
)]);
