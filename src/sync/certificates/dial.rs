//! Looking at what replicas serve, as the API server would: a handshake with each endpoint of the webhook's Service.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::{Api, Client};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::plan::Replicas;
use super::stored::Authority;
use crate::sync::request::{CallError, within};

/// A replica that has not shaken hands by then cannot be reached.
const HANDSHAKE: Duration = Duration::from_secs(3);
/// The label by which a Service's endpoints are known.
const SERVICE: &str = "kubernetes.io/service-name";

/// Finds the replicas and looks at them.
pub(super) struct Dialer {
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) service: String,
    /// The name that the API server asks for.
    pub(super) name: ServerName<'static>,
    pub(super) patience: Duration,
}

/// Where a replica may be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    address: String,
    port: u16,
    ready: bool,
}

/// What a look at an endpoint showed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Look {
    /// What it serves is verified by the authority.
    Verified,
    /// It serves something else.
    Other(String),
    /// Nobody answered.
    Unreachable(String),
}

impl Dialer {
    /// The replicas as the API server sees them now.
    pub(super) async fn endpoints(&self) -> Result<Vec<Endpoint>, CallError> {
        let slices: Api<EndpointSlice> = Api::namespaced(self.client.clone(), &self.namespace);
        let params = ListParams::default().labels(&format!("{SERVICE}={}", self.service));
        let list = within(self.patience, slices.list(&params)).await?;
        Ok(list.items.iter().flat_map(endpoints).collect())
    }

    /// Whether all replicas serve what this authority alone verifies; and why not.
    pub(super) async fn replicas(&self, endpoints: &[Endpoint], authority: &Authority) -> (Replicas, Option<String>) {
        let looks = self.looks(endpoints, authority).await;
        if !endpoints.iter().any(|endpoint| endpoint.ready) {
            let why = format!("the Service {} has no ready endpoint", self.service);
            return (Replicas::Behind, Some(why));
        }
        let holding = endpoints.iter().zip(looks).find_map(|(endpoint, look)| match look {
            Look::Verified => None,
            // It may be ready the next moment.
            Look::Other(why) => Some((endpoint, why)),
            Look::Unreachable(why) => endpoint.ready.then_some((endpoint, why)),
        });
        match holding {
            None => (Replicas::Current, None),
            Some((endpoint, why)) => {
                let why = format!("{}:{}: {why}", endpoint.address, endpoint.port);
                (Replicas::Behind, Some(why))
            }
        }
    }

    /// Whether some ready replica serves what this authority alone verifies.
    pub(super) async fn is_served(&self, endpoints: &[Endpoint], authority: &Authority) -> bool {
        let looks = self.looks(endpoints, authority).await;
        let verified = |(endpoint, look): (&Endpoint, Look)| endpoint.ready && look == Look::Verified;
        endpoints.iter().zip(looks).any(verified)
    }

    async fn looks(&self, endpoints: &[Endpoint], authority: &Authority) -> Vec<Look> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = match config {
            Ok(config) => config.with_root_certificates(authority.alone()).with_no_client_auth(),
            Err(error) => return vec![Look::Unreachable(error.to_string()); endpoints.len()],
        };
        let connector = TlsConnector::from(Arc::new(config));
        join_all(endpoints.iter().map(|endpoint| self.look(&connector, endpoint))).await
    }

    async fn look(&self, connector: &TlsConnector, endpoint: &Endpoint) -> Look {
        let shaking = async {
            let stream = match TcpStream::connect((endpoint.address.as_str(), endpoint.port)).await {
                Ok(stream) => stream,
                Err(error) => return Look::Unreachable(error.to_string()),
            };
            match connector.connect(self.name.clone(), stream).await {
                Ok(mut stream) => {
                    let _ = stream.shutdown().await;
                    Look::Verified
                }
                Err(error) => judged(&error),
            }
        };
        let shaken = tokio::time::timeout(HANDSHAKE, shaking).await;
        shaken.unwrap_or_else(|_| Look::Unreachable(format!("no handshake within {HANDSHAKE:?}")))
    }
}

/// A certificate that is not verified is told from a peer that has none, or is none of ours.
fn judged(error: &std::io::Error) -> Look {
    let tls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(why)) => Look::Other(format!("{why}")),
        _ => Look::Unreachable(error.to_string()),
    }
}

/// The endpoints of a slice. The webhook's port is the one called https, or the only one.
fn endpoints(slice: &EndpointSlice) -> Vec<Endpoint> {
    let ports = slice.ports.as_deref().unwrap_or_default();
    let named = ports.iter().find(|port| port.name.as_deref() == Some("https"));
    let port = named.or_else(|| ports.first().filter(|_| ports.len() == 1));
    let Some(port) = port.and_then(|port| u16::try_from(port.port?).ok()) else {
        return Vec::new();
    };
    let endpoint = |endpoint: &k8s_openapi::api::discovery::v1::Endpoint| {
        // The addresses of one endpoint are interchangeable.
        let address = endpoint.addresses.first()?.clone();
        // "Unknown" is to be taken for ready.
        let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready);
        Some(Endpoint {
            address,
            port,
            ready: ready.unwrap_or(true),
        })
    };
    slice.endpoints.iter().flatten().filter_map(endpoint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn endpoints_count_as_ready_unless_they_say_otherwise() -> Result<(), serde_json::Error> {
        let slice = json!({
            "addressType": "IPv4", "metadata": {},
            "ports": [{"name": "metrics", "port": 8080}, {"name": "https", "port": 8443}],
            "endpoints": [
                {"addresses": ["10.0.0.1"], "conditions": {"ready": true}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false}},
                {"addresses": ["10.0.0.3"]},
                {"addresses": []},
            ],
        });
        let found = endpoints(&serde_json::from_value(slice)?);
        let found: Vec<_> = found
            .iter()
            .map(|one| (one.address.as_str(), one.port, one.ready))
            .collect();
        assert_eq!(
            found,
            [
                ("10.0.0.1", 8443, true),
                ("10.0.0.2", 8443, false),
                ("10.0.0.3", 8443, true)
            ]
        );
        Ok(())
    }
}
