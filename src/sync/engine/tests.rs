//! What the loop waits for, without a cluster: when it may conclude anything, and when it looks again.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Client;
use kube::api::ObjectMeta;
use kube::core::ApiResource;

use super::*;
use crate::config::Config;
use crate::gate::grant::LONGEST;
use crate::gate::{Grant, GrantSet, GrantedObject, PolicyGrant, PolicyGrantSpec};
use crate::ledger::LedgerMetrics;
use crate::policy::{Digest, Placement};
use crate::source::{
    BlobId, Commit, CredentialStore, Credentials, Entries, Entry, KeeperOptions, Settings, Snapshot, SourceState,
    UrlRules,
};
use crate::sync::echoes::Echoes;
use crate::sync::live::{Content, LiveObject, Sighting};
use crate::sync::namespaces::Phase;
use crate::sync::plan::{Hold, Standing};
use crate::sync::request::Failure;
use crate::sync::served::Served;

type Outcome = Result<(), Box<dyn std::error::Error>>;

const WEB: &str = "networkpolicy.networking.k8s.io/payments/web";

struct NoSecrets;

impl CredentialStore for NoSecrets {
    fn load<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Credentials, String>> {
        Box::pin(async move { Err(format!("there is no Secret {name}")) })
    }
}

/// A loop that has seen an empty cluster and follows these grants.
fn engine(grants: &watch::Sender<Arc<Board>>) -> Result<Engine, Box<dyn std::error::Error>> {
    let client = Client::try_from(kube::Config::new("http://127.0.0.1:1".parse()?))?;
    let options = KeeperOptions {
        state_dir: std::env::temp_dir().join("headgate-no-state"),
        urls: crate::source::UrlRules::default(),
        fetch_timeout: Duration::from_secs(1),
        limits: crate::source::Limits::default(),
        credentials: Arc::new(NoSecrets),
    };
    let keeper = Keeper::start(options, CancellationToken::new());
    let patience = Duration::from_secs(1);
    let rules = Arc::new(Config::read(None)?.rules);
    let mut engine = Engine::new(Parts {
        writer: Writer {
            client,
            keeper,
            rules: Arc::clone(&rules),
            echoes: Echoes::default(),
            patience,
        },
        rules,
        grants: grants.subscribe(),
        ledger: Ledger::new(std::io::sink(), LedgerMetrics::default()),
        metrics: Metrics::default(),
        concurrency: 1,
        refresh_patience: patience,
        sights: mpsc::channel(1).1,
        reports: watch::Sender::default(),
    });
    engine.namespaces.replace([]);
    engine.first_plan = Some(Instant::now() + FIRST_LISTS);
    engine.take_grants();
    Ok(engine)
}

fn scope(namespace: &str) -> Result<Arc<Settings>, Box<dyn std::error::Error>> {
    let spec = serde_json::from_value(serde_json::json!({
        "git": {"url": "https://git.example.com/x.git"}, "scope": {"namespaces": [namespace]}}))?;
    Ok(Arc::new(Settings::from_spec(&spec, &UrlRules::default())?))
}

/// A source that prunes all that it does not declare, and declares these.
fn source(declares: &[&Key]) -> Result<SourceState, Box<dyn std::error::Error>> {
    let spec = serde_json::from_value(serde_json::json!({
        "git": {"url": "https://git.example.com/x.git"}, "sync": {"prune": "All"}}))?;
    let entry = || -> Result<Entry, serde_json::Error> {
        Ok(Entry {
            digest: Digest::of(&"declared".into())?,
            marked: None,
            path: "a.yaml".into(),
            blob: BlobId([0; 20]),
            index: 0,
            line: 1,
        })
    };
    let mut entries = Entries::default();
    for key in declares {
        entries.insert((*key).clone(), entry()?);
    }
    let commit = Commit {
        id: "c0ffee0".to_owned(),
        tree: String::new(),
        time: Timestamp::UNIX_EPOCH,
        author: String::new(),
        subject: String::new(),
    };
    Ok(SourceState {
        name: "s".into(),
        settings: Arc::new(Settings::from_spec(&spec, &UrlRules::default())?),
        head: Some(Arc::new(Snapshot {
            commit,
            entries,
            skipped: Vec::new(),
            ignored: 0,
        })),
        had_head: true,
        confirmed_at: None,
        adopted_at: None,
        being_removed: false,
        is_unverified: false,
        is_behind: false,
        formerly: Arc::default(),
        awaited: None,
    })
}

/// A loop that has everything listed: the API server, at which every write fails, holds these and is to hold what the
/// source declares.
fn engine_with(
    grants: &watch::Sender<Arc<Board>>,
    source: SourceState,
    holds: &[&Key],
) -> Result<Engine, Box<dyn std::error::Error>> {
    let mut engine = engine(grants)?;
    let resource = ApiResource::erase::<k8s_openapi::api::networking::v1::NetworkPolicy>(&());
    let served = Served {
        watch: resource.clone(),
        write: resource,
    };
    // Not all kinds there are: other tests of this process name some of their own.
    let kinds = engine.parts.rules.guarded.clone();
    engine.served = Some(kinds.iter().map(|kind| (*kind, served.clone())).collect());
    for kind in kinds {
        engine.live.replace(kind, None, Vec::new());
    }
    engine.namespaces.replace([("payments".into(), Phase::Active)]);
    engine.staying = DesiredState::new(vec![Arc::new(source)]);
    for key in holds {
        let object = LiveObject {
            key: (*key).clone(),
            content: Content::Readable {
                digest: Digest::of(&"live".into())?,
                marked: None,
                placement: Placement::AsNamed,
            },
            terminating: false,
            exempt_until: None,
            uid: "uid".into(),
            resource_version: "7".into(),
            created: None,
        };
        engine.live.see(Sighting {
            place: (*key).clone(),
            object,
        });
    }
    engine.mark_all(None);
    engine.judge_dirty();
    Ok(engine)
}

/// Grants on [`WEB`], one for each of these many seconds from now.
fn board(is_listed: bool, seconds: &[i64]) -> Result<Arc<Board>, Box<dyn std::error::Error>> {
    let spec = PolicyGrantSpec {
        requested_by: "alice".to_owned(),
        objects: vec![GrantedObject {
            kind: "networkpolicy.networking.k8s.io".to_owned(),
            namespace: Some("payments".to_owned()),
            name: "web".to_owned(),
        }],
        duration: "1h".to_owned(),
        reason: "an outage".to_owned(),
    };
    let grant = |seconds: &i64| {
        let created = Timestamp::now() + SignedDuration::from_secs(*seconds) - SignedDuration::from_hours(1);
        let metadata = ObjectMeta {
            name: Some("g".to_owned()),
            uid: Some(seconds.to_string()),
            creation_timestamp: Some(Time(created)),
            ..ObjectMeta::default()
        };
        let object = PolicyGrant {
            metadata,
            ..PolicyGrant::new("g", spec.clone())
        };
        Grant::new(&object, Timestamp::now(), LONGEST)
    };
    Ok(Arc::new(Board {
        is_listed,
        grants: Arc::new(GrantSet::new(seconds.iter().map(grant).collect::<Result<_, _>>()?)),
        known: BTreeMap::new(),
    }))
}

fn held() -> Finding {
    let mut finding = Finding::new(Standing::Changed, Vec::new());
    finding.hold = Some(Hold::BreakGlass);
    finding
}

#[tokio::test]
async fn nothing_is_concluded_before_the_grants_are_listed() -> Outcome {
    let grants = watch::Sender::new(board(false, &[])?);
    let mut engine = engine(&grants)?;
    assert!(!engine.is_ready(), "what a grant names could be undone");
    grants.send_replace(board(true, &[])?);
    engine.take_grants();
    assert!(engine.is_ready());
    Ok(())
}

#[tokio::test]
async fn the_loop_looks_again_when_the_first_grant_ends() -> Outcome {
    let grants = watch::Sender::new(board(true, &[])?);
    let mut engine = engine(&grants)?;
    let in_ten = Instant::now() + Duration::from_secs(11);
    engine.unreported = false;
    engine.first_plan = Some(Instant::now());
    assert!(engine.next_wake() > in_ten, "there is something else to wait for");
    grants.send_replace(board(true, &[10, 20])?);
    engine.take_grants();
    assert!(engine.next_wake() < in_ten);
    Ok(())
}

#[tokio::test]
async fn what_a_grant_held_is_judged_again_when_the_last_one_is_gone_or_over() -> Outcome {
    let web: Key = WEB.parse()?;
    let grants = watch::Sender::new(board(true, &[10, 20])?);
    let mut engine = engine(&grants)?;
    engine.findings.insert(web.clone(), held());
    for (left, judged_again) in [(&[20][..], false), (&[], true)] {
        grants.send_replace(board(true, left)?);
        engine.take_grants();
        // With an instant: a fetch comes first, as for any edit.
        assert_eq!(engine.dirty.get(&web).is_some_and(Option::is_some), judged_again);
    }
    engine.dirty.clear();
    engine.granted = board(true, &[-1])?;
    engine.wake();
    assert!(engine.dirty.get(&web).is_some_and(Option::is_some));
    Ok(())
}

#[tokio::test]
async fn what_somebody_has_just_done_is_undone_in_the_middle_of_a_first_sync() -> Outcome {
    let grants = watch::Sender::new(board(true, &[])?);
    let mut engine = engine(&grants)?;
    let (web, start) = (WEB.parse::<Key>()?, Instant::now());
    engine.listed.insert(web.kind(), start);
    let (taken_up, later) = (start + Duration::from_secs(1), start + Duration::from_secs(3));
    engine.taken_up.note(&[scope("payments")?], taken_up, 2);
    // One of another scope that comes later has nothing to do with it.
    engine.taken_up.note(&[scope("shop")?], later, 2);
    for number in 0..100 {
        let key = format!("networkpolicy.networking.k8s.io/payments/p{number}").parse()?;
        engine.enqueue(key, 2, Some(taken_up));
    }
    engine.enqueue(web.clone(), 2, Some(start + Duration::from_secs(2)));
    assert_eq!(engine.queue.first().map(|(_, key)| key), Some(&web));
    // But not before what it refers to.
    engine.enqueue("tier.projectcalico.org/a".parse()?, 0, None);
    assert!(engine.queue.first().is_some_and(|(_, key)| *key != web));
    engine.unqueue(&web);
    assert_eq!(engine.queue.len(), engine.queued.len());
    Ok(())
}

#[tokio::test]
async fn a_delete_that_failed_holds_up_no_other_and_is_tried_again() -> Outcome {
    let grants = watch::Sender::new(board(true, &[])?);
    let (web, other) = (
        WEB.parse::<Key>()?,
        "networkpolicy.networking.k8s.io/payments/other".parse::<Key>()?,
    );
    let mut engine = engine_with(&grants, source(&[])?, &[&web, &other])?;
    let mut tried = Vec::new();
    for _ in 0..2 {
        engine.begin_writes();
        let (key, result) = engine.jobs.join_next().await.ok_or("no delete is under way")??;
        engine.finish(&key, result);
        assert_eq!(
            engine.setbacks.get(&key).map(|setback| setback.failure),
            Some(Failure::Unavailable)
        );
        tried.push(key);
    }
    tried.sort_unstable();
    tried.dedup();
    assert_eq!(tried.len(), 2, "one was tried twice before the other");
    let due = engine.setbacks.next_due().ok_or("nothing is tried again")?;
    tokio::time::sleep_until(due.into()).await;
    engine.wake();
    engine.judge_dirty();
    engine.begin_writes();
    assert_eq!(engine.flights.len(), 1);
    Ok(())
}

#[tokio::test]
async fn nothing_is_deleted_while_something_that_could_not_be_written_is_to_be_tried_again() -> Outcome {
    let grants = watch::Sender::new(board(true, &[])?);
    let (declared, undeclared) = (
        "networkpolicy.networking.k8s.io/payments/declared".parse::<Key>()?,
        WEB.parse::<Key>()?,
    );
    let mut engine = engine_with(&grants, source(&[&declared])?, &[&undeclared])?;
    engine.begin_writes();
    let (key, result) = engine.jobs.join_next().await.ok_or("no write is under way")??;
    assert_eq!(key, declared);
    engine.finish(&key, result);
    engine.begin_writes();
    assert!(engine.flights.is_empty(), "it was deleted before the other was written");
    // What fails again and again holds up nothing for ever.
    let now = Instant::now();
    engine
        .setbacks
        .note(&declared, Failure::Unavailable, String::new(), now);
    engine.begin_writes();
    assert!(engine.flights.contains_key(&undeclared));
    Ok(())
}

#[tokio::test]
async fn what_is_written_one_after_the_other_comes_from_one_source() -> Outcome {
    let grants = watch::Sender::new(board(true, &[])?);
    let key = |name: &str| format!("networkpolicy.networking.k8s.io/payments/{name}").parse::<Key>();
    let (a, b, c, d) = (key("a")?, key("b")?, key("c")?, key("d")?);
    let named = |name: &str, declares: &[&Key]| {
        let source = source(declares)?;
        let name = name.into();
        Ok::<_, Box<dyn std::error::Error>>(Arc::new(SourceState { name, ..source }))
    };
    let mut engine = engine_with(&grants, source(&[])?, &[])?;
    engine.staying = DesiredState::new(vec![named("one", &[&a, &c])?, named("two", &[&b, &d])?]);
    engine.mark_all(None);
    engine.judge_dirty();
    let order: Vec<&str> = engine.queue.iter().map(|(_, key)| key.name()).collect();
    assert_eq!(order, ["a", "c", "b", "d"]);
    Ok(())
}
