//! A cluster with Calico's kinds as a repository, and that repository in another cluster.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::policies::default_deny;
use crate::stand::{Failure, Stand};
use crate::{Outcome, calico};

const SELECTOR: &str = "app == 'web'";

/// Objects of many kinds and of equal names, one with the longest name that there is.
fn objects() -> Vec<Value> {
    let long = "x".repeat(253);
    let calico = |kind: &str, name: &str, namespace: Option<&str>, spec: Value| json!({"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec});
    let rules = |tier: &str| json!({"tier": tier, "selector": SELECTOR, "types": ["Ingress"], "ingress": [{"action": "Allow"}]});
    let mut objects = vec![
        calico("Tier", "platform", None, json!({"order": 100})),
        calico("GlobalNetworkSet", "web", None, json!({"nets": ["203.0.113.0/24"]})),
        calico("GlobalNetworkPolicy", "web", None, rules("platform")),
        calico("StagedGlobalNetworkPolicy", "web", None, rules("platform")),
        calico(
            "HostEndpoint",
            "web",
            None,
            json!({"node": "n1", "interfaceName": "eth0"}),
        ),
    ];
    for namespace in ["shop", "pay"] {
        let namespace = Some(namespace);
        objects.extend([
            calico("NetworkSet", "web", namespace, json!({"nets": ["198.51.100.0/24"]})),
            calico("NetworkPolicy", "web", namespace, rules("platform")),
            calico("NetworkPolicy", "default.web", namespace, rules("default")),
            calico("StagedNetworkPolicy", "web", namespace, rules("platform")),
            calico(
                "StagedKubernetesNetworkPolicy",
                "web",
                namespace,
                json!({"podSelector": {}, "policyTypes": ["Ingress"]}),
            ),
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                "metadata": {"name": "web", "namespace": namespace}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}),
        ]);
    }
    objects.push(json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": long, "namespace": "shop"}, "spec": {"podSelector": {}, "policyTypes": ["Egress"]}}));
    objects
}

/// The versions of all guarded objects of a cluster.
fn versions(stand: &Stand) -> Result<BTreeSet<String>, Failure> {
    let kinds = "networkpolicies.networking.k8s.io,tiers.projectcalico.org,globalnetworksets.projectcalico.org,\
                 globalnetworkpolicies.projectcalico.org,stagedglobalnetworkpolicies.projectcalico.org,\
                 hostendpoints.projectcalico.org,networksets.projectcalico.org,networkpolicies.projectcalico.org,\
                 stagednetworkpolicies.projectcalico.org,stagedkubernetesnetworkpolicies.projectcalico.org";
    let fields = "jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}";
    let listed = stand.kubectl(&["get", kinds, "-A", "-o", fields]).ok()?;
    Ok(listed.lines().map(str::to_owned).collect())
}

fn digests(stand: &Stand) -> Result<String, Failure> {
    let kubeconfig = stand.plane.kubeconfig().display().to_string();
    let file = stand.plane.dir().join("exported.yaml");
    std::fs::write(&file, stand.headgate(&["export", "--kubeconfig", &kubeconfig]).ok()?)?;
    stand.headgate(&["digest", &file.display().to_string()]).ok()
}

#[test]
fn a_cluster_with_every_kind_of_calicos_is_exported_checked_synced_and_moved() -> Outcome {
    let stand = Stand::new()?;
    if !calico::install(&stand)? {
        return Ok(());
    }
    for namespace in ["shop", "pay"] {
        stand.kubectl(&["create", "namespace", namespace]).ok()?;
    }
    let objects = objects();
    for object in &objects {
        stand.kubectl_with(&["create", "-f", "-"], &object.to_string()).ok()?;
    }
    let before = versions(&stand)?;
    assert_eq!(before.len(), objects.len(), "{before:#?}");
    let kubeconfig = stand.plane.kubeconfig().display().to_string();
    let folder = stand.repository.work().join("policies").display().to_string();
    let said = stand
        .headgate(&["export", "--kubeconfig", &kubeconfig, "--dir", &folder])
        .ok()?;
    assert!(
        said.starts_with(&format!("{} objects written", objects.len())),
        "{said}"
    );
    let checked = stand.headgate(&["check", &folder]);
    assert_eq!(checked.code, 0, "{checked:?}");
    // A folder for each namespace, a file for each object, no server's fields in it.
    let mut files = BTreeSet::new();
    for namespace in std::fs::read_dir(&folder)? {
        let namespace = namespace?;
        for file in std::fs::read_dir(namespace.path())? {
            let file = file?;
            let text = std::fs::read_to_string(file.path())?;
            for field in [
                "uid:",
                "resourceVersion:",
                "creationTimestamp:",
                "managedFields:",
                "status:",
            ] {
                assert!(!text.contains(field), "{field} {text}");
            }
            assert_eq!(text.matches("\nkind: ").count(), 1, "{text}");
            files.insert(format!(
                "{}/{}",
                namespace.file_name().to_string_lossy(),
                file.file_name().to_string_lossy()
            ));
        }
    }
    assert_eq!(files.len(), objects.len(), "{files:#?}");
    for expected in [
        "_cluster/platform.tier.yaml",
        "_cluster/web.hostendpoint.yaml",
        "pay/web.networkset.yaml",
        "shop/default.web.networkpolicy.projectcalico.org.yaml",
        "shop/web.networkpolicy.networking.k8s.io.yaml",
        "shop/web.networkpolicy.projectcalico.org.yaml",
        "shop/web.stagednetworkpolicy.yaml",
    ] {
        assert!(files.contains(expected), "{expected} is not in {files:#?}");
    }

    let commit = stand.repository.commit("As the cluster is")?;
    stand.serve("")?;
    stand.add_source(
        "exported",
        json!({"git": {"path": "policies"}, "sync": {"prune": "All"}}),
    )?;
    stand.until_ready_at("exported", &commit)?;
    assert_eq!(versions(&stand)?, before, "the sync wrote something");

    let other = Stand::new()?;
    calico::install(&other)?;
    for namespace in ["shop", "pay"] {
        other.kubectl(&["create", "namespace", namespace]).ok()?;
    }
    other.apply(&default_deny("pay")).ok()?;
    other.serve("")?;
    let source = json!({"git": {"path": "policies", "url": stand.repository.url()}, "sync": {"prune": "All"}});
    other.add_source("exported", source)?;
    other.until_ready_at("exported", &commit)?;
    assert_eq!(digests(&stand)?.lines().count(), objects.len());
    assert_eq!(digests(&stand)?, digests(&other)?);
    Ok(())
}
