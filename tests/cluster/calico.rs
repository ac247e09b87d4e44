//! Calico's own resources in native mode: its definitions and admission policies, no Calico process.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::stand::{Failure, Stand};
use crate::{Outcome, stand};

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
/// The folder with real input that is not part of the repository; none where it is absent, and then CI fails.
pub(crate) fn shared(name: &str) -> Result<Option<PathBuf>, Failure> {
    let folder = std::env::var_os("HEADGATE_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        PathBuf::from,
    );
    let folder = folder.join(name);
    if folder.is_dir() {
        return Ok(Some(folder));
    }
    if std::env::var_os("CI").is_some() {
        return Err(format!("{} is not there, and CI must not skip this test", folder.display()).into());
    }
    eprintln!(
        "skipped: {} is not there; HEADGATE_SHARED names its folder",
        folder.display()
    );
    Ok(None)
}

pub(crate) fn install(stand: &Stand) -> Result<bool, Failure> {
    let (Some(native), Some(admission)) = (shared("crds/calico-native-v3")?, shared("crds/calico-admission")?) else {
        return Ok(false);
    };
    stand
        .kubectl(&["apply", "--server-side", "-f", &native.display().to_string()])
        .ok()?;
    stand
        .kubectl(&[
            "wait",
            "--for=condition=Established",
            "crd/networkpolicies.projectcalico.org",
            "crd/tiers.projectcalico.org",
            "--timeout=60s",
        ])
        .ok()?;
    // The API server of today serves these as v1.
    for entry in std::fs::read_dir(admission)? {
        let text = std::fs::read_to_string(entry?.path())?.replace(
            "admissionregistration.k8s.io/v1beta1",
            "admissionregistration.k8s.io/v1",
        );
        stand.apply(&text).ok()?;
    }
    until_defaults_are_set(stand)?;
    Ok(true)
}

/// Until the API server has both the policies that set Calico's defaults and the schemas that they need. It reads schemas
/// some time after a definition is established, kind by kind, and until then it answers every create with 503. A kind that
/// Headgate refuses has passed them: admission validates last.
fn until_defaults_are_set(stand: &Stand) -> Result<(), Failure> {
    for (kind, namespace) in [
        ("NetworkPolicy", Some("default")),
        ("StagedNetworkPolicy", Some("default")),
        ("GlobalNetworkPolicy", None),
        ("StagedGlobalNetworkPolicy", None),
    ] {
        let probe = json!({"apiVersion": "projectcalico.org/v3", "kind": kind,
            "metadata": {"name": "probe", "namespace": namespace}, "spec": {"selector": "all()"}});
        stand.until(&format!("the defaults of Calico's {kind}"), || {
            let said = stand.kubectl_with(
                &["create", "--dry-run=server", "-o", "json", "-f", "-"],
                &probe.to_string(),
            );
            let made: Value = serde_json::from_str(&said.out).unwrap_or_default();
            let complete = made["spec"]["types"].is_array() && made["metadata"]["labels"].is_object();
            Ok((complete || said.err.contains("denied the request")).then_some(()))
        })?;
    }
    Ok(())
}

const TIER: &str = "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: platform}\nspec: {order: 100}\n";
const POLICY: &str = "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: web, namespace: calico}\nspec:\n  \
    tier: platform\n  order: 100.0\n  selector: app == 'web'\n  types: [Ingress]\n  ingress:\n    - action: Allow\n      \
    protocol: TCP\n      destination: {ports: [80, \"8080:8090\"]}\n";
const STORED: &str = "apiVersion: crd.projectcalico.org/v1\nkind: GlobalNetworkSet\nmetadata:\n  name: partners\n  labels: {role: partner}\nspec:\n  nets: [203.0.113.0/24]\n";

#[test]
fn calico_policies_of_either_group_are_applied_and_guarded() -> Outcome {
    let stand = stand()?;
    if !install(&stand)? {
        return Ok(());
    }
    stand.kubectl(&["create", "namespace", "calico"]).ok()?;
    stand.repository.write("policies/calico/web.yaml", POLICY)?;
    stand.repository.write("policies/calico/tier.yaml", TIER)?;
    stand.repository.write("policies/calico/partners.yaml", STORED)?;
    let commit = stand.repository.commit("Calico policies")?;
    stand.until("the loop to find the new kinds", || {
        Ok((!stand
            .get("networkpolicies.projectcalico.org/web", Some("calico"))?
            .is_null())
        .then_some(()))
    })?;
    stand.until_ready_at("platform", &commit)?;
    let set = stand.get("globalnetworksets.projectcalico.org/partners", None)?;
    assert_eq!(set["metadata"]["labels"]["role"], "partner");
    let patch =
        |object: &str, patch: &str| stand.kubectl(&["patch", object, "-n", "calico", "--type=merge", "-p", patch]);
    let selector = patch(
        "networkpolicies.projectcalico.org/web",
        r#"{"spec":{"selector":"all()"}}"#,
    )
    .refused()?;
    assert!(
        selector.contains("Calico NetworkPolicy calico/web differs from Git."),
        "{selector}"
    );
    assert!(selector.contains("spec.selector"), "{selector}");
    patch(
        "globalnetworksets.projectcalico.org/partners",
        r#"{"metadata":{"labels":{"role":"admin"}}}"#,
    )
    .refused()?;
    let forging = r#"{"metadata":{"annotations":{"projectcalico.org/metadata":"{\"labels\":{\"role\":\"admin\"}}"}}}"#;
    let forged = patch("globalnetworksets.projectcalico.org/partners", forging).refused()?;
    assert!(forged.contains("Calico's own bookkeeping"), "{forged}");
    let kubeconfig = stand.plane.kubeconfig().display().to_string();
    let grant = stand.headgate(&[
        "break-glass",
        "--kubeconfig",
        &kubeconfig,
        "--for",
        "10m",
        "--reason",
        "an outage",
        "-o",
        "name",
        "globalnetworksets.projectcalico.org/partners",
    ]);
    let grant = grant.ok()?;
    crate::grants::until_active(&stand, grant.trim())?;
    stand.until("the grant to let an edit pass", || {
        let edit = r#"{"metadata":{"labels":{"role":"admin"}}}"#;
        let said = patch("globalnetworksets.projectcalico.org/partners", edit);
        Ok(said.succeeded().then_some(()))
    })?;
    let forged = patch("globalnetworksets.projectcalico.org/partners", forging).refused()?;
    assert!(forged.contains("Calico's own bookkeeping"), "{forged}");
    stand.kubectl(&["delete", grant.trim()]).ok()?;
    stand.until("Git to come back", || {
        let set = stand.get("globalnetworksets.projectcalico.org/partners", None)?;
        Ok((set["metadata"]["labels"]["role"] == "partner").then_some(()))
    })?;
    stand
        .kubectl(&["delete", "tiers.projectcalico.org", "platform"])
        .refused()?;
    // The same content in another spelling is the same.
    stand
        .apply(&POLICY.replace("100.0", "100").replace("[80,", "[\"80\","))
        .ok()?;
    Ok(())
}
