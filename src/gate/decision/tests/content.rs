//! What is compared with what Git says: content, bookkeeping, finalizers, names.

use super::*;

#[test]
fn what_git_says_passes_and_anything_else_does_not() -> Outcome {
    let git = policy("payments", "web", 443);
    let declared = [git.clone()];
    let opened = policy("payments", "web", 8443);
    assert_eq!(
        verdict(&create(git.clone())?, one(&declared)?, &rules()),
        (Reason::MatchesHead, true)
    );
    assert_eq!(
        verdict(&create(opened.clone())?, one(&declared)?, &rules()),
        (Reason::Differs, false)
    );
    assert_eq!(
        verdict(&update(git.clone(), opened.clone())?, one(&declared)?, &rules()),
        (Reason::Differs, false)
    );
    assert_eq!(
        verdict(&update(opened, git)?, one(&declared)?, &rules()),
        (Reason::MatchesHead, true)
    );
    let rogue = policy("payments", "rogue", 1);
    assert_eq!(
        verdict(&create(rogue)?, one(&declared)?, &rules()),
        (Reason::NotDeclared, false)
    );
    Ok(())
}

#[test]
fn a_declared_object_may_not_go_and_an_adopted_undeclared_one_may() -> Outcome {
    let git = policy("payments", "web", 443);
    assert_eq!(
        verdict(&delete(git.clone())?, one(std::slice::from_ref(&git))?, &rules()),
        (Reason::StillDeclared, false)
    );
    let young = with(git, "/metadata", "creationTimestamp", json!(now().to_string()));
    assert_eq!(
        verdict(&delete(young)?, one(&[])?, &rules()),
        (Reason::AbsentAtHead, true)
    );
    Ok(())
}

#[test]
fn what_was_there_before_the_source_stays_unless_git_once_declared_it_or_prune_is_all() -> Outcome {
    let old = policy("payments", "legacy", 443);
    assert_eq!(
        verdict(&delete(old.clone())?, one(&[])?, &rules()),
        (Reason::NotAdopted, false)
    );
    let mut once = source("platform", &spec(), &[])?;
    once.formerly = Arc::new(HashSet::from([
        "networkpolicy.networking.k8s.io/payments/legacy".parse::<Key>()?
    ]));
    assert_eq!(
        verdict(&delete(old.clone())?, vec![once], &rules()),
        (Reason::AbsentAtHead, true)
    );
    let mut all = spec();
    all.sync.prune = Prune::All;
    assert_eq!(
        verdict(&delete(old)?, vec![source("platform", &all, &[])?], &rules()),
        (Reason::AbsentAtHead, true)
    );
    Ok(())
}

#[test]
fn an_update_that_changes_only_bookkeeping_passes_even_where_git_differs() -> Outcome {
    let live = policy("payments", "web", 8443);
    let touched = with(live.clone(), "/metadata", "resourceVersion", json!("77"));
    let sources = one(&[policy("payments", "web", 443)])?;
    assert_eq!(
        verdict(&update(live.clone(), touched)?, sources, &rules()),
        (Reason::NoChange, true)
    );
    let labelled = with(live.clone(), "/metadata", "labels", json!({"a": "b"}));
    let sources = one(&[policy("payments", "web", 443)])?;
    assert_eq!(
        verdict(&update(live, labelled)?, sources, &rules()),
        (Reason::Differs, false)
    );
    Ok(())
}

#[test]
fn finalizers_may_be_taken_only_from_an_object_that_is_being_deleted() -> Outcome {
    let held = with(
        policy("payments", "web", 443),
        "/metadata",
        "finalizers",
        json!(["example.com/hold"]),
    );
    let freed = policy("payments", "web", 443);
    let going = |object: Value| with(object, "/metadata", "deletionTimestamp", json!("2020-01-01T00:00:00Z"));
    assert_eq!(
        verdict(
            &update(held.clone(), freed.clone())?,
            one(std::slice::from_ref(&held))?,
            &rules()
        ),
        (Reason::Differs, false)
    );
    assert_eq!(
        verdict(
            &update(going(held.clone()), going(freed.clone()))?,
            one(std::slice::from_ref(&held))?,
            &rules()
        ),
        (Reason::NoChange, true)
    );
    assert!(!verdict(&update(going(freed), going(held))?, one(&[])?, &rules()).1);
    Ok(())
}

#[test]
fn the_end_of_a_namespace_takes_its_policies_and_changes_none() -> Outcome {
    let git = policy("payments", "web", 443);
    let terminating = HashSet::from(["payments".to_owned()]);
    let decide_on = |subject: &Subject| -> Result<(Reason, bool), Box<dyn std::error::Error>> {
        Ok(verdict_in(
            subject,
            one(std::slice::from_ref(&git))?,
            &rules(),
            &terminating,
        ))
    };
    let mut ended = delete(git.clone())?;
    ended.user.username = "system:serviceaccount:kube-system:namespace-controller".to_owned();
    assert_eq!(decide_on(&ended)?, (Reason::NamespaceTerminating, true));
    // The controller waits for the Pods to be gone; nobody may be faster.
    assert_eq!(decide_on(&delete(git.clone())?)?, (Reason::StillDeclared, false));
    assert_eq!(
        decide_on(&update(git.clone(), policy("payments", "web", 1))?)?,
        (Reason::Differs, false)
    );
    assert!(!decide_on(&delete(policy("other", "web", 443))?)?.1);
    // Of who ends namespaces, too, an update passes only where it is about finalizers.
    let mut changed = update(git.clone(), policy("payments", "web", 1))?;
    changed.user = ended.user;
    assert_eq!(decide_on(&changed)?, (Reason::Differs, false));
    Ok(())
}

#[test]
fn a_generated_name_is_refused() -> Outcome {
    let generated = with(
        policy("payments", "web-x7k2p", 443),
        "/metadata",
        "generateName",
        json!("web-"),
    );
    assert_eq!(
        verdict(&create(generated.clone())?, one(&[])?, &rules()),
        (Reason::GeneratedName, false)
    );
    Ok(())
}
