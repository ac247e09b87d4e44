//! How the cluster stands against Git, source by source.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::plan::{Finding, Hold, Standing};
use super::progress::Progress;
use super::setback::{Setback, Setbacks};
use crate::policy::{Key, Kind};

/// So many examples of a list are kept.
pub const EXAMPLES: usize = 20;

/// How the cluster stands against Git.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Source by source.
    pub sources: BTreeMap<Arc<str>, Tally>,
    /// Whether everything there is was looked at.
    pub complete: bool,
}

/// How the cluster stands against one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The head that this speaks of.
    pub commit: Option<String>,
    /// Objects that are missing, changed or undeclared.
    pub drift: usize,
    /// How far the writes have come; none where there is nothing to write.
    pub progress: Option<Progress>,
    /// Drift that nothing is done about, and why.
    pub held: BTreeMap<&'static str, usize>,
    /// The first objects that are left as they are while a grant names them.
    pub granted_examples: BTreeSet<Key>,
    /// Undeclared objects that are left alone.
    pub undeclared: usize,
    /// The first of them, by key.
    pub undeclared_examples: BTreeSet<Key>,
    /// Objects whose namespace does not exist or is going.
    pub waiting: usize,
    /// Namespaces that are waited for; the first of them.
    pub waiting_for: BTreeSet<String>,
    /// Objects that sources of equal priority declare differently.
    pub conflicts: usize,
    /// The first of them.
    pub conflict_examples: BTreeSet<Key>,
    /// The sources that declare these.
    pub conflicting: BTreeSet<Arc<str>>,
    /// Kinds that are declared and not served.
    pub not_served: BTreeSet<Kind>,
    /// Kinds that could not be listed yet.
    pub not_listed: BTreeSet<Kind>,
    /// Objects about which nothing is known, since a source has no head.
    pub unknown: usize,
    /// Writes that fail.
    pub failing: usize,
    /// The first of them, with the reason.
    pub failing_examples: BTreeMap<Key, String>,
    /// Whether the source is being removed.
    pub being_removed: bool,
    /// Objects still to be deleted before the source can go.
    pub leaving: usize,
}

impl Report {
    /// Adds up findings. `failing` says which writes fail.
    pub fn of<'a>(findings: impl Iterator<Item = (&'a Key, &'a Finding)>, setbacks: &Setbacks) -> Self {
        let mut report = Self::default();
        for (key, finding) in findings {
            for source in &finding.sources {
                let tally = report.sources.entry(Arc::clone(source)).or_default();
                tally.add(key, finding, setbacks.get(key));
            }
        }
        report
    }
}

impl Tally {
    fn add(&mut self, key: &Key, finding: &Finding, setback: Option<&Setback>) {
        if finding.standing.is_drift() {
            self.drift += 1;
        }
        if finding.hold == Some(Hold::BreakGlass) {
            keep(&mut self.granted_examples, key);
        }
        if let Some(hold) = finding.hold {
            *self.held.entry(hold_name(hold)).or_default() += 1;
        }
        match finding.standing {
            Standing::Unadopted | Standing::Unreadable => self.leave_alone(key),
            Standing::Undeclared | Standing::Misplaced if finding.hold == Some(Hold::PruneNever) => {
                self.leave_alone(key);
            }
            Standing::WaitingForNamespace => {
                self.waiting += 1;
                let name = key.namespace().unwrap_or_default();
                keep(&mut self.waiting_for, &name.to_owned());
            }
            Standing::Conflict => {
                self.conflicts += 1;
                keep(&mut self.conflict_examples, key);
                finding
                    .sources
                    .iter()
                    .for_each(|source| keep(&mut self.conflicting, source));
            }
            Standing::KindNotServed => {
                self.not_served.insert(key.kind());
            }
            Standing::NotListed => {
                self.not_listed.insert(key.kind());
            }
            Standing::HeadUnknown => self.unknown += 1,
            // What holds these up ends: until then the source waits. Whoever asks for no writes gets none, and the source goes.
            Standing::Leaving if !finding.hold.is_some_and(Hold::asks_for_no_writes) => self.leaving += 1,
            _ => {}
        }
        if let Some(setback) = setback.filter(|setback| !setback.may_pass()) {
            self.failing += 1;
            self.failing_examples.insert(key.clone(), setback.message.clone());
            // The first by key, so that the list does not change from one look to the next.
            if self.failing_examples.len() > EXAMPLES {
                self.failing_examples.pop_last();
            }
        }
    }

    fn leave_alone(&mut self, key: &Key) {
        self.undeclared += 1;
        keep(&mut self.undeclared_examples, key);
    }
}

/// Keeps the first twenty, in order.
fn keep<T: Ord + Clone>(examples: &mut BTreeSet<T>, value: &T) {
    if examples.len() < EXAMPLES || examples.last().is_some_and(|last| value < last) {
        examples.insert(value.clone());
    }
    if examples.len() > EXAMPLES {
        examples.pop_last();
    }
}

/// What is held back by grants, among [`Tally::held`].
pub const BREAK_GLASS: &str = "BreakGlass";

fn hold_name(hold: Hold) -> &'static str {
    match hold {
        Hold::Audit => "Audit",
        Hold::Behind => "Behind",
        Hold::Unverified => "Unverified",
        Hold::Suspended => "Suspended",
        Hold::GateOnly => "GateOnly",
        Hold::PruneNever => "PruneNever",
        Hold::BreakGlass => BREAK_GLASS,
    }
}
