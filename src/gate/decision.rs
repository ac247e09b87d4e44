//! The decision: one pure function of what is asked for, what Git declares, and the configuration.

mod exempt;
pub mod namespace;
mod reason;

use std::collections::HashSet;

use jiff::Timestamp;

use super::exemption::Exemption;
use super::grant::{Grant, GrantSet};
use super::review::Operation;
use super::rules::{DryRun, Rules, Uncovered};
use super::subject::{State, Subject};
use crate::policy::Placement;
use crate::source::resource::{Mode, OnRemoval};
use crate::source::{Declared, DesiredState, Lookup, SourceState};

pub use reason::Reason;

/// Why a request passes that would be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lenience {
    /// The gate or the sources concerned are in `mode: Audit`.
    Audit,
    /// Nothing is stored, and the configuration says `dryRun: Warn`.
    DryRun,
}

/// What the decision looks at besides the request.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    /// What Git declares.
    pub desired: &'a DesiredState,
    /// The configuration.
    pub rules: &'a Rules,
    /// Who may step around Git for a while.
    pub grants: &'a GrantSet,
    /// The namespaces that are going.
    pub terminating: &'a HashSet<String>,
    /// The time.
    pub now: Timestamp,
}

/// The outcome of the decision.
#[derive(Clone, Debug)]
pub struct Verdict<'a> {
    /// Why.
    pub reason: Reason,
    /// Whether the request passes.
    pub allowed: bool,
    /// Why it passes although the reason refuses it, if it does.
    pub lenience: Option<Lenience>,
    /// The source that decided; none where it did not come to that.
    pub source: Option<&'a SourceState>,
    /// What that source declares of the object.
    pub declared: Option<Declared<'a>>,
    /// The other source of a conflict.
    pub rival: Option<&'a SourceState>,
    /// The exemption that let it pass.
    pub exemption: Option<&'a Exemption>,
    /// The grant that let it pass, and why it would have been refused.
    pub grant: Option<(&'a Grant, Reason)>,
}

impl Verdict<'_> {
    /// Whether the request passes although `Enforce` would refuse it.
    pub fn would_deny(&self) -> bool {
        self.lenience.is_some()
    }
}

impl<'a> Verdict<'a> {
    fn of(reason: Reason) -> Self {
        Self {
            reason,
            allowed: reason.allows(),
            lenience: None,
            source: None,
            declared: None,
            rival: None,
            exemption: None,
            grant: None,
        }
    }

    fn by(reason: Reason, source: &'a SourceState) -> Self {
        Self {
            source: Some(source),
            ..Self::of(reason)
        }
    }

    fn declared(reason: Reason, declared: Declared<'a>) -> Self {
        Self {
            declared: Some(declared),
            ..Self::by(reason, declared.source)
        }
    }

    /// What would be refused passes where a grant in force covers it.
    fn unless_granted(self, subject: &Subject, basis: Basis<'a>) -> Self {
        if !self.reason.yields_to_grants() {
            return self;
        }
        let Some(grant) = basis.grants.covering(subject, basis.now) else {
            return self;
        };
        Self {
            reason: Reason::BreakGlass,
            allowed: true,
            grant: Some((grant, self.reason)),
            ..self
        }
    }

    /// Lets pass what would be refused.
    fn leniently(mut self, lenience: Option<Lenience>) -> Self {
        self.lenience = lenience.filter(|_| !self.allowed);
        self.allowed |= lenience.is_some();
        self
    }

    /// In `Audit`, what would be refused passes: where the gate as a whole is in that mode, or the source that declares
    /// the object, or, where none does, every source that covers it. Adding a source to try it out takes nothing away
    /// from the others. A dry run passes where the configuration says so.
    fn in_mode(self, subject: &Subject, basis: Basis<'_>) -> Self {
        let audits = |source: &SourceState| source.settings.mode == Mode::Audit;
        let audited = match (self.declared, self.rival) {
            (Some(declared), None) => audits(declared.source),
            _ if self.source.is_some() => basis.desired.covering(&subject.key).all(audits),
            _ => false,
        };
        let audited = basis.rules.mode == Mode::Audit || audited;
        let warns = subject.dry_run && basis.rules.dry_run == DryRun::Warn;
        let lenience = match (audited, warns) {
            (true, _) => Some(Lenience::Audit),
            (false, true) => Some(Lenience::DryRun),
            (false, false) => None,
        };
        self.leniently(lenience)
    }
}

/// The verdict on a review that cannot be judged, for `Unreadable` and `Internal`. Of such a one it is not known whether
/// it is a dry run.
pub fn refuse<'a>(reason: Reason, rules: &Rules) -> Verdict<'a> {
    Verdict::of(reason).leniently((rules.mode == Mode::Audit).then_some(Lenience::Audit))
}

/// Decides on a request. The order of the questions is part of the product: see the decision table in the documentation.
pub fn decide<'a>(subject: &'a Subject, basis: Basis<'a>) -> Verdict<'a> {
    let verdict = if !subject.key.is_guarded() {
        Verdict::of(Reason::NotGuarded)
    } else if subject.forged.is_some() {
        Verdict::of(Reason::ForgedMetadata)
    } else if let Some(exemption) = exempt::exemption(subject, basis) {
        Verdict {
            exemption: Some(exemption),
            ..Verdict::of(Reason::Exempt)
        }
    } else if goes_with_namespace(subject, basis.terminating) {
        Verdict::of(Reason::NamespaceTerminating)
    } else if changes_nothing(subject) {
        Verdict::of(Reason::NoChange)
    } else if subject.generated_name {
        Verdict::of(Reason::GeneratedName)
    } else if let Some(verdict) = misplaced(subject) {
        verdict
    } else {
        by_desired_state(subject, basis)
    };
    verdict.unless_granted(subject, basis).in_mode(subject, basis)
}

/// Who takes objects down with their namespace. Nobody else may: the namespace controller keeps network policies until the
/// Pods are gone (ordered namespace deletion), and nothing could put back what somebody deletes before. On Calico's stored objects its
/// API server stands in for them.
const ENDING_NAMESPACES: [&str; 3] = [
    "system:serviceaccount:kube-system:namespace-controller",
    "system:serviceaccount:kube-system:generic-garbage-collector",
    "system:kube-controller-manager",
];

fn goes_with_namespace(subject: &Subject, terminating: &HashSet<String>) -> bool {
    let ends_namespaces = ENDING_NAMESPACES.contains(&subject.user.username.as_str());
    let namespace = subject.key.namespace();
    if !(ends_namespaces || subject.is_stored_by_calico())
        || !namespace.is_some_and(|namespace| terminating.contains(namespace))
    {
        return false;
    }
    match (&subject.new, &subject.old) {
        _ if subject.operation == Operation::Delete => true,
        (Some(new), Some(old)) => new.equals_without_finalizers(old),
        _ => false,
    }
}

fn changes_nothing(subject: &Subject) -> bool {
    let (Operation::Update, Some(new), Some(old)) = (subject.operation, &subject.new, &subject.old) else {
        return false;
    };
    if new.canonical.key != old.canonical.key || new.canonical.placement != old.canonical.placement {
        return false;
    }
    new.canonical.form == old.canonical.form || removes_only_finalizers(new, old)
}

/// Finalizers may be taken from an object that is being deleted, and nothing added: it could not go otherwise.
fn removes_only_finalizers(new: &State, old: &State) -> bool {
    let before = old.canonical.finalizers();
    old.canonical.terminating
        && new.equals_without_finalizers(old)
        && new
            .canonical
            .finalizers()
            .iter()
            .all(|finalizer| before.contains(finalizer))
}

/// A misplaced object may go, and may not be written: its content would be taken for that of another.
fn misplaced(subject: &Subject) -> Option<Verdict<'static>> {
    let state = subject.judged()?;
    if state.canonical.placement == Placement::AsNamed {
        return None;
    }
    Some(Verdict::of(match subject.operation {
        Operation::Delete => Reason::Misplaced,
        _ => Reason::ForgedMetadata,
    }))
}

fn by_desired_state<'a>(subject: &'a Subject, basis: Basis<'a>) -> Verdict<'a> {
    match basis.desired.look_up(&subject.key) {
        Lookup::NotCovered if basis.rules.uncovered == Uncovered::Allow => Verdict::of(Reason::Uncovered),
        Lookup::NotCovered => Verdict::of(Reason::NotCovered),
        Lookup::HeadUnknown { source } => Verdict::by(Reason::HeadUnknown, source),
        Lookup::Conflict { first, second } => Verdict {
            rival: Some(second.source),
            ..Verdict::declared(Reason::Conflict, first)
        },
        Lookup::Declared(declared) if declared.source.refuses_as_unverified() => {
            Verdict::declared(Reason::Unverified, declared)
        }
        Lookup::Declared(declared) if declared.source.refuses_as_stale(basis.now) => {
            Verdict::declared(Reason::Stale, declared)
        }
        Lookup::Declared(declared) => Verdict::declared(against(subject, declared, basis.desired), declared),
        Lookup::Absent { sources } => against_absence(subject, &sources, basis),
    }
}

fn against(subject: &Subject, declared: Declared<'_>, desired: &DesiredState) -> Reason {
    match &subject.new {
        Some(new) if new.says(declared) => Reason::MatchesHead,
        Some(_) => Reason::Differs,
        None if only_sources_going(subject, desired) => Reason::SourceBeingRemoved,
        None => Reason::StillDeclared,
    }
}

fn only_sources_going(subject: &Subject, desired: &DesiredState) -> bool {
    desired
        .covering(&subject.key)
        .filter(|source| source.declares(&subject.key).is_some())
        .all(|source| source.being_removed && source.settings.on_removal == OnRemoval::Prune)
}

fn against_absence<'a>(subject: &Subject, sources: &[&'a SourceState], basis: Basis<'a>) -> Verdict<'a> {
    let Some(first) = sources.first() else {
        return Verdict::of(Reason::NotCovered);
    };
    if let Some(unverified) = sources.iter().find(|source| source.refuses_as_unverified()) {
        return Verdict::by(Reason::Unverified, unverified);
    }
    if let Some(stale) = sources.iter().find(|source| source.refuses_as_stale(basis.now)) {
        return Verdict::by(Reason::Stale, stale);
    }
    if subject.new.is_some() {
        return Verdict::by(Reason::NotDeclared, first);
    }
    let created = subject.old.as_ref().and_then(|old| old.created);
    match sources.iter().find(|source| !source.adopts(&subject.key, created)) {
        Some(source) => Verdict::by(Reason::NotAdopted, source),
        None => Verdict::by(Reason::AbsentAtHead, first),
    }
}

#[cfg(test)]
mod tests;
