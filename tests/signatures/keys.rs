//! Keys that ssh-keygen and gpg make.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::git_support::TestResult;
use crate::workshop::file;

/// How git signs and verifies.
pub(crate) enum Signing {
    Ssh { key: PathBuf, allowed: PathBuf },
    OpenPgp { program: PathBuf, key: String },
}

impl Signing {
    /// Options of git itself, before its command.
    pub(crate) fn git_options(&self) -> Vec<String> {
        let options = match self {
            Self::Ssh { key, allowed } => vec![
                "gpg.format=ssh".to_owned(),
                format!("user.signingKey={}", key.display()),
                format!("gpg.ssh.allowedSignersFile={}", allowed.display()),
            ],
            Self::OpenPgp { program, key } => {
                vec![
                    format!("gpg.program={}", program.display()),
                    format!("user.signingKey={key}"),
                ]
            }
        };
        options
            .into_iter()
            .flat_map(|option| ["-c".to_owned(), option])
            .collect()
    }
}

/// SSH keys in a folder of their own.
pub(crate) struct SshKeys {
    folder: TempDir,
}

impl SshKeys {
    pub(crate) fn new() -> TestResult<Self> {
        Ok(Self {
            folder: tempfile::tempdir()?,
        })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a key, as `ssh-keygen -t` names its kind; its public half.
    pub(crate) fn make(&self, name: &str, kind: &str, bits: &str) -> TestResult<String> {
        let path = self.path(name).display().to_string();
        let mut arguments = vec!["-q", "-t", kind, "-N", "", "-C", name, "-f", &path];
        if !bits.is_empty() {
            arguments.extend(["-b", bits]);
        }
        run("ssh-keygen", &arguments, "")?;
        self.public(name)
    }

    pub(crate) fn public(&self, name: &str) -> TestResult<String> {
        let public = std::fs::read_to_string(self.path(&format!("{name}.pub")))?;
        Ok(public.trim().to_owned())
    }

    /// Makes a certificate for a key, beside it.
    pub(crate) fn certify(&self, authority: &str, name: &str, principal: &str) -> TestResult {
        let (authority, public) = (self.path(authority), self.path(&format!("{name}.pub")));
        let (authority, public) = (authority.display().to_string(), public.display().to_string());
        run(
            "ssh-keygen",
            &["-q", "-s", &authority, "-I", name, "-n", principal, &public],
            "",
        )?;
        Ok(())
    }

    /// Signs with a key; git believes this list.
    pub(crate) fn signing(&self, name: &str, allowed: &str) -> TestResult<Signing> {
        Ok(Signing::Ssh {
            key: self.path(name),
            allowed: file(self.folder.path(), "allowed_signers", allowed)?,
        })
    }

    /// A signature for another purpose than git's.
    pub(crate) fn sign_for(&self, name: &str, purpose: &str, payload: &str) -> TestResult<String> {
        let key = self.path(name).display().to_string();
        run("ssh-keygen", &["-Y", "sign", "-q", "-n", purpose, "-f", &key], payload)
    }
}

/// A gpg of its own.
pub(crate) struct Gpg {
    home: TempDir,
}

impl Gpg {
    pub(crate) fn new() -> TestResult<Self> {
        let home = tempfile::tempdir()?;
        std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o700))?;
        Ok(Self { home })
    }

    /// Runs gpg at this time, as `20250131T120000`; empty: now.
    pub(crate) fn run_at(&self, time: &str, arguments: &[&str], input: &str) -> TestResult<String> {
        let home = self.home.path().display().to_string();
        let mut all = vec![
            "--homedir",
            &home,
            "--batch",
            "--quiet",
            "--no-tty",
            "--pinentry-mode",
            "loopback",
        ];
        all.extend(["--passphrase", ""]);
        if !time.is_empty() {
            all.extend(["--faked-system-time", time]);
        }
        all.extend(arguments);
        run("gpg", &all, input)
    }

    /// Makes a primary key; its fingerprint.
    pub(crate) fn make_at(&self, time: &str, user: &str, kind: &str, usage: &str, lasts: &str) -> TestResult<String> {
        self.run_at(time, &["--quick-generate-key", user, kind, usage, lasts], "")?;
        let listed = self.run_at("", &["--list-keys", "--with-colons", user], "")?;
        let fingerprint = listed
            .lines()
            .find_map(|line| line.strip_prefix("fpr:::::::::")?.strip_suffix(':'));
        Ok(fingerprint.ok_or("no fingerprint")?.to_owned())
    }

    pub(crate) fn export(&self, key: &str) -> TestResult<String> {
        self.run_at("", &["--armor", "--export", key], "")
    }

    /// Signs with a key, with further options of gpg's.
    pub(crate) fn signing(&self, key: &str, options: &str) -> TestResult<Signing> {
        let home = self.home.path();
        let name = format!("gpg{}", std::fs::read_dir(home)?.count());
        let script = format!(
            "#!/bin/sh\nexec gpg --homedir '{}' --quiet --no-tty --pinentry-mode loopback --passphrase '' {options} \"$@\"\n",
            home.display()
        );
        let program = file(home, &name, &script)?;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
        Ok(Signing::OpenPgp {
            program,
            key: key.to_owned(),
        })
    }

    /// Revokes a key with the certificate that gpg made beside it.
    pub(crate) fn revoke(&self, key: &str) -> TestResult {
        let path = self.home.path().join(format!("openpgp-revocs.d/{key}.rev"));
        let revocation = std::fs::read_to_string(path)?.replace(":-----BEGIN", "-----BEGIN");
        self.run_at("", &["--import"], &revocation)?;
        Ok(())
    }

    /// Takes from a primary key that it may sign.
    pub(crate) fn forbid_signing(&self, key: &str, which: &str) -> TestResult {
        let commands = format!("{which}change-usage\nS\nQ\nsave\n");
        self.run_at("", &["--command-fd", "0", "--edit-key", key], &commands)?;
        Ok(())
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let home = self.home.path().display().to_string();
        // The agent would end by itself soon.
        let _ = run("gpgconf", &["--homedir", &home, "--kill", "all"], "");
    }
}

fn run(program: &str, arguments: &[&str], input: &str) -> TestResult<String> {
    use std::io::Write as _;
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(Path::new("/"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{program}: {error}"))?;
    child.stdin.take().ok_or("no input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program} {}: {said}", arguments.join(" ")).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
