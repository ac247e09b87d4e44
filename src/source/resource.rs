//! The `PolicySource` resource as the API server stores it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::policy::Digest;

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
    /// The full id of a commit that is accepted although it removes more than `maxRemovals`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[x_kube(validation = Rule::new("self == '' || self.matches('^[0-9a-f]{40}$')").message("a full commit id, 40 hexadecimal digits"))]
    #[schemars(length(max = 40))]
    pub accept: String,
    /// What the loop does for this source.
    #[serde(default)]
    pub sync: SyncRules,
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
        Digest::of(&scope).map_or_else(|_| String::new(), |digest| digest.to_string())
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

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(schemars::JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }
    };
}

choice!(
    /// Whether the gate refuses or warns.
    Mode {
        /// Refuse what is not at HEAD, and heal drift.
        #[default]
        Enforce,
        /// Let it pass with a warning, and report drift.
        Audit,
    }
);
choice!(
    /// Which undeclared objects the loop removes. Ordered: the strictest comes first.
    Prune {
        /// None.
        Never,
        /// Those that an accepted head once declared or that are younger than the source's adoption.
        #[default]
        SinceAdoption,
        /// All in the source's scope.
        All,
    }
);
choice!(
    /// What becomes of a source's objects when the source is deleted.
    OnRemoval {
        /// They stay.
        #[default]
        Release,
        /// They are deleted.
        Prune,
    }
);
choice!(
    /// Which commits have to be signed.
    VerifyMode {
        /// None.
        #[default]
        None,
        /// The one that is to be in force: the branch's tip, or the tag.
        Head,
        /// Every one that is new since the head in force, on all sides of a merge.
        All,
    }
);
choice!(
    /// What becomes of the head in force when its signature no longer counts.
    WhenUnverified {
        /// It goes on deciding.
        #[default]
        Keep,
        /// Everything it would decide is refused.
        Deny,
    }
);
choice!(
    /// What a stale head means for requests.
    WhenStale {
        /// The last head goes on deciding.
        #[default]
        Allow,
        /// Everything it would decide is refused.
        Deny,
    }
);
choice!(
    /// How much of Git a denial shows.
    DenialDetail {
        /// Fields with their values.
        #[default]
        Values,
        /// Fields without values.
        Paths,
        /// Only that it differs.
        Minimal,
    }
);

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
    /// When the repository was last read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetched_at: Option<Time>,
    /// Live objects that are missing, changed or undeclared.
    #[serde(default)]
    pub drift: i64,
    /// Undeclared live objects that the loop leaves alone, at most twenty of them by key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undeclared: Vec<String>,
    /// How many of them there are; `headgate diff` lists them all.
    #[serde(default)]
    pub undeclared_count: i64,
    /// Objects of the commit in force that are outside the source's scope and therefore left out, at most twenty of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SkippedStatus>,
    /// `Fetched`, `Verified`, `Accepted`, `Synced`, `Overlapping`, `Ready`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
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
