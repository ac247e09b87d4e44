//! Forgeries of Calico's own bookkeeping.

use super::*;

#[test]
fn calicos_own_annotation_on_a_v3_object_is_a_forgery() -> Outcome {
    let set = |annotations: Value| {
        json!({
            "apiVersion": "projectcalico.org/v3", "kind": "NetworkSet",
            "metadata": {"name": "trusted", "namespace": "payments", "annotations": annotations},
            "spec": {"nets": ["10.0.0.0/8"]}
        })
    };
    let forged = set(json!({"projectcalico.org/metadata": "{\"labels\":{\"role\":\"admin\"}}"}));
    let plain = set(json!({}));
    // Calico would hide a stored object whose annotation it cannot read.
    let unreadable = set(json!({"projectcalico.org/metadata": "no JSON"}));
    let unreadable = with(unreadable, "", "apiVersion", json!("crd.projectcalico.org/v1"));
    assert_eq!(
        verdict(&create(unreadable)?, one(&[])?, &rules()),
        (Reason::ForgedMetadata, false)
    );
    let sources = || one(std::slice::from_ref(&plain));
    assert_eq!(
        verdict(&create(forged.clone())?, sources()?, &rules()),
        (Reason::ForgedMetadata, false)
    );
    assert_eq!(
        verdict(&update(plain.clone(), forged.clone())?, sources()?, &rules()),
        (Reason::ForgedMetadata, false)
    );
    assert_eq!(
        verdict(&update(forged, plain.clone())?, sources()?, &rules()),
        (Reason::MatchesHead, true)
    );
    Ok(())
}

#[test]
fn a_misplaced_calico_object_may_go_and_may_not_be_written() -> Outcome {
    let stored = |port: u16, name: &str| {
        json!({
            "apiVersion": "crd.projectcalico.org/v1", "kind": "NetworkPolicy",
            "metadata": {"name": "elsewhere", "namespace": "payments",
                         "annotations": {"projectcalico.org/metadata": json!({"name": name}).to_string()}},
            "spec": {"tier": "default", "types": ["Ingress"], "order": port}
        })
    };
    let misplaced = stored(1, "web");
    assert_eq!(
        verdict(&create(misplaced.clone())?, one(&[])?, &rules()),
        (Reason::ForgedMetadata, false)
    );
    assert_eq!(
        verdict(&update(misplaced.clone(), stored(2, "web"))?, one(&[])?, &rules()),
        (Reason::ForgedMetadata, false)
    );
    assert_eq!(
        verdict(&delete(misplaced)?, one(&[])?, &rules()),
        (Reason::Misplaced, true)
    );
    Ok(())
}

#[test]
fn calicos_deletion_timestamp_inside_the_annotation_is_judged_as_a_delete() -> Outcome {
    let stored = |metadata: Value| {
        json!({
            "apiVersion": "crd.projectcalico.org/v1", "kind": "NetworkSet",
            "metadata": {"name": "trusted", "namespace": "payments",
                         "annotations": {"projectcalico.org/metadata": metadata.to_string()}},
            "spec": {"nets": ["10.0.0.0/8"]}
        })
    };
    let plain = stored(json!({}));
    let going = stored(
        json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 0,
                              "finalizers": ["foregroundDeletion"]}),
    );
    let subject = update(plain.clone(), going)?;
    assert_eq!(subject.operation, Operation::Delete);
    assert_eq!(
        verdict(&subject, one(&[plain])?, &rules()),
        (Reason::StillDeclared, false)
    );
    Ok(())
}

#[test]
fn an_object_that_only_claims_to_be_going_is_a_forgery() -> Outcome {
    let stored = |annotation: Value, order: u16| {
        json!({
            "apiVersion": "crd.projectcalico.org/v1", "kind": "NetworkPolicy",
            "metadata": {"name": "web", "namespace": "payments",
                         "annotations": {"projectcalico.org/metadata": annotation.to_string()}},
            "spec": {"tier": "default", "types": ["Ingress"], "order": order}
        })
    };
    let git = stored(json!({}), 1);
    let going = stored(json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}), 1);
    let sources = || one(std::slice::from_ref(&git));
    assert_eq!(
        verdict(&create(going.clone())?, sources()?, &rules()),
        (Reason::ForgedMetadata, false)
    );
    let other = stored(json!({}), 2);
    assert_eq!(
        verdict(&update(other, going)?, sources()?, &rules()),
        (Reason::ForgedMetadata, false)
    );
    Ok(())
}

#[test]
fn a_stored_calico_policy_may_not_lose_its_types() -> Outcome {
    let stored = |spec: Value| {
        json!({
            "apiVersion": "crd.projectcalico.org/v1", "kind": "GlobalNetworkPolicy",
            "metadata": {"name": "deny", "annotations": {}}, "spec": spec
        })
    };
    let git = stored(json!({"tier": "default", "types": ["Ingress"]}));
    let without = stored(json!({"tier": "default"}));
    let sources = || one(std::slice::from_ref(&git));
    assert_eq!(
        verdict(&update(git.clone(), without.clone())?, sources()?, &rules()),
        (Reason::ForgedMetadata, false)
    );
    assert_eq!(
        verdict(&create(without.clone())?, sources()?, &rules()),
        (Reason::ForgedMetadata, false)
    );
    assert!(verdict(&update(without, git.clone())?, sources()?, &rules()).1);
    Ok(())
}
