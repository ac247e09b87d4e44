//! What may pass, in plain words: what is exactly at the head of the source that decides, and a closed list besides.

use headgate::gate::{DryRun, Operation, Uncovered};
use headgate::source::resource::Mode;

use crate::requests::{Asked, Mark, Place, Shape, Who};
use crate::worlds::{Says, Source, World};

/// Why a request may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permission {
    /// It stores what the deciding source's head says.
    AtHead,
    NotGuarded,
    Exempt,
    GoesWithNamespace,
    ChangesNothing,
    /// What lies where it does not belong may go.
    MisplacedGoes,
    Uncovered,
    /// What no head declares may go, if it is the sources' own.
    AbsentGoes,
    /// What only sources declare that are going, too, may go.
    GoesWithSources,
    Audit,
    DryRun,
}

impl Permission {
    pub(crate) const ALL: [Self; 11] = [
        Self::AtHead,
        Self::NotGuarded,
        Self::Exempt,
        Self::GoesWithNamespace,
        Self::ChangesNothing,
        Self::MisplacedGoes,
        Self::Uncovered,
        Self::AbsentGoes,
        Self::GoesWithSources,
        Self::Audit,
        Self::DryRun,
    ];
}

/// The permission for a request, if there is one.
pub(crate) fn permission(asked: &Asked, world: &World) -> Option<Permission> {
    if asked.place == Place::Free {
        return Some(Permission::NotGuarded);
    }
    let permitted = if is_forged(asked) {
        None
    } else {
        permitted_unless_forged(asked, world)
    };
    permitted.or_else(|| leniently(asked, world))
}

fn permitted_unless_forged(asked: &Asked, world: &World) -> Option<Permission> {
    if is_exempt(asked, world) {
        return Some(Permission::Exempt);
    }
    if goes_with_namespace(asked, world) {
        return Some(Permission::GoesWithNamespace);
    }
    if changes_nothing(asked) {
        return Some(Permission::ChangesNothing);
    }
    if asked.generated_name {
        return None;
    }
    let judged = if is_deletion(asked) { asked.old? } else { asked.new? };
    if matches!(judged.mark, Mark::Misplaced | Mark::Garbled) {
        return is_deletion(asked).then_some(Permission::MisplacedGoes);
    }
    by_the_sources(asked, world)
}

fn by_the_sources(asked: &Asked, world: &World) -> Option<Permission> {
    let covering = covering(asked.place, world);
    if covering.is_empty() {
        return (world.rules.uncovered == Uncovered::Allow).then_some(Permission::Uncovered);
    }
    match deciding(asked.place, &covering) {
        Deciding::Nobody | Deciding::Rivals => None,
        Deciding::Absent => {
            let heads: Vec<&Source> = covering
                .iter()
                .copied()
                .filter(|source| source.head.is_some())
                .collect();
            let gone = asked.old.filter(|_| is_deletion(asked))?;
            let theirs = |source: &&Source| source.prune_all || gone.young || source.declared_formerly;
            let may_go = !heads.iter().copied().any(is_distrusted) && heads.iter().all(theirs);
            may_go.then_some(Permission::AbsentGoes)
        }
        Deciding::One(source, _) if is_distrusted(source) => None,
        Deciding::One(..) if is_deletion(asked) => {
            let mut declaring = covering.iter().filter(|source| declares(source, asked.place).is_some());
            let all_go = declaring.all(|source| source.going && source.takes_along);
            all_go.then_some(Permission::GoesWithSources)
        }
        Deciding::One(_, says) => is_exactly(asked.new?, says).then_some(Permission::AtHead),
    }
}

fn is_exactly(shape: Shape, says: Says) -> bool {
    // No file has finalizers or marks here.
    (shape.content, shape.labelled) == says && !shape.held && shape.mark == Mark::None
}

/// Who decides on an object.
enum Deciding<'a> {
    /// Whoever might has no head here.
    Nobody,
    /// Two of equal rank say different things.
    Rivals,
    One(&'a Source, Says),
    /// All who may speak have spoken, and none declares it.
    Absent,
}

fn deciding<'a>(place: Place, covering: &[&'a Source]) -> Deciding<'a> {
    let lost = |source: &&&Source| source.head.is_none() && source.had_head;
    for rank in [true, false] {
        let ranked: Vec<&Source> = covering.iter().copied().filter(|source| source.high == rank).collect();
        let mut sayings = ranked
            .iter()
            .filter_map(|source| Some((*source, declares(source, place)?)));
        if let Some((first, says)) = sayings.next() {
            if !rank && covering.iter().filter(|source| source.high).any(|source| lost(&source)) {
                return Deciding::Nobody;
            }
            return if sayings.all(|(_, other)| other == says) {
                Deciding::One(first, says)
            } else {
                Deciding::Rivals
            };
        }
    }
    let none_has_a_head = covering.iter().all(|source| source.head.is_none());
    if none_has_a_head || covering.iter().any(|source| lost(&source)) {
        Deciding::Nobody
    } else {
        Deciding::Absent
    }
}

fn covering(place: Place, world: &World) -> Vec<&Source> {
    let speaks = |source: &&Source| source.everything || place.namespace() == Some("payments");
    world.sources.iter().filter(speaks).collect()
}

fn declares(source: &Source, place: Place) -> Option<Says> {
    source.head?[place as usize]
}

fn is_distrusted(source: &Source) -> bool {
    let too_old = source.stale && source.deny_when_stale && !source.suspended;
    too_old || (source.unverified && source.deny_when_unverified)
}

/// A delete, or an update that does nothing but say that the object is going.
fn is_deletion(asked: &Asked) -> bool {
    match (asked.operation, asked.old, asked.new) {
        (Operation::Delete, ..) => true,
        (Operation::Update, Some(old), Some(new)) => new.going && !old.going && differ_in_finalizers_at_most(old, new),
        _ => false,
    }
}

/// Somebody writes what only Calico's server or the API server may.
fn is_forged(asked: &Asked) -> bool {
    let Some(new) = asked.new else { return false };
    let claims_to_go = new.going && !asked.old.is_some_and(|old| old.going) && !is_deletion(asked);
    let marks = new.mark != Mark::None && asked.old.is_none_or(|old| old.mark != new.mark);
    claims_to_go || marks
}

fn is_exempt(asked: &Asked, world: &World) -> bool {
    let is_kind = matches!(asked.place, Place::Web | Place::Api | Place::Elsewhere);
    let all_labelled = asked.old.iter().chain(&asked.new).all(|shape| shape.labelled);
    !world.rules.exemptions.is_empty() && asked.who == Who::Robot && is_kind && all_labelled
}

fn goes_with_namespace(asked: &Asked, world: &World) -> bool {
    let ends = asked
        .place
        .namespace()
        .is_some_and(|name| world.terminating.contains(&name));
    let only_finalizers = match (asked.old, asked.new) {
        (Some(old), Some(new)) => differ_in_finalizers_at_most(old, new),
        _ => false,
    };
    ends && asked.who == Who::Controller && (is_deletion(asked) || only_finalizers)
}

fn changes_nothing(asked: &Asked) -> bool {
    let (Operation::Update, Some(old), Some(new)) = (asked.operation, asked.old, asked.new) else {
        return false;
    };
    let is_let_go = old.going && old.held && !new.held;
    !is_deletion(asked) && differ_in_finalizers_at_most(old, new) && (old.held == new.held || is_let_go)
}

fn differ_in_finalizers_at_most(old: Shape, new: Shape) -> bool {
    (old.content, old.labelled, old.mark) == (new.content, new.labelled, new.mark)
}

/// What would be refused passes where nobody enforces, and, if that is what is wanted, where nothing is stored.
fn leniently(asked: &Asked, world: &World) -> Option<Permission> {
    if world.rules.mode == Mode::Audit || is_audited(asked, world) {
        return Some(Permission::Audit);
    }
    (asked.dry_run && world.rules.dry_run == DryRun::Warn).then_some(Permission::DryRun)
}

/// The source that declares the object is on trial, or where none alone does, every one that covers it. What is refused
/// whatever the sources say is not theirs to let pass.
fn is_audited(asked: &Asked, world: &World) -> bool {
    let judged = if is_deletion(asked) { asked.old } else { asked.new };
    let is_odd = judged.is_none_or(|shape| matches!(shape.mark, Mark::Misplaced | Mark::Garbled));
    if is_forged(asked) || asked.generated_name || is_odd {
        return false;
    }
    let covering = covering(asked.place, world);
    match deciding(asked.place, &covering) {
        Deciding::One(source, _) => source.audit,
        _ => !covering.is_empty() && covering.iter().all(|source| source.audit),
    }
}
