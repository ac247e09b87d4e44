//! What a grant lets pass, and what it does not.

use super::*;
use crate::gate::{Grant, PolicyGrant};

const CALICO: &str = "system:serviceaccount:calico-system:calico-apiserver";

fn grants(user: &str, objects: &Value, lasts: &str) -> Result<GrantSet, Box<dyn std::error::Error>> {
    let grant: PolicyGrant = serde_json::from_value(json!({
        "metadata": {"name": "g", "uid": "1", "creationTimestamp": now().to_string()},
        "spec": {"requestedBy": user, "objects": objects, "duration": lasts, "reason": "an outage"}
    }))?;
    // Made a minute ago, as far as this process knows.
    let seen = now() - SignedDuration::from_mins(1);
    Ok(GrantSet::new(vec![Grant::new(
        &grant,
        seen,
        crate::gate::GrantRules::default().max_duration,
    )?]))
}

fn web() -> Value {
    json!([{"kind": "networkpolicy.networking.k8s.io", "namespace": "payments", "name": "web"}])
}

fn granted(
    subject: &Subject,
    declared: &[Value],
    grants: &GrantSet,
) -> Result<(Reason, bool), Box<dyn std::error::Error>> {
    Ok(verdict_with(subject, one(declared)?, &rules(), &HashSet::new(), grants))
}

#[test]
fn a_grant_lets_its_user_write_and_delete_what_it_names_and_nothing_else() -> Outcome {
    let git = policy("payments", "web", 443);
    let opened = policy("payments", "web", 8443);
    let other = policy("payments", "rogue", 1);
    let declared = [git.clone()];
    let passes = (Reason::BreakGlass, true);
    let grants = grants("alice", &web(), "30m")?;
    for subject in [
        create(opened.clone())?,
        update(git.clone(), opened.clone())?,
        delete(git.clone())?,
    ] {
        assert_eq!(granted(&subject, &declared, &grants)?, passes);
        // What nobody declares and nobody covers, too.
        assert!(granted(&subject, std::slice::from_ref(&other), &grants)?.1);
    }
    assert_eq!(
        granted(&create(other)?, &declared, &grants)?,
        (Reason::NotDeclared, false)
    );
    let elsewhere = policy("orders", "web", 8443);
    assert_eq!(
        granted(&create(elsewhere)?, &declared, &grants)?,
        (Reason::NotDeclared, false)
    );
    // What Git says needs no grant.
    assert_eq!(
        granted(&update(opened, git)?, &declared, &grants)?,
        (Reason::MatchesHead, true)
    );
    Ok(())
}

#[test]
fn a_grant_covers_the_one_who_asked_for_it_only() -> Outcome {
    let git = policy("payments", "web", 443);
    let opened = create(policy("payments", "web", 8443))?;
    let grants = grants("bob", &web(), "30m")?;
    assert_eq!(granted(&opened, &[git], &grants)?, (Reason::Differs, false));
    Ok(())
}

#[test]
fn a_grant_ends_when_its_time_is_over_and_no_configuration_prolongs_it() -> Outcome {
    let git = [policy("payments", "web", 443)];
    let opened = create(policy("payments", "web", 8443))?;
    let live = |lasts: &str| -> Result<bool, Box<dyn std::error::Error>> {
        Ok(granted(&opened, &git, &grants("alice", &web(), lasts)?)?.1)
    };
    assert!(live("61s")?);
    assert!(!live("60s")?, "the last instant is the one before");
    Ok(())
}

#[test]
fn both_states_of_an_update_have_to_be_named() -> Outcome {
    let kind = "networkset.projectcalico.org";
    let object = |name: &str, stored: &str| {
        json!({"apiVersion": "crd.projectcalico.org/v1", "kind": "NetworkSet",
            "metadata": {"namespace": "payments", "name": stored, "annotations": {
                "projectcalico.org/metadata": json!({"name": name}).to_string()}},
            "spec": {"nets": ["10.0.0.0/8"]}})
    };
    // The stored object is, by its forged annotation, another one than it shall be.
    let subject = update(object("other", "web"), object("web", "web"))?;
    let grants = grants(
        "alice",
        &json!([{"kind": kind, "namespace": "payments", "name": "web"}]),
        "30m",
    )?;
    assert!(!granted(&subject, &[], &grants)?.1);

    // Nothing is forged here: both are names that Calico may have given this stored object, and one is granted.
    let policy = |name: &str| {
        json!({"apiVersion": "crd.projectcalico.org/v1", "kind": "NetworkPolicy",
            "metadata": {"namespace": "payments", "name": "default.web", "annotations": {
                "projectcalico.org/metadata": json!({"name": name}).to_string()}},
            "spec": {"tier": "default", "types": ["Ingress"]}})
    };
    let named =
        |name: &str| json!([{"kind": "networkpolicy.projectcalico.org", "namespace": "payments", "name": name}]);
    let renamed = update(policy("web"), policy("default.web"))?;
    let decided = |objects: Value| granted(&renamed, &[], &self::grants("alice", &objects, "30m")?);
    assert_eq!(decided(named("default.web"))?, (Reason::NotDeclared, false));
    assert_eq!(decided(named("*web"))?, (Reason::BreakGlass, true));
    Ok(())
}

#[test]
fn what_is_stored_under_a_forged_name_is_not_covered_by_a_grant_of_both_names() -> Outcome {
    let set = |name: &str| {
        json!({"apiVersion": "crd.projectcalico.org/v1", "kind": "NetworkSet",
            "metadata": {"namespace": "payments", "name": "web", "annotations": {
                "projectcalico.org/metadata": json!({"name": name}).to_string()}},
            "spec": {"nets": ["10.0.0.0/8"]}})
    };
    let all = json!([{"kind": "networkset.projectcalico.org", "namespace": "payments", "name": "*"}]);
    let grants = grants("alice", &all, "30m")?;
    let unmasked = update(set("other"), set("web"))?;
    assert_eq!(granted(&unmasked, &[], &grants)?, (Reason::NotDeclared, false));
    Ok(())
}

#[test]
fn forged_metadata_is_never_covered() -> Outcome {
    let forged = json!({"apiVersion": "crd.projectcalico.org/v1", "kind": "NetworkSet",
        "metadata": {"namespace": "payments", "name": "web", "annotations": {
            "projectcalico.org/metadata": r#"{"name": "other"}"#}},
        "spec": {"nets": ["10.0.0.0/8"]}});
    let all = json!([{"kind": "networkset.projectcalico.org", "namespace": "payments", "name": "*"}]);
    let grants = grants("alice", &all, "30m")?;
    assert_eq!(
        granted(&create(forged)?, &[], &grants)?,
        (Reason::ForgedMetadata, false)
    );
    // Its name is its own; the annotation is the forgery.
    let on_v3 = json!({"apiVersion": "projectcalico.org/v3", "kind": "NetworkSet",
        "metadata": {"namespace": "payments", "name": "web", "annotations": {"projectcalico.org/metadata": "{}"}},
        "spec": {"nets": ["10.0.0.0/8"]}});
    assert_eq!(granted(&create(on_v3)?, &[], &grants)?, (Reason::ForgedMetadata, false));
    let plain = policy("payments", "web", 1);
    assert!(!Reason::Unreadable.yields_to_grants() && !Reason::Internal.yields_to_grants());
    assert!(!granted(&create(plain)?, &[], &grants)?.1);
    Ok(())
}

#[test]
fn what_comes_through_calicos_server_is_covered_by_its_object() -> Outcome {
    let set = json!({"apiVersion": "crd.projectcalico.org/v1", "kind": "NetworkSet",
        "metadata": {"namespace": "payments", "name": "web"}, "spec": {"nets": ["10.0.0.0/8"]}});
    let objects = json!([{"kind": "networkset.projectcalico.org", "namespace": "payments", "name": "web"}]);
    let grants = grants("bob", &objects, "30m")?;
    let mut subject = create(set)?;
    assert!(!granted(&subject, &[], &grants)?.1);
    subject.user.username = CALICO.to_owned();
    assert_eq!(granted(&subject, &[], &grants)?, (Reason::BreakGlass, true));
    subject.api_group = "projectcalico.org".to_owned();
    assert!(!granted(&subject, &[], &grants)?.1, "only what it stores");
    Ok(())
}
