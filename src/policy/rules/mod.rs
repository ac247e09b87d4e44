//! Rules beyond structure, which only some servers check: the file is where everyone can read what is wrong.
//!
//! Calico's native mode validates no selector, CIDR or port. A bad policy is stored there, and then silently does not
//! exist.

mod calico;
mod calico_rule;
mod calico_sets;
mod generic;
mod kubernetes;
pub(crate) mod labels;
mod net;
pub(crate) mod owners;
mod policy_api;
mod port;
mod selector;
mod selectors;

use serde_json::{Map, Value};

use super::kind::{Family, Kind};
use super::manifest::Findings;

/// Checks an object; what has the wrong type is passed over, the structure's check has told it.
pub(crate) fn check<'a>(kind: Kind, object: &'a Map<String, Value>, findings: &mut Findings<'a>) {
    match (kind.definition().family, object.get("spec")) {
        (Family::Calico, _) => calico::check(kind, object, findings),
        (Family::Generic, _) => generic::check(kind, object, findings),
        (Family::Kubernetes, Some(Value::Object(spec))) => {
            findings.member("spec", |findings| kubernetes::check_spec(spec, findings));
        }
        (Family::PolicyApi, Some(Value::Object(spec))) => {
            findings.member("spec", |findings| policy_api::check_spec(spec, findings));
        }
        _ => {}
    }
}

fn is_present(members: &Map<String, Value>, name: &str) -> bool {
    members.get(name).is_some_and(|value| !value.is_null())
}
