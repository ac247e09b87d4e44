//! Calico's kinds, as `projectcalico.org/v3` of release 3.32 has them (api/pkg/apis/projectcalico/v3); the structure
//! of `crd.projectcalico.org/v1` is the same.

use super::kubernetes::{LABEL_SELECTOR, PEERS, POLICY_TYPE};
use super::{BOOLEAN, DISTINCT_TEXTS, Field, Items, NUMBER, PORT_NUMBER, STRING_MAP, Shape, TEXT, TEXTS};

pub(super) fn body(kind: &str) -> &'static [Field] {
    match kind {
        "NetworkPolicy" => NETWORK_POLICY,
        "GlobalNetworkPolicy" => GLOBAL_NETWORK_POLICY,
        "StagedNetworkPolicy" => STAGED_NETWORK_POLICY,
        "StagedGlobalNetworkPolicy" => STAGED_GLOBAL_NETWORK_POLICY,
        "StagedKubernetesNetworkPolicy" => STAGED_KUBERNETES_NETWORK_POLICY,
        "Tier" => TIER,
        "HostEndpoint" => HOST_ENDPOINT,
        _ => NETWORK_SET,
    }
}

const TYPES: Field = Field::new("types", &Shape::List(&Items::of(&POLICY_TYPE).between(1, 2).distinct()));
const TIER_NAME: Field = Field::new("tier", &TEXT).or("default");
const ORDER: Field = Field::new("order", &NUMBER);
const SELECTOR: Field = Field::new("selector", &TEXT);
const INGRESS: Field = Field::new("ingress", &RULES);
const EGRESS: Field = Field::new("egress", &RULES);
const SERVICE_ACCOUNT_SELECTOR: Field = Field::new("serviceAccountSelector", &TEXT);
const NAMESPACE_SELECTOR: Field = Field::new("namespaceSelector", &TEXT);
const DO_NOT_TRACK: Field = Field::new("doNotTrack", &BOOLEAN);
const PRE_DNAT: Field = Field::new("preDNAT", &BOOLEAN);
const APPLY_ON_FORWARD: Field = Field::new("applyOnForward", &BOOLEAN);
const PERFORMANCE_HINTS: Field = Field::new(
    "performanceHints",
    &Shape::List(&Items::of(&Shape::Word(&["AssumeNeededOnEveryNode"])).distinct()),
);
const STAGED_ACTION: Field = Field::new("stagedAction", &Shape::Word(&["Set", "Delete", "Learn", "Ignore"])).or("Set");

const NETWORK_POLICY: &[Field] = &[Field::new(
    "spec",
    &Shape::Object(&[
        TIER_NAME,
        ORDER,
        SELECTOR,
        TYPES,
        INGRESS,
        EGRESS,
        SERVICE_ACCOUNT_SELECTOR,
        PERFORMANCE_HINTS,
    ]),
)];

const STAGED_NETWORK_POLICY: &[Field] = &[Field::new(
    "spec",
    &Shape::Object(&[
        STAGED_ACTION,
        TIER_NAME,
        ORDER,
        SELECTOR,
        TYPES,
        INGRESS,
        EGRESS,
        SERVICE_ACCOUNT_SELECTOR,
        PERFORMANCE_HINTS,
    ]),
)];

const GLOBAL_NETWORK_POLICY: &[Field] = &[Field::new(
    "spec",
    &Shape::Object(&[
        TIER_NAME,
        ORDER,
        SELECTOR,
        TYPES,
        INGRESS,
        EGRESS,
        SERVICE_ACCOUNT_SELECTOR,
        NAMESPACE_SELECTOR,
        DO_NOT_TRACK,
        PRE_DNAT,
        APPLY_ON_FORWARD,
        PERFORMANCE_HINTS,
    ]),
)];

const STAGED_GLOBAL_NETWORK_POLICY: &[Field] = &[Field::new(
    "spec",
    &Shape::Object(&[
        STAGED_ACTION,
        TIER_NAME,
        ORDER,
        SELECTOR,
        TYPES,
        INGRESS,
        EGRESS,
        SERVICE_ACCOUNT_SELECTOR,
        NAMESPACE_SELECTOR,
        DO_NOT_TRACK,
        PRE_DNAT,
        APPLY_ON_FORWARD,
        PERFORMANCE_HINTS,
    ]),
)];

const RULES: Shape = Shape::List(&Items::of(&Shape::Object(RULE)));

const RULE: &[Field] = &[
    Field::new("action", &Shape::Word(&["Allow", "Deny", "Log", "Pass"])).required(),
    Field::new("protocol", &Shape::CalicoProtocol),
    Field::new("notProtocol", &Shape::CalicoProtocol),
    Field::new("source", &Shape::Object(ENTITY)).empty_is_absent(),
    Field::new("destination", &Shape::Object(ENTITY)).empty_is_absent(),
    Field::new("ipVersion", &Shape::OneOf(&[4, 6])),
    Field::new("icmp", &Shape::Object(ICMP)),
    Field::new("notICMP", &Shape::Object(ICMP)),
    Field::new("http", &Shape::Object(HTTP)),
    Field::new("metadata", &Shape::Object(&[Field::new("annotations", &STRING_MAP)])),
];

const ENTITY: &[Field] = &[
    SELECTOR,
    Field::new("notSelector", &TEXT),
    NAMESPACE_SELECTOR,
    Field::new("nets", &DISTINCT_TEXTS),
    Field::new("notNets", &TEXTS),
    Field::new("ports", &PORTS),
    Field::new("notPorts", &PORTS),
    Field::new(
        "serviceAccounts",
        &Shape::Object(&[Field::new("names", &DISTINCT_TEXTS), Field::new("selector", &TEXT)]),
    ),
    Field::new(
        "services",
        &Shape::Object(&[Field::new("name", &TEXT), Field::new("namespace", &TEXT)]),
    ),
];

const PORTS: Shape = Shape::List(&Items::of(&Shape::CalicoPort));

const ICMP: &[Field] = &[
    Field::new("type", &Shape::Integer(0, 254)),
    Field::new("code", &Shape::Integer(0, 255)),
];

const HTTP: &[Field] = &[
    Field::new("methods", &Shape::List(&Items::of(&TEXT).between(0, 20))),
    Field::new(
        "paths",
        &Shape::List(
            &Items::of(&Shape::Object(&[
                Field::new("exact", &TEXT),
                Field::new("prefix", &TEXT),
            ]))
            .between(0, 20),
        ),
    ),
];

/// The structure of `networking.k8s.io/v1`, but nothing is filled in: its ports keep no protocol.
const STAGED_KUBERNETES_NETWORK_POLICY: &[Field] = &[Field::new(
    "spec",
    &Shape::Object(&[
        STAGED_ACTION,
        Field::new("podSelector", &LABEL_SELECTOR),
        Field::new(
            "policyTypes",
            &Shape::List(&Items::of(&POLICY_TYPE).between(1, 2).distinct()),
        ),
        Field::new(
            "ingress",
            &Shape::List(&Items::of(&Shape::Object(&[
                Field::new("from", &PEERS),
                Field::new("ports", &KUBERNETES_PORTS),
            ]))),
        ),
        Field::new(
            "egress",
            &Shape::List(&Items::of(&Shape::Object(&[
                Field::new("to", &PEERS),
                Field::new("ports", &KUBERNETES_PORTS),
            ]))),
        ),
    ]),
)];

const KUBERNETES_PORTS: Shape = Shape::List(&Items::of(&Shape::Object(&[
    Field::new("protocol", &Shape::Word(&["TCP", "UDP", "SCTP"])),
    Field::new("port", &Shape::IntegerOrText),
    Field::new("endPort", &Shape::Integer(1, 65535)),
])));

const TIER: &[Field] = &[Field::new(
    "spec",
    &Shape::Object(&[
        ORDER,
        Field::new("defaultAction", &Shape::Word(&["Deny", "Pass"])).or("Deny"),
    ]),
)];

const NETWORK_SET: &[Field] = &[Field::new(
    "spec",
    &Shape::Object(&[Field::new("nets", &DISTINCT_TEXTS)]),
)];

const HOST_ENDPOINT: &[Field] = &[Field::new(
    "spec",
    &Shape::Object(&[
        Field::new("node", &TEXT).required(),
        Field::new("interfaceName", &TEXT),
        Field::new("expectedIPs", &DISTINCT_TEXTS),
        Field::new("profiles", &DISTINCT_TEXTS),
        Field::new("ports", &Shape::List(&Items::of(&Shape::Object(ENDPOINT_PORT)))),
    ]),
)
.required()];

const ENDPOINT_PORT: &[Field] = &[
    Field::new("name", &TEXT).required(),
    Field::new("protocol", &Shape::CalicoProtocol).required(),
    Field::new("port", &PORT_NUMBER).required(),
];
