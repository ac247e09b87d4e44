//! `Audit`, for the whole gate and for one source: everything passes, everybody is told, and nothing is touched.

use serde_json::{Value, json};

use crate::Outcome;
use crate::policies::{allow_port, default_deny};
use crate::stand::{Failure, Said, Stand};

const OPEN: &str = r#"{"spec":{"ingress":[{}]}}"#;

fn open(stand: &Stand, namespace: &str) -> Said {
    stand.kubectl(&[
        "patch",
        "networkpolicy",
        "deny",
        "-n",
        namespace,
        "--type=merge",
        "-p",
        OPEN,
    ])
}

fn is_open(stand: &Stand, namespace: &str) -> Result<bool, Failure> {
    let live = stand.get("networkpolicy/deny", Some(namespace))?;
    Ok(live["spec"]["ingress"].is_array())
}

fn until_drift(stand: &Stand, source: &str, drift: u64) -> Result<Value, Failure> {
    stand.until(&format!("{source} to show a drift of {drift}"), || {
        let live = stand.get(&format!("policysource/{source}"), None)?;
        Ok((live["status"]["drift"] == drift && live["status"]["head"].is_object()).then_some(live))
    })
}

/// What kubectl prints of a warning: one line, with what the refusal would have said.
fn assert_warned(said: &Said, parts: &[&str]) {
    assert!(said.succeeded(), "{said:?}");
    let start = "Warning: Headgate would refuse this (mode Audit): ";
    let line = said.err.lines().find_map(|line| line.strip_prefix(start));
    for part in parts {
        assert!(line.is_some_and(|line| line.contains(part)), "{part}: {said:?}");
    }
}

fn would_deny(stand: &Stand, process: &str, key: &str, reason: &str) -> Result<Value, Failure> {
    let mut records = stand.records(process)?.into_iter();
    let found = records.find(|record| record["key"] == key && record["reason"] == reason);
    let found = found.ok_or_else(|| format!("no record of {key} {reason}"))?;
    assert_eq!(found["outcome"], "would-deny", "{found}");
    Ok(found)
}

#[test]
fn audit_of_the_gate_warns_records_and_touches_nothing_until_enforce_heals() -> Outcome {
    let stand = Stand::new()?;
    stand.serve("mode: Audit\n")?;
    let webhooks = stand.get("validatingwebhookconfiguration/headgate", None)?;
    assert_eq!(webhooks["webhooks"][0]["failurePolicy"], "Ignore");
    stand.kubectl(&["create", "namespace", "audit"]).ok()?;
    stand.repository.write("all/deny.yaml", &default_deny("audit"))?;
    let commit = stand.repository.commit("Deny everything in audit")?;
    let scope = |namespace: &str, path: &str| json!({"git": {"path": path}, "scope": {"namespaces": [namespace]}, "sync": {"prune": "All"}});
    stand.add_source("platform", scope("audit", "all"))?;
    // Missing, and left so.
    until_drift(&stand, "platform", 1)?;
    assert!(stand.get("networkpolicy/deny", Some("audit"))?.is_null());
    let same = stand.apply(&default_deny("audit"));
    assert_eq!((same.code, same.err.as_str()), (0, ""));
    until_drift(&stand, "platform", 0)?;

    assert_warned(
        &open(&stand, "audit"),
        &[
            "NetworkPolicy audit/deny differs from Git.",
            "source: platform",
            "file:   all/deny.yaml",
            "spec.ingress",
        ],
    );
    let rogue = stand.apply(&allow_port("audit", "rogue", 22));
    assert_warned(&rogue, &["NetworkPolicy audit/rogue is not in Git."]);
    let key = |name: &str| format!("networkpolicy.networking.k8s.io/audit/{name}");
    let record = would_deny(&stand, "headgate", &key("deny"), "Differs")?;
    assert_eq!(record["user"]["username"], "admin");
    assert_eq!(record["differences"][0]["path"], "spec.ingress");
    would_deny(&stand, "headgate", &key("rogue"), "NotDeclared")?;
    let source = until_drift(&stand, "platform", 2)?;
    assert_eq!(source["status"]["head"]["commit"], commit.as_str());
    let kubeconfig = stand.plane.kubeconfig().display().to_string();
    let status = stand.headgate(&["status", "--kubeconfig", &kubeconfig]);
    assert_eq!(status.code, 1, "{status:?}");
    assert!(is_open(&stand, "audit")?, "the loop only reports");
    let deleted = stand.kubectl(&["delete", "networkpolicy", "deny", "-n", "audit"]);
    assert_warned(&deleted, &["still declared in Git"]);
    stand.apply(&default_deny("audit")).ok()?;
    open(&stand, "audit").ok()?;

    stand.serve_again("enforcing", "")?;
    stand.until("the policy to be closed", || {
        Ok((!is_open(&stand, "audit")?).then_some(()))
    })?;
    stand.until_ready_at("platform", &commit)?;
    assert!(stand.get("networkpolicy/rogue", Some("audit"))?.is_null());
    assert!(open(&stand, "audit").refused()?.contains("differs from Git"));

    one_source(&stand)
}

fn one_source(stand: &Stand) -> Outcome {
    stand.kubectl(&["create", "namespace", "trial"]).ok()?;
    stand.repository.write("trial/deny.yaml", &default_deny("trial"))?;
    let commit = stand.repository.commit("Deny everything in trial")?;
    let spec = json!({"git": {"path": "trial"}, "scope": {"namespaces": ["trial"]}, "mode": "Audit", "sync": {"prune": "All"}});
    stand.add_source("trial", spec)?;
    until_drift(stand, "trial", 1)?;
    stand.apply(&default_deny("trial")).ok()?;
    until_drift(stand, "trial", 0)?;
    assert_warned(
        &open(stand, "trial"),
        &["trial/deny differs from Git.", "source: trial"],
    );
    let rogue = stand.apply(&allow_port("trial", "rogue", 22));
    assert_warned(&rogue, &["trial/rogue is not in Git."]);
    let record = would_deny(
        stand,
        "enforcing",
        "networkpolicy.networking.k8s.io/trial/deny",
        "Differs",
    )?;
    assert_eq!(record["source"], "trial");
    until_drift(stand, "trial", 2)?;
    assert!(is_open(stand, "trial")?, "the loop only reports");
    // The other source goes on refusing.
    assert!(open(stand, "audit").refused()?.contains("differs from Git"));
    let enforce = [
        "patch",
        "policysource",
        "trial",
        "--type=merge",
        "-p",
        r#"{"spec":{"mode":"Enforce"}}"#,
    ];
    stand.kubectl(&enforce).ok()?;
    stand.until("the policy to be closed", || {
        Ok((!is_open(stand, "trial")?).then_some(()))
    })?;
    stand.until("the rogue to go", || {
        Ok(stand.get("networkpolicy/rogue", Some("trial"))?.is_null().then_some(()))
    })?;
    stand.until_ready_at("trial", &commit)?;
    open(stand, "trial").refused()?;
    Ok(())
}
