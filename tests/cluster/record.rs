//! What is left behind of a verdict, for auditors and for people who look with kubectl.

use serde_json::Value;

use crate::policies::allow_port;
use crate::stand::{Failure, NAMESPACE, Stand};
use crate::{Outcome, denied_namespace, stand};

const OPEN: &str = r#"{"spec":{"ingress":[{}]}}"#;

fn verdicts(stand: &Stand, key: &str) -> Result<Vec<Value>, Failure> {
    let records = stand.records("webhook")?;
    Ok(records
        .into_iter()
        .filter(|record| record["subject"] == "verdict" && record["key"] == key)
        .collect())
}

#[test]
fn a_refusal_leaves_a_line_with_who_what_where_and_which_field() -> Outcome {
    let stand = stand()?;
    denied_namespace(&stand, "record-line")?;
    stand
        .kubectl(&[
            "patch",
            "networkpolicy",
            "deny",
            "-n",
            "record-line",
            "--type=merge",
            "-p",
            OPEN,
        ])
        .refused()?;
    let records = verdicts(&stand, "networkpolicy.networking.k8s.io/record-line/deny")?;
    let record = records
        .iter()
        .find(|record| record["reason"] == "Differs")
        .ok_or("there is no record")?;
    assert_eq!(record["outcome"], "denied");
    assert_eq!(record["operation"], "UPDATE");
    assert_eq!(record["dryRun"], false);
    assert_eq!(record["source"], "platform");
    assert_eq!(record["path"], "policies/record-line/deny.yaml");
    assert_eq!(
        record["commit"],
        stand.get("policysource/platform", None)?["status"]["head"]["commit"]
    );
    assert_eq!(record["user"]["username"], "admin");
    assert_eq!(record["differences"][0]["path"], "spec.ingress");
    assert!(
        record["digest"]
            .as_str()
            .is_some_and(|digest| digest.starts_with("hg1:"))
    );
    Ok(())
}

#[test]
fn the_loops_changes_are_recorded_with_their_commit() -> Outcome {
    let stand = stand()?;
    denied_namespace(&stand, "record-change")?;
    let records = stand.records("sync")?;
    let created = records
        .iter()
        .find(|record| record["key"] == "networkpolicy.networking.k8s.io/record-change/deny");
    let created = created.ok_or("the loop's creation is not on record")?;
    assert_eq!(
        (&created["subject"], &created["outcome"]),
        (&Value::from("change"), &Value::from("created"))
    );
    assert!(created["commit"].as_str().is_some_and(|commit| commit.len() == 40));
    Ok(())
}

#[test]
fn a_refusal_becomes_an_event_and_a_dry_run_none() -> Outcome {
    let stand = stand()?;
    stand.kubectl(&["create", "namespace", "record-event"]).ok()?;
    let dry = allow_port("record-event", "dry", 80);
    stand
        .kubectl_with(&["create", "--dry-run=server", "-f", "-"], &dry)
        .refused()?;
    stand.apply(&allow_port("record-event", "wet", 80)).refused()?;
    let related = |name: &str| -> Result<Vec<Value>, Failure> {
        let events: Value = serde_json::from_str(
            &stand
                .kubectl(&["get", "events.events.k8s.io", "-n", NAMESPACE, "-o", "json"])
                .ok()?,
        )?;
        let events = events["items"].as_array().cloned().unwrap_or_default();
        Ok(events
            .into_iter()
            .filter(|event| event["related"]["namespace"] == "record-event" && event["related"]["name"] == name)
            .collect())
    };
    let event = stand.until("the Event of the refusal", || Ok(related("wet")?.first().cloned()))?;
    assert_eq!(
        (&event["reason"], &event["type"]),
        (&Value::from("NotDeclared"), &Value::from("Warning"))
    );
    assert!(
        event["note"].as_str().is_some_and(|note| note.starts_with("admin: ")),
        "{event}"
    );
    assert_eq!(related("dry")?.len(), 0);
    let lines = verdicts(&stand, "networkpolicy.networking.k8s.io/record-event/dry")?;
    assert_eq!(
        lines.first().map(|line| line["dryRun"].clone()),
        Some(Value::Bool(true))
    );
    Ok(())
}

#[test]
fn the_api_servers_audit_log_carries_the_verdict() -> Outcome {
    let stand = stand()?;
    denied_namespace(&stand, "record-audit")?;
    stand
        .kubectl(&[
            "patch",
            "networkpolicy",
            "deny",
            "-n",
            "record-audit",
            "--type=merge",
            "-p",
            OPEN,
        ])
        .refused()?;
    let annotations = stand.until("the audit event", || {
        let events = stand.plane.audit_events()?;
        let ours = events.into_iter().find(|event| {
            event["objectRef"]["namespace"] == "record-audit"
                && event["verb"] == "patch"
                && event["responseStatus"]["code"] == 403
        });
        Ok(ours.map(|event| event["annotations"].clone()))
    })?;
    let value = |key: &str| {
        annotations
            .as_object()
            .and_then(|all| {
                all.iter()
                    .find(|(name, _)| name.contains("headgate.dev/") && name.ends_with(key))
            })
            .map(|(_, value)| value.clone())
    };
    assert_eq!(value("/reason"), Some("Differs".into()), "{annotations}");
    assert_eq!(
        value("/path"),
        Some("policies/record-audit/deny.yaml".into()),
        "{annotations}"
    );
    assert!(
        value("/commit").is_some() && value("/source").is_some() && value("/digest").is_some(),
        "{annotations}"
    );
    Ok(())
}

#[test]
fn metrics_count_verdicts_by_closed_labels() -> Outcome {
    let stand = stand()?;
    stand.kubectl(&["create", "namespace", "record-metrics"]).ok()?;
    stand.apply(&allow_port("record-metrics", "rogue", 80)).refused()?;
    let text = crate::faults::get(&format!("{}/metrics", stand.probes("webhook")?))?;
    let line = text
        .lines()
        .filter(|line| line.starts_with("headgate_verdicts_total{") && line.contains("NotDeclared"))
        .find(|line| line.contains(r#"operation="create""#) && line.contains(r#"dry_run="false""#));
    let line = line.ok_or("the refusal is not counted")?;
    assert!(line.contains(r#"outcome="Denied""#), "{line}");
    assert!(!text.contains("record-metrics"), "a label carries what users choose");
    Ok(())
}
