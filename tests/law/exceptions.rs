//! Where check and server disagree, each with its reason.

/// Accepted by the check, refused by the server: by a part of the server's message.
pub(crate) const REFUSED_BY_THE_SERVER: &[(&str, &str)] = &[];

/// What Calico's own server refuses and its native mode, which this API server is in, does not look at.
const UNCHECKED: &str =
    "Calico's own server refuses it; in the native mode the policy is stored and then silently ignored";

/// The one disagreement that is not about Calico.
pub(crate) const NULL: (&str, &str) = (
    "null is read as",
    "a null label or annotation is an empty string to the server, and dropped by kubectl apply",
);

/// Accepted by the server, refused by the check: by a part of the check's message.
pub(crate) const REFUSED_BY_THE_CHECK: &[(&str, &str)] = &[
    ("is no network", UNCHECKED),
    ("has bits set beyond its mask", UNCHECKED),
    ("a rule is for IPv4 or for IPv6", UNCHECKED),
    ("`global()` has to stand alone", UNCHECKED),
    ("is no port", UNCHECKED),
    ("this is no selector", UNCHECKED),
    NULL,
    (
        "write `types`",
        "Calico's two modes fill in different types where a list of rules is empty",
    ),
    (
        "write `policyTypes`",
        "Calico's two modes fill in different types where a list of rules is empty",
    ),
    ("a policy with `stagedAction: Delete` has no", UNCHECKED),
    (
        "without `order`",
        "comes before the default tier in one of Calico's modes, and last in the other",
    ),
    (
        "`endPort` needs",
        "no server checks a staged Kubernetes policy; networking.k8s.io refuses what it would become",
    ),
];
