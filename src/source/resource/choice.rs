//! The words that fields of a `PolicySource` choose from.

use serde::{Deserialize, Serialize};

use crate::policy::Deployer;

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

/// Who applies a source, beside the sync loop or instead of it.
#[derive(schemars::JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeployerChoice {
    /// Nobody whose marks are to be expected.
    #[default]
    #[serde(rename = "")]
    None,
    /// Argo CD.
    #[serde(rename = "argo-cd")]
    ArgoCd,
    /// Flux: kustomize-controller and helm-controller.
    #[serde(rename = "flux")]
    Flux,
    /// Helm.
    #[serde(rename = "helm")]
    Helm,
}

impl DeployerChoice {
    /// The deployer whose marks do not count.
    pub fn known(self) -> Option<Deployer> {
        match self {
            Self::None => None,
            Self::ArgoCd => Some(Deployer::ArgoCd),
            Self::Flux => Some(Deployer::Flux),
            Self::Helm => Some(Deployer::Helm),
        }
    }

    /// Whether none is named.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}
