//! What passes although Git does not say it: exemptions, trials, dry runs.

use super::*;

#[test]
fn an_exemption_lets_its_user_write_its_objects_and_must_name_both_states() -> Outcome {
    let exemption = Exemption::new(ExemptionSpec {
        users: vec!["alice".to_owned()],
        kinds: vec!["networkpolicy.networking.k8s.io".to_owned()],
        labels: [("managed".to_owned(), "yes".to_owned())].into(),
        reason: "test".to_owned(),
        ..ExemptionSpec::default()
    })?;
    let rules = Rules {
        exemptions: vec![exemption],
        ..rules()
    };
    let plain = policy("payments", "web", 1);
    let marked = with(plain.clone(), "/metadata", "labels", json!({"managed": "yes"}));
    assert_eq!(
        verdict(&create(marked.clone())?, one(&[])?, &rules),
        (Reason::Exempt, true)
    );
    assert!(!verdict(&update(plain.clone(), marked)?, one(&[plain])?, &rules).1);
    Ok(())
}

#[test]
fn an_exemption_holds_until_its_end_and_not_a_second_longer() -> Outcome {
    let subject = create(policy("payments", "web", 1))?;
    for (until, expected) in [
        (now() + SignedDuration::from_secs(1), (Reason::Exempt, true)),
        (now(), (Reason::NotDeclared, false)),
    ] {
        let exemption = Exemption::new(ExemptionSpec {
            users: vec!["alice".to_owned()],
            kinds: vec!["networkpolicy.networking.k8s.io".to_owned()],
            until: Some(until),
            reason: "test".to_owned(),
            ..ExemptionSpec::default()
        })?;
        let rules = Rules {
            exemptions: vec![exemption],
            ..rules()
        };
        assert_eq!(verdict(&subject, one(&[])?, &rules), expected);
    }
    Ok(())
}

#[test]
fn audit_lets_pass_what_it_would_refuse() -> Outcome {
    let subject = create(policy("payments", "rogue", 1))?;
    let audit = Rules {
        mode: Mode::Audit,
        ..rules()
    };
    assert_eq!(verdict(&subject, one(&[])?, &audit), (Reason::NotDeclared, true));
    let spec = PolicySourceSpec {
        mode: Mode::Audit,
        ..spec()
    };
    assert_eq!(
        verdict(&subject, vec![source("platform", &spec, &[])?], &rules()),
        (Reason::NotDeclared, true)
    );
    assert_eq!(verdict(&subject, Vec::new(), &rules()), (Reason::NotCovered, false));
    Ok(())
}

#[test]
fn a_dry_run_passes_with_a_warning_only_where_the_configuration_says_so() -> Outcome {
    let warn = Rules {
        dry_run: DryRun::Warn,
        ..rules()
    };
    let real = create(policy("payments", "rogue", 1))?;
    let dry = Subject {
        dry_run: true,
        ..real.clone()
    };
    assert_eq!(verdict(&dry, one(&[])?, &rules()), (Reason::NotDeclared, false));
    assert_eq!(verdict(&dry, one(&[])?, &warn), (Reason::NotDeclared, true));
    assert_eq!(verdict(&real, one(&[])?, &warn), (Reason::NotDeclared, false));
    let desired = DesiredState::new(one(&[])?.into_iter().map(Arc::new).collect());
    let basis = Basis {
        desired: &desired,
        rules: &warn,
        grants: &GrantSet::default(),
        terminating: &HashSet::new(),
        now: now(),
    };
    assert_eq!(decide(&dry, basis).lenience, Some(Lenience::DryRun));
    Ok(())
}

#[test]
fn a_source_on_trial_takes_nothing_from_those_in_force() -> Outcome {
    let subject = create(policy("payments", "rogue", 1))?;
    let audit = PolicySourceSpec {
        mode: Mode::Audit,
        ..spec()
    };
    let trial = || source("a-trial", &audit, &[]);
    let both = vec![trial()?, source("team", &spec(), &[])?];
    assert_eq!(verdict(&subject, both, &rules()), (Reason::NotDeclared, false));
    assert_eq!(verdict(&subject, vec![trial()?], &rules()), (Reason::NotDeclared, true));
    Ok(())
}
