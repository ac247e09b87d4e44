//! Commits that the source's status announces: reasons to fetch, and to hold a request until that was done.

use std::time::{Duration, Instant};

use gix::ObjectId;

use super::flight::QUIET;

/// Requests that the older head would let pass wait for an announced commit at most this long, all together.
const HOLD: Duration = Duration::from_secs(2);

/// An announced commit that this replica does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// A fetch that starts then or later brings it.
    pub since: Instant,
    /// From then on the head there is decides again, whatever was announced.
    pub until: Instant,
}

/// What became of announcements. Nothing in them is trusted: whatever they name, it is a reason for a fetch and for a wait
/// that ends by itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Announcements {
    /// The one that was followed last: each is followed once.
    followed: Option<ObjectId>,
    awaited: Option<(ObjectId, Awaited)>,
    /// When a fetch last came back without what had been announced.
    in_vain: Option<Instant>,
}

impl Announcements {
    /// Whether this commit was followed before.
    pub(super) fn knows(&self, commit: ObjectId) -> bool {
        self.followed == Some(commit)
    }

    /// Follows a commit that this replica does not have. Requests wait for it, unless one that was announced moments ago
    /// turned out not to be there. A wait that is under way is not prolonged by the next announcement.
    pub(super) fn follow(&mut self, commit: ObjectId, now: Instant) {
        self.followed = Some(commit);
        if self.in_vain.is_some_and(|at| now < at + QUIET) {
            return;
        }
        let until = self.awaited.map_or(now + HOLD, |(_, before)| before.until);
        self.awaited = Some((commit, Awaited { since: now, until }));
    }

    /// Takes note of a fetch that ended, and whether the awaited commit is there now.
    pub(super) fn landed(&mut self, started: Instant, ended: Instant, is_there: bool) {
        let Some((_, awaited)) = self.awaited else {
            return;
        };
        if is_there {
            self.awaited = None;
        } else if started >= awaited.since {
            self.awaited = None;
            self.in_vain = Some(ended);
        }
    }

    /// The commit that is awaited, for requests.
    pub(super) fn awaited(&self) -> Option<Awaited> {
        self.awaited.map(|(_, awaited)| awaited)
    }

    /// The commit that is awaited.
    pub(super) fn commit(&self) -> Option<ObjectId> {
        self.awaited.map(|(commit, _)| commit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(number: u8) -> ObjectId {
        ObjectId::Sha1([number; 20])
    }

    #[test]
    fn an_announced_commit_is_awaited_until_a_later_fetch_has_it() {
        let start = Instant::now();
        let announced = start + Duration::from_millis(1);
        let mut announcements = Announcements::default();
        announcements.follow(commit(1), announced);
        let awaited = announcements.awaited();
        assert_eq!(awaited.map(|awaited| awaited.until), Some(announced + HOLD));
        // One that was under way already, and did not bring it.
        announcements.landed(start, announced, false);
        assert_eq!(announcements.awaited(), awaited);
        announcements.landed(announced, announced, true);
        assert_eq!(announcements.awaited(), None);
        announcements.follow(commit(2), announced);
        assert!(announcements.awaited().is_some(), "what came true costs nothing");
    }

    #[test]
    fn announcements_without_end_hold_nobody_for_longer_than_one_does() {
        let start = Instant::now();
        let mut announcements = Announcements::default();
        for number in 0..100 {
            announcements.follow(commit(number), start + Duration::from_millis(100) * u32::from(number));
            let until = announcements.awaited().map(|awaited| awaited.until);
            assert_eq!(until, Some(start + HOLD), "announcement {number}");
        }
    }

    #[test]
    fn after_an_announcement_in_vain_nobody_waits_for_the_next_ones() {
        let start = Instant::now();
        let mut announcements = Announcements::default();
        announcements.follow(commit(1), start);
        announcements.landed(start, start, false);
        assert_eq!(announcements.awaited(), None);
        announcements.follow(commit(2), start + QUIET / 2);
        assert!(announcements.knows(commit(2)), "it is a reason to fetch all the same");
        assert_eq!(announcements.awaited(), None);
        announcements.follow(commit(3), start + QUIET);
        assert!(announcements.awaited().is_some());
    }
}
