//! The push endpoint: real deliveries over real connections, to a keeper of a real repository.

#[path = "../git_support/mod.rs"]
mod git_support;

mod bounds;
mod documented;
mod endpoint;
mod forgeries;

use std::time::Duration;

use endpoint::{Endpoint, TOKEN};
use git_support::TestResult;

/// No test waits longer than this for what it expects.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_delivery_brings_the_commit_that_was_pushed() -> TestResult {
    let endpoint = Endpoint::start().await?;
    let commit = endpoint.commit("second")?;
    let delivered = endpoint.deliver("platform", &[("x-gitlab-token", TOKEN)], "{}").await?;
    assert_eq!(delivered.status(), 202);
    endpoint.watched.until_head(&commit).await?;
    Ok(())
}

#[tokio::test]
async fn over_tls_a_delivery_is_taken_too_and_a_renewed_certificate_is_served() -> TestResult {
    let endpoint = Endpoint::start_with_tls().await?;
    let commit = endpoint.commit("second")?;
    let authorization = format!("Bearer {TOKEN}");
    let delivered = endpoint
        .deliver("platform", &[("authorization", &authorization)], "")
        .await?;
    assert_eq!(delivered.status(), 202);
    endpoint.watched.until_head(&commit).await?;
    endpoint.renew_certificate()?;
    let renewed = async {
        // A client that was here before resumes its session, and looks at no certificate.
        while endpoint.greets_a_newcomer().await? {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        TestResult::Ok(())
    };
    tokio::time::timeout(PATIENCE, renewed).await?
}

#[tokio::test]
async fn a_rotated_token_is_taken_without_a_restart_and_the_old_one_no_more() -> TestResult {
    let endpoint = Endpoint::start().await?;
    endpoint.put_token(b"another-token-than-before");
    endpoint
        .until_status(&[("x-gitlab-token", "another-token-than-before")], 202)
        .await?;
    let old = endpoint.deliver("platform", &[("x-gitlab-token", TOKEN)], "").await?;
    assert_eq!(old.status(), 401);
    endpoint.remove_token();
    endpoint
        .until_status(&[("x-gitlab-token", "another-token-than-before")], 401)
        .await
}

#[tokio::test]
async fn a_source_that_takes_pushes_from_now_on_takes_the_next_one() -> TestResult {
    let mut endpoint = Endpoint::start().await?;
    let push_secret = endpoint.watched.source.spec.git.push_secret_ref.clone();
    endpoint.watched.change(|source| source.spec.git.push_secret_ref = None);
    endpoint.until_status(&[("x-gitlab-token", TOKEN)], 401).await?;
    endpoint
        .watched
        .change(|source| source.spec.git.push_secret_ref = push_secret);
    endpoint.until_status(&[("x-gitlab-token", TOKEN)], 202).await
}

#[tokio::test]
async fn a_suspended_source_answers_as_always_and_fetches_nothing() -> TestResult {
    let mut endpoint = Endpoint::start().await?;
    endpoint.watched.change(|source| source.spec.suspend = true);
    let generation = endpoint.watched.source.metadata.generation;
    let taken_in = |report: &headgate::source::SourceReport| report.generation == generation;
    endpoint.watched.until("it is suspended", taken_in).await?;
    let looks = endpoint.looks();
    let delivered = endpoint.deliver("platform", &[("x-gitlab-token", TOKEN)], "").await?;
    assert_eq!((delivered.status().as_u16(), endpoint.looks()), (202, looks));
    assert!(
        endpoint
            .metrics()?
            .contains("deliveries_total{outcome=\"NotFetched\"} 1")
    );
    Ok(())
}
