//! Break-glass: who makes a grant steps around Git for a while, nobody else does, and Git comes back when it ends.

use serde_json::{Value, json};

use crate::policies::{allow_port, default_deny};
use crate::stand::{Failure, NAMESPACE, Said, Stand, condition};
use crate::{Outcome, denied_namespace, stand};

const OPEN: &str = r#"{"spec":{"ingress":[{}]}}"#;

fn grant(name: &str, user: &str, namespace: &str, policy: &str, lasts: &str) -> Value {
    json!({
        "apiVersion": "headgate.dev/v1alpha1", "kind": "PolicyGrant", "metadata": {"name": name},
        "spec": {
            "requestedBy": user, "duration": lasts, "reason": "an outage",
            "objects": [{"kind": "networkpolicy.networking.k8s.io", "namespace": namespace, "name": policy}],
        }
    })
}

fn make(stand: &Stand, grant: &Value) -> Said {
    stand.kubectl_with(&["create", "-f", "-"], &grant.to_string())
}

/// The loop has heard of it.
pub(crate) fn until_active(stand: &Stand, grant: &str) -> Outcome {
    stand.until("the grant in force", || {
        let grant = stand.get(grant, None)?;
        Ok(condition(&grant, "Active")
            .filter(|active| active["status"] == "True")
            .map(drop))
    })
}

/// Both halves have heard of it: the loop wrote its status, and the gate lets a dry run pass.
fn until_in_force(stand: &Stand, name: &str, namespace: &str) -> Outcome {
    until_active(stand, &format!("policygrant/{name}"))?;
    stand.until("the gate to know the grant", || {
        Ok(open(stand, namespace, &["--dry-run=server"]).succeeded().then_some(()))
    })
}

fn open(stand: &Stand, namespace: &str, more: &[&str]) -> Said {
    let patch = [
        "patch",
        "networkpolicy",
        "deny",
        "-n",
        namespace,
        "--type=merge",
        "-p",
        OPEN,
    ];
    stand.kubectl(&[&patch, more].concat())
}

fn is_closed(stand: &Stand, namespace: &str) -> Result<bool, Failure> {
    let policy = stand.get("networkpolicy/deny", Some(namespace))?;
    Ok(!policy.is_null() && policy["spec"]["ingress"].is_null())
}

/// Not before the loop has looked: it says so in the source's status.
fn until_held(stand: &Stand) -> Outcome {
    stand.until("the loop to say that it leaves the object alone", || {
        let source = stand.get("policysource/platform", None)?;
        Ok(condition(&source, "Synced")
            .filter(|synced| synced["reason"] == "BreakGlass")
            .map(drop))
    })
}

fn of_grant(stand: &Stand, process: &str, name: &str) -> Result<Vec<Value>, Failure> {
    let mut records = stand.records(process)?;
    records.retain(|record| record["grant"]["name"] == name);
    Ok(records)
}

#[test]
fn a_grant_names_who_makes_it_cannot_be_changed_and_cannot_be_long() -> Outcome {
    let stand = stand()?;
    stand.until("the API server to hold grants to who makes them", || {
        Ok((!make(&stand, &grant("grant-others", "bob", "anchor", "none", "1s")).succeeded()).then_some(()))
    })?;
    let said = make(&stand, &grant("grant-other", "bob", "anchor", "deny", "5m")).refused()?;
    assert!(said.contains("has to be who makes the grant: admin"), "{said}");
    let said = make(&stand, &grant("grant-long", "admin", "anchor", "deny", "5h")).refused()?;
    assert!(said.contains("grants.maxDuration, 4h"), "{said}");
    for (field, value) in [
        ("reason", json!(" ")),
        ("duration", json!("0s")),
        ("duration", json!("30h")),
        ("objects", json!([])),
    ] {
        let mut grant = grant("grant-wrong", "admin", "anchor", "deny", "5m");
        grant["spec"][field] = value;
        let said = make(&stand, &grant).refused()?;
        assert!(said.contains(&format!("spec.{field}")), "{said}");
    }
    // Whatever time it says it was made at, the API server knows better.
    let mut early = grant("grant-fixed", "admin", "anchor", "none", "5m");
    early["metadata"]["creationTimestamp"] = json!("2099-01-01T00:00:00Z");
    make(&stand, &early).ok()?;
    let made = stand.get("policygrant/grant-fixed", None)?["metadata"]["creationTimestamp"].clone();
    assert!(made.as_str().is_some_and(|made| made < "2099"), "{made}");
    for patch in [
        r#"{"spec":{"duration":"4h"}}"#,
        r#"{"spec":{"requestedBy":"bob"}}"#,
        r#"{"metadata":{"creationTimestamp":"2099-01-01T00:00:00Z"}}"#,
    ] {
        let said = stand.kubectl(&["patch", "policygrant", "grant-fixed", "--type=merge", "-p", patch]);
        let now = stand.get("policygrant/grant-fixed", None)?;
        assert_eq!(now["metadata"]["creationTimestamp"], made);
        assert_eq!(now["spec"], early["spec"]);
        assert!(
            patch.contains("metadata") || said.err.contains("cannot be changed"),
            "{}",
            said.err
        );
    }
    stand.kubectl(&["delete", "policygrant", "grant-fixed"]).ok().map(drop)
}

#[test]
fn while_a_grant_lives_its_user_steps_around_git_and_when_it_is_deleted_git_comes_back() -> Outcome {
    let stand = stand()?;
    let namespace = "grant-live";
    denied_namespace(&stand, namespace)?;
    open(&stand, namespace, &[]).refused()?;
    make(&stand, &grant("grant-live", "admin", namespace, "deny", "1h")).ok()?;
    until_in_force(&stand, "grant-live", namespace)?;

    let said = open(&stand, namespace, &[]);
    assert!(said.succeeded(), "{}", said.err);
    assert!(
        said.err.contains("Warning: Headgate: break-glass until"),
        "{}",
        said.err
    );
    until_held(&stand)?;
    assert!(!is_closed(&stand, namespace)?, "the loop did not leave it alone");
    let records = of_grant(&stand, "webhook", "grant-live")?;
    let record = records
        .iter()
        .find(|record| record["dryRun"] == false)
        .ok_or("there is no record")?;
    assert_eq!(record["reason"], "BreakGlass");
    assert_eq!(record["outcome"], "allowed");
    assert_eq!(record["grant"]["reason"], "an outage");
    assert_eq!(record["grant"]["requestedBy"], "admin");
    assert_eq!(record["differences"][0]["path"], "spec.ingress");

    let kubeconfig = stand.plane.kubeconfig().display().to_string();
    let diff = ["diff", "--kubeconfig", &kubeconfig, "--allow-file-urls"];
    let shown = stand.headgate(&diff);
    assert_eq!(shown.code, 1, "{shown:?}");
    assert!(
        shown.out.contains("break-glass grant grant-live of admin") && shown.out.contains("spec.ingress"),
        "{shown:?}"
    );
    let shown = stand.headgate(&[&diff[..], &["-o", "json"]].concat());
    let shown: Value = serde_json::from_str(&shown.out)?;
    let row = shown
        .as_array()
        .into_iter()
        .flatten()
        .find(|row| row["key"].to_string().contains("grant-live/deny"));
    assert_eq!(row.ok_or("the object is not shown")?["grant"]["requestedBy"], "admin");

    // Another user, and another object.
    let other = ["--as=bob", "--as-group=system:masters"];
    let delete = ["delete", "networkpolicy", "deny", "-n", namespace];
    let said = stand.kubectl(&[&delete[..], &other].concat()).refused()?;
    assert!(said.contains("still declared in Git"), "{said}");
    let said = stand.apply(&allow_port(namespace, "rogue", 80)).refused()?;
    assert!(said.contains("is not in Git"), "{said}");

    let said = stand.kubectl(&delete);
    assert!(said.succeeded() && said.err.contains("break-glass"), "{}", said.err);
    until_held(&stand)?;
    assert!(stand.get("networkpolicy/deny", Some(namespace))?.is_null());
    stand
        .apply(&default_deny(namespace).replace("[Ingress]", "[Egress]"))
        .ok()?;

    stand.kubectl(&["delete", "policygrant", "grant-live"]).ok()?;
    stand.until("Git to come back", || {
        let policy = stand.get("networkpolicy/deny", Some(namespace))?;
        Ok((policy["spec"]["policyTypes"] == json!(["Ingress"])).then_some(()))
    })?;
    stand.until("the gate to be closed", || {
        Ok((!open(&stand, namespace, &["--dry-run=server"]).succeeded()).then_some(()))
    })?;
    let told = stand.until("the record of its end", || {
        let told = of_grant(&stand, "sync", "grant-live")?;
        Ok((told.len() == 2).then_some(told))
    })?;
    let outcomes: Vec<&Value> = told.iter().map(|record| &record["outcome"]).collect();
    assert_eq!(outcomes, ["granted", "ended"]);
    assert_eq!(told[1]["reason"], "deleted");
    Ok(())
}

#[test]
fn a_grant_ends_at_its_time_and_when_it_is_deleted_whatever_finalizers_say() -> Outcome {
    let stand = stand()?;
    let namespace = "grant-time";
    denied_namespace(&stand, namespace)?;
    let mut held = grant("grant-time", "admin", namespace, "deny", "12s");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    make(&stand, &held).ok()?;
    until_in_force(&stand, "grant-time", namespace)?;
    open(&stand, namespace, &[]).ok()?;
    until_held(&stand)?;
    stand.until("Git to come back", || Ok(is_closed(&stand, namespace)?.then_some(())))?;
    open(&stand, namespace, &[]).refused()?;
    stand.until("the status and the record of its end", || {
        let grant = stand.get("policygrant/grant-time", None)?;
        let over = condition(&grant, "Active").is_some_and(|active| active["reason"] == "Expired");
        let told = of_grant(&stand, "sync", "grant-time")?;
        Ok((over && told.iter().any(|record| record["reason"] == "expired")).then_some(()))
    })?;

    // One that is being deleted and may not go is over, too.
    let mut going = grant("grant-going", "admin", namespace, "deny", "1h");
    going["metadata"]["finalizers"] = json!(["example.com/hold"]);
    make(&stand, &going).ok()?;
    until_in_force(&stand, "grant-going", namespace)?;
    stand
        .kubectl(&["delete", "policygrant", "grant-going", "--wait=false"])
        .ok()?;
    stand.until("the gate to be closed", || {
        Ok((!open(&stand, namespace, &["--dry-run=server"]).succeeded()).then_some(()))
    })?;
    assert!(!stand.get("policygrant/grant-going", None)?.is_null());
    for name in ["grant-time", "grant-going"] {
        let free = r#"{"metadata":{"finalizers":null}}"#;
        stand
            .kubectl(&["patch", "policygrant", name, "--type=merge", "-p", free])
            .ok()?;
    }
    stand.kubectl(&["delete", "policygrant", "grant-time"]).ok().map(drop)
}

#[test]
fn a_loop_that_starts_while_a_grant_lives_leaves_the_object_alone() -> Outcome {
    let stand = stand()?;
    let namespace = "grant-restart";
    denied_namespace(&stand, namespace)?;
    make(&stand, &grant("grant-restart", "admin", namespace, "deny", "1h")).ok()?;
    until_in_force(&stand, "grant-restart", namespace)?;
    open(&stand, namespace, &[]).ok()?;
    until_held(&stand)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let kubeconfig = runtime.block_on(stand.plane.kubeconfig_for_service_account(NAMESPACE, "headgate-sync"))?;
    stand.plane.kill_beside("sync")?;
    stand.run_sync(&kubeconfig)?;
    // What it does from now on tells that it leads and has looked at everything.
    let file = format!("policies/{namespace}/web.yaml");
    stand.repository.write(&file, &allow_port(namespace, "web", 80))?;
    stand.repository.commit("Let the web in")?;
    stand.until("the new loop at work", || {
        Ok((!stand.get("networkpolicy/web", Some(namespace))?.is_null()).then_some(()))
    })?;
    until_held(&stand)?;
    assert!(!is_closed(&stand, namespace)?, "the new loop did not leave it alone");
    stand.kubectl(&["delete", "policygrant", "grant-restart"]).ok()?;
    stand.until("Git to come back", || Ok(is_closed(&stand, namespace)?.then_some(())))
}

#[test]
fn the_command_line_makes_a_grant_for_who_runs_it() -> Outcome {
    let stand = stand()?;
    let namespace = "grant-command";
    denied_namespace(&stand, namespace)?;
    let kubeconfig = stand.plane.kubeconfig().display().to_string();
    let ask = |more: &[&str]| {
        let common = [
            "break-glass",
            "--kubeconfig",
            &kubeconfig,
            "-n",
            namespace,
            "--reason",
            "an outage",
        ];
        stand.headgate(&[&common[..], more].concat())
    };
    let said = ask(&["--for", "30m", "netpol/deny", "--dry-run=client"]).ok()?;
    assert!(said.contains("created (dry run)"), "{said}");
    ask(&["--for", "30m", "netpol/deny", "--dry-run=server"]).ok()?;
    assert_eq!(
        stand
            .kubectl(&["get", "policygrants", "-o", "name"])
            .ok()?
            .matches("/deny-")
            .count(),
        0
    );
    let shown: Value =
        serde_json::from_str(&ask(&["--for", "30m", "netpol/deny", "--dry-run=client", "-o", "json"]).ok()?)?;
    assert_eq!(shown["spec"]["requestedBy"], "admin");
    assert_eq!(shown["spec"]["objects"][0]["kind"], "networkpolicy.networking.k8s.io");

    let said = ask(&[
        "--for",
        "30m",
        "networkpolicy/deny",
        "networkset.projectcalico.org/hosts-*",
    ])
    .ok()?;
    assert!(
        said.contains("End it early: kubectl delete policygrant deny-"),
        "{said}"
    );
    let name = said
        .lines()
        .next()
        .and_then(|line| line.split_whitespace().next())
        .unwrap_or_default();
    assert!(name.starts_with("policygrant.headgate.dev/deny-"), "{name}");
    let name = name.trim_start_matches("policygrant.headgate.dev/");
    until_in_force(&stand, name, namespace)?;
    let table = stand.kubectl(&["get", "policygrants", name]).ok()?;
    for word in ["REQUESTED BY", "ENDS", "admin", "True", "(and 1 more)", "an outage"] {
        assert!(table.contains(word), "{word}: {table}");
    }
    let named = ask(&["--for", "1m", "netpol/deny", "-o", "name"]).ok()?;
    stand
        .kubectl(&["delete", named.trim(), &format!("policygrant.headgate.dev/{name}")])
        .ok()?;

    let long = ask(&["--for", "5h", "netpol/deny"]);
    assert_eq!(long.code, 1, "{}", long.err);
    assert!(long.err.contains("grants.maxDuration"), "{}", long.err);
    for wrong in [
        &["--for", "5m", "deny"][..],
        &["--for", "5m", "pod/deny"],
        &["--for", "soon", "netpol/deny"],
        &["netpol/deny"],
    ] {
        assert_eq!(ask(wrong).code, 2, "{wrong:?}");
    }
    let nobody = stand.plane.kubeconfig_for_user("nobody", &[])?.display().to_string();
    let may_not = stand.headgate(&[
        "break-glass",
        "--kubeconfig",
        &nobody,
        "-n",
        namespace,
        "--for",
        "5m",
        "--reason",
        "r",
        "netpol/deny",
    ]);
    assert_eq!(may_not.code, 2);
    assert!(may_not.err.contains("headgate-break-glass"), "{}", may_not.err);
    Ok(())
}
