//! What is read from the Kubernetes API besides guarded objects: sources, the Secrets that they name, grants, and
//! which namespaces are going, the webhook's certificate.

pub mod certificates;
pub mod grants;
pub mod namespaces;
pub mod secrets;
pub mod sources;

pub use certificates::OwnSecret;
pub use grants::Grants;
pub use namespaces::Namespaces;
pub use secrets::SecretStore;
pub use sources::follow_sources;

/// Why a watch cannot go on. Failures of the API server are not among them: those are retried.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The watch's stream ended, which it never should.
    #[error("the watch of {0} ended")]
    Ended(&'static str),
}
