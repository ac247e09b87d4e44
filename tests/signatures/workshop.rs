//! A repository whose commits git signs, and a source that asks for signatures.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use headgate::source::keeper::{RefusalReason, SignatureFault};
use headgate::source::resource::{SecretRef, Verify, VerifyMode};
use headgate::source::{PolicySource, SourceReport};

use crate::git_support::{Failure, Origin, Secrets, TestResult, Watched, head_of, policy};
use crate::keys::Signing;

/// The Secret with the keys that may sign.
pub(crate) const SIGNERS: &str = "signers";

/// A repository.
pub(crate) struct Workshop {
    pub(crate) origin: Origin,
}

impl Workshop {
    pub(crate) fn new() -> TestResult<Self> {
        let origin = Origin::new()?;
        origin.write("policies/a.yaml", &policy("payments", "a", 80))?;
        origin.git(&["add", "--all"])?;
        Ok(Self { origin })
    }

    /// A signed commit on the branch.
    pub(crate) fn commit(&self, with: &Signing) -> TestResult<String> {
        let mut arguments = with.git_options();
        arguments.extend(
            [
                "commit",
                "--quiet",
                "--allow-empty",
                "--gpg-sign",
                "--message",
                "signed",
            ]
            .map(str::to_owned),
        );
        self.git(&arguments)?;
        self.publish()
    }

    pub(crate) fn unsigned_commit(&self) -> TestResult<String> {
        self.origin.commit_and_push("not signed")
    }

    /// Publishes what is checked out.
    pub(crate) fn publish(&self) -> TestResult<String> {
        self.origin.push()?;
        self.origin.git(&["rev-parse", "HEAD"])
    }

    pub(crate) fn git(&self, arguments: &[String]) -> TestResult<String> {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.origin.git(&arguments)
    }

    /// The bytes of a commit.
    pub(crate) fn raw(&self, commit: &str) -> TestResult<String> {
        // Not trimmed: the end counts.
        let output = Command::new("git")
            .args(["cat-file", "commit", commit])
            .current_dir(self.origin.work(""))
            .output()?;
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Makes a commit of these bytes the branch.
    pub(crate) fn forge(&self, raw: &[u8]) -> TestResult<String> {
        let mut child = Command::new("git")
            .args(["hash-object", "-t", "commit", "-w", "--stdin", "--literally"])
            .current_dir(self.origin.work(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        child.stdin.take().ok_or("no input")?.write_all(raw)?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            return Err("hash-object failed".into());
        }
        let commit = String::from_utf8(output.stdout)?.trim().to_owned();
        self.origin.git(&["update-ref", "HEAD", &commit])?;
        self.publish()
    }

    /// Puts another signature into a commit, and makes it the branch.
    pub(crate) fn sign_with(&self, commit: &str, signature: &str) -> TestResult<String> {
        let raw = self.raw(commit)?;
        let (header, message) = unsigned(&raw)?;
        let header_text = signature.trim_end().replace('\n', "\n ");
        self.forge(format!("{header}gpgsig {header_text}\n\n{message}").as_bytes())
    }

    /// What git itself says of a commit.
    pub(crate) fn git_verifies(&self, commit: &str, with: &Signing) -> bool {
        let mut arguments = with.git_options();
        arguments.extend(["verify-commit".to_owned(), commit.to_owned()]);
        self.git(&arguments).is_ok()
    }

    /// A source that follows the branch and asks for signatures, from nothing on disk.
    pub(crate) fn watch(&self, secrets: &Secrets, mode: VerifyMode) -> TestResult<(tempfile::TempDir, Watched)> {
        let state = tempfile::tempdir()?;
        let watched = self.watch_in(state.path(), secrets, mode, |_| ())?;
        Ok((state, watched))
    }

    pub(crate) fn watch_in(
        &self,
        state: &std::path::Path,
        secrets: &Secrets,
        mode: VerifyMode,
        change: impl FnOnce(&mut PolicySource),
    ) -> TestResult<Watched> {
        let timeout = std::time::Duration::from_secs(30);
        Watched::start_with(state, &self.origin.file_url(), secrets.clone(), timeout, |source| {
            source.spec.verify = verify(mode);
            change(source);
        })
    }

    /// What a source without any head makes of the branch: nothing against it, or why it is not accepted.
    pub(crate) async fn judge(
        &self,
        commit: &str,
        secrets: &Secrets,
        mode: VerifyMode,
    ) -> TestResult<Option<SignatureFault>> {
        let (_state, watched) = self.watch(secrets, mode)?;
        let report = watched
            .until("the commit is judged", |report| {
                report.head.is_some() || report.refusal.is_some()
            })
            .await?;
        match fault(&report) {
            None if head_of(&report) == Some(commit) => Ok(None),
            Some(fault) if report.head.is_none() => Ok(Some(fault)),
            _ => Err(format!("{report:?}").into()),
        }
    }
}

/// What is asked of signatures.
pub(crate) fn verify(mode: VerifyMode) -> Verify {
    Verify {
        mode,
        keys_secret_ref: Some(SecretRef {
            name: SIGNERS.to_owned(),
        }),
        ..Verify::default()
    }
}

/// Why the commit that was fetched last is not verified.
pub(crate) fn fault(report: &SourceReport) -> Option<SignatureFault> {
    match report.refusal.as_ref()?.reason {
        RefusalReason::NotVerified(fault) => Some(fault),
        _ => None,
    }
}

/// A commit's header without its signature, and its message.
pub(crate) fn unsigned(raw: &str) -> Result<(String, &str), Failure> {
    let (header, message) = raw.split_once("\n\n").ok_or("a commit without a message")?;
    let mut kept = String::new();
    for line in header
        .lines()
        .filter(|line| !line.starts_with("gpgsig") && !line.starts_with(' '))
    {
        kept.push_str(line);
        kept.push('\n');
    }
    Ok((kept, message))
}

/// A file with this content.
pub(crate) fn file(folder: &std::path::Path, name: &str, content: &str) -> TestResult<PathBuf> {
    let path = folder.join(name);
    std::fs::write(&path, content)?;
    Ok(path)
}
