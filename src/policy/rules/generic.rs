//! Kinds that the configuration names: nothing is known of their structure but who reads them.

use serde_json::{Map, Value};

use crate::policy::kind::{Kind, is_built_in};
use crate::policy::manifest::Findings;

/// In the API server's own kinds, null among strings would be stored as an empty one, and never be what Git says.
pub(super) fn check<'a>(kind: Kind, object: &'a Map<String, Value>, findings: &mut Findings<'a>) {
    if !is_built_in(kind.definition().group) {
        return;
    }
    for (name, value) in object.iter().filter(|(name, _)| *name != "metadata") {
        findings.member(name, |findings| check_below(value, findings));
    }
}

/// The reader of the file has bounded the depth.
fn check_below<'a>(value: &'a Value, findings: &mut Findings<'a>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                findings.member(name, |findings| {
                    if value.is_null() {
                        findings.error("null is read as an empty value here: write what is meant, or remove it");
                    }
                    check_below(value, findings);
                });
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                findings.item(index, |findings| check_below(item, findings));
            }
        }
        _ => {}
    }
}
