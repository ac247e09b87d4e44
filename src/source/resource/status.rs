//! What the sync role says of a source: the `status` of a `PolicySource`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::HistoryEntry;

/// What the sync role has to say of a source.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicySourceStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The commit in force: the baseline from which every replica judges the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<HeadStatus>,
    /// The first digits of the commit in force, for the table.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub short_commit: String,
    /// The furthest commit of the branch that was ever in force; after unpinning, the tip is checked against it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub highest_head: String,
    /// When the first head was accepted: older undeclared objects are unadopted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted_at: Option<Time>,
    /// The digest of the scope of that time. Under another scope the source is adopted anew: what was there before it
    /// came to speak for it stays.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub adopted_scope: String,
    /// A commit that the other replicas should fetch now.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub announced: String,
    /// The value of the annotation `headgate.dev/refresh-requested-at` that the sync role answered last.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub last_handled_refresh: String,
    /// When the repository was last read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetched_at: Option<Time>,
    /// Live objects that are missing, changed or undeclared.
    #[serde(default)]
    pub drift: i64,
    /// How far the loop has come; left out where it has nothing to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<ProgressStatus>,
    /// Undeclared live objects that the loop leaves alone, at most twenty of them by key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undeclared: Vec<String>,
    /// How many of them there are; `headgate diff` lists them all.
    #[serde(default)]
    pub undeclared_count: i64,
    /// Objects whose write fails, in the API server's words, at most twenty of them by key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failing: Vec<FailingStatus>,
    /// Objects of the commit in force that are outside the source's scope and therefore left out, at most twenty of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SkippedStatus>,
    /// The commits that changed policy, newest first, at most twenty of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryEntry>,
    /// The hash of the configuration by which the sync loop goes, as its metric `headgate_build_info` has it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub configuration: String,
    /// `Fetched`, `Fresh`, `Verified`, `Accepted`, `Synced`, `Overlapping`, `Ready`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// An object that the loop cannot bring to Git.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailingStatus {
    /// The object, as `networkpolicy.networking.k8s.io/payments/web`.
    pub object: String,
    /// Why, at most 256 characters.
    pub message: String,
}

/// How far the loop has come with what it has to write for a source.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgressStatus {
    /// Objects that have been written or deleted since it had nothing to do.
    pub done: i64,
    /// All that have to be.
    pub total: i64,
}

/// An object that is in Git and outside the source's scope.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SkippedStatus {
    /// The file, from the repository's root.
    pub path: String,
    /// The object.
    pub object: String,
    /// Why it is outside.
    pub reason: String,
}

/// A commit in force.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeadStatus {
    /// Its full id.
    pub commit: String,
    /// The id of its tree.
    #[serde(default)]
    pub tree: String,
    /// How many objects it declares in the source's scope.
    #[serde(default)]
    pub objects: i64,
    /// When it was committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// Who wrote it.
    #[serde(default)]
    pub author: String,
    /// The first line of its message.
    #[serde(default)]
    pub subject: String,
    /// The moment as of which its signature was judged: when it was first accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<Time>,
}
