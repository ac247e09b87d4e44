//! The ledger: what was decided and what was changed, as one JSON line each and as Kubernetes Events.
//!
//! The lines go to the process's output; how long they are kept is the business of whoever ships that output. Taking a
//! record never waits for the network.

pub mod events;
pub mod groups;
pub mod metrics;
pub mod record;

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

pub use events::{EventOptions, write_events};
pub use metrics::LedgerMetrics;
pub use record::{Outcome, Record, Subject};

/// Records that wait for their Event; more are dropped and counted.
const QUEUE: usize = 1024;

/// Takes records. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    lines: Arc<Mutex<dyn Write + Send>>,
    events: Option<mpsc::Sender<Record>>,
    metrics: LedgerMetrics,
}

impl Ledger {
    /// A ledger whose lines go to this writer, and that makes no Events.
    pub fn new(lines: impl Write + Send + 'static, metrics: LedgerMetrics) -> Self {
        Self {
            lines: Arc::new(Mutex::new(lines)),
            events: None,
            metrics,
        }
    }

    /// The same ledger, and the records that are to become Events.
    pub fn with_events(mut self) -> (Self, mpsc::Receiver<Record>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.events = Some(sender);
        (self, receiver)
    }

    /// Takes one record.
    pub fn record(&self, record: &Record) {
        self.metrics.recorded(record);
        self.write_line(record);
        if !record.makes_event() {
            return;
        }
        if let Some(events) = &self.events
            && events.try_send(record.clone()).is_err()
        {
            self.metrics.event_dropped();
        }
    }

    /// A line that cannot be written is counted, and said once in the log.
    fn write_line(&self, record: &Record) {
        let written = serde_json::to_vec(record)
            .map_err(std::io::Error::other)
            .and_then(|mut line| {
                line.push(b'\n');
                let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
                lines.write_all(&line)?;
                lines.flush()
            });
        if let Err(error) = written
            && self.metrics.line_dropped() == 0
        {
            tracing::error!(%error, "records cannot be written; see the metric headgate_records_dropped_total");
        }
    }
}
