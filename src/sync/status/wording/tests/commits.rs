//! Commits that are in force, announced or refused.

use super::*;

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
