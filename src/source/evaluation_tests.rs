//! What a commit costs. Run in release: `cargo test --release --lib -- --ignored --nocapture measure`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::*;
use crate::source::UrlRules;
use crate::source::access::Access;
use crate::source::limits::Limits;
use crate::source::mirror::{Mirror, Wish};

type TestResult<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// A policy of about a kilobyte.
fn policy(name: usize, port: usize) -> String {
    let mut text = format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: p{name}\n  namespace: team-{}\n\
         spec:\n  podSelector: {{}}\n  policyTypes: [Ingress]\n  ingress:\n",
        name % 100
    );
    for rule in 0..6 {
        let _ = write!(
            text,
            "  - from:\n    - namespaceSelector:\n        matchLabels: {{team: team-{rule}}}\n      podSelector:\n        \
             matchLabels: {{app: app-{rule}}}\n    ports:\n    - {{port: {}, protocol: TCP}}\n",
            port + rule
        );
    }
    text
}

/// Makes a repository of so many files in so many folders with two commits, the second of which changes one file.
fn import(dir: &Path, files: usize, folders: usize) -> TestResult {
    let git = |arguments: &[&str]| -> TestResult<std::process::Child> {
        Ok(Command::new("git")
            .args(arguments)
            .current_dir(dir)
            .stdin(Stdio::piped())
            .spawn()?)
    };
    git(&["init", "--quiet", "--bare", "--initial-branch=main"])?.wait()?;
    let mut stream = String::new();
    let who = "committer Ada <ada@example.com> 1700000000 +0000";
    let file = |number: usize, port: usize| {
        let text = policy(number, port);
        let path = format!("policies/f{}/p{number}.yaml", number % folders);
        format!("M 100644 inline {path}\ndata {}\n{text}\n", text.len())
    };
    let _ = write!(stream, "commit refs/heads/main\nmark :1\n{who}\ndata 5\nstart\n");
    (0..files).for_each(|number| stream.push_str(&file(number, 8000)));
    let _ = write!(
        stream,
        "commit refs/heads/next\nmark :2\n{who}\ndata 6\nchange\nfrom :1\n{}",
        file(17, 9000)
    );
    let mut import = git(&["fast-import", "--quiet"])?;
    import.stdin.take().ok_or("no input")?.write_all(stream.as_bytes())?;
    assert!(import.wait()?.success());
    Ok(())
}

/// The result, and how long it took.
async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let start = Instant::now();
    let result = work.await;
    (result, start.elapsed())
}

/// A repository and its mirror, fetched once.
struct Scene {
    origin: tempfile::TempDir,
    _state: tempfile::TempDir,
    mirror: Arc<Mirror>,
    situation: Situation,
}

impl Scene {
    async fn new(files: usize, folders: usize) -> TestResult<Self> {
        let (origin, state) = (tempfile::tempdir()?, tempfile::tempdir()?);
        import(origin.path(), files, folders)?;
        let url = format!("file://{}", origin.path().display());
        let spec = serde_json::from_value(json!({"git": {"url": url}}))?;
        let mirror = Arc::new(Mirror::open(state.path(), "a", &url)?);
        let fetched = Arc::clone(&mirror).fetch(wish()).await?;
        Ok(Self {
            origin,
            _state: state,
            mirror,
            situation: Situation {
                source: Arc::from("a"),
                settings: Arc::new(Settings::from_spec(&spec, &UrlRules::default().with_files(true))?),
                store: fetched.store,
                tip: fetched.tip,
                head: None,
                recorded: Recorded::default(),
                highest: None,
                keys: Arc::default(),
                now: Timestamp::UNIX_EPOCH,
            },
        })
    }

    /// Has the branch name the second commit, and fetches it.
    async fn advance(&mut self) -> TestResult {
        let moved = Command::new("git")
            .args(["update-ref", "refs/heads/main", "refs/heads/next"])
            .current_dir(self.origin.path())
            .status()?;
        assert!(moved.success());
        self.fetch().await
    }

    async fn fetch(&mut self) -> TestResult {
        self.situation.tip = Arc::clone(&self.mirror).fetch(wish()).await?.tip;
        Ok(())
    }

    fn evaluate(&mut self, blobs: &Blobs) -> TestResult<Arc<Head>> {
        let head = self.situation.evaluate(blobs)?.head.ok_or("no head")?;
        self.situation.head = Some(Arc::clone(&head));
        Ok(head)
    }
}

fn wish() -> Wish {
    Wish {
        reference: "refs/heads/main".to_owned(),
        access: Access::default(),
        timeout: Duration::from_mins(1),
        keep: None,
        may_rewind: false,
        limits: Limits::default(),
    }
}

#[tokio::test]
async fn a_commit_reads_only_the_files_that_it_changes() -> TestResult {
    let mut scene = Scene::new(200, 10).await?;
    let first = scene.evaluate(&Blobs::new(Limits::default()))?;
    scene.advance().await?;
    // Nothing is known of any blob: what is read is what could not be taken over.
    let blobs = Blobs::new(Limits::default());
    let second = scene.evaluate(&blobs)?;
    let (first, second) = (&first.built.snapshot.entries, &second.built.snapshot.entries);
    assert_eq!(second.len(), 200);
    for (key, entry) in second {
        let old = first.get(key).ok_or("not declared before")?;
        let is_changed = key.name() == "p17";
        assert_eq!(old.digest != entry.digest, is_changed, "{key}");
        assert_eq!(blobs.known(entry.blob).is_some(), is_changed, "{key}");
        assert!(Arc::ptr_eq(&old.path, &entry.path), "{key}");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "takes its time, and says something in release only"]
#[expect(clippy::print_stdout, reason = "figures are for people")]
async fn measure_a_commit_that_changes_one_file() -> TestResult {
    for folders in [1, 100] {
        let (scene, clone) = timed(Scene::new(10_000, folders)).await;
        let (mut scene, blobs) = (scene?, Blobs::new(Limits::default()));
        let (first, first_time) = timed(async { scene.evaluate(&blobs) }).await;
        first?;
        let (advanced, fetch) = timed(scene.advance()).await;
        advanced?;
        let (mut changed, before) = (Duration::MAX, scene.situation.head.clone());
        for _ in 0..20 {
            scene.situation.head.clone_from(&before);
            // The least of many: other programs on the machine only add to it.
            let (head, took) = timed(async { scene.evaluate(&blobs) }).await;
            assert_eq!(head?.built.snapshot.entries.len(), 10_000);
            changed = changed.min(took);
        }
        let (fetched, no_news) = timed(scene.fetch()).await;
        fetched?;
        println!(
            "10000 files in {folders} folders: import and clone {clone:.1?}, first snapshot {first_time:.1?}, one-file \
             fetch {fetch:.1?}, one-file snapshot {changed:.2?}, fetch without news {no_news:.1?}"
        );
    }
    Ok(())
}
