//! A real OpenSSH server that serves one repository to one deploy key, as this user and on this machine only.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{Origin, TestResult};

const PATIENCE: Duration = Duration::from_secs(30);

/// A server that runs as long as it is held.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) port: u16,
    /// The private key that it takes.
    pub(crate) deploy_key: String,
    /// Its own key, as `known_hosts` has it.
    pub(crate) known_hosts: String,
    process: Child,
    dir: tempfile::TempDir,
}

impl Server {
    /// Serves the origin's repository.
    pub(crate) fn start(origin: &Origin) -> TestResult<Self> {
        Self::start_with(origin, "exec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"")
    }

    /// Runs this instead of what clients ask for.
    pub(crate) fn start_with(origin: &Origin, command: &str) -> TestResult<Self> {
        Self::start_with_banner(origin, command, "")
    }

    /// The same, with words for everybody who comes.
    pub(crate) fn start_with_banner(origin: &Origin, command: &str, banner: &str) -> TestResult<Self> {
        let dir = tempfile::tempdir()?;
        let (deploy_key, authorized) = key_pair("ed25519")?;
        let (host_key, host_public) = key_pair("ed25519")?;
        let write = |name: &str, text: &str| -> TestResult<String> {
            use std::os::unix::fs::PermissionsExt as _;
            let path = dir.path().join(name);
            std::fs::write(&path, text)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
            Ok(path.display().to_string())
        };
        let run = write("run", &format!("touch {}/connected\n{command}\n", dir.path().display()))?;
        // It is let go before the server takes it, like every free port.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\n\
             StrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\nAcceptEnv GIT_PROTOCOL\n\
             PermitUserEnvironment no\nForceCommand /bin/sh {run}\nBanner {}\n",
            write("host", &host_key)?,
            write("authorized", &authorized)?,
            write("banner", banner)?,
        );
        let config = write("config", &config)?;
        // Where root starts it, it wants this folder.
        let _ = std::fs::create_dir_all("/run/sshd");
        let process = Command::new(program()?)
            .args(["-D", "-e", "-f", &config])
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(dir.path().join("log"))?)
            .spawn()?;
        let user = String::from_utf8(Command::new("id").arg("-un").output()?.stdout)?;
        let mut server = Self {
            url: format!("ssh://{}@127.0.0.1:{port}{}", user.trim(), origin.bare().display()),
            port,
            deploy_key,
            known_hosts: format!("[127.0.0.1]:{port} {host_public}"),
            process,
            dir,
        };
        server.until_it_listens()?;
        Ok(server)
    }

    fn until_it_listens(&mut self) -> TestResult {
        let start = std::time::Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.process.try_wait()? {
                return Err(format!("sshd ended with {status}: {}", self.log()).into());
            }
            if self.log().contains("Server listening") {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(format!("sshd does not listen: {}", self.log()).into())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Waits until a client was let in.
    pub(crate) async fn until_somebody_is_connected(&self) -> TestResult {
        let connected = self.dir.path().join("connected");
        until("a client", || connected.exists()).await
    }

    /// Waits until the connection of the one client is gone.
    pub(crate) async fn until_nobody_is_connected(&self) -> TestResult {
        until("the end of the connection", || {
            let log = self.log();
            log.contains("Connection closed by") || log.contains("Connection reset by") || log.contains("Disconnected")
        })
        .await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) -> TestResult {
    let start = std::time::Instant::now();
    while !is_so() {
        if start.elapsed() > PATIENCE {
            return Err(format!("waited in vain for {what}").into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// sshd has to be started by its whole path.
fn program() -> TestResult<&'static str> {
    ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .ok_or_else(|| "sshd is not installed: install openssh-server".into())
}

/// A private key and its public key, made by OpenSSH.
pub(crate) fn key_pair(kind: &str) -> TestResult<(String, String)> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-N", "", "-C", "", "-t", kind, "-f"])
        .arg(&path)
        .status()?;
    if !made.success() {
        return Err("ssh-keygen failed".into());
    }
    let public = std::fs::read_to_string(path.with_extension("pub"))?;
    Ok((std::fs::read_to_string(&path)?, public.trim().to_owned()))
}
