//! A push, and a request to refresh, reach every process: the one that hears of it, the leader, the webhook. Nothing is
//! polled meanwhile.

use serde_json::{Value, json};

use crate::Outcome;
use crate::policies::{allow_port, default_deny};
use crate::replicas::{ask, review};
use crate::stand::{Failure, NAMESPACE, Stand, condition};

const TOKEN: &str = "a-token-that-nobody-guesses";

/// The chart's two processes, a sync loop that does not lead beside them, and a source that takes pushes.
fn with_a_follower() -> Result<Stand, Failure> {
    let stand = Stand::new()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(stand.install_chart(&[]))?;
    stand.kubectl(&["create", "namespace", "payments"]).ok()?;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"token": TOKEN}, "metadata": {
        "name": "acme-push", "namespace": NAMESPACE, "labels": {"headgate.dev/credentials": "true"}}});
    stand.apply(&secret.to_string()).ok()?;
    stand.repository.write("deny.yaml", &default_deny("payments"))?;
    stand.repository.write("web.yaml", &allow_port("payments", "web", 80))?;
    let commit = stand.repository.commit("Admit 80")?;
    let git = json!({"interval": "1h", "pushSecretRef": {"name": "acme-push"}});
    stand.add_source("platform", json!({"git": git}))?;
    stand.until_ready_at("platform", &commit)?;
    let account = runtime.block_on(stand.account("headgate-sync"))?;
    stand.run(
        "standby",
        "sync",
        &account,
        &["--leader-elect", "--push-listen", "127.0.0.1:0"],
    )?;
    for name in ["webhook", "standby"] {
        stand.until("every process to have the first commit", || {
            let log = std::fs::read_to_string(stand.plane.log(name))?;
            Ok(log.contains(&format!("commit={commit}")).then_some(()))
        })?;
    }
    Ok(stand)
}

fn change(stand: &Stand, port: u16) -> Result<String, Failure> {
    stand
        .repository
        .write("web.yaml", &allow_port("payments", "web", port))?;
    stand.repository.commit(&format!("Admit {port}"))
}

/// Delivers a push to this process once it takes them.
fn deliver(stand: &Stand, name: &'static str) -> Outcome {
    let url = format!(
        "http://{}/push/platform",
        stand.address(name, "the push endpoint listens")?
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    stand.until("the push to be accepted", || {
        let sent = client.post(&url).header("X-Gitlab-Token", TOKEN).send();
        Ok((runtime.block_on(sent)?.status() == 202).then_some(()))
    })
}

/// Waits until the webhook decides by a commit. What is asked about is the same in both, so nothing is fetched for it.
fn until_decided_by(stand: &Stand, commit: &str) -> Outcome {
    stand.until("the webhook to decide by the new commit", || {
        let answer = ask(stand, "webhook", &review("deny", 0))?;
        assert_eq!(answer["allowed"], true, "{answer}");
        Ok((answer["auditAnnotations"]["commit"] == *commit).then_some(()))
    })
}

fn port(stand: &Stand) -> Result<Value, Failure> {
    let mut live = stand.get("networkpolicy/web", Some("payments"))?;
    Ok(live["spec"]["ingress"][0]["ports"][0]["port"].take())
}

#[test]
fn a_push_that_reaches_a_process_that_does_not_lead_reaches_the_webhook_and_the_cluster() -> Outcome {
    let stand = with_a_follower()?;
    let commit = change(&stand, 443)?;
    deliver(&stand, "standby")?;
    until_decided_by(&stand, &commit)?;
    stand.until_ready_at("platform", &commit)?;
    assert_eq!(port(&stand)?, 443);
    let log = std::fs::read_to_string(stand.plane.log("standby"))?;
    assert!(log.contains("announced a commit to the other replicas"), "{log}");
    assert!(!log.contains("this process leads"), "{log}");
    // And one that reaches the leader.
    let commit = change(&stand, 8443)?;
    deliver(&stand, "sync")?;
    until_decided_by(&stand, &commit)?;
    stand.until_ready_at("platform", &commit)
}

#[test]
fn a_refresh_has_every_process_look_and_says_what_came_of_it() -> Outcome {
    let stand = with_a_follower()?;
    let kubeconfig = stand.plane.kubeconfig().display().to_string();
    let refresh = |more: &[&str]| {
        let arguments = ["source", "refresh", "platform", "--kubeconfig", &kubeconfig];
        stand.headgate(&[&arguments, more].concat())
    };
    let commit = change(&stand, 443)?;
    let said = refresh(&[]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
    assert_eq!(said.out, format!("policysource.headgate.dev/platform at {commit}\n"));
    until_decided_by(&stand, &commit)?;
    let source = stand.get("policysource/platform", None)?;
    let asked = &source["metadata"]["annotations"]["headgate.dev/refresh-requested-at"];
    assert_eq!(source["status"]["lastHandledRefresh"], *asked);
    assert_eq!(
        condition(&source, "Fresh").map(|fresh| &fresh["status"]),
        Some(&json!("True"))
    );
    assert_eq!(
        refresh(&["--no-wait"]).ok()?,
        "policysource.headgate.dev/platform asked to refresh\n"
    );
    // What keeps the old commit in force is said, and found.
    stand
        .repository
        .write("web.yaml", "kind: NetworkPolicy\n  metadata: [")?;
    stand.repository.commit("Break it")?;
    let said = refresh(&[]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("UnreadableFile: web.yaml:2:"), "{said:?}");
    assert_eq!(
        said.out,
        format!("policysource.headgate.dev/platform still at {commit}\n")
    );
    let away = stand.repository.bare().with_extension("away");
    std::fs::rename(stand.repository.bare(), &away)?;
    let said = refresh(&[]);
    assert!(said.code == 1 && said.err.contains("FetchFailed"), "{said:?}");
    std::fs::rename(away, stand.repository.bare())?;
    let suspend = ["source", "suspend", "platform", "--kubeconfig", &kubeconfig];
    stand.headgate(&suspend).ok()?;
    let said = refresh(&[]);
    assert!(said.code == 1 && said.err.contains("suspended"), "{said:?}");
    let nobody = stand.headgate(&["source", "refresh", "nobody", "--kubeconfig", &kubeconfig]);
    assert!(nobody.code == 1 && nobody.err.contains("not found"), "{nobody:?}");
    Ok(())
}
