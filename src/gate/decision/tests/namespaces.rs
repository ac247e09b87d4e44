//! Deletions of namespaces.

use super::*;
use crate::gate::wording::namespace_denial;
use crate::gate::{NamespaceDeletion, decide_namespace};

fn review(metadata: Value, operation: Operation) -> Result<Option<NamespaceDeletion>, Box<dyn std::error::Error>> {
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
    let object_or = |wanted| {
        if operation == wanted {
            Value::Null
        } else {
            object.clone()
        }
    };
    let review = json!({"request": {
        "uid": "u", "kind": {"group": "", "version": "v1", "kind": "Namespace"}, "operation": operation,
        "userInfo": {"username": "system:serviceaccount:headgate-system:headgate-sync"},
        "object": object_or(Operation::Delete), "oldObject": object_or(Operation::Create)
    }});
    let request = Request::read(review.to_string().as_bytes()).map_err(|(_, error)| error)?;
    Ok(NamespaceDeletion::of(&request))
}

fn guarding() -> Rules {
    Rules {
        guard_namespaces: true,
        ..rules()
    }
}

/// Reason, whether it passes, and the denial's text.
fn judge(
    metadata: Value,
    sources: Vec<SourceState>,
    rules: &Rules,
) -> Result<(Reason, bool, String), Box<dyn std::error::Error>> {
    let deletion = review(metadata, Operation::Delete)?.ok_or("this is a deletion")?;
    let desired = DesiredState::new(sources.into_iter().map(Arc::new).collect());
    let terminating = HashSet::new();
    let basis = Basis {
        desired: &desired,
        rules,
        grants: &GrantSet::default(),
        terminating: &terminating,
        now: now(),
    };
    let (verdict, declarers) = decide_namespace(&deletion, basis);
    let text = namespace_denial(&deletion.name, verdict.reason, &declarers);
    Ok((verdict.reason, verdict.allowed, text))
}

fn payments() -> Value {
    json!({"name": "payments"})
}

#[test]
fn a_namespace_stays_while_git_declares_policies_in_it_and_the_refusal_counts_them_by_source() -> Outcome {
    let here = [policy("payments", "a", 1), policy("payments", "b", 2)];
    let platform = source(
        "platform",
        &spec(),
        &[policy("payments", "deny", 3), policy("other", "x", 4)],
    )?;
    let sources = vec![source("team", &spec(), &here)?, platform];
    let (reason, allowed, text) = judge(payments(), sources.clone(), &guarding())?;
    assert_eq!((reason, allowed), (Reason::NamespaceDeclared, false));
    assert!(text.starts_with("Namespace payments may not be deleted: Git still declares 3 policies in it."));
    assert!(
        text.contains("source: team, 2 policies") && text.contains("source: platform, 1 policy"),
        "{text}"
    );
    assert!(!text.contains("git.example.com") && !text.contains(".yaml"), "{text}");
    let (reason, allowed, _) = judge(payments(), sources, &rules())?;
    assert_eq!((reason, allowed), (Reason::NotGuarded, true));
    Ok(())
}

#[test]
fn a_namespace_without_declared_policies_goes_and_so_does_one_that_is_going() -> Outcome {
    let elsewhere = || one(&[policy("other", "x", 1)]);
    assert_eq!(judge(payments(), elsewhere()?, &guarding())?.0, Reason::AbsentAtHead);
    let going = json!({"name": "other", "deletionTimestamp": "2026-01-01T00:00:00Z"});
    assert!(judge(going, elsewhere()?, &guarding())?.1);
    let mut prune = spec();
    prune.sync.on_removal = OnRemoval::Prune;
    let mut leaving = source("team", &prune, &[policy("payments", "a", 1)])?;
    assert!(!judge(payments(), vec![leaving.clone()], &guarding())?.1);
    leaving.being_removed = true;
    assert!(judge(payments(), vec![leaving], &guarding())?.1);
    Ok(())
}

#[test]
fn a_namespace_stays_while_a_source_that_speaks_for_it_lost_its_head() -> Outcome {
    let scoped = PolicySourceSpec {
        scope: Some(Scope {
            namespaces: Some(vec!["pay*".to_owned()]),
            ..Scope::default()
        }),
        ..spec()
    };
    let mut lost = source("team", &scoped, &[])?;
    lost.head = None;
    assert_eq!(
        judge(payments(), vec![lost.clone()], &guarding())?.0,
        Reason::HeadUnknown
    );
    assert!(judge(json!({"name": "web"}), vec![lost.clone()], &guarding())?.1);
    lost.had_head = false;
    assert!(judge(payments(), vec![lost], &guarding())?.1);
    Ok(())
}

#[test]
fn in_audit_a_namespace_goes_if_no_source_in_force_declares_anything_there() -> Outcome {
    let audit = PolicySourceSpec {
        mode: Mode::Audit,
        ..spec()
    };
    let trial = || source("trial", &audit, &[policy("payments", "a", 1)]);
    let declared = (Reason::NamespaceDeclared, true);
    let (reason, allowed, _) = judge(payments(), vec![trial()?], &guarding())?;
    assert_eq!((reason, allowed), declared);
    let team = source("team", &spec(), &[policy("payments", "b", 1)])?;
    assert!(!judge(payments(), vec![trial()?, team.clone()], &guarding())?.1);
    let gate = Rules {
        mode: Mode::Audit,
        ..guarding()
    };
    let (reason, allowed, _) = judge(payments(), vec![team], &gate)?;
    assert_eq!((reason, allowed), declared);
    Ok(())
}

#[test]
fn nothing_but_a_deletion_of_a_namespace_is_judged_as_one() -> Outcome {
    assert!(review(payments(), Operation::Create)?.is_none());
    assert!(review(payments(), Operation::Update)?.is_none());
    let named = review(payments(), Operation::Delete)?;
    assert!(named.is_some_and(|deletion| deletion.name == "payments" && !deletion.is_going));
    Ok(())
}
