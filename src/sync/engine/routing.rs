//! Judges what is marked and sends each key where it belongs: nowhere, to the fetch that comes first, or to the queue.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;

use super::Engine;
use crate::policy::Key;
use crate::sync::plan::{self, Finding, Step};

impl Engine {
    pub(super) fn judge_dirty(&mut self) {
        if !self.is_ready() {
            return;
        }
        let now = Instant::now();
        let mut judged = Vec::with_capacity(self.dirty.len());
        for (key, since) in std::mem::take(&mut self.dirty) {
            if self.is_held_back(&key) {
                self.dirty.insert(key, since);
                continue;
            }
            judged.push((plan::judge(&key, &self.scene()), key, since));
        }
        // Source by source, and there namespace by namespace: what is written one after the other comes from one
        // repository, which is open, and one source after the other is done.
        judged.sort_unstable_by(|(one, key, _), (other, other_key, _)| {
            (one.sources.first(), key).cmp(&(other.sources.first(), other_key))
        });
        for (finding, key, since) in judged {
            self.route(key, finding, since, now);
        }
    }

    /// Sends a key where its finding belongs: nowhere, to the fetch that comes first, or to the queue.
    fn route(&mut self, key: Key, finding: Finding, since: Option<Instant>, now: Instant) {
        self.unqueue(&key);
        let doubt = self.doubtful.remove(&key).max(self.asked.remove(&key));
        let since = since.max(doubt);
        match finding.turn(key.kind()) {
            None => {
                self.setbacks.clear(&key);
            }
            Some(_) if self.setbacks.holds(&key, now) => {}
            Some(turn) => match since {
                Some(instant) if finding.steps.first().is_some_and(Step::undoes) => {
                    self.doubtful.insert(key.clone(), instant);
                }
                _ => self.enqueue(key.clone(), turn, since),
            },
        }
        self.keep(key, finding);
    }

    pub(super) fn keep(&mut self, key: Key, finding: Finding) {
        let before = self.findings.get(&key);
        if !finding.standing.is_worth_keeping() {
            self.progress.follow(before, None);
            self.unreported |= self.findings.remove(&key).is_some();
        } else if before != Some(&finding) {
            self.progress.follow(before, Some(&finding));
            self.unreported = true;
            self.findings.insert(key, finding);
        }
    }

    /// What somebody has just done to the cluster is undone before the rest of a first sync is written.
    pub(super) fn enqueue(&mut self, key: Key, turn: u8, since: Option<Instant>) {
        self.tickets += 1;
        let place = (turn, !self.is_event(&key, since), self.tickets);
        self.queue.insert((place, key.clone()));
        self.queued.insert(key, (place, since));
    }

    pub(super) fn unqueue(&mut self, key: &Key) {
        if let Some((place, _)) = self.queued.remove(key) {
            self.queue.remove(&(place, key.clone()));
        }
    }

    /// Whether a watch showed something at that instant: not what a list or a source brought up.
    pub(super) fn is_event(&self, key: &Key, since: Option<Instant>) -> bool {
        let listed = self.listed.get(&key.kind()).copied();
        since.is_some_and(|at| Some(at) > listed && !self.taken_up.concern(key, at))
    }

    /// Before anything is undone, one fetch that started after the cluster showed it: a commit fresher than this
    /// head is not undone, and all keys in doubt share the fetch.
    pub(super) fn begin_refresh(&mut self) {
        if self.refresh.is_some() || self.doubtful.is_empty() {
            return;
        }
        self.asked = std::mem::take(&mut self.doubtful);
        let mut sources: BTreeSet<Arc<str>> = BTreeSet::new();
        for key in self.asked.keys() {
            sources.extend(self.desired.covering(key).map(|source| Arc::clone(&source.name)));
        }
        let sources: Vec<Arc<str>> = sources.into_iter().collect();
        let since = self.asked.values().copied().max().unwrap_or_else(Instant::now);
        let keeper = self.keeper.clone();
        let patience = self.parts.refresh_patience;
        let refresh = async move {
            if let Some(why) = keeper.refresh(&sources, since, patience).await.failure() {
                tracing::debug!(why, "going on with the heads there are");
            }
        };
        self.refresh = Some(refresh.boxed());
    }

    /// Also when the fetch failed: then the head there is counts.
    pub(super) fn finish_refresh(&mut self) {
        self.refresh = None;
        self.take_desired_if_changed();
        let now = Instant::now();
        for (key, since) in std::mem::take(&mut self.asked) {
            if self.dirty.contains_key(&key) {
                continue;
            }
            let finding = plan::judge(&key, &self.scene());
            if let Some(turn) = finding.turn(key.kind())
                && !self.setbacks.holds(&key, now)
            {
                self.enqueue(key.clone(), turn, Some(since));
            }
            self.keep(key, finding);
        }
    }

    fn take_desired_if_changed(&mut self) {
        if !Arc::ptr_eq(&self.desired, &self.keeper.desired()) {
            self.take_desired();
        }
    }
}
