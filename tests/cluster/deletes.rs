//! Every way of deleting, besides those in `gate`: what Git declares stays, and what it does not can go.

use axum::http::Request;
use serde_json::json;

use crate::controlplane::ControlPlane;
use crate::policies::default_deny;
use crate::stand::{NAMESPACE, Said, Stand};
use crate::{Failure, Outcome, denied_namespace, stand};

fn delete(stand: &Stand, namespace: &str, name: &str, more: &[&str]) -> Said {
    stand.kubectl(&[&["delete", "networkpolicy", name, "-n", namespace], more].concat())
}

#[test]
fn no_propagation_policy_takes_away_what_git_declares() -> Outcome {
    let stand = stand()?;
    denied_namespace(&stand, "del-propagation")?;
    for cascade in ["--cascade=foreground", "--cascade=orphan", "--cascade=background"] {
        let said = delete(&stand, "del-propagation", "deny", &[cascade, "--wait=false"]).refused()?;
        assert!(said.contains("still declared in Git"), "{cascade}: {said}");
        let metadata = stand.get("networkpolicy/deny", Some("del-propagation"))?["metadata"].clone();
        assert!(
            metadata["deletionTimestamp"].is_null() && metadata["finalizers"].is_null(),
            "{cascade}: {metadata}"
        );
    }
    Ok(())
}

#[test]
fn the_garbage_collector_may_not_take_what_git_declares_though_its_owner_is_gone() -> Outcome {
    let stand = stand()?;
    stand.kubectl(&["create", "namespace", "del-owner"]).ok()?;
    let references = "  ownerReferences:\n    - {apiVersion: v1, kind: ConfigMap, name: gone, \
        uid: 5f3c1b1e-0000-4000-8000-000000000000}\nspec:";
    let owned = default_deny("del-owner").replace("spec:", references);
    stand.repository.write("policies/del-owner/deny.yaml", &owned)?;
    let commit = stand.repository.commit("A policy whose owner is gone")?;
    stand.until_ready_at("platform", &commit)?;
    let record = stand.until("the garbage collector to be refused", || {
        let records = stand.records("webhook")?.into_iter();
        let mut about = records.filter(|record| record["key"] == "networkpolicy.networking.k8s.io/del-owner/deny");
        Ok(about.find(|record| record["operation"] == "DELETE"))
    })?;
    assert_eq!(
        record["user"]["username"],
        "system:serviceaccount:kube-system:generic-garbage-collector"
    );
    assert_eq!(
        (&record["outcome"], &record["reason"]),
        (&"denied".into(), &"StillDeclared".into())
    );
    let live = stand.get("networkpolicy/deny", Some("del-owner"))?;
    assert!(
        live["metadata"]["uid"].is_string() && live["metadata"]["deletionTimestamp"].is_null(),
        "{live}"
    );
    stand
        .repository
        .write("policies/del-owner/deny.yaml", &default_deny("del-owner"))?;
    let commit = stand.repository.commit("A policy without an owner")?;
    stand.until_ready_at("platform", &commit)
}

/// What the loop does not prune, people may delete, in every way.
#[test]
fn what_git_declares_no_longer_may_go_in_every_way_and_its_finalizers_hold_it_up() -> Outcome {
    let stand = stand()?;
    let namespace = "del-gone";
    stand.kubectl(&["create", "namespace", namespace]).ok()?;
    let file = |name: &str| default_deny(namespace).replace("name: deny", &format!("name: {name}"));
    let held = file("held").replace("spec:", "  finalizers: [example.com/hold]\nspec:");
    let names = ["foreground", "orphan", "background"];
    for name in names {
        stand.repository.write(&format!("others/{name}.yaml"), &file(name))?;
    }
    stand.repository.write("others/held.yaml", &held)?;
    stand.repository.write("others/anchor.yaml", &file("anchor"))?;
    let first = stand.repository.commit("Policies that somebody else deploys")?;
    let spec = json!({"git": {"path": "others"}, "scope": {"namespaces": [namespace]}, "priority": 10,
                      "sync": {"enabled": false, "prune": "All"}, "maxRemovals": "90%"});
    stand.add_source("others", spec)?;
    let until_in_force = |commit: &str| {
        stand.until("the source's head", || {
            let source = stand.get("policysource/others", None)?;
            Ok((source["status"]["head"]["commit"] == commit).then_some(()))
        })
    };
    until_in_force(&first)?;
    for name in names {
        stand.apply(&file(name)).ok()?;
    }
    stand.apply(&held).ok()?;
    let patch = |patch: &str| {
        let arguments = [
            "patch",
            "networkpolicy",
            "held",
            "-n",
            namespace,
            "--type=merge",
            "-p",
            patch,
        ];
        stand.kubectl(&arguments)
    };
    patch(r#"{"metadata":{"finalizers":["example.com/hold","example.com/more"]}}"#).refused()?;
    patch(r#"{"metadata":{"finalizers":[]}}"#).refused()?;
    for name in names.iter().chain(&["held"]) {
        delete(&stand, namespace, name, &[]).refused()?;
        stand.repository.remove(&format!("others/{name}.yaml"))?;
    }
    let commit = stand.repository.commit("Nothing of it any more")?;
    until_in_force(&commit)?;
    for name in names {
        let cascade = format!("--cascade={name}");
        delete(&stand, namespace, name, &[&cascade, "--timeout=50s"]).ok()?;
        let gone = stand.get(&format!("networkpolicy/{name}"), Some(namespace))?;
        assert!(gone.is_null(), "{gone}");
    }
    delete(&stand, namespace, "held", &["--wait=false"]).ok()?;
    let going = stand.get("networkpolicy/held", Some(namespace))?;
    assert!(going["metadata"]["deletionTimestamp"].is_string(), "{going}");
    // Going is no licence to change it meanwhile.
    patch(r#"{"spec":{"ingress":[{}]}}"#).refused()?;
    patch(r#"{"metadata":{"finalizers":[],"labels":{"a":"b"}}}"#).refused()?;
    patch(r#"{"metadata":{"finalizers":[]}}"#).ok()?;
    stand.until("the policy to be gone", || {
        let held = stand.get("networkpolicy/held", Some(namespace))?;
        Ok(held.is_null().then_some(()))
    })?;
    stand.kubectl(&["delete", "policysource", "others"]).ok().map(drop)
}

/// Such a delete would skip admission. It takes a verb of its own, which none of the identities has.
#[test]
fn our_own_identities_may_not_delete_without_asking_the_gate() -> Outcome {
    let gate = "--feature-gates=AllowUnsafeMalformedObjectDeletion=true";
    let stand = Stand::on(ControlPlane::builder().apiserver_flag(gate).start()?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(stand.install_chart(&[]))?;
    stand.kubectl(&["create", "namespace", "del-unsafe"]).ok()?;
    stand.repository.write("deny.yaml", &default_deny("del-unsafe"))?;
    let commit = stand.repository.commit("Deny everything")?;
    stand.add_source("platform", json!({}))?;
    stand.until_ready_at("platform", &commit)?;
    let refusal = |account: &str| -> Result<kube::core::Status, Failure> {
        runtime.block_on(async {
            let kubeconfig = stand.plane.kubeconfig_for_service_account(NAMESPACE, account).await?;
            let client = stand.plane.client_for(&kubeconfig).await?;
            let options = json!({"apiVersion": "v1", "kind": "DeleteOptions",
                                 "ignoreStoreReadErrorWithClusterBreakingPotential": true});
            let path = "/apis/networking.k8s.io/v1/namespaces/del-unsafe/networkpolicies/deny";
            let request = Request::delete(path)
                .header("content-type", "application/json")
                .body(options.to_string().into_bytes())?;
            match client.request_text(request).await {
                Err(kube::Error::Api(status)) => Ok(*status),
                other => Err(format!("this should have been refused: {other:?}").into()),
            }
        })
    };
    // The loop may delete, and not so; the webhook may not delete at all.
    for (account, why) in [
        (
            "headgate-sync",
            "not permitted to do \"unsafe-delete-ignore-read-errors\"",
        ),
        ("headgate-webhook", "cannot delete resource"),
    ] {
        let status = refusal(account)?;
        assert_eq!(status.code, 403, "{status:?}");
        assert!(status.message.contains(why), "{account}: {}", status.message);
    }
    assert!(!stand.get("networkpolicy/deny", Some("del-unsafe"))?.is_null());
    Ok(())
}
