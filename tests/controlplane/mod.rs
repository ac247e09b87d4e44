//! A real Kubernetes control plane for tests and for the demo: etcd, kube-apiserver and
//! kube-controller-manager as children of this program, in a folder of their own.
//!
//! # Why
//! What Headgate promises is about what an API server stores and refuses: defaults it fills in,
//! managed fields, the order of admission, dry runs, namespaces that terminate. No mock knows all
//! of that, and a mock that agrees with our misunderstanding is worse than none. There is no node:
//! nothing here needs a pod, an image or root.
//!
//! # How
//! ```ignore
//! mod controlplane;
//! use controlplane::ControlPlane;
//!
//! #[tokio::test]
//! async fn a_namespace_is_stored() -> Result<(), Box<dyn std::error::Error>> {
//!     let plane = ControlPlane::shared()?;      // one for all tests of this binary
//!     let client = plane.client().await?;       // cluster-admin; one per test, not shared
//!     let status = plane.kubectl().args(["get", "ns"]).status()?;
//!     …
//! }
//! ```
//! [`ControlPlane::start`] gives a test one of its own, which is gone when it is dropped. Both come
//! up in some seconds. Webhooks outside the cluster register by
//! `clientConfig.url: https://127.0.0.1:PORT/…`.
//!
//! The programs are built from source, once per machine (`build.sh`, minutes the first time); their
//! versions are pinned by `go.mod`, and helm's by `helm/go.mod`. Needed are Go, bash and a POSIX
//! shell.
//!
//! # What holds
//! - Any number of control planes may run at once, in one program or in many: each holds its port
//!   from before its API server asks for it until the end (`ports.rs`), and etcd takes none.
//! - Nothing outlives this program, whether it returns, panics, aborts or is killed (`guardian.sh`,
//!   `processes.rs`), and the folder is removed. `HEADGATE_KEEP_CONTROL_PLANE=1` keeps the folder,
//!   with all logs, for a look afterwards.
//! - Nothing waits for time to pass: every step waits for what the next one needs, and a process
//!   that ends meanwhile ends the wait, with the last lines of its log in the error.
//!
//! # Where
//! | file | holds |
//! |---|---|
//! | `mod.rs` | what tests use |
//! | `builder.rs` | bringing it up |
//! | `flags.rs` | the command lines |
//! | `processes.rs`, `guardian.sh` | the children, and their end |
//! | `pki.rs`, `kubeconfig.rs`, `ports.rs` | certificates, credentials, the port |
//! | `programs.rs`, `build.sh`, `go.mod`, `helm/go.mod` | the programs |
#![allow(
    dead_code,
    reason = "every test binary includes this module and uses another part of it"
)]

mod builder;
mod error;
mod flags;
mod kubeconfig;
mod pki;
mod ports;
mod processes;
mod programs;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;

pub(crate) use builder::Builder;
pub(crate) use error::Error;

use kubeconfig::{Credentials, Kubeconfigs};
use pki::Pki;
use ports::ReservedPort;
use processes::Processes;

const ETCD: &str = "etcd";
/// Where etcd keeps what it holds, and the copy of it.
const ETCD_DATA: &str = "etcd-data";
const ETCD_BACKUP: &str = "etcd-backup";
const API_SERVER: &str = "kube-apiserver";
const CONTROLLER_MANAGER: &str = "kube-controller-manager";

/// A running control plane. It ends when this is dropped, and in any case with this program.
pub(crate) struct ControlPlane {
    processes: Mutex<Processes>,
    dir: PathBuf,
    programs: PathBuf,
    pki: Pki,
    kubeconfigs: Kubeconfigs,
    kubeconfig: PathBuf,
    audit_log: PathBuf,
    /// The API server's command line, for when it is started again.
    api_server: Vec<String>,
    _port: ReservedPort,
}

impl ControlPlane {
    /// Starts one and returns when it can be used: the API server is ready and the controllers have
    /// made the default service account.
    ///
    /// It blocks, for minutes where the programs are not built yet, and may be called inside and
    /// outside of a runtime.
    pub(crate) fn start() -> Result<Self, Error> {
        Self::builder().start()
    }

    /// To start one that differs.
    pub(crate) fn builder() -> Builder {
        Builder::default()
    }

    /// The one that all tests of this program share; the first who asks starts it. Tests keep out of
    /// each other's way by namespaces of their own.
    pub(crate) fn shared() -> Result<&'static Self, &'static Error> {
        static SHARED: LazyLock<Result<ControlPlane, Error>> = LazyLock::new(ControlPlane::start);
        SHARED.as_ref()
    }

    /// A client that may do everything. Every test makes its own: connections belong to the runtime
    /// that opened them, and each `#[tokio::test]` has another.
    pub(crate) async fn client(&self) -> Result<kube::Client, Error> {
        kubeconfig::client(&self.kubeconfig).await
    }

    /// A client for somebody else, by one of the kubeconfigs below.
    pub(crate) async fn client_for(&self, kubeconfig: &Path) -> Result<kube::Client, Error> {
        kubeconfig::client(kubeconfig).await
    }

    /// The kubeconfig of `admin`, member of `system:masters`: no authorizer ever says no.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Writes a kubeconfig that uses a bearer token; `name` is for people only.
    pub(crate) fn kubeconfig_for_token(&self, name: &str, token: &str) -> Result<PathBuf, Error> {
        self.kubeconfigs.write(name, Credentials::Token(token.to_owned()))
    }

    /// Writes a kubeconfig with a client certificate for a user in at most two groups, besides
    /// `system:authenticated`, in which everybody is. What the user may do is up to RBAC.
    pub(crate) fn kubeconfig_for_user(&self, name: &str, groups: &[&str]) -> Result<PathBuf, Error> {
        self.kubeconfigs
            .write(name, Credentials::Certificate(self.pki.client(name, groups)?))
    }

    /// Writes a kubeconfig for a service account that exists, with a token made for it just now.
    pub(crate) async fn kubeconfig_for_service_account(&self, namespace: &str, name: &str) -> Result<PathBuf, Error> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await?, namespace);
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                expiration_seconds: Some(86_400),
                ..Default::default()
            }),
            ..Default::default()
        };
        let account = format!("{namespace}/{name}");
        let token = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .map_err(Error::api(format!("get a token for {account}")))?
            .status
            .and_then(|status| status.token)
            .ok_or_else(|| Error::NoToken {
                account: account.clone(),
            })?;
        self.kubeconfig_for_token(&account, &token)
    }

    /// `kubectl` as admin, untouched by the user's own configuration.
    pub(crate) fn kubectl(&self) -> Command {
        self.kubectl_for(&self.kubeconfig)
    }

    /// `kubectl` as somebody else.
    pub(crate) fn kubectl_for(&self, kubeconfig: &Path) -> Command {
        programs::kubectl(&self.programs, &self.dir, kubeconfig)
    }

    /// `helm` as admin, untouched by the user's own configuration.
    pub(crate) fn helm(&self) -> Command {
        programs::helm(&self.programs, &self.dir, &self.kubeconfig)
    }

    /// One of the built programs: `etcd`, `kube-apiserver`, `kube-controller-manager`, `kubectl` or
    /// `helm`.
    pub(crate) fn bin(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// The folder that holds everything of this control plane. It is removed in the end.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the API server is: `https://127.0.0.1:PORT`.
    pub(crate) fn server_url(&self) -> &str {
        self.kubeconfigs.server()
    }

    /// The certificate that the API server's own can be checked against.
    pub(crate) fn ca_pem(&self) -> &str {
        self.pki.ca_pem()
    }

    /// The output of `etcd`, `kube-apiserver` or `kube-controller-manager`.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.processes().log(name)
    }

    /// The audit log, one JSON object a line. The API server writes a request's line after it has
    /// answered, so the newest one may take a moment.
    pub(crate) fn audit_log(&self) -> &Path {
        &self.audit_log
    }

    /// What the audit log holds now, oldest first; nothing before the first audited request.
    pub(crate) fn audit_events(&self) -> Result<Vec<serde_json::Value>, Error> {
        let text = match std::fs::read_to_string(&self.audit_log) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::file("read", &self.audit_log)(error)),
        };
        // The last line may be half written yet: what does not end in a newline is not one.
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole
            .map(|line| serde_json::from_str(line).map_err(std::io::Error::from))
            .collect::<Result<_, _>>()
            .map_err(Error::file("parse", &self.audit_log))
    }

    /// Runs another program beside the control plane: in the same folder, its output in [`ControlPlane::log`], and gone
    /// with it.
    pub(crate) fn run_beside(&self, name: &'static str, program: &Path, arguments: &[String]) -> Result<(), Error> {
        self.processes().start(name, program, arguments)
    }

    /// Kills a program that runs beside, as a crash would.
    pub(crate) fn kill_beside(&self, name: &str) -> Result<(), Error> {
        self.processes().stop(name)
    }

    /// The process id of a program that runs beside.
    pub(crate) fn pid_beside(&self, name: &str) -> Option<u32> {
        self.processes().pid(name)
    }

    /// An error, with the last lines of its output, if any of the programs has ended by itself.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.processes().check()
    }

    /// Kills the API server, as a crash would. Its address stays its own, and nothing answers there.
    pub(crate) fn stop_apiserver(&self) -> Result<(), Error> {
        self.processes().stop(API_SERVER)
    }

    /// Starts the API server again, at the same address and with the same data, and returns when it
    /// is ready. One that still runs is [stopped](Self::stop_apiserver) first.
    pub(crate) async fn restart_apiserver(&self) -> Result<(), Error> {
        self.stop_apiserver()?;
        self.launch(API_SERVER, &self.api_server)?;
        self.until_ready(&self.client().await?).await
    }

    /// Keeps a copy of all that the cluster holds, as a backup does. etcd is away for a moment.
    pub(crate) async fn back_up(&self) -> Result<(), Error> {
        self.processes().stop(ETCD)?;
        self.copy(ETCD_DATA, ETCD_BACKUP)?;
        self.start_etcd().await
    }

    /// Puts the cluster back to the copy, and returns when the API server is ready again.
    pub(crate) async fn restore(&self) -> Result<(), Error> {
        self.stop_apiserver()?;
        self.processes().stop(ETCD)?;
        self.copy(ETCD_BACKUP, ETCD_DATA)?;
        self.start_etcd().await?;
        self.restart_apiserver().await
    }

    async fn start_etcd(&self) -> Result<(), Error> {
        // What the one before left there would be taken for this one's.
        let socket = self.dir.join(flags::ETCD_SOCKET);
        std::fs::remove_file(&socket)
            .or_else(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })
            .map_err(Error::file("remove", &socket))?;
        self.launch(ETCD, &flags::etcd())?;
        self.until_etcd_listens().await
    }

    /// Copies a folder of this control plane in place of another.
    fn copy(&self, from: &str, to: &str) -> Result<(), Error> {
        let line = format!("rm -rf {to} && cp -a {from} {to}");
        let status = Command::new("sh").current_dir(&self.dir).args(["-c", &line]).status();
        let copied = status.and_then(|status| {
            if status.success() {
                Ok(())
            } else {
                Err(std::io::Error::other(status.to_string()))
            }
        });
        copied.map_err(Error::file("copy", &self.dir.join(from)))
    }
}
