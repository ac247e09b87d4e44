//! What Headgate's own objects in the cluster are to be: read from the `ConfigMap` in which the chart leaves them.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::ApiResource;
use serde_json::Value;

/// The `ConfigMap`'s key with the manifests, a stream of YAML documents.
pub const MANIFESTS: &str = "manifests.yaml";
/// The `ConfigMap`'s annotation that ends healing: Headgate is being uninstalled.
pub const UNINSTALLING: &str = "headgate.dev/uninstalling";

const GROUP: &str = "admissionregistration.k8s.io";
const API_VERSION: &str = "admissionregistration.k8s.io/v1";

/// The kinds of Headgate's own objects that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnKind {
    /// What makes a policy be in force. First, so that taking all away begins with it.
    Binding,
    /// An admission policy of the API server.
    Policy,
    /// What makes the API server ask Headgate.
    WebhookConfiguration,
}

impl OwnKind {
    const ALL: [Self; 3] = [Self::Binding, Self::Policy, Self::WebhookConfiguration];

    /// The kind as manifests name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Binding => "ValidatingAdmissionPolicyBinding",
            Self::Policy => "ValidatingAdmissionPolicy",
            Self::WebhookConfiguration => "ValidatingWebhookConfiguration",
        }
    }

    /// The resource, as URLs and messages name it.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Binding => "validatingadmissionpolicybindings",
            Self::Policy => "validatingadmissionpolicies",
            Self::WebhookConfiguration => "validatingwebhookconfigurations",
        }
    }

    /// Where the API server serves it.
    pub fn api(self) -> ApiResource {
        ApiResource {
            group: GROUP.to_owned(),
            version: "v1".to_owned(),
            api_version: API_VERSION.to_owned(),
            kind: self.name().to_owned(),
            plural: self.plural().to_owned(),
        }
    }

    /// The member that says what the object does.
    pub(super) fn body(self) -> &'static str {
        match self {
            Self::Binding | Self::Policy => "spec",
            Self::WebhookConfiguration => "webhooks",
        }
    }
}

/// One of Headgate's own objects as it is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Its kind.
    pub kind: OwnKind,
    /// Its name; none of them has a namespace.
    pub name: String,
    /// The whole of it.
    pub object: Value,
}

impl Manifest {
    /// As records and messages name it.
    pub fn label(&self) -> String {
        format!("{}.{GROUP}/{}", self.kind.plural(), self.name)
    }
}

/// Why manifests cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The `ConfigMap` has no such key.
    #[error("the ConfigMap has no {MANIFESTS}; install the chart again")]
    NoManifests,
    /// The text is no YAML.
    #[error("{MANIFESTS} cannot be read: {0}")]
    Yaml(String),
    /// Something that is not kept.
    #[error("{MANIFESTS} holds a {0}, which is not one of Headgate's own kinds")]
    Kind(String),
    /// A manifest without a name.
    #[error("{MANIFESTS} holds a {0} without a name")]
    NoName(&'static str),
}

/// What the `ConfigMap` says.
#[derive(Clone, Debug, PartialEq)]
pub enum Wish {
    /// These are to be there as they are written.
    Keep(Vec<Manifest>),
    /// Headgate is being uninstalled: nothing is put back any more.
    LetGo(Vec<Manifest>),
}

impl Wish {
    /// Reads the `ConfigMap`.
    ///
    /// # Errors
    /// When it does not hold manifests of Headgate's own kinds.
    pub fn of(map: &ConfigMap) -> Result<Self, ManifestError> {
        let annotations = map.metadata.annotations.as_ref();
        let goes = annotations.is_some_and(|annotations| annotations.contains_key(UNINSTALLING));
        let text = map.data.as_ref().and_then(|data| data.get(MANIFESTS));
        let manifests = manifests(text.ok_or(ManifestError::NoManifests)?)?;
        Ok(if goes {
            Self::LetGo(manifests)
        } else {
            Self::Keep(manifests)
        })
    }
}

fn manifests(text: &str) -> Result<Vec<Manifest>, ManifestError> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| ManifestError::Yaml(error.to_string()))?;
    let documents = documents.into_iter().filter(|document| !document.is_null());
    let mut manifests = documents.map(manifest).collect::<Result<Vec<_>, _>>()?;
    manifests.sort_by(|one, other| (one.kind, &one.name).cmp(&(other.kind, &other.name)));
    Ok(manifests)
}

fn manifest(object: Value) -> Result<Manifest, ManifestError> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let named = |kind: &OwnKind| text("/kind") == kind.name() && text("/apiVersion") == API_VERSION;
    let Some(kind) = OwnKind::ALL.into_iter().find(named) else {
        return Err(ManifestError::Kind(format!(
            "{} {}",
            text("/apiVersion"),
            text("/kind")
        )));
    };
    let name = text("/metadata/name").to_owned();
    if name.is_empty() {
        return Err(ManifestError::NoName(kind.name()));
    }
    Ok(Manifest { kind, name, object })
}
