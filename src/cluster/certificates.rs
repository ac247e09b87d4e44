//! The Secret with the certificate that Headgate makes and renews by itself: what its keys are called, and following it.
//!
//! Replicas read it from the API server and not from a mounted volume: kubelet brings a change after a minute or so, and
//! does not start a Pod whose Secret is still empty.

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::ClusterError;

/// The certificates of the authorities that the API server is to trust, PEM, one after the other.
pub const AUTHORITIES: &str = "ca.crt";
/// The certificate that replicas serve, PEM.
pub const CERTIFICATE: &str = "tls.crt";
/// Its key, PEM.
pub const KEY: &str = "tls.key";

/// A watch is renewed after this long, so that a connection that died silently is not trusted for longer.
const WATCH_SECONDS: u32 = 60;

/// What a key of the Secret holds; empty where it is not there.
pub fn content<'a>(secret: &'a Secret, key: &str) -> &'a [u8] {
    let data = secret.data.as_ref().and_then(|data| data.get(key));
    data.map_or(&[], |bytes| &bytes.0)
}

/// From when and until when a certificate is good; none where that cannot be read. `der` is one certificate.
pub fn validity(der: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    let from = Timestamp::from_second(validity.not_before.timestamp()).ok()?;
    let until = Timestamp::from_second(validity.not_after.timestamp()).ok()?;
    Some((from, until))
}

/// A Secret of Headgate's own namespace.
#[derive(Clone)]
pub struct OwnSecret {
    client: Client,
    namespace: String,
    name: String,
}

impl std::fmt::Debug for OwnSecret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Secret {}/{}", self.namespace, self.name)
    }
}

impl OwnSecret {
    /// The Secret of this name in this namespace.
    pub fn new(client: Client, namespace: &str, name: &str) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Hands over what the Secret is, whenever it changes, until told to stop. That it is gone is not handed over.
    ///
    /// # Errors
    /// When the watch ends by itself.
    pub async fn follow(self, mut take: impl FnMut(&Secret), shutdown: CancellationToken) -> Result<(), ClusterError> {
        let api: Api<Secret> = Api::namespaced(self.client, &self.namespace);
        let config = watcher::Config::default()
            .fields(&format!("metadata.name={}", self.name))
            .timeout(WATCH_SECONDS);
        let mut events = watcher(api, config).default_backoff().boxed();
        loop {
            let event = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                event = events.next() => event.ok_or(ClusterError::Ended("the webhook's certificate"))?,
            };
            match event {
                Ok(watcher::Event::InitApply(secret) | watcher::Event::Apply(secret)) => take(&secret),
                Ok(watcher::Event::Delete(secret)) => {
                    tracing::warn!(
                        secret = secret.name_any(),
                        "the Secret with the certificate is gone; the last certificate stays in service"
                    );
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "the Secret with the certificate cannot be watched; the last one stays in service");
                }
            }
        }
    }
}
