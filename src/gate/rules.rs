//! What the configuration says to the gate.

use serde::{Deserialize, Serialize};

use super::exemption::{Exemption, Traits};
use crate::policy::Kind;
use crate::source::resource::Mode;

/// What becomes of objects that no source covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Uncovered {
    /// Writes of them are refused.
    #[default]
    Deny,
    /// Writes of them pass, with a warning.
    Allow,
}

/// What becomes of dry runs that would be refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DryRun {
    /// They are refused as the real thing would be.
    #[default]
    Deny,
    /// They pass, with a warning: `kubectl diff` then shows its difference. Nothing is stored by a dry run.
    Warn,
}

/// What the configuration says to the gate and to the loop.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Whether the gate as a whole refuses or warns.
    pub mode: Mode,
    /// What becomes of objects that no source covers.
    pub uncovered: Uncovered,
    /// What becomes of dry runs that would be refused.
    pub dry_run: DryRun,
    /// The kinds whose objects may come from Git only.
    pub guarded: Vec<Kind>,
    /// Who may write what without Git.
    pub exemptions: Vec<Exemption>,
}

impl Rules {
    /// Whether the kind is guarded.
    pub fn guards(&self, kind: Kind) -> bool {
        self.guarded.contains(&kind)
    }

    /// The first exemption that names the object, whoever writes it: such an object is never pruned.
    pub fn exempts(&self, object: &Traits<'_>) -> Option<&Exemption> {
        self.exemptions.iter().find(|exemption| exemption.names_object(object))
    }
}
