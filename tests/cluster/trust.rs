//! Who and what is trusted, on record: sources, their Secrets, the configuration, and who asked for it.

use std::path::Path;

use serde_json::{Value, json};

use crate::Outcome;
use crate::faults::get;
use crate::policies::default_deny;
use crate::stand::{Failure, NAMESPACE, OWN_MANIFESTS, Stand};

/// Passwords that must not be seen anywhere.
const PASSWORDS: [&str; 3] = ["s3cret-one", "s3cret-two", "s3cret-three"];

/// A record in short: outcome, reason, and the fields.
fn short(record: &Value) -> String {
    let text = |field: &str| record[field].as_str().unwrap_or_default().to_owned();
    let changes = record["changes"].as_array().into_iter().flatten();
    let paths: Vec<&str> = changes.filter_map(|change| change["path"].as_str()).collect();
    format!("{} {} {}", text("outcome"), text("reason"), paths.join(" "))
}

fn of_trust(stand: &Stand, process: &str) -> Result<Vec<Value>, Failure> {
    let records = stand.records(process)?.into_iter();
    Ok(records.filter(|record| record["subject"] == "trust").collect())
}

/// Waits until a process has told exactly this of what is trusted, in any order, and nothing else.
fn until_told(stand: &Stand, process: &str, expected: &[&str]) -> Result<Vec<Value>, Failure> {
    let mut expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
    expected.sort();
    let mut last = Vec::new();
    let told = stand.until(&format!("{process} to tell {expected:#?}"), || {
        let records = of_trust(stand, process)?;
        last = records.iter().map(short).collect();
        last.sort();
        Ok((last.len() >= expected.len()).then_some(records))
    })?;
    assert_eq!(last, expected);
    Ok(told)
}

/// kubectl as alice, who administers Headgate.
fn as_alice(stand: &Stand, arguments: &[&str], input: &str) -> Outcome {
    let who = ["--as=alice", "--as-group=system:masters"];
    let all: Vec<&str> = who.iter().chain(arguments).copied().collect();
    stand.kubectl_with(&all, input).ok().map(drop)
}

fn write_secret(stand: &Stand, password: &str) -> Outcome {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "acme-git", "namespace": NAMESPACE, "labels": {"headgate.dev/credentials": "true"}},
        "stringData": {"username": "me", "password": password},
    });
    as_alice(stand, &["apply", "-f", "-"], &secret.to_string())
}

fn change_source(stand: &Stand, spec: &Value) -> Outcome {
    let patch = json!({ "spec": spec }).to_string();
    as_alice(
        stand,
        &["patch", "policysource", "payments", "--type=merge", "-p", &patch],
        "",
    )
}

/// Runs the loop in the place of another, which is killed.
fn take_over(stand: &Stand, before: &'static str, name: &'static str, account: &Path) -> Outcome {
    stand.plane.kill_beside(before)?;
    stand.run(
        name,
        "sync",
        account,
        &["--leader-elect", "--own-manifests", OWN_MANIFESTS],
    )
}

#[test]
fn every_change_of_what_is_trusted_is_told_once_with_who_asked_and_nothing_secret() -> Outcome {
    let stand = Stand::new()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(stand.install_chart(&[]))?;
    let account = runtime.block_on(stand.account("headgate-sync"))?;
    until_told(&stand, "sync", &["started configuration hash"])?;

    // A source and its Secret come.
    stand.kubectl(&["create", "namespace", "payments"]).ok()?;
    stand.repository.write("deny.yaml", &default_deny("payments"))?;
    let commit = stand.repository.commit("Deny everything in payments")?;
    write_secret(&stand, PASSWORDS[0])?;
    let source = json!({
        "apiVersion": "headgate.dev/v1alpha1", "kind": "PolicySource", "metadata": {"name": "payments"},
        "spec": {"git": {"url": stand.repository.url(), "interval": "1s", "credentialsSecretRef": {"name": "acme-git"}}},
    });
    as_alice(&stand, &["create", "-f", "-"], &source.to_string())?;
    stand.until_ready_at("payments", &commit)?;
    let mut expected = vec![
        "started configuration hash",
        "created source spec",
        "created secret password username",
    ];
    let told = until_told(&stand, "sync", &expected)?;
    let hash = told[0]["changes"][0]["to"].clone();
    let source = stand.get("policysource/payments", None)?;
    assert_eq!(source["status"]["configuration"], hash);
    let counted = get(&format!("{}/metrics", stand.probes("sync")?))?;
    let config = format!("config=\"{}\"", hash.as_str().unwrap_or_default());
    assert!(counted.contains(&config), "{config} is not in the metrics");

    // They change.
    change_source(&stand, &json!({"priority": 7}))?;
    expected.push("changed source spec.priority");
    let told = until_told(&stand, "sync", &expected)?;
    let changed = told.last().cloned().unwrap_or_default();
    assert_eq!(changed["changes"][0]["from"], 0);
    assert_eq!(changed["changes"][0]["to"], 7);
    let generation = changed["generation"].clone();
    let actor = changed["actor"].as_str().unwrap_or_default();
    assert!(actor.starts_with("unknown (field manager kubectl-patch"), "{actor}");
    write_secret(&stand, PASSWORDS[1])?;
    expected.push("changed secret password");
    until_told(&stand, "sync", &expected)?;

    // Another process takes over, with another configuration, and tells what changed while nobody led.
    stand.plane.kill_beside("sync")?;
    change_source(&stand, &json!({"maxRemovals": "30%"}))?;
    write_secret(&stand, PASSWORDS[2])?;
    let config = stand.plane.dir().join("config.yaml");
    let text = std::fs::read_to_string(&config)?;
    std::fs::write(&config, text.replace("dryRun: Deny", "dryRun: Warn"))?;
    stand.run(
        "standby",
        "sync",
        &account,
        &["--leader-elect", "--own-manifests", OWN_MANIFESTS],
    )?;
    let told = until_told(
        &stand,
        "standby",
        &[
            "started configuration hash",
            "changed configuration hash dryRun",
            "changed source spec.maxRemovals",
            "changed secret password",
        ],
    )?;
    let changed = told
        .iter()
        .find(|record| record["outcome"] == "changed" && record["reason"] == "configuration");
    assert_eq!(
        changed.ok_or("no change of the configuration")?["changes"][0]["from"],
        hash
    );

    // The next one has nothing to tell but that it starts, until the source goes.
    take_over(&stand, "standby", "lagging", &account)?;
    until_told(&stand, "lagging", &["started configuration hash"])?;
    stand.until("the next process to lead", || {
        let log = std::fs::read_to_string(stand.plane.log("lagging"))?;
        Ok(log.contains("this process leads").then_some(()))
    })?;
    as_alice(&stand, &["delete", "policysource", "payments"], "")?;
    until_told(
        &stand,
        "lagging",
        &["started configuration hash", "deleted source spec"],
    )?;

    alice_asked_for_it(&stand, &generation)?;
    nothing_secret_is_shown(&stand)
}

/// The gate knows who asked for each of the changes.
fn alice_asked_for_it(stand: &Stand, generation: &Value) -> Outcome {
    let asked: Vec<Value> = of_trust(stand, "webhook")?
        .into_iter()
        .filter(|record| record["outcome"] == "asked")
        .collect();
    assert!(
        asked.iter().all(|record| record["user"]["username"] == "alice"),
        "{asked:#?}"
    );
    let in_short: Vec<String> = asked.iter().map(short).collect();
    assert_eq!(
        in_short,
        [
            "asked secret password username",
            "asked source spec",
            "asked source spec.priority",
            "asked secret password",
            "asked source spec.maxRemovals",
            "asked secret password",
            "asked source spec",
        ]
    );
    assert_eq!(
        &asked[2]["generation"], generation,
        "the two records of one change cannot be joined"
    );
    Ok(())
}

/// Neither in what the processes wrote nor in what the loop remembers.
fn nothing_secret_is_shown(stand: &Stand) -> Outcome {
    let remembered = stand.get("secret/headgate-trust", Some(NAMESPACE))?;
    let memory: k8s_openapi::ByteString = serde_json::from_value(remembered["data"]["memory.json"].clone())?;
    let memory = String::from_utf8(memory.0)?;
    assert!(memory.contains("configuration"), "{memory}");
    let events = stand.kubectl(&["get", "events", "-n", NAMESPACE, "-o", "json"]).ok()?;
    assert!(events.contains("Secret acme-git"), "{events}");
    let mut texts = vec![memory, events];
    for process in ["webhook", "sync", "standby", "lagging"] {
        texts.push(std::fs::read_to_string(stand.plane.log(process))?);
    }
    for password in PASSWORDS {
        let encoded = serde_json::to_value(k8s_openapi::ByteString(password.into()))?;
        let encoded = encoded.as_str().unwrap_or_default();
        for text in &texts {
            assert!(!text.contains(password) && !text.contains(encoded));
        }
    }
    Ok(())
}

#[test]
fn who_sets_headgate_up_does_not_wait_for_it() -> Outcome {
    let stand = Stand::new()?;
    let rendered = stand.install_beginning(&[])?;
    let mut own = rendered.own;
    stand.make_certificates()?;
    let ca = std::fs::read(format!("{}/ca.crt", stand.certificates()))?;
    let ca = serde_json::to_value(k8s_openapi::ByteString(ca))?;
    // Nobody answers there.
    stand.install_own(
        &mut own,
        &json!({"url": "https://127.0.0.1:1/validate", "caBundle": ca}),
    )?;
    write_secret(&stand, PASSWORDS[0])?;
    stand.add_source("payments", json!({}))?;
    as_alice(&stand, &["delete", "policysource", "payments"], "")
}
