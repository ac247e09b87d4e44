//! Bad input and bad days: the old head stays, nothing is deleted, and the error says what to do.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::policies::{allow_port, default_deny};
use crate::stand::{Failure, NAMESPACE, OWN_MANIFESTS, Stand, condition};
use crate::{Outcome, denied_namespace, stand};

/// The body behind a URL without TLS.
pub(crate) fn get(url: &str) -> Result<String, Failure> {
    on_runtime(async { Ok(reqwest::get(url).await?.text().await?) })
}

fn on_runtime<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

/// Sends a body to the webhook itself, trusting only its own authority.
fn post(stand: &Stand, body: Vec<u8>) -> Result<(u16, String), Failure> {
    let url = format!(
        "https://{}/validate?timeout=10s",
        stand.address("webhook", "the webhook listens")?
    );
    let ca = reqwest::Certificate::from_pem(&std::fs::read(Path::new(&stand.certificates()).join("ca.crt"))?)?;
    on_runtime(async {
        let client = reqwest::Client::builder().tls_certs_only([ca]).build()?;
        let answer = client
            .post(url)
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    })
}

/// Commits what must not be accepted, tells what the status says of it, and takes it back.
fn refused_commit(
    stand: &Stand,
    write: impl FnOnce() -> Outcome,
    undo: impl FnOnce() -> Outcome,
) -> Result<Value, Failure> {
    let before = stand.get("policysource/platform", None)?["status"]["head"]["commit"].clone();
    write()?;
    stand.repository.commit("Something that must not be accepted")?;
    let refusal = stand.until("the commit to be refused", || {
        let source = stand.get("policysource/platform", None)?;
        assert_eq!(source["status"]["head"]["commit"], before, "the old head did not stay");
        Ok(condition(&source, "Accepted")
            .filter(|accepted| accepted["status"] == "False")
            .cloned())
    })?;
    let anchor = stand.get("networkpolicy/deny", Some("anchor"))?;
    assert!(!anchor.is_null(), "something was deleted");
    undo()?;
    let good = stand.repository.commit("The next good one")?;
    stand.until_ready_at("platform", &good)?;
    Ok(refusal)
}

#[test]
fn a_commit_with_a_broken_file_is_not_accepted_and_the_next_good_one_is() -> Outcome {
    let stand = stand()?;
    let file = "policies/broken.yaml";
    let refusal = refused_commit(
        &stand,
        || {
            stand.repository.write(
                file,
                "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a\n",
            )
        },
        || stand.repository.remove(file),
    )?;
    assert_eq!(refusal["reason"], "UnreadableFile", "{refusal}");
    assert!(
        refusal["message"]
            .as_str()
            .is_some_and(|text| text.contains("policies/broken.yaml:")),
        "{refusal}"
    );
    Ok(())
}

#[test]
fn a_commit_with_two_files_for_one_object_is_not_accepted() -> Outcome {
    let stand = stand()?;
    let file = "policies/second.yaml";
    let refusal = refused_commit(
        &stand,
        || stand.repository.write(file, &default_deny("anchor")),
        || stand.repository.remove(file),
    )?;
    assert_eq!(refusal["reason"], "DuplicateObject", "{refusal}");
    let message = refusal["message"].as_str().unwrap_or_default();
    assert!(
        message.contains(file) && message.contains("policies/anchor/deny.yaml"),
        "{message}"
    );
    Ok(())
}

#[test]
fn an_emptied_repository_deletes_nothing() -> Outcome {
    let stand = stand()?;
    let (policies, aside) = (
        stand.repository.work().join("policies"),
        stand.repository.work().join(".git/aside"),
    );
    let refusal = refused_commit(
        &stand,
        || Ok(std::fs::rename(&policies, &aside)?),
        || Ok(std::fs::rename(&aside, &policies)?),
    )?;
    assert_eq!(refusal["reason"], "EmptyTree", "{refusal}");
    Ok(())
}

#[test]
fn a_repository_that_vanishes_leaves_its_head_in_force() -> Outcome {
    let stand = stand()?;
    denied_namespace(&stand, "fault-vanish")?;
    let aside = stand.repository.bare().with_extension("aside");
    std::fs::rename(stand.repository.bare(), &aside)?;
    let source = stand.until("the failed fetch in the status", || {
        let source = stand.get("policysource/platform", None)?;
        Ok(condition(&source, "Fetched")
            .is_some_and(|fetched| fetched["status"] == "False")
            .then_some(source))
    })?;
    let said = stand.apply(&allow_port("fault-vanish", "rogue", 80)).refused()?;
    let same = stand.apply(&default_deny("fault-vanish"));
    std::fs::rename(&aside, stand.repository.bare())?;
    assert!(
        said.contains("is not in Git") && said.contains("Git could not be read again just now"),
        "{said}"
    );
    same.ok()?;
    let message = condition(&source, "Fetched").map(|fetched| fetched["message"].to_string());
    assert!(message.is_some_and(|message| message.len() > 20));
    let commit = stand.repository.commit("The repository is back")?;
    stand.until_ready_at("platform", &commit)
}

#[test]
fn a_body_that_is_no_review_or_too_large_is_refused() -> Outcome {
    let stand = stand()?;
    let (code, text) = post(&stand, b"{\"kind\":".to_vec())?;
    assert_eq!(code, 400, "{text}");
    // The connection is cut while the client still writes: it may or may not get to see the answer.
    if let Ok((code, text)) = post(&stand, vec![b' '; 8 * 1024 * 1024]) {
        assert_eq!(code, 413, "{text}");
    }
    stand.until("the oversized body on record", || {
        let records = stand.records("webhook")?;
        Ok(records
            .iter()
            .any(|record| record["message"].to_string().contains("exceeds 7 MiB"))
            .then_some(()))
    })?;
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u-1", "kind": {"group": "networking.k8s.io", "version": "v1", "kind": "NetworkPolicy"},
        "operation": "CREATE", "userInfo": {"username": "alice"}
    }});
    let (code, text) = post(&stand, review.to_string().into_bytes())?;
    let answer: Value = serde_json::from_str(&text)?;
    assert_eq!((code, &answer["response"]["uid"]), (200, &json!("u-1")));
    assert_eq!(
        (&answer["response"]["allowed"], &answer["response"]["status"]["code"]),
        (&json!(false), &json!(403))
    );
    Ok(())
}

#[test]
fn the_certificate_is_replaced_without_a_restart_and_a_wrong_one_is_not_taken() -> Outcome {
    let stand = stand()?;
    denied_namespace(&stand, "fault-certificate")?;
    let folder = Path::new(&stand.certificates()).to_owned();
    let key = std::fs::read(folder.join("tls.key"))?;
    std::fs::write(folder.join("tls.key"), "no key at all")?;
    let log = || -> Result<String, Failure> { Ok(std::fs::read_to_string(stand.plane.log("webhook"))?) };
    stand.until("the complaint about the wrong key", || {
        Ok(log()?.contains("the old one stays in service").then_some(()))
    })?;
    stand.apply(&default_deny("fault-certificate")).ok()?;
    std::fs::write(folder.join("tls.key"), key)?;
    stand
        .headgate(&["certs", "--out", &stand.certificates(), "--force"])
        .ok()?;
    stand.until("the new certificate in service", || {
        Ok(log()?.contains("the certificate was replaced").then_some(()))
    })?;
    let ca = serde_json::to_value(k8s_openapi::ByteString(std::fs::read(folder.join("ca.crt"))?))?;
    // As an upgrade says it: the loop brings the webhook configuration there.
    let live = stand.get("validatingwebhookconfiguration/headgate", None)?;
    let old = live["webhooks"][0]["clientConfig"]["caBundle"]
        .as_str()
        .unwrap_or_default();
    let mut map = stand.get(&format!("configmap/{OWN_MANIFESTS}"), Some(NAMESPACE))?;
    let manifests = map["data"]["manifests.yaml"].as_str().unwrap_or_default();
    map["data"]["manifests.yaml"] = manifests.replace(old, ca.as_str().unwrap_or_default()).into();
    stand.kubectl_with(&["replace", "-f", "-"], &map.to_string()).ok()?;
    // The API server takes a moment to see the new bundle; until then it refuses, which is what Fail means.
    stand.until("the API server to trust the new certificate", || {
        Ok(stand
            .apply(&default_deny("fault-certificate"))
            .succeeded()
            .then_some(()))
    })
}

#[test]
fn the_process_drains_and_ends_when_told_to() -> Outcome {
    let stand = Stand::new()?;
    stand.serve("")?;
    let probes = stand.probes("headgate")?;
    stand.until("readiness", || {
        Ok((get(&format!("{probes}/readyz"))? == "ok").then_some(()))
    })?;
    let pid = stand.plane.pid_beside("headgate").ok_or("the process is not there")?;
    Command::new("kill").args(["-TERM", &pid.to_string()]).status()?;
    let ended = stand.until("the end of the process", || {
        Ok(stand.plane.check().err().map(|error| error.to_string()))
    })?;
    assert!(ended.contains("exit status: 0"), "{ended}");
    assert!(ended.contains("headgate stops"), "{ended}");
    Ok(())
}
