//! How commands reach the API server.

use std::path::{Path, PathBuf};

use clap::Args;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use super::Failure;

/// Which API server, and as whom.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ConnectArguments {
    /// The kubeconfig; without it KUBECONFIG, ~/.kube/config, or the Pod's own `ServiceAccount`
    #[arg(long, env = "HEADGATE_KUBECONFIG", value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig
    #[arg(long, env = "HEADGATE_CONTEXT", value_name = "NAME")]
    pub(super) context: Option<String>,
}

impl ConnectArguments {
    /// A client, and the namespace that the context names.
    pub(super) async fn client(&self) -> Result<Client, Failure> {
        let config = match (&self.kubeconfig, &self.context) {
            (None, None) => Config::infer().await?,
            (Some(file), _) => self.read(file).await?,
            (None, Some(_)) => Config::from_kubeconfig(&self.options()).await?,
        };
        Ok(Client::try_from(config)?)
    }

    async fn read(&self, file: &Path) -> Result<Config, Failure> {
        let kubeconfig = Kubeconfig::read_from(file)
            .map_err(|error| format!("the kubeconfig {} cannot be used: {error}", file.display()))?;
        Ok(Config::from_custom_kubeconfig(kubeconfig, &self.options()).await?)
    }

    fn options(&self) -> KubeConfigOptions {
        KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        }
    }
}
