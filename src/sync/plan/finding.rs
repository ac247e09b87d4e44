//! What a judgement says: how a key stands, and what to do about it.

use std::sync::Arc;

use crate::policy::{Deployer, Digest, Key, Kind, Rank};
use crate::source::Entry;

/// The first turn in which something is deleted.
pub const FIRST_DELETE: u8 = 3;

/// How a key stands. A closed list: it labels metrics and decides what the status says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub enum Standing {
    /// Nothing is declared, nothing is there, or it is nobody's business.
    Settled,
    /// The cluster holds what Git says.
    InSync,
    /// Declared, and not there.
    Missing,
    /// Declared, and different.
    Changed,
    /// There, and not declared.
    Undeclared,
    /// There, under a name that its key does not have.
    Misplaced,
    /// Declared by a source that goes together with its objects.
    Leaving,
    /// Undeclared, never declared, and older than the source's adoption: listed, not touched.
    Unadopted,
    /// Undeclared, and named by an exemption.
    Exempt,
    /// Undeclared, and without a canonical form: never deleted blindly.
    Unreadable,
    /// Declared for a namespace that does not exist, or is going.
    WaitingForNamespace,
    /// Declared, and the cluster does not serve the kind.
    KindNotServed,
    /// The objects of the kind are not known yet.
    NotListed,
    /// Sources of equal priority declare it differently: frozen.
    Conflict,
    /// A source that may declare it has no head here: frozen.
    HeadUnknown,
    /// It is being deleted already.
    Terminating,
}

impl Standing {
    /// Whether the cluster is not as Git says.
    pub fn is_drift(self) -> bool {
        matches!(
            self,
            Self::Missing | Self::Changed | Self::Undeclared | Self::Misplaced | Self::Leaving
        )
    }

    /// Whether there is anything to remember of it.
    pub fn is_worth_keeping(self) -> bool {
        !matches!(self, Self::Settled | Self::InSync)
    }
}

/// Why drift is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub enum Hold {
    /// The gate as a whole, or the source, is in `mode: Audit`.
    Audit,
    /// The status names a head that this process does not have: another one led, and got further.
    Behind,
    /// The head's signature no longer counts, and the source says `whenUnverified: Deny`.
    Unverified,
    /// The source is suspended.
    Suspended,
    /// The source says `sync.enabled: false`.
    GateOnly,
    /// A covering source says `prune: Never`.
    PruneNever,
    /// A grant in force names it: somebody steps around Git.
    BreakGlass,
}

impl Hold {
    /// Whether it is there because somebody asked for no writes, and does not end by itself.
    pub(in crate::sync) fn asks_for_no_writes(self) -> bool {
        matches!(self, Self::Audit | Self::Suspended | Self::GateOnly)
    }
}

/// Which API a step is taken through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Through {
    /// The one that content is written through.
    Written,
    /// The one whose objects are what is stored.
    Stored,
}

/// Why an object is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeleteReason {
    /// No covering source declares it.
    Undeclared,
    /// It is stored under a name that its key does not have.
    Misplaced,
    /// Its source goes.
    SourceRemoved,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Create what is missing.
    Create,
    /// Replace what differs, as a whole.
    Replace {
        /// The name it is stored under.
        place: Key,
        /// Which API reaches it.
        through: Through,
    },
    /// Delete exactly this state of this object.
    Delete {
        /// The name it is stored under.
        place: Key,
        /// Its uid.
        uid: Box<str>,
        /// The version that was judged.
        resource_version: Box<str>,
        /// Why.
        reason: DeleteReason,
    },
}

/// What a head says of a key, and which head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// The source.
    pub source: Arc<str>,
    /// Its head.
    pub commit: String,
    /// Whose tracking marks do not count.
    pub deployer: Option<Deployer>,
    /// What the head says.
    pub entry: Entry,
}

/// What was found out about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How it stands.
    pub standing: Standing,
    /// Why nothing is done about it, if so.
    pub hold: Option<Hold>,
    /// What to do, first things first.
    pub steps: Vec<Step>,
    /// What Git says of it.
    pub declaration: Option<Declaration>,
    /// The digest of what is there, where that has one.
    pub live: Option<Digest>,
    /// The sources it is reported to.
    pub sources: Vec<Arc<str>>,
}

impl Finding {
    pub(in crate::sync) fn new(standing: Standing, sources: Vec<Arc<str>>) -> Self {
        Self {
            standing,
            hold: None,
            steps: Vec::new(),
            declaration: None,
            live: None,
            sources,
        }
    }

    /// The turn of the first step; the lowest goes first.
    pub fn turn(&self, kind: Kind) -> Option<u8> {
        self.steps.first().map(|step| step.turn(kind))
    }
}

impl Step {
    /// What others refer to is written first and deleted last, and everything is written before anything is deleted:
    /// no moment is more open than the one before.
    pub fn turn(&self, kind: Kind) -> u8 {
        let rank = match kind.definition().rank {
            Rank::Tier => 0,
            Rank::Set => 1,
            Rank::Policy => 2,
        };
        match self {
            Self::Delete { .. } => FIRST_DELETE + 2 - rank,
            Self::Create | Self::Replace { .. } => rank,
        }
    }

    /// Whether it deletes what is stored under a name that its key does not have.
    pub fn removes_misplaced(&self) -> bool {
        let reason = DeleteReason::Misplaced;
        matches!(self, Self::Delete { reason: why, .. } if *why == reason)
    }

    /// Whether it undoes what someone may have done on behalf of a commit that this process has not seen yet.
    /// Creating what is missing does not wait for that: a commit that removes the object has it removed again.
    pub fn undoes(&self) -> bool {
        !matches!(self, Self::Create)
    }
}
