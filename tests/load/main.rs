//! Many requests at once, and bad company: the webhook's own server over TLS, a real repository behind it. Whatever happens,
//! nothing passes that is not at the head, and what is at the head passes.

#![expect(clippy::indexing_slicing, reason = "an absent member of a JSON value reads as null")]

#[path = "../git_support/mod.rs"]
mod git_support;
mod replica;
mod slow;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use futures::future::{join_all, try_join_all};
use git_support::http::serve;
use git_support::{Origin, TestResult, head_of, policy};
use replica::{Replica, create, padded};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_git_hangs_matching_writes_pass_and_others_are_refused() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let server = serve(&origin).await?;
    let replica = Replica::start(&server.url)?;
    replica.watched.until_head(&first).await?;
    replica.watched.refreshed().await?;
    let (before, hanging) = (server.looks(), server.gate.lock().await);
    // Together they are far larger than what is judged at once.
    let refused = join_all((0..100).map(|number| {
        let review = padded(create("payments", &format!("rogue-{number}"), 80), 400 * 1024);
        replica.ask(review, "10s")
    }));
    let matching = async {
        server.until_more_looks_than(before).await?;
        // Patience is short: they are not to wait for those who wait for Git.
        try_join_all((0..100).map(|number| replica.ask(create("payments", &format!("p{}", number % 3), 80), "2s")))
            .await
    };
    let (refused, matching) = tokio::join!(refused, matching);
    assert!(matching?.iter().all(replica::Answer::allowed));
    drop(hanging);
    let mut told = 0;
    for answer in refused {
        let answer = answer?;
        assert!(!answer.allowed(), "{answer:?}");
        told += usize::from(answer.text().contains("Git could not be read again just now"));
    }
    assert_eq!(told, 100);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_refused_writes_asks_git_once_a_second_over_time() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let server = serve(&origin).await?;
    let replica = Replica::start(&server.url)?;
    replica.watched.until_head(&first).await?;
    replica.watched.refreshed().await?;
    let (start, before) = (Instant::now(), server.looks());
    let mut asked = 0;
    // Each wave begins when the one before has its answers: without the spacing, each would have a fetch at once.
    while asked < 800 || server.looks() - before < 6 {
        let wave = (0..200).map(|number| replica.ask(create("payments", &format!("rogue-{number}"), 80), "10s"));
        let answers = try_join_all(wave).await?;
        assert!(answers.iter().all(|answer| !answer.allowed()));
        asked += answers.len();
    }
    let (looks, seconds) = (server.looks() - before, start.elapsed().as_secs());
    assert!(
        u64::try_from(looks)? <= seconds + 3,
        "{looks} fetches in {seconds} s for {asked} refusals"
    );
    Ok(())
}

/// A file of a hundred policies.
fn file_of(number: usize, port: u16) -> String {
    let policies = (0..100).map(|index| policy("payments", &format!("p{number}-{index}"), port));
    policies.collect::<Vec<_>>().join("---\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_ten_thousand_policies_are_swapped_each_answer_is_of_one_commit() -> TestResult {
    const CHANGED: usize = 30;
    let origin = Origin::new()?;
    for number in 0..100 {
        origin.write(&format!("policies/{number}.yaml"), &file_of(number, 80))?;
    }
    let first = origin.commit_and_push("ten thousand policies")?;
    let server = serve(&origin).await?;
    let replica = Replica::start(&server.url)?;
    assert_eq!(git_support::objects(&replica.watched.until_head(&first).await?), 10_000);
    for number in 0..CHANGED {
        origin.write(&format!("policies/{number}.yaml"), &file_of(number, 81))?;
    }
    let second = origin.commit_and_push("other ports")?;
    let (seen_second, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let ask_on = |worker: usize| {
        let (replica, first, second) = (&replica, &first, &second);
        let (seen_second, asked) = (&seen_second, &asked);
        async move {
            let name = format!("p{}-{}", worker % CHANGED, worker % 100);
            let stays = format!("p{}-{}", CHANGED + worker % (100 - CHANGED), worker % 100);
            for round in 0.. {
                let last_round = seen_second.load(Ordering::Relaxed);
                let port = 80 + u16::try_from((worker + round) % 2)?;
                let answer = replica.ask(create("payments", &name, port), "10s").await?;
                let of = if port == 80 { first } else { second };
                assert_eq!(answer.allowed(), answer.commit() == of, "{port}: {answer:?}");
                seen_second.fetch_or(answer.commit() == second, Ordering::Relaxed);
                assert!(replica.ask(create("payments", &stays, 80), "10s").await?.allowed());
                asked.fetch_add(2, Ordering::Relaxed);
                if last_round {
                    break;
                }
            }
            TestResult::Ok(())
        }
    };
    try_join_all((0..200).map(ask_on)).await?;
    assert_eq!(head_of(&replica.watched.report()), Some(second.as_str()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_certificates_rotate_every_request_is_answered() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let server = serve(&origin).await?;
    let mut replica = Replica::start(&server.url)?;
    replica.watched.until_head(&first).await?;
    let log = replica::log();
    let rotation = replica.renewal()?;
    // Connections are made anew for each request: those that stand are not shaken by another certificate.
    let (replica, done) = (Arc::new(replica), AtomicBool::new(false));
    let asking = (0..200).map(|number| {
        let (replica, done) = (Arc::clone(&replica), &done);
        async move {
            while !done.load(Ordering::Relaxed) {
                let is_matching = number % 2 == 0;
                let name = if is_matching { "p1" } else { "rogue" };
                let port = if is_matching { 80 } else { 81 };
                let answer = replica.ask_anew(create("payments", name, port)).await?;
                assert_eq!(answer.allowed(), is_matching, "{answer:?}");
            }
            TestResult::Ok(())
        }
    });
    let rotating = async {
        let half = log.mark();
        rotation.write_certificate()?;
        // Half of a rotation is not served.
        log.until(half, "the old one stays in service").await?;
        let whole = log.mark();
        rotation.write_key()?;
        log.until(whole, "the certificate was replaced").await?;
        assert!(
            replica
                .ask_trusting_only(&rotation, create("payments", "p1", 80))
                .await?
                .allowed()
        );
        done.store(true, Ordering::Relaxed);
        TestResult::Ok(())
    };
    let asking = async {
        let asked = try_join_all(asking).await;
        done.store(true, Ordering::Relaxed);
        asked
    };
    let (asked, rotated) = tokio::join!(asking, rotating);
    asked?;
    rotated
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_in_flight_are_answered_when_a_replica_is_told_to_stop() -> TestResult {
    let (origin, first) = Origin::with_policies(3)?;
    let server = serve(&origin).await?;
    let replica = Replica::start(&server.url)?;
    replica.watched.until_head(&first).await?;
    replica.watched.refreshed().await?;
    let before = server.looks();
    let hanging = server.gate.lock().await;
    let waiting =
        join_all((0..200).map(|number| replica.ask(create("payments", &format!("rogue-{number}"), 80), "10s")));
    let stopping = async {
        server.until_more_looks_than(before).await?;
        replica.until_taken_in(100).await?;
        replica.stop();
        replica.until_closed().await?;
        drop(hanging);
        TestResult::Ok(())
    };
    let (answers, stopped) = tokio::join!(waiting, stopping);
    stopped?;
    let answered = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!(answers.into_iter().flatten().all(|answer| !answer.allowed()));
    assert!(answered >= 100, "only {answered} of those in flight were answered");
    Ok(())
}
