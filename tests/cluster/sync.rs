//! The loop brings the cluster to HEAD and keeps it there.

use serde_json::{Value, json};

use crate::policies::{allow_port, default_deny};
use crate::stand::{Failure, NAMESPACE, OWN_MANIFESTS, Stand, condition};
use crate::{Outcome, denied_namespace, stand};

/// Does something while the API server does not ask the gate.
pub(crate) fn behind_the_gate(stand: &Stand, work: impl FnOnce() -> Outcome) -> Outcome {
    // The loop would put it back at once.
    let mark = |mark: &str| {
        let map = format!("configmap/{OWN_MANIFESTS}");
        stand.kubectl(&[
            "annotate",
            "-n",
            NAMESPACE,
            &map,
            &format!("headgate.dev/uninstalling{mark}"),
        ])
    };
    mark("=true").ok()?;
    stand
        .kubectl(&["delete", "validatingwebhookconfiguration", "headgate"])
        .ok()?;
    // The API server stops asking some time after the configuration went.
    stand.kubectl(&["create", "namespace", "probe"]).ok()?;
    let probe = allow_port("probe", "probe", 1);
    stand.until("the gate to be gone", || {
        Ok(stand
            .kubectl_with(&["create", "--dry-run=server", "-f", "-"], &probe)
            .succeeded()
            .then_some(()))
    })?;
    let done = work();
    mark("-").ok()?;
    stand.until("the gate to be back", || {
        Ok((!stand
            .kubectl_with(&["create", "--dry-run=server", "-f", "-"], &probe)
            .succeeded())
        .then_some(()))
    })?;
    stand.kubectl(&["delete", "namespace", "probe", "--wait=false"]).ok()?;
    stand.until("the probing namespace to be gone", || {
        Ok(stand.get("namespace/probe", None)?.is_null().then_some(()))
    })?;
    done
}

fn spec(stand: &Stand, name: &str, namespace: &str) -> Result<Value, Failure> {
    Ok(stand.get(&format!("networkpolicy/{name}"), Some(namespace))?["spec"].clone())
}

#[test]
fn a_commit_is_applied_changed_and_pruned() -> Outcome {
    let stand = stand()?;
    denied_namespace(&stand, "sync-commit")?;
    let file = "policies/sync-commit/web.yaml";
    stand.repository.write(file, &allow_port("sync-commit", "web", 80))?;
    let added = stand.repository.commit("Let the web in")?;
    stand.until_ready_at("platform", &added)?;
    assert_eq!(
        spec(&stand, "web", "sync-commit")?["ingress"][0]["ports"][0]["port"],
        80
    );
    stand.repository.write(file, &allow_port("sync-commit", "web", 443))?;
    let changed = stand.repository.commit("Let the web in by TLS only")?;
    stand.until_ready_at("platform", &changed)?;
    assert_eq!(
        spec(&stand, "web", "sync-commit")?["ingress"][0]["ports"][0]["port"],
        443
    );
    stand.repository.remove(file)?;
    let removed = stand.repository.commit("Let no web in")?;
    stand.until_ready_at("platform", &removed)?;
    assert!(stand.get("networkpolicy/web", Some("sync-commit"))?.is_null());
    Ok(())
}

/// The port that a policy lets in.
fn port(stand: &Stand, name: &str, namespace: &str) -> Result<Value, Failure> {
    Ok(spec(stand, name, namespace)?["ingress"][0]["ports"][0]["port"].clone())
}

#[test]
fn a_source_is_rolled_back_by_a_pin_and_by_a_revert_and_gate_and_loop_agree() -> Outcome {
    let stand = stand()?;
    let namespace = "rollback";
    denied_namespace(&stand, namespace)?;
    let kubeconfig = stand.plane.kubeconfig().display().to_string();
    let source = |arguments: &[&str]| {
        let all = [&["source"], arguments, &["--kubeconfig", &kubeconfig]].concat();
        stand.headgate(&all)
    };
    let file = format!("policies/{namespace}/web.yaml");
    stand.repository.write(&file, &allow_port(namespace, "web", 80))?;
    let good = stand.repository.commit("Let the web in")?;
    stand.until_ready_at("platform", &good)?;
    stand.repository.write(&file, &allow_port(namespace, "web", 81))?;
    let bad = stand.repository.commit("Let the wrong port in")?;
    stand.until_ready_at("platform", &bad)?;

    let pinned = source(&["pin", "platform", &good]).ok()?;
    assert_eq!(pinned, format!("policysource.headgate.dev/platform pinned to {good}\n"));
    stand.until_ready_at("platform", &good)?;
    stand.until("the rollback", || {
        Ok((port(&stand, "web", namespace)? == 80).then_some(()))
    })?;
    // The gate holds everybody to the pin, too.
    stand.until("the gate at the pin", || {
        let said = stand.apply(&allow_port(namespace, "web", 81));
        Ok((!said.succeeded() && said.err.contains("spec.ingress")).then_some(()))
    })?;
    stand.apply(&allow_port(namespace, "web", 80)).ok()?;

    source(&["unpin", "platform"]).ok()?;
    stand.until_ready_at("platform", &bad)?;
    stand.until("the tip again", || {
        Ok((port(&stand, "web", namespace)? == 81).then_some(()))
    })?;
    stand.repository.revert(&bad)?;
    let reverted = stand.repository.commit("After the revert")?;
    stand.until_ready_at("platform", &reverted)?;
    assert_eq!(port(&stand, "web", namespace)?, 80);

    // What is wrong is said, and changes nothing.
    let short = source(&["pin", "platform", "abc"]);
    assert_eq!(short.code, 2, "{short:?}");
    let nobody = source(&["suspend", "nobody"]);
    assert!(nobody.code == 1 && nobody.err.contains("not found"), "{nobody:?}");
    source(&["suspend", "platform"]).ok()?;
    stand.until("the suspension", || {
        let status = source(&["get"]);
        Ok(status.out.contains("Suspended").then_some(()))
    })?;
    source(&["resume", "platform"]).ok()?;
    stand.until_ready_at("platform", &reverted)
}

#[test]
fn drift_made_behind_the_gate_is_healed_whoever_made_it() -> Outcome {
    let stand = stand()?;
    denied_namespace(&stand, "sync-drift")?;
    behind_the_gate(&stand, || {
        let open = r#"{"spec":{"ingress":[{}]}}"#;
        stand
            .kubectl(&[
                "patch",
                "networkpolicy",
                "deny",
                "-n",
                "sync-drift",
                "--type=merge",
                "-p",
                open,
            ])
            .ok()?;
        stand.until("the opened policy to be closed", || {
            Ok(spec(&stand, "deny", "sync-drift")?["ingress"].is_null().then_some(()))
        })?;
        let opened = default_deny("sync-drift") + "  ingress:\n    - {}\n";
        let manager = [
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager=someone",
            "-f",
            "-",
        ];
        stand.kubectl_with(&manager, &opened).ok()?;
        stand.until("the policy opened by another manager to be closed", || {
            Ok(spec(&stand, "deny", "sync-drift")?["ingress"].is_null().then_some(()))
        })?;
        stand
            .kubectl(&["delete", "networkpolicy", "deny", "-n", "sync-drift"])
            .ok()?;
        stand.until("the deleted policy to come back", || {
            Ok((!spec(&stand, "deny", "sync-drift")?.is_null()).then_some(()))
        })?;
        stand.apply(&allow_port("sync-drift", "rogue", 22)).ok()?;
        stand.until("the rogue policy to go", || {
            Ok(stand
                .get("networkpolicy/rogue", Some("sync-drift"))?
                .is_null()
                .then_some(()))
        })
    })
}

#[test]
fn what_was_there_before_the_source_is_listed_and_not_touched() -> Outcome {
    let stand = Stand::new()?;
    stand.kubectl(&["create", "namespace", "old"]).ok()?;
    for index in 0..30 {
        stand.apply(&allow_port("old", &format!("legacy-{index}"), 80)).ok()?;
    }
    // Kubernetes keeps times by the second: what is made within the second of adoption counts as younger.
    let newest = stand.get("networkpolicy/legacy-29", Some("old"))?["metadata"]["creationTimestamp"].clone();
    stand.until("the next second", || {
        Ok(
            (jiff::Timestamp::now().to_string().get(..19) > newest.as_str().and_then(|time| time.get(..19)))
                .then_some(()),
        )
    })?;
    stand.serve("")?;
    stand.repository.write("deny.yaml", &default_deny("old"))?;
    let commit = stand.repository.commit("Deny everything in old")?;
    stand.add_source("first", json!({}))?;
    stand.until_ready_at("first", &commit)?;
    let live = stand
        .kubectl(&["get", "networkpolicies", "-n", "old", "-o", "name"])
        .ok()?;
    assert_eq!(live.lines().count(), 31, "{live}");
    let source = stand.get("policysource/first", None)?;
    assert_eq!(
        source["status"]["undeclared"].as_array().map(Vec::len),
        Some(20),
        "{source}"
    );
    let said = stand
        .kubectl(&["delete", "networkpolicy", "legacy-1", "-n", "old"])
        .refused()?;
    assert!(said.contains("was there before its PolicySource"), "{said}");
    Ok(())
}

#[test]
fn a_namespace_that_is_not_there_yet_is_waited_for_and_holds_up_nothing() -> Outcome {
    let stand = stand()?;
    stand
        .repository
        .write("policies/sync-later/deny.yaml", &default_deny("sync-later"))?;
    stand.repository.commit("Deny everything in a namespace to come")?;
    denied_namespace(&stand, "sync-now")?;
    stand.kubectl(&["create", "namespace", "sync-later"]).ok()?;
    stand.until("the policy to follow its namespace", || {
        Ok((!stand.get("networkpolicy/deny", Some("sync-later"))?.is_null()).then_some(()))
    })
}

#[test]
fn the_table_of_sources_is_worth_a_look() -> Outcome {
    let stand = stand()?;
    denied_namespace(&stand, "sync-table")?;
    let table = stand.kubectl(&["get", "policysources"]).ok()?;
    let header: Vec<&str> = table.lines().next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(header, ["NAME", "READY", "STATUS", "COMMIT", "OBJECTS", "DRIFT", "AGE"]);
    assert!(table.contains("platform"), "{table}");
    let source = stand.get("policysource/platform", None)?;
    for name in ["Fetched", "Fresh", "Verified", "Accepted", "Synced", "Ready"] {
        let condition = condition(&source, name).ok_or("a condition is missing")?;
        assert_eq!(
            condition["observedGeneration"], source["metadata"]["generation"],
            "{condition}"
        );
    }
    Ok(())
}
