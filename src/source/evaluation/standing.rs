//! What signatures say of the commit in force, and of one that is to follow it.

use std::sync::Arc;

use gix::ObjectId;
use jiff::Timestamp;

use super::{Evaluation, Head, InForce, Situation};
use crate::source::reader::ReadError;
use crate::source::resource::VerifyMode;
use crate::source::verification::{Standing, Verifier};

impl Evaluation<'_> {
    /// Whether the commit in force still counts.
    pub(super) fn standing(&self, commit: ObjectId) -> Result<Standing, ReadError> {
        if !self.asks() || !self.reader.has(commit)? {
            return Ok(Ok(None));
        }
        let (verifier, tag) = (self.verifier(), self.vouching_tag(commit)?);
        let standing = verifier.head(commit, tag.as_deref(), self.judged_at(commit)?)?;
        if standing.is_ok() || self.head_in_memory(commit).is_none() {
            return Ok(standing);
        }
        // The same commit may have been tagged anew since, with a key that still counts.
        match verifier.tag_of(commit)? {
            Some(newer) if Some(&newer) != tag.as_ref() => {
                let anew = verifier.head(commit, Some(&newer), self.situation.now)?;
                Ok(if anew.is_ok() { anew } else { standing })
            }
            _ => Ok(standing),
        }
    }

    /// Whether another commit may follow the one in force.
    pub(super) fn admit(&self, commit: ObjectId, in_force: Option<&InForce>) -> Result<Standing, ReadError> {
        // A commit that only the status names, and that does not verify, starts no chain.
        let trusted = in_force.filter(|in_force| in_force.head.is_some() || in_force.standing.is_ok());
        let accepted: Vec<ObjectId> = match trusted {
            Some(in_force) => [in_force.commit].into_iter().chain(self.situation.highest).collect(),
            None => Vec::new(),
        };
        let verifier = self.verifier();
        let tag = if self.asks() { verifier.tag_of(commit)? } else { None };
        verifier.candidate(commit, tag.as_deref(), &accepted, self.judged_at(commit)?)
    }

    /// The moment as of which a commit's signatures are judged: its first acceptance. For the commit in force that is
    /// on record, so that all replicas judge alike; anything new is accepted now. What the furthest head descends from
    /// was accepted, or came along, long ago: nobody knows when, so its own date counts.
    pub(super) fn judged_at(&self, commit: ObjectId) -> Result<Timestamp, ReadError> {
        let Situation {
            recorded, highest, now, ..
        } = self.situation;
        if let Some(head) = self.head_in_memory(commit) {
            return Ok(head.accepted_at);
        }
        if recorded.commit == Some(commit) {
            return Ok(recorded.verified_at.map_or(*now, |at| at.min(*now)));
        }
        match *highest {
            Some(highest) if self.asks() && self.reader.descends(highest, commit)? => {
                Ok(self.reader.committed_at(commit)?.min(*now))
            }
            _ => Ok(*now),
        }
    }

    /// The annotated tag that speaks for a commit: for the head in memory the one that did when it was accepted, which
    /// may have moved on since.
    pub(super) fn vouching_tag(&self, commit: ObjectId) -> Result<Option<Arc<[u8]>>, ReadError> {
        match self.head_in_memory(commit) {
            Some(head) => Ok(head.tag.clone()),
            None if self.asks() => self.verifier().tag_of(commit),
            None => Ok(None),
        }
    }

    fn head_in_memory(&self, commit: ObjectId) -> Option<&Head> {
        let head = self.situation.head.as_deref()?;
        (head.commit() == Some(commit)).then_some(head)
    }

    fn asks(&self) -> bool {
        self.situation.settings.verification.mode != VerifyMode::None
    }

    fn verifier(&self) -> Verifier<'_> {
        let Situation { settings, keys, .. } = self.situation;
        Verifier {
            reader: self.reader,
            rules: &settings.verification,
            reference: &settings.reference,
            keys,
        }
    }
}
