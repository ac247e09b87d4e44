//! From a commit in the repository to the snapshot in force, where the commit changes one of 10 000 files, against
//! `git fetch` of the same commits in the same run: `cargo bench --bench fetch`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark; figures are for people"
)]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use headgate::source::{CredentialStore, Credentials, Keeper, KeeperOptions, PolicySource, Refresh, UrlRules};
use serde_json::json;
use tokio_util::sync::CancellationToken;

const FILES: usize = 10_000;
const FOLDERS: usize = 100;
const ROUNDS: usize = 15;
/// Over time one source is fetched once a second.
const PAUSE: Duration = Duration::from_millis(1100);
const WANTED: Duration = Duration::from_millis(30);

struct NoSecrets;

impl CredentialStore for NoSecrets {
    fn load<'a>(&'a self, _name: &'a str) -> Pin<Box<dyn Future<Output = Result<Credentials, String>> + Send + 'a>> {
        Box::pin(async { Err("there are none".to_owned()) })
    }
}

fn policy(name: usize, port: usize) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: p{name}\n  namespace: team-{}\n\
         spec:\n  podSelector: {{}}\n  policyTypes: [Ingress]\n  ingress:\n  - ports:\n    - {{port: {port}, protocol: TCP}}\n",
        name % FOLDERS
    )
}

fn git(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null");
    command
}

fn run(folder: &Path, arguments: &[&str]) -> String {
    let output = git(folder, arguments).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A bare repository whose `main` has all files; and commits after it, each of which changes one of them.
fn import(folder: &Path) -> Vec<String> {
    run(folder, &["init", "--quiet", "--bare", "--initial-branch=main"]);
    let who = "committer Ada <ada@example.com> 1700000000 +0000";
    let file = |number: usize, port: usize| {
        let text = policy(number, port);
        let folder = number % FOLDERS;
        format!(
            "M 100644 inline policies/f{folder}/p{number}.yaml\ndata {}\n{text}\n",
            text.len()
        )
    };
    let mut stream = format!("commit refs/heads/main\nmark :1\n{who}\ndata 5\nstart\n");
    (0..FILES).for_each(|number| stream.push_str(&file(number, 80)));
    for round in 0..ROUNDS {
        let (mark, from) = (round + 2, round + 1);
        let changed = file(round * 7, 8000 + round);
        let _ = write!(
            stream,
            "commit refs/next/{round}\nmark :{mark}\n{who}\ndata 6\nchange\nfrom :{from}\n{changed}"
        );
    }
    let mut import = git(folder, &["fast-import", "--quiet"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    import.stdin.take().unwrap().write_all(stream.as_bytes()).unwrap();
    assert!(import.wait().unwrap().success());
    (0..ROUNDS)
        .map(|round| run(folder, &["rev-parse", &format!("refs/next/{round}")]))
        .collect()
}

fn keeper(state: &Path, url: &str) -> Keeper {
    let source: PolicySource = serde_json::from_value(json!({
        "apiVersion": "headgate.dev/v1alpha1", "kind": "PolicySource",
        "metadata": {"name": "platform", "uid": "1", "generation": 1},
        "spec": {"git": {"url": url, "interval": "1h"}},
    }))
    .unwrap();
    let options = KeeperOptions {
        state_dir: state.to_owned(),
        urls: UrlRules::default().with_files(true),
        fetch_timeout: Duration::from_mins(1),
        limits: headgate::source::Limits::default(),
        credentials: Arc::new(NoSecrets),
    };
    let keeper = Keeper::start(options, CancellationToken::new());
    keeper.set_sources(vec![source]);
    keeper
}

fn head(keeper: &Keeper) -> Option<String> {
    let reports = keeper.reports();
    let reports = reports.borrow();
    let head = reports.get("platform")?.head.as_ref()?;
    Some(head.commit.id.clone())
}

struct Times(Vec<Duration>);

impl Times {
    fn median(&mut self) -> Duration {
        self.0.sort();
        self.0[self.0.len() / 2]
    }

    fn least(&mut self) -> Duration {
        self.0.sort();
        self.0[0]
    }
}

#[tokio::main]
async fn main() {
    // Asked for without measuring, as `cargo test --benches` does.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let origin = dir.path().join("origin");
    std::fs::create_dir(&origin).unwrap();
    let commits = import(&origin);
    let url = format!("file://{}", origin.display());
    let clone = dir.path().join("clone");
    run(
        dir.path(),
        &["clone", "--quiet", "--bare", "--single-branch", &url, "clone"],
    );
    let keeper = keeper(&dir.path().join("state"), &url);
    let start = Instant::now();
    let first = run(&origin, &["rev-parse", "main"]);
    while head(&keeper).as_deref() != Some(&first) {
        assert!(start.elapsed() < Duration::from_mins(2));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let cloned = start.elapsed();
    let (mut ours, mut gits) = (Times(Vec::new()), Times(Vec::new()));
    for commit in &commits {
        tokio::time::sleep(PAUSE).await;
        run(&origin, &["update-ref", "refs/heads/main", commit]);
        let start = Instant::now();
        let answer = keeper
            .refresh(&[Arc::from("platform")], start, Duration::from_secs(30))
            .await;
        ours.0.push(start.elapsed());
        assert_eq!(answer, Refresh::Fresh);
        assert_eq!(head(&keeper).as_deref(), Some(commit.as_str()));
        let start = Instant::now();
        run(&clone, &["fetch", "--quiet", &url, "+refs/heads/main:refs/heads/main"]);
        gits.0.push(start.elapsed());
        assert_eq!(&run(&clone, &["rev-parse", "main"]), commit);
    }
    let (median, fetch) = (ours.median(), gits.median());
    println!(
        "{FILES} files, one of them changed: fetched and in force in {median:.1?} at the median, {:.1?} at the least, wanted \
         within {WANTED:.0?}; {:.2} times `git fetch` alone ({fetch:.1?}, {:.1?})",
        ours.least(),
        median.as_secs_f64() / fetch.as_secs_f64(),
        gits.least(),
    );
    println!("cloned and in force for the first time in {cloned:.1?}");
}
