//! Names, as API servers accept them.

use crate::policy::kind::{Family, Kind};

/// RFC 1123 subdomain; the one name the schema of `BaselineAdminNetworkPolicy` allows; and for Calico's kinds what its validator adds (libcalico-go/lib/validator/v3, `validateTier`,
/// `networkPolicyNameRegex`, `globalNetworkPolicyNameRegex`).
pub(super) fn check_name(kind: Kind, name: &str) -> Result<(), String> {
    if kind.definition().group == "rbac.authorization.k8s.io" {
        return check_path_segment(name);
    }
    check_subdomain(name)?;
    if kind.definition().kind == "BaselineAdminNetworkPolicy" && name != "default" {
        return Err("there is one BaselineAdminNetworkPolicy only: name it \"default\"".to_owned());
    }
    if kind.definition().family != Family::Calico {
        return Ok(());
    }
    let dots = name.matches('.').count();
    let converted = name.starts_with("knp.default.") || name.starts_with("ossg.default.");
    match kind.definition().kind {
        "Tier" if dots > 0 || name.len() > 63 => Err(format!(
            "\"{name}\" is no name of a Tier: no dots, at most 63 characters"
        )),
        "NetworkPolicy" | "StagedNetworkPolicy" if dots > 1 && !converted => {
            Err(format!("\"{name}\" is no name of a Calico policy: at most one dot"))
        }
        "GlobalNetworkPolicy" | "StagedGlobalNetworkPolicy" if dots > 1 => {
            Err(format!("\"{name}\" is no name of a Calico policy: at most one dot"))
        }
        _ => Ok(()),
    }
}

/// Names of RBAC objects may be anything that a path can hold (`IsValidPathSegmentName`).
fn check_path_segment(name: &str) -> Result<(), String> {
    if matches!(name, "." | "..") || name.contains(['/', '%']) {
        return Err(
            "no name of a role or binding: it may not be \".\" or \"..\", nor have a '/' or '%' in it".to_owned(),
        );
    }
    Ok(())
}

/// RFC 1123 subdomain: labels of any length joined by dots, 253 bytes at most in all.
fn check_subdomain(name: &str) -> Result<(), String> {
    if is_subdomain(name) {
        return Ok(());
    }
    Err(format!(
        "\"{}\" is no valid name: lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit, \
         at most 253 characters",
        name.chars().take(80).collect::<String>()
    ))
}

/// Whether the text is an RFC 1123 subdomain.
pub(crate) fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label_text)
}

/// RFC 1123 label, as namespaces are named.
pub(super) fn check_label(name: &str) -> Result<(), String> {
    if is_label(name) {
        return Ok(());
    }
    Err(format!(
        "\"{}\" is no valid namespace: lower-case letters, digits and '-', beginning and ending with a letter or digit, \
         at most 63 characters",
        name.chars().take(80).collect::<String>()
    ))
}

/// Whether the text is an RFC 1123 label.
pub(crate) fn is_label(name: &str) -> bool {
    name.len() <= 63 && is_label_text(name)
}

fn is_label_text(text: &str) -> bool {
    let is_outer = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.bytes().all(|byte| is_outer(byte) || byte == b'-')
        && text.bytes().next().is_some_and(is_outer)
        && text.bytes().last().is_some_and(is_outer)
}
