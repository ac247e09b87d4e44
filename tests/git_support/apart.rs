//! A keeper in a process of its own: what it takes of memory is seen from outside, and it can be killed.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use headgate::source::{Limits, SourceReport};
use serde_json::{Value, json};

use super::{PATIENCE, Secrets, TestResult, Watched, head_of, objects};

const JOB: &str = "HEADGATE_TEST_JOB";

/// What a keeper came to.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) head: Option<String>,
    pub(crate) objects: u64,
    /// Why the repository could not be read, if so.
    pub(crate) failure: Option<String>,
    /// Why its commit is not in force, if so.
    pub(crate) refusal: Option<String>,
    /// Most bytes that the process ever had in memory.
    pub(crate) peak: u64,
}

/// Starts a process with a keeper that looks at a repository once, with these recorded as commit in force and objects.
pub(crate) fn start(state: &Path, url: &str, limits: &Limits, recorded: Option<(&str, i64)>) -> TestResult<Child> {
    let job = json!({
        "state": state, "url": url, "recorded": recorded, "report": state.with_extension("report"),
        "received": limits.received, "gitObjects": limits.git_objects, "gitObjectSize": limits.git_object_size,
        "files": limits.files, "fileSize": limits.file_size, "totalSize": limits.total_size, "objects": limits.objects,
    });
    let child = Command::new(std::env::current_exe()?)
        .args(["--exact", "a_keeper_in_a_process_of_its_own", "--ignored", "--quiet"])
        .env(JOB, job.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    Ok(child)
}

/// Has a process look at a repository once; what it says of it.
pub(crate) async fn look(state: &Path, url: &str, limits: &Limits) -> TestResult<Account> {
    look_with(state, url, limits, None).await
}

/// The same, with what the status records.
pub(crate) async fn look_with(
    state: &Path,
    url: &str,
    limits: &Limits,
    recorded: Option<(&str, i64)>,
) -> TestResult<Account> {
    let mut child = start(state, url, limits, recorded)?;
    let ended = tokio::task::spawn_blocking(move || child.wait()).await??;
    if !ended.success() {
        return Err(format!("the keeper's process ended with {ended}").into());
    }
    account(state)
}

fn account(state: &Path) -> TestResult<Account> {
    let told: Value = serde_json::from_slice(&std::fs::read(state.with_extension("report"))?)?;
    let text = |name: &str| Some(told.get(name)?.as_str()?.to_owned());
    let number = |name: &str| told.get(name).and_then(Value::as_u64).unwrap_or_default();
    Ok(Account {
        head: text("head"),
        objects: number("objects"),
        failure: text("failure"),
        refusal: text("refusal"),
        peak: number("peak"),
    })
}

/// The process's part: to be called from the test of that name.
pub(crate) async fn work() -> TestResult {
    let job: Value = serde_json::from_str(&std::env::var(JOB)?)?;
    let number = |name: &str| job.get(name).and_then(Value::as_u64).ok_or("a number is missing");
    let limits = Limits {
        received: number("received")?,
        git_objects: number("gitObjects")?.try_into()?,
        git_object_size: number("gitObjectSize")?,
        files: number("files")?.try_into()?,
        file_size: number("fileSize")?,
        total_size: number("totalSize")?,
        objects: number("objects")?.try_into()?,
    };
    let text = |name: &str| job.get(name).and_then(Value::as_str).ok_or("a text is missing");
    let timeout = Duration::from_secs(25);
    let state = Path::new(text("state")?);
    let watched = Watched::start_with_limits(state, text("url")?, Secrets::default(), timeout, limits, |source| {
        let recorded = |at: &str| job.pointer(&format!("/recorded/{at}"));
        let commit = recorded("0").and_then(Value::as_str);
        if let Some((commit, objects)) = commit.zip(recorded("1").and_then(Value::as_i64)) {
            let status = source.status.get_or_insert_default();
            status.head = Some(headgate::source::resource::HeadStatus {
                commit: commit.to_owned(),
                objects,
                ..Default::default()
            });
            commit.clone_into(&mut status.highest_head);
        }
    })?;
    let report = watched
        .until_within(3 * PATIENCE, "it was looked at", |report| report.attempt.is_some())
        .await?;
    let told = told(&report)?.to_string();
    watched.stop().await;
    Ok(std::fs::write(text("report")?, told)?)
}

fn told(report: &SourceReport) -> TestResult<Value> {
    let failure = report
        .attempt
        .as_ref()
        .and_then(|attempt| attempt.outcome.as_ref().err());
    Ok(json!({
        "head": head_of(report), "objects": objects(report), "failure": failure,
        "refusal": report.refusal.as_ref().map(|refusal| &refusal.message), "peak": peak()?,
    }))
}

/// Most bytes that this process ever had in memory.
fn peak() -> TestResult<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes: u64 = line.ok_or("no peak")?.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes << 10)
}
