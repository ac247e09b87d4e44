//! docs/pushes.md: what it says to run is run as it is written there, and accepted.

use std::process::Command;

use crate::endpoint::{Endpoint, TOKEN};
use crate::git_support::TestResult;

/// The shell commands of the section with this heading: its indented lines.
fn commands(heading: &str) -> TestResult<String> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/pushes.md"))?;
    let section = page
        .split("\n### ")
        .find(|section| section.starts_with(heading))
        .ok_or_else(|| format!("the page has no section {heading}"))?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let lines: Vec<&str> = section.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert!(lines.iter().any(|line| line.contains("curl")), "{heading} has no curl");
    Ok(lines.join("\n"))
}

async fn runs(heading: &str, token: &str) -> TestResult {
    let endpoint = Endpoint::start().await?;
    endpoint.put_token(token.as_bytes());
    let authorization = format!("Bearer {token}");
    endpoint.until_status(&[("authorization", &authorization)], 202).await?;
    let commit = endpoint.commit(heading)?;
    let script = commands(heading)?;
    let run = |token: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-euc", &script]).env("TOKEN", token);
        shell.env("PUSH_URL", endpoint.url("platform"));
        tokio::task::spawn_blocking(move || shell.output())
    };
    let output = run(token).await??;
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.status.success() && said.contains("accepted"),
        "{heading}: {said}"
    );
    endpoint.watched.until_head(&commit).await?;
    // With another token the same is refused.
    let output = run(&token.replace('a', "b")).await??;
    assert!(!output.status.success(), "{heading}: it is accepted without the token");
    Ok(())
}

#[tokio::test]
async fn a_delivery_as_github_makes_it_is_accepted_as_the_page_says() -> TestResult {
    runs("GitHub", TOKEN).await
}

#[tokio::test]
async fn a_delivery_as_gitea_and_forgejo_make_it_is_accepted_as_the_page_says() -> TestResult {
    runs("Gitea and Forgejo", TOKEN).await
}

#[tokio::test]
async fn a_delivery_by_gitlabs_secret_token_is_accepted_as_the_page_says() -> TestResult {
    runs("GitLab with a secret token", TOKEN).await
}

#[tokio::test]
async fn a_delivery_by_gitlabs_signing_token_is_accepted_as_the_page_says() -> TestResult {
    runs("GitLab with a signing token", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").await
}

#[tokio::test]
async fn a_delivery_by_curl_is_accepted_as_the_page_says() -> TestResult {
    runs("Anything else", TOKEN).await
}
