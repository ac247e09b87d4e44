//! How a source comes by its head: from the disk of an earlier process, and from what was fetched, if that is accepted.

use std::sync::Arc;

use gix::ObjectId;
use jiff::Timestamp;

use super::Task;
use crate::source::evaluation::{Judgement, Recalled, Situation};
use crate::source::home::Store;
use crate::source::keys::Keys;
use crate::source::mirror::Fetched;
use crate::source::reader::ReadError;
use crate::source::settings::Settings;

/// What an evaluation was made of.
pub(super) struct Basis {
    settings: Arc<Settings>,
    store: Arc<Store>,
    tip: Option<ObjectId>,
    tag: Option<ObjectId>,
    recorded: Option<ObjectId>,
    keys: Arc<Keys>,
}

impl Basis {
    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.settings, &other.settings)
            && Arc::ptr_eq(&self.store, &other.store)
            && self.tip == other.tip
            && self.tag == other.tag
            && Arc::ptr_eq(&self.keys, &other.keys)
            && self.recorded == other.recorded
    }
}

impl Task {
    /// Begins with the recorded head, if an earlier process left it on disk.
    pub(super) async fn recall(&mut self) {
        if self.wanted.invalid.is_some() || self.wanted.recorded.commit.is_none() {
            return;
        }
        let Ok(mirror) = self.open_mirror().await else {
            return;
        };
        let Some(store) = mirror.store() else {
            return;
        };
        let situation = self.situation(Arc::clone(&store), None);
        let blobs = self.shared.blobs.clone();
        match self.shared.read(move || situation.recall(&blobs)).await {
            Ok(Some(Recalled {
                head,
                tip,
                tag,
                standing,
            })) => {
                tracing::info!(commit = %head.built.snapshot.commit.id, "the recorded head was found on disk");
                self.head.send_replace(Some(head));
                self.standing = standing;
                self.fetched = Some(Fetched { store, tip, tag });
                self.publish();
            }
            Ok(None) => {}
            Err(_) => mirror.distrust(),
        }
    }

    /// Evaluates what was fetched last under the settings of today, if there is anything new about either.
    pub(super) async fn evaluate(&mut self) -> Result<(), ReadError> {
        let Some(fetched) = self.fetched.clone().filter(|_| self.wanted.invalid.is_none()) else {
            return Ok(());
        };
        let basis = Basis {
            settings: Arc::clone(&self.wanted.settings),
            store: Arc::clone(&fetched.store),
            tip: fetched.tip,
            tag: fetched.tag,
            // Only a replica without a head looks at what is recorded, and one that may judge as of a later moment.
            recorded: self
                .wanted
                .recorded
                .commit
                .filter(|_| self.head.borrow().is_none() || self.refusal.is_some()),
            keys: Arc::clone(&self.keys),
        };
        let is_old = self.evaluated.as_ref().is_some_and(|last| last.is_same(&basis));
        if is_old && !self.may_change_with_time() {
            return Ok(());
        }
        let situation = self.situation(fetched.store, fetched.tip);
        let blobs = self.shared.blobs.clone();
        match self.shared.read(move || situation.evaluate(&blobs)).await {
            Ok(judgement) => {
                self.evaluated = Some(basis);
                self.take(judgement);
                Ok(())
            }
            Err(error) => {
                // Damaged on disk: the next fetch starts from nothing.
                if let Some(mirror) = &self.mirror {
                    mirror.distrust();
                }
                self.fetched = None;
                Err(error)
            }
        }
    }

    fn situation(&self, store: Arc<Store>, tip: Option<ObjectId>) -> Situation {
        Situation {
            source: Arc::clone(&self.name),
            settings: Arc::clone(&self.wanted.settings),
            store,
            tip,
            head: self.head.borrow().clone(),
            recorded: self.wanted.recorded.clone(),
            highest: match *self.head.borrow() {
                Some(_) => self.highest,
                None => self.wanted.recorded.highest.or(self.wanted.recorded.commit),
            },
            keys: Arc::clone(&self.keys),
            now: Timestamp::now(),
        }
    }

    fn take(&mut self, judgement: Judgement) {
        if let Some(refusal) = judgement
            .refusal
            .as_ref()
            .filter(|refusal| Some(*refusal) != self.refusal.as_ref())
        {
            self.shared.metrics.refused(refusal.reason);
            tracing::warn!(
                commit = %refusal.commit, reason = refusal.reason.as_str(),
                "commit not accepted, the old head stays in force: {}", refusal.message
            );
        }
        self.refusal = judgement.refusal;
        if let Err(fault) = &judgement.standing
            && self.standing.as_ref().err() != Some(fault)
        {
            self.shared.metrics.unverified(fault.kind);
            tracing::warn!(
                reason = fault.kind.as_str(),
                "the commit in force no longer verifies: {}",
                fault.message
            );
        }
        self.standing = judgement.standing;
        self.highest = judgement.highest;
        let old = self.head.borrow().as_ref().map(|head| Arc::clone(&head.built));
        if let Some(head) = &judgement.head
            && old.is_none_or(|old| !Arc::ptr_eq(&old, &head.built))
        {
            let snapshot = &head.built.snapshot;
            tracing::info!(
                commit = %snapshot.commit.id, objects = snapshot.entries.len(), skipped = snapshot.skipped.len(),
                "commit {} is in force: {}", snapshot.commit.short(), snapshot.commit.subject
            );
        }
        self.head.send_replace(judgement.head);
    }
}
