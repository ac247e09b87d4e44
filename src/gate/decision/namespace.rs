//! The deletion of a namespace, where the configuration guards those in which Git declares objects.

use super::{Basis, Lenience, Reason, Verdict};
use crate::gate::DryRun;
use crate::gate::review::{Operation, Request, User};
use crate::source::SourceState;
use crate::source::resource::{Mode, OnRemoval};

/// A namespace that somebody wants to delete.
#[derive(Clone, Debug)]
pub struct NamespaceDeletion {
    /// The review's id.
    pub uid: String,
    /// Who asks.
    pub user: User,
    /// The namespace.
    pub name: String,
    /// Whether it is going already.
    pub is_going: bool,
    /// Whether nothing will be stored.
    pub dry_run: bool,
}

/// A source that declares objects in a namespace.
#[derive(Clone, Copy, Debug)]
pub struct Declarer<'a> {
    /// The source.
    pub source: &'a SourceState,
    /// How many objects.
    pub objects: usize,
}

impl NamespaceDeletion {
    /// The deletion that a review is about; none where it is about anything else.
    pub fn of(request: &Request) -> Option<Self> {
        let kind = &request.kind;
        let is_namespace = (kind.group.as_str(), kind.kind.as_str()) == ("", "Namespace");
        if !is_namespace || request.operation != Operation::Delete {
            return None;
        }
        let metadata = request.old_object.as_ref()?.get("metadata")?;
        // A collection's reviews have no name of their own.
        let name = metadata.get("name")?.as_str()?;
        let going = metadata.get("deletionTimestamp").is_some_and(|time| !time.is_null());
        Some(Self {
            uid: request.uid.clone(),
            user: request.user.clone(),
            name: name.to_owned(),
            is_going: going,
            dry_run: request.dry_run,
        })
    }
}

/// Decides on the deletion of a namespace, for everybody alike: refused while a source declares objects in it. The
/// verdict comes with the sources that do, by priority.
pub fn decide_namespace<'a>(deletion: &NamespaceDeletion, basis: Basis<'a>) -> (Verdict<'a>, Vec<Declarer<'a>>) {
    if !basis.rules.guard_namespaces {
        return (Verdict::of(Reason::NotGuarded), Vec::new());
    }
    // Whoever ends it asks again and again until nothing is left.
    if deletion.is_going {
        return (Verdict::of(Reason::NamespaceTerminating), Vec::new());
    }
    let sources = basis.desired.sources().iter().map(AsRef::as_ref);
    let speaking = sources.filter(|source| source.settings.coverage.reaches(&deletion.name));
    let (mut declarers, mut unknown) = (Vec::new(), Vec::new());
    for source in speaking.filter(|source| !takes_its_objects_along(source)) {
        let objects = declared_in(source, &deletion.name);
        if objects > 0 {
            declarers.push(Declarer { source, objects });
        } else if source.head.is_none() && source.had_head {
            unknown.push(source);
        }
    }
    let verdict = match (declarers.first(), unknown.first()) {
        (Some(first), _) => Verdict::by(Reason::NamespaceDeclared, first.source),
        (None, Some(source)) => Verdict::by(Reason::HeadUnknown, source),
        (None, None) => Verdict::of(Reason::AbsentAtHead),
    };
    let audits = |source: &SourceState| source.settings.mode == Mode::Audit;
    let mut refusing = declarers.iter().map(|declarer| declarer.source).chain(unknown);
    let audited = refusing.all(audits);
    let lenience = if basis.rules.mode == Mode::Audit || audited {
        Some(Lenience::Audit)
    } else {
        (deletion.dry_run && basis.rules.dry_run == DryRun::Warn).then_some(Lenience::DryRun)
    };
    (verdict.leniently(lenience), declarers)
}

fn takes_its_objects_along(source: &SourceState) -> bool {
    source.being_removed && source.settings.on_removal == OnRemoval::Prune
}

fn declared_in(source: &SourceState, namespace: &str) -> usize {
    let keys = source.head.iter().flat_map(|head| head.entries.keys());
    keys.filter(|key| key.namespace() == Some(namespace)).count()
}
