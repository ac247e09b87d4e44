//! The commits that changed a source's policy: a list in its status, so that a restart and another leader know it.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::wording::whole_second;
use crate::source::resource::{HistoryEntry, TouchedObject};
use crate::source::{Passage, Snapshot};

/// So many commits are kept.
const KEPT: usize = 20;

/// A head that came into force after the one that the status names.
pub(super) struct Moved<'a> {
    /// The new one.
    pub(super) head: &'a Snapshot,
    /// The one before; none for a source's first.
    pub(super) from: Option<&'a str>,
    /// What lies between them.
    pub(super) passage: &'a Passage,
    /// Whether the source is pinned to it.
    pub(super) pinned: bool,
}

/// The history after a look: with the head that came into force, if that says anything differently, and with the moment
/// at which the cluster had reached the newest entry.
pub(super) fn history(
    before: Vec<HistoryEntry>,
    moved: Option<&Moved<'_>>,
    is_reached: bool,
    now: Timestamp,
) -> Vec<HistoryEntry> {
    let mut history = before;
    if let Some(entry) = moved.and_then(|moved| entry(moved, now)) {
        history.insert(0, entry);
        history.truncate(KEPT);
    }
    // What a later commit replaced before it was reached never was.
    if let Some(newest) = history
        .first_mut()
        .filter(|newest| newest.applied_at.is_none() && is_reached)
    {
        newest.applied_at = Some(Time(whole_second(now)));
    }
    history
}

fn entry(moved: &Moved<'_>, now: Timestamp) -> Option<HistoryEntry> {
    let Moved {
        head,
        from,
        passage,
        pinned,
    } = moved;
    let changes = passage.changes.as_ref();
    if changes.is_some_and(crate::source::Changes::is_empty) {
        return None;
    }
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let first = changes.iter().flat_map(|changes| &changes.first);
    Some(HistoryEntry {
        commit: head.commit.id.clone(),
        from: from.unwrap_or_default().to_owned(),
        author: head.commit.author.clone(),
        subject: head.commit.subject.clone(),
        time: Some(Time(whole_second(head.commit.time))),
        commits: passage.brought.map(number),
        undone: passage.undone.map(number),
        pinned: *pinned,
        created: changes.map(|changes| number(changes.created)),
        changed: changes.map(|changes| number(changes.changed)),
        removed: changes.map(|changes| number(changes.removed)),
        objects: first
            .map(|(key, touch)| TouchedObject {
                object: key.to_string(),
                change: touch.as_str().to_owned(),
            })
            .collect(),
        accepted_at: Time(whole_second(now)),
        applied_at: None,
    })
}

#[cfg(test)]
mod tests;
