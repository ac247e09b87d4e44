//! What Calico's API server stores for others, and what exemptions and presets mean for it.

use super::*;
use crate::gate::PresetChoice;
use crate::gate::preset::expand;
use crate::gate::subject::CALICO_SERVERS;

const CONTROLLERS: &str = "system:serviceaccount:calico-system:calico-kube-controllers";
const OPERATOR: &str = "system:serviceaccount:tigera-operator:tigera-operator";

fn object(group_version: &str, namespace: &str, name: &str, annotation: Option<Value>) -> Value {
    let annotations = annotation.map(|text| json!({"projectcalico.org/metadata": text.to_string()}));
    json!({
        "apiVersion": group_version, "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations,
                     "creationTimestamp": "2019-01-01T00:00:00Z"},
        "spec": {"tier": "default", "types": ["Ingress"], "selector": "all()"}
    })
}

fn v3(namespace: &str, name: &str) -> Value {
    object("projectcalico.org/v3", namespace, name, None)
}

fn stored(namespace: &str, name: &str) -> Value {
    object("crd.projectcalico.org/v1", namespace, name, Some(json!({"name": name})))
}

fn by(user: &str, mut subject: Subject) -> Subject {
    user.clone_into(&mut subject.user.username);
    subject.user.groups = vec!["system:serviceaccounts".to_owned(), "system:authenticated".to_owned()];
    subject
}

fn presets(names: &[(&str, Option<Timestamp>)]) -> Result<Rules, Box<dyn std::error::Error>> {
    let choice = |(name, until): &(&str, Option<Timestamp>)| PresetChoice {
        name: (*name).to_owned(),
        until: *until,
    };
    let choices: Vec<PresetChoice> = names.iter().map(choice).collect();
    Ok(Rules {
        exemptions: expand(&choices)?,
        ..rules()
    })
}

fn exempt(spec: ExemptionSpec) -> Result<Rules, Box<dyn std::error::Error>> {
    let spec = ExemptionSpec {
        kinds: vec!["networkpolicy.projectcalico.org".to_owned()],
        reason: "test".to_owned(),
        ..spec
    };
    Ok(Rules {
        exemptions: vec![Exemption::new(spec)?],
        ..rules()
    })
}

#[test]
fn calicos_server_stores_what_git_declares_and_nothing_else() -> Outcome {
    let git = v3("payments", "web");
    for server in CALICO_SERVERS {
        let judge = |subject: Subject| -> Result<(Reason, bool), Box<dyn std::error::Error>> {
            Ok(verdict(
                &by(server, subject),
                one(std::slice::from_ref(&git))?,
                &rules(),
            ))
        };
        assert_eq!(judge(create(stored("payments", "web"))?)?, (Reason::MatchesHead, true));
        assert_eq!(
            judge(create(stored("payments", "rogue"))?)?,
            (Reason::NotDeclared, false)
        );
        assert_eq!(
            judge(delete(stored("payments", "web"))?)?,
            (Reason::StillDeclared, false)
        );
    }
    Ok(())
}

#[test]
fn what_the_operator_writes_on_v3_may_be_stored_and_nobody_else_gets_that_far() -> Outcome {
    let rules = presets(&[("tigera-operator", None)])?;
    let (own, theirs) = (
        ("calico-system", "calico-system.typha"),
        ("payments", "calico-system.typha"),
    );
    let on_v3 = |user, (namespace, name)| -> Result<bool, Box<dyn std::error::Error>> {
        Ok(verdict(&by(user, create(v3(namespace, name))?), one(&[])?, &rules).1)
    };
    assert!(on_v3(OPERATOR, own)?);
    assert!(!on_v3(OPERATOR, theirs)?);
    assert!(!on_v3("alice", own)?);
    for server in CALICO_SERVERS {
        let storing = |subject: Subject| -> Result<(Reason, bool), Box<dyn std::error::Error>> {
            Ok(verdict(&by(server, subject), one(&[])?, &rules))
        };
        assert_eq!(storing(create(stored(own.0, own.1))?)?, (Reason::Exempt, true));
        let touched = with(stored(own.0, own.1), "/spec", "selector", json!("has(x)"));
        assert_eq!(storing(update(stored(own.0, own.1), touched)?)?, (Reason::Exempt, true));
        assert!(!storing(create(stored(theirs.0, theirs.1))?)?.1);
        // On v3 the server itself is nobody special.
        assert!(!storing(create(v3(own.0, own.1))?)?.1);
    }
    Ok(())
}

#[test]
fn an_exemption_for_calicos_server_opens_deletes_to_nobody() -> Outcome {
    let by_user = ExemptionSpec {
        users: CALICO_SERVERS.map(str::to_owned).to_vec(),
        ..ExemptionSpec::default()
    };
    let by_group = ExemptionSpec {
        groups: vec!["system:serviceaccounts".to_owned()],
        ..ExemptionSpec::default()
    };
    let without_end = ExemptionSpec {
        operations: vec![Operation::Delete],
        ..by_user.clone()
    };
    let git = v3("payments", "web");
    for spec in [by_user, by_group, without_end] {
        let rules = exempt(spec)?;
        for server in CALICO_SERVERS {
            let judge = |subject: Subject| -> Result<Reason, Box<dyn std::error::Error>> {
                Ok(verdict(&by(server, subject), one(std::slice::from_ref(&git))?, &rules).0)
            };
            assert_eq!(judge(delete(stored("payments", "web"))?)?, Reason::StillDeclared);
            assert_eq!(judge(delete(stored("payments", "legacy"))?)?, Reason::NotAdopted);
            // Nor where the delete looks like an update.
            let going = object(
                "crd.projectcalico.org/v1",
                "payments",
                "web",
                Some(json!({"name": "web", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["orphan"]})),
            );
            assert_eq!(judge(update(stored("payments", "web"), going)?)?, Reason::StillDeclared);
        }
    }
    Ok(())
}

#[test]
fn anonymous_deletes_pass_only_while_a_preset_with_an_end_names_them() -> Outcome {
    let cleanup = |until| presets(&[("tigera-operator-cleanup", Some(until))]);
    let later = now() + SignedDuration::from_hours(1);
    let server = CALICO_SERVERS[0];
    let judge = |name: &str, rules: &Rules| -> Result<Reason, Box<dyn std::error::Error>> {
        let subject = by(server, delete(stored("calico-system", name))?);
        Ok(verdict(&subject, one(&[])?, rules).0)
    };
    assert_eq!(judge("allow-tigera.dns", &cleanup(later)?)?, Reason::Exempt);
    assert_eq!(judge("allow-tigera.dns", &cleanup(now())?)?, Reason::NotAdopted);
    assert_eq!(judge("web", &cleanup(later)?)?, Reason::NotAdopted);
    assert_eq!(
        judge("allow-tigera.dns", &presets(&[("tigera-operator", None)])?)?,
        Reason::NotAdopted
    );
    Ok(())
}

#[test]
fn the_name_migration_may_delete_the_prefixed_twin_of_what_git_declares_and_no_more() -> Outcome {
    let git = v3("payments", "web");
    let prefixed = || {
        object(
            "crd.projectcalico.org/v1",
            "payments",
            "default.web",
            Some(json!({"name": "web"})),
        )
    };
    let judge = |user: &str, subject: Subject, rules: &Rules| -> Result<Reason, Box<dyn std::error::Error>> {
        Ok(verdict(&by(user, subject), one(std::slice::from_ref(&git))?, rules).0)
    };
    let on = presets(&[("calico-policy-name-migration", None)])?;
    // Under its new name it is judged by its content.
    assert_eq!(
        judge(CONTROLLERS, create(stored("payments", "web"))?, &on)?,
        Reason::MatchesHead
    );
    let rogue = with(stored("payments", "web"), "/spec", "selector", json!("none()"));
    assert_eq!(judge(CONTROLLERS, create(rogue)?, &on)?, Reason::Differs);
    assert_eq!(judge(CONTROLLERS, delete(prefixed())?, &on)?, Reason::Exempt);
    assert_eq!(
        judge(CONTROLLERS, delete(stored("payments", "web"))?, &on)?,
        Reason::StillDeclared
    );
    assert_eq!(judge("alice", delete(prefixed())?, &on)?, Reason::StillDeclared);
    assert_eq!(
        judge(CALICO_SERVERS[0], delete(prefixed())?, &on)?,
        Reason::StillDeclared
    );
    assert_eq!(
        judge(CONTROLLERS, delete(prefixed())?, &rules())?,
        Reason::StillDeclared
    );
    Ok(())
}

#[test]
fn the_datastore_migration_copies_until_its_end_and_deletes_nothing() -> Outcome {
    let legacy = || v3("payments", "legacy");
    let judge = |until, subject: Subject| -> Result<Reason, Box<dyn std::error::Error>> {
        let rules = presets(&[("calico-datastore-migration", Some(until))])?;
        Ok(verdict(&by(CONTROLLERS, subject), one(&[])?, &rules).0)
    };
    let later = now() + SignedDuration::from_hours(1);
    assert_eq!(judge(later, create(legacy())?)?, Reason::Exempt);
    assert_eq!(judge(now(), create(legacy())?)?, Reason::NotDeclared);
    assert_eq!(judge(later, delete(legacy())?)?, Reason::NotAdopted);
    Ok(())
}

#[test]
fn a_forgery_is_refused_to_whoever_is_exempt() -> Outcome {
    let rules = exempt(ExemptionSpec {
        users: CALICO_SERVERS
            .iter()
            .chain(&["alice"])
            .map(ToString::to_string)
            .collect(),
        ..ExemptionSpec::default()
    })?;
    let forged = |group_version| object(group_version, "payments", "web", Some(json!({"name": "victim"})));
    for group_version in ["projectcalico.org/v3", "crd.projectcalico.org/v1"] {
        for user in CALICO_SERVERS.iter().chain(&["alice"]) {
            let subject = by(user, create(forged(group_version))?);
            assert_eq!(verdict(&subject, one(&[])?, &rules), (Reason::ForgedMetadata, false));
        }
    }
    Ok(())
}

#[test]
fn cilium_and_the_garbage_collector_write_only_what_belongs_to_another_policy() -> Outcome {
    let rules = presets(&[("cilium-derivatives", None), ("kubernetes-controllers", None)])?;
    let derivative = |labels: Value, owner: &str| {
        json!({
            "apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy",
            "metadata": {"name": "aws-togroups", "namespace": "payments", "labels": labels,
                         "ownerReferences": [{"apiVersion": "cilium.io/v2", "kind": owner, "name": "aws", "uid": "u"}]},
            "spec": {"endpointSelector": {}}
        })
    };
    let marked = || json!({"io.cilium.network.policy.kind": "derivative"});
    let cilium = "system:serviceaccount:kube-system:cilium-operator";
    let collector = "system:serviceaccount:kube-system:generic-garbage-collector";
    let passes = |user: &str, subject: Subject| -> Result<bool, Box<dyn std::error::Error>> {
        Ok(verdict(&by(user, subject), one(&[])?, &rules).1)
    };
    let owned = || derivative(marked(), "CiliumNetworkPolicy");
    assert!(passes(cilium, create(owned())?)?);
    assert!(passes(collector, delete(owned())?)?);
    assert!(!passes(cilium, create(derivative(json!({}), "CiliumNetworkPolicy"))?)?);
    assert!(!passes(cilium, create(derivative(marked(), "ConfigMap"))?)?);
    assert!(!passes("alice", create(owned())?)?);
    let left = |owner: &str| {
        let references = json!([{"apiVersion": "apps/v1", "kind": owner, "name": "db", "uid": "u"}]);
        with(
            policy("payments", "db", 5432),
            "/metadata",
            "ownerReferences",
            references,
        )
    };
    assert!(passes(collector, delete(left("StatefulSet"))?)?);
    assert!(!passes(collector, delete(left("ConfigMap"))?)?);
    assert!(!passes(collector, delete(policy("payments", "db", 5432))?)?);
    assert!(!passes(collector, create(left("StatefulSet"))?)?);
    Ok(())
}
