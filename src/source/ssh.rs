//! Repositories over ssh: OpenSSH's client with the deploy key and the host keys of the Secret, and nothing of the
//! machine's own configuration, agents or known hosts.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gix::Url;
use gix::protocol::transport::Protocol;
use gix::protocol::transport::client::git::ConnectMode;
use gix::protocol::transport::client::git::blocking_io::Connection;
use tempfile::TempDir;

use super::access::SshKey;
use super::address::{NEVER_ASKED, is_never_asked};
use super::home::Home;
use super::transport::{CONNECT_TIMEOUT, Limit, LimitedReader};

/// How often a connection is looked at, whether it has to end.
const LOOK: Duration = Duration::from_millis(100);
/// Addresses of a host that are tried.
const MAX_ADDRESSES: usize = 4;
/// Bytes of what the client complains about that are read for the cause.
const MAX_COMPLAINT: u64 = 16 << 10;

/// Why a repository cannot be read over ssh. A closed list: what a server says is not passed on.
#[derive(Debug, thiserror::Error)]
pub(super) enum SshError {
    /// The client is not installed.
    #[error("the program ssh cannot be started: {0}")]
    Client(io::Error),
    /// The folder for the key cannot be used.
    #[error("the folder for the key cannot be used: {0}")]
    Folder(io::Error),
    /// The host has no address, or none that answers.
    #[error("the host cannot be reached: {0}")]
    Unreachable(io::Error),
    /// The host leads to where nobody asks.
    #[error("the host leads to a link-local or metadata address: {NEVER_ASKED}")]
    LinkLocal,
    /// The server has another key than is pinned.
    #[error(
        "the server's key is not among known_hosts of spec.git.credentialsSecretRef: compare it with the one its owner publishes"
    )]
    HostKey,
    /// The server does not take the deploy key.
    #[error(
        "the server does not take the key of spec.git.credentialsSecretRef: add it as a deploy key with read access"
    )]
    Key,
    /// The deploy key has a passphrase, or is none.
    #[error(
        "the key identity of spec.git.credentialsSecretRef is no private key without a passphrase that OpenSSH reads"
    )]
    Unreadable,
    /// There is no such repository for this key.
    #[error("the server has no such repository, or the key may not read it")]
    Repository,
    /// Everything else.
    #[error("the ssh connection ended unexpectedly")]
    Ended,
}

/// The connection's two ends as gix uses them.
pub(super) type Transport = Connection<LimitedReader<io::BufReader<ChildStdout>>, ChildStdin>;

/// A client at work. Dropped, it is ended.
pub(super) struct Client {
    child: Arc<Mutex<Child>>,
    complaint: Option<ChildStderr>,
    /// Holds the key while the client may read it.
    _folder: TempDir,
}

/// Connects to a repository; the transport lives as long as the client does.
pub(super) fn connect(url: &Url, key: &SshKey, home: &Home, limit: &Limit) -> Result<(Transport, Client), SshError> {
    let host = url.host().unwrap_or_default();
    let port = url.port.unwrap_or(22);
    let address = reachable(host, port, limit)?;
    let folder = key_folder(home, key).map_err(SshError::Folder)?;
    let mut command = command(folder.path());
    // known_hosts has the name that people write, not the address that was found for it.
    let alias = if port == 22 {
        host.to_owned()
    } else {
        format!("[{host}]:{port}")
    };
    command
        .arg(format!("-oHostKeyAlias={alias}"))
        .arg(format!("-oHostname={}", address.ip()))
        .args([
            "-p",
            &port.to_string(),
            "-l",
            url.user().unwrap_or_default(),
            "--",
            host,
        ])
        .arg(format!("git-upload-pack {}", gix::quote::single(url.path.as_ref())));
    let mut child = command.spawn().map_err(SshError::Client)?;
    let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(SshError::Ended);
    };
    let complaint = child.stderr.take();
    let child = Arc::new(Mutex::new(child));
    end_in_time(&child, limit).map_err(SshError::Client)?;
    let output = LimitedReader::new(io::BufReader::new(output), limit);
    let path = url.path.clone();
    let transport = Connection::new(
        output,
        input,
        Protocol::V2,
        path,
        None::<(String, Option<u16>)>,
        ConnectMode::Process,
        false,
    );
    let client = Client {
        child,
        complaint,
        _folder: folder,
    };
    Ok((transport, client))
}

impl Client {
    /// Why the connection failed, by what the client said about it.
    pub(super) fn cause(mut self) -> SshError {
        // It says nothing more once it has ended.
        end(&self.child);
        let mut complaint = String::new();
        if let Some(stderr) = self.complaint.take() {
            // What cannot be read explains nothing.
            let _ = stderr.take(MAX_COMPLAINT).read_to_string(&mut complaint);
        }
        cause(&complaint)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        end(&self.child);
    }
}

fn cause(complaint: &str) -> SshError {
    let says = |words: &[&str]| words.iter().any(|words| complaint.contains(words));
    if says(&[
        "Host key verification failed",
        "No ED25519 host key is known",
        "host key for",
    ]) {
        SshError::HostKey
    } else if says(&["error in libcrypto", "invalid format", "incorrect passphrase"]) {
        SshError::Unreadable
    } else if says(&["Permission denied (", "Too many authentication failures"]) {
        SshError::Key
    } else if says(&[
        "does not appear to be a git repository",
        "epository not found",
        "project you were looking for",
    ]) {
        SshError::Repository
    } else {
        SshError::Ended
    }
}

/// The first address of the host that takes a connection. Found here, so that the client has none to choose.
fn reachable(host: &str, port: u16, limit: &Limit) -> Result<SocketAddr, SshError> {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<SocketAddr> = (name, port).to_socket_addrs().map_err(SshError::Unreachable)?.collect();
    if addresses.iter().any(|address| is_never_asked(address.ip())) {
        return Err(SshError::LinkLocal);
    }
    let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no address");
    for address in addresses.into_iter().take(MAX_ADDRESSES) {
        limit.check().map_err(SshError::Unreachable)?;
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(_) => return Ok(address),
            Err(error) => last = error,
        }
    }
    Err(SshError::Unreachable(last))
}

/// A folder that nobody else may read, with the key and the host keys; it goes with the connection.
fn key_folder(home: &Home, key: &SshKey) -> io::Result<TempDir> {
    let folder = home.start_secret_folder()?;
    let write = |name: &str, text: &str| -> io::Result<()> {
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(folder.path().join(name))?;
        file.write_all(text.as_bytes())?;
        // OpenSSH does not read a key without it.
        file.write_all(b"\n")
    };
    write(IDENTITY, &key.identity)?;
    write(KNOWN_HOSTS, &key.known_hosts)?;
    Ok(folder)
}

const IDENTITY: &str = "identity";
const KNOWN_HOSTS: &str = "known_hosts";

/// OpenSSH's client with everything said that its configuration could say otherwise.
fn command(folder: &Path) -> Command {
    let file = |name: &str| folder.join(name).display().to_string();
    let mut command = Command::new("ssh");
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder)
        .env("GIT_PROTOCOL", "version=2")
        .args(["-F", "none", "-T", "-x", "-a", "-i", &file(IDENTITY)]);
    for option in [
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "PreferredAuthentications=publickey",
        "StrictHostKeyChecking=yes",
        "GlobalKnownHostsFile=/dev/null",
        "UpdateHostKeys=no",
        "VerifyHostKeyDNS=no",
        "CheckHostIP=no",
        "ClearAllForwardings=yes",
        "PermitLocalCommand=no",
        "ControlPath=none",
        "ServerAliveInterval=5",
        "ServerAliveCountMax=2",
        "LogLevel=ERROR",
        "SendEnv=GIT_PROTOCOL",
    ] {
        command.arg(format!("-o{option}"));
    }
    command
        .arg(format!("-oUserKnownHostsFile={}", file(KNOWN_HOSTS)))
        .arg(format!("-oConnectTimeout={}", CONNECT_TIMEOUT.as_secs()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Ends the client once the limit is over: reads from it would otherwise wait for as long as the server likes.
fn end_in_time(child: &Arc<Mutex<Child>>, limit: &Limit) -> io::Result<()> {
    let (child, limit) = (Arc::downgrade(child), limit.clone());
    let watch = move || {
        while let Some(child) = child.upgrade() {
            if limit.check().is_err() {
                return end(&child);
            }
            drop(child);
            std::thread::sleep(LOOK);
        }
    };
    std::thread::Builder::new().name("ssh-limit".to_owned()).spawn(watch)?;
    Ok(())
}

fn end(child: &Mutex<Child>) {
    let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leads_to_a_link_local_address_is_not_connected_to() {
        // No address to Rust, but one to the machine's resolver, as names are.
        let limit = Limit::new(Duration::from_secs(30), u64::MAX);
        assert!(matches!(reachable("2852039166", 22, &limit), Err(SshError::LinkLocal)));
        assert!(matches!(
            reachable("127.0.0.1", 0, &limit),
            Err(SshError::Unreachable(_))
        ));
    }

    #[test]
    fn causes_come_from_a_closed_list() {
        let of = |complaint: &str| cause(complaint).to_string();
        assert!(of("Host key verification failed.").contains("known_hosts"));
        assert!(of("git@x: Permission denied (publickey).").contains("deploy key"));
        assert!(of("Load key \"/x\": error in libcrypto").contains("passphrase"));
        assert!(of("fatal: '/x' does not appear to be a git repository").contains("no such repository"));
        assert_eq!(of("<script>"), SshError::Ended.to_string());
    }
}
