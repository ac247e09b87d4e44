//! Which source decides, and what happens where it cannot.

use super::*;

#[test]
fn nothing_passes_without_a_source_or_without_a_head() -> Outcome {
    let subject = create(policy("payments", "web", 443))?;
    assert_eq!(verdict(&subject, Vec::new(), &rules()), (Reason::NotCovered, false));
    let lenient = Rules {
        uncovered: Uncovered::Allow,
        ..rules()
    };
    assert_eq!(verdict(&subject, Vec::new(), &lenient), (Reason::Uncovered, true));
    let mut headless = source("platform", &spec(), &[])?;
    headless.head = None;
    headless.had_head = false;
    assert_eq!(
        verdict(&subject, vec![headless.clone()], &rules()),
        (Reason::HeadUnknown, false)
    );
    assert_eq!(
        verdict(&subject, vec![headless], &lenient),
        (Reason::HeadUnknown, false)
    );
    Ok(())
}

#[test]
fn a_source_that_lost_its_head_blocks_what_the_others_do_not_declare() -> Outcome {
    let git = policy("payments", "web", 443);
    let mut lost = source("team", &spec(), &[])?;
    lost.head = None;
    let mut never = lost.clone();
    never.had_head = false;
    let platform = || source("platform", &spec(), std::slice::from_ref(&git));
    let rogue = create(policy("payments", "rogue", 1))?;
    assert_eq!(
        verdict(&create(git.clone())?, vec![platform()?, lost.clone()], &rules()),
        (Reason::MatchesHead, true)
    );
    assert_eq!(
        verdict(&rogue, vec![platform()?, lost], &rules()),
        (Reason::HeadUnknown, false)
    );
    assert_eq!(
        verdict(&rogue, vec![platform()?, never], &rules()),
        (Reason::NotDeclared, false)
    );
    Ok(())
}

#[test]
fn the_higher_priority_wins_and_equal_ones_conflict() -> Outcome {
    let (a, b) = (policy("payments", "web", 443), policy("payments", "web", 8443));
    let high = PolicySourceSpec { priority: 10, ..spec() };
    let subject = create(b.clone())?;
    let first = source("a", &spec(), &[a])?;
    assert_eq!(
        verdict(
            &subject,
            vec![first.clone(), source("b", &spec(), std::slice::from_ref(&b))?],
            &rules()
        ),
        (Reason::Conflict, false)
    );
    assert_eq!(
        verdict(&subject, vec![first, source("b", &high, &[b])?], &rules()),
        (Reason::MatchesHead, true)
    );
    Ok(())
}

#[test]
fn a_source_speaks_only_for_its_scope() -> Outcome {
    let scoped = PolicySourceSpec {
        scope: Some(Scope {
            namespaces: Some(vec!["payments".to_owned()]),
            ..Scope::default()
        }),
        ..spec()
    };
    let other = policy("kube-system", "web", 443);
    let sources = vec![source("team", &scoped, std::slice::from_ref(&other))?];
    assert_eq!(verdict(&create(other)?, sources, &rules()), (Reason::NotCovered, false));
    Ok(())
}

#[test]
fn a_stale_head_refuses_where_the_source_says_so() -> Outcome {
    let git = policy("payments", "web", 443);
    let strict = PolicySourceSpec {
        when_stale: WhenStale::Deny,
        ..spec()
    };
    for (spec, expected) in [(spec(), Reason::MatchesHead), (strict, Reason::Stale)] {
        let mut stale = source("platform", &spec, std::slice::from_ref(&git))?;
        stale.confirmed_at = Some(now() - SignedDuration::from_mins(11));
        assert_eq!(verdict(&create(git.clone())?, vec![stale], &rules()).0, expected);
    }
    Ok(())
}

#[test]
fn objects_go_with_a_source_that_is_being_removed_with_prune() -> Outcome {
    let git = policy("payments", "web", 443);
    let mut prune = spec();
    prune.sync.on_removal = OnRemoval::Prune;
    for (spec, expected) in [(spec(), Reason::StillDeclared), (prune, Reason::SourceBeingRemoved)] {
        let mut going = source("platform", &spec, std::slice::from_ref(&git))?;
        going.being_removed = true;
        assert_eq!(verdict(&delete(git.clone())?, vec![going], &rules()).0, expected);
    }
    Ok(())
}

#[test]
fn a_source_without_its_head_is_not_overruled_by_one_of_lower_priority() -> Outcome {
    let git = policy("payments", "web", 443);
    let tenant = || source("tenant", &spec(), std::slice::from_ref(&git));
    let high = PolicySourceSpec {
        priority: 100,
        ..spec()
    };
    let mut platform = source("platform", &high, &[])?;
    platform.head = None;
    let subject = create(git.clone())?;
    let verdict_with = |platform: &SourceState| -> Result<(Reason, bool), Box<dyn std::error::Error>> {
        Ok(verdict(&subject, vec![platform.clone(), tenant()?], &rules()))
    };
    assert_eq!(verdict_with(&platform)?, (Reason::HeadUnknown, false));
    platform.had_head = false;
    assert_eq!(verdict_with(&platform)?, (Reason::MatchesHead, true));
    Ok(())
}

#[test]
fn a_kind_is_guarded_in_the_namespaces_beside_it_and_free_in_others() -> Outcome {
    let text =
        "{group: apps, version: v1, kind: Deployment, plural: deployments, namespaced: true, namespaces: [payments]}";
    serde_saphyr::from_str::<crate::policy::GenericKind>(text)?.register()?;
    let object = |namespace: &str| json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": namespace}});
    let declared = [object("payments"), object("web")];
    for (subject, expected) in [
        (create(object("payments"))?, (Reason::MatchesHead, true)),
        (delete(object("payments"))?, (Reason::StillDeclared, false)),
        (create(object("web"))?, (Reason::NotGuarded, true)),
        (delete(object("web"))?, (Reason::NotGuarded, true)),
    ] {
        assert_eq!(
            verdict(&subject, one(&declared)?, &rules()),
            expected,
            "{}",
            subject.key
        );
    }
    Ok(())
}

#[test]
fn a_head_that_no_longer_verifies_refuses_where_the_source_says_so() -> Outcome {
    use crate::source::resource::{SecretRef, Verify, VerifyMode, WhenUnverified};
    let git = policy("payments", "web", 443);
    let asks = |when_unverified| PolicySourceSpec {
        verify: Verify {
            mode: VerifyMode::Head,
            keys_secret_ref: Some(SecretRef { name: "k".to_owned() }),
            when_unverified,
            ..Verify::default()
        },
        ..spec()
    };
    for (when, is_unverified, expected) in [
        (WhenUnverified::Keep, true, Reason::MatchesHead),
        (WhenUnverified::Deny, false, Reason::MatchesHead),
        (WhenUnverified::Deny, true, Reason::Unverified),
    ] {
        let mut state = source("platform", &asks(when), std::slice::from_ref(&git))?;
        state.is_unverified = is_unverified;
        assert_eq!(
            verdict(&create(git.clone())?, vec![state.clone()], &rules()).0,
            expected
        );
        // What is not declared would be nobody's else.
        let rogue = verdict(&create(policy("payments", "rogue", 443))?, vec![state], &rules()).0;
        let is_refused_alike = if expected == Reason::Unverified {
            Reason::Unverified
        } else {
            Reason::NotDeclared
        };
        assert_eq!(rogue, is_refused_alike);
    }
    Ok(())
}
