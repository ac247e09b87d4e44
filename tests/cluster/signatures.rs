//! Signatures where the chart runs: keys from a Secret that its own identities read, and what the gate says.

use std::process::Command;

use serde_json::{Value, json};

use crate::policies::default_deny;
use crate::stand::repository::git;
use crate::stand::{NAMESPACE, Repository, Stand, condition};
use crate::{Failure, Outcome, stand};

fn make_key(stand: &Stand, name: &str) -> Result<(String, String), Failure> {
    let key = stand.plane.dir().join(name).display().to_string();
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", &key])
        .status()?;
    assert!(made.success());
    let public = std::fs::read_to_string(format!("{key}.pub"))?;
    Ok((key, public))
}

/// Writes the Secret with the keys that may sign.
fn list(stand: &Stand, allowed: &str) -> Outcome {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "signers", "namespace": NAMESPACE, "labels": {"headgate.dev/credentials": "true"}},
        "stringData": {"allowed_signers": allowed},
    });
    stand.apply(&secret.to_string()).ok().map(drop)
}

fn until_verified_says(stand: &Stand, status: &str, reason: &str) -> Outcome {
    stand.until(&format!("Verified to say {status} {reason}"), || {
        let source = stand.get("policysource/signed", None)?;
        let says =
            condition(&source, "Verified").is_some_and(|found| found["status"] == status && found["reason"] == reason);
        Ok(says.then_some(()))
    })
}

#[test]
fn the_gate_goes_by_the_last_signed_commit_and_by_no_commit_once_its_key_is_gone() -> Outcome {
    let stand = stand()?;
    stand.kubectl(&["create", "namespace", "signed"]).ok()?;
    let (key, public) = make_key(&stand, "ada")?;
    let (_, other) = make_key(&stand, "bob")?;
    list(&stand, &format!("ada@example.com {public}"))?;
    let repository = Repository::create(&stand.plane.dir().join("signed"))?;
    let sign = |on: &str| -> Outcome {
        for (name, value) in [("gpg.format", "ssh"), ("user.signingKey", &key), ("commit.gpgSign", on)] {
            git(repository.work(), &["config", name, value])?;
        }
        Ok(())
    };
    sign("true")?;
    repository.write("deny.yaml", &default_deny("signed"))?;
    let first = repository.commit("Deny")?;
    let spec = json!({
        "git": {"url": repository.url()}, "scope": {"namespaces": ["signed"]}, "priority": 10,
        "verify": {"mode": "Head", "keysSecretRef": {"name": "signers"}, "whenUnverified": "Deny"},
    });
    stand.add_source("signed", spec)?;
    stand.until_ready_at("signed", &first)?;
    until_verified_says(&stand, "True", "Verified")?;
    let wide = stand.kubectl(&["get", "policysource", "signed", "-o", "wide"]).ok()?;
    assert!(wide.contains("VERIFIED") && wide.contains("Verified"), "{wide}");

    sign("false")?;
    let opened = default_deny("signed").replace("podSelector: {}", "podSelector: {matchLabels: {app: web}}");
    assert_ne!(opened, default_deny("signed"));
    repository.write("deny.yaml", &opened)?;
    repository.commit("Open, by nobody")?;
    until_verified_says(&stand, "False", "Unsigned")?;
    let source: Value = stand.get("policysource/signed", None)?;
    assert_eq!(source["status"]["head"]["commit"], first);
    let said = stand.apply(&opened).refused()?;
    assert!(
        said.contains("differs from Git") && said.contains(first.get(..7).unwrap_or_default()),
        "{said}"
    );
    stand.apply(&default_deny("signed")).ok()?;

    list(&stand, &format!("bob@example.com {other}"))?;
    until_verified_says(&stand, "False", "UnknownKey")?;
    stand.until("the webhook to refuse what was at the head", || {
        let said = stand.kubectl(&["-n", "signed", "delete", "networkpolicy", "--all", "--dry-run=server"]);
        Ok(said.err.contains("no longer signed by a key that counts").then_some(()))
    })?;
    list(&stand, &format!("ada@example.com {public}"))?;
    until_verified_says(&stand, "False", "Unsigned")?;
    stand.until("the webhook to go by the head again", || {
        let said = stand.kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &default_deny("signed"));
        Ok(said.succeeded().then_some(()))
    })?;
    stand.kubectl(&["delete", "policysource", "signed"]).ok()?;
    Ok(())
}
