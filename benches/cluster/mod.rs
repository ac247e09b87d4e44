//! A real control plane, the sync loop as a process of its own beside it, and a bare client to compare with. No webhook is
//! configured: what is written here is written behind the gate's back, by both sides alike.
#![allow(dead_code, reason = "every bench that includes this module uses another part of it")]

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use headgate::source::PolicySource;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::controlplane::ControlPlane;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How long a condition may take to come true before the wait is given up.
const PATIENCE: Duration = Duration::from_mins(15);
/// Writes that each side has under way at once.
pub(crate) const CONCURRENCY: usize = 16;
const SYNC: &str = "sync";
/// The machine rests where its processors were idle for this share of this long.
const CALM_PERCENT: u64 = 90;
const CALM_FOR: Duration = Duration::from_secs(2);

/// A control plane with Headgate's definitions, and what runs beside it.
pub(crate) struct Cluster {
    pub(crate) plane: ControlPlane,
    pub(crate) client: Client,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    /// Its own time on the processors.
    pub(crate) own: Duration,
    /// That of its children that have ended.
    pub(crate) children: Duration,
    /// The memory that is its own or shared with files, in MiB, now and at most.
    pub(crate) resident: (f64, f64),
    pub(crate) threads: u32,
}

impl Cluster {
    pub(crate) async fn start() -> Result<Self, Failure> {
        // Both TLS stacks of the dependencies share one provider; a second call changes nothing.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let plane = ControlPlane::start()?;
        let client = plane.client().await?;
        let crds = Command::new(program()).arg("crds").output()?;
        let file = plane.dir().join("crds.yaml");
        std::fs::write(&file, crds.stdout)?;
        kubectl(&plane, &["apply", "-f", &file.display().to_string()])?;
        for name in ["policysources", "policygrants"] {
            let crd = format!("crd/{name}.headgate.dev");
            kubectl(&plane, &["wait", "--for=condition=Established", &crd, "--timeout=60s"])?;
        }
        let cluster = Self { plane, client };
        cluster.make_namespaces(&["headgate-system".to_owned()]).await?;
        Ok(cluster)
    }

    pub(crate) async fn make_namespaces(&self, names: &[String]) -> Result<(), Failure> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        each(names.iter().cloned(), |name| {
            let namespaces = namespaces.clone();
            async move {
                let namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
                namespaces.create(&PostParams::default(), &namespace).await?;
                Ok(())
            }
        })
        .await
    }

    pub(crate) async fn make_source(&self, name: &str, spec: Value) -> Result<(), Failure> {
        let source = json!({
            "apiVersion": "headgate.dev/v1alpha1", "kind": "PolicySource", "metadata": {"name": name}, "spec": spec,
        });
        let sources: Api<PolicySource> = Api::all(self.client.clone());
        sources
            .create(&PostParams::default(), &serde_json::from_value(source)?)
            .await?;
        Ok(())
    }

    /// Leaves the control plane all processors but the last, and puts who writes on that one: in a cluster they are
    /// machines of their own. False where there is but one.
    pub(crate) fn part(&self) -> Result<bool, Failure> {
        let last = std::thread::available_parallelism()?.get() - 1;
        if last == 0 {
            return Ok(false);
        }
        let control_plane = ["etcd", "kube-apiserver", "kube-controller-manager"];
        for pid in control_plane.iter().filter_map(|name| self.plane.pid_beside(name)) {
            keep_on(pid, &format!("0-{}", last - 1))?;
        }
        // The loop is started by this process, and stays where it is.
        keep_on(std::process::id(), &last.to_string())?;
        Ok(true)
    }

    /// Waits until the machine rests: the controller manager goes on working long after namespaces were made, and what is
    /// measured meanwhile is not what it would be alone.
    pub(crate) async fn until_calm(&self) -> Result<(), Failure> {
        until("the control plane to rest", async || {
            let before = ticks_since_boot()?;
            tokio::time::sleep(CALM_FOR).await;
            let after = ticks_since_boot()?;
            let all = after.1.saturating_sub(before.1).max(1);
            let idle = after.0.saturating_sub(before.0);
            Ok((idle * 100 / all >= CALM_PERCENT).then_some(()))
        })
        .await
    }

    /// What a bare client writes: every policy once, as many at a time as the loop.
    pub(crate) async fn write_bare(&self, policies: Vec<NetworkPolicy>) -> Result<Duration, Failure> {
        let start = Instant::now();
        each(policies.into_iter(), |policy| {
            let namespace = policy.metadata.namespace.clone().unwrap_or_default();
            let api: Api<NetworkPolicy> = Api::namespaced(self.client.clone(), &namespace);
            async move {
                api.create(&PostParams::default(), &policy).await?;
                Ok(())
            }
        })
        .await?;
        Ok(start.elapsed())
    }

    /// Starts the sync loop as a process.
    pub(crate) fn start_sync(&self) -> Result<(), Failure> {
        let dir = self.plane.dir();
        let mut arguments: Vec<String> = vec!["sync".to_owned(), "--allow-file-urls".to_owned()];
        let mut flag = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        flag("--kubeconfig", self.plane.kubeconfig().display().to_string());
        flag("--state-dir", dir.join("state").display().to_string());
        flag("--metrics-listen", "127.0.0.1:0".to_owned());
        Ok(self.plane.run_beside(SYNC, Path::new(program()), &arguments)?)
    }

    pub(crate) fn stop_sync(&self) -> Result<(), Failure> {
        Ok(self.plane.kill_beside(SYNC)?)
    }

    /// Waits until all sources say that the cluster is as their commits say, and until what is created from now on counts as
    /// younger than their adoption, which is rounded up to a whole second.
    pub(crate) async fn until_synced(&self, sources: usize) -> Result<(), Failure> {
        until("all sources to be synced", async || {
            let found = Api::<PolicySource>::all(self.client.clone())
                .list(&ListParams::default())
                .await?;
            let now = jiff::Timestamp::now();
            let synced = found.iter().filter(|source| {
                let status = source.status.as_ref();
                let is_true = status.is_some_and(|status| {
                    let mut conditions = status.conditions.iter();
                    conditions.any(|condition| condition.type_ == "Synced" && condition.status == "True")
                });
                let adopted = status.and_then(|status| status.adopted_at.as_ref());
                is_true && adopted.is_some_and(|adopted| adopted.0 <= now)
            });
            Ok((synced.count() == sources).then_some(()))
        })
        .await
    }

    /// A metric of the sync loop, summed over the labels that contain `label`; none before it is there.
    pub(crate) fn metric(&self, name: &str, label: &str) -> Result<f64, Failure> {
        self.plane.check()?;
        let log = std::fs::read_to_string(self.plane.log(SYNC)).unwrap_or_default();
        let address = log
            .lines()
            .find(|line| line.contains("metrics and probes listen"))
            .and_then(|line| line.split("address=").nth(1));
        let Some(address) = address.and_then(|rest| rest.split_whitespace().next()) else {
            return Ok(0.0);
        };
        let mut connection = std::net::TcpStream::connect(address)?;
        connection.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        connection.read_to_string(&mut text)?;
        let lines = text
            .lines()
            .filter(|line| line.starts_with(name) && line.contains(label));
        Ok(lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum())
    }

    /// What the sync loop has used so far.
    pub(crate) fn used(&self) -> Result<Used, Failure> {
        let pid = self.plane.pid_beside(SYNC).ok_or("the sync loop does not run")?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name, in parentheses, may hold spaces.
        let fields: Vec<u64> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .map(|field| field.parse().unwrap_or_default())
            .collect();
        let ticks = Command::new("getconf").arg("CLK_TCK").output()?;
        let a_second: f64 = String::from_utf8(ticks.stdout)?.trim().parse()?;
        let time = |first: usize| {
            let ticks: u64 = fields.iter().skip(first).take(2).sum();
            Duration::from_secs_f64(f64::from(u32::try_from(ticks).unwrap_or(u32::MAX)) / a_second)
        };
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let figure = |name: &str| -> Option<u32> {
            let line = status.lines().find(|line| line.starts_with(name))?;
            line.split_whitespace().nth(1)?.parse().ok()
        };
        let mib = |name: &str| f64::from(figure(name).unwrap_or_default()) / 1024.0;
        Ok(Used {
            own: time(11),
            children: time(13),
            resident: (mib("VmRSS:"), mib("VmHWM:")),
            threads: figure("Threads:").unwrap_or_default(),
        })
    }
}

/// Keeps a process on these processors, with all threads it has and starts.
fn keep_on(pid: u32, processors: &str) -> Result<(), Failure> {
    let mut taskset = Command::new("taskset");
    taskset.args(["--all-tasks", "--cpu-list", "--pid", processors, &pid.to_string()]);
    let output = taskset
        .output()
        .map_err(|error| format!("cannot run taskset (util-linux): {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("taskset: {}", String::from_utf8_lossy(&output.stderr)).into())
}

/// How long the processors were idle, and how long there were any, in ticks.
fn ticks_since_boot() -> Result<(u64, u64), Failure> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let times = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let times: Vec<u64> = times.filter_map(|time| time.parse().ok()).collect();
    Ok((times.get(3).copied().unwrap_or_default(), times.iter().sum()))
}

/// Does it for each, sixteen at a time.
pub(crate) async fn each<T, F>(items: impl Iterator<Item = T>, work: impl Fn(T) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>>,
{
    use futures::TryStreamExt as _;
    futures::stream::iter(items.map(|item| Ok(work(item))))
        .try_buffer_unordered(CONCURRENCY)
        .try_for_each(|()| async { Ok(()) })
        .await
}

/// Waits until something can be had.
pub(crate) async fn until<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("waited {PATIENCE:?} in vain for {what}").into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A policy of a kilobyte, as people write it.
pub(crate) fn policy(namespace: &str, name: &str) -> String {
    use std::fmt::Write as _;
    let mut text = format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: {name}\n  namespace: {namespace}\n\
         spec:\n  podSelector: {{}}\n  policyTypes: [Ingress]\n  ingress:\n"
    );
    for rule in 0..6 {
        let _ = write!(
            text,
            "  - from:\n    - namespaceSelector:\n        matchLabels: {{team: team-{rule}}}\n      podSelector:\n        \
             matchLabels: {{app: app-{rule}}}\n    ports:\n    - {{port: {}, protocol: TCP}}\n",
            8000 + rule
        );
    }
    text
}

/// The same as the API server takes it.
pub(crate) fn parsed(text: &str) -> Result<NetworkPolicy, Failure> {
    Ok(serde_saphyr::from_str(text)?)
}

pub(crate) fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

pub(crate) fn program() -> &'static str {
    env!("CARGO_BIN_EXE_headgate")
}

fn kubectl(plane: &ControlPlane, arguments: &[&str]) -> Result<(), Failure> {
    let output = plane.kubectl().args(arguments).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned().into())
}
