use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::policy::Key;
use crate::source::keeper::{Attempt, Refusal};
use crate::source::{Commit, Entries, Settings, Skipped, UrlRules};

mod adoption;
mod commits;

type Outcome = Result<(), Box<dyn std::error::Error>>;

const COMMIT: &str = "3f2a91c000000000000000000000000000000000";

fn snapshot() -> Result<Arc<Snapshot>, Box<dyn std::error::Error>> {
    Ok(Arc::new(Snapshot {
        commit: Commit {
            id: COMMIT.to_owned(),
            tree: "7ee".to_owned(),
            time: "2026-01-01T00:00:00Z".parse()?,
            author: "Ada <ada@example.com>".to_owned(),
            subject: "Let the web in".to_owned(),
        },
        entries: Entries::default(),
        skipped: Vec::new(),
        ignored: 0,
    }))
}

fn look() -> Result<SourceReport, Box<dyn std::error::Error>> {
    Ok(SourceReport {
        generation: Some(3),
        attempt: Some(Attempt {
            at: "2026-01-02T00:00:00.5Z".parse()?,
            outcome: Ok(()),
        }),
        head: Some(snapshot()?),
        highest_head: Some(COMMIT.to_owned()),
        ..SourceReport::default()
    })
}

fn tally() -> Tally {
    Tally {
        commit: Some(COMMIT.to_owned()),
        ..Tally::default()
    }
}

fn state(spec: &serde_json::Value) -> Result<SourceState, Box<dyn std::error::Error>> {
    Ok(SourceState {
        name: "s".into(),
        settings: Arc::new(Settings::from_spec(
            &serde_json::from_value(spec.clone())?,
            &UrlRules::default(),
        )?),
        head: Some(snapshot()?),
        had_head: true,
        confirmed_at: None,
        adopted_at: None,
        being_removed: false,
        is_unverified: false,
        is_behind: false,
        formerly: Arc::default(),
        awaited: None,
    })
}

/// The status of a source of which this is known, at half a second past midnight.
fn told(
    before: Option<&PolicySourceStatus>,
    look: &SourceReport,
    tally: Option<&Tally>,
    spec: &serde_json::Value,
) -> Result<PolicySourceStatus, Box<dyn std::error::Error>> {
    let mut all = json!({"git": {"url": "https://git.example.com/x.git"}});
    if let (Some(all), Some(spec)) = (all.as_object_mut(), spec.as_object()) {
        all.extend(spec.clone());
    }
    told_of((&state(&all)?, spec), before, look, tally)
}

/// The same, of a state that this process is in.
fn told_of(
    (state, spec): (&SourceState, &serde_json::Value),
    before: Option<&PolicySourceStatus>,
    look: &SourceReport,
    tally: Option<&Tally>,
) -> Result<PolicySourceStatus, Box<dyn std::error::Error>> {
    told_in(state, spec["scope"].to_string(), before, look, tally)
}

fn told_in(
    state: &SourceState,
    scope: String,
    before: Option<&PolicySourceStatus>,
    look: &SourceReport,
    tally: Option<&Tally>,
) -> Result<PolicySourceStatus, Box<dyn std::error::Error>> {
    Ok(status_of(&Facts {
        generation: Some(3),
        before,
        look,
        state: Some(state),
        tally,
        moved: None,
        overlapping: Vec::new(),
        complete: true,
        scope,
        gate_mode: Mode::Enforce,
        configuration: "",
        now: "2026-01-02T00:00:00.5Z".parse()?,
    }))
}

fn says(status: &PolicySourceStatus, name: &str) -> String {
    let condition = status.conditions.iter().find(|condition| condition.type_ == name);
    condition.map_or_else(String::new, |found| format!("{} {}", found.status, found.reason))
}

#[test]
fn a_source_that_is_in_sync_says_so_in_every_condition() -> Outcome {
    let status = told(None, &look()?, Some(&tally()), &json!({}))?;
    assert_eq!(says(&status, "Fetched"), "True Fetched");
    assert_eq!(says(&status, "Verified"), "Unknown NotConfigured");
    assert_eq!(says(&status, "Accepted"), "True Accepted");
    assert_eq!(says(&status, "Synced"), "True Synced");
    assert_eq!(says(&status, "Ready"), "True Synced");
    assert_eq!(
        (status.short_commit.as_str(), status.announced.as_str()),
        ("3f2a91c", COMMIT)
    );
    assert_eq!(status.observed_generation, Some(3));
    assert!(
        status
            .conditions
            .iter()
            .all(|condition| condition.observed_generation == Some(3))
    );
    Ok(())
}

#[test]
fn a_source_that_was_not_read_for_too_long_says_so_and_is_not_ready_where_it_refuses() -> Outcome {
    let spec =
        |when: &str| json!({"git": {"url": "https://git.example.com/x.git"}, "staleAfter": "10m", "whenStale": when});
    for (when, read_at, fresh, ready) in [
        ("Allow", "2026-01-01T23:51:00Z", "True Fresh", "True Synced"),
        ("Allow", "2026-01-01T23:49:00Z", "False Stale", "True Synced"),
        ("Deny", "2026-01-01T23:51:00Z", "True Fresh", "True Synced"),
        ("Deny", "2026-01-01T23:49:00Z", "False Stale", "False Stale"),
    ] {
        let state = SourceState {
            confirmed_at: Some(read_at.parse()?),
            ..state(&spec(when))?
        };
        let status = told_of((&state, &spec(when)), None, &look()?, Some(&tally()))?;
        assert_eq!(
            (says(&status, "Fresh"), says(&status, "Ready")),
            (fresh.to_owned(), ready.to_owned()),
            "{when} {read_at}"
        );
    }
    let suspended = told(None, &look()?, Some(&tally()), &json!({"suspend": true}))?;
    assert_eq!(says(&suspended, "Fresh"), "Unknown Suspended");
    let not_yet = told(None, &look()?, Some(&tally()), &json!({}))?;
    assert_eq!(says(&not_yet, "Fresh"), "Unknown NotConfirmedYet");
    Ok(())
}

#[test]
fn a_transition_is_dated_only_when_the_status_changes() -> Outcome {
    let mut before = told(None, &look()?, Some(&tally()), &json!({}))?;
    let long_ago = Time("2020-01-01T00:00:00Z".parse()?);
    for condition in &mut before.conditions {
        condition.last_transition_time = long_ago.clone();
    }
    let failed = SourceReport {
        attempt: Some(Attempt {
            at: "2026-01-02T00:00:00Z".parse()?,
            outcome: Err("cannot reach git.example.com".to_owned()),
        }),
        ..look()?
    };
    let after = told(Some(&before), &failed, Some(&tally()), &json!({}))?;
    assert_eq!(says(&after, "Ready"), "False FetchFailed");
    assert_eq!(says(&after, "Accepted"), "True Accepted", "the old head stays in force");
    for condition in &after.conditions {
        let changed = matches!(condition.type_.as_str(), "Fetched" | "Ready");
        assert_eq!(
            condition.last_transition_time != long_ago,
            changed,
            "{}",
            condition.type_
        );
    }
    assert_eq!(
        after.fetched_at, before.fetched_at,
        "only a fetch that succeeded counts"
    );
    Ok(())
}

#[test]
fn what_the_loop_cannot_do_has_its_reason() -> Outcome {
    let key: Key = "networkpolicy.networking.k8s.io/payments/web".parse()?;
    let synced = |tally: &Tally| -> Result<String, Box<dyn std::error::Error>> {
        Ok(says(&told(None, &look()?, Some(tally), &json!({}))?, "Synced"))
    };
    let failing = Tally {
        failing: 3,
        failing_examples: [(key.clone(), "not this one".to_owned())].into(),
        drift: 3,
        ..tally()
    };
    assert_eq!(synced(&failing)?, "False WriteFailed");
    let conflict = Tally {
        conflicts: 1,
        conflict_examples: [key.clone()].into(),
        conflicting: ["shop".into(), "web".into()].into(),
        ..tally()
    };
    assert_eq!(synced(&conflict)?, "False Conflict");
    let told = told(None, &look()?, Some(&conflict), &json!({}))?;
    let message = told.conditions.iter().find(|condition| condition.type_ == "Synced");
    assert!(message.is_some_and(|condition| condition.message.contains(": shop and web. ")));
    let not_served = Tally {
        not_served: [key.kind()].into(),
        ..tally()
    };
    assert_eq!(synced(&not_served)?, "False KindNotServed");
    assert_eq!(synced(&Tally { drift: 2, ..tally() })?, "False Applying");
    let waiting = Tally {
        waiting: 1,
        waiting_for: ["later".to_owned()].into(),
        ..tally()
    };
    assert_eq!(synced(&waiting)?, "True WaitingForNamespace");
    let of_another_commit = Tally {
        commit: Some("older".to_owned()),
        ..tally()
    };
    assert_eq!(synced(&of_another_commit)?, "Unknown NotLookedYet");
    Ok(())
}

#[test]
fn what_is_only_watched_on_purpose_is_ready() -> Outcome {
    let drifted = Tally { drift: 2, ..tally() };
    for (spec, reason) in [
        (json!({"mode": "Audit"}), "Audit"),
        (json!({"suspend": true}), "Suspended"),
        (json!({"sync": {"enabled": false}}), "GateOnly"),
    ] {
        let status = told(None, &look()?, Some(&drifted), &spec)?;
        assert_eq!(says(&status, "Synced"), format!("Unknown {reason}"));
        assert_eq!(says(&status, "Ready"), format!("True {reason}"));
        assert_eq!(status.drift, 2);
    }
    Ok(())
}

#[test]
fn what_is_outside_the_scope_is_told_with_its_path() -> Outcome {
    let mut head = Snapshot::clone(&*snapshot()?);
    head.skipped = (0..22)
        .rev()
        .map(|number| {
            Ok(Skipped {
                path: format!("web/{number:02}.yaml"),
                line: 3,
                key: format!("networkpolicy.networking.k8s.io/web/p{number}").parse()?,
                why: "namespace web is not among spec.scope.namespaces".to_owned(),
            })
        })
        .collect::<Result<_, Box<dyn std::error::Error>>>()?;
    let look = SourceReport {
        head: Some(Arc::new(head)),
        ..look()?
    };
    let status = told(None, &look, Some(&tally()), &json!({}))?;
    let paths: Vec<&str> = status.skipped.iter().map(|skipped| skipped.path.as_str()).collect();
    assert_eq!(
        (paths.len(), paths.first(), paths.last()),
        (20, Some(&"web/00.yaml"), Some(&"web/19.yaml"))
    );
    let accepted = status.conditions.iter().find(|condition| condition.type_ == "Accepted");
    assert_eq!(
        accepted.map(|condition| condition.message.as_str()),
        Some(
            "3f2a91c is in force. Left out, since it is outside the scope: web/00.yaml:3: namespace web is not among \
             spec.scope.namespaces (and 21 more)."
        )
    );
    assert_eq!(says(&status, "Ready"), "True Synced");
    Ok(())
}

#[test]
fn a_first_sync_or_a_long_prune_says_how_far_it_is() -> Outcome {
    let working = Tally {
        drift: 5790,
        progress: Some(Progress {
            done: 4210,
            total: 10_000,
        }),
        ..tally()
    };
    let status = told(None, &look()?, Some(&working), &json!({}))?;
    let told_progress = status.progress.clone().ok_or("no progress")?;
    assert_eq!((told_progress.done, told_progress.total), (4210, 10_000));
    let synced = status.conditions.iter().find(|condition| condition.type_ == "Synced");
    let message = synced.map(|condition| condition.message.clone()).unwrap_or_default();
    assert!(message.contains("3f2a91c: 4210 of 10000 objects are done"), "{message}");
    let done = told(Some(&status), &look()?, Some(&tally()), &json!({}))?;
    assert_eq!(done.progress, None);
    Ok(())
}
