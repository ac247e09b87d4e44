//! Deliveries by those who know no token.

use reqwest::header::DATE;

use crate::endpoint::{Endpoint, TOKEN};
use crate::git_support::TestResult;

/// All that can be told of an answer.
async fn seen(response: reqwest::Response) -> TestResult<String> {
    let status = response.status();
    let mut headers = response.headers().clone();
    headers.remove(DATE);
    Ok(format!("{status} {headers:?} {}", response.text().await?))
}

#[tokio::test]
async fn who_knows_no_token_learns_nothing_and_moves_nothing() -> TestResult {
    let mut endpoint = Endpoint::start().await?;
    endpoint.commit("second")?;
    let looks = endpoint.looks();
    let signature = format!("sha256={}", "0".repeat(64));
    let attempts: [&[(&str, &str)]; 6] = [
        &[],
        &[("x-gitlab-token", "not-the-token-that-it-is")],
        &[("authorization", "Bearer not-the-token-that-it-is")],
        &[("x-hub-signature-256", &signature)],
        &[("x-gitea-signature", &signature[7..])],
        &[
            ("webhook-signature", "v1,AAAA"),
            ("webhook-id", "1"),
            ("webhook-timestamp", "1"),
        ],
    ];
    let mut answers = Vec::new();
    for headers in attempts {
        for source in ["platform", "nobody", "..%2f..", "%00"] {
            let answer = endpoint
                .deliver(source, headers, r#"{"ref": "refs/heads/main"}"#)
                .await?;
            answers.push(seen(answer).await?);
        }
    }
    // What they had fetched would come before what somebody has fetched who knows it.
    let second = endpoint.commit("Another port")?;
    let right = [("x-gitlab-token", TOKEN)];
    endpoint.deliver("platform", &right, "").await?;
    endpoint.watched.until_head(&second).await?;
    assert_eq!(
        endpoint.looks(),
        looks + 1,
        "somebody who knows no token had it fetched"
    );
    // A source that takes no pushes, and one whose Secret is gone, with the right token.
    endpoint.remove_token();
    endpoint.until_status(&right, 401).await?;
    answers.push(seen(endpoint.deliver("platform", &right, "").await?).await?);
    endpoint.watched.change(|source| source.spec.git.push_secret_ref = None);
    answers.push(seen(endpoint.deliver("platform", &right, "").await?).await?);
    let first = answers.first().cloned().unwrap_or_default();
    assert!(first.starts_with("401"), "{first}");
    assert!(answers.iter().all(|answer| *answer == first), "{answers:#?}");
    assert!(
        endpoint
            .metrics()?
            .contains("deliveries_total{outcome=\"Unauthenticated\"}")
    );
    Ok(())
}

#[tokio::test]
async fn a_delivery_that_is_replayed_without_end_costs_a_fetch_a_second() -> TestResult {
    let endpoint = Endpoint::start().await?;
    let start = std::time::Instant::now();
    let looks = endpoint.looks();
    let second = endpoint.commit("Another port")?;
    for _ in 0..500 {
        let answer = endpoint.deliver("platform", &[("x-gitlab-token", TOKEN)], "{}").await?;
        assert_eq!(answer.status(), 202, "a delivery too many is told nothing");
    }
    endpoint.watched.until_head(&second).await?;
    let fetched = endpoint.looks() - looks;
    let seconds = usize::try_from(start.elapsed().as_secs())?;
    // Three in a row, one a second, and the one that the second begins with.
    assert!((1..=seconds + 4).contains(&fetched), "{fetched} fetches in {seconds} s");
    Ok(())
}

#[tokio::test]
async fn what_a_delivery_says_changes_nothing() -> TestResult {
    let endpoint = Endpoint::start().await?;
    let forged = r#"{"ref": "refs/heads/evil", "after": "0123456789012345678901234567890123456789",
        "repository": {"clone_url": "https://evil.example.com/policies.git"}}"#;
    let commit = endpoint.commit("second")?;
    for body in [forged, "", "{", "\u{0}"] {
        let answer = endpoint.deliver("platform", &[("x-gitlab-token", TOKEN)], body).await?;
        assert_eq!(answer.status(), 202);
    }
    endpoint.watched.until_head(&commit).await?;
    Ok(())
}
