//! What to do about a key: a pure function of what Git says of it and what the cluster holds.

mod finding;

use std::sync::Arc;

use jiff::Timestamp;

use super::live::{Knowledge, LiveIndex, LiveObject};
use super::namespaces::{Namespaces, Phase};
use crate::gate::{GrantSet, Rules};
use crate::policy::{Family, Key, Rank};
use crate::source::resource::{Mode, OnRemoval, Prune};
use crate::source::{Declared, DesiredState, Lookup, SourceState};

pub use finding::{Declaration, DeleteReason, FIRST_DELETE, Finding, Hold, Standing, Step, Through};

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
    /// Who may step around Git for a while.
    pub grants: &'a GrantSet,
    /// The time.
    pub now: Timestamp,
    /// What the cluster holds.
    pub live: &'a LiveIndex,
    /// Where objects can be.
    pub namespaces: &'a Namespaces,
}

/// What to do about a key.
pub fn judge(key: &Key, scene: &Scene<'_>) -> Finding {
    let mut finding = judge_by_git(key, scene);
    if finding.hold.is_none() && !finding.steps.is_empty() && scene.grants.naming(key, scene.now).is_some() {
        // A grant covers no forged name: what is stored under one goes all the same.
        finding.steps.retain(Step::removes_misplaced);
        finding.hold = Some(Hold::BreakGlass);
    }
    finding
}

fn judge_by_git(key: &Key, scene: &Scene<'_>) -> Finding {
    if !scene.rules.guards(key.kind()) {
        return Finding::new(Standing::Settled, Vec::new());
    }
    match scene.desired.look_up(key) {
        Lookup::HeadUnknown { source } => {
            let waiting = waiting_to_leave(key, scene).map(|source| Arc::clone(&source.name));
            let sources = std::iter::once(Arc::clone(&source.name)).chain(waiting);
            Finding::new(Standing::HeadUnknown, sources.collect())
        }
        Lookup::Conflict { first, .. } => {
            // Those that agree with one of the two are held up as well.
            let priority = first.source.settings.priority;
            let sources = scene.desired.covering(key);
            let declaring =
                sources.filter(|source| source.settings.priority == priority && source.declares(key).is_some());
            Finding::new(
                Standing::Conflict,
                declaring.map(|source| Arc::clone(&source.name)).collect(),
            )
        }
        Lookup::Declared(declared) => judge_declared(key, declared, scene),
        Lookup::Absent { sources } => judge_leaving(key, scene).unwrap_or_else(|| judge_absent(key, &sources, scene)),
        Lookup::NotCovered => judge_leaving(key, scene).unwrap_or_else(|| Finding::new(Standing::Settled, Vec::new())),
    }
}

/// Every key that a whole planning has to look at; one that is both declared and live comes twice.
pub fn all_keys<'a>(scene: &Scene<'a>) -> impl Iterator<Item = &'a Key> {
    let rules = scene.rules;
    let live = scene.live.keys().filter(|key| rules.guards(key.kind()));
    declared_by(scene, |_| true).chain(live)
}

/// The keys that these sources declare.
pub fn declared_by<'a>(scene: &Scene<'a>, these: impl Fn(&SourceState) -> bool) -> impl Iterator<Item = &'a Key> {
    let rules = scene.rules;
    let sources = scene.desired.sources().iter().chain(scene.leaving.sources());
    let heads = sources
        .filter(move |source| these(source))
        .filter_map(|source| source.head.as_ref());
    // A repository may hold kinds that the configuration does not guard: they are nobody's business here.
    heads
        .flat_map(|head| head.entries.keys())
        .filter(|key| rules.guards(key.kind()))
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
    let matches = |(_, object): &&(&Key, &LiveObject)| says(object, declared) && !object.is_hidden();
    let object = named.iter().find(matches).or_else(|| named.first());
    finding.live = object.and_then(|(_, object)| object.digest());
    match object {
        None if can_create(key, scene.namespaces) => {
            finding.standing = Standing::Missing;
            finding.steps.push(Step::Create);
        }
        None => finding.standing = Standing::WaitingForNamespace,
        // One that is going is what Git says until it is gone: a finalizer may hold it for ever, and what it allows with it.
        Some(found) if found.1.terminating && (matches(&found) || !can_create(key, scene.namespaces)) => {
            finding.standing = Standing::Terminating;
        }
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
    replace_shadows(&named, object, declared, finding);
    for (place, object) in misplaced.iter().filter(|(_, object)| !object.terminating) {
        let covering: Vec<&SourceState> = scene.desired.covering(key).collect();
        let (standing, hold, step) = judge_undeclared(key, place, object, &covering, scene);
        if finding.standing == Standing::InSync {
            finding.standing = standing;
            finding.hold = hold;
        }
        finding.steps.extend(step);
    }
}

/// Whether a live object says what is declared.
fn says(object: &LiveObject, declared: Declared<'_>) -> bool {
    object.statement().is_some_and(|statement| declared.matches(statement))
}

/// A key can have several names of storage over Calico's releases, and somebody may write under all of them. Which one
/// counts is Calico's affair, so each has to say what Git says.
fn replace_shadows(
    named: &[(&Key, &LiveObject)],
    shown: Option<&(&Key, &LiveObject)>,
    declared: Declared<'_>,
    finding: &mut Finding,
) {
    let is_shown = |place: &Key| shown.is_some_and(|(shown, _)| *shown == place);
    for (place, object) in named {
        if is_shown(place) || object.terminating || says(object, declared) {
            continue;
        }
        finding.standing = Standing::Changed;
        finding.steps.push(Step::Replace {
            place: (*place).clone(),
            through: Through::Stored,
        });
    }
}

/// The sources that go and would take the object along, if it were known that no other one wants it.
fn waiting_to_leave<'a>(key: &'a Key, scene: &Scene<'a>) -> impl Iterator<Item = &'a SourceState> {
    let is_there = scene.live.knowledge(key.kind()) == Knowledge::Incomplete || !scene.live.at(key).is_empty();
    let rules = scene.rules;
    let sources = scene
        .leaving
        .sources()
        .iter()
        .map(Arc::as_ref)
        .filter(move |_| is_there);
    sources.filter(move |source| {
        source.declares(key).is_some() && !hold_of(source, rules).is_some_and(Hold::asks_for_no_writes)
    })
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
    let exempt = object.exempt_until.is_some_and(|until| scene.now < until);
    if exempt || is_built_in(key) {
        return (Standing::Exempt, None, None);
    }
    if object.digest().is_none() {
        return (Standing::Unreadable, None, None);
    }
    let misplaced = object.is_misplaced();
    if !misplaced && !sources.iter().all(|source| source.adopts(key, object.created)) {
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
    } else if source.is_behind {
        Some(Hold::Behind)
    } else if source.refuses_as_unverified() {
        Some(Hold::Unverified)
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
        deployer: declared.source.settings.deployer,
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
