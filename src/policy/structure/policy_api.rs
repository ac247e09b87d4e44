//! `policy.networking.k8s.io`: `AdminNetworkPolicy` and `BaselineAdminNetworkPolicy` in v1alpha1, `ClusterNetworkPolicy`
//! in v1alpha2 (kubernetes-sigs/network-policy-api, experimental channel).

use super::kubernetes::LABEL_SELECTOR;
use super::{Field, Items, PORT_NUMBER, Shape, TEXT};

pub(super) fn body(kind: &str) -> &'static [Field] {
    match kind {
        "AdminNetworkPolicy" => ADMIN_NETWORK_POLICY,
        "BaselineAdminNetworkPolicy" => BASELINE_ADMIN_NETWORK_POLICY,
        _ => CLUSTER_NETWORK_POLICY,
    }
}

const PRIORITY: Field = Field::new("priority", &Shape::Integer(0, 1000)).required();
const RULE_NAME: Field = Field::new("name", &TEXT);
const DOMAIN_NAMES: Field = Field::new("domainNames", &Shape::List(&Items::of(&TEXT).between(1, 25).distinct()));
const NETWORKS: Field = Field::new("networks", &Shape::List(&Items::of(&TEXT).between(1, 25).distinct()));
const NAMESPACES: Field = Field::new("namespaces", &LABEL_SELECTOR);
const NODES: Field = Field::new("nodes", &LABEL_SELECTOR);

// v1alpha1

const ADMIN_NETWORK_POLICY: &[Field] = &[Field::new(
    "spec",
    &Shape::Object(&[
        PRIORITY,
        Field::new("subject", &SUBJECT).required(),
        Field::new(
            "ingress",
            &Shape::List(&Items::of(&Shape::Object(ADMIN_INGRESS)).between(0, 100)),
        ),
        Field::new(
            "egress",
            &Shape::List(&Items::of(&Shape::Object(ADMIN_EGRESS)).between(0, 100)),
        ),
    ]),
)
.required()];

const BASELINE_ADMIN_NETWORK_POLICY: &[Field] = &[Field::new(
    "spec",
    &Shape::Object(&[
        Field::new("subject", &SUBJECT).required(),
        Field::new(
            "ingress",
            &Shape::List(&Items::of(&Shape::Object(BASELINE_INGRESS)).between(0, 100)),
        ),
        Field::new(
            "egress",
            &Shape::List(&Items::of(&Shape::Object(BASELINE_EGRESS)).between(0, 100)),
        ),
    ]),
)
.required()];

const ADMIN_ACTION: Field = Field::new("action", &Shape::Word(&["Allow", "Deny", "Pass"])).required();
const BASELINE_ACTION: Field = Field::new("action", &Shape::Word(&["Allow", "Deny"])).required();
const ADMIN_INGRESS: &[Field] = &[RULE_NAME, ADMIN_ACTION, FROM, PORTS];
const ADMIN_EGRESS: &[Field] = &[RULE_NAME, ADMIN_ACTION, TO, PORTS];
const BASELINE_INGRESS: &[Field] = &[RULE_NAME, BASELINE_ACTION, FROM, PORTS];
const BASELINE_EGRESS: &[Field] = &[
    RULE_NAME,
    BASELINE_ACTION,
    Field::new(
        "to",
        &Shape::List(&Items::of(&Shape::Object(&[NAMESPACES, PODS, NODES, NETWORKS])).between(1, 100)),
    )
    .required(),
    PORTS,
];
const FROM: Field = Field::new(
    "from",
    &Shape::List(&Items::of(&Shape::Object(&[NAMESPACES, PODS])).between(1, 100)),
)
.required();
const TO: Field = Field::new(
    "to",
    &Shape::List(&Items::of(&Shape::Object(&[NAMESPACES, PODS, NODES, NETWORKS, DOMAIN_NAMES])).between(1, 100)),
)
.required();
const SUBJECT: Shape = Shape::Object(&[NAMESPACES, PODS]);
const PODS: Field = Field::new(
    "pods",
    &Shape::Object(&[
        Field::new("namespaceSelector", &LABEL_SELECTOR).required(),
        Field::new("podSelector", &LABEL_SELECTOR).required(),
    ]),
);
const PORTS: Field = Field::new(
    "ports",
    &Shape::List(
        &Items::of(&Shape::Object(&[
            Field::new("namedPort", &TEXT),
            Field::new(
                "portNumber",
                &Shape::Object(&[PROTOCOL, Field::new("port", &PORT_NUMBER).required()]),
            ),
            Field::new("portRange", &Shape::Object(&[PROTOCOL, START, END])),
        ]))
        .between(1, 100),
    ),
);
const PROTOCOL: Field = Field::new("protocol", &TEXT).or("TCP");
const START: Field = Field::new("start", &PORT_NUMBER).required();
const END: Field = Field::new("end", &PORT_NUMBER).required();

// v1alpha2

const CLUSTER_NETWORK_POLICY: &[Field] = &[Field::new(
    "spec",
    &Shape::Object(&[
        Field::new("tier", &Shape::Word(&["Admin", "Baseline"])).required(),
        PRIORITY,
        Field::new("subject", &Shape::Object(&[NAMESPACES, CLUSTER_PODS])).required(),
        Field::new(
            "ingress",
            &Shape::List(&Items::of(&Shape::Object(CLUSTER_INGRESS)).between(0, 25)),
        ),
        Field::new(
            "egress",
            &Shape::List(&Items::of(&Shape::Object(CLUSTER_EGRESS)).between(0, 25)),
        ),
    ]),
)
.required()];

const CLUSTER_ACTION: Field = Field::new("action", &Shape::Word(&["Accept", "Deny", "Pass"])).required();
const CLUSTER_INGRESS: &[Field] = &[
    RULE_NAME,
    CLUSTER_ACTION,
    Field::new(
        "from",
        &Shape::List(&Items::of(&Shape::Object(&[NAMESPACES, CLUSTER_PODS])).between(1, 25)),
    )
    .required(),
    PROTOCOLS,
];
const CLUSTER_EGRESS: &[Field] = &[
    RULE_NAME,
    CLUSTER_ACTION,
    Field::new(
        "to",
        &Shape::List(
            &Items::of(&Shape::Object(&[
                NAMESPACES,
                CLUSTER_PODS,
                NODES,
                NETWORKS,
                DOMAIN_NAMES,
            ]))
            .between(1, 25),
        ),
    )
    .required(),
    PROTOCOLS,
];
const CLUSTER_PODS: Field = Field::new(
    "pods",
    &Shape::Object(&[
        Field::new("namespaceSelector", &LABEL_SELECTOR),
        Field::new("podSelector", &LABEL_SELECTOR).required(),
    ]),
);
const PROTOCOLS: Field = Field::new(
    "protocols",
    &Shape::List(
        &Items::of(&Shape::Object(&[
            Field::new("tcp", &TRANSPORT),
            Field::new("udp", &TRANSPORT),
            Field::new("sctp", &TRANSPORT),
            Field::new("destinationNamedPort", &TEXT),
        ]))
        .between(1, 25),
    ),
);
const TRANSPORT: Shape = Shape::Object(&[Field::new(
    "destinationPort",
    &Shape::Object(&[
        Field::new("number", &PORT_NUMBER),
        Field::new("range", &Shape::Object(&[START, END])),
    ]),
)]);
