//! What people at a terminal see while they wait. It goes to the standard error, and a pipe or a file sees none of it.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often it turns.
const TURN: Duration = Duration::from_millis(100);

/// Something is going on. It is gone when this is dropped.
pub(super) struct Spinner(ProgressBar);

impl Spinner {
    /// Hidden where the standard error is no terminal.
    pub(super) fn new(what: &str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(TURN);
        Self(bar)
    }

    /// Says what goes on now.
    pub(super) fn say(&self, what: String) {
        self.0.set_message(what);
    }

    /// Says how much of a kind was listed so far.
    pub(super) fn listed(&self, kind: &str, count: usize) {
        self.say(format!("listing {kind}: {count}"));
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
