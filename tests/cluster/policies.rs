//! The policies that the tests declare.

/// Denies all ingress, and says nothing of an `ingress` list.
pub(crate) fn default_deny(namespace: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\n\
         kind: NetworkPolicy\n\
         metadata:\n  name: deny\n  namespace: {namespace}\n\
         spec:\n  podSelector: {{}}\n  policyTypes: [Ingress]\n"
    )
}

/// Lets a port in.
pub(crate) fn allow_port(namespace: &str, name: &str, port: u16) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\n\
         kind: NetworkPolicy\n\
         metadata:\n  name: {name}\n  namespace: {namespace}\n\
         spec:\n  podSelector:\n    matchLabels:\n      app: {name}\n  policyTypes: [Ingress]\n  \
         ingress:\n    - ports:\n        - port: {port}\n"
    )
}
