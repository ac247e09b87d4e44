//! What to do about a key: a pure function of what Git says of it and what the cluster holds.

use std::collections::HashSet;
use std::sync::Arc;

use super::live::{Knowledge, LiveIndex, LiveObject};
use super::namespaces::{Namespaces, Phase};
use crate::gate::Rules;
use crate::policy::{Digest, Family, Key, Kind, Rank};
use crate::source::resource::{Mode, OnRemoval, Prune};
use crate::source::{Declared, DesiredState, Entry, Lookup, SourceState};

/// Tiers that Calico makes itself, at its start and past the gate. They are never pruned: it would make them again.
const BUILT_IN_TIERS: [&str; 5] = [
    "default",
    "kube-admin",
    "kube-baseline",
    "adminnetworkpolicy",
    "baselineadminnetworkpolicy",
];

/// All that a judgement depends on.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// The sources that stay.
    pub desired: &'a DesiredState,
    /// The sources that are being removed together with their objects (`onRemoval: Prune`).
    pub leaving: &'a DesiredState,
    /// What the configuration says.
    pub rules: &'a Rules,
    /// What the cluster holds.
    pub live: &'a LiveIndex,
    /// Where objects can be.
    pub namespaces: &'a Namespaces,
    /// Keys that an earlier accepted head declared and the present ones do not.
    pub once_declared: &'a HashSet<Key>,
}

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
    /// The source is suspended.
    Suspended,
    /// The source says `sync.enabled: false`.
    GateOnly,
    /// A covering source says `prune: Never`.
    PruneNever,
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
    fn new(standing: Standing, sources: Vec<Arc<str>>) -> Self {
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
            Self::Delete { .. } => 5 - rank,
            Self::Create | Self::Replace { .. } => rank,
        }
    }

    /// Whether it undoes what someone may have done on behalf of a commit that this process has not seen yet.
    /// Creating what is missing does not wait for that: a commit that removes the object has it removed again.
    pub fn undoes(&self) -> bool {
        !matches!(self, Self::Create)
    }
}

/// What to do about a key.
pub fn judge(key: &Key, scene: &Scene<'_>) -> Finding {
    match scene.desired.look_up(key) {
        Lookup::HeadUnknown { source } => Finding::new(Standing::HeadUnknown, vec![Arc::clone(&source.name)]),
        Lookup::Conflict { first, second } => Finding::new(
            Standing::Conflict,
            vec![Arc::clone(&first.source.name), Arc::clone(&second.source.name)],
        ),
        Lookup::Declared(declared) => judge_declared(key, declared, scene),
        Lookup::Absent { sources } => judge_leaving(key, scene).unwrap_or_else(|| judge_absent(key, &sources, scene)),
        Lookup::NotCovered => judge_leaving(key, scene).unwrap_or_else(|| Finding::new(Standing::Settled, Vec::new())),
    }
}

/// Every key that a whole planning has to look at.
pub fn all_keys(scene: &Scene<'_>) -> HashSet<Key> {
    let sources = scene.desired.sources().iter().chain(scene.leaving.sources());
    let declared = sources
        .filter_map(|source| source.head.as_ref())
        .flat_map(|head| head.entries.keys());
    declared.chain(scene.live.keys()).cloned().collect()
}

fn judge_declared(key: &Key, declared: Declared<'_>, scene: &Scene<'_>) -> Finding {
    let mut finding = Finding::new(Standing::InSync, vec![Arc::clone(&declared.source.name)]);
    finding.declaration = Some(declaration(declared));
    match scene.live.knowledge(key.kind()) {
        Knowledge::NotServed => finding.standing = Standing::KindNotServed,
        Knowledge::Incomplete => finding.standing = Standing::NotListed,
        Knowledge::Complete => compare(key, declared, scene, &mut finding),
    }
    if let Some(hold) = hold_of(declared.source, scene.rules) {
        finding.steps.clear();
        finding.hold = finding.standing.is_drift().then_some(hold);
    }
    finding
}

fn compare(key: &Key, declared: Declared<'_>, scene: &Scene<'_>, finding: &mut Finding) {
    let objects = scene.live.at(key);
    let (misplaced, named): (Vec<_>, Vec<_>) = objects.into_iter().partition(|(_, object)| object.is_misplaced());
    let wanted = Some(declared.entry.digest);
    let matches = |(_, object): &&(&Key, &LiveObject)| object.digest() == wanted && !object.is_hidden();
    let object = named.iter().find(matches).or_else(|| named.first());
    finding.live = object.and_then(|(_, object)| object.digest());
    match object {
        None if can_create(key, scene.namespaces) => {
            finding.standing = Standing::Missing;
            finding.steps.push(Step::Create);
        }
        None => finding.standing = Standing::WaitingForNamespace,
        Some((_, object)) if object.terminating => finding.standing = Standing::Terminating,
        Some(found) if matches(&found) => {}
        Some((place, object)) => {
            finding.standing = Standing::Changed;
            let through = if object.is_hidden() {
                Through::Stored
            } else {
                Through::Written
            };
            finding.steps.push(Step::Replace {
                place: (*place).clone(),
                through,
            });
        }
    }
    for (place, object) in misplaced.iter().filter(|(_, object)| !object.terminating) {
        if finding.standing == Standing::InSync {
            finding.standing = Standing::Misplaced;
        }
        if declared.source.settings.prune == Prune::Never {
            finding.hold = Some(Hold::PruneNever);
        } else {
            finding.steps.push(delete(place, object, DeleteReason::Misplaced));
        }
    }
}

/// Nothing is deleted that any other source may still want.
fn judge_leaving(key: &Key, scene: &Scene<'_>) -> Option<Finding> {
    let declared = scene.leaving.sources().iter().find_map(|source| source.declares(key))?;
    let mut finding = Finding::new(Standing::Leaving, vec![Arc::clone(&declared.source.name)]);
    finding.declaration = Some(declaration(declared));
    if scene.live.knowledge(key.kind()) == Knowledge::Incomplete {
        finding.standing = Standing::NotListed;
        return Some(finding);
    }
    let objects = scene.live.at(key);
    let Some((place, object)) = objects.first() else {
        finding.standing = Standing::Settled;
        return Some(finding);
    };
    finding.live = object.digest();
    if object.terminating {
        finding.standing = Standing::Terminating;
        return Some(finding);
    }
    finding.hold = hold_of(declared.source, scene.rules);
    if finding.hold.is_none() {
        finding.steps.push(delete(place, object, DeleteReason::SourceRemoved));
    }
    Some(finding)
}

fn judge_absent(key: &Key, sources: &[&SourceState], scene: &Scene<'_>) -> Finding {
    let names = || sources.iter().map(|source| Arc::clone(&source.name)).collect();
    let mut finding = Finding::new(Standing::Settled, names());
    if scene.live.knowledge(key.kind()) == Knowledge::Incomplete {
        return finding;
    }
    let in_going_namespace = key
        .namespace()
        .is_some_and(|name| scene.namespaces.phase(name) != Some(Phase::Active));
    for (place, object) in scene.live.at(key) {
        finding.live = finding.live.or_else(|| object.digest());
        let (standing, hold, step) = if object.terminating || in_going_namespace {
            (Standing::Terminating, None, None)
        } else {
            judge_undeclared(key, place, object, sources, scene)
        };
        // One name of storage is the rule; with several, what calls for a deed is what is shown.
        if finding.steps.is_empty() {
            finding.standing = standing;
            finding.hold = hold;
        }
        finding.steps.extend(step);
    }
    finding
}

fn judge_undeclared(
    key: &Key,
    place: &Key,
    object: &LiveObject,
    sources: &[&SourceState],
    scene: &Scene<'_>,
) -> (Standing, Option<Hold>, Option<Step>) {
    if object.exempt || is_built_in(key) {
        return (Standing::Exempt, None, None);
    }
    if object.digest().is_none() {
        return (Standing::Unreadable, None, None);
    }
    let misplaced = object.is_misplaced();
    if !misplaced && is_unadopted(key, object, sources, scene) {
        return (Standing::Unadopted, None, None);
    }
    let standing = if misplaced {
        Standing::Misplaced
    } else {
        Standing::Undeclared
    };
    if scene.desired.covering(key).any(|source| source.head.is_none()) {
        return (Standing::HeadUnknown, None, None);
    }
    let held = sources.iter().find_map(|source| hold_of(source, scene.rules));
    let never = sources.iter().any(|source| source.settings.prune == Prune::Never);
    if let Some(hold) = held.or_else(|| never.then_some(Hold::PruneNever)) {
        return (standing, Some(hold), None);
    }
    let reason = if misplaced {
        DeleteReason::Misplaced
    } else {
        DeleteReason::Undeclared
    };
    (standing, None, Some(delete(place, object, reason)))
}

/// Whether the object is older than the trust in a source that prunes only since its adoption, and was never declared.
fn is_unadopted(key: &Key, object: &LiveObject, sources: &[&SourceState], scene: &Scene<'_>) -> bool {
    let younger_than = |source: &SourceState| match (object.created, source.adopted_at) {
        (Some(created), Some(adopted)) => created >= adopted,
        _ => false,
    };
    !scene.once_declared.contains(key)
        && sources
            .iter()
            .any(|source| source.settings.prune != Prune::All && !younger_than(source))
}

fn is_built_in(key: &Key) -> bool {
    let definition = key.kind().definition();
    definition.family == Family::Calico && definition.rank == Rank::Tier && BUILT_IN_TIERS.contains(&key.name())
}

fn can_create(key: &Key, namespaces: &Namespaces) -> bool {
    key.namespace()
        .is_none_or(|name| namespaces.phase(name) == Some(Phase::Active))
}

fn hold_of(source: &SourceState, rules: &Rules) -> Option<Hold> {
    let settings = &source.settings;
    if rules.mode == Mode::Audit || settings.mode == Mode::Audit {
        Some(Hold::Audit)
    } else if settings.suspend {
        Some(Hold::Suspended)
    } else if !settings.sync {
        Some(Hold::GateOnly)
    } else {
        None
    }
}

fn delete(place: &Key, object: &LiveObject, reason: DeleteReason) -> Step {
    Step::Delete {
        place: place.clone(),
        uid: object.uid.clone(),
        resource_version: object.resource_version.clone(),
        reason,
    }
}

fn declaration(declared: Declared<'_>) -> Declaration {
    Declaration {
        source: Arc::clone(&declared.source.name),
        commit: declared.snapshot.commit.id.clone(),
        entry: declared.entry.clone(),
    }
}

/// Parts the sources that stay from those that go together with their objects. A source that goes and releases its
/// objects is in neither: nothing more is done for it.
pub fn part(desired: &DesiredState) -> (DesiredState, DesiredState) {
    let (going, staying): (Vec<_>, Vec<_>) = desired
        .sources()
        .iter()
        .cloned()
        .partition(|source| source.being_removed);
    let pruning = going
        .into_iter()
        .filter(|source| source.settings.on_removal == OnRemoval::Prune)
        .collect();
    (DesiredState::new(staying), DesiredState::new(pruning))
}

#[cfg(test)]
mod tests;
