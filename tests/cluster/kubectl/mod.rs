//! What each of kubectl's verbs meets at the gate: a test for every row of `docs/kubectl.md`.

mod gate_only;

use std::path::PathBuf;

use serde_json::Value;

use crate::policies::default_deny;
use crate::stand::{Failure, Stand};
use crate::{Outcome, denied_namespace, stand};

/// Runs kubectl on the policy `deny` of a namespace, and tells how it was refused.
fn refused(stand: &Stand, namespace: &str, arguments: &[&str]) -> Result<String, Failure> {
    let said = stand.kubectl(&[arguments, &["-n", namespace]].concat()).refused()?;
    assert!(
        said.contains("Forbidden") || said.contains("denied the request"),
        "{arguments:?}: {said}"
    );
    Ok(said)
}

/// An editor that replaces a text in the file it is given.
fn editor(stand: &Stand, replacement: &str) -> Result<PathBuf, Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    let script = stand.plane.dir().join("editor.sh");
    std::fs::write(&script, format!("#!/bin/sh\nsed -i '{replacement}' \"$1\"\n"))?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
    Ok(script)
}

#[test]
fn apply_server_side_apply_and_replace_of_what_git_says_pass() -> Outcome {
    let stand = stand()?;
    denied_namespace(&stand, "kubectl-same")?;
    let file = default_deny("kubectl-same");
    stand.apply(&file).ok()?;
    stand
        .kubectl_with(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &file)
        .ok()?;
    stand.kubectl_with(&["replace", "-f", "-"], &file).ok()?;
    stand
        .kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &file)
        .ok()?;
    let diff = stand.kubectl_with(&["diff", "-f", "-"], &file);
    assert_eq!(diff.code, 0, "{diff:?}");
    Ok(())
}

#[test]
fn a_foreign_manager_of_the_same_content_passes_and_is_no_drift() -> Outcome {
    let stand = stand()?;
    denied_namespace(&stand, "kubectl-manager")?;
    let apply = [
        "apply",
        "--server-side",
        "--field-manager=someone",
        "--force-conflicts",
        "-f",
        "-",
    ];
    stand.kubectl_with(&apply, &default_deny("kubectl-manager")).ok()?;
    let live = || stand.get("networkpolicy/deny", Some("kubectl-manager"));
    let before = live()?;
    let shown = [
        "get",
        "networkpolicy",
        "deny",
        "-n",
        "kubectl-manager",
        "-o",
        "yaml",
        "--show-managed-fields",
    ];
    assert!(stand.kubectl(&shown).ok()?.contains("manager: someone"));
    // A new head makes the loop compare everything.
    let commit = stand.repository.commit("Nothing new")?;
    stand.until_ready_at("platform", &commit)?;
    let status = stand.get("policysource/platform", None)?["status"].clone();
    assert_eq!(status["drift"].as_u64().unwrap_or_default(), 0, "{status}");
    assert_eq!(
        live()?["metadata"]["resourceVersion"],
        before["metadata"]["resourceVersion"]
    );
    Ok(())
}

#[test]
fn annotate_and_label_are_refused_with_the_key() -> Outcome {
    let stand = stand()?;
    denied_namespace(&stand, "kubectl-label")?;
    let labelled = refused(&stand, "kubectl-label", &["label", "networkpolicy", "deny", "team=a"])?;
    assert!(labelled.contains("metadata.labels.team: not in Git"), "{labelled}");
    let annotated = refused(
        &stand,
        "kubectl-label",
        &["annotate", "networkpolicy", "deny", "acme.example/note=x"],
    )?;
    assert!(
        annotated.contains("metadata.annotations[\"acme.example/note\"]: not in Git"),
        "{annotated}"
    );
    Ok(())
}

#[test]
fn patches_of_all_three_types_are_refused_with_the_field() -> Outcome {
    let stand = stand()?;
    denied_namespace(&stand, "kubectl-patch")?;
    for (kind, patch) in [
        ("merge", r#"{"spec":{"policyTypes":["Egress"]}}"#),
        ("strategic", r#"{"spec":{"policyTypes":["Egress"]}}"#),
        (
            "json",
            r#"[{"op":"replace","path":"/spec/policyTypes/0","value":"Egress"}]"#,
        ),
    ] {
        let said = refused(
            &stand,
            "kubectl-patch",
            &["patch", "networkpolicy", "deny", &format!("--type={kind}"), "-p", patch],
        )?;
        assert!(
            said.contains("spec.policyTypes[0]: \"Ingress\" in Git, \"Egress\" in this request"),
            "{kind}: {said}"
        );
    }
    Ok(())
}

#[test]
fn an_edit_is_refused_with_the_field() -> Outcome {
    let stand = stand()?;
    denied_namespace(&stand, "kubectl-edit")?;
    let edit = |script: PathBuf| {
        stand
            .plane
            .kubectl()
            .args(["edit", "networkpolicy", "deny", "-n", "kubectl-edit"])
            .env("KUBE_EDITOR", script)
            .output()
    };
    let output = edit(editor(&stand, "s/- Ingress/- Egress/")?)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(
        said.contains("NetworkPolicy kubectl-edit/deny differs from Git."),
        "{said}"
    );
    assert!(said.contains("spec.policyTypes[0]"), "{said}");
    assert_eq!(
        stand.get("networkpolicy/deny", Some("kubectl-edit"))?["spec"]["policyTypes"][0],
        "Ingress"
    );
    // An edit that changes nothing asks for nothing.
    assert!(edit(editor(&stand, "s/nothing/nothing/")?)?.status.success());
    Ok(())
}

#[test]
fn a_delete_is_refused_with_the_file_and_a_scale_finds_nothing_to_scale() -> Outcome {
    let stand = stand()?;
    denied_namespace(&stand, "kubectl-delete")?;
    let deleted = refused(&stand, "kubectl-delete", &["delete", "networkpolicy", "deny"])?;
    assert!(
        deleted.contains("NetworkPolicy kubectl-delete/deny is still declared in Git"),
        "{deleted}"
    );
    assert!(deleted.contains("policies/kubectl-delete/deny.yaml"), "{deleted}");
    let forced = refused(
        &stand,
        "kubectl-delete",
        &["delete", "networkpolicy", "deny", "--force", "--grace-period=0"],
    )?;
    assert!(forced.contains("still declared in Git"), "{forced}");
    let all = refused(&stand, "kubectl-delete", &["delete", "networkpolicy", "--all"])?;
    assert!(all.contains("still declared in Git"), "{all}");
    let scale = ["scale", "networkpolicy", "deny", "--replicas=3", "-n", "kubectl-delete"];
    let scaled = stand.kubectl(&scale).refused()?;
    assert!(scaled.contains("could not find the requested resource"), "{scaled}");
    let live: Value = stand.get("networkpolicy/deny", Some("kubectl-delete"))?;
    assert!(
        live["metadata"]["deletionTimestamp"].is_null() && !live["spec"].is_null(),
        "{live}"
    );
    Ok(())
}

#[test]
fn a_dry_run_and_a_diff_of_other_content_are_refused_with_the_difference() -> Outcome {
    let stand = stand()?;
    denied_namespace(&stand, "kubectl-dry")?;
    let other = default_deny("kubectl-dry").replace("[Ingress]", "[Egress]");
    let dry = stand
        .kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &other)
        .refused()?;
    assert!(
        dry.contains("spec.policyTypes[0]: \"Ingress\" in Git, \"Egress\" in this request"),
        "{dry}"
    );
    let diff = stand.kubectl_with(&["diff", "-f", "-"], &other);
    assert!(diff.code > 1, "{diff:?}");
    assert!(diff.err.contains("spec.policyTypes[0]"), "{diff:?}");
    Ok(())
}
