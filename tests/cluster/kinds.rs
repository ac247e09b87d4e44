//! Kinds that the configuration names: a custom resource everywhere, and `ConfigMaps` in one namespace.

use serde_json::json;

use crate::Outcome;
use crate::stand::Stand;
use crate::sync::behind_the_gate;

const DEFINITION: &str = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: firewalls.acme.example}\n\
    spec:\n  group: acme.example\n  scope: Namespaced\n  names: {kind: Firewall, plural: firewalls, singular: firewall}\n  \
    versions:\n    - name: v1\n      served: true\n      storage: true\n      schema:\n        openAPIV3Schema:\n          \
    type: object\n          properties:\n            spec: {type: object, x-kubernetes-preserve-unknown-fields: true}\n";
const FIREWALL: &str = "apiVersion: acme.example/v1\nkind: Firewall\nmetadata: {name: edge, namespace: payments}\n\
    spec: {open: [443], limit: 10.0, note: null}\n";
const VALUES: &str = r#"config.genericKinds=[
    {"group": "acme.example", "version": "v1", "kind": "Firewall", "plural": "firewalls", "namespaced": true},
    {"group": "", "version": "v1", "kind": "ConfigMap", "plural": "configmaps", "namespaced": true,
     "namespaces": ["payments", "billing"]}]"#;

fn settings(namespace: &str, mode: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings, namespace: {namespace}}}\ndata: {{mode: {mode}}}\n"
    )
}

/// The chart with both kinds in its values, and a source that declares one object of each, and one that is not guarded.
fn installed() -> Result<Stand, crate::Failure> {
    let stand = Stand::new()?;
    for namespace in ["payments", "billing", "web"] {
        stand.kubectl(&["create", "namespace", namespace]).ok()?;
    }
    stand.apply(DEFINITION).ok()?;
    let established = [
        "wait",
        "--for=condition=Established",
        "crd/firewalls.acme.example",
        "--timeout=60s",
    ];
    stand.kubectl(&established).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(stand.install_chart(&[VALUES]))?;
    stand.repository.write("edge.yaml", FIREWALL)?;
    stand.repository.write("settings.yaml", &settings("payments", "safe"))?;
    stand.repository.write("web.yaml", &settings("web", "declared"))?;
    let commit = stand.repository.commit("A firewall and settings")?;
    stand.add_source("platform", json!({"sync": {"prune": "All"}}))?;
    stand.until_ready_at("platform", &commit)?;
    Ok(stand)
}

#[test]
fn configured_kinds_are_applied_guarded_and_healed_where_they_are_listed() -> Outcome {
    let stand = installed()?;
    let firewall = || stand.get("firewalls.acme.example/edge", Some("payments"));
    let settings_of = |namespace: &str| stand.get("configmap/settings", Some(namespace));
    assert_eq!(firewall()?["spec"]["open"], json!([443]));
    assert_eq!(settings_of("payments")?["data"]["mode"], "safe");
    assert!(
        settings_of("web")?.is_null(),
        "declared where it is not guarded: skipped"
    );
    refuse_what_git_does_not_say(&stand)?;
    // Elsewhere ConfigMaps are everybody's.
    stand.apply(&settings("web", "free")).ok()?;
    let patch = [
        "patch",
        "configmap",
        "settings",
        "-n",
        "web",
        "--type=merge",
        "-p",
        r#"{"data":{"mode":"freer"}}"#,
    ];
    stand.kubectl(&patch).ok()?;
    // What Git says may be applied by anyone.
    stand
        .apply(&format!("{FIREWALL}---\n{}", settings("payments", "safe")))
        .ok()?;
    behind_the_gate(&stand, || {
        stand
            .kubectl(&["delete", "firewalls.acme.example", "edge", "-n", "payments"])
            .ok()?;
        let replaced = settings("payments", "unsafe").replace("\ndata:", "\nimmutable: false\ndata:");
        stand.apply(&replaced).ok()?;
        stand.apply(&settings("billing", "rogue")).ok()?;
        stand.until("the firewall to come back", || {
            Ok((!firewall()?.is_null()).then_some(()))
        })?;
        stand.until("the settings to be mended", || {
            let live = settings_of("payments")?;
            Ok((live["data"]["mode"] == "safe" && live["immutable"].is_null()).then_some(()))
        })?;
        stand.until("the undeclared settings to go", || {
            Ok(settings_of("billing")?.is_null().then_some(()))
        })
    })?;
    assert_eq!(settings_of("web")?["data"]["mode"], "freer", "not the loop's to touch");
    let root = stand.get("configmap/kube-root-ca.crt", Some("payments"))?;
    assert!(!root.is_null(), "every Pod needs it");
    Ok(())
}

fn refuse_what_git_does_not_say(stand: &Stand) -> Outcome {
    let patch = |object: &str, patch: &str| {
        let arguments = ["patch", object, "-n", "payments", "--type=merge", "-p", patch];
        stand.kubectl(&arguments).refused()
    };
    let opened = patch("firewalls.acme.example/edge", r#"{"spec":{"open":[22,443]}}"#)?;
    assert!(opened.contains("Firewall payments/edge differs from Git."), "{opened}");
    assert!(opened.contains("spec.open[0]: not in Git"), "{opened}");
    let changed = patch("configmap/settings", r#"{"data":{"mode":"unsafe"}}"#)?;
    assert!(
        changed.contains("ConfigMap payments/settings differs from Git."),
        "{changed}"
    );
    let rogue = settings("payments", "x").replace("name: settings", "name: rogue");
    let rogue = stand.apply(&rogue).refused()?;
    assert!(rogue.contains("ConfigMap payments/rogue is not in Git."), "{rogue}");
    let deleted = stand
        .kubectl(&["delete", "configmap", "settings", "-n", "payments"])
        .refused()?;
    assert!(deleted.contains("still declared in Git"), "{deleted}");
    Ok(())
}

#[test]
fn the_command_line_knows_the_configured_kinds() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let config = "genericKinds:\n  - {group: acme.example, version: v1, kind: Firewall, plural: firewalls, namespaced: true}\n  \
        - {group: '', version: v1, kind: ConfigMap, plural: configmaps, namespaced: true, namespaces: [payments]}\n";
    std::fs::write(path("config"), config)?;
    std::fs::write(path("edge.yaml"), FIREWALL)?;
    std::fs::write(path("settings.yaml"), settings("web", "x"))?;
    let headgate = |arguments: &[&str]| -> Result<(Option<i32>, String), crate::Failure> {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_headgate"))
            .args(arguments)
            .output()?;
        Ok((output.status.code(), String::from_utf8(output.stdout)?))
    };
    let (dir, config) = (folder.path().display().to_string(), path("config"));
    let (_, without) = headgate(&["check", &dir])?;
    assert!(
        without.contains("edge.yaml:1: ignored: acme.example/v1 Firewall"),
        "{without}"
    );
    let (code, with) = headgate(&["check", &dir, "--config", &config])?;
    assert_eq!(code, Some(0), "{with}");
    assert!(
        with.contains("settings.yaml:1:1: warning: ConfigMap web/settings is outside"),
        "{with}"
    );
    let (_, digest) = headgate(&["digest", &path("edge.yaml"), "--config", &config])?;
    assert!(
        digest.starts_with("firewall.acme.example/payments/edge hg1:"),
        "{digest}"
    );
    let certs = path("certs");
    headgate(&["certs", "--dns", "localhost", "--out", &certs])?;
    let ca = format!("{certs}/ca.crt");
    let url = [
        "webhook-configuration",
        "--url",
        "https://127.0.0.1",
        "--ca",
        &ca,
        "--config",
        &config,
    ];
    let (_, webhooks) = headgate(&url)?;
    assert!(webhooks.contains("request.namespace in ['payments']"), "{webhooks}");
    Ok(())
}
