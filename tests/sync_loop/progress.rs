//! How far a loop is that has much to do, as people see it who watch the sources.

use std::io::{Read, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::harness::Bench;
use crate::{Failure, Outcome};

/// How long what is expected may take to be shown.
const PATIENCE: Duration = Duration::from_secs(30);
/// What bars are drawn with.
const FULL: char = '█';
const ESCAPE: char = '\u{1b}';

/// A program that runs, and what it has shown so far.
struct Shown {
    child: Child,
    bytes: mpsc::Receiver<Vec<u8>>,
    all: Vec<u8>,
}

impl Shown {
    fn start(command: &mut Command) -> Result<Self, Failure> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut out = child.stdout.take().ok_or("no output")?;
        let (sender, bytes) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = out.read(&mut buffer) {
                if sender.send(buffer.iter().take(count).copied().collect()).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            child,
            bytes,
            all: Vec::new(),
        })
    }

    /// Waits until this was shown, and gives all that was.
    fn until(&mut self, wanted: &str) -> Result<String, Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = String::from_utf8_lossy(&self.all).into_owned();
            if text.contains(wanted) {
                return Ok(text);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let more = self.bytes.recv_timeout(left);
            self.all
                .extend(more.map_err(|error| format!("{error} before {wanted} came: {text}"))?);
        }
    }

    async fn ended(mut self) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("it ended with {status}").into()),
                None if Instant::now() > deadline => break,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        self.child.kill()?;
        Err(format!("it did not end within {PATIENCE:?}").into())
    }
}

async fn say(bench: &Bench, status: Value) -> Outcome {
    let patch = Patch::Merge(json!({ "status": status }));
    bench
        .sources()
        .patch_status(&bench.name, &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

fn at_work() -> Value {
    json!({"shortCommit": "3f2a91c", "progress": {"done": 3, "total": 4}})
}

fn done() -> Value {
    json!({"shortCommit": "c0ffee0", "progress": null})
}

fn watching(bench: &Bench) -> String {
    let program = env!("CARGO_BIN_EXE_headgate");
    format!(
        "{program} status --watch {} --kubeconfig {}",
        bench.name,
        bench.kubeconfig().display()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_shown_a_bar_while_the_loop_writes_and_none_afterwards() -> Outcome {
    let bench = Bench::new("terminal").await?;
    bench.make_source(&json!({})).await?;
    say(&bench, at_work()).await?;
    let command = format!("stty cols 100 rows 24; exec {}", watching(&bench));
    let mut script = Command::new("script");
    script.args(["-qec", &command, "/dev/null"]).env("TERM", "xterm");
    let mut shown = Shown::start(&mut script)?;
    let text = shown.until("3/4")?;
    assert!(text.contains(FULL), "no bar: {text:?}");
    say(&bench, done()).await?;
    let text = shown.until("c0ffee0")?;
    let last = text.rsplit("terminal").next().unwrap_or_default();
    assert!(!last.contains(FULL), "the bar is still there: {last:?}");
    // Ctrl-C.
    let mut keys = shown.child.stdin.take().ok_or("no input")?;
    keys.write_all(b"\x03")?;
    keys.flush()?;
    shown.ended().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_is_given_a_plain_line_for_each_change() -> Outcome {
    let bench = Bench::new("pipe").await?;
    bench.make_source(&json!({})).await?;
    say(&bench, at_work()).await?;
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec {}", watching(&bench))]);
    let mut shown = Shown::start(&mut command)?;
    shown.until("3/4")?;
    say(&bench, done()).await?;
    let text = shown.until("c0ffee0")?;
    assert!(!text.contains([FULL, ESCAPE]), "{text:?}");
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        lines,
        [
            vec!["NAME", "READY", "STATUS", "COMMIT", "OBJECTS", "DRIFT", "PROGRESS"],
            vec!["pipe", "Unknown", "<none>", "3f2a91c", "<none>", "0", "3/4"],
            vec!["pipe", "Unknown", "<none>", "c0ffee0", "<none>", "0"],
        ]
    );
    Command::new("kill")
        .args(["-INT", &shown.child.id().to_string()])
        .status()?;
    shown.ended().await
}
