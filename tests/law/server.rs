//! The control plane with every guarded kind that its definitions are at hand for, and the recorder beside it.

use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{Method, Request};
use serde_json::{Value, json};

use crate::Failure;
use crate::controlplane::ControlPlane;
use crate::recorder::Recorder;

/// How long what was installed may take to be in force.
const PATIENCE: Duration = Duration::from_mins(1);

/// Everything that the tests share; they take turns.
pub(crate) struct Server {
    pub(crate) plane: &'static ControlPlane,
    pub(crate) recorder: Recorder,
}

/// A folder of real input that is no part of the repository; none where it is absent, and then CI fails.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub(crate) fn shared(name: &str) -> Result<Option<PathBuf>, Failure> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let folder = std::env::var_os("HEADGATE_SHARED")
        .map_or_else(beside, PathBuf::from)
        .join(name);
    if folder.is_dir() {
        return Ok(Some(folder));
    }
    if std::env::var_os("CI").is_some() {
        return Err(format!("{} is not there, and CI must not skip this test", folder.display()).into());
    }
    eprintln!("skipped: {} is not there", folder.display());
    Ok(None)
}

impl Server {
    /// The server, for whoever's turn it is; none where the definitions are not at hand.
    pub(crate) fn turn() -> Result<Option<MutexGuard<'static, Server>>, Failure> {
        static SERVER: LazyLock<Result<Mutex<Server>, String>> =
            LazyLock::new(|| Server::start().map(Mutex::new).map_err(|error| error.to_string()));
        if shared("crds")?.is_none() {
            return Ok(None);
        }
        let server = SERVER.as_ref().map_err(Clone::clone)?;
        Ok(Some(server.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn start() -> Result<Self, Failure> {
        let plane = ControlPlane::shared().map_err(ToString::to_string)?;
        let recorder = Recorder::start()?;
        let server = Self { plane, recorder };
        let definitions = shared("crds")?.ok_or("the definitions are gone")?;
        for folder in ["calico-native-v3", "calico-crd-v1", "network-policy-api"] {
            let folder = definitions.join(folder);
            server.kubectl(&["apply", "--server-side", "-f"], &folder)?;
            server.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "-f"], &folder)?;
        }
        for entry in std::fs::read_dir(definitions.join("calico-admission"))? {
            // The API server of today serves these as v1.
            let text = std::fs::read_to_string(entry?.path())?;
            let today = text.replace(
                "admissionregistration.k8s.io/v1beta1",
                "admissionregistration.k8s.io/v1",
            );
            server.apply("admission.yaml", &today)?;
        }
        server.apply("recorder.json", &server.recorder.configuration().to_string())?;
        server.until_in_force()?;
        Ok(server)
    }

    fn apply(&self, file: &str, text: &str) -> Result<(), Failure> {
        let file = self.plane.dir().join(file);
        std::fs::write(&file, text)?;
        self.kubectl(&["apply", "-f"], &file)
    }

    /// Runs kubectl; what it complains of is the error.
    pub(crate) fn kubectl(&self, arguments: &[&str], file: &Path) -> Result<(), Failure> {
        let output = self.plane.kubectl().args(arguments).arg(file).output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
    }

    /// Webhooks and admission policies come into force some time after they were stored.
    fn until_in_force(&self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let client = self.plane.client().await?;
            for (kind, resource, namespace) in [
                ("NetworkPolicy", "networkpolicies", "default"),
                ("StagedNetworkPolicy", "stagednetworkpolicies", "default"),
                ("GlobalNetworkPolicy", "globalnetworkpolicies", ""),
                ("StagedGlobalNetworkPolicy", "stagedglobalnetworkpolicies", ""),
            ] {
                self.until_kind_in_force(&client, kind, resource, namespace).await?;
            }
            Ok(())
        })
    }

    /// The API server reads the schemas that the admission policies need kind by kind.
    async fn until_kind_in_force(
        &self,
        client: &kube::Client,
        kind: &str,
        resource: &str,
        namespace: &str,
    ) -> Result<(), Failure> {
        let probe = json!({
            "apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": {"name": "probe"}, "spec": {"selector": "all()"},
        });
        let path = match namespace {
            "" => format!("/apis/projectcalico.org/v3/{resource}"),
            _ => format!("/apis/projectcalico.org/v3/namespaces/{namespace}/{resource}"),
        };
        let reviewed = ["projectcalico.org", resource, namespace, "probe"].map(str::to_owned);
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            let made = request(client, Method::POST, &path, Some(&probe)).await?;
            request(client, Method::DELETE, &format!("{path}/probe"), None).await?;
            let complete = made["spec"]["types"].is_array() && made["metadata"]["labels"].is_object();
            if complete && !self.recorder.take(&reviewed.clone().into()).is_empty() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(format!("the recorder and Calico's admission policies did not come into force for {kind}").into())
    }
}

/// Asks the API server, and has it refuse unknown fields, as kubectl does.
pub(crate) async fn request(
    client: &kube::Client,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, kube::Error> {
    let query = if method == Method::POST || method == Method::PUT {
        "?fieldValidation=Strict&fieldManager=law"
    } else {
        ""
    };
    let content = if method == Method::PATCH {
        "application/merge-patch+json"
    } else {
        "application/json"
    };
    let request = Request::builder()
        .method(method)
        .uri(format!("{path}{query}"))
        .header("content-type", content)
        .body(body.map(|body| body.to_string().into_bytes()).unwrap_or_default())
        .map_err(kube::core::request::Error::BuildRequest)
        .map_err(kube::Error::BuildRequest)?;
    client.request(request).await
}
