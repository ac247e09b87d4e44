//! `networking.k8s.io/v1` `NetworkPolicy` (staging/src/k8s.io/api/networking/v1/types.go) and the label selector every
//! family shares.

use super::{Field, Items, STRING_MAP, Shape, TEXT, TEXTS};

pub(super) const BODY: &[Field] = &[Field::new("spec", &Shape::Object(SPEC))];

const SPEC: &[Field] = &[
    Field::new("podSelector", &LABEL_SELECTOR),
    Field::new("policyTypes", &Shape::List(&Items::of(&POLICY_TYPE))),
    Field::new(
        "ingress",
        &Shape::List(&Items::of(&Shape::Object(INGRESS_RULE)).null_is_empty()),
    ),
    Field::new(
        "egress",
        &Shape::List(&Items::of(&Shape::Object(EGRESS_RULE)).null_is_empty()),
    ),
];

const INGRESS_RULE: &[Field] = &[
    Field::new("from", &PEERS),
    Field::new("ports", &Shape::List(&Items::of(&Shape::Object(PORT)).null_is_empty())),
];

const EGRESS_RULE: &[Field] = &[
    Field::new("to", &PEERS),
    Field::new("ports", &Shape::List(&Items::of(&Shape::Object(PORT)).null_is_empty())),
];

/// Defaults: pkg/apis/networking/v1/defaults.go, `SetDefaults_NetworkPolicyPort`.
const PORT: &[Field] = &[
    Field::new("protocol", &Shape::Word(&["TCP", "UDP", "SCTP"])).or("TCP"),
    Field::new("port", &Shape::IntegerOrText),
    Field::new("endPort", &Shape::Integer(1, 65535)),
];

pub(super) const POLICY_TYPE: Shape = Shape::Word(&["Ingress", "Egress"]);

pub(super) const PEERS: Shape = Shape::List(&Items::of(&Shape::Object(&[
    Field::new("podSelector", &LABEL_SELECTOR),
    Field::new("namespaceSelector", &LABEL_SELECTOR),
    Field::new("ipBlock", &Shape::Object(IP_BLOCK)),
])));

const IP_BLOCK: &[Field] = &[Field::new("cidr", &TEXT).required(), Field::new("except", &TEXTS)];

pub(super) const LABEL_SELECTOR: Shape = Shape::Object(&[
    Field::new("matchLabels", &STRING_MAP),
    Field::new(
        "matchExpressions",
        &Shape::List(&Items::of(&Shape::Object(&[
            Field::new("key", &TEXT).required(),
            Field::new("operator", &TEXT).required(),
            Field::new("values", &TEXTS),
        ]))),
    ),
]);
