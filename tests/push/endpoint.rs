//! A push endpoint in this process: its server, a keeper with one source, and a repository that counts who looks.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use headgate::push::{PushMetrics, PushOptions, PushServer, Receiver, Tokens};
use headgate::source::resource::SecretRef;
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::PATIENCE;
use crate::git_support::http::{self, Server};
use crate::git_support::{Origin, Secrets, TestResult, Watched, policy};

/// What the Git server and Headgate know.
pub(crate) const TOKEN: &str = "a-token-that-nobody-guesses";
const SECRET: &str = "acme-push";

pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    pub(crate) watched: Watched,
    origin: Origin,
    server: Server,
    secrets: Secrets,
    client: reqwest::Client,
    certificates: Option<TempDir>,
    /// The first certificate.
    root: Option<reqwest::Certificate>,
    registry: Mutex<Registry>,
    stop: CancellationToken,
    _state: TempDir,
}

impl Endpoint {
    /// Over clear HTTP, as behind a proxy.
    pub(crate) async fn start() -> TestResult<Self> {
        Self::start_as(None).await
    }

    /// With a certificate of its own.
    pub(crate) async fn start_with_tls() -> TestResult<Self> {
        let folder = tempfile::tempdir()?;
        certify(&folder)?;
        Self::start_as(Some(folder)).await
    }

    async fn start_as(certificates: Option<TempDir>) -> TestResult<Self> {
        // Another test of this process may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let origin = Origin::new()?;
        origin.write("web.yaml", &policy("payments", "web", 80))?;
        let first = origin.commit_and_push("first")?;
        let server = http::serve(&origin).await?;
        let secrets = Secrets::of(SECRET, &[("token", TOKEN.as_bytes())]);
        let state = tempfile::tempdir()?;
        let watched = Watched::start_with(state.path(), &server.url, secrets.clone(), PATIENCE, |source| {
            source.spec.git.push_secret_ref = Some(SecretRef {
                name: SECRET.to_owned(),
            });
        })?;
        watched.until_head(&first).await?;
        let stop = CancellationToken::new();
        let metrics = PushMetrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let tokens = Tokens::new(watched.keeper.clone(), Arc::new(secrets.clone()));
        let receiver = Receiver::new(watched.keeper.clone(), tokens.clone(), metrics.clone())?;
        let listening = PushServer::bind(PushOptions {
            listen: "127.0.0.1:0".parse()?,
            certificates: certificates.as_ref().map(|folder| folder.path().to_owned()),
        })?;
        let address = listening.address();
        tokio::spawn(tokens.keep_current(stop.clone()));
        tokio::spawn(listening.run(Arc::new(receiver), metrics, stop.clone()));
        let pem = certificates
            .as_ref()
            .map(|folder| std::fs::read(folder.path().join("tls.crt")));
        let root = pem.transpose()?.map(|pem| reqwest::Certificate::from_pem(&pem));
        let root = root.transpose()?;
        let endpoint = Self {
            client: client(root.as_ref())?,
            root,
            address,
            watched,
            origin,
            server,
            secrets,
            certificates,
            registry: Mutex::new(registry),
            stop,
            _state: state,
        };
        endpoint.until_status(&[("x-gitlab-token", TOKEN)], 202).await?;
        // What that asked for has been fetched, and counts no more.
        let looks = endpoint.looks();
        if looks < 2 {
            endpoint.server.until_more_looks_than(1).await?;
        }
        Ok(endpoint)
    }

    pub(crate) fn url(&self, source: &str) -> String {
        let scheme = if self.certificates.is_some() { "https" } else { "http" };
        format!("{scheme}://localhost:{}/push/{source}", self.address.port())
    }

    /// Posts a delivery with these headers.
    pub(crate) async fn deliver(
        &self,
        source: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> TestResult<reqwest::Response> {
        let mut request = self.client.post(self.url(source)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ok(request.send().await?)
    }

    /// Whether a new client that trusts the first certificate gets an answer.
    pub(crate) async fn greets_a_newcomer(&self) -> TestResult<bool> {
        let answer = client(self.root.as_ref())?.post(self.url("platform")).send().await;
        Ok(answer.is_ok())
    }

    /// Delivers until the answer is this.
    pub(crate) async fn until_status(&self, headers: &[(&str, &str)], status: u16) -> TestResult {
        let delivering = async {
            while self.deliver("platform", headers, "").await?.status() != status {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            TestResult::Ok(())
        };
        tokio::time::timeout(PATIENCE, delivering).await?
    }

    /// Commits something.
    pub(crate) fn commit(&self, subject: &str) -> TestResult<String> {
        self.origin.commit_and_push(subject)
    }

    /// How often the repository was looked at.
    pub(crate) fn looks(&self) -> usize {
        self.server.looks()
    }

    pub(crate) fn put_token(&self, token: &[u8]) {
        self.secrets.put(SECRET, &[("token", token)]);
    }

    pub(crate) fn remove_token(&self) {
        self.secrets.remove(SECRET);
    }

    /// Another certificate in the place of the one that is served.
    pub(crate) fn renew_certificate(&self) -> TestResult {
        certify(self.certificates.as_ref().ok_or("there is no certificate")?)
    }

    /// What is counted, as text.
    pub(crate) fn metrics(&self) -> TestResult<String> {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(text)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A client that trusts this certificate alone, and makes a connection for each delivery.
fn client(root: Option<&reqwest::Certificate>) -> TestResult<reqwest::Client> {
    let builder = reqwest::Client::builder().pool_max_idle_per_host(0).no_proxy();
    let builder = match root {
        Some(root) => builder.tls_certs_only([root.clone()]),
        None => builder,
    };
    Ok(builder.build()?)
}

fn certify(folder: &TempDir) -> TestResult {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    std::fs::write(folder.path().join("tls.key"), made.signing_key.serialize_pem())?;
    std::fs::write(folder.path().join("tls.crt"), made.cert.pem())?;
    Ok(())
}
