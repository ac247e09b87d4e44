//! What the sync role remembers of a source: the commits that changed policy.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A commit that came into force and said something differently from the one before.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// Its full id.
    pub commit: String,
    /// The commit in force before; empty for a source's first.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// Who wrote it.
    #[serde(default)]
    pub author: String,
    /// The first line of its message.
    #[serde(default)]
    pub subject: String,
    /// When it was committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// How many commits it brought since the one before, itself included; left out where that cannot be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commits: Option<i64>,
    /// How many commits it took back: a rollback, or a rewritten history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone: Option<i64>,
    /// Whether the source was pinned to it.
    #[serde(default)]
    pub pinned: bool,
    /// Objects that were not declared before; left out, as the next two, where the one before cannot be read any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<i64>,
    /// Objects that are declared with other content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<i64>,
    /// Objects that are declared no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<i64>,
    /// The first five of them by key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<TouchedObject>,
    /// When it came into force.
    pub accepted_at: Time,
    /// When the cluster was seen to be as it says; left out where that has not happened yet, or another commit came first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_at: Option<Time>,
}

/// An object that a commit declares differently.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TouchedObject {
    /// The object, as `networkpolicy.networking.k8s.io/payments/web`.
    pub object: String,
    /// `Created`, `Changed` or `Removed`.
    pub change: String,
}
