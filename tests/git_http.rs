//! Repositories over HTTP: git's own backend, and servers that hang, drip, or want credentials.

mod git_support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use git_support::http::{drip, hang, redirect, serve, serve_tls};
use git_support::{Origin, Secrets, TestResult, Watched, head_of, mirrors, objects, policy};
use headgate::source::resource::SecretRef;
use headgate::source::{PolicySource, Refresh};

/// Names the Secret with the credentials.
fn with_secret(source: &mut PolicySource) {
    source.spec.git.credentials_secret_ref = Some(SecretRef {
        name: "acme-git".to_owned(),
    });
}

const TIMEOUT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_repository_is_read_over_http() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let server = serve(&origin).await?;
    let watched = Watched::start(&server.url, |_| ())?;
    assert_eq!(objects(&watched.until_head(&first).await?), 3);
    origin.write("policies/more.yaml", &policy("payments", "more", 80))?;
    let second = origin.commit_and_push("more")?;
    assert_eq!(head_of(&watched.refreshed().await?), Some(second.as_str()));
    Ok(())
}

#[tokio::test]
async fn fifty_waiting_requests_share_one_fetch_that_started_after_them() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let server = serve(&origin).await?;
    let watched = Watched::start(&server.url, |_| ())?;
    watched.until_head(&first).await?;
    watched.refreshed().await?;
    let before = server.looks();
    // A fetch is on its way that began before the others came: it must not serve them.
    let held = server.gate.lock().await;
    let late = async {
        server.until_more_looks_than(before).await?;
        origin.write("policies/more.yaml", &policy("payments", "more", 80))?;
        let second = origin.commit_and_push("more")?;
        let waiting = join_all((0..50).map(|_| watched.refresh()));
        let release = async { drop(held) };
        TestResult::Ok((tokio::join!(waiting, release).0, second))
    };
    let (early, late) = tokio::join!(watched.refresh(), late);
    let (late, second) = late?;
    assert_eq!(early, Refresh::Fresh);
    assert_eq!(late, vec![Refresh::Fresh; 50]);
    assert_eq!(head_of(&watched.report()), Some(second.as_str()));
    assert_eq!(server.looks() - before, 2);
    Ok(())
}

#[tokio::test]
async fn over_time_fetches_of_one_source_start_a_second_apart() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let server = serve(&origin).await?;
    let watched = Watched::start(&server.url, |_| ())?;
    watched.until_head(&first).await?;
    watched.refreshed().await?;
    let (start, before) = (Instant::now(), server.looks());
    for _ in 0..6 {
        watched.refreshed().await?;
    }
    assert_eq!(server.looks() - before, 6);
    assert!(start.elapsed() >= Duration::from_millis(2900), "{:?}", start.elapsed());
    Ok(())
}

#[tokio::test]
async fn an_announced_commit_is_fetched_once() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let server = serve(&origin).await?;
    let mut watched = Watched::start(&server.url, |_| ())?;
    watched.until_head(&first).await?;
    origin.write("policies/more.yaml", &policy("payments", "more", 80))?;
    let second = origin.commit_and_push("more")?;
    let announce = |source: &mut PolicySource, commit: &str| {
        source.status.get_or_insert_default().announced = commit.to_owned();
    };
    watched.change(|source| announce(source, &second));
    watched.until_head(&second).await?;
    let looks = server.looks();
    // One that nobody has is looked for once, however often it is repeated.
    let unknown = "4444444444444444444444444444444444444444";
    for _ in 0..3 {
        watched.change(|source| announce(source, unknown));
        watched.refreshed().await?;
    }
    assert!(server.looks() - looks <= 4, "{}", server.looks() - looks);
    Ok(())
}

#[tokio::test]
async fn after_a_failure_nobody_waits_and_the_head_stays() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let server = serve(&origin).await?;
    let watched = Watched::start(&server.url, |_| ())?;
    watched.until_head(&first).await?;
    std::fs::rename(origin.bare(), origin.root().join("gone"))?;
    let Some(why) = watched.refresh().await.failure() else {
        return Err("there is nothing to fetch".into());
    };
    assert!(why.contains("404"), "{why}");
    let (start, before) = (Instant::now(), server.looks());
    let answers = join_all((0..20).map(|_| watched.refresh())).await;
    assert!(answers.iter().all(|answer| answer.failure().as_ref() == Some(&why)));
    assert!(start.elapsed() < Duration::from_millis(500));
    assert_eq!(server.looks(), before);
    let report = watched.report();
    assert_eq!((head_of(&report), objects(&report)), (Some(first.as_str()), 3));
    Ok(())
}

#[tokio::test]
async fn a_server_that_hangs_is_cut_off() -> TestResult {
    let (address, _hanging) = hang().await?;
    let url = format!("http://{address}/policies.git");
    let state = tempfile::tempdir()?;
    let start = Instant::now();
    let watched = Watched::start_with(state.path(), &url, Secrets::default(), Duration::from_secs(1), |_| ())?;
    let report = watched
        .until("it was looked at", |report| report.attempt.is_some())
        .await?;
    let outcome = report.attempt.ok_or("no attempt")?.outcome;
    assert_eq!(outcome, Err("cut off after 1s".to_owned()));
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_server_that_drips_is_cut_off_and_let_go() -> TestResult {
    let (address, mut open) = drip().await?;
    let url = format!("http://{address}/policies.git");
    let state = tempfile::tempdir()?;
    let watched = Watched::start_with(state.path(), &url, Secrets::default(), Duration::from_secs(1), |_| ())?;
    let report = watched
        .until("it was looked at", |report| report.attempt.is_some())
        .await?;
    assert_eq!(
        report.attempt.ok_or("no attempt")?.outcome,
        Err("cut off after 1s".to_owned())
    );
    // The thread ends too: its connection is closed.
    watched.stop().await;
    drop(tokio::time::timeout(TIMEOUT, open.wait_for(|open| *open == 0)).await??);
    Ok(())
}

#[tokio::test]
async fn after_a_cut_off_the_next_fetch_uses_a_fresh_folder_and_the_old_one_goes() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let server = serve(&origin).await?;
    let state = tempfile::tempdir()?;
    let watched = Watched::start_with(
        state.path(),
        &server.url,
        Secrets::default(),
        Duration::from_secs(1),
        |_| (),
    )?;
    watched.until_head(&first).await?;
    let before = mirrors(state.path())?;
    origin.write("policies/more.yaml", &policy("payments", "more", 80))?;
    let second = origin.commit_and_push("more")?;
    let held = server.gate.lock().await;
    assert_eq!(
        watched.refresh().await.failure().as_deref(),
        Some("platform: cut off after 1s")
    );
    assert_eq!(head_of(&watched.report()), Some(first.as_str()));
    // Retried without being asked.
    drop(held);
    watched.until_head(&second).await?;
    watched.stop().await;
    let after = mirrors(state.path())?;
    assert_eq!((before.len(), after.len()), (1, 1));
    assert_ne!(before, after);
    Ok(())
}

#[tokio::test]
async fn a_source_whose_url_changes_does_not_wait_for_the_old_server() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let server = serve(&origin).await?;
    let (address, mut connected) = hang().await?;
    let mut watched = Watched::start(&format!("http://{address}/policies.git"), |_| ())?;
    let start = Instant::now();
    connected.changed().await?;
    watched.change(|source| source.spec.git.url = server.url.clone());
    watched.until_head(&first).await?;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    Ok(())
}

#[tokio::test]
async fn credentials_and_a_root_certificate_come_from_the_secret() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    // me:s3cret
    let (server, root) = serve_tls(&origin, Some("Basic bWU6czNjcmV0")).await?;
    let secrets = |entries: &[(&str, &str)]| {
        let mut entries: Vec<_> = entries.iter().map(|(key, value)| (*key, value.as_bytes())).collect();
        entries.push(("ca.crt", root.as_bytes()));
        Secrets::of("acme-git", &entries)
    };
    let start = |secrets: Secrets| {
        let state = tempfile::tempdir()?;
        let watched = Watched::start_with(state.path(), &server.url, secrets, TIMEOUT, with_secret)?;
        TestResult::Ok((state, watched))
    };
    let attempt = async |secrets: Secrets| {
        let (_state, watched) = start(secrets)?;
        let report = watched
            .until("it was looked at", |report| report.attempt.is_some())
            .await?;
        TestResult::Ok(report.attempt.ok_or("no attempt")?.outcome.err().unwrap_or_default())
    };
    let why = attempt(secrets(&[])).await?;
    assert!(why.contains("it asks for credentials"), "{why}");
    let why = attempt(secrets(&[("username", "me"), ("password", "wrong")])).await?;
    assert!(
        why.contains("does not take the credentials") && !why.contains("wrong"),
        "{why}"
    );
    let why = attempt(Secrets::default()).await?;
    assert!(
        why.contains("Secret acme-git") && why.contains("does not exist"),
        "{why}"
    );
    let why = attempt(Secrets::of("acme-git", &[("username", b"me"), ("password", b"s3cret")])).await?;
    assert!(why.contains("certificate"), "without the root: {why}");
    let (_state, watched) = start(secrets(&[("username", "me"), ("password", "s3cret\n")]))?;
    watched.until_head(&first).await?;
    Ok(())
}

#[tokio::test]
async fn a_bearer_token_is_sent_over_tls_and_never_in_the_clear() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let (server, root) = serve_tls(&origin, Some("Bearer t0ken")).await?;
    let secrets = Secrets::of("acme-git", &[("bearerToken", b"t0ken"), ("ca.crt", root.as_bytes())]);
    let state = tempfile::tempdir()?;
    let watched = Watched::start_with(state.path(), &server.url, secrets.clone(), TIMEOUT, with_secret)?;
    watched.until_head(&first).await?;
    let clear = serve(&origin).await?;
    let watched = Watched::start_with(state.path(), &clear.url, secrets, TIMEOUT, with_secret)?;
    let report = watched
        .until("it was looked at", |report| report.attempt.is_some())
        .await?;
    let why = report.attempt.ok_or("no attempt")?.outcome.err().unwrap_or_default();
    assert!(why.contains("not sent over clear http"), "{why}");
    assert_eq!(clear.looks(), 0);
    Ok(())
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_source_says_so() -> TestResult {
    let (address, visitors) = redirect().await?;
    let watched = Watched::start(&format!("http://{address}/policies.git"), |_| ())?;
    let report = watched
        .until("it was looked at", |report| report.attempt.is_some())
        .await?;
    let why = report.attempt.ok_or("no attempt")?.outcome.err().unwrap_or_default();
    assert!(
        why.contains("no Git repository answers") && why.contains("redirect"),
        "{why}"
    );
    assert!(visitors.borrow().is_empty(), "{:?}", visitors.borrow());
    Ok(())
}

#[tokio::test]
async fn what_is_counted_has_names_from_closed_sets() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let server = serve(&origin).await?;
    let watched = Watched::start(&server.url, |_| ())?;
    let mut registry = prometheus_client::registry::Registry::with_prefix("headgate");
    watched.keeper.register(&mut registry);
    watched.until_head(&first).await?;
    origin.write("policies/broken.yaml", "kind: [")?;
    origin.commit_and_push("break")?;
    watched.refreshed().await?;
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    for line in [
        "headgate_source_fetches_total{outcome=\"Ok\"} 2",
        "headgate_source_fetch_seconds_count 2",
        "headgate_source_refusals_total{reason=\"UnreadableFile\"} 1",
        "headgate_source_objects{source=\"platform\"} 3",
        "headgate_source_confirmed_timestamp_seconds{source=\"platform\"} ",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    watched.keeper.set_sources(Vec::new());
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    assert!(!text.contains("platform"), "{text}");
    Ok(())
}

#[tokio::test]
async fn two_sources_are_refreshed_together_and_the_one_that_fails_is_named() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let server = serve(&origin).await?;
    let watched = Watched::start(&server.url, |_| ())?;
    watched.until_head(&first).await?;
    let mut lost = watched.source.clone();
    lost.metadata.name = Some("lost".to_owned());
    lost.spec.git.url = server.url.replace("policies", "lost");
    watched.keeper.set_sources(vec![watched.source.clone(), lost]);
    let names = [Arc::from("platform"), Arc::from("lost")];
    let answer = watched.keeper.refresh(&names, Instant::now(), TIMEOUT).await;
    assert!(
        answer.failure().is_some_and(|why| why.starts_with("lost: ")),
        "{answer:?}"
    );
    Ok(())
}
