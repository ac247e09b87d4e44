//! The rows that want a Headgate of their own: kinds with a status, `dryRun: Warn`, and a source that the loop does not
//! apply, so that fields of other managers stay where they are.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use serde_json::json;

use crate::Outcome;
use crate::calico::shared;
use crate::policies::allow_port;
use crate::stand::{Failure, Stand};

const VALUES: [&str; 2] = [
    "config.dryRun=Warn",
    r#"config.guardedKinds=["networkpolicy.networking.k8s.io", "adminnetworkpolicy.policy.networking.k8s.io", "tier.projectcalico.org"]"#,
];
const ADMIN: &str = "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {name: platform}\n\
    spec:\n  priority: 10\n  subject: {namespaces: {}}\n  ingress:\n    - {name: deny, action: Deny, from: [{namespaces: {}}]}\n";
const TIER: &str = "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: platform}\nspec: {order: 100}\n";

/// The namespace in which the tests write.
const NAMESPACE: &str = "payments";

/// None where the definitions of the kinds are not there.
fn own() -> Result<Option<MutexGuard<'static, Stand>>, Failure> {
    static OWN: LazyLock<Result<Option<Mutex<Stand>>, String>> = LazyLock::new(|| {
        installed()
            .map(|stand| stand.map(Mutex::new))
            .map_err(|error| error.to_string())
    });
    let own = OWN.as_ref().map_err(Clone::clone)?;
    Ok(own
        .as_ref()
        .map(|stand| stand.lock().unwrap_or_else(PoisonError::into_inner)))
}

fn installed() -> Result<Option<Stand>, Failure> {
    let (Some(admin), Some(calico)) = (shared("crds/network-policy-api")?, shared("crds/calico-native-v3")?) else {
        return Ok(None);
    };
    let stand = Stand::new()?;
    for folder in [admin, calico] {
        let folder = folder.display().to_string();
        // The folder has a licence beside its definitions.
        stand.kubectl(&["apply", "--server-side", "-f", &folder]).ok()?;
    }
    let established = [
        "wait",
        "--for=condition=Established",
        "crd/adminnetworkpolicies.policy.networking.k8s.io",
        "crd/tiers.projectcalico.org",
        "--timeout=60s",
    ];
    stand.kubectl(&established).ok()?;
    stand.kubectl(&["create", "namespace", NAMESPACE]).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(stand.install_chart(&VALUES))?;
    stand.repository.write("admin.yaml", ADMIN)?;
    stand.repository.write("tier.yaml", TIER)?;
    let commit = stand.repository.commit("A platform's policies")?;
    stand.add_source("platform", json!({"sync": {"enabled": false}}))?;
    until_head(&stand, &commit)?;
    stand.apply(ADMIN).ok()?;
    stand.apply(TIER).ok()?;
    Ok(Some(stand))
}

/// Waits until a commit is in force.
fn until_head(stand: &Stand, commit: &str) -> Outcome {
    stand.until("the commit to be accepted", || {
        let source = stand.get("policysource/platform", None)?;
        Ok((source["status"]["head"]["commit"] == commit).then_some(()))
    })
}

#[test]
fn a_status_can_be_written_and_takes_no_label_annotation_or_spec_with_it() -> Outcome {
    let Some(stand) = own()? else { return Ok(()) };
    for (object, own_status) in [
        (
            "adminnetworkpolicies.policy.networking.k8s.io/platform",
            json!({"conditions": []}),
        ),
        ("tiers.projectcalico.org/platform", json!({"conditions": []})),
    ] {
        let before = stand.get(object, None)?;
        let patch = json!({
            "metadata": {"labels": {"team": "a"}, "annotations": {"note": "x"}},
            "spec": {"priority": 999, "order": 999}, "status": own_status,
        });
        let arguments = [
            "patch",
            object,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch.to_string(),
        ];
        let said = stand.kubectl(&arguments);
        let after = stand.get(object, None)?;
        for field in ["labels", "annotations"] {
            assert_eq!(
                after["metadata"][field], before["metadata"][field],
                "{object}: {said:?}"
            );
        }
        assert_eq!(after["spec"], before["spec"], "{object}: {said:?}");
        assert!(said.succeeded(), "{object}: {said:?}");
    }
    Ok(())
}

#[test]
fn where_dry_runs_only_warn_a_diff_shows_its_difference_and_nothing_is_stored() -> Outcome {
    let Some(stand) = own()? else { return Ok(()) };
    let other = TIER.replace("order: 100", "order: 5");
    let diff = stand.kubectl_with(&["diff", "-f", "-"], &other);
    assert_eq!(diff.code, 1, "{diff:?}");
    assert!(
        diff.out.contains("-  order: 100") && diff.out.contains("+  order: 5"),
        "{diff:?}"
    );
    assert!(
        diff.err.contains(
            "Warning: Headgate would refuse this if it were no dry run: Calico Tier platform differs from Git."
        ),
        "{diff:?}"
    );
    let dry = stand.kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &other);
    assert!(dry.succeeded() && dry.err.contains("spec.order"), "{dry:?}");
    let said = stand.apply(&other).refused()?;
    assert!(said.contains("spec.order: 100 in Git, 5 in this request"), "{said}");
    assert_eq!(
        stand.get("tiers.projectcalico.org/platform", None)?["spec"]["order"],
        100
    );
    Ok(())
}

/// Applies a labelled policy under a manager of its own, then takes the label from Git and changes the port there.
fn label_left_behind(stand: &Stand, name: &str) -> Result<String, Failure> {
    let labelled = allow_port(NAMESPACE, name, 80).replace("metadata:\n", "metadata:\n  labels: {team: a}\n");
    stand.repository.write(&format!("{name}.yaml"), &labelled)?;
    until_head(stand, &stand.repository.commit("A label")?)?;
    let apply = ["apply", "--server-side", "--field-manager=someone", "-f", "-"];
    stand.until("the labelled policy to be applied", || {
        Ok(stand.kubectl_with(&apply, &labelled).succeeded().then_some(()))
    })?;
    let file = allow_port(NAMESPACE, name, 443);
    stand.repository.write(&format!("{name}.yaml"), &file)?;
    until_head(stand, &stand.repository.commit("No label, another port")?)?;
    Ok(file)
}

#[test]
fn a_field_that_another_manager_left_is_named_with_what_to_do() -> Outcome {
    let Some(stand) = own()? else { return Ok(()) };
    let file = label_left_behind(&stand, "left")?;
    for apply in [
        &["apply", "-f", "-"][..],
        &[
            "apply",
            "--server-side",
            "--field-manager=me",
            "--force-conflicts",
            "-f",
            "-",
        ],
    ] {
        let said = stand.kubectl_with(apply, &file).refused()?;
        assert!(
            said.contains("metadata.labels.team: not in Git (in the cluster already, not changed by this request)"),
            "{apply:?}: {said}"
        );
        assert!(
            said.contains("Use `kubectl replace` with left.yaml."),
            "{apply:?}: {said}"
        );
        assert!(!said.contains("  spec."), "{apply:?}: {said}");
    }
    stand.kubectl_with(&["replace", "-f", "-"], &file).ok()?;
    let live = stand.get("networkpolicy/left", Some(NAMESPACE))?;
    assert!(live["metadata"]["labels"].is_null(), "{live}");
    stand.apply(&file).ok()?;
    Ok(())
}
