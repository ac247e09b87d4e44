//! Two replicas of the webhook: one whose view of Git lags for a moment, and one that is killed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::Outcome;
use crate::policies::{allow_port, default_deny};
use crate::stand::{Failure, NAMESPACE, OWN_MANIFESTS, Stand};

/// While this file is there, the lagging replica's Git waits.
struct Hold(PathBuf);

impl Hold {
    fn begin(stand: &Stand) -> Result<Self, Failure> {
        let hold = Self(stand.plane.dir().join("hold"));
        std::fs::write(&hold.0, "")?;
        Ok(hold)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A folder with a Git that waits while it is held.
fn waiting_git(stand: &Stand) -> Result<PathBuf, Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = stand.plane.dir().join("waiting-git");
    std::fs::create_dir(&folder)?;
    let path = std::env::var("PATH")?;
    let hold = stand.plane.dir().join("hold");
    for name in ["git", "git-upload-pack"] {
        let script = folder.join(name);
        let wait = format!("while [ -e {} ]; do sleep 0.05; done", hold.display());
        std::fs::write(&script, format!("#!/bin/sh\n{wait}\nPATH={path} exec {name} \"$@\"\n"))?;
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(folder)
}

/// The chart's two processes, and another webhook beside them, all at the first commit.
fn with_a_second_replica() -> Result<Stand, Failure> {
    let stand = Stand::new()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(stand.install_chart(&[]))?;
    let account = stand
        .plane
        .kubeconfig_for_service_account(NAMESPACE, "headgate-webhook");
    let account = runtime.block_on(account)?;
    let path = format!("{}:{}", waiting_git(&stand)?.display(), std::env::var("PATH")?);
    stand.run_with(
        ("PATH", &path),
        "lagging",
        "webhook",
        &account,
        &["--certs", &stand.certificates()],
    )?;
    stand.kubectl(&["create", "namespace", "payments"]).ok()?;
    stand.repository.write("deny.yaml", &default_deny("payments"))?;
    let commit = stand.repository.commit("Deny everything in payments")?;
    stand.add_source("platform", json!({}))?;
    stand.until_ready_at("platform", &commit)?;
    for name in ["webhook", "lagging"] {
        stand.until("both replicas to have the first commit", || {
            let log = std::fs::read_to_string(stand.plane.log(name))?;
            Ok(log.contains(&format!("commit={commit}")).then_some(()))
        })?;
    }
    Ok(stand)
}

/// Has the API server ask this replica, and no other.
fn lead_to(stand: &Stand, name: &'static str) -> Outcome {
    let url = format!("https://{}/validate", stand.address(name, "the webhook listens")?);
    let webhooks = stand.get("validatingwebhookconfiguration/headgate", None)?["webhooks"]
        .as_array()
        .map_or(0, Vec::len);
    let replace = |index| json!({"op": "replace", "path": format!("/webhooks/{index}/clientConfig/url"), "value": url});
    let patch = Value::Array((0..webhooks).map(replace).collect()).to_string();
    let arguments = [
        "patch",
        "validatingwebhookconfiguration",
        "headgate",
        "--type=json",
        "-p",
        &patch,
    ];
    // The loop would put it back.
    let map = format!("configmap/{OWN_MANIFESTS}");
    let mark = "headgate.dev/uninstalling=true";
    stand
        .kubectl(&["annotate", "--overwrite", "-n", NAMESPACE, &map, mark])
        .ok()?;
    stand.kubectl(&arguments).ok()?;
    let before = stand.records(name)?.len();
    stand.until("the API server to ask this replica", || {
        stand
            .kubectl_with(
                &["create", "--dry-run=server", "-f", "-"],
                &allow_port("payments", "probe", 1),
            )
            .refused()?;
        Ok((stand.records(name)?.len() > before).then_some(()))
    })
}

#[test]
fn a_lagging_replica_refuses_the_loop_until_it_has_the_commit_and_the_cluster_converges() -> Outcome {
    let stand = with_a_second_replica()?;
    lead_to(&stand, "lagging")?;
    let hold = Hold::begin(&stand)?;
    stand
        .repository
        .write("web.yaml", &allow_port("payments", "web", 443))?;
    let commit = stand.repository.commit("Let the web in")?;
    // The loop has the commit and writes what it says; this replica does not know of it yet.
    stand.until("the lagging replica to refuse the loop", || {
        let records = stand.records("lagging")?;
        let refused = |record: &Value| {
            record["outcome"] == "denied"
                && record["key"].to_string().contains("payments/web")
                && record["user"].to_string().contains("headgate-sync")
        };
        Ok(records.iter().any(refused).then_some(()))
    })?;
    assert!(stand.get("networkpolicy/web", Some("payments"))?.is_null());
    let up_to_date = review("web", 443);
    assert_eq!(
        ask(&stand, "webhook", &up_to_date)?["allowed"],
        true,
        "the other replica knows it"
    );
    drop(hold);
    stand.until("the cluster to converge", || {
        Ok((!stand.get("networkpolicy/web", Some("payments"))?.is_null()).then_some(()))
    })?;
    stand.until_ready_at("platform", &commit)
}

#[test]
fn a_replica_that_is_killed_takes_its_answers_with_it_and_lets_nothing_pass() -> Outcome {
    let stand = with_a_second_replica()?;
    lead_to(&stand, "lagging")?;
    let hold = Hold::begin(&stand)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let client = client(&stand)?;
    let urls = [url(&stand, "lagging")?, url(&stand, "webhook")?];
    let (answered, broken_off) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let one = async |number: usize| {
        // Half of them ask for what Git does not say, and wait; half go to the replica that is about to die.
        let (name, port, is_matching) = if number % 4 < 2 {
            ("deny", 0, true)
        } else {
            ("rogue", 80, false)
        };
        let mut killed = 0;
        while killed < 2 {
            let url = &urls[if killed == 0 { number % 2 } else { 1 }];
            match send(&client, url, &review(name, port)).await {
                Ok(answer) => {
                    assert_eq!(answer["allowed"], is_matching, "{answer}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    assert_eq!(number % 2, 0, "the replica that lives did not answer: {error}");
                    broken_off.fetch_add(1, Ordering::Relaxed);
                }
            }
            killed += usize::from(stand.plane.pid_beside("lagging").is_none());
        }
    };
    let killing = async {
        while answered.load(Ordering::Relaxed) < 300 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        stand.plane.kill_beside("lagging")
    };
    let all = async { tokio::join!(futures::future::join_all((0..200).map(one)), killing).1 };
    runtime.block_on(all)?;
    assert!(broken_off.load(Ordering::Relaxed) > 0, "nothing was in flight");
    drop(hold);
    // The API server knows no other replica yet: whatever is asked, nothing passes.
    let said = stand
        .apply(&default_deny("payments").replace("[Ingress]", "[Egress]"))
        .refused()?;
    assert!(said.contains("failed calling webhook"), "{said}");
    lead_to(&stand, "webhook")?;
    stand.apply(&default_deny("payments")).ok()?;
    stand.apply(&allow_port("payments", "rogue", 80)).refused()?;
    Ok(())
}

/// The review of a creation in the namespace `payments`; without a port, of the declared default deny.
pub(crate) fn review(name: &str, port: u16) -> Value {
    let object = if port == 0 {
        json!({"podSelector": {}, "policyTypes": ["Ingress"]})
    } else {
        json!({"podSelector": {"matchLabels": {"app": name}}, "policyTypes": ["Ingress"],
               "ingress": [{"ports": [{"port": port, "protocol": "TCP"}]}]})
    };
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u-1", "kind": {"group": "networking.k8s.io", "version": "v1", "kind": "NetworkPolicy"},
        "name": name, "namespace": "payments", "operation": "CREATE", "userInfo": {"username": "alice"},
        "object": {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                   "metadata": {"name": name, "namespace": "payments"}, "spec": object}
    }})
}

fn client(stand: &Stand) -> Result<reqwest::Client, Failure> {
    let ca = reqwest::Certificate::from_pem(&std::fs::read(Path::new(&stand.certificates()).join("ca.crt"))?)?;
    Ok(reqwest::Client::builder().tls_certs_only([ca]).build()?)
}

fn url(stand: &Stand, name: &'static str) -> Result<String, Failure> {
    Ok(format!(
        "https://{}/validate?timeout=10s",
        stand.address(name, "the webhook listens")?
    ))
}

async fn send(client: &reqwest::Client, url: &str, review: &Value) -> Result<Value, Failure> {
    let text = client.post(url).body(review.to_string()).send().await?.text().await?;
    Ok(serde_json::from_str::<Value>(&text)?["response"].take())
}

pub(crate) fn ask(stand: &Stand, name: &'static str, review: &Value) -> Result<Value, Failure> {
    let (client, url) = (client(stand)?, url(stand, name)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(send(&client, &url, review))
}
