//! The `PolicyGrant` resource as the API server stores it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// Break-glass: lets one user change a few objects without Git for a while. It cannot be changed; deleting it ends it.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "headgate.dev",
    version = "v1alpha1",
    kind = "PolicyGrant",
    plural = "policygrants",
    shortname = "pgrant",
    category = "headgate",
    status = "PolicyGrantStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn(name = "Requested By", type_ = "string", json_path = ".spec.requestedBy"),
    printcolumn(name = "Objects", type_ = "string", json_path = ".status.objects"),
    printcolumn(
        name = "Active",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Active\")].status"
    ),
    // A date would be printed as an age, and one to come as invalid.
    printcolumn(name = "Ends", type_ = "string", json_path = ".status.endsAt"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "For", type_ = "string", json_path = ".spec.duration", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self == oldSelf").message("a grant cannot be changed: delete it and make another"),
)]
pub struct PolicyGrantSpec {
    /// The user whom the grant covers: who makes it, as the API server authenticates them.
    #[x_kube(validation = Rule::new("size(self) > 0").message("must not be empty"))]
    #[schemars(length(max = 512))]
    pub requested_by: String,
    /// What it covers.
    #[schemars(length(min = 1, max = 64))]
    pub objects: Vec<GrantedObject>,
    /// How long it lasts from its creation, as `30m` or `1h30m`; at most a day, and at most what the configuration says.
    #[x_kube(validation = Rule::new("self.matches('^([0-9]{1,5}[hms]){1,3}$') && duration(self) > duration('0s') && duration(self) <= duration('24h')").message("a duration such as 30m or 1h30m, at most 24h"))]
    #[schemars(length(max = 18))]
    pub duration: String,
    /// Why it is needed, for the record.
    #[x_kube(validation = Rule::new("self.matches('[^ \\\\t\\\\n\\\\r]')").message("say why it is needed"))]
    #[schemars(length(max = 1024))]
    pub reason: String,
}

/// Objects of one kind in one place.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantedObject {
    /// The kind, as `networkpolicy.networking.k8s.io`.
    #[x_kube(validation = Rule::new("size(self) > 0").message("must not be empty"))]
    #[schemars(length(max = 128))]
    pub kind: String,
    /// The namespace, exact; left out for kinds without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("the name of one namespace"))]
    #[schemars(length(max = 63))]
    pub namespace: Option<String>,
    /// The name; `*` stands for any characters, `?` for one. `*` alone is every object of the kind there.
    #[x_kube(validation = Rule::new("self.matches('^[-A-Za-z0-9._:*?]+$')").message("a name, in which * and ? may stand for others"))]
    #[schemars(length(max = 253))]
    pub name: String,
}

/// What the sync role has to say of a grant. Nobody goes by it: whether a grant is in force is worked out from the rest.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyGrantStatus {
    /// When it ends, or ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Time>,
    /// What it covers, for the table.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub objects: String,
    /// `Active`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
