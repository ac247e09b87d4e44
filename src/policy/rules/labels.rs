//! Keys and values of labels and annotations (k8s.io/apimachinery/pkg/util/validation).

use serde_json::{Map, Value};

use crate::policy::manifest::Findings;

/// Labels of an object.
pub(crate) fn check_labels<'a>(labels: &'a Map<String, Value>, findings: &mut Findings<'a>) {
    for (key, value) in labels {
        findings.member(key, |findings| {
            if !is_qualified_name(key) {
                findings.error(format!("\"{key}\" is no valid label key: {KEY}"));
            }
            if let Some(value) = value.as_str()
                && !is_label_value(value)
            {
                findings.error(format!("\"{value}\" is no valid label value: {VALUE}"));
            }
        });
    }
}

/// Keys of annotations; upper case is accepted in the prefix here, unlike in labels.
pub(crate) fn check_annotation_keys<'a>(annotations: &'a Map<String, Value>, findings: &mut Findings<'a>) {
    for key in annotations
        .keys()
        .filter(|key| !is_qualified_name(&key.to_ascii_lowercase()))
    {
        findings.member(key, |findings| {
            findings.error(format!("\"{key}\" is no valid annotation key: {KEY}"));
        });
    }
}

/// Finalizers that Kubernetes itself knows, and the only ones without a domain that it accepts on its own kinds.
const STANDARD_FINALIZERS: &[&str] = &["kubernetes", "orphan", "foregroundDeletion"];

/// Names of finalizers. On the API server's own kinds, one without a domain has to be a standard one
/// (`ValidateFinalizerName`, pkg/apis/core/validation).
pub(crate) fn check_finalizers(finalizers: &[Value], is_built_in: bool, findings: &mut Findings<'_>) {
    for (index, finalizer) in finalizers.iter().enumerate() {
        let Some(name) = finalizer.as_str() else {
            continue;
        };
        let is_known = !is_built_in || name.contains('/') || STANDARD_FINALIZERS.contains(&name);
        findings.item(index, |findings| {
            if !is_qualified_name(name) {
                findings.error(format!("{finalizer} is no valid finalizer: {KEY}"));
            } else if !is_known {
                findings.error(format!(
                    "{finalizer} is no finalizer that Kubernetes knows: write it with its domain"
                ));
            }
        });
    }
}

const KEY: &str = "a name of at most 63 letters, digits, '-', '_' and '.', perhaps after a domain and '/'";
const VALUE: &str = "at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit";

/// `IsQualifiedName`.
pub(crate) fn is_qualified_name(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let prefix_fits = prefix.is_none_or(|prefix| !prefix.is_empty() && crate::policy::manifest::is_subdomain(prefix));
    prefix_fits && !name.is_empty() && is_label_value(name)
}

/// `IsValidLabelValue`: empty, or up to 63 characters that begin and end with a letter or digit.
pub(crate) fn is_label_value(value: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_outer = |byte: Option<u8>| byte.is_none_or(|byte| byte.is_ascii_alphanumeric());
    value.len() <= 63 && value.bytes().all(is_inner) && is_outer(value.bytes().next()) && is_outer(value.bytes().last())
}
