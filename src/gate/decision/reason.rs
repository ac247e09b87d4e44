//! The reasons for verdicts, and what each means for who asks.

/// Why a request passes or does not, from a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The review cannot be read, or lacks its object.
    Unreadable,
    /// Headgate could not come to a verdict in time, or failed inside.
    Internal,
    /// The kind is guarded, but not here.
    NotGuarded,
    /// Calico's own bookkeeping is forged.
    ForgedMetadata,
    /// An exemption names this user, this object and this operation.
    Exempt,
    /// The object goes with its namespace.
    NamespaceTerminating,
    /// Nothing that someone decides changes.
    NoChange,
    /// The name was left to the server.
    GeneratedName,
    /// The object is stored under a name that is not its own, and goes.
    Misplaced,
    /// No source covers the object.
    NotCovered,
    /// No source covers the object, and the configuration lets such pass.
    Uncovered,
    /// A source that may declare it has no head here.
    HeadUnknown,
    /// The deciding source's head was not confirmed for too long.
    Stale,
    /// The deciding source's head is signed by nobody who may, any more.
    Unverified,
    /// Two sources declare it differently.
    Conflict,
    /// It is what the file says.
    MatchesHead,
    /// It is not what the file says.
    Differs,
    /// No file declares it.
    NotDeclared,
    /// A file declares it, and it would go.
    StillDeclared,
    /// Its only sources are being removed, and take their objects with them.
    SourceBeingRemoved,
    /// It was there before the source, and no head ever declared it.
    NotAdopted,
    /// No file declares it, and it goes.
    AbsentAtHead,
    /// It would be refused, and a grant covers it.
    BreakGlass,
    /// A namespace would go, and Git declares objects in it.
    NamespaceDeclared,
}

impl Reason {
    /// Every reason; what metrics and documentation list.
    pub const ALL: [Reason; 24] = [
        Self::Unreadable,
        Self::Internal,
        Self::NotGuarded,
        Self::ForgedMetadata,
        Self::Exempt,
        Self::NamespaceTerminating,
        Self::NoChange,
        Self::GeneratedName,
        Self::Misplaced,
        Self::NotCovered,
        Self::Uncovered,
        Self::HeadUnknown,
        Self::Stale,
        Self::Unverified,
        Self::Conflict,
        Self::MatchesHead,
        Self::Differs,
        Self::NotDeclared,
        Self::StillDeclared,
        Self::SourceBeingRemoved,
        Self::NotAdopted,
        Self::AbsentAtHead,
        Self::BreakGlass,
        Self::NamespaceDeclared,
    ];

    /// The reason as records, annotations and metrics write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "Unreadable",
            Self::Internal => "Internal",
            Self::NotGuarded => "NotGuarded",
            Self::ForgedMetadata => "ForgedMetadata",
            Self::Exempt => "Exempt",
            Self::NamespaceTerminating => "NamespaceTerminating",
            Self::NoChange => "NoChange",
            Self::GeneratedName => "GeneratedName",
            Self::Misplaced => "Misplaced",
            Self::NotCovered => "NotCovered",
            Self::Uncovered => "Uncovered",
            Self::HeadUnknown => "HeadUnknown",
            Self::Stale => "Stale",
            Self::Unverified => "Unverified",
            Self::Conflict => "Conflict",
            Self::MatchesHead => "MatchesHead",
            Self::Differs => "Differs",
            Self::NotDeclared => "NotDeclared",
            Self::StillDeclared => "StillDeclared",
            Self::SourceBeingRemoved => "SourceBeingRemoved",
            Self::NotAdopted => "NotAdopted",
            Self::AbsentAtHead => "AbsentAtHead",
            Self::BreakGlass => "BreakGlass",
            Self::NamespaceDeclared => "NamespaceDeclared",
        }
    }

    /// Whether a request passes for this reason. Everything that is not named here is refused.
    pub fn allows(self) -> bool {
        matches!(
            self,
            Self::NotGuarded
                | Self::Exempt
                | Self::NamespaceTerminating
                | Self::NoChange
                | Self::Misplaced
                | Self::Uncovered
                | Self::MatchesHead
                | Self::SourceBeingRemoved
                | Self::AbsentAtHead
                | Self::BreakGlass
        )
    }

    /// Whether it passes because of what a head says: another head could have refused it.
    pub fn rests_on_head(self) -> bool {
        matches!(self, Self::MatchesHead | Self::SourceBeingRemoved | Self::AbsentAtHead)
    }

    /// Whether a newer head could turn the refusal into an answer.
    pub fn may_change_with_head(self) -> bool {
        matches!(
            self,
            Self::HeadUnknown
                | Self::Stale
                | Self::Unverified
                | Self::Conflict
                | Self::Differs
                | Self::NotDeclared
                | Self::StillDeclared
                | Self::NotAdopted
                | Self::NamespaceDeclared
        )
    }

    /// Whether a grant lets pass what is refused for this reason: what Git says or does not say of the object. Never what
    /// cannot be read, and never forged bookkeeping, by which one object could pass for another.
    pub fn yields_to_grants(self) -> bool {
        // A grant names guarded objects, and a namespace is none.
        let of_an_object = self.may_change_with_head() && self != Self::NamespaceDeclared;
        self == Self::GeneratedName || self == Self::NotCovered || of_an_object
    }

    /// Whether a request that passes for this reason is worth a record: all but the everyday ones.
    pub fn is_remarkable(self) -> bool {
        !matches!(self, Self::NotGuarded | Self::NoChange | Self::MatchesHead)
    }
}
