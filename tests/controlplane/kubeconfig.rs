//! Kubeconfig files: who talks to the API server, and by which credentials.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::ByteString;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

use super::Error;
use super::pki::{Identity, private_dir, private_file};

/// How a kubeconfig's user proves who it is.
pub(super) enum Credentials {
    Certificate(Identity),
    Token(String),
}

/// Writes kubeconfig files for one API server.
pub(super) struct Kubeconfigs {
    dir: PathBuf,
    server: String,
    ca: ByteString,
    written: AtomicUsize,
}

impl Kubeconfigs {
    /// For the API server at `server`; the files go into `dir`, which must not exist yet.
    pub(super) fn create(dir: &Path, server: String, ca_pem: &str) -> Result<Self, Error> {
        private_dir(dir)?;
        let ca = ByteString(ca_pem.as_bytes().to_vec());
        Ok(Self {
            dir: dir.to_owned(),
            server,
            ca,
            written: AtomicUsize::new(0),
        })
    }

    /// The address of the API server.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// Writes one more file, holding everything it needs, so that it can be copied elsewhere.
    pub(super) fn write(&self, user: &str, credentials: Credentials) -> Result<PathBuf, Error> {
        let name: String = user
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        // Numbered, because the same user may be asked for twice, by two tests at once.
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!("{number}-{name}.kubeconfig"));
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{
                "name": "test",
                "cluster": {"server": self.server, "certificate-authority-data": self.ca},
            }],
            "users": [{"name": user, "user": proof(credentials)}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
            "current-context": "test",
        });
        private_file(&path, &format!("{config:#}\n"))?;
        Ok(path)
    }
}

fn proof(credentials: Credentials) -> Value {
    match credentials {
        Credentials::Certificate(Identity { certificate, key }) => json!({
            "client-certificate-data": ByteString(certificate.into_bytes()),
            "client-key-data": ByteString(key.into_bytes()),
        }),
        Credentials::Token(token) => json!({"token": token}),
    }
}

/// A client that uses the given kubeconfig, and no proxy: the API server is on this machine.
pub(super) async fn client(path: &Path) -> Result<kube::Client, Error> {
    let unreadable = |source| Error::Kubeconfig {
        path: path.to_owned(),
        source: Box::new(source),
    };
    let file = Kubeconfig::read_from(path).map_err(unreadable)?;
    let mut config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .map_err(unreadable)?;
    config.proxy_url = None;
    kube::Client::try_from(config).map_err(Error::api(format!("connect as {}", path.display())))
}
