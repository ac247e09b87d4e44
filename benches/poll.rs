//! What polling costs a Git server: git's own backend over TLS, the bytes on the wire counted, and the processor's time
//! of the backend for the very requests that came: `cargo bench --bench poll`. docs/scale.md has what follows from it.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark; figures are for people"
)]

#[path = "../tests/git_support/mod.rs"]
mod git_support;

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use git_support::http::{Asked, serve_tls};
use git_support::{Origin, Secrets, Watched, head_of, policy};
use headgate::source::resource::SecretRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Requests are repeated so often for the processor's time, which the kernel counts in hundredths of a second.
const AGAIN: u32 = 200;
/// Over time one source is fetched once a second.
const PAUSE: Duration = Duration::from_millis(1200);

/// Bytes that passed, and connections that were made.
#[derive(Default)]
struct Passed {
    connections: AtomicUsize,
    up: AtomicUsize,
    down: AtomicUsize,
}

impl Passed {
    fn take(&self) -> [usize; 3] {
        [&self.connections, &self.up, &self.down].map(|count| count.swap(0, Ordering::SeqCst))
    }
}

/// Passes everything on to a port, and counts it.
async fn count_to(port: u16) -> (u16, Arc<Passed>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    let passed = Arc::new(Passed::default());
    let counts = Arc::clone(&passed);
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            counts.connections.fetch_add(1, Ordering::SeqCst);
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            let (up, down) = (Arc::clone(&counts), Arc::clone(&counts));
            tokio::spawn(pass(from_client, to_server, move |bytes| {
                up.up.fetch_add(bytes, Ordering::SeqCst);
            }));
            tokio::spawn(pass(from_server, to_client, move |bytes| {
                down.down.fetch_add(bytes, Ordering::SeqCst);
            }));
        }
    });
    (own, passed)
}

async fn pass(
    mut from: impl tokio::io::AsyncRead + Unpin,
    mut to: impl tokio::io::AsyncWrite + Unpin,
    count: impl Fn(usize),
) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        count(read);
        if to.write_all(buffer.get(..read).unwrap_or_default()).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

/// The processor's time of children that have ended, by /proc/self/stat.
fn of_children() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    let ticks: u64 = fields.skip(13).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// The processor's time that these requests cost git's backend.
fn cost(requests: &[Asked]) -> Duration {
    let before = of_children();
    for _ in 0..AGAIN {
        for request in requests {
            request.again().unwrap();
        }
    }
    of_children().saturating_sub(before) / AGAIN
}

fn add_refs(origin: &Origin, refs: usize, commit: &str) {
    let mut updates = String::new();
    for number in 1..refs {
        let _ = writeln!(updates, "create refs/heads/topic/{number:05} {commit}");
    }
    let mut git = Command::new("git")
        .args(["update-ref", "--stdin"])
        .current_dir(origin.bare())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    git.stdin.take().unwrap().write_all(updates.as_bytes()).unwrap();
    assert!(git.wait().unwrap().success());
    origin.bare_git(&["pack-refs", "--all"]).unwrap();
}

async fn measure(refs: usize) {
    let (origin, first) = Origin::with_policies(100).unwrap();
    add_refs(&origin, refs, &first);
    let (server, root) = serve_tls(&origin, None).await.unwrap();
    let port = server.url.rsplit(':').next().and_then(|rest| rest.split('/').next());
    let (own, passed) = count_to(port.unwrap().parse().unwrap()).await;
    let state = tempfile::tempdir().unwrap();
    let secrets = Secrets::of("acme-git", &[("ca.crt", root.as_bytes())]);
    let url = format!("https://localhost:{own}/policies.git");
    let watched = Watched::start_with(state.path(), &url, secrets, Duration::from_secs(30), |source| {
        source.spec.git.credentials_secret_ref = Some(SecretRef {
            name: "acme-git".to_owned(),
        });
    })
    .unwrap();
    watched.until_head(&first).await.unwrap();
    for what in ["a poll that finds nothing", "a poll that finds one changed file"] {
        tokio::time::sleep(PAUSE).await;
        let commit = if what.ends_with("nothing") {
            first.clone()
        } else {
            origin.write("policies/p7.yaml", &policy("payments", "p7", 81)).unwrap();
            origin.commit_and_push("change").unwrap()
        };
        // Connections that are being closed are none of this one.
        tokio::time::sleep(Duration::from_millis(200)).await;
        passed.take();
        server.asked();
        let start = Instant::now();
        assert_eq!(head_of(&watched.refreshed().await.unwrap()), Some(commit.as_str()));
        let took = start.elapsed();
        tokio::time::sleep(Duration::from_millis(200)).await;
        let [connections, up, down] = passed.take();
        let requests = server.asked();
        let cost = tokio::task::block_in_place(|| cost(&requests));
        println!(
            "{refs} refs, {what}: {connections} connection, {} requests, {up} bytes up, {down} bytes down (TLS and all), \
             {took:.1?} to the end, {cost:.2?} of the server's processor",
            requests.len(),
        );
    }
}

#[tokio::main]
async fn main() {
    // Asked for without measuring, as `cargo test --benches` does.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    for refs in [10, 1000, 10_000] {
        measure(refs).await;
    }
}
