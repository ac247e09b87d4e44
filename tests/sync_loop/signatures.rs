//! Commits that have to be signed.

use std::process::Command;

use kube::ResourceExt;
use kube::api::PostParams;
use serde_json::json;

use crate::harness::{Bench, allow, condition, deny, until};
use crate::repository::git;
use crate::{Failure, Outcome};

/// Makes a key with which git signs every commit from now on; the line that lists it.
fn sign(bench: &Bench) -> Result<String, Failure> {
    let key = bench.dir.path().join("key").display().to_string();
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", &key])
        .status()?;
    assert!(made.success());
    let work = bench.repository.work();
    for (name, value) in [
        ("gpg.format", "ssh"),
        ("user.signingKey", &key),
        ("commit.gpgSign", "true"),
    ] {
        git(work, &["config", name, value])?;
    }
    Ok(format!(
        "ada@example.com {}",
        std::fs::read_to_string(format!("{key}.pub"))?
    ))
}

async fn until_verified_says(bench: &Bench, expected: (&str, &str)) -> Outcome {
    let expected = (expected.0.to_owned(), expected.1.to_owned());
    until(&format!("Verified says {expected:?}"), async || {
        let found = condition(&bench.source().await?, "Verified");
        Ok((found.as_ref() == Some(&expected)).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsigned_commit_is_not_accepted_and_the_signed_one_before_it_is_healed_towards() -> Outcome {
    let bench = Bench::new("signed").await?;
    let signers = sign(&bench)?;
    bench.secrets.put("signers", "allowed_signers", &signers)?;
    bench.repository.write("deny.yaml", &deny("signed", "deny"))?;
    let first = bench.repository.commit("Deny, signed")?;
    let verify = json!({"mode": "Head", "keysSecretRef": {"name": "signers"}});
    bench.make_source(&json!({"verify": verify})).await?;
    let running = bench.run().await?;
    bench.until_synced_at(&first).await?;
    until_verified_says(&bench, ("True", "Verified")).await?;
    let head = bench
        .source()
        .await?
        .status
        .and_then(|status| status.head)
        .ok_or("no head")?;
    assert!(head.verified_at.is_some());

    git(bench.repository.work(), &["config", "commit.gpgSign", "false"])?;
    bench.repository.write("open.yaml", &allow("signed", "open", 80))?;
    bench.repository.remove("deny.yaml")?;
    bench.repository.commit("Open, by nobody")?;
    bench.until_ready_says("Unsigned").await?;
    until_verified_says(&bench, ("False", "Unsigned")).await?;
    bench.delete("deny").await?;
    bench.until_there("deny").await?;
    bench.create(&allow("signed", "open", 80)).await?;
    bench.until_gone("open").await?;
    let source = bench.source().await?;
    let status = source.status.as_ref().ok_or("no status")?;
    assert_eq!(
        status.head.as_ref().map(|head| head.commit.as_str()),
        Some(first.as_str())
    );
    let refused = running
        .records()?
        .into_iter()
        .find(|record| record["reason"] == "Unsigned");
    let message = refused.ok_or("no record")?["message"].clone();
    assert!(
        message.as_str().is_some_and(|text| text.ends_with("it is not signed")),
        "{message}"
    );

    git(bench.repository.work(), &["config", "commit.gpgSign", "true"])?;
    let mended = bench.repository.commit("Signed again")?;
    bench.until_synced_at(&mended).await?;
    bench.until_there("open").await?;
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_head_without_a_valid_key_is_denied_nothing_is_written() -> Outcome {
    let bench = Bench::new("unkeyed").await?;
    let signers = sign(&bench)?;
    bench.secrets.put("signers", "allowed_signers", &signers)?;
    bench.repository.write("deny.yaml", &deny("unkeyed", "deny"))?;
    let first = bench.repository.commit("Deny, signed")?;
    let verify = json!({"mode": "All", "keysSecretRef": {"name": "signers"}, "whenUnverified": "Deny"});
    bench.make_source(&json!({"verify": verify})).await?;
    let running = bench.run().await?;
    bench.until_synced_at(&first).await?;
    // The key may sign other things from now on.
    let other = signers.replacen("ada@example.com ", "ada@example.com namespaces=\"file\" ", 1);
    bench.secrets.put("signers", "allowed_signers", &other)?;
    until_verified_says(&bench, ("False", "WrongNamespace")).await?;
    bench.until_ready_says("WrongNamespace").await?;
    bench.delete("deny").await?;
    until("the drift is seen", async || {
        let status = bench.source().await?.status;
        Ok(status.is_some_and(|status| status.drift == 1).then_some(()))
    })
    .await?;
    bench.secrets.put("signers", "allowed_signers", &signers)?;
    until_verified_says(&bench, ("True", "Verified")).await?;
    bench.until_there("deny").await?;
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_refuses_a_source_that_asks_for_signatures_of_nobody() -> Outcome {
    let bench = Bench::without_namespace("nobody").await?;
    for (verify, says) in [
        (json!({"mode": "Head"}), "keysSecretRef names the keys"),
        (
            json!({"mode": "Head", "keysSecretRef": {"name": "k"}, "from": "1".repeat(40)}),
            "from needs mode All",
        ),
        (
            json!({"mode": "All", "keysSecretRef": {"name": "k"}, "from": "HEAD"}),
            "a full commit id",
        ),
    ] {
        let refused = bench
            .make_source(&json!({"verify": verify}))
            .await
            .err()
            .ok_or("accepted")?;
        assert!(refused.to_string().contains(says), "{refused}");
    }
    bench.make_source(&json!({"suspend": true})).await?;
    let mut source = bench.source().await?;
    assert_eq!(source.spec.verify, headgate::source::resource::Verify::default());
    source.spec.verify.mode = headgate::source::resource::VerifyMode::All;
    let name = source.name_any();
    assert!(
        bench
            .sources()
            .replace(&name, &PostParams::default(), &source)
            .await
            .is_err()
    );
    Ok(())
}
