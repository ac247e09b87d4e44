//! From what was fetched to the head: resolves the commit that counts, reads it, has it judged, and finds what stays
//! in force where it is refused. Blocks on the disk; never touches the network.

mod left;
mod standing;

use std::sync::Arc;

use gix::ObjectId;
use jiff::Timestamp;

use super::acceptance::{Baseline, Candidate, decide, is_void, refusal};
use super::blobs::Blobs;
use super::builder::{BuildError, Built, build};
use super::home::Store;
use super::keeper::{Refusal, RefusalReason};
use super::keys::Keys;
use super::reader::{ReadError, Reader};
use super::selection::Selection;
use super::settings::Settings;
use super::snapshot::Snapshot;
use super::verification::Standing;

/// A head and the repository that it can be read from.
pub(super) struct Head {
    pub(super) built: Arc<Built>,
    pub(super) store: Arc<Store>,
    /// The annotated tag that spoke for it, where signatures are asked for.
    pub(super) tag: Option<Arc<[u8]>>,
    /// The moment as of which its signatures are judged: that of its first acceptance.
    pub(super) accepted_at: Timestamp,
}

/// What a source's status says of its head: the baseline of a replica that has none in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Recorded {
    /// The commit in force.
    pub(super) commit: Option<ObjectId>,
    /// How many objects it declares.
    pub(super) objects: usize,
    /// The furthest commit that was ever in force.
    pub(super) highest: Option<ObjectId>,
    /// The moment as of which the signatures of the commit in force were judged.
    pub(super) verified_at: Option<Timestamp>,
}

/// What an evaluation starts from.
#[derive(Clone)]
pub(super) struct Situation {
    pub(super) source: Arc<str>,
    pub(super) settings: Arc<Settings>,
    pub(super) store: Arc<Store>,
    /// The commit that the ref names; none where the repository has no such ref.
    pub(super) tip: Option<ObjectId>,
    /// The head in memory.
    pub(super) head: Option<Arc<Head>>,
    /// What the status says.
    pub(super) recorded: Recorded,
    /// The furthest commit that was ever in force, as this replica knows it.
    pub(super) highest: Option<ObjectId>,
    /// The keys that may sign.
    pub(super) keys: Arc<Keys>,
    /// The time: that of the acceptance of whatever is accepted now.
    pub(super) now: Timestamp,
}

/// What an evaluation comes to.
#[derive(Clone)]
pub(super) struct Judgement {
    /// The head in force from now on.
    pub(super) head: Option<Arc<Head>>,
    /// Why the commit that counts is not the head.
    pub(super) refusal: Option<Refusal>,
    /// The furthest commit that was ever in force.
    pub(super) highest: Option<ObjectId>,
    /// What the commit in force is worth.
    pub(super) standing: Standing,
}

/// A head that an earlier process left on disk.
pub(super) struct Recalled {
    pub(super) head: Arc<Head>,
    /// The commit that the ref named then.
    pub(super) tip: Option<ObjectId>,
    /// The annotated tag by which it did.
    pub(super) tag: Option<ObjectId>,
    /// What its signature is worth.
    pub(super) standing: Standing,
}

impl Head {
    /// Its commit.
    pub(super) fn commit(&self) -> Option<ObjectId> {
        self.built.snapshot.commit.id.parse().ok()
    }
}

impl Situation {
    /// Finds the head.
    pub(super) fn evaluate(&self, blobs: &Blobs) -> Result<Judgement, ReadError> {
        let reader = Reader::open(self.store.dir())?;
        let left = self.as_left(&reader, blobs)?;
        let evaluation = Evaluation {
            situation: left.as_ref().unwrap_or(self),
            reader: &reader,
            blobs,
        };
        let baseline = evaluation.baseline()?;
        let judgement = if self.settings.suspend {
            evaluation.keep(None, baseline)
        } else {
            match evaluation.wanted()? {
                Ok(commit) => evaluation.judge(commit, baseline)?,
                Err(refused) => evaluation.keep(Some(refused), baseline),
            }
        };
        evaluation.settle(judgement)
    }

    /// The recorded head alone, from what an earlier process fetched: what a restart begins with while the repository
    /// has not been asked, or does not answer.
    pub(super) fn recall(&self, blobs: &Blobs) -> Result<Option<Recalled>, ReadError> {
        let reader = Reader::open(self.store.dir())?;
        let left = self.as_left(&reader, blobs)?;
        let evaluation = Evaluation {
            situation: left.as_ref().unwrap_or(self),
            reader: &reader,
            blobs,
        };
        let baseline = evaluation.baseline()?;
        let reference = &self.settings.reference.name;
        let (tip, tag) = (reader.tip(reference)?, reader.tag(reference)?);
        let Judgement { head, standing, .. } = evaluation.keep(None, baseline);
        Ok(head.map(|head| Recalled {
            head,
            tip,
            tag,
            standing,
        }))
    }
}

/// One evaluation under way.
struct Evaluation<'a> {
    situation: &'a Situation,
    reader: &'a Reader,
    blobs: &'a Blobs,
}

/// The commit in force.
struct InForce {
    commit: ObjectId,
    /// How many objects it declared when it was accepted.
    objects: usize,
    /// Read under the settings of today; none where that is not possible, or where it may not be put into force.
    head: Option<Arc<Head>>,
    /// What its signature is worth by the keys of today.
    standing: Standing,
}

impl Evaluation<'_> {
    /// The commit that the spec asks for.
    fn wanted(&self) -> Result<Result<ObjectId, Refusal>, ReadError> {
        let Situation { settings, tip, .. } = self.situation;
        let reference = settings.reference.short();
        let not_found = |commit: &str, message| Ok(Err(refusal(commit, RefusalReason::NotFound, message)));
        let Some(tip) = *tip else {
            return not_found("", format!("the repository has no {}", settings.reference.name));
        };
        let Some(pin) = &settings.reference.commit else {
            return Ok(Ok(tip));
        };
        match pin.parse::<ObjectId>() {
            Ok(commit) if self.reader.descends(tip, commit)? => Ok(Ok(commit)),
            Ok(_) => not_found(pin, format!("the pinned commit {pin} is not on {reference}")),
            Err(_) => not_found(pin, format!("spec.git.ref.commit {pin} is not a full commit id")),
        }
    }

    /// The commit in force: the head in memory, or else what the status records.
    fn in_force(&self) -> Option<ObjectId> {
        let Situation { head, recorded, .. } = self.situation;
        head.as_ref().and_then(|head| head.commit()).or(recorded.commit)
    }

    /// The commit in force, read under the settings of today.
    fn baseline(&self) -> Result<Option<InForce>, ReadError> {
        let Situation {
            head,
            recorded,
            settings,
            ..
        } = self.situation;
        let Some(commit) = self.in_force() else {
            return Ok(None);
        };
        let objects = match head {
            Some(head) => head.built.snapshot.entries.len(),
            None => recorded.objects,
        };
        let standing = self.standing(commit)?;
        let unchanged = head.as_ref().filter(|head| Arc::ptr_eq(&head.built.settings, settings));
        let head = match unchanged {
            Some(head) => Some(Arc::clone(head)),
            None if self.may_be_read(commit, standing.is_ok())? => self.read(commit)?.ok(),
            None => None,
        };
        Ok(Some(InForce {
            commit,
            objects,
            head,
            standing,
        }))
    }

    /// Whether the commit in force may be taken from the mirror. Of a commit that only the status names this asks that
    /// the ref leads to it and that it verifies, or that this replica itself accepted it once: whoever writes the
    /// status must not be able to put just any commit of the repository into force.
    fn may_be_read(&self, commit: ObjectId, verifies: bool) -> Result<bool, ReadError> {
        if self.situation.head.is_some() {
            return self.reader.has(commit);
        }
        if !verifies && self.reader.accepted()? != Some(commit) {
            return Ok(false);
        }
        let fetched = match self.situation.tip {
            Some(tip) => Some(tip),
            None => self.reader.tip(&self.situation.settings.reference.name)?,
        };
        for known in [fetched, self.reader.accepted()?].into_iter().flatten() {
            if self.reader.descends(known, commit)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads a commit under the settings of today.
    fn read(&self, commit: ObjectId) -> Result<Result<Arc<Head>, Refusal>, ReadError> {
        self.read_like(commit, self.situation.head.as_deref())
    }

    fn read_like(&self, commit: ObjectId, like: Option<&Head>) -> Result<Result<Arc<Head>, Refusal>, ReadError> {
        let Situation { settings, store, .. } = self.situation;
        match build(self.reader, self.blobs, settings, commit, like.map(|head| &*head.built)) {
            Ok(built) => Ok(Ok(Arc::new(Head {
                built: Arc::new(built),
                store: Arc::clone(store),
                tag: self.vouching_tag(commit)?,
                accepted_at: self.judged_at(commit)?,
            }))),
            Err(BuildError::Refused(reason, message)) => Ok(Err(refusal(&commit.to_string(), reason, message))),
            Err(BuildError::Read(error)) => Err(error),
        }
    }

    /// Judges the commit that the spec asks for. Signatures come first, before anything of it is read.
    fn judge(&self, commit: ObjectId, baseline: Option<InForce>) -> Result<Judgement, ReadError> {
        let same = baseline.as_ref().filter(|baseline| baseline.commit == commit);
        let standing = match same {
            // In force as it is: whether it may stay so is not for acceptance to say.
            Some(same) if same.head.is_some() => same.standing.clone(),
            _ => match self.admit(commit, baseline.as_ref())? {
                Ok(signer) => Ok(signer),
                Err(fault) => {
                    let reason = RefusalReason::NotVerified(fault.kind);
                    let refused = refusal(&commit.to_string(), reason, fault.message);
                    return Ok(self.keep(Some(refused), baseline));
                }
            },
        };
        let read = match same.and_then(|same| same.head.clone()) {
            Some(head) => Ok(head),
            None => self.read_like(commit, baseline.as_ref().and_then(|baseline| baseline.head.as_deref()))?,
        };
        let accepted = match read {
            Ok(head) => self.decide(commit, &head, baseline.as_ref())?.map(|()| head),
            Err(refused) => Err(refused),
        };
        match accepted {
            Ok(head) => Ok(Judgement {
                highest: Some(self.highest_after(commit)?),
                head: Some(head),
                refusal: None,
                standing,
            }),
            // The refused commit itself is no fallback, whatever it was refused for and however the status calls it.
            Err(refused) => Ok(self.keep(Some(refused), baseline.filter(|baseline| baseline.commit != commit))),
        }
    }

    fn decide(
        &self,
        commit: ObjectId,
        head: &Head,
        baseline: Option<&InForce>,
    ) -> Result<Result<(), Refusal>, ReadError> {
        let in_force = baseline.map(|baseline| baseline.commit.to_string());
        let highest = self.situation.highest.map(|highest| highest.to_string());
        let follows_highest = match self.situation.highest {
            Some(highest) => self.reader.descends(commit, highest)?,
            None => true,
        };
        let is_other_selection = self.is_other_selection();
        let before = match baseline.and_then(|baseline| baseline.head.as_ref()) {
            Some(head) if !is_other_selection => Some(Arc::clone(&head.built.snapshot)),
            // A mirror of another repository does not have the commit: what it declared is in memory.
            _ => self.declared_before(),
        };
        let baseline = match (baseline, &in_force) {
            (Some(baseline), Some(id)) => Some(Baseline {
                commit: id,
                is_ancestor: self.reader.descends(commit, baseline.commit)?,
                declares: before.as_deref(),
                objects: baseline.objects,
                is_other_selection,
            }),
            _ => None,
        };
        Ok(decide(&Candidate {
            source: &self.situation.source,
            settings: &self.situation.settings,
            snapshot: &head.built.snapshot,
            baseline,
            left_behind: highest.as_deref().filter(|_| !follows_highest),
        }))
    }

    /// Whether the head in memory was read below another path than the spec names today, with other patterns of what
    /// does not count, or for other tiers.
    fn is_other_selection(&self) -> bool {
        let Situation { settings, head, .. } = self.situation;
        let selected = |head: &Arc<Head>| Selection::of(&head.built.settings);
        head.as_ref()
            .is_some_and(|head| selected(head) != Selection::of(settings))
    }

    /// What the head in memory declares: of that, what the scope of today covers.
    fn declared_before(&self) -> Option<Arc<Snapshot>> {
        let Situation { settings, head, .. } = self.situation;
        let mut snapshot = Snapshot::clone(&head.as_ref()?.built.snapshot);
        snapshot.entries.retain(|key, _| settings.coverage.covers(key));
        Some(Arc::new(snapshot))
    }

    /// The old head stays in force as a whole: the one in memory, or what the status records if it can be read. Another
    /// path, other patterns or tiers are a new commit, as it were: while it is not accepted the head is read as it was.
    fn keep(&self, refusal: Option<Refusal>, baseline: Option<InForce>) -> Judgement {
        let standing = baseline.as_ref().map_or(Ok(None), |baseline| baseline.standing.clone());
        let is_other_selection = self.is_other_selection();
        let recalled = baseline.filter(|_| !is_other_selection).and_then(|baseline| {
            let objects = baseline.objects;
            baseline.head.filter(|head| !is_void(&head.built.snapshot, objects))
        });
        Judgement {
            head: recalled.or_else(|| self.situation.head.clone()),
            refusal,
            highest: self.situation.highest,
            standing,
        }
    }

    /// A pin that goes back leaves the furthest commit where it is; all else that is accepted is the furthest.
    fn highest_after(&self, commit: ObjectId) -> Result<ObjectId, ReadError> {
        let Situation { settings, highest, .. } = self.situation;
        match *highest {
            Some(highest) if settings.reference.commit.is_some() && !self.reader.descends(commit, highest)? => {
                Ok(highest)
            }
            _ => Ok(commit),
        }
    }

    /// Notes in the mirror what is in force, and lets go of an older mirror that held it.
    fn settle(&self, judgement: Judgement) -> Result<Judgement, ReadError> {
        let Some((head, commit)) = judgement.head.as_ref().and_then(|head| Some((head, head.commit()?))) else {
            return Ok(judgement);
        };
        if !self.reader.has(commit)? {
            return Ok(judgement);
        }
        let selection = serde_json::to_string(&Selection::of(&head.built.settings));
        let selection = selection.map_err(|error| ReadError(error.to_string()))?;
        self.reader.record_accepted(commit, &selection)?;
        let store = &self.situation.store;
        if Arc::ptr_eq(&head.store, store) {
            return Ok(judgement);
        }
        let moved = Head {
            built: Arc::clone(&head.built),
            store: Arc::clone(store),
            tag: head.tag.clone(),
            accepted_at: head.accepted_at,
        };
        Ok(Judgement {
            head: Some(Arc::new(moved)),
            ..judgement
        })
    }
}

#[cfg(test)]
#[path = "evaluation_tests.rs"]
mod tests;
