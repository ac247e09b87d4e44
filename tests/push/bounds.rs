//! What deliveries may cost: size, time, connections.

use headgate::push::MAX_BODY;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::PATIENCE;
use crate::endpoint::{Endpoint, TOKEN};
use crate::git_support::TestResult;

/// Sends this, and gives what is answered before the connection closes.
async fn say(endpoint: &Endpoint, text: &str) -> TestResult<String> {
    let mut connection = TcpStream::connect(endpoint.address).await?;
    connection.write_all(text.as_bytes()).await?;
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, connection.read_to_end(&mut answer)).await??;
    Ok(String::from_utf8(answer)?)
}

#[tokio::test]
async fn a_delivery_that_announces_too_much_is_refused_before_it_is_sent() -> TestResult {
    let endpoint = Endpoint::start().await?;
    let head = format!(
        "POST /push/platform HTTP/1.1\r\nHost: x\r\nX-Gitlab-Token: {TOKEN}\r\nContent-Length: {}\r\n\r\n",
        MAX_BODY + 1
    );
    let answer = say(&endpoint, &head).await?;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    Ok(())
}

#[tokio::test]
async fn a_delivery_that_does_not_end_is_cut_off_at_the_limit_and_the_largest_is_taken() -> TestResult {
    let endpoint = Endpoint::start().await?;
    let token = [("x-gitlab-token", TOKEN)];
    let largest = endpoint.deliver("platform", &token, vec![b' '; MAX_BODY]).await?;
    assert_eq!(largest.status(), 202);
    let mut connection = TcpStream::connect(endpoint.address).await?;
    let head = format!(
        "POST /push/platform HTTP/1.1\r\nHost: x\r\nX-Gitlab-Token: {TOKEN}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).await?;
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let mut sent = 0;
    // It ends with the connection, which the endpoint closes.
    while sent <= 2 * MAX_BODY && connection.write_all(chunk.as_bytes()).await.is_ok() {
        sent += 0x10000;
    }
    assert!(sent <= 2 * MAX_BODY, "more than twice the limit was read");
    assert!(endpoint.metrics()?.contains("deliveries_total{outcome=\"TooLarge\"} 1"));
    Ok(())
}

#[tokio::test]
async fn a_delivery_that_does_not_arrive_loses_its_connection() -> TestResult {
    let endpoint = Endpoint::start().await?;
    let without_end =
        format!("POST /push/platform HTTP/1.1\r\nHost: x\r\nX-Gitlab-Token: {TOKEN}\r\nContent-Length: 9\r\n\r\nhalf");
    let without_body = say(&endpoint, &without_end);
    let without_head = say(&endpoint, "POST /push/platform HTTP/1.1\r\nHost: x\r\n");
    let (without_body, without_head) = tokio::join!(without_body, without_head);
    let (without_body, without_head) = (without_body?, without_head?);
    assert!(without_body.starts_with("HTTP/1.1 408 "), "{without_body}");
    assert!(!without_head.contains("202"), "{without_head}");
    Ok(())
}

#[tokio::test]
async fn connections_that_say_nothing_take_no_more_than_their_places_and_give_them_back() -> TestResult {
    let endpoint = Endpoint::start().await?;
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(TcpStream::connect(endpoint.address).await?);
    }
    let counted = async {
        while endpoint
            .deliver("platform", &[("x-gitlab-token", TOKEN)], "")
            .await
            .is_ok()
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, counted).await?;
    assert!(endpoint.metrics()?.contains("outcome=\"TooManyConnections\""));
    drop(silent);
    let again = async {
        while endpoint
            .deliver("platform", &[("x-gitlab-token", TOKEN)], "")
            .await
            .is_err()
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await?;
    Ok(())
}

#[tokio::test]
async fn only_a_post_to_a_source_is_a_delivery() -> TestResult {
    let endpoint = Endpoint::start().await?;
    for (head, status) in [
        ("GET /push/platform", 405),
        ("PUT /push/platform", 405),
        ("POST /push", 404),
        ("POST /push/platform/more", 404),
        ("GET /", 404),
        ("GET /metrics", 404),
        ("POST /validate", 404),
    ] {
        let answer = say(
            &endpoint,
            &format!("{head} HTTP/1.1\r\nHost: x\r\nX-Gitlab-Token: {TOKEN}\r\n\r\n"),
        )
        .await?;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {answer}");
    }
    assert!(
        endpoint
            .metrics()?
            .contains("deliveries_total{outcome=\"NotADelivery\"} 7")
    );
    Ok(())
}
