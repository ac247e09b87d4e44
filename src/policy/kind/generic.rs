//! Kinds that the configuration names: custom resources of any scope, and of Kubernetes' own kinds those that have a
//! namespace, in the namespaces listed beside them.

use serde::{Deserialize, Serialize};

use super::{Definition, Family, Kind, Rank, registry};
use crate::policy::manifest::{is_label, is_subdomain};

/// A further kind to guard, as the configuration has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GenericKind {
    /// The API group; empty for the core group.
    pub group: String,
    /// The version to watch and to write.
    pub version: String,
    /// The kind as manifests write it.
    pub kind: String,
    /// The resource as the API's paths write it.
    pub plural: String,
    /// Whether objects of it live in a namespace.
    #[serde(default)]
    pub namespaced: bool,
    /// The namespaces in which it is guarded. Left out: all; Kubernetes' own kinds need them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
}

/// Why a kind cannot be guarded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenericKindError {
    /// A field has no possible value.
    #[error("genericKinds, {kind}: {field}: \"{value}\" is not {expected}")]
    Field {
        /// The kind as written.
        kind: String,
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// Guarding the kind would do harm.
    #[error("genericKinds, {kind}: {why}")]
    Refused {
        /// The kind as written.
        kind: String,
        /// Why.
        why: &'static str,
    },
    /// The kind is there in another form.
    #[error(
        "genericKinds, {kind}: it is there already, with another version, resource, scope or namespaces: name it once"
    )]
    Contradiction {
        /// The kind as written.
        kind: String,
    },
}

/// The groups of the API server itself; what is cluster-scoped in them keeps the cluster going.
const BUILT_IN_GROUPS: &[&str] = &[
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
    "storagemigration.k8s.io",
];

/// Built-in kinds that controllers write without end: guarded, the cluster would stand still, Headgate with it.
const WRITTEN_BY_CONTROLLERS: &[&str] = &[
    "Binding",
    "ControllerRevision",
    "EndpointSlice",
    "Endpoints",
    "Event",
    "Job",
    "Lease",
    "PersistentVolumeClaim",
    "Pod",
    "ReplicaSet",
    "ReplicationController",
    "ResourceClaim",
    "ServiceAccount",
];

/// Namespaces whose built-in objects the control plane needs to start, and Headgate to run.
const NEEDED_NAMESPACES: &[&str] = &["kube-system", "kube-public", "kube-node-lease"];

/// Objects that Kubernetes puts into every namespace: they are in no repository, and no Pod starts without them.
pub(super) fn is_bookkeeping(kind: &str, name: &str) -> bool {
    kind == "ConfigMap" && name == "kube-root-ca.crt"
}

/// Whether the API server itself types the objects of this group.
pub(crate) fn is_built_in(group: &str) -> bool {
    BUILT_IN_GROUPS.contains(&group)
}

impl GenericKind {
    /// Makes the kind known to everything that reads manifests and reviews.
    ///
    /// # Errors
    /// When it cannot be guarded, or not safely.
    pub fn register(&self) -> Result<Kind, GenericKindError> {
        self.check_fields()?;
        self.check_harm()?;
        let leak = |text: &String| -> &'static str { Box::leak(text.clone().into_boxed_str()) };
        // What is there already is not leaked again.
        let known = Kind::of_group_kind(&self.group, &self.kind);
        if let Some(kind) = known.filter(|kind| self.describes(kind.definition())) {
            return Ok(kind);
        }
        let group = leak(&self.group);
        let namespaces: Vec<&'static str> = self.namespaces.iter().map(leak).collect();
        let definition = Definition {
            family: Family::Generic,
            group,
            kind: leak(&self.kind),
            plural: leak(&self.plural),
            namespaced: self.namespaced,
            served: vec![(group, leak(&self.version))].leak(),
            rank: Rank::Policy,
            namespaces: namespaces.leak(),
        };
        registry::add(definition).ok_or_else(|| GenericKindError::Contradiction { kind: self.name() })
    }

    fn describes(&self, definition: &Definition) -> bool {
        definition.plural == self.plural
            && definition.namespaced == self.namespaced
            && definition.served == [(self.group.as_str(), self.version.as_str())]
            && definition.namespaces.iter().eq(self.namespaces.iter())
    }

    fn name(&self) -> String {
        match self.group.as_str() {
            "" => self.kind.clone(),
            group => format!("{}.{group}", self.kind),
        }
    }

    fn check_fields(&self) -> Result<(), GenericKindError> {
        let is_kind = self.kind.starts_with(|c: char| c.is_ascii_uppercase())
            && self.kind.chars().all(|c| c.is_ascii_alphanumeric());
        let fields = [
            (
                self.group.is_empty() || is_subdomain(&self.group),
                "group",
                &self.group,
                "an API group: a domain, or nothing for the core group",
            ),
            (is_label(&self.version), "version", &self.version, "a version as v1"),
            (
                is_kind,
                "kind",
                &self.kind,
                "a kind as manifests write it, in capitals and small letters",
            ),
            (
                is_label(&self.plural),
                "plural",
                &self.plural,
                "a resource as the API's paths write it",
            ),
        ];
        let namespaces = self.namespaces.iter();
        let namespaces = namespaces.map(|name| {
            (
                is_label(name),
                "namespaces",
                name,
                "the name of a namespace; patterns are not read",
            )
        });
        match fields.into_iter().chain(namespaces).find(|(fits, ..)| !fits) {
            None => Ok(()),
            Some((_, field, value, expected)) => Err(GenericKindError::Field {
                kind: self.name(),
                field,
                value: value.clone(),
                expected,
            }),
        }
    }

    fn check_harm(&self) -> Result<(), GenericKindError> {
        let is_built_in = is_built_in(&self.group);
        let kind = self.kind.as_str();
        let refused = [
            (
                Kind::of_group_kind(&self.group, kind).is_some_and(|known| known.0.family != Family::Generic),
                "Headgate knows it: name it under guardedKinds",
            ),
            (
                self.group == "headgate.dev",
                "Headgate's own resources say what is guarded, and cannot be guarded themselves",
            ),
            (
                self.group.is_empty() && kind == "Secret",
                "a Secret's content would show up in denials, records and Git",
            ),
            (
                is_built_in && !self.namespaced,
                "of Kubernetes' own kinds, cluster-scoped ones cannot be guarded: without a running webhook nobody could \
                 mend the cluster",
            ),
            (
                is_built_in && WRITTEN_BY_CONTROLLERS.contains(&kind),
                "Kubernetes' controllers write it, and would be refused",
            ),
            (
                is_built_in && self.namespaces.is_empty(),
                "one of Kubernetes' own kinds is guarded only in namespaces that are listed: write `namespaces`",
            ),
            (
                is_built_in
                    && self
                        .namespaces
                        .iter()
                        .any(|name| NEEDED_NAMESPACES.contains(&name.as_str())),
                "kube-system, kube-public and kube-node-lease hold what the control plane itself writes",
            ),
            (
                !self.namespaced && !self.namespaces.is_empty(),
                "a cluster-scoped kind is in no namespace: remove `namespaces`, or write `namespaced: true`",
            ),
        ];
        match refused.into_iter().find(|(is_refused, _)| *is_refused) {
            None => Ok(()),
            Some((_, why)) => Err(GenericKindError::Refused { kind: self.name(), why }),
        }
    }
}
