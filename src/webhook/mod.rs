//! The HTTPS server, its certificates and the handler.

mod behind;
pub mod certificates;
mod desk;
pub mod handler;
pub mod metrics;
mod namespace;
pub mod server;
mod witness;

pub use certificates::{CertificateSource, Certificates};
pub use handler::Gate;
pub use metrics::WebhookMetrics;
pub use server::{Server, ServerError, ServerOptions, router};
