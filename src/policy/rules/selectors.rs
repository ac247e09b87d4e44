//! Kubernetes' label selectors (k8s.io/apimachinery/pkg/apis/meta/v1/validation).

use serde_json::{Map, Value};

use super::labels;
use crate::policy::manifest::Findings;

/// Checks the label selector of this name, where there is one.
pub(super) fn check_member<'a>(members: &'a Map<String, Value>, name: &'static str, findings: &mut Findings<'a>) {
    if let Some(Value::Object(selector)) = members.get(name) {
        findings.member(name, |findings| check(selector, findings));
    }
}

fn check<'a>(selector: &'a Map<String, Value>, findings: &mut Findings<'a>) {
    if let Some(Value::Object(wanted)) = selector.get("matchLabels") {
        findings.member("matchLabels", |findings| labels::check_labels(wanted, findings));
    }
    if let Some(Value::Array(expressions)) = selector.get("matchExpressions") {
        findings.member("matchExpressions", |findings| {
            for (index, expression) in expressions.iter().enumerate() {
                findings.item(index, |findings| check_expression(expression, findings));
            }
        });
    }
}

/// `ValidateLabelSelectorRequirement`.
fn check_expression<'a>(expression: &'a Value, findings: &mut Findings<'a>) {
    let values = expression
        .get("values")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    if let Some(Value::String(operator)) = expression.get("operator") {
        match operator.as_str() {
            "In" | "NotIn" if values.is_empty() => findings.error(format!("`{operator}` needs `values`")),
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                findings.error(format!("`{operator}` takes no `values`"));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => findings.member("operator", |findings| {
                findings.error("write one of `In`, `NotIn`, `Exists`, `DoesNotExist`");
            }),
        }
    }
    if let Some(Value::String(key)) = expression.get("key")
        && !labels::is_qualified_name(key)
    {
        findings.member("key", |findings| {
            findings.error(format!("\"{key}\" is no valid label key"));
        });
    }
    findings.member("values", |findings| {
        for (index, value) in values.iter().enumerate() {
            if let Value::String(value) = value
                && !labels::is_label_value(value)
            {
                findings.item(index, |findings| {
                    findings.error(format!("\"{value}\" is no valid label value"));
                });
            }
        }
    });
}
