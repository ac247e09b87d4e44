//! The sync loop at scale, against what a bare client writes to the same API server in the same run: `cargo bench --bench
//! scale`. On a real control plane, the sync loop as a process of its own.
//!
//! Who writes, the loop as well as the bare client, has the machine's last processor to itself, and the control plane the
//! others; with `HEADGATE_SCALE_SHARED` all of them have all.
//!
//! Smaller runs by the environment: `HEADGATE_SCALE_SOURCES`, `HEADGATE_SCALE_POLICIES`, `HEADGATE_SCALE_NAMESPACES`, and
//! `HEADGATE_SCALE_IDLE` in seconds.
#![expect(clippy::print_stdout, reason = "a benchmark; figures are for people")]

mod cluster;
#[path = "../tests/controlplane/mod.rs"]
mod controlplane;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::json;

use cluster::{CONCURRENCY, Cluster, Failure, Used, parsed, policy};

/// The loop writes most of its objects between these two moments; what is before and after is looked at by itself.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// After the first sync the loop is left alone for so long before it counts as idle.
const CALM: Duration = Duration::from_secs(15);

/// How much there is.
#[derive(Clone, Copy, Debug)]
struct Size {
    sources: usize,
    policies: usize,
    namespaces: usize,
    idle: Duration,
}

/// When the loop did what, from the start of its process.
struct Times {
    first: Duration,
    last: Duration,
    told: Duration,
}

impl Size {
    fn from_environment() -> Result<Self, Failure> {
        let read = |name: &str, default: usize| -> Result<usize, Failure> {
            std::env::var(format!("HEADGATE_SCALE_{name}")).map_or(Ok(default), |text| Ok(text.parse()?))
        };
        Ok(Self {
            sources: read("SOURCES", 100)?,
            policies: read("POLICIES", 10_000)?,
            namespaces: read("NAMESPACES", 1000)?,
            idle: Duration::from_secs(u64::try_from(read("IDLE", 60)?)?),
        })
    }

    /// Every policy of one side: its namespace and its name.
    fn each(self, side: &str) -> impl Iterator<Item = (String, String)> {
        let namespaces = self.namespaces;
        (0..self.policies).map(move |number| (format!("{side}-{}", number % namespaces), format!("p{number}")))
    }

    fn namespaces(self, side: &str) -> Vec<String> {
        (0..self.namespaces).map(|number| format!("{side}-{number}")).collect()
    }

    fn bare(self, side: &str) -> Result<Vec<NetworkPolicy>, Failure> {
        self.each(side)
            .map(|(namespace, name)| parsed(&policy(&namespace, &name)))
            .collect()
    }

    fn rate(self, took: Duration) -> f64 {
        f64::from(u32::try_from(self.policies).unwrap_or(u32::MAX)) / took.as_secs_f64()
    }
}

/// A bare repository with the policies of every hundredth namespace, say, a file each.
fn make_repository(folder: &Path, size: Size, source: usize) -> Result<(), Failure> {
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(arguments).current_dir(folder);
        command
    };
    std::fs::create_dir_all(folder)?;
    if !git(&["init", "--quiet", "--bare", "--initial-branch=main"])
        .status()?
        .success()
    {
        return Err("git init failed".into());
    }
    let mut stream =
        "commit refs/heads/main\ncommitter Ada <ada@example.com> 1700000000 +0000\ndata 5\nstart\n".to_owned();
    for (number, (namespace, name)) in size.each("loop").enumerate() {
        if number % size.namespaces % size.sources == source {
            let text = policy(&namespace, &name);
            write!(
                stream,
                "M 100644 inline {namespace}/{name}.yaml\ndata {}\n{text}\n",
                text.len()
            )?;
        }
    }
    let mut import = git(&["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = import.stdin.take() {
        stdin.write_all(stream.as_bytes())?;
    }
    if import.wait()?.success() {
        Ok(())
    } else {
        Err("git fast-import failed".into())
    }
}

async fn make_sources(cluster: &Cluster, size: Size) -> Result<(), Failure> {
    for source in 0..size.sources {
        let folder = cluster.plane.dir().join(format!("git/{source}.git"));
        make_repository(&folder, size, source)?;
        let namespaces = (0..size.namespaces).filter(|number| number % size.sources == source);
        let namespaces: Vec<String> = namespaces.map(|number| format!("loop-{number}")).collect();
        let spec = json!({
            "git": {"url": format!("file://{}", folder.display())}, "scope": {"namespaces": namespaces},
        });
        cluster.make_source(&format!("source-{source}"), spec).await?;
    }
    Ok(())
}

/// From the start of the process to the status of the last source.
async fn first_sync(cluster: &Cluster, size: Size) -> Result<Times, Failure> {
    let start = Instant::now();
    cluster.start_sync()?;
    let written = || cluster.metric("headgate_sync_writes_total", "action=\"Create\",outcome=\"Done\"");
    let (mut first, policies) = (None, u32::try_from(size.policies)?);
    loop {
        let count = written()?;
        if count > 0.0 && first.is_none() {
            first = Some(start.elapsed());
        }
        if count >= f64::from(policies) {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let last = start.elapsed();
    cluster.until_synced(size.sources).await?;
    Ok(Times {
        first: first.unwrap_or(last),
        last,
        told: start.elapsed(),
    })
}

async fn idle(cluster: &Cluster, size: Size) -> Result<(Used, Used), Failure> {
    tokio::time::sleep(CALM).await;
    let before = cluster.used()?;
    tokio::time::sleep(size.idle).await;
    Ok((before, cluster.used()?))
}

fn print_sync(size: Size, parted: bool, bare: [Duration; 2], times: &Times) {
    let by_hand = f64::midpoint(size.rate(bare[0]), size.rate(bare[1]));
    let processors = if parted {
        "the control plane on processors of its own"
    } else {
        "all on the same processors"
    };
    println!(
        "{} policies, {} sources, {} namespaces, {CONCURRENCY} writes at once, {processors}:",
        size.policies, size.sources, size.namespaces
    );
    println!(
        "  a bare client: {:.1?} before and {:.1?} after, {by_hand:.0} objects a second",
        bare[0], bare[1]
    );
    for (what, took) in [
        ("from the start of the process to the last write", times.last),
        (
            "from the first write to the last",
            times.last.saturating_sub(times.first),
        ),
        ("from the start of the process to the last source's status", times.told),
    ] {
        let rate = size.rate(took);
        println!(
            "  the loop, {what}: {took:.1?}, {rate:.0} objects a second, {:.0} % of the bare client",
            100.0 * rate / by_hand
        );
    }
}

fn print_use(size: Size, synced: Used, (before, after): (Used, Used)) {
    println!(
        "  the first sync took {:.1?} of processor time, {:.1?} in git's own processes",
        synced.own, synced.children
    );
    for (when, used) in [("after the first sync", synced), ("idle", after)] {
        println!(
            "  memory {when}: {:.0} MiB, at most {:.0} MiB; {} threads",
            used.resident.0, used.resident.1, used.threads
        );
    }
    let share = |spent: Duration| 100.0 * spent.as_secs_f64() / size.idle.as_secs_f64();
    println!(
        "  idle, sources polled every 30 s: {:.2} % of one processor, and {:.2} % in git's own processes",
        share(after.own.saturating_sub(before.own)),
        share(after.children.saturating_sub(before.children)),
    );
}

async fn measure(size: Size) -> Result<(), Failure> {
    let cluster = Cluster::start().await?;
    for side in ["bare", "loop", "again"] {
        cluster.make_namespaces(&size.namespaces(side)).await?;
    }
    make_sources(&cluster, size).await?;
    let parted = std::env::var_os("HEADGATE_SCALE_SHARED").is_none() && cluster.part()?;
    // Parsed beforehand: what is measured is the writing.
    let policies = size.bare("bare")?;
    cluster.until_calm().await?;
    let before = cluster.write_bare(policies).await?;
    cluster.until_calm().await?;
    let times = first_sync(&cluster, size).await?;
    let synced = cluster.used()?;
    let idle = idle(&cluster, size).await?;
    // It would see every write of the bare client.
    cluster.stop_sync()?;
    let policies = size.bare("again")?;
    cluster.until_calm().await?;
    let after = cluster.write_bare(policies).await?;
    print_sync(size, parted, [before, after], &times);
    print_use(size, synced, idle);
    Ok(())
}

fn main() -> Result<(), Failure> {
    // Asked for without measuring, as `cargo test --benches` does.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    tokio::runtime::Runtime::new()?.block_on(measure(Size::from_environment()?))
}
