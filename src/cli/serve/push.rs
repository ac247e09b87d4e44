//! The push endpoint of the sync role: its arguments, and how it joins the process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::{Failure, Process};
use crate::push::{PushMetrics, PushOptions, PushServer, Receiver, Tokens};
use crate::source::CredentialStore;

/// Where Git servers tell of pushes.
#[derive(Clone, Debug, Args)]
pub(super) struct PushArguments {
    /// Where Git servers tell of pushes, as POST /push/SOURCE; left out, nowhere
    #[arg(long, env = "HEADGATE_PUSH_LISTEN", value_name = "ADDRESS")]
    push_listen: Option<SocketAddr>,
    /// The folder with tls.crt and tls.key for that; left out, plain HTTP is spoken, to a proxy that ends TLS
    #[arg(long, env = "HEADGATE_PUSH_CERTS", value_name = "DIR", requires = "push_listen")]
    push_certs: Option<PathBuf>,
}

impl Process {
    /// Takes pushes, where that was asked for. Every replica does, whether it leads or not.
    pub(super) fn add_push(&mut self, arguments: &PushArguments) -> Result<(), Failure> {
        let Some(listen) = arguments.push_listen else {
            return Ok(());
        };
        let server = PushServer::bind(PushOptions {
            listen,
            certificates: arguments.push_certs.clone(),
        })?;
        let tls = arguments.push_certs.is_some();
        tracing::info!(address = %server.address(), tls, "the push endpoint listens");
        let metrics = PushMetrics::default();
        metrics.register(&mut self.registry);
        let secrets = Arc::clone(&self.secrets) as Arc<dyn CredentialStore>;
        let tokens = Tokens::new(self.keeper.clone(), secrets);
        let receiver = Receiver::new(self.keeper.clone(), tokens.clone(), metrics.clone())?;
        let running = server.run(Arc::new(receiver), metrics, self.stop.child_token());
        self.add("the push endpoint", async { Ok(running.await?) });
        let reading = tokens.keep_current(self.stop.child_token());
        self.add("the tokens of pushes", async {
            reading.await;
            Ok(())
        });
        Ok(())
    }
}
