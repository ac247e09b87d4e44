//! What the API server lets pass, and what it does not.

use crate::policies::{allow_port, default_deny};
use crate::stand::NAMESPACE;
use crate::{Outcome, denied_namespace, stand};

#[test]
fn a_policy_that_is_not_in_git_is_refused_to_cluster_admin() -> Outcome {
    let stand = stand()?;
    stand.kubectl(&["create", "namespace", "gate-create"]).ok()?;
    let said = stand.apply(&allow_port("gate-create", "rogue", 80)).refused()?;
    assert!(
        said.contains("NetworkPolicy gate-create/rogue is not in Git."),
        "{said}"
    );
    assert!(said.contains("Forbidden"), "{said}");
    assert!(stand.get("networkpolicy/rogue", Some("gate-create"))?.is_null());
    Ok(())
}

#[test]
fn an_edit_that_opens_a_default_deny_is_refused_with_the_field() -> Outcome {
    let stand = stand()?;
    denied_namespace(&stand, "gate-edit")?;
    let patch = [
        "patch",
        "networkpolicy",
        "deny",
        "-n",
        "gate-edit",
        "--type=merge",
        "-p",
        r#"{"spec":{"ingress":[{}]}}"#,
    ];
    let said = stand.kubectl(&patch).refused()?;
    assert!(
        said.contains("NetworkPolicy gate-edit/deny differs from Git."),
        "{said}"
    );
    assert!(said.contains("spec.ingress"), "{said}");
    assert!(said.contains("policies/gate-edit/deny.yaml"), "{said}");
    assert!(stand.get("networkpolicy/deny", Some("gate-edit"))?["spec"]["ingress"].is_null());
    Ok(())
}

#[test]
fn labels_annotations_finalizers_and_owners_count_as_content() -> Outcome {
    let stand = stand()?;
    denied_namespace(&stand, "gate-metadata")?;
    for patch in [
        r#"{"metadata":{"labels":{"a":"b"}}}"#,
        r#"{"metadata":{"annotations":{"a":"b"}}}"#,
        r#"{"metadata":{"finalizers":["example.com/hold"]}}"#,
        r#"{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"x","uid":"y"}]}}"#,
    ] {
        let arguments = [
            "patch",
            "networkpolicy",
            "deny",
            "-n",
            "gate-metadata",
            "--type=merge",
            "-p",
            patch,
        ];
        let said = stand.kubectl(&arguments).refused()?;
        assert!(said.contains("differs from Git"), "{patch}: {said}");
    }
    Ok(())
}

#[test]
fn a_delete_and_a_delete_of_the_collection_are_refused() -> Outcome {
    let stand = stand()?;
    denied_namespace(&stand, "gate-delete")?;
    let one = stand
        .kubectl(&["delete", "networkpolicy", "deny", "-n", "gate-delete"])
        .refused()?;
    assert!(one.contains("still declared in Git"), "{one}");
    let raw = "/apis/networking.k8s.io/v1/namespaces/gate-delete/networkpolicies";
    let collection = stand.kubectl(&["delete", "--raw", raw]).refused()?;
    assert!(collection.contains("still declared in Git"), "{collection}");
    assert!(!stand.get("networkpolicy/deny", Some("gate-delete"))?.is_null());
    Ok(())
}

#[test]
fn what_git_says_may_be_applied_by_anyone_in_any_way() -> Outcome {
    let stand = stand()?;
    denied_namespace(&stand, "gate-same")?;
    let file = default_deny("gate-same");
    stand.apply(&file).ok()?;
    stand
        .kubectl_with(
            &[
                "apply",
                "--server-side",
                "--field-manager=someone",
                "--force-conflicts",
                "-f",
                "-",
            ],
            &file,
        )
        .ok()?;
    stand.kubectl_with(&["replace", "-f", "-"], &file).ok()?;
    stand
        .kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &file)
        .ok()?;
    Ok(())
}

#[test]
fn the_sync_loops_own_identity_gets_no_more_than_anyone() -> Outcome {
    let stand = stand()?;
    denied_namespace(&stand, "gate-identity")?;
    let user = format!("--as=system:serviceaccount:{NAMESPACE}:headgate-sync");
    let create = stand
        .kubectl_with(&["create", "-f", "-", &user], &allow_port("gate-identity", "rogue", 80))
        .refused()?;
    assert!(create.contains("is not in Git"), "{create}");
    let delete = stand
        .kubectl(&["delete", "networkpolicy", "deny", "-n", "gate-identity", &user])
        .refused()?;
    assert!(delete.contains("still declared in Git"), "{delete}");
    let replaced = default_deny("gate-identity").replace("[Ingress]", "[Egress]");
    let update = stand
        .kubectl_with(&["replace", "-f", "-", &user], &replaced)
        .refused()?;
    assert!(update.contains("spec.policyTypes"), "{update}");
    stand
        .kubectl_with(&["replace", "-f", "-", &user], &default_deny("gate-identity"))
        .ok()?;
    Ok(())
}

#[test]
fn a_generated_name_is_refused() -> Outcome {
    let stand = stand()?;
    stand.kubectl(&["create", "namespace", "gate-generated"]).ok()?;
    let manifest = allow_port("gate-generated", "x", 80).replace("name: x\n", "generateName: x-\n");
    let said = stand.kubectl_with(&["create", "-f", "-"], &manifest).refused()?;
    assert!(said.contains("generateName"), "{said}");
    Ok(())
}

#[test]
fn a_dry_run_is_judged_alike() -> Outcome {
    let stand = stand()?;
    stand.kubectl(&["create", "namespace", "gate-dry"]).ok()?;
    let said = stand
        .kubectl_with(
            &["create", "--dry-run=server", "-f", "-"],
            &allow_port("gate-dry", "rogue", 80),
        )
        .refused()?;
    assert!(said.contains("is not in Git"), "{said}");
    Ok(())
}

#[test]
fn a_namespace_goes_with_the_policies_that_git_still_declares() -> Outcome {
    let stand = stand()?;
    denied_namespace(&stand, "gate-teardown")?;
    stand
        .kubectl(&["delete", "namespace", "gate-teardown", "--timeout=50s"])
        .ok()?;
    assert!(stand.get("namespace/gate-teardown", None)?.is_null());
    stand.kubectl(&["create", "namespace", "gate-teardown"]).ok()?;
    stand.until("the policy to come back with its namespace", || {
        let policy = stand.get("networkpolicy/deny", Some("gate-teardown"))?;
        Ok((!policy.is_null()).then_some(()))
    })
}
