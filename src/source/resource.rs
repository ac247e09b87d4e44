//! The `PolicySource` resource as the API server stores it.

mod choice;
mod history;
mod status;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::policy::Digest;

pub use choice::{DenialDetail, DeployerChoice, Mode, OnRemoval, Prune, VerifyMode, WhenStale, WhenUnverified};
pub use history::{HistoryEntry, TouchedObject};
pub use status::{FailingStatus, HeadStatus, PolicySourceStatus, ProgressStatus, SkippedStatus};

/// The annotation of a source by which all replicas are asked to look at its repository now. Each new value, a time for
/// people and at most 64 bytes, is one request; the status has the last one that was answered.
pub const REFRESH_REQUESTED: &str = "headgate.dev/refresh-requested-at";

/// A repository that declares network policy, and what of the cluster it speaks for.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "headgate.dev",
    version = "v1alpha1",
    kind = "PolicySource",
    plural = "policysources",
    shortname = "psrc",
    category = "headgate",
    status = "PolicySourceStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "Commit", type_ = "string", json_path = ".status.shortCommit"),
    printcolumn(name = "Objects", type_ = "integer", json_path = ".status.head.objects"),
    printcolumn(name = "Drift", type_ = "integer", json_path = ".status.drift"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.git.url", priority = 1),
    printcolumn(name = "Ref", type_ = "string", json_path = ".spec.git.ref.branch", priority = 1),
    printcolumn(name = "Fetched", type_ = "date", json_path = ".status.fetchedAt", priority = 1),
    printcolumn(
        name = "Verified",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Verified\")].reason",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct PolicySourceSpec {
    /// Where the repository is and what of it counts.
    pub git: Git,
    /// Which objects the source speaks for. Left out: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// Among sources that declare the same object, the highest priority wins.
    #[serde(default)]
    pub priority: i32,
    /// `Enforce` refuses and heals; `Audit` warns and reports.
    #[serde(default)]
    pub mode: Mode,
    /// No fetches and no writes for this source; the head it has stays in force.
    #[serde(default)]
    pub suspend: bool,
    /// Whose signatures a commit needs.
    #[serde(default)]
    pub verify: Verify,
    /// Accept a branch whose history was rewritten.
    #[serde(default)]
    pub allow_rewind: bool,
    /// How much of what was declared one commit may remove, as `20%` or a number of objects; five may always go.
    #[serde(default = "default_max_removals")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+|([0-9]|[1-9][0-9]|100)%)$')").message("a number of objects, or a percentage up to 100%"))]
    #[schemars(length(max = 8))]
    pub max_removals: String,
    /// The full id of a commit that is accepted although it removes more than `maxRemovals`, or does so since path, patterns
    /// or tiers changed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[x_kube(validation = Rule::new("self == '' || self.matches('^[0-9a-f]{40}$')").message("a full commit id, 40 hexadecimal digits"))]
    #[schemars(length(max = 40))]
    pub accept: String,
    /// What the loop does for this source.
    #[serde(default)]
    pub sync: SyncRules,
    /// Who applies the source beside the sync loop, or instead of it: its tracking marks do not count, where Git does not
    /// declare them itself. Labels of network sets and host endpoints always count.
    #[serde(default, skip_serializing_if = "DeployerChoice::is_none")]
    pub deployer: DeployerChoice,
    /// A head that was not confirmed for this long is stale.
    #[serde(default = "default_stale_after")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s')").message("at least 10s"))]
    #[schemars(length(max = 32))]
    pub stale_after: String,
    /// What a stale head means for requests.
    #[serde(default)]
    pub when_stale: WhenStale,
    /// How much of Git a denial shows.
    #[serde(default)]
    pub denial: DenialDetail,
    /// Where to propose a change: https, with `{commit}`, `{branch}` and `{path}`; derived for well-known hosts.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[x_kube(validation = Rule::new("self == '' || self.startsWith('https://')").message("an https URL"))]
    #[schemars(length(max = 2048))]
    pub web_edit_url: String,
}

/// Where the repository is and what of it counts.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Git {
    /// The repository: https, http or `ssh://USER@HOST/PATH`; `file:` only where the process was started with
    /// `--allow-file-urls`. No password, and no user but for ssh.
    #[x_kube(
        validation = Rule::new("self.matches('^((https?|file)://[^@]*|ssh://[A-Za-z0-9_.][A-Za-z0-9_.-]*@[^@]*)$')").message("an https, http or file URL without user information, or ssh://USER@HOST/PATH"),
    )]
    #[schemars(length(max = 2048))]
    pub url: String,
    /// Which commit counts.
    #[serde(default)]
    pub r#ref: GitRef,
    /// The folder whose `*.yaml`, `*.yml` and `*.json` count, below the repository's root.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[x_kube(validation = Rule::new("!self.startsWith('/') && !self.split('/').exists(part, part == '..')").message("a folder below the repository's root"))]
    #[schemars(length(max = 512))]
    pub path: String,
    /// Globs of files that do not count, from the repository's root.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 512)))]
    pub ignore: Vec<String>,
    /// How often the repository is asked for news.
    #[serde(default = "default_interval")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s')").message("at least 1s"))]
    #[schemars(length(max = 32))]
    pub interval: String,
    /// A Secret in Headgate's namespace: `username` and `password`, or `bearerToken`; `ca.crt`; for ssh `identity` and
    /// `known_hosts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretRef>,
    /// A Secret in Headgate's namespace whose `token` authenticates pushes of the Git server for this source. It carries
    /// the label `headgate.dev/credentials`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push_secret_ref: Option<SecretRef>,
}

/// Which commit counts.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.branch) && has(self.tag))").message("branch and tag exclude each other"))]
pub struct GitRef {
    /// The branch; `main` where neither branch nor tag is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub branch: Option<String>,
    /// A tag instead of a branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub tag: Option<String>,
    /// Pins the source to one commit of the branch, by its full id: a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^[0-9a-f]{40}$')").message("a full commit id, 40 hexadecimal digits"))]
    #[schemars(length(max = 40))]
    pub commit: Option<String>,
}

impl Default for GitRef {
    fn default() -> Self {
        Self {
            branch: Some("main".to_owned()),
            tag: None,
            commit: None,
        }
    }
}

/// A Secret in Headgate's own namespace.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SecretRef {
    /// Its name.
    #[x_kube(validation = Rule::new("size(self) > 0").message("must not be empty"))]
    #[schemars(length(max = 253))]
    pub name: String,
}

/// Whose signatures a commit needs.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.mode == 'None' || has(self.keysSecretRef)").message("keysSecretRef names the keys that may sign"),
    validation = Rule::new("!has(self.from) || self.mode == 'All'").message("from needs mode All"),
)]
pub struct Verify {
    /// Which commits have to be signed.
    #[serde(default)]
    pub mode: VerifyMode,
    /// With `All`: the full id of a commit that is trusted as it is, with all before it. Left out: the first head is
    /// verified back to the beginning of its history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^[0-9a-f]{40}$')").message("a full commit id, 40 hexadecimal digits"))]
    #[schemars(length(max = 40))]
    pub from: Option<String>,
    /// A Secret in Headgate's namespace with the keys that may sign: `allowed_signers` and `revoked_keys` for SSH, `*.asc`
    /// for `OpenPGP`. It carries the label `headgate.dev/credentials`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_secret_ref: Option<SecretRef>,
    /// What becomes of the head in force when its signature no longer counts, since a key was removed or revoked.
    #[serde(default)]
    pub when_unverified: WhenUnverified,
}

impl PolicySourceSpec {
    /// Tells one scope from another, for [`PolicySourceStatus::adopted_scope`].
    pub fn scope_digest(&self) -> String {
        let scope = serde_json::to_value(&self.scope).unwrap_or_default();
        Digest::of(&scope).map_or_else(|_| scope.to_string(), |digest| digest.to_string())
    }
}

/// Which objects a source speaks for.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scope {
    /// Globs of namespaces. Left out: every namespace. An empty list: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), inner(length(max = 128)))]
    pub namespaces: Option<Vec<String>>,
    /// Whether cluster-scoped objects are among them.
    #[serde(default)]
    pub cluster_scoped: bool,
    /// Kinds, as `networkpolicy.projectcalico.org`. Empty: every guarded kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 128)))]
    pub kinds: Vec<String>,
    /// Calico tiers in which policies may be. Left out: `default` alone where `namespaces` is given, else every tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(max = 253)))]
    pub tiers: Option<Vec<String>>,
}

/// What the loop does for a source.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncRules {
    /// Whether the loop writes at all; false where another deployer applies HEAD.
    #[serde(default = "default_true")]
    pub enabled: bool,
    /// Which undeclared objects the loop removes.
    #[serde(default)]
    pub prune: Prune,
    /// What becomes of the objects when the source is deleted.
    #[serde(default)]
    pub on_removal: OnRemoval,
}

impl Default for SyncRules {
    fn default() -> Self {
        Self {
            enabled: true,
            prune: Prune::default(),
            on_removal: OnRemoval::default(),
        }
    }
}

fn default_max_removals() -> String {
    "20%".to_owned()
}

fn default_stale_after() -> String {
    "10m".to_owned()
}

fn default_interval() -> String {
    "30s".to_owned()
}

const fn default_true() -> bool {
    true
}
