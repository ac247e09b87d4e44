//! `networking.k8s.io/v1`: defaults of pkg/apis/networking/v1/defaults.go.

use serde_json::{Map, Value, json};

use super::spelling::{self, Empties};
use crate::policy::kind::Kind;
use crate::policy::structure;

pub(super) fn normalise(kind: Kind, members: &mut Map<String, Value>) {
    spelling::object(members, structure::body(kind), Empties::Kubernetes);
    let spec = members.entry("spec").or_insert_with(|| json!({}));
    if let Value::Object(spec) = spec {
        spec.entry("podSelector").or_insert_with(|| json!({}));
        if !spec.contains_key("policyTypes") {
            let types = implied_types(spec);
            spec.insert("policyTypes".to_owned(), types);
        }
    }
}

/// `SetDefaults_NetworkPolicy`: always `Ingress`; `Egress` where there is an egress rule.
pub(super) fn implied_types(spec: &Map<String, Value>) -> Value {
    if spec.contains_key("egress") {
        json!(["Ingress", "Egress"])
    } else {
        json!(["Ingress"])
    }
}
