use std::collections::HashMap;
use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::policy::Key;
use crate::source::keeper::{Attempt, Refusal};
use crate::source::{Commit, Settings, Skipped, UrlRules};

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
        entries: HashMap::new(),
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
fn what_another_process_announced_stays_until_this_one_has_looked() -> Outcome {
    let state = state(&json!({"git": {"url": "https://git.example.com/x.git"}}))?;
    let before = PolicySourceStatus {
        announced: "0".repeat(40),
        ..PolicySourceStatus::default()
    };
    let now = std::time::Instant::now();
    let awaiting = SourceState {
        awaited: Some(crate::source::Awaited { since: now, until: now }),
        ..state.clone()
    };
    let announced = |state, heard: &str| {
        let look = SourceReport {
            heard: heard.to_owned(),
            ..look()?
        };
        told_of((state, &json!({})), Some(&before), &look, None).map(|status| status.announced)
    };
    assert_eq!(announced(&state, "")?, before.announced, "it was not heard of yet");
    assert_eq!(announced(&awaiting, &before.announced)?, before.announced);
    assert_eq!(announced(&state, &before.announced)?, COMMIT);
    Ok(())
}

#[test]
fn the_adoption_is_dated_once_and_never_before_what_was_there() -> Outcome {
    let first = told(None, &look()?, None, &json!({}))?;
    assert_eq!(first.adopted_at, Some(Time("2026-01-02T00:00:01Z".parse()?)));
    let mut early = first.clone();
    early.adopted_at = Some(Time("2025-01-01T00:00:00Z".parse()?));
    assert_eq!(
        told(Some(&early), &look()?, None, &json!({}))?.adopted_at,
        early.adopted_at
    );
    let without_head = SourceReport { head: None, ..look()? };
    assert_eq!(told(None, &without_head, None, &json!({}))?.adopted_at, None);
    Ok(())
}

#[test]
fn a_source_that_comes_to_speak_for_others_is_adopted_anew() -> Outcome {
    let (shop, pay) = (
        json!({"scope": {"namespaces": ["shop"]}}),
        json!({"scope": {"namespaces": ["shop", "pay"]}}),
    );
    let mut before = told(None, &look()?, None, &shop)?;
    let long_ago = Some(Time("2025-01-01T00:00:00Z".parse()?));
    before.adopted_at.clone_from(&long_ago);
    assert_eq!(told(Some(&before), &look()?, None, &shop)?.adopted_at, long_ago);
    let after = told(Some(&before), &look()?, None, &pay)?;
    assert_eq!(after.adopted_at, Some(Time("2026-01-02T00:00:01Z".parse()?)));
    // Without a head the new scope is not adopted yet, and the status goes on saying so.
    let without_head = SourceReport { head: None, ..look()? };
    let waiting = told(Some(&before), &without_head, None, &pay)?;
    assert_eq!(
        (&waiting.adopted_at, &waiting.adopted_scope),
        (&long_ago, &before.adopted_scope)
    );
    assert_ne!(after.adopted_scope, before.adopted_scope);
    // Nor while the head is one of the old scope, or the report one of the old spec.
    let of_the_old_scope = SourceReport {
        scope_pending: true,
        ..look()?
    };
    let of_the_old_spec = SourceReport {
        generation: Some(2),
        ..look()?
    };
    for look in [of_the_old_scope, of_the_old_spec] {
        let waiting = told(Some(&before), &look, None, &pay)?;
        assert_eq!(
            (&waiting.adopted_at, &waiting.adopted_scope),
            (&long_ago, &before.adopted_scope)
        );
    }
    // The status of an older release does not say which scope it was.
    before.adopted_scope.clear();
    let older = told(Some(&before), &look()?, None, &pay)?;
    assert_eq!(
        (&older.adopted_at, &older.adopted_scope),
        (&long_ago, &after.adopted_scope)
    );
    // Where the spec was changed since, the scope may have been, too.
    before.observed_generation = Some(2);
    let widened = told(Some(&before), &look()?, None, &pay)?;
    assert_eq!(widened.adopted_at, after.adopted_at);
    // And it is remembered that nobody knows, until there is a head.
    let waiting = told(Some(&before), &without_head, None, &pay)?;
    assert_eq!(waiting.adopted_at, long_ago);
    let later = told(Some(&waiting), &look()?, None, &pay)?;
    assert_eq!(later.adopted_at, after.adopted_at);
    Ok(())
}

#[test]
fn a_process_without_a_head_leaves_the_baseline_as_it_was() -> Outcome {
    let before = told(None, &look()?, Some(&tally()), &json!({}))?;
    let nothing_yet = SourceReport {
        generation: Some(3),
        ..SourceReport::default()
    };
    let after = told(Some(&before), &nothing_yet, None, &json!({}))?;
    assert_eq!((&after.head, &after.highest_head), (&before.head, &before.highest_head));
    assert_eq!(after.adopted_at, before.adopted_at);
    assert_eq!(says(&after, "Ready"), "Unknown NotFetchedYet");
    Ok(())
}

#[test]
fn a_status_that_names_a_commit_which_was_never_here_keeps_its_head() -> Outcome {
    let mut before = told(None, &look()?, Some(&tally()), &json!({}))?;
    let ahead = "a".repeat(40);
    if let Some(head) = &mut before.head {
        head.commit.clone_from(&ahead);
    }
    before.announced.clone_from(&ahead);
    let after = told(Some(&before), &look()?, Some(&tally()), &json!({}))?;
    assert_eq!((&after.head, &after.announced), (&before.head, &ahead));
    let further = SourceReport {
        passed: Arc::new([ahead.clone()].into()),
        heard: ahead,
        ..look()?
    };
    let after = told(Some(&before), &further, Some(&tally()), &json!({}))?;
    assert_eq!(after.announced, COMMIT);
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
fn a_refused_commit_is_what_the_table_shows() -> Outcome {
    let refused = SourceReport {
        refusal: Some(Refusal {
            commit: "bad".to_owned(),
            reason: RefusalReason::TooManyRemovals,
            message: "removes 40 of 50 objects".to_owned(),
        }),
        ..look()?
    };
    let status = told(None, &refused, Some(&tally()), &json!({}))?;
    assert_eq!(says(&status, "Ready"), "False TooManyRemovals");
    assert_eq!(
        says(&status, "Synced"),
        "True Synced",
        "healing goes on towards the old head"
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
fn signatures_are_told_with_who_signed_or_why_they_do_not_count() -> Outcome {
    use crate::source::keeper::{RefusalReason, SignatureFault, Verification};
    let spec = json!({"verify": {"mode": "Head", "keysSecretRef": {"name": "k"}}});
    let tell = |look: &SourceReport| told(None, look, Some(&tally()), &spec);
    let at = Some("2026-01-01T12:00:00.7Z".parse()?);
    let signed = SourceReport {
        verification: Verification::Signed {
            by: "ada (SHA256:x)".to_owned(),
            keys_problem: None,
        },
        verified_at: at,
        ..look()?
    };
    let status = tell(&signed)?;
    assert_eq!(
        (says(&status, "Verified").as_str(), says(&status, "Ready").as_str()),
        ("True Verified", "True Synced")
    );
    let first = status.head.clone().and_then(|head| head.verified_at);
    assert_eq!(first, Some(Time("2026-01-01T12:00:00Z".parse()?)));
    // A later process judges as of the same moment.
    let later = SourceReport {
        verified_at: Some("2026-06-01T00:00:00Z".parse()?),
        ..signed.clone()
    };
    let again = told(Some(&status), &later, Some(&tally()), &spec)?;
    assert_eq!(again.head.and_then(|head| head.verified_at), first);

    let refused = SourceReport {
        refusal: Some(Refusal {
            commit: COMMIT.to_owned(),
            reason: RefusalReason::NotVerified(SignatureFault::Unsigned),
            message: "it is not signed".to_owned(),
        }),
        ..signed.clone()
    };
    let status = tell(&refused)?;
    for name in ["Verified", "Accepted", "Ready"] {
        assert_eq!(says(&status, name), "False Unsigned", "{name}");
    }
    for kept in [true, false] {
        let fault = SignatureFault::KeyRevoked;
        let message = "the key is revoked".to_owned();
        let failed = SourceReport {
            verification: Verification::Failed { fault, message, kept },
            ..signed.clone()
        };
        let status = tell(&failed)?;
        assert_eq!(says(&status, "Verified"), "False KeyRevoked");
        assert_eq!(
            (says(&status, "Accepted").as_str(), says(&status, "Ready").as_str()),
            ("True Accepted", "False KeyRevoked")
        );
    }
    Ok(())
}

#[test]
fn a_repository_that_cannot_be_read_says_which_commit_is_in_force_all_the_same() -> Outcome {
    let tell = |confirmed: bool, head: bool| -> Result<String, Box<dyn std::error::Error>> {
        let mut state = state(&json!({"git": {"url": "https://git.example.com/x.git"}}))?;
        state.confirmed_at = confirmed.then_some("2026-01-01T00:00:00Z".parse()?);
        let mut look = look()?;
        look.head = look.head.filter(|_| head);
        look.attempt = Some(Attempt {
            at: "2026-01-02T00:00:00Z".parse()?,
            outcome: Err("cut off after 1m".to_owned()),
        });
        let status = status_of(&Facts {
            generation: Some(3),
            before: None,
            look: &look,
            state: Some(&state),
            tally: None,
            moved: None,
            overlapping: Vec::new(),
            complete: true,
            scope: String::new(),
            gate_mode: Mode::Enforce,
            configuration: "",
            now: "2026-01-02T00:00:00.5Z".parse()?,
        });
        let fetched = status.conditions.iter().find(|condition| condition.type_ == "Fetched");
        Ok(fetched.map(|condition| condition.message.clone()).unwrap_or_default())
    };
    assert_eq!(tell(true, true)?, "cut off after 1m; 3f2a91c stays in force");
    assert_eq!(
        tell(false, true)?,
        "cut off after 1m; 3f2a91c is in force, as an earlier process left it on disk"
    );
    assert_eq!(tell(false, false)?, "cut off after 1m");
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
