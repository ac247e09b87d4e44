//! Exemptions: a user *and* objects that the gate lets pass, each with a reason.

use std::sync::Arc;

use globset::{Glob, GlobMatcher};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::review::Operation;
use crate::policy::{Key, Kind};

/// An exemption as the configuration writes it. An empty list of objects' properties matches all; a list of users and
/// groups must not be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExemptionSpec {
    /// User names, exact.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// Group names, exact.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Kinds, as `hostendpoint.projectcalico.org`; must not be empty.
    pub kinds: Vec<String>,
    /// Globs of namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Globs of names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Globs of the names under which objects are stored: for Calico's, which some releases store under other names than
    /// they show.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stored_names: Vec<String>,
    /// Labels that the object must carry, exact. On an UPDATE the object had to carry them before, too.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub labels: std::collections::BTreeMap<String, String>,
    /// Kinds of which one must own the object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owner_kinds: Vec<String>,
    /// Operations; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<Operation>,
    /// The time from which it holds no longer; without one it holds always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Why it is there; must not be empty.
    pub reason: String,
}

/// An exemption, checked and ready for use.
#[derive(Clone, Debug)]
pub struct Exemption {
    spec: ExemptionSpec,
    preset: Option<Arc<str>>,
    kinds: Vec<Kind>,
    namespaces: Vec<GlobMatcher>,
    names: Vec<GlobMatcher>,
    stored_names: Vec<GlobMatcher>,
}

/// Why an exemption cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExemptionError {
    /// A part without which it would match too much is absent.
    #[error("an exemption needs {0}")]
    Needs(&'static str),
    /// A name that Headgate does not know.
    #[error("exemption \"{reason}\": \"{kind}\" is not a kind that Headgate guards")]
    Kind {
        /// The exemption's reason, to find it by.
        reason: String,
        /// The name.
        kind: String,
    },
    /// A pattern that cannot be read.
    #[error("exemption \"{reason}\": \"{pattern}\" is not a glob")]
    Glob {
        /// The exemption's reason, to find it by.
        reason: String,
        /// The pattern.
        pattern: String,
    },
}

/// What of an object an exemption looks at.
#[derive(Clone, Debug)]
pub struct Traits<'a> {
    /// Its key.
    pub key: &'a Key,
    /// The name it is stored under; not always that of the key.
    pub stored_name: &'a str,
    /// Its canonical form.
    pub form: &'a serde_json::Value,
}

impl Exemption {
    /// Checks an exemption.
    ///
    /// # Errors
    /// When it would match too much, or names what is not there.
    pub fn new(spec: ExemptionSpec) -> Result<Self, ExemptionError> {
        if spec.reason.trim().is_empty() {
            return Err(ExemptionError::Needs("a reason"));
        }
        if spec.users.is_empty() && spec.groups.is_empty() {
            return Err(ExemptionError::Needs("users or groups"));
        }
        if spec.kinds.is_empty() {
            return Err(ExemptionError::Needs("kinds"));
        }
        let kind = |name: &String| {
            Kind::of_name(name).ok_or_else(|| ExemptionError::Kind {
                reason: spec.reason.clone(),
                kind: name.clone(),
            })
        };
        let glob = |pattern: &String| {
            Glob::new(pattern)
                .map(|glob| glob.compile_matcher())
                .map_err(|_| ExemptionError::Glob {
                    reason: spec.reason.clone(),
                    pattern: pattern.clone(),
                })
        };
        Ok(Self {
            kinds: spec.kinds.iter().map(kind).collect::<Result<_, _>>()?,
            namespaces: spec.namespaces.iter().map(glob).collect::<Result<_, _>>()?,
            names: spec.names.iter().map(glob).collect::<Result<_, _>>()?,
            stored_names: spec.stored_names.iter().map(glob).collect::<Result<_, _>>()?,
            preset: None,
            spec,
        })
    }

    /// The same exemption as a part of this preset.
    #[must_use]
    pub fn of_preset(self, preset: Arc<str>) -> Self {
        Self {
            preset: Some(preset),
            ..self
        }
    }

    /// The preset it is a part of; none where the configuration has it itself.
    pub fn preset(&self) -> Option<&str> {
        self.preset.as_deref()
    }

    /// Whether it has not ended yet.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.spec.until.is_none_or(|until| now < until)
    }

    /// The exemption as the configuration wrote it.
    pub fn spec(&self) -> &ExemptionSpec {
        &self.spec
    }

    /// Whether it names this user.
    pub fn names_user(&self, user: &str, groups: &[String]) -> bool {
        self.spec.users.iter().any(|name| name == user) || self.spec.groups.iter().any(|group| groups.contains(group))
    }

    /// Whether it covers deletes by users it names who delete for others, without saying for whom. As everybody could be
    /// the one, it has to say DELETE itself, and to end.
    pub fn covers_anonymous_deletes(&self) -> bool {
        self.spec.until.is_some() && self.spec.operations.contains(&Operation::Delete)
    }

    /// Whether it covers this operation.
    pub fn covers_operation(&self, operation: Operation) -> bool {
        self.spec.operations.is_empty() || self.spec.operations.contains(&operation)
    }

    /// Whether it names this object.
    pub fn names_object(&self, object: &Traits<'_>) -> bool {
        let key = object.key;
        let any = |globs: &[GlobMatcher], text: &str| globs.is_empty() || globs.iter().any(|glob| glob.is_match(text));
        self.kinds.contains(&key.kind())
            && key
                .namespace()
                .map_or(self.namespaces.is_empty(), |namespace| any(&self.namespaces, namespace))
            && any(&self.names, key.name())
            && any(&self.stored_names, object.stored_name)
            && self.has_labels(object.form)
            && self.has_owner(object.form)
    }

    fn has_labels(&self, form: &serde_json::Value) -> bool {
        let label = |name: &str| form.get("metadata")?.get("labels")?.get(name)?.as_str();
        self.spec
            .labels
            .iter()
            .all(|(name, value)| label(name) == Some(value.as_str()))
    }

    fn has_owner(&self, form: &serde_json::Value) -> bool {
        if self.spec.owner_kinds.is_empty() {
            return true;
        }
        let owners = form
            .get("metadata")
            .and_then(|metadata| metadata.get("ownerReferences"));
        owners.and_then(serde_json::Value::as_array).is_some_and(|owners| {
            owners
                .iter()
                .filter_map(|owner| owner.get("kind")?.as_str())
                .any(|kind| self.spec.owner_kinds.iter().any(|wanted| wanted == kind))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec() -> ExemptionSpec {
        ExemptionSpec {
            users: vec!["system:serviceaccount:calico-system:calico-kube-controllers".to_owned()],
            kinds: vec!["hostendpoint.projectcalico.org".to_owned()],
            names: vec!["*-auto-hep".to_owned()],
            labels: [(
                "projectcalico.org/created-by".to_owned(),
                "calico-kube-controllers".to_owned(),
            )]
            .into(),
            reason: "automatic host endpoints".to_owned(),
            ..ExemptionSpec::default()
        }
    }

    #[test]
    fn an_exemption_names_a_user_and_objects() -> Result<(), Box<dyn std::error::Error>> {
        let exemption = Exemption::new(spec())?;
        let form = json!({"metadata": {"labels": {"projectcalico.org/created-by": "calico-kube-controllers"}}});
        let named: Key = "hostendpoint.projectcalico.org/node-1-auto-hep".parse()?;
        let other: Key = "hostendpoint.projectcalico.org/node-1".parse()?;
        assert!(exemption.names_object(&Traits {
            key: &named,
            stored_name: named.name(),
            form: &form
        }));
        assert!(!exemption.names_object(&Traits {
            key: &other,
            stored_name: other.name(),
            form: &form
        }));
        assert!(!exemption.names_object(&Traits {
            key: &named,
            stored_name: named.name(),
            form: &json!({})
        }));
        assert!(!exemption.names_user("alice", &["system:masters".to_owned()]));
        Ok(())
    }

    #[test]
    fn an_exemption_that_would_match_everyone_or_everything_is_refused() {
        assert!(
            Exemption::new(ExemptionSpec {
                users: vec![],
                ..spec()
            })
            .is_err()
        );
        assert!(
            Exemption::new(ExemptionSpec {
                kinds: vec![],
                ..spec()
            })
            .is_err()
        );
        assert!(
            Exemption::new(ExemptionSpec {
                reason: " ".to_owned(),
                ..spec()
            })
            .is_err()
        );
    }
}
