//! From the blobs of a commit to its snapshot, against parsing the same objects as JSON: `cargo bench --bench snapshot`.
//! `taskset -c 0` holds it to one core.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark; figures are for people"
)]
#![allow(missing_docs, reason = "criterion's macros write functions")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use headgate::source::{CommitReader, Settings, UrlRules};
use serde_json::{Value, json};

const FILES: usize = 10_000;
const FOLDERS: usize = 100;
/// How often each is measured; the least counts, for other programs on the machine only add to it.
const ROUNDS: usize = 10;

/// A policy of a kilobyte, as people write it.
fn policy(name: usize) -> String {
    let mut text = format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: p{name}\n  namespace: team-{}\n\
         spec:\n  podSelector: {{}}\n  policyTypes: [Ingress]\n  ingress:\n",
        name % FOLDERS
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

/// A bare repository with two commits, the second of which adds one file.
fn import(folder: &Path) -> [String; 2] {
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(arguments).current_dir(folder);
        command
    };
    assert!(
        git(&["init", "--quiet", "--bare", "--initial-branch=main"])
            .status()
            .unwrap()
            .success()
    );
    let who = "committer Ada <ada@example.com> 1700000000 +0000";
    let file = |number: usize| {
        let text = policy(number);
        format!(
            "M 100644 inline policies/f{}/p{number}.yaml\ndata {}\n{text}\n",
            number % FOLDERS,
            text.len()
        )
    };
    let mut stream = format!("commit refs/heads/main\nmark :1\n{who}\ndata 5\nstart\n");
    (0..FILES).for_each(|number| stream.push_str(&file(number)));
    let added = file(FILES);
    let _ = write!(
        stream,
        "commit refs/heads/next\nmark :2\n{who}\ndata 3\nadd\nfrom :1\n{added}"
    );
    let mut import = git(&["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn().unwrap();
    import.stdin.take().unwrap().write_all(stream.as_bytes()).unwrap();
    assert!(import.wait().unwrap().success());
    ["main", "next"].map(|branch| {
        let told = git(&["rev-parse", branch]).output().unwrap();
        String::from_utf8(told.stdout).unwrap().trim().to_owned()
    })
}

fn reader(folder: &Path) -> CommitReader {
    let spec = serde_json::from_value(json!({"git": {"url": "https://git.example.com/policies.git"}})).unwrap();
    CommitReader::open(folder, Settings::from_spec(&spec, &UrlRules::default()).unwrap()).unwrap()
}

fn least(mut work: impl FnMut() -> Duration) -> Duration {
    (0..ROUNDS).map(|_| work()).min().unwrap_or_default()
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn snapshots(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let [start, next] = import(folder.path());
    let texts: Vec<String> = (0..FILES)
        .map(|number| {
            let parsed = headgate::policy::manifest::parse(policy(number).as_bytes());
            parsed.manifests.first().unwrap().object.to_string()
        })
        .collect();
    let parse = || {
        for text in &texts {
            black_box(serde_json::from_str::<Value>(text).unwrap());
        }
    };
    let first = || {
        let mut reader = reader(folder.path());
        assert_eq!(reader.read(&start).unwrap().entries.len(), FILES);
        reader
    };
    let mut group = criterion.benchmark_group(format!("{FILES} files of 1 KB"));
    group.sample_size(10);
    group.bench_function("from blobs to the snapshot", |bench| bench.iter_with_large_drop(first));
    let mut warm = first();
    group.bench_function("one file more, and one less", |bench| {
        bench.iter(|| {
            warm.read(&next).unwrap();
            warm.read(&start).unwrap();
        });
    });
    group.finish();

    let parsing = least(|| timed(parse));
    let whole = least(|| timed(|| drop(black_box(first()))));
    let mut warm = first();
    let added = least(|| {
        let took = timed(|| {
            black_box(warm.read(&next).unwrap());
        });
        warm.read(&start).unwrap();
        took
    });
    let ratio = |time: Duration| time.as_secs_f64() / parsing.as_secs_f64();
    println!(
        "{FILES} files of {} bytes to a snapshot: {whole:.0?}, {:.1} times parsing them as JSON ({parsing:.0?}), wanted \
         within 1.5 s on one core",
        policy(0).len(),
        ratio(whole)
    );
    println!(
        "one file more: {added:.2?}, {:.3} times parsing all of them, wanted within 5 ms",
        ratio(added)
    );
}

criterion_group!(benches, snapshots);
criterion_main!(benches);
