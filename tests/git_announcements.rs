//! A replica that knows of a newer commit than its head, and one whose repository cannot be read for too long: what requests
//! meet that the head there would let pass.
#![expect(clippy::indexing_slicing, reason = "an absent member of a JSON value reads as null")]

mod git_support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use git_support::http::{self, Server};
use git_support::{Origin, TestResult, Watched, policy};
use headgate::cluster::{Grants, Namespaces};
use headgate::config::Config;
use headgate::ledger::{Ledger, LedgerMetrics};
use headgate::source::resource::{Mode, Prune, WhenStale};
use headgate::source::{Keeper, PolicySource};
use headgate::webhook::{Gate, WebhookMetrics, router};
use http_body_util::BodyExt as _;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// No test waits longer than this for what it expects.
const PATIENCE: Duration = Duration::from_secs(30);
/// A commit that is nowhere.
const NOWHERE: &str = "0123456789012345678901234567890123456789";

fn gate(keeper: &Keeper, configuration: &str) -> TestResult<axum::Router> {
    let nowhere = kube::Config::new("http://127.0.0.1:9".parse()?);
    let mut registry = Registry::default();
    Ok(router(Arc::new(Gate {
        keeper: keeper.clone(),
        rules: Arc::new(Config::from_text(configuration, Path::new("config.yaml"))?.rules),
        grants: Grants::none(),
        namespaces: Namespaces::new(kube::Client::try_from(nowhere)?),
        ledger: Ledger::new(std::io::sink(), LedgerMetrics::register(&mut registry)),
        metrics: WebhookMetrics::register(&mut registry),
    })))
}

/// The answer to the creation of a policy that admits this port.
async fn ask(gate: axum::Router, port: u16) -> TestResult<Value> {
    send(gate, review(port, "").to_string()).await
}

/// A review of that creation, with a note on the policy.
fn review(port: u16, note: &str) -> Value {
    let notes = if note.is_empty() {
        Value::Null
    } else {
        json!({"note": note})
    };
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u-1", "kind": {"group": "networking.k8s.io", "version": "v1", "kind": "NetworkPolicy"},
        "name": "web", "namespace": "payments", "operation": "CREATE", "userInfo": {"username": "alice"},
        "object": {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                   "metadata": {"name": "web", "namespace": "payments", "annotations": notes},
                   "spec": {"podSelector": {}, "policyTypes": ["Ingress"],
                            "ingress": [{"ports": [{"port": port, "protocol": "TCP"}]}]}},
    }})
}

async fn send(gate: axum::Router, review: String) -> TestResult<Value> {
    let request = axum::http::Request::post("/validate?timeout=10s").body(Body::from(review))?;
    let body = gate.oneshot(request).await?.into_body().collect().await?.to_bytes();
    Ok(serde_json::from_slice::<Value>(&body)?["response"].clone())
}

/// The same, where the answer has to come while nobody can read the repository.
async fn ask_at_once(gate: axum::Router, port: u16) -> TestResult<Value> {
    tokio::time::timeout(PATIENCE, ask(gate, port)).await?
}

fn reason(answer: &Value) -> &str {
    answer["auditAnnotations"]["reason"].as_str().unwrap_or_default()
}

/// A repository whose only policy admits port 80, a source that has just been read, and its gate.
struct Scene {
    origin: Origin,
    server: Server,
    watched: Watched,
    gate: axum::Router,
}

impl Scene {
    async fn new(change: impl FnOnce(&mut PolicySource)) -> TestResult<Self> {
        Self::guarding("", change).await
    }

    async fn guarding(configuration: &str, change: impl FnOnce(&mut PolicySource)) -> TestResult<Self> {
        let origin = Origin::new()?;
        origin.write("web.yaml", &policy("payments", "web", 80))?;
        let commit = origin.commit_and_push("Admit 80")?;
        let server = http::serve(&origin).await?;
        let watched = Watched::start(&server.url, change)?;
        watched.until_head(&commit).await?;
        watched.until("it was read", |report| report.attempt.is_some()).await?;
        let gate = gate(&watched.keeper, configuration)?;
        Ok(Self {
            origin,
            server,
            watched,
            gate,
        })
    }

    /// Commits that the policy admits 443 instead.
    fn change(&self) -> TestResult<String> {
        self.origin.write("web.yaml", &policy("payments", "web", 443))?;
        self.origin.commit_and_push("Admit 443")
    }

    /// Announces a commit, and waits until the source's task has taken that in.
    async fn announce(&mut self, commit: &str) -> TestResult {
        self.watched.change(|source| {
            commit.clone_into(&mut source.status.get_or_insert_default().announced);
        });
        self.watched
            .until("it was announced", |report| report.heard == commit)
            .await?;
        Ok(())
    }

    /// Waits until this replica awaits an announced commit, or does not any more.
    async fn until_awaiting(&self, awaiting: bool) -> TestResult {
        let mut reports = self.watched.keeper.reports();
        let waiting = async {
            loop {
                reports.borrow_and_update();
                let desired = self.watched.keeper.desired();
                let source = desired.source("platform").ok_or("there is no source")?;
                if source.awaited.is_some() == awaiting {
                    return TestResult::Ok(());
                }
                reports.changed().await?;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await?
    }
}

/// A review of so many bytes that is about to be refused.
fn large(bytes: usize) -> String {
    let rest = review(22, "x").to_string().len() - 1;
    review(22, &"x".repeat(bytes - rest)).to_string()
}

#[tokio::test]
async fn who_fills_the_waiting_room_does_not_have_the_older_head_decide() -> TestResult {
    let mut scene = Scene::new(|_| ()).await?;
    let second = scene.change()?;
    let held = Arc::clone(&scene.server.gate).lock_owned().await;
    // All the room there is for those who wait: sixteen megabytes.
    let waiting: Vec<_> = (0..4)
        .map(|_| tokio::spawn(send(scene.gate.clone(), large(4 << 20))))
        .collect();
    scene.server.until_more_looks_than(1).await?;
    scene.announce(&second).await?;
    scene.until_awaiting(true).await?;
    let asked = tokio::spawn(ask(scene.gate.clone(), 80));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    drop(held);
    assert_eq!(reason(&asked.await??), "Differs");
    for refused in waiting {
        assert_eq!(reason(&refused.await??), "Differs");
    }
    Ok(())
}

#[tokio::test]
async fn a_replica_that_knows_of_a_newer_commit_does_not_let_pass_what_that_takes_back() -> TestResult {
    let mut scene = Scene::new(|_| ()).await?;
    assert_eq!(reason(&ask(scene.gate.clone(), 80).await?), "MatchesHead");
    let second = scene.change()?;
    let held = Arc::clone(&scene.server.gate).lock_owned().await;
    scene.announce(&second).await?;
    scene.until_awaiting(true).await?;
    let asked = tokio::spawn(ask(scene.gate.clone(), 80));
    // It is let go only when the request had every chance to pass by the older head.
    scene.server.until_more_looks_than(1).await?;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!asked.is_finished(), "it was answered by the older head");
    drop(held);
    let answer = asked.await??;
    assert_eq!((&answer["allowed"], reason(&answer)), (&json!(false), "Differs"));
    assert_eq!(answer["auditAnnotations"]["commit"], second);
    assert_eq!(reason(&ask(scene.gate.clone(), 443).await?), "MatchesHead");
    Ok(())
}

/// A deletion of the policy `late`, or of the namespace that it is in.
fn deletion(kind: &Value, name: &str, object: &Value) -> String {
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u-1", "kind": kind, "name": name, "namespace": "payments", "operation": "DELETE",
        "userInfo": {"username": "alice"}, "object": null, "oldObject": object,
    }});
    review.to_string()
}

#[tokio::test]
async fn nor_may_what_the_newer_commit_declares_be_deleted_by_the_older_head() -> TestResult {
    let mut scene = Scene::guarding("guardNamespaces: true\n", |source| source.spec.sync.prune = Prune::All).await?;
    let late = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "late", "namespace": "payments", "creationTimestamp": "2100-01-01T00:00:00Z"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}});
    let kind = json!({"group": "networking.k8s.io", "version": "v1", "kind": "NetworkPolicy"});
    let of_policy = deletion(&kind, "late", &late);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "payments"}});
    let kind = json!({"group": "", "version": "v1", "kind": "Namespace"});
    let of_namespace = deletion(&kind, "payments", &namespace);
    // A head that declares nothing there any more.
    scene.origin.remove("web.yaml")?;
    scene.origin.write("other.yaml", &policy("elsewhere", "web", 80))?;
    let emptied = scene.origin.commit_and_push("Nothing in payments")?;
    scene.announce(&emptied).await?;
    scene.watched.until_head(&emptied).await?;
    for review in [&of_policy, &of_namespace] {
        assert_eq!(reason(&send(scene.gate.clone(), review.clone()).await?), "AbsentAtHead");
    }
    let before = scene.server.looks();
    scene.origin.write("late.yaml", &policy("payments", "late", 80))?;
    let second = scene.origin.commit_and_push("A late one")?;
    let held = Arc::clone(&scene.server.gate).lock_owned().await;
    scene.announce(&second).await?;
    scene.until_awaiting(true).await?;
    let asked = [of_policy, of_namespace].map(|review| tokio::spawn(send(scene.gate.clone(), review)));
    scene.server.until_more_looks_than(before).await?;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    drop(held);
    for (asked, expected) in asked.into_iter().zip(["StillDeclared", "NamespaceDeclared"]) {
        let answer = asked.await??;
        assert_eq!((&answer["allowed"], reason(&answer)), (&json!(false), expected));
    }
    Ok(())
}

#[tokio::test]
async fn what_the_announced_commit_permits_passes_by_the_fetch_that_brings_it() -> TestResult {
    let mut scene = Scene::new(|_| ()).await?;
    let second = scene.change()?;
    let held = Arc::clone(&scene.server.gate).lock_owned().await;
    scene.announce(&second).await?;
    scene.until_awaiting(true).await?;
    let asked = tokio::spawn(ask(scene.gate.clone(), 443));
    scene.server.until_more_looks_than(1).await?;
    drop(held);
    assert_eq!(reason(&asked.await??), "MatchesHead");
    assert_eq!(scene.server.looks(), 2, "one fetch was enough");
    Ok(())
}

#[tokio::test]
async fn an_announced_commit_that_is_nowhere_holds_requests_up_once_and_not_again() -> TestResult {
    let mut scene = Scene::new(|_| ()).await?;
    scene.announce(NOWHERE).await?;
    scene.until_awaiting(false).await?;
    assert_eq!(reason(&ask(scene.gate.clone(), 80).await?), "MatchesHead");
    // From now on nobody waits for the next ones, while each is still a reason to look.
    let looks = scene.server.looks();
    let _held = Arc::clone(&scene.server.gate).lock_owned().await;
    scene.announce(&NOWHERE.replace('0', "f")).await?;
    scene.server.until_more_looks_than(looks).await?;
    assert_eq!(reason(&ask_at_once(scene.gate.clone(), 80).await?), "MatchesHead");
    let desired = scene.watched.keeper.desired();
    let awaited = desired.source("platform").and_then(|source| source.awaited);
    assert_eq!(awaited, None);
    Ok(())
}

#[tokio::test]
async fn while_git_hangs_announcements_without_end_hold_a_request_for_a_moment_and_no_longer() -> TestResult {
    let mut scene = Scene::new(|_| ()).await?;
    let second = scene.change()?;
    let _held = Arc::clone(&scene.server.gate).lock_owned().await;
    scene.announce(&second).await?;
    scene.until_awaiting(true).await?;
    // The head there decides in the end, and whatever else is announced meanwhile prolongs nothing.
    assert_eq!(reason(&ask_at_once(scene.gate.clone(), 80).await?), "MatchesHead");
    scene.announce(NOWHERE).await?;
    let desired = scene.watched.keeper.desired();
    let source = desired.source("platform").ok_or("there is no source")?;
    assert_eq!(source.awaits(std::time::Instant::now()), None);
    assert_eq!(reason(&ask_at_once(scene.gate.clone(), 80).await?), "MatchesHead");
    Ok(())
}

#[tokio::test]
async fn in_audit_nobody_waits_for_an_announced_commit() -> TestResult {
    let mut scene = Scene::new(|source| source.spec.mode = Mode::Audit).await?;
    let second = scene.change()?;
    let _held = Arc::clone(&scene.server.gate).lock_owned().await;
    scene.announce(&second).await?;
    scene.until_awaiting(true).await?;
    assert_eq!(reason(&ask_at_once(scene.gate.clone(), 80).await?), "MatchesHead");
    let desired = scene.watched.keeper.desired();
    let source = desired.source("platform").ok_or("there is no source")?;
    let awaited = source.awaits(std::time::Instant::now());
    assert!(awaited.is_some(), "it waited, or the repository answered meanwhile");
    Ok(())
}

#[tokio::test]
async fn an_older_commit_that_is_announced_is_no_news() -> TestResult {
    let mut scene = Scene::new(|_| ()).await?;
    let first = scene.watched.report().head.ok_or("no head")?.commit.id.clone();
    let second = scene.change()?;
    scene.watched.refreshed().await?;
    scene.watched.until_head(&second).await?;
    let looks = scene.server.looks();
    scene.announce(&first).await?;
    // A change of the spec that needs no fetch, to know that the announcement was taken in.
    scene
        .watched
        .change(|source| source.spec.git.ignore = vec!["README.md".to_owned()]);
    let generation = scene.watched.source.metadata.generation;
    let taken_in = |report: &headgate::source::SourceReport| report.generation == generation;
    scene.watched.until("the spec is carried out", taken_in).await?;
    assert_eq!(scene.server.looks(), looks);
    Ok(())
}

/// What becomes of a request that matches when the repository cannot be read any more.
async fn when_stale(rule: WhenStale) -> TestResult<(Watched, axum::Router, impl FnOnce() -> std::io::Result<Origin>)> {
    let origin = Origin::new()?;
    origin.write("web.yaml", &policy("payments", "web", 80))?;
    let commit = origin.commit_and_push("Admit 80")?;
    let watched = Watched::start(&origin.file_url(), |source| {
        "1s".clone_into(&mut source.spec.stale_after);
        source.spec.when_stale = rule;
    })?;
    watched.until_head(&commit).await?;
    let gate = gate(&watched.keeper, "")?;
    let (bare, away) = (origin.bare(), origin.root().join("away.git"));
    std::fs::rename(&bare, &away)?;
    let back = move || {
        std::fs::rename(away, bare)?;
        Ok(origin)
    };
    Ok((watched, gate, back))
}

/// Asks until the answer has this reason.
async fn until_reason(gate: &axum::Router, wanted: &str) -> TestResult {
    let asking = async {
        loop {
            let answer = ask(gate.clone(), 80).await?;
            if reason(&answer) == wanted {
                return TestResult::Ok(());
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking).await?
}

fn is_stale(watched: &Watched) -> TestResult<bool> {
    let mut registry = Registry::default();
    watched.keeper.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    let line = |value: u8| format!("source_stale{{source=\"platform\"}} {value}");
    assert!(text.contains(&line(0)) || text.contains(&line(1)), "{text}");
    Ok(text.contains(&line(1)))
}

#[tokio::test]
async fn a_stale_source_refuses_where_it_says_so_and_recovers_with_its_repository() -> TestResult {
    let (watched, gate, back) = when_stale(WhenStale::Deny).await?;
    until_reason(&gate, "Stale").await?;
    assert!(is_stale(&watched)?);
    let _origin = back()?;
    until_reason(&gate, "MatchesHead").await
}

#[tokio::test]
async fn a_stale_source_goes_on_deciding_where_it_says_so() -> TestResult {
    let (watched, gate, _back) = when_stale(WhenStale::Allow).await?;
    let waiting = async {
        while !is_stale(&watched)? {
            assert_eq!(reason(&ask(gate.clone(), 80).await?), "MatchesHead");
        }
        TestResult::Ok(())
    };
    tokio::time::timeout(PATIENCE, waiting).await??;
    assert_eq!(reason(&ask(gate.clone(), 80).await?), "MatchesHead");
    let refused = ask(gate, 443).await?;
    assert_eq!((&refused["allowed"], reason(&refused)), (&json!(false), "Differs"));
    Ok(())
}
