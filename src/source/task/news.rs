//! What others say of the repository: commits that the status announces, and requests to look at it now.

use std::time::Instant;

use gix::ObjectId;

use super::Task;
use crate::source::reader::Reader;
use crate::source::wanted::Wanted;

impl Task {
    /// Follows what the source says now: each announcement and each request is one reason to fetch.
    pub(super) async fn heed(&mut self) {
        let now = Instant::now();
        if let Some(commit) = self.wanted.announced
            && !self.announcements.knows(commit)
            && !self.has(commit).await
        {
            self.announcements.follow(commit, now);
            self.pace.urge(now);
        }
        if self.heard != self.wanted.announcement {
            self.heard.clone_from(&self.wanted.announcement);
            // Whoever is asked meanwhile has to know.
            self.publish();
        }
        if self.wanted.refresh_requested != self.asked {
            self.asked.clone_from(&self.wanted.refresh_requested);
            self.pace.urge(now);
        }
    }

    /// Takes note of what a fetch that ended has answered, however it went.
    pub(super) async fn answer(&mut self, started: Instant, wanted: &Wanted) {
        let is_there = match self.announcements.commit() {
            Some(commit) => self.has(commit).await,
            None => false,
        };
        self.announcements.landed(started, Instant::now(), is_there);
        self.answered.clone_from(&wanted.refresh_requested);
    }

    /// Whether a commit is what was fetched last, or came before it.
    async fn has(&self, commit: ObjectId) -> bool {
        let head = self.head.borrow().as_ref().and_then(|head| head.commit());
        let Some(fetched) = self.fetched.clone() else {
            return head == Some(commit);
        };
        if [fetched.tip, head].contains(&Some(commit)) {
            return true;
        }
        let Some(tip) = fetched.tip else { return false };
        let looking = self
            .shared
            .read(move || Reader::open(fetched.store.dir())?.descends(tip, commit));
        // What cannot be told is not there: one fetch more.
        looking.await.unwrap_or(false)
    }

    /// The tip that was fetched last, where the status neither has it in force nor announces it: others may not know of it.
    pub(super) fn found(&self) -> Option<ObjectId> {
        let tip = self.fetched.as_ref()?.tip?;
        let recorded = &self.wanted.recorded;
        let is_pinned = self.wanted.settings.reference.commit.is_some();
        let told = [recorded.commit, recorded.highest, self.wanted.announced].contains(&Some(tip));
        let is_behind = self.formerly.is_behind(recorded.commit);
        (!is_pinned && !told && !is_behind).then_some(tip)
    }
}
