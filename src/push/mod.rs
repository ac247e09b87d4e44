//! Where Git servers tell of pushes. A delivery that proves knowledge of the source's token is a reason to fetch that source
//! at once, and nothing else: what it says is not read.

mod acceptor;
pub mod authentication;
mod delivery;
pub mod metrics;
mod server;
pub mod tokens;

pub use delivery::{MAX_BODY, RandomError, Receiver, router};
pub use metrics::PushMetrics;
pub use server::{PushOptions, PushServer, PushServerError};
pub use tokens::Tokens;
