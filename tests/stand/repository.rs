//! A real bare repository, and a clone in which commits are made.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Failure;

/// A repository of policies, served by `file:`.
pub(crate) struct Repository {
    bare: PathBuf,
    work: PathBuf,
}

impl Repository {
    /// An empty one with the branch `main`.
    pub(crate) fn create(folder: &Path) -> Result<Self, Failure> {
        let repository = Self {
            bare: folder.join("policies.git"),
            work: folder.join("policies"),
        };
        std::fs::create_dir_all(folder)?;
        git(
            folder,
            &["init", "--quiet", "--bare", "--initial-branch=main", "policies.git"],
        )?;
        git(folder, &["init", "--quiet", "--initial-branch=main", "policies"])?;
        git(
            &repository.work,
            &["remote", "add", "origin", &repository.bare.display().to_string()],
        )?;
        Ok(repository)
    }

    /// Where sources find it.
    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.bare.display())
    }

    /// The clone, for what the methods below do not do.
    pub(crate) fn work(&self) -> &Path {
        &self.work
    }

    /// The bare repository itself.
    pub(crate) fn bare(&self) -> &Path {
        &self.bare
    }

    /// Writes a file, to be committed later.
    pub(crate) fn write(&self, path: &str, text: &str) -> Result<(), Failure> {
        let file = self.work.join(path);
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        Ok(std::fs::write(file, text)?)
    }

    /// Removes a file, to be committed later.
    pub(crate) fn remove(&self, path: &str) -> Result<(), Failure> {
        Ok(std::fs::remove_file(self.work.join(path))?)
    }

    /// Reverts a commit as people do.
    pub(crate) fn revert(&self, commit: &str) -> Result<(), Failure> {
        git(&self.work, &["revert", "--no-edit", commit]).map(drop)
    }

    /// Commits all that was written and removed, pushes, and gives the commit's id.
    pub(crate) fn commit(&self, message: &str) -> Result<String, Failure> {
        git(&self.work, &["add", "--all"])?;
        git(&self.work, &["commit", "--quiet", "--allow-empty", "-m", message])?;
        git(&self.work, &["push", "--quiet", "--force", "origin", "main"])?;
        Ok(git(&self.work, &["rev-parse", "HEAD"])?.trim().to_owned())
    }
}

/// Runs git without the machine's or the user's settings.
pub(crate) fn git(folder: &Path, arguments: &[&str]) -> Result<String, Failure> {
    let output = Command::new("git")
        .current_dir(folder)
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs(["AUTHOR", "COMMITTER"].map(|role| (format!("GIT_{role}_NAME"), "Ada Lovelace")))
        .envs(["AUTHOR", "COMMITTER"].map(|role| (format!("GIT_{role}_EMAIL"), "ada@example.com")))
        .output()?;
    if !output.status.success() {
        return Err(format!(
            "git {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        )
        .into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
