//! What the configuration says to the gate.

use jiff::Timestamp;
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
    /// Whether a namespace in which Git declares objects may not be deleted.
    pub guard_namespaces: bool,
}

impl Rules {
    /// Whether the kind is guarded.
    pub fn guards(&self, kind: Kind) -> bool {
        self.guarded.contains(&kind)
    }

    /// Until when exemptions name the object, whoever writes it: meanwhile it is never pruned. [`Timestamp::MAX`] where
    /// one has no end; none where none names it.
    pub fn exempt_until(&self, object: &Traits<'_>) -> Option<Timestamp> {
        let naming = self
            .exemptions
            .iter()
            .filter(|exemption| exemption.names_object(object));
        naming
            .map(|exemption| exemption.spec().until.unwrap_or(Timestamp::MAX))
            .max()
    }

    /// When the next exemption ends, of those that hold.
    pub fn next_end(&self, now: Timestamp) -> Option<Timestamp> {
        let ends = self.exemptions.iter().filter_map(|exemption| exemption.spec().until);
        ends.filter(|end| *end > now).min()
    }
}
