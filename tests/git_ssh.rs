//! Repositories over ssh: a real OpenSSH server, with keys of its own.

mod git_support;

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use git_support::ssh::{Server, key_pair};
use git_support::{Origin, Secrets, TestResult, Watched, head_of, holding, policy};
use headgate::source::PolicySource;
use headgate::source::resource::SecretRef;

const TIMEOUT: Duration = Duration::from_secs(30);

fn with_secret(source: &mut PolicySource) {
    source.spec.git.credentials_secret_ref = Some(SecretRef {
        name: "acme-git".to_owned(),
    });
}

fn secret(identity: &str, known_hosts: &str) -> Secrets {
    let entries: &[(&str, &[u8])] = &[
        ("identity", identity.as_bytes()),
        ("known_hosts", known_hosts.as_bytes()),
    ];
    Secrets::of("acme-git", entries)
}

/// What an attempt with these credentials ends with.
async fn attempt(url: &str, secrets: Secrets) -> TestResult<String> {
    let state = tempfile::tempdir()?;
    let watched = Watched::start_with(state.path(), url, secrets, TIMEOUT, with_secret)?;
    let report = watched
        .until("it was looked at", |report| report.attempt.is_some())
        .await?;
    Ok(report.attempt.ok_or("no attempt")?.outcome.err().unwrap_or_default())
}

#[tokio::test]
async fn a_repository_is_read_over_ssh_with_a_deploy_key_that_leaves_no_trace() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let server = Server::start(&origin)?;
    let state = tempfile::tempdir()?;
    let secrets = secret(&server.deploy_key, &server.known_hosts);
    let watched = Watched::start_with(state.path(), &server.url, secrets, TIMEOUT, with_secret)?;
    watched.until_head(&first).await?;
    origin.write("policies/more.yaml", &policy("payments", "more", 80))?;
    let second = origin.commit_and_push("more")?;
    assert_eq!(head_of(&watched.refreshed().await?), Some(second.as_str()));
    watched.stop().await;
    assert_eq!(holding(state.path(), "PRIVATE KEY")?, Vec::<String>::new());
    assert_eq!(holding(state.path(), "secret-")?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_host_with_another_key_than_is_pinned_is_not_asked() -> TestResult {
    let (origin, _) = Origin::with_policies(1)?;
    let server = Server::start(&origin)?;
    let (_, other) = key_pair("ed25519")?;
    let wrong = format!("[127.0.0.1]:{} {other}", server.port);
    for known_hosts in [wrong.as_str(), "git.example.com ssh-ed25519 AAAA"] {
        let why = attempt(&server.url, secret(&server.deploy_key, known_hosts)).await?;
        assert!(why.contains("is not among known_hosts"), "{why}");
    }
    Ok(())
}

#[tokio::test]
async fn a_key_that_the_server_does_not_take_is_named_and_so_is_one_that_is_none() -> TestResult {
    let (origin, _) = Origin::with_policies(1)?;
    let server = Server::start(&origin)?;
    let (stranger, _) = key_pair("ecdsa")?;
    let why = attempt(&server.url, secret(&stranger, &server.known_hosts)).await?;
    assert!(why.contains("does not take the key"), "{why}");
    let broken = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
    let why = attempt(&server.url, secret(broken, &server.known_hosts)).await?;
    assert!(why.contains("no private key"), "{why}");
    let why = attempt(&server.url, Secrets::of("acme-git", &[])).await?;
    assert!(why.contains("identity is missing"), "{why}");
    Ok(())
}

#[tokio::test]
async fn a_repository_that_is_not_there_is_named_without_the_servers_words() -> TestResult {
    let (origin, _) = Origin::with_policies(1)?;
    let server = Server::start(&origin)?;
    let url = format!("{}-gone; touch {}/broken-out", server.url, origin.root().display()).replace(' ', "%20");
    let why = attempt(&url, secret(&server.deploy_key, &server.known_hosts)).await?;
    assert!(why.contains("has no such repository") && !why.contains("gone"), "{why}");
    assert!(!origin.root().join("broken-out").exists());
    Ok(())
}

#[tokio::test]
async fn without_a_secret_ssh_says_what_it_needs() -> TestResult {
    let watched = Watched::start("ssh://git@127.0.0.1:1/x", |_| ())?;
    let report = watched
        .until("it was looked at", |report| report.attempt.is_some())
        .await?;
    let why = report.attempt.ok_or("no attempt")?.outcome.err().unwrap_or_default();
    assert!(why.contains("ssh needs a key"), "{why}");
    Ok(())
}

#[tokio::test]
async fn a_server_that_stops_in_the_middle_is_cut_off_and_its_client_ended() -> TestResult {
    let (origin, _) = Origin::with_policies(1)?;
    // Takes the connection, and then never sends a byte of the repository.
    let server = Server::start_with(&origin, "sleep 600")?;
    let state = tempfile::tempdir()?;
    let secrets = secret(&server.deploy_key, &server.known_hosts);
    let watched = Watched::start_with(state.path(), &server.url, secrets, Duration::from_secs(2), with_secret)?;
    let report = watched
        .until("it was looked at", |report| report.attempt.is_some())
        .await?;
    assert_eq!(
        report.attempt.ok_or("no attempt")?.outcome,
        Err("cut off after 2s".to_owned())
    );
    watched.stop().await;
    server.until_nobody_is_connected().await
}

#[test]
fn a_key_in_the_state_folder_is_readable_by_its_owner_only() -> TestResult {
    let (origin, _) = Origin::with_policies(1)?;
    // The server looks at the client's files while the client waits for it.
    let server = Server::start_with(&origin, "sleep 600")?;
    let state = tempfile::tempdir()?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let secrets = secret(&server.deploy_key, &server.known_hosts);
        let watched = Watched::start_with(state.path(), &server.url, secrets, TIMEOUT, with_secret)?;
        server.until_somebody_is_connected().await?;
        let keys = holding(state.path(), "PRIVATE KEY")?;
        assert_eq!(keys.len(), 1, "{keys:?}");
        for key in keys {
            let path = std::path::Path::new(&key);
            let folder = path.parent().ok_or("no folder")?;
            assert_eq!(std::fs::metadata(path)?.permissions().mode() & 0o777, 0o600);
            assert_eq!(std::fs::metadata(folder)?.permissions().mode() & 0o777, 0o700);
        }
        watched.stop().await;
        TestResult::Ok(())
    })
}
