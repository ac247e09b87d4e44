//! A replica of the webhook in this process: its server over TLS, a keeper, nothing of Kubernetes behind it. And what the
//! API server does: it sends reviews and trusts one authority.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use headgate::cluster::{Grants, Namespaces};
use headgate::config::Config;
use headgate::ledger::{Ledger, LedgerMetrics};
use headgate::webhook::{CertificateSource, Gate, Server, ServerOptions, WebhookMetrics};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::git_support::{TestResult, Watched};

/// No test waits longer than this for what it expects.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Replica {
    pub(crate) watched: Watched,
    pub(crate) address: SocketAddr,
    folder: TempDir,
    roots: Vec<reqwest::Certificate>,
    pub(crate) root_pem: String,
    client: reqwest::Client,
    stop: CancellationToken,
    registry: Registry,
}

/// A new certificate that is not in service yet.
pub(crate) struct Renewal {
    folder: PathBuf,
    certificate: String,
    key: String,
}

#[derive(Debug)]
pub(crate) struct Answer(Value);

impl Answer {
    pub(crate) fn allowed(&self) -> bool {
        self.0["allowed"] == true
    }

    pub(crate) fn commit(&self) -> &str {
        self.0["auditAnnotations"]["commit"].as_str().unwrap_or_default()
    }

    pub(crate) fn text(&self) -> &str {
        self.0["status"]["message"].as_str().unwrap_or_default()
    }
}

impl Replica {
    pub(crate) fn start(url: &str) -> TestResult<Self> {
        // Another test of this process may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir()?;
        let first = Renewal::make(folder.path().to_owned())?;
        first.write_certificate()?;
        first.write_key()?;
        let server = Server::bind(ServerOptions {
            listen: ([127, 0, 0, 1], 0).into(),
            certificates: CertificateSource::Folder(folder.path().to_owned()),
            drain_delay: Duration::ZERO,
            drain_patience: Duration::from_secs(15),
        })?;
        let address = server.address();
        let watched = Watched::start(url, |_| ())?;
        let nowhere = kube::Config::new("http://127.0.0.1:9".parse()?);
        let mut registry = Registry::default();
        let gate = Gate {
            keeper: watched.keeper.clone(),
            rules: Arc::new(Config::read(None)?.rules),
            grants: Grants::none(),
            namespaces: Namespaces::new(kube::Client::try_from(nowhere)?),
            ledger: Ledger::new(std::io::sink(), LedgerMetrics::register(&mut registry)),
            metrics: WebhookMetrics::register(&mut registry),
        };
        let stop = CancellationToken::new();
        tokio::spawn(server.run(Arc::new(gate), stop.clone()));
        let roots = vec![reqwest::Certificate::from_pem(first.certificate.as_bytes())?];
        Ok(Self {
            watched,
            address,
            folder,
            client: reqwest::Client::builder().tls_certs_only(roots.clone()).build()?,
            roots,
            root_pem: first.certificate,
            stop,
            registry,
        })
    }

    /// Sends a review; `timeout` is the API server's own deadline.
    pub(crate) async fn ask(&self, review: Value, timeout: &str) -> TestResult<Answer> {
        self.send(&self.client, review, timeout).await
    }

    /// Sends a review over a connection of its own.
    pub(crate) async fn ask_anew(&self, review: Value) -> TestResult<Answer> {
        let client = reqwest::Client::builder().tls_certs_only(self.roots.clone()).build()?;
        self.send(&client, review, "10s").await
    }

    pub(crate) async fn ask_trusting_only(&self, renewal: &Renewal, review: Value) -> TestResult<Answer> {
        let root = reqwest::Certificate::from_pem(renewal.certificate.as_bytes())?;
        let client = reqwest::Client::builder().tls_certs_only([root]).build()?;
        self.send(&client, review, "10s").await
    }

    async fn send(&self, client: &reqwest::Client, review: Value, timeout: &str) -> TestResult<Answer> {
        let url = format!("https://{}/validate?timeout={timeout}", self.address);
        let response = client
            .post(url)
            .body(review.to_string())
            .timeout(PATIENCE)
            .send()
            .await?;
        let (status, text) = (response.status(), response.text().await?);
        if status != 200 {
            return Err(format!("{status}: {text}").into());
        }
        Ok(Answer(serde_json::from_str::<Value>(&text)?["response"].take()))
    }

    /// A new certificate, which clients of this replica trust from now on, beside the old one.
    pub(crate) fn renewal(&mut self) -> TestResult<Renewal> {
        let renewal = Renewal::make(self.folder.path().to_owned())?;
        self.roots
            .push(reqwest::Certificate::from_pem(renewal.certificate.as_bytes())?);
        Ok(renewal)
    }

    /// Waits until so many reviews were taken in, answered or not.
    pub(crate) async fn until_taken_in(&self, reviews: u64) -> TestResult {
        let taken_in = || {
            let mut text = String::new();
            encode(&mut text, &self.registry)?;
            let value = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|value| value.trim().parse::<u64>().ok()).unwrap_or(0)
            };
            Ok::<_, std::fmt::Error>(value("reviews_in_flight") + value("review_duration_seconds_count"))
        };
        let waiting = async {
            while taken_in()? < reviews {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            TestResult::Ok(())
        };
        tokio::time::timeout(PATIENCE, waiting).await?
    }

    /// Tells the server to stop.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until nobody listens any more.
    pub(crate) async fn until_closed(&self) -> TestResult {
        let closing = async {
            while tokio::net::TcpStream::connect(self.address).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        Ok(tokio::time::timeout(PATIENCE, closing).await?)
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Renewal {
    fn make(folder: PathBuf) -> TestResult<Self> {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])?;
        Ok(Self {
            folder,
            certificate: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
        })
    }

    pub(crate) fn write_certificate(&self) -> TestResult {
        Ok(std::fs::write(self.folder.join("tls.crt"), &self.certificate)?)
    }

    pub(crate) fn write_key(&self) -> TestResult {
        Ok(std::fs::write(self.folder.join("tls.key"), &self.key)?)
    }
}

/// The review of a creation; the content is told by the port.
pub(crate) fn create(namespace: &str, name: &str, port: u16) -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u-1", "kind": {"group": "networking.k8s.io", "version": "v1", "kind": "NetworkPolicy"},
        "name": name, "namespace": namespace, "operation": "CREATE", "userInfo": {"username": "alice"},
        "object": {
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress"],
                     "ingress": [{"ports": [{"protocol": "TCP", "port": port}]}]}
        },
        "oldObject": null, "dryRun": false
    }})
}

/// The same review with an annotation of so many bytes.
pub(crate) fn padded(mut review: Value, bytes: usize) -> Value {
    review["request"]["object"]["metadata"]["annotations"] = json!({"note": "x".repeat(bytes)});
    review
}

/// What this process logs.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<String>>);

/// The log from now on; all tests of this process share it.
pub(crate) fn log() -> Log {
    static LOG: LazyLock<Log> = LazyLock::new(|| {
        let log = Log::default();
        let writer = log.clone();
        // Were another one installed, the wait for its lines would tell.
        let _ = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .try_init();
        log
    });
    LOG.clone()
}

impl Log {
    pub(crate) fn mark(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Waits for a line after the mark.
    pub(crate) async fn until(&self, mark: usize, words: &str) -> TestResult {
        let says = || {
            let text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            text.get(mark..).is_some_and(|new| new.contains(words))
        };
        let waiting = async {
            while !says() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited.map_err(|_| format!("waited in vain for: {words}").into())
    }
}

impl Write for Log {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(&String::from_utf8_lossy(buffer));
        Ok(buffer.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
