//! The lines of records, written by a thread of their own: a reader that stalls must not stall verdicts.

use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use super::metrics::LedgerMetrics;

/// Lines that wait to be written; more are dropped and counted.
const QUEUE: usize = 8192;

enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Takes lines. Cheap to clone; the thread ends with the last clone.
#[derive(Clone)]
pub(super) struct Lines {
    queue: SyncSender<Message>,
    metrics: LedgerMetrics,
}

impl Lines {
    pub(super) fn new(writer: impl Write + Send + 'static, metrics: LedgerMetrics) -> Self {
        let (queue, messages) = sync_channel(QUEUE);
        let counted = metrics.clone();
        std::thread::spawn(move || write_all(writer, &messages, &counted));
        Self { queue, metrics }
    }

    pub(super) fn write(&self, line: Vec<u8>) {
        if self.queue.try_send(Message::Line(line)).is_err() {
            dropped(&self.metrics, "their reader is too slow");
        }
    }

    /// Waits until what was taken so far is written, for at most this long.
    pub(super) fn flush(&self, patience: Duration) {
        let (done, written) = sync_channel(1);
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            // Too late, or the thread is gone: nothing is left to be done about it.
            let _ = written.recv_timeout(patience);
        }
    }
}

fn write_all(mut writer: impl Write, messages: &Receiver<Message>, metrics: &LedgerMetrics) {
    while let Ok(message) = messages.recv() {
        match message {
            Message::Line(line) => {
                if let Err(error) = writer.write_all(&line).and_then(|()| writer.flush()) {
                    dropped(metrics, &error.to_string());
                }
            }
            Message::Flush(done) => {
                let _ = done.send(());
            }
        }
    }
}

/// Counted each time, said once.
fn dropped(metrics: &LedgerMetrics, why: &str) {
    if metrics.line_dropped() == 0 {
        tracing::error!(why, "records are lost; see the metric headgate_records_dropped_total");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex, PoisonError};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Holds up whoever writes.
    struct Stalled(Receiver<()>);

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_was_taken_is_written_in_order_before_the_process_ends() {
        let written = Shared::default();
        let lines = Lines::new(written.clone(), LedgerMetrics::default());
        for line in ["a\n", "b\n"] {
            lines.write(line.as_bytes().to_vec());
        }
        lines.flush(Duration::from_secs(10));
        let written = written.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(written.as_slice(), b"a\nb\n");
    }

    #[test]
    fn a_reader_that_stalls_costs_lines_and_holds_up_nobody() {
        let (_hold, held) = sync_channel(0);
        let metrics = LedgerMetrics::default();
        let lines = Lines::new(Stalled(held), metrics.clone());
        for _ in 0..QUEUE + 10 {
            lines.write(b"a\n".to_vec());
        }
        assert!(metrics.line_dropped() >= 8);
    }
}
