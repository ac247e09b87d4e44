//! How long a push takes until every replica decides by its commit: `cargo bench --bench freshness`. On the real control
//! plane, with three webhooks and a sync loop, beside what `git fetch` takes of the same repository in the same round.
#![expect(
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark; figures are for people, and an absent member of a JSON value reads as null"
)]

#[path = "../tests/controlplane/mod.rs"]
mod controlplane;
#[path = "../tests/stand/mod.rs"]
mod stand;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use serde_json::{Value, json};
use stand::{Failure, NAMESPACE, Stand};

const ROUNDS: u16 = 20;
/// People do not push faster, and news is worth a fetch a second.
const BETWEEN: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(30);
const TOKEN: &str = "a-token-that-nobody-guesses";
const WEBHOOKS: [&str; 3] = ["webhook", "second", "third"];

fn policy(name: &str, port: u16) -> String {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
           "metadata": {"name": name, "namespace": "payments"},
           "spec": {"podSelector": {}, "policyTypes": ["Ingress"],
                    "ingress": [{"ports": [{"port": port, "protocol": "TCP"}]}]}})
    .to_string()
}

/// The creation of a policy that every commit declares alike: allowed, and answered by the head there is.
fn review() -> Result<String, Failure> {
    let object: Value = serde_json::from_str(&policy("anchor", 1))?;
    let kind = json!({"group": "networking.k8s.io", "version": "v1", "kind": "NetworkPolicy"});
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u-1", "kind": kind, "name": "anchor", "namespace": "payments", "operation": "CREATE",
        "userInfo": {"username": "alice"}, "object": object}});
    Ok(review.to_string())
}

/// What a round took: until each webhook decided by the commit, until the object was live, and Git alone.
struct Round {
    webhooks: Vec<Duration>,
    applied: Duration,
    git: Duration,
}

struct Scene {
    stand: Stand,
    client: reqwest::Client,
    push: String,
    webhooks: Vec<String>,
    policies: Api<NetworkPolicy>,
}

impl Scene {
    async fn new() -> Result<Self, Failure> {
        let stand = Stand::new()?;
        stand.install_chart(&[]).await?;
        let account = stand.account("headgate-webhook").await?;
        for name in &WEBHOOKS[1..] {
            stand.run(name, "webhook", &account, &["--certs", &stand.certificates()])?;
        }
        stand.kubectl(&["create", "namespace", "payments"]).ok()?;
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"token": TOKEN}, "metadata": {
            "name": "acme-push", "namespace": NAMESPACE, "labels": {"headgate.dev/credentials": "true"}}});
        stand.apply(&secret.to_string()).ok()?;
        stand.repository.write("anchor.json", &policy("anchor", 1))?;
        stand.repository.write("web.json", &policy("web", 1))?;
        let commit = stand.repository.commit("start")?;
        let git = json!({"interval": "1h", "pushSecretRef": {"name": "acme-push"}});
        stand.add_source("platform", json!({"git": git}))?;
        stand.until_ready_at("platform", &commit)?;
        let address = |name| stand.address(name, "the webhook listens");
        let webhooks = WEBHOOKS
            .iter()
            .map(|name| Ok(format!("https://{}/validate?timeout=10s", address(name)?)))
            .collect::<Result<_, Failure>>()?;
        let push = stand.address("sync", "the push endpoint listens")?;
        let ca = std::fs::read(Path::new(&stand.certificates()).join("ca.crt"))?;
        let ca = reqwest::Certificate::from_pem(&ca)?;
        let policies = Api::namespaced(stand.plane.client().await?, "payments");
        Ok(Self {
            client: reqwest::Client::builder().tls_certs_only([ca]).no_proxy().build()?,
            push: format!("http://{push}/push/platform"),
            webhooks,
            policies,
            stand,
        })
    }

    /// Waits until a webhook decides by a commit.
    async fn decided(&self, url: &str, commit: &str, start: Instant) -> Result<Duration, Failure> {
        let review = review()?;
        loop {
            let answer = self.client.post(url).body(review.clone()).send().await?;
            let answer: Value = serde_json::from_str(&answer.text().await?)?;
            if answer["response"]["auditAnnotations"]["commit"] == *commit {
                return Ok(start.elapsed());
            }
            in_time(start)?;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until the object is live.
    async fn applied(&self, port: u16, start: Instant) -> Result<Duration, Failure> {
        loop {
            let live = serde_json::to_value(self.policies.get_opt("web").await?)?;
            if live["spec"]["ingress"][0]["ports"][0]["port"] == port {
                return Ok(start.elapsed());
            }
            in_time(start)?;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn round(&self, port: u16) -> Result<Round, Failure> {
        self.stand.repository.write("web.json", &policy("web", port))?;
        let commit = self.stand.repository.commit(&format!("admit {port}"))?;
        let start = Instant::now();
        let delivered = self
            .client
            .post(&self.push)
            .header("X-Gitlab-Token", TOKEN)
            .send()
            .await?;
        if delivered.status() != 202 {
            return Err(format!("the push was answered with {}", delivered.status()).into());
        }
        let decided = self.webhooks.iter().map(|url| self.decided(url, &commit, start));
        let (webhooks, applied) = tokio::join!(futures::future::try_join_all(decided), self.applied(port, start));
        Ok(Round {
            webhooks: webhooks?,
            applied: applied?,
            git: self.bare_fetch()?,
        })
    }

    /// What git itself takes for the same commit.
    fn bare_fetch(&self) -> Result<Duration, Failure> {
        let folder = self.stand.plane.dir().join("bare-fetch");
        let git = |arguments: &[&str]| {
            let done = Command::new("git").arg("-C").arg(&folder).args(arguments).output()?;
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            done.status.success().then_some(()).ok_or(Failure::from(said))
        };
        if !folder.exists() {
            std::fs::create_dir(&folder)?;
            git(&["init", "--quiet", "--bare"])?;
        }
        let start = Instant::now();
        git(&[
            "fetch",
            "--quiet",
            &self.stand.repository.url(),
            "+refs/heads/main:refs/heads/main",
        ])?;
        Ok(start.elapsed())
    }
}

fn in_time(start: Instant) -> Result<(), Failure> {
    if start.elapsed() < PATIENCE {
        Ok(())
    } else {
        Err("waited in vain for the commit".into())
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

async fn measure() -> Result<(), Failure> {
    let scene = Scene::new().await?;
    // Until the tokens are read and every connection is there; not counted.
    let warm = async {
        while scene
            .client
            .post(&scene.push)
            .header("X-Gitlab-Token", TOKEN)
            .send()
            .await?
            .status()
            != 202
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok::<_, Failure>(())
    };
    tokio::time::timeout(PATIENCE, warm).await??;
    tokio::time::sleep(4 * BETWEEN).await;
    scene.round(999).await?;
    let mut rounds = Vec::new();
    for number in 0..ROUNDS {
        tokio::time::sleep(BETWEEN).await;
        rounds.push(scene.round(1000 + number).await?);
    }
    let git = median(rounds.iter().map(|round| round.git).collect());
    let print = |what: &str, times: Vec<Duration>| {
        let slowest = times.iter().max().copied().unwrap_or_default();
        let median = median(times);
        let ratio = median.as_secs_f64() / git.as_secs_f64();
        println!(
            "{what}: {median:.0?} at the median, {slowest:.0?} at most; {ratio:.1} times a bare git fetch ({git:.0?})"
        );
    };
    for (index, name) in WEBHOOKS.iter().enumerate() {
        let times = rounds.iter().filter_map(|round| round.webhooks.get(index).copied());
        print(&format!("push to decision at {name}"), times.collect());
    }
    let all = rounds.iter().filter_map(|round| round.webhooks.iter().max().copied());
    print(
        "push to decision at all three webhooks (target: under 500 ms)",
        all.collect(),
    );
    print(
        "push to live object",
        rounds.iter().map(|round| round.applied).collect(),
    );
    Ok(())
}

fn main() -> Result<(), Failure> {
    // `cargo test --all-targets` runs benches, too, and says nothing.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(measure())
}
