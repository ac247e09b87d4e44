//! The ledger: what was decided and what was changed, as one JSON line each and as Kubernetes Events.
//!
//! The lines go to the process's output; how long they are kept is the business of whoever ships that output. Taking a
//! record never waits for the network.

pub mod events;
pub mod groups;
mod lines;
pub mod metrics;
pub mod record;
pub mod trust;

use std::io::Write;
use std::time::Duration;

use tokio::sync::mpsc;

pub use events::{EventOptions, write_events};
use lines::Lines;
pub use metrics::LedgerMetrics;
pub use record::{Change, GrantMark, Outcome, Record, Subject};

/// Records that wait for their Event; more are dropped and counted.
const QUEUE: usize = 1024;

/// Takes records. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    lines: Lines,
    events: Option<mpsc::Sender<Record>>,
    metrics: LedgerMetrics,
}

impl Ledger {
    /// A ledger whose lines go to this writer, and that makes no Events.
    pub fn new(lines: impl Write + Send + 'static, metrics: LedgerMetrics) -> Self {
        Self {
            lines: Lines::new(lines, metrics.clone()),
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
    pub fn record(&self, record: Record) {
        let record = record.bounded();
        self.metrics.recorded(&record);
        self.write_line(&record);
        if !record.makes_event() {
            return;
        }
        if let Some(events) = &self.events
            && events.try_send(record).is_err()
        {
            self.metrics.event_dropped();
        }
    }

    /// Waits until the lines taken so far are written; before the process ends.
    pub fn flush(&self, patience: Duration) {
        self.lines.flush(patience);
    }

    fn write_line(&self, record: &Record) {
        match serde_json::to_vec(record) {
            Ok(mut line) => {
                line.push(b'\n');
                self.lines.write(line);
            }
            Err(error) => {
                self.metrics.line_dropped();
                tracing::error!(%error, "a record has no JSON");
            }
        }
    }
}
