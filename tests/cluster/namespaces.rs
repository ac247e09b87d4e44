//! `guardNamespaces`: a namespace in which Git declares policies stays, and nothing else about namespaces changes.

use serde_json::{Value, json};

use crate::policies::default_deny;
use crate::stand::{NAMESPACE, Stand};
use crate::{Failure, Outcome};

#[test]
fn a_namespace_stays_while_git_declares_policies_in_it_and_goes_once_it_does_not() -> Outcome {
    let stand = Stand::new()?;
    stand.serve("guardNamespaces: true\n")?;
    for namespace in ["kept", "free", "held", "later"] {
        stand.kubectl(&["create", "namespace", namespace]).ok()?;
    }
    stand.repository.write("anchor.yaml", &default_deny("later"))?;
    stand.repository.write("kept.yaml", &default_deny("kept"))?;
    let first = stand.repository.commit("Deny everything in kept")?;
    stand.add_source("platform", json!({}))?;
    stand.until_ready_at("platform", &first)?;
    let delete = |namespace: &str, more: &[&str]| {
        stand.kubectl(&[&["delete", "namespace", namespace, "--timeout=50s"], more].concat())
    };

    let said = delete("kept", &[]).refused()?;
    let text = "Namespace kept may not be deleted: Git still declares 1 policy in it.\n  source: platform, 1 policy\n\
        Remove them from Git first.";
    assert!(said.contains(text) && !said.contains("file://"), "{said}");
    let sync = format!("--as=system:serviceaccount:{NAMESPACE}:headgate-sync");
    let groups = "--as-group=system:masters";
    delete("kept", &[&sync, groups]).refused()?;
    delete("kept", &["--dry-run=server"]).refused()?;
    assert!(stand.get("namespace/kept", None)?["metadata"]["deletionTimestamp"].is_null());
    assert!(!stand.get("networkpolicy/deny", Some("kept"))?.is_null());
    let record = record_of(&stand, "kept")?;
    assert_eq!(
        (&record["outcome"], &record["reason"], &record["source"]),
        (&"denied".into(), &"NamespaceDeclared".into(), &"platform".into())
    );

    // All else about namespaces is as ever.
    stand.kubectl(&["label", "namespace", "kept", "team=a"]).ok()?;
    stand.kubectl(&["annotate", "namespace", "kept", "team=a"]).ok()?;
    delete("free", &[]).ok()?;

    stand.repository.remove("kept.yaml")?;
    stand.repository.commit("Nothing in kept any more")?;
    // The very next delete passes: it waits for the fetch.
    delete("kept", &[]).ok()?;
    assert!(stand.get("namespace/kept", None)?.is_null());

    // One that is going may go on going, whether the webhook can be reached or not.
    let hold = r#"{"metadata":{"finalizers":["example.com/hold"]}}"#;
    stand
        .kubectl(&["patch", "namespace", "held", "--type=merge", "-p", hold])
        .ok()?;
    delete("held", &["--wait=false"]).ok()?;
    stand.ask_at("https://127.0.0.1:1")?;
    stand.until("the webhook to be out of reach", || {
        let said = delete("later", &["--dry-run=server"]);
        Ok(said
            .err
            .contains("failed calling webhook \"namespace-deletion.headgate.dev\"")
            .then_some(()))
    })?;
    delete("held", &["--wait=false"]).ok()?;
    Ok(())
}

fn record_of(stand: &Stand, namespace: &str) -> Result<Value, Failure> {
    let mut records = stand.records("headgate")?.into_iter();
    let found = records.find(|record| record["namespace"] == namespace && record["dryRun"] == false);
    Ok(found.ok_or("the refusal is not on record")?)
}
