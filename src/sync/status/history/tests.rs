use std::collections::BTreeMap;

use super::*;
use crate::source::{Changes, Commit, Entries, Touch};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(second)
}

fn head(id: &str) -> Snapshot {
    Snapshot {
        commit: Commit {
            id: id.to_owned(),
            tree: String::new(),
            time: at(1),
            author: "Ada".to_owned(),
            subject: format!("Commit {id}"),
        },
        entries: Entries::default(),
        skipped: Vec::new(),
        ignored: 0,
    }
}

fn changed(count: usize) -> Passage {
    Passage {
        brought: Some(2),
        undone: Some(0),
        changes: Some(Changes {
            changed: count,
            ..Changes::default()
        }),
    }
}

fn step(before: Vec<HistoryEntry>, id: &str, from: &str, passage: &Passage, second: i64) -> Vec<HistoryEntry> {
    let head = head(id);
    let moved = Moved {
        head: &head,
        from: Some(from).filter(|from| !from.is_empty()),
        passage,
        pinned: false,
    };
    history(before, Some(&moved), false, at(second))
}

#[test]
fn a_commit_is_noted_with_what_it_touched_and_later_when_it_was_reached() -> Outcome {
    let touched = Passage {
        changes: Some(Changes {
            created: 1,
            first: BTreeMap::from([("tier.projectcalico.org/t".parse()?, Touch::Created)]),
            ..Changes::default()
        }),
        ..changed(0)
    };
    let noted = step(Vec::new(), "b", "a", &touched, 10);
    let entry = noted.first().ok_or("it is noted")?;
    assert_eq!(
        (entry.commit.as_str(), entry.from.as_str(), entry.commits, entry.created),
        ("b", "a", Some(2), Some(1))
    );
    assert_eq!(entry.objects.first().map(|it| it.change.as_str()), Some("Created"));
    assert_eq!((entry.accepted_at.0, &entry.applied_at), (at(10), &None));
    let reached = history(noted, None, true, at(12));
    assert_eq!(
        reached.first().and_then(|entry| entry.applied_at.clone()),
        Some(Time(at(12)))
    );
    let later = history(reached.clone(), None, true, at(99));
    assert_eq!(later, reached, "the first time counts");
    Ok(())
}

#[test]
fn a_commit_that_changes_nothing_in_policy_is_not_noted() {
    let noted = step(Vec::new(), "b", "a", &changed(1), 10);
    assert_eq!(step(noted.clone(), "c", "b", &changed(0), 11), noted);
}

#[test]
fn what_was_never_reached_stays_so_when_a_later_commit_is() {
    let noted = step(Vec::new(), "b", "a", &changed(1), 10);
    let both = step(noted, "c", "b", &changed(1), 11);
    let reached = history(both, None, true, at(12));
    let applied: Vec<bool> = reached.iter().map(|entry| entry.applied_at.is_some()).collect();
    assert_eq!(applied, [true, false]);
}

#[test]
fn what_cannot_be_compared_any_more_is_noted_without_numbers() {
    let noted = step(Vec::new(), "b", "a", &Passage::default(), 10);
    let counts = noted
        .first()
        .map(|entry| (entry.commits, entry.created, entry.changed, entry.removed));
    assert_eq!(counts, Some((None, None, None, None)));
}

#[test]
fn twenty_commits_are_kept() {
    let mut noted = Vec::new();
    for number in 0..30 {
        noted = step(noted, &format!("c{number}"), "x", &changed(1), number);
    }
    assert_eq!(noted.len(), 20);
    assert_eq!(noted.first().map(|entry| entry.commit.as_str()), Some("c29"));
    assert_eq!(noted.last().map(|entry| entry.commit.as_str()), Some("c10"));
}
