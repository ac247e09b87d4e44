//! The command line against a real cluster.

use serde_json::Value;

use crate::policies::{allow_port, default_deny};
use crate::{Outcome, denied_namespace, stand};

#[test]
fn digest_says_the_same_of_the_file_and_of_the_live_object() -> Outcome {
    let stand = stand()?;
    denied_namespace(&stand, "cli-digest")?;
    let digest = |text: &str| -> Result<String, crate::Failure> {
        let file = stand.plane.dir().join("object.yaml");
        std::fs::write(&file, text)?;
        stand.headgate(&["digest", &file.display().to_string()]).ok()
    };
    let live = stand
        .kubectl(&["get", "networkpolicy", "deny", "-n", "cli-digest", "-o", "json"])
        .ok()?;
    let live = digest(&strip(&live)?)?;
    assert_eq!(digest(&default_deny("cli-digest"))?, live);
    let (key, digest) = live.trim().split_once(' ').ok_or("expected KEY DIGEST")?;
    assert_eq!(key, "networkpolicy.networking.k8s.io/cli-digest/deny");
    assert!(digest.starts_with("hg1:") && digest.len() == 4 + 64, "{digest}");
    Ok(())
}

/// What kubectl prints of a live object carries the server's own fields, which a file may not.
fn strip(text: &str) -> Result<String, crate::Failure> {
    let mut object: Value = serde_json::from_str(text)?;
    for field in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "generation",
        "managedFields",
    ] {
        object["metadata"]
            .as_object_mut()
            .and_then(|metadata| metadata.remove(field));
    }
    Ok(object.to_string())
}

#[test]
fn status_and_diff_tell_a_cluster_in_order_by_their_exit_status() -> Outcome {
    let stand = stand()?;
    denied_namespace(&stand, "cli-status")?;
    let kubeconfig = stand.plane.kubeconfig().display().to_string();
    let table = stand.headgate(&["status", "--kubeconfig", &kubeconfig]);
    assert!(
        table.out.starts_with("NAME") && table.out.contains("platform"),
        "{table:?}"
    );
    let json = stand.headgate(&["status", "--kubeconfig", &kubeconfig, "-o", "json"]);
    let listed: Value = serde_json::from_str(&json.out)?;
    assert_eq!(listed[0]["metadata"]["name"], "platform");
    let state = stand.plane.dir().join("diff-state").display().to_string();
    let diff = [
        "diff",
        "--kubeconfig",
        &kubeconfig,
        "--state-dir",
        &state,
        "--allow-file-urls",
    ];
    let clean = stand.headgate(&diff);
    assert_eq!((clean.code, clean.err.as_str()), (0, ""), "{clean:?}");
    stand.repository.write(
        "policies/cli-status/deny.yaml",
        &default_deny("cli-status").replace("[Ingress]", "[Ingress, Egress]"),
    )?;
    let changed = stand.repository.commit("Deny egress, too")?;
    stand.until_ready_at("platform", &changed)?;
    assert_eq!(stand.headgate(&diff).code, 0);
    let missing = stand.headgate(&["status", "--kubeconfig", "/nonexistent"]);
    assert_eq!(missing.code, 2, "{missing:?}");
    Ok(())
}

#[test]
fn check_finds_what_the_gate_would_refuse() -> Outcome {
    let stand = stand()?;
    let folder = stand.plane.dir().join("checked");
    std::fs::create_dir_all(&folder)?;
    let check = |more: &[&str]| stand.headgate(&[&["check", &folder.display().to_string()], more].concat());
    std::fs::write(folder.join("good.yaml"), default_deny("payments"))?;
    assert_eq!(check(&[]).code, 0);
    std::fs::write(
        folder.join("bad.yaml"),
        allow_port("payments", "web", 80).replace("ingress:", "ingres:"),
    )?;
    let text = check(&[]);
    assert_eq!(text.code, 1, "{text:?}");
    assert!(
        text.out.contains("bad.yaml:") && text.out.contains("ingres"),
        "{}",
        text.out
    );
    let json: Value = serde_json::from_str(&check(&["-o", "json"]).out)?;
    let bad = folder.join("bad.yaml").display().to_string();
    assert_eq!(json["problems"][0]["file"], bad.as_str());
    assert!(
        check(&["-o", "github"])
            .out
            .starts_with(&format!("::error file={bad},line="))
    );
    assert_eq!(stand.headgate(&["check", "/nonexistent"]).code, 2);
    Ok(())
}

#[test]
fn the_printed_manifests_are_those_of_the_chart() -> Outcome {
    let stand = stand()?;
    let printed: Value = serde_json::from_str(&stand.headgate(&["crds", "-o", "json"]).ok()?)?;
    let properties = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    for (index, name) in ["policysources", "policygrants"].into_iter().enumerate() {
        let live = stand.get(&format!("customresourcedefinition/{name}.headgate.dev"), None)?;
        let one: Value = serde_json::from_str(&stand.headgate(&["crds", name, "-o", "json"]).ok()?)?;
        assert!(one.pointer(properties).is_some());
        assert_eq!(one.pointer(properties), live.pointer(properties));
        assert_eq!(printed["items"][index], one);
    }
    Ok(())
}

#[test]
fn an_exported_cluster_passes_the_check_and_its_sync_changes_nothing() -> Outcome {
    let stand = crate::stand::Stand::new()?;
    for namespace in ["shop", "pay"] {
        stand.kubectl(&["create", "namespace", namespace]).ok()?;
        stand.apply(&default_deny(namespace)).ok()?;
    }
    // What other tools leave on objects and what servers fill in.
    let odd = r#"{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "odd.one", "namespace": "pay",
        "labels": {"version": "1.10", "on": "yes", "empty": ""}, "annotations": {"note": "a: b # c\n- d\n"}},
        "spec": {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["0x10", "1e3", "on", "null"]}]},
            "egress": [{"ports": [{"port": 53, "protocol": "UDP"}, {"port": "web"}]},
                {"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}]}}"#;
    stand.apply(odd).ok()?;
    stand.apply(&allow_port("shop", "web", 80)).ok()?;
    let versions = |stand: &crate::stand::Stand| -> Result<String, crate::Failure> {
        let fields =
            "jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}={.metadata.resourceVersion} {end}";
        stand.kubectl(&["get", "networkpolicies", "-A", "-o", fields]).ok()
    };
    let before = versions(&stand)?;
    let kubeconfig = stand.plane.kubeconfig().display().to_string();
    let folder = stand.repository.work().join("policies").display().to_string();
    let said = stand
        .headgate(&["export", "--kubeconfig", &kubeconfig, "--dir", &folder])
        .ok()?;
    assert!(said.starts_with("4 objects written"), "{said}");
    // kubectl's note would come back with the next apply and is no decision.
    let checked = stand.headgate(&["check", &folder]);
    assert_eq!(checked.code, 0, "{checked:?}");
    let again = stand.headgate(&["export", "--kubeconfig", &kubeconfig, "--dir", &folder]);
    assert!(again.code == 2 && again.err.contains("--force"), "{again:?}");
    let one = stand
        .headgate(&[
            "export",
            "--kubeconfig",
            &kubeconfig,
            "-n",
            "pay",
            "--kinds",
            "networkpolicy.networking.k8s.io",
        ])
        .ok()?;
    assert!(one.contains("odd.one") && !one.contains("shop"), "{one}");

    let commit = stand.repository.commit("As the cluster is")?;
    stand.serve("")?;
    stand.add_source(
        "exported",
        serde_json::json!({"git": {"path": "policies"}, "sync": {"prune": "All"}}),
    )?;
    stand.until_ready_at("exported", &commit)?;
    assert_eq!(versions(&stand)?, before, "the sync wrote something");

    // The same repository makes the same policies in another cluster.
    let digests = |stand: &crate::stand::Stand| -> Result<String, crate::Failure> {
        let kubeconfig = stand.plane.kubeconfig().display().to_string();
        let file = stand.plane.dir().join("exported.yaml");
        std::fs::write(&file, stand.headgate(&["export", "--kubeconfig", &kubeconfig]).ok()?)?;
        stand.headgate(&["digest", &file.display().to_string()]).ok()
    };
    let other = crate::stand::Stand::new()?;
    for namespace in ["shop", "pay"] {
        other.kubectl(&["create", "namespace", namespace]).ok()?;
    }
    other.serve("")?;
    let source = serde_json::json!({"git": {"path": "policies", "url": stand.repository.url()}});
    other.add_source("exported", source)?;
    other.until_ready_at("exported", &commit)?;
    assert_eq!(digests(&stand)?.lines().count(), 4);
    assert_eq!(digests(&stand)?, digests(&other)?);
    Ok(())
}
