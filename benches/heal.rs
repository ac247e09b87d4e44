//! How fast drift made behind the gate's back is healed, against what a bare client needs for one write that its own watch
//! shows: `cargo bench --bench heal`. On a real control plane, the sync loop as a process of its own.
#![expect(clippy::print_stdout, reason = "a benchmark; figures are for people")]

mod cluster;
#[path = "../tests/controlplane/mod.rs"]
mod controlplane;
#[path = "../tests/stand/repository.rs"]
#[allow(
    dead_code,
    reason = "every program that includes this module uses another part of it"
)]
mod repository;

use std::pin::Pin;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use cluster::{Cluster, Failure, median, parsed, policy, until};
use repository::Repository;

/// How often each drift is made.
const ROUNDS: usize = 20;
/// Policies of the source.
const POLICIES: usize = 20;
const NAMESPACE: &str = "healed";
/// The policy that is edited and deleted, over and over.
const POLICY: &str = "p0";
const ROGUE: &str = "rogue";
/// Nobody heals this one.
const BARE: &str = "bare";
/// Long enough for the loop to be at rest, and for the source to be asked again.
const REST: Duration = Duration::from_millis(1200);

/// How long each took.
#[derive(Default)]
struct Times {
    bare: Vec<Duration>,
    edited: Vec<Duration>,
    deleted: Vec<Duration>,
    rogue: Vec<Duration>,
}

/// What a watch of a bare client shows.
struct Seen {
    policies: Api<NetworkPolicy>,
    events: Pin<Box<dyn Stream<Item = watcher::Result<watcher::Event<NetworkPolicy>>> + Send>>,
}

impl Seen {
    /// Begins to watch, and has seen what is there.
    async fn start(cluster: &Cluster, namespace: &str) -> Result<Self, Failure> {
        let policies: Api<NetworkPolicy> = Api::namespaced(cluster.client.clone(), namespace);
        let events = watcher(policies.clone(), watcher::Config::default()).default_backoff();
        let mut seen = Self {
            policies,
            events: events.boxed(),
        };
        seen.until(|event| matches!(event, watcher::Event::InitDone)).await?;
        Ok(seen)
    }

    async fn until(&mut self, mut is_it: impl FnMut(&watcher::Event<NetworkPolicy>) -> bool) -> Result<(), Failure> {
        while let Some(event) = self.events.next().await {
            if is_it(&event?) {
                return Ok(());
            }
        }
        Err("the watch ended".into())
    }

    async fn until_applied(&mut self, mut is_it: impl FnMut(&NetworkPolicy) -> bool) -> Result<(), Failure> {
        self.until(|event| matches!(event, watcher::Event::Apply(policy) if is_it(policy)))
            .await
    }

    async fn until_gone(&mut self, name: &str) -> Result<(), Failure> {
        self.until(|event| matches!(event, watcher::Event::Delete(policy) if policy.name_any() == name))
            .await
    }

    async fn edit(&self, name: &str, port: usize) -> Result<u64, Failure> {
        let patch = Patch::Merge(json!({"spec": {"ingress": [{"ports": [{"port": port}]}]}}));
        let written = self.policies.patch(name, &PatchParams::default(), &patch).await?;
        Ok(version(&written))
    }

    /// One write, and the event that shows it.
    async fn write_bare(&mut self, port: usize) -> Result<Duration, Failure> {
        let start = Instant::now();
        let written = self.edit(BARE, port).await?;
        self.until_applied(|policy| policy.name_any() == BARE && version(policy) >= written)
            .await?;
        Ok(start.elapsed())
    }

    /// From before the edit is sent until the watch shows what Git says.
    async fn heal_edit(&mut self, port: usize) -> Result<Duration, Failure> {
        let start = Instant::now();
        let written = self.edit(POLICY, port).await?;
        let is_healed = |policy: &NetworkPolicy| {
            let rules = policy.spec.as_ref().and_then(|spec| spec.ingress.as_ref());
            policy.name_any() == POLICY && version(policy) > written && rules.is_some_and(|rules| rules.len() == 6)
        };
        self.until_applied(is_healed).await?;
        Ok(start.elapsed())
    }

    async fn heal_deletion(&mut self) -> Result<Duration, Failure> {
        let before = self.policies.get(POLICY).await?.uid();
        let start = Instant::now();
        self.policies.delete(POLICY, &DeleteParams::default()).await?;
        self.until_applied(|policy| policy.name_any() == POLICY && policy.uid() != before)
            .await?;
        Ok(start.elapsed())
    }

    async fn heal_rogue(&mut self) -> Result<Duration, Failure> {
        let rogue = parsed(&policy(NAMESPACE, ROGUE))?;
        let start = Instant::now();
        self.policies.create(&PostParams::default(), &rogue).await?;
        self.until_gone(ROGUE).await?;
        Ok(start.elapsed())
    }
}

fn version(policy: &NetworkPolicy) -> u64 {
    policy
        .resource_version()
        .and_then(|version| version.parse().ok())
        .unwrap_or_default()
}

/// Every kind of drift in turns, so that whatever else the machine does slows all of them down alike.
async fn rounds(cluster: &Cluster, rest: Duration) -> Result<Times, Failure> {
    let mut healed = Seen::start(cluster, NAMESPACE).await?;
    let mut bare = Seen::start(cluster, BARE).await?;
    let mut times = Times::default();
    for round in 0..ROUNDS {
        times.bare.push(bare.write_bare(1000 + round).await?);
        tokio::time::sleep(rest).await;
        times.edited.push(healed.heal_edit(2000 + round).await?);
        tokio::time::sleep(rest).await;
        times.deleted.push(healed.heal_deletion().await?);
        tokio::time::sleep(rest).await;
        times.rogue.push(healed.heal_rogue().await?);
    }
    Ok(times)
}

fn print(times: &Times) {
    let bare = median(&times.bare);
    println!("  a bare client's write, and the event that shows it: {bare:.1?}");
    for (drift, took) in [
        ("an edit", &times.edited),
        ("a deletion", &times.deleted),
        ("a rogue", &times.rogue),
    ] {
        let middle = median(took);
        let slowest = took.iter().max().copied().unwrap_or_default();
        let at = |index: usize| took.get(index).copied().unwrap_or_default();
        println!(
            "  {drift}: median {middle:.1?}, at most {slowest:.1?}, {:.1} times the bare client's; the first {:.1?}, the tenth {:.1?}, \
             the twentieth {:.1?}",
            middle.as_secs_f64() / bare.as_secs_f64(),
            at(0),
            at(9),
            at(19),
        );
    }
}

/// A namespace that goes with all its policies and is made anew has them back.
async fn remade_namespace(cluster: &Cluster) -> Result<(), Failure> {
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    namespaces.delete(NAMESPACE, &DeleteParams::default()).await?;
    until("the namespace to be gone", async || {
        Ok(namespaces.get_opt(NAMESPACE).await?.is_none().then_some(()))
    })
    .await?;
    let mut seen = Seen::start(cluster, NAMESPACE).await?;
    let start = Instant::now();
    cluster.make_namespaces(&[NAMESPACE.to_owned()]).await?;
    for _ in 0..POLICIES {
        seen.until_applied(|_| true).await?;
    }
    println!(
        "A namespace that was deleted and made anew has its {POLICIES} policies back after {:.1?}",
        start.elapsed()
    );
    Ok(())
}

async fn measure() -> Result<(), Failure> {
    let cluster = Cluster::start().await?;
    cluster
        .make_namespaces(&[NAMESPACE.to_owned(), BARE.to_owned()])
        .await?;
    cluster.write_bare(vec![parsed(&policy(BARE, BARE))?]).await?;
    let repository = Repository::create(&cluster.plane.dir().join("git"))?;
    for number in 0..POLICIES {
        let name = format!("p{number}");
        repository.write(&format!("{name}.yaml"), &policy(NAMESPACE, &name))?;
    }
    repository.commit("Policies")?;
    let spec = json!({"git": {"url": repository.url()}, "scope": {"namespaces": [NAMESPACE]}});
    cluster.make_source(NAMESPACE, spec).await?;
    cluster.start_sync()?;
    cluster.until_synced(1).await?;
    for (how, rest) in [
        ("with a rest between two of them", REST),
        ("one after the other", Duration::ZERO),
    ] {
        let before = cluster.metric("headgate_source_fetches_total", "")?;
        let times = rounds(&cluster, rest).await?;
        let fetches = cluster.metric("headgate_source_fetches_total", "")? - before;
        println!("{ROUNDS} drifts of each kind, {how} ({fetches} fetches):");
        print(&times);
    }
    remade_namespace(&cluster).await
}

fn main() -> Result<(), Failure> {
    // Asked for without measuring, as `cargo test --benches` does.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    tokio::runtime::Runtime::new()?.block_on(measure())
}
