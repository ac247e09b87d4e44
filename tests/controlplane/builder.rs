//! Bringing a control plane up, step by step.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::ListParams;

use super::kubeconfig::{self, Credentials, Kubeconfigs};
use super::pki::{Pki, private_file};
use super::ports::ReservedPort;
use super::processes::Processes;
use super::{API_SERVER, CONTROLLER_MANAGER, ControlPlane, ETCD, Error, flags, programs};

/// How long a control plane may take to come up, without the building. It takes some seconds on an
/// idle machine; the rest is for one that compiles with all its cores meanwhile.
const PATIENCE: Duration = Duration::from_mins(3);

/// How long between two looks at something awaited.
const GLANCE: Duration = Duration::from_millis(20);

/// How long one look may take: a server that hangs must not be mistaken for one that is slow.
const LOOK: Duration = Duration::from_secs(10);

/// Who wrote what, in the groups that Headgate guards or lives in, with the audit annotations of
/// admission; nothing else.
const AUDIT_POLICY: &str = r"apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  verbs: [create, update, patch, delete, deletecollection]
  resources:
  - group: networking.k8s.io
  - group: policy.networking.k8s.io
  - group: projectcalico.org
  - group: crd.projectcalico.org
  - group: cilium.io
  - group: headgate.dev
  - group: admissionregistration.k8s.io
- level: None
";

/// A control plane that is not started yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Builder {
    audit_policy: Option<String>,
    api_server_flags: Vec<String>,
    controller_manager_flags: Vec<String>,
}

impl Builder {
    /// Another audit policy than the default one, which records writes to the groups that Headgate
    /// guards at level `Metadata`.
    pub(crate) fn audit_policy(mut self, yaml: impl Into<String>) -> Self {
        self.audit_policy = Some(yaml.into());
        self
    }

    /// One more flag for kube-apiserver, after those it has already: the last one wins.
    pub(crate) fn apiserver_flag(mut self, flag: impl Into<String>) -> Self {
        self.api_server_flags.push(flag.into());
        self
    }

    /// One more flag for kube-controller-manager; a `--controllers=NAME` adds a controller.
    pub(crate) fn controller_manager_flag(mut self, flag: impl Into<String>) -> Self {
        self.controller_manager_flags.push(flag.into());
        self
    }

    /// Starts it, and returns when it can be used: see [`ControlPlane::start`].
    pub(crate) fn start(self) -> Result<ControlPlane, Error> {
        // Called from tests that are async and from statics that cannot be, so the waiting has a
        // thread and a runtime of its own.
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(Error::io("start a tokio runtime"))?
                    .block_on(self.bring_up())
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    async fn bring_up(self) -> Result<ControlPlane, Error> {
        let programs = programs::build()?;
        let temporary = tempfile::Builder::new()
            .prefix("headgate-control-plane-")
            .tempdir()
            .map_err(Error::io("make a temporary folder"))?;
        let keep = std::env::var_os("HEADGATE_KEEP_CONTROL_PLANE").is_some();
        let processes = Processes::guarded(temporary.path(), keep)?;
        // From here on it is the guardian's to remove.
        let dir = temporary.keep();

        let pki = Pki::create(&dir.join("pki"))?;
        let port = ReservedPort::take()?;
        let server = format!("https://127.0.0.1:{}", port.number());
        let kubeconfigs = Kubeconfigs::create(&dir.join("kubeconfigs"), server, pki.ca_pem())?;
        let identify = |user: &str, groups: &[&str]| -> Result<PathBuf, Error> {
            kubeconfigs.write(user, Credentials::Certificate(pki.client(user, groups)?))
        };
        let kubeconfig = identify("admin", &["system:masters"])?;
        let controllers = identify("system:kube-controller-manager", &[])?;

        let audit_log = dir.join("audit.log");
        let audit_policy = dir.join("audit-policy.yaml");
        private_file(&audit_policy, self.audit_policy.as_deref().unwrap_or(AUDIT_POLICY))?;
        let mut api_server = flags::api_server(&pki, port.number(), &audit_policy, &audit_log);
        api_server.extend(self.api_server_flags);
        let mut controller_manager = flags::controller_manager(&pki, &controllers);
        controller_manager.extend(self.controller_manager_flags);

        let plane = ControlPlane {
            processes: Mutex::new(processes),
            dir,
            programs,
            pki,
            kubeconfigs,
            kubeconfig,
            audit_log,
            api_server,
            _port: port,
        };
        plane.launch(ETCD, &flags::etcd())?;
        plane.until_etcd_listens().await?;
        plane.launch(API_SERVER, &plane.api_server)?;
        let client = kubeconfig::client(&plane.kubeconfig).await?;
        plane.until_ready(&client).await?;
        // It gives up when the API server does not answer within some seconds, so not before.
        plane.launch(CONTROLLER_MANAGER, &controller_manager)?;
        plane.until_controllers_work(&client).await?;
        Ok(plane)
    }
}

impl ControlPlane {
    pub(super) fn launch(&self, name: &'static str, arguments: &[String]) -> Result<(), Error> {
        self.processes().start(name, &self.programs.join(name), arguments)
    }

    pub(super) async fn until_etcd_listens(&self) -> Result<(), Error> {
        // An API server that comes too early tries again only after a second.
        let socket = self.dir.join(flags::ETCD_SOCKET);
        self.until("etcd to listen", async || Ok(seen(socket.exists()))).await
    }

    pub(super) async fn until_ready(&self, client: &kube::Client) -> Result<(), Error> {
        self.until("the API server to be ready", async || {
            let request = kube::core::Request::new("/readyz")
                .list(&ListParams::default())
                .map_err(kube::Error::BuildRequest)?;
            client.request_text(request).await?;
            Ok(ControlFlow::Break(()))
        })
        .await
    }

    async fn until_controllers_work(&self, client: &kube::Client) -> Result<(), Error> {
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
        self.until("the default service account", async || {
            Ok(seen(accounts.get_opt("default").await?.is_some()))
        })
        .await
    }

    /// Looks again and again until `look` says that it has seen enough, or a process ends, or
    /// [`PATIENCE`] does.
    async fn until(
        &self,
        awaited: &'static str,
        look: impl AsyncFn() -> Result<ControlFlow<()>, kube::Error>,
    ) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = match tokio::time::timeout(LOOK, look()).await {
                Ok(Ok(ControlFlow::Break(()))) => return Ok(()),
                Ok(Ok(ControlFlow::Continue(()))) => "it is not there".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(_elapsed) => format!("no answer within {} s", LOOK.as_secs()),
            };
            self.processes().check()?;
            if Instant::now() > deadline {
                let logs = self.processes().tails();
                return Err(Error::TimedOut {
                    seconds: PATIENCE.as_secs(),
                    awaited,
                    answer,
                    logs,
                });
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    pub(super) fn processes(&self) -> std::sync::MutexGuard<'_, Processes> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn seen(there: bool) -> ControlFlow<()> {
    if there {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}
