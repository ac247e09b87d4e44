//! Real repositories made with git itself, and keepers that read them.

#![allow(dead_code, reason = "every test file uses a part of it")]

pub(crate) mod apart;
pub(crate) mod hostile;
pub(crate) mod http;
pub(crate) mod ssh;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use headgate::source::keeper::RefusalReason;
use headgate::source::{
    CredentialStore, Credentials, Keeper, KeeperOptions, Limits, PolicySource, Refresh, SourceReport, UrlRules,
};
use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type TestResult<T = ()> = Result<T, Failure>;

/// No test waits longer than this for what it expects.
const PATIENCE: Duration = Duration::from_secs(30);

/// A bare repository, and a working copy from which commits are pushed into it.
pub(crate) struct Origin {
    root: TempDir,
}

impl Origin {
    /// An empty repository whose branch is `main`.
    pub(crate) fn new() -> TestResult<Self> {
        let origin = Self {
            root: tempfile::tempdir()?,
        };
        git(origin.root.path(), &["init", "--quiet", "--bare", "policies.git"])?;
        git(origin.root.path(), &["init", "--quiet", "work"])?;
        origin.git(&["remote", "add", "origin", "../policies.git"])?;
        Ok(origin)
    }

    /// A repository with so many policies in a commit, a file each.
    pub(crate) fn with_policies(count: usize) -> TestResult<(Self, String)> {
        let origin = Self::new()?;
        for number in 0..count {
            origin.write(
                &format!("policies/p{number}.yaml"),
                &policy("payments", &format!("p{number}"), 80),
            )?;
        }
        let commit = origin.commit_and_push("start")?;
        Ok((origin, commit))
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn bare(&self) -> PathBuf {
        self.root.path().join("policies.git")
    }

    pub(crate) fn file_url(&self) -> String {
        format!("file://{}", self.bare().display())
    }

    pub(crate) fn work(&self, path: &str) -> PathBuf {
        self.root.path().join("work").join(path)
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> TestResult<String> {
        git(&self.root.path().join("work"), arguments)
    }

    pub(crate) fn bare_git(&self, arguments: &[&str]) -> TestResult<String> {
        git(&self.bare(), arguments)
    }

    pub(crate) fn write(&self, path: &str, text: &str) -> TestResult {
        let path = self.work(path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        Ok(std::fs::write(path, text)?)
    }

    pub(crate) fn remove(&self, path: &str) -> TestResult {
        Ok(std::fs::remove_file(self.work(path))?)
    }

    /// Commits the working copy as it is.
    pub(crate) fn commit(&self, subject: &str) -> TestResult<String> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--allow-empty", "--message", subject])?;
        self.git(&["rev-parse", "HEAD"])
    }

    pub(crate) fn push(&self) -> TestResult<String> {
        self.git(&["push", "--quiet", "--force", "origin", "HEAD:refs/heads/main"])
    }

    pub(crate) fn commit_and_push(&self, subject: &str) -> TestResult<String> {
        let commit = self.commit(subject)?;
        self.push()?;
        Ok(commit)
    }
}

/// Runs git with nothing of this machine's configuration.
fn git(folder: &Path, arguments: &[&str]) -> TestResult<String> {
    let output = Command::new("git")
        .args(["-c", "init.defaultBranch=main", "-c", "gc.auto=0"])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .envs([("GIT_AUTHOR_NAME", "Ada"), ("GIT_AUTHOR_EMAIL", "ada@example.com")])
        .envs([
            ("GIT_COMMITTER_NAME", "Ada"),
            ("GIT_COMMITTER_EMAIL", "ada@example.com"),
        ])
        .output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("git {}: {said}", arguments.join(" ")).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// A policy that admits one port.
pub(crate) fn policy(namespace: &str, name: &str, port: u16) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {name}
  namespace: {namespace}
spec:
  podSelector: {{}}
  policyTypes: [Ingress]
  ingress:
  - ports:
    - port: {port}
      protocol: TCP
"
    )
}

/// Secrets by name. Clones are the same Secrets.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Arc<Mutex<BTreeMap<String, Credentials>>>);

impl Secrets {
    pub(crate) fn of(name: &str, entries: &[(&str, &[u8])]) -> Self {
        let secrets = Self::default();
        secrets.put(name, entries);
        secrets
    }

    /// Makes or replaces one.
    pub(crate) fn put(&self, name: &str, entries: &[(&str, &[u8])]) {
        let secret = entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.to_vec()))
            .collect();
        let mut secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.insert(name.to_owned(), secret);
    }

    pub(crate) fn remove(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

impl CredentialStore for Secrets {
    fn load<'a>(&'a self, name: &'a str) -> Pin<Box<dyn Future<Output = Result<Credentials, String>> + Send + 'a>> {
        let secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = secrets.get(name).cloned().ok_or_else(|| "it does not exist".to_owned());
        Box::pin(async move { found })
    }
}

/// A keeper with one source named `platform`, whose spec and status the test changes.
pub(crate) struct Watched {
    pub(crate) keeper: Keeper,
    pub(crate) source: PolicySource,
    shutdown: CancellationToken,
    /// Goes with the keeper.
    state: Option<TempDir>,
}

impl Watched {
    /// Watches a repository from an empty state folder.
    pub(crate) fn start(url: &str, change: impl FnOnce(&mut PolicySource)) -> TestResult<Self> {
        let state = tempfile::tempdir()?;
        let mut watched = Self::start_with(state.path(), url, Secrets::default(), PATIENCE, change)?;
        watched.state = Some(state);
        Ok(watched)
    }

    /// Watches a repository that may cost no more than this.
    pub(crate) fn start_within(limits: Limits, url: &str) -> TestResult<Self> {
        let state = tempfile::tempdir()?;
        let mut watched = Self::start_with_limits(state.path(), url, Secrets::default(), PATIENCE, limits, |_| ())?;
        watched.state = Some(state);
        Ok(watched)
    }

    pub(crate) fn start_with(
        state: &Path,
        url: &str,
        secrets: Secrets,
        fetch_timeout: Duration,
        change: impl FnOnce(&mut PolicySource),
    ) -> TestResult<Self> {
        Self::start_with_limits(state, url, secrets, fetch_timeout, Limits::default(), change)
    }

    pub(crate) fn start_with_limits(
        state: &Path,
        url: &str,
        secrets: Secrets,
        fetch_timeout: Duration,
        limits: Limits,
        change: impl FnOnce(&mut PolicySource),
    ) -> TestResult<Self> {
        let urls = UrlRules::default().with_files(true);
        Self::start_under(urls, state, url, secrets, (fetch_timeout, limits), change)
    }

    /// Watches where `file:` URLs are not allowed.
    pub(crate) fn start_without_files(state: &Path, url: &str) -> TestResult<Self> {
        let urls = UrlRules::default();
        let bounds = (PATIENCE, Limits::default());
        Self::start_under(urls, state, url, Secrets::default(), bounds, |_| ())
    }

    fn start_under(
        urls: UrlRules,
        state: &Path,
        url: &str,
        secrets: Secrets,
        (fetch_timeout, limits): (Duration, Limits),
        change: impl FnOnce(&mut PolicySource),
    ) -> TestResult<Self> {
        let mut source: PolicySource = serde_json::from_value(json!({
            "apiVersion": "headgate.dev/v1alpha1",
            "kind": "PolicySource",
            "metadata": {"name": "platform", "uid": "1", "generation": 1},
            // Polled when asked to: what a test sees is of its own making.
            "spec": {"git": {"url": url, "interval": "1h"}},
        }))?;
        change(&mut source);
        let shutdown = CancellationToken::new();
        let options = KeeperOptions {
            state_dir: state.to_owned(),
            urls,
            fetch_timeout,
            limits,
            credentials: Arc::new(secrets),
        };
        let keeper = Keeper::start(options, shutdown.clone());
        keeper.set_sources(vec![source.clone()]);
        Ok(Self {
            keeper,
            source,
            shutdown,
            state: None,
        })
    }

    /// Changes the source as the API server would tell it.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut PolicySource)) {
        change(&mut self.source);
        let generation = self.source.metadata.generation.unwrap_or_default();
        self.source.metadata.generation = Some(generation + 1);
        self.keeper.set_sources(vec![self.source.clone()]);
    }

    /// Waits until the source's report is as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&SourceReport) -> bool) -> TestResult<SourceReport> {
        self.until_within(PATIENCE, what, wanted).await
    }

    /// The same of what takes long on a slow machine.
    pub(crate) async fn until_within(
        &self,
        patience: Duration,
        what: &str,
        wanted: impl Fn(&SourceReport) -> bool,
    ) -> TestResult<SourceReport> {
        let mut reports = self.keeper.reports();
        let waiting = reports.wait_for(|reports| reports.get("platform").is_some_and(&wanted));
        let found = tokio::time::timeout(patience, waiting).await;
        match found {
            Ok(reports) => Ok(reports?.get("platform").cloned().unwrap_or_default()),
            Err(_) => Err(format!("waited in vain until {what}: {:?}", self.report()).into()),
        }
    }

    pub(crate) fn report(&self) -> SourceReport {
        self.keeper
            .reports()
            .borrow()
            .get("platform")
            .cloned()
            .unwrap_or_default()
    }

    /// Waits until this commit is in force and nothing newer is refused.
    pub(crate) async fn until_head(&self, commit: &str) -> TestResult<SourceReport> {
        let is_head = |report: &SourceReport| head_of(report) == Some(commit) && report.refusal.is_none();
        self.until(&format!("{commit} is in force"), is_head).await
    }

    /// Waits until a commit is refused for this reason.
    pub(crate) async fn until_refused(&self, reason: RefusalReason) -> TestResult<SourceReport> {
        let is_refused =
            |report: &SourceReport| report.refusal.as_ref().is_some_and(|refusal| refusal.reason == reason);
        self.until(&format!("a commit is refused as {reason:?}"), is_refused)
            .await
    }

    /// Asks for a fetch and waits for it.
    pub(crate) async fn refresh(&self) -> Refresh {
        self.keeper
            .refresh(&[Arc::from("platform")], Instant::now(), PATIENCE)
            .await
    }

    /// Asks for a fetch that has to succeed.
    pub(crate) async fn refreshed(&self) -> TestResult<SourceReport> {
        match self.refresh().await.failure() {
            None => Ok(self.report()),
            Some(why) => Err(why.into()),
        }
    }

    /// Ends the keeper and waits until its mirrors are free.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.keeper.stopped().await;
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// The commit in force.
pub(crate) fn head_of(report: &SourceReport) -> Option<&str> {
    report.head.as_ref().map(|head| head.commit.id.as_str())
}

/// How many objects are in force.
pub(crate) fn objects(report: &SourceReport) -> usize {
    report.head.as_ref().map_or(0, |head| head.entries.len())
}

/// The repositories in a state folder with one source.
pub(crate) fn mirrors(state: &Path) -> TestResult<Vec<PathBuf>> {
    let mut found = Vec::new();
    for home in std::fs::read_dir(state)? {
        for entry in std::fs::read_dir(home?.path())? {
            found.push(entry?.path());
        }
    }
    found.retain(|path| path.is_dir());
    Ok(found)
}

/// Files and folders below a folder whose content or name has this text.
pub(crate) fn holding(dir: &Path, text: &str) -> TestResult<Vec<String>> {
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(dir) {
        let entry = entry?;
        let name = entry.path().display().to_string();
        let content = std::fs::read(entry.path()).unwrap_or_default();
        if name.contains(text) || String::from_utf8_lossy(&content).contains(text) {
            found.push(name);
        }
    }
    Ok(found)
}
