//! The programs that a control plane consists of, and those that people use it with.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Error;

const BUILD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/controlplane/build.sh");

/// The folder with the built programs. Builds what is missing, which takes minutes the first time
/// on a machine and shows its progress on stderr.
pub(super) fn build() -> Result<PathBuf, Error> {
    let output = Command::new("bash")
        .arg(BUILD)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(Error::file("run", Path::new(BUILD)))?;
    if !output.status.success() {
        return Err(Error::Build {
            script: BUILD.into(),
            status: output.status,
        });
    }
    Ok(PathBuf::from(OsStr::from_bytes(output.stdout.trim_ascii())))
}

/// `kubectl`, set up so that nothing of the user's own configuration takes part.
pub(super) fn kubectl(programs: &Path, dir: &Path, kubeconfig: &Path) -> Command {
    let mut command = Command::new(programs.join("kubectl"));
    command
        .env("KUBECONFIG", kubeconfig)
        // What kubectl remembers of a server's API goes by its address, and those are used again.
        .env("KUBECACHEDIR", dir.join("kubectl-cache"))
        .env("KUBERC", "off");
    command
}

/// `helm`, likewise.
pub(super) fn helm(programs: &Path, dir: &Path, kubeconfig: &Path) -> Command {
    let mut command = Command::new(programs.join("helm"));
    for (name, _) in std::env::vars_os() {
        if name.as_bytes().starts_with(b"HELM_") {
            command.env_remove(name);
        }
    }
    command
        .env("KUBECONFIG", kubeconfig)
        .env("KUBECACHEDIR", dir.join("kubectl-cache"))
        .env("HELM_CACHE_HOME", dir.join("helm/cache"))
        .env("HELM_CONFIG_HOME", dir.join("helm/config"))
        .env("HELM_DATA_HOME", dir.join("helm/data"));
    command
}
