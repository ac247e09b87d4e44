//! The Secrets that sources name: in Headgate's own namespace, and only those that are marked for it.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use kube::{Client, ResourceExt};

use crate::source::{CredentialStore, Credentials};

/// The label without which a Secret is not read, so that naming another one in a source does not hand it to a Git server.
pub const CREDENTIALS_LABEL: &str = "headgate.dev/credentials";
/// How long the API server may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads Secrets of one namespace.
pub struct SecretStore {
    api: Api<Secret>,
}

impl SecretStore {
    /// Reads Secrets of this namespace.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
        }
    }

    async fn read(&self, name: &str) -> Result<Credentials, String> {
        let secret = tokio::time::timeout(PATIENCE, self.api.get_opt(name))
            .await
            .map_err(|_| format!("the API server did not hand out the Secret {name} within {PATIENCE:?}"))?
            .map_err(|error| format!("the Secret {name} cannot be read: {error}"))?
            .ok_or_else(|| format!("the Secret {name} is not in Headgate's namespace"))?;
        if secret
            .labels()
            .get(CREDENTIALS_LABEL)
            .is_none_or(|value| value != "true")
        {
            return Err(format!(
                "the Secret {name} lacks the label {CREDENTIALS_LABEL}=true, without which it is not read"
            ));
        }
        Ok(secret
            .data
            .unwrap_or_default()
            .into_iter()
            .map(|(key, value)| (key, value.0))
            .collect())
    }
}

impl CredentialStore for SecretStore {
    fn load<'a>(&'a self, name: &'a str) -> Pin<Box<dyn Future<Output = Result<Credentials, String>> + Send + 'a>> {
        Box::pin(self.read(name))
    }
}
