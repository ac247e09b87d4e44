//! The guarded kinds: which API groups serve them, and which family's canonical form they have.

mod generic;
mod registry;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

pub(crate) use generic::is_built_in;
pub use generic::{GenericKind, GenericKindError};

/// The canonical form a kind follows, and with it the servers' habits that have to be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// `networking.k8s.io`: typed by the API server itself.
    Kubernetes,
    /// Calico, in `projectcalico.org/v3` and `crd.projectcalico.org/v1`.
    Calico,
    /// `policy.networking.k8s.io`: custom resources of SIG Network.
    PolicyApi,
    /// `cilium.io`.
    Cilium,
    /// A kind that the configuration names; nothing is known of its structure.
    Generic,
}

/// The order in which the sync loop writes kinds: what others refer to comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rank {
    /// Tiers: a Calico policy names one, and it has to exist.
    Tier,
    /// Network sets and host endpoints: policies select them.
    Set,
    /// Policies.
    Policy,
}

/// What is fixed about a kind. Two kinds are the same when group and kind are.
#[derive(Debug, PartialEq, Eq)]
pub struct Definition {
    /// The family whose canonical form the kind has.
    pub family: Family,
    /// The group that names the kind in keys and messages.
    pub group: &'static str,
    /// The kind as manifests write it.
    pub kind: &'static str,
    /// The resource as the API's paths write it.
    pub plural: &'static str,
    /// Whether objects of it live in a namespace.
    pub namespaced: bool,
    /// The group versions that serve it, preferred first.
    pub served: &'static [(&'static str, &'static str)],
    /// When the sync loop writes it.
    pub rank: Rank,
    /// The namespaces in which it is guarded; empty where it is guarded everywhere.
    pub namespaces: &'static [&'static str],
}

/// A kind whose objects may come from Git only. Cheap to copy.
#[derive(Clone, Copy)]
pub struct Kind(&'static Definition);

/// The group of Calico's own API.
pub const CALICO_V3: &str = "projectcalico.org";
/// The group of the custom resources in which Calico's aggregated API server stores its objects.
pub const CALICO_CRD: &str = "crd.projectcalico.org";
const POLICY_API: &str = "policy.networking.k8s.io";

const CALICO_SERVED: &[(&str, &str)] = &[(CALICO_V3, "v3"), (CALICO_CRD, "v1")];
const NETWORKING_SERVED: &[(&str, &str)] = &[("networking.k8s.io", "v1")];
const POLICY_API_ALPHA1: &[(&str, &str)] = &[(POLICY_API, "v1alpha1")];
const POLICY_API_ALPHA2: &[(&str, &str)] = &[(POLICY_API, "v1alpha2")];
const CILIUM_SERVED: &[(&str, &str)] = &[("cilium.io", "v2")];

const fn calico(kind: &'static str, plural: &'static str, namespaced: bool, rank: Rank) -> Definition {
    Definition {
        family: Family::Calico,
        group: CALICO_V3,
        kind,
        plural,
        namespaced,
        served: CALICO_SERVED,
        rank,
        namespaces: &[],
    }
}

const fn policy(
    family: Family,
    kind: &'static str,
    plural: &'static str,
    namespaced: bool,
    served: &'static [(&'static str, &'static str)],
) -> Definition {
    Definition {
        family,
        group: match served {
            [(group, _), ..] => group,
            [] => "",
        },
        kind,
        plural,
        namespaced,
        served,
        rank: Rank::Policy,
        namespaces: &[],
    }
}

/// Every kind Headgate knows, in the order it lists them.
static DEFINITIONS: [Definition; 15] = [
    policy(
        Family::Kubernetes,
        "NetworkPolicy",
        "networkpolicies",
        true,
        NETWORKING_SERVED,
    ),
    calico("Tier", "tiers", false, Rank::Tier),
    calico("NetworkPolicy", "networkpolicies", true, Rank::Policy),
    calico("GlobalNetworkPolicy", "globalnetworkpolicies", false, Rank::Policy),
    calico("StagedNetworkPolicy", "stagednetworkpolicies", true, Rank::Policy),
    calico(
        "StagedGlobalNetworkPolicy",
        "stagedglobalnetworkpolicies",
        false,
        Rank::Policy,
    ),
    calico(
        "StagedKubernetesNetworkPolicy",
        "stagedkubernetesnetworkpolicies",
        true,
        Rank::Policy,
    ),
    calico("NetworkSet", "networksets", true, Rank::Set),
    calico("GlobalNetworkSet", "globalnetworksets", false, Rank::Set),
    calico("HostEndpoint", "hostendpoints", false, Rank::Set),
    policy(
        Family::PolicyApi,
        "AdminNetworkPolicy",
        "adminnetworkpolicies",
        false,
        POLICY_API_ALPHA1,
    ),
    policy(
        Family::PolicyApi,
        "BaselineAdminNetworkPolicy",
        "baselineadminnetworkpolicies",
        false,
        POLICY_API_ALPHA1,
    ),
    policy(
        Family::PolicyApi,
        "ClusterNetworkPolicy",
        "clusternetworkpolicies",
        false,
        POLICY_API_ALPHA2,
    ),
    policy(
        Family::Cilium,
        "CiliumNetworkPolicy",
        "ciliumnetworkpolicies",
        true,
        CILIUM_SERVED,
    ),
    policy(
        Family::Cilium,
        "CiliumClusterwideNetworkPolicy",
        "ciliumclusterwidenetworkpolicies",
        false,
        CILIUM_SERVED,
    ),
];

impl Kind {
    /// Every kind, in the order of the documentation; at the end those that the configuration names.
    pub fn all() -> impl Iterator<Item = Kind> {
        DEFINITIONS
            .iter()
            .chain(registry::configured().iter().copied())
            .map(Kind)
    }

    /// The kind that a manifest's `apiVersion` and `kind` name, whatever the version.
    pub fn of_manifest(api_version: &str, kind: &str) -> Option<Kind> {
        let (group, _) = split_api_version(api_version);
        Self::of_group_kind(group, kind)
    }

    /// The kind that an API group serves under this name.
    pub fn of_group_kind(group: &str, kind: &str) -> Option<Kind> {
        Self::all().find(|known| known.0.kind == kind && known.is_served_by(group))
    }

    /// The kind that an API group serves under this resource name, as in `networkpolicies`.
    pub fn of_resource(group: &str, plural: &str) -> Option<Kind> {
        Self::all().find(|known| known.0.plural == plural && known.is_served_by(group))
    }

    /// The kind that people name as `networkpolicy.projectcalico.org`, in any case; singular or plural; the group
    /// may be left out, `NetworkPolicy` then being Kubernetes' own.
    pub fn of_name(name: &str) -> Option<Kind> {
        let name = name.to_ascii_lowercase();
        let (resource, group) = name
            .split_once('.')
            .map_or((name.as_str(), None), |(r, g)| (r, Some(g)));
        let named = |known: &Kind| known.0.plural == resource || known.0.kind.eq_ignore_ascii_case(resource);
        let in_group = |group: &str| Self::all().find(|known| named(known) && known.is_served_by(group));
        match group {
            Some(group) => in_group(group),
            // Kinds of the core group have no longer name.
            None => in_group("").or_else(|| Self::all().find(named)),
        }
    }

    /// What is fixed about the kind.
    pub fn definition(self) -> &'static Definition {
        self.0
    }

    /// Whether this API group serves the kind.
    pub fn is_served_by(self, group: &str) -> bool {
        self.0.served.iter().any(|(served, _)| *served == group)
    }

    /// Whether an object of this name is guarded there.
    pub fn guards(self, namespace: Option<&str>, name: &str) -> bool {
        let is_here = self.0.namespaces.is_empty() || namespace.is_some_and(|own| self.0.namespaces.contains(&own));
        is_here && !(self.0.group.is_empty() && generic::is_bookkeeping(self.0.kind, name))
    }

    /// The parts in which the kind is listed and watched: namespace by namespace where it is guarded in some only.
    pub fn parts(self) -> Vec<Option<&'static str>> {
        match self.0.namespaces {
            [] => vec![None],
            namespaces => namespaces.iter().copied().map(Some).collect(),
        }
    }

    /// The kind as people read it in a message: Calico's are told from Kubernetes' by name.
    pub fn label(self) -> String {
        match self.0.family {
            Family::Calico => format!("Calico {}", self.0.kind),
            _ => self.0.kind.to_owned(),
        }
    }
}

/// An `apiVersion` as group and version; the core group is empty.
pub fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.rsplit_once('/').unwrap_or(("", api_version))
}

/// Group and version as manifests write them.
pub fn api_version(group: &str, version: &str) -> String {
    match group {
        "" => version.to_owned(),
        group => format!("{group}/{version}"),
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Kind {}

impl PartialOrd for Kind {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Kind {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.0.group, self.0.kind).cmp(&(other.0.group, other.0.kind))
    }
}

impl Hash for Kind {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.group.hash(state);
        self.0.kind.hash(state);
    }
}

/// `networkpolicy.networking.k8s.io`, the way kubectl writes a resource with its group.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.0.kind.to_ascii_lowercase();
        match self.0.group {
            "" => f.write_str(&kind),
            group => write!(f, "{kind}.{group}"),
        }
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
