//! One shell for a page, as its reader has: what one command leaves behind is there for the next.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::Failure;

/// How long a command may take.
const PATIENCE: Duration = Duration::from_mins(3);
/// Begins the line after a command's output.
const MARK: &str = "--- ended with ";

pub(crate) struct Shell {
    process: Child,
    commands: ChildStdin,
    lines: Receiver<String>,
}

impl Shell {
    /// A shell with the environment that `command` was given.
    pub(crate) fn start(mut command: Command) -> Result<Self, Failure> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let commands = process.stdin.take().ok_or("no way into the shell")?;
        let output = process.stdout.take().ok_or("no way out of the shell")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            process,
            commands,
            lines,
        })
    }

    /// Runs a command; its exit status, and all that it printed.
    pub(crate) fn run(&mut self, command: &str) -> Result<(i32, String), Failure> {
        // In this shell itself, for `cd` and variables; a command that reads finds nothing.
        writeln!(
            self.commands,
            "{{ {command}\n}} </dev/null 2>&1; printf '\\n{MARK}%s\\n' \"$?\""
        )?;
        self.commands.flush()?;
        let mut printed = String::new();
        loop {
            let line = self
                .lines
                .recv_timeout(PATIENCE)
                .map_err(|error| format!("{command}: {error}; so far it printed:\n{printed}"))?;
            if let Some(code) = line.strip_prefix(MARK) {
                return Ok((code.parse()?, printed));
            }
            printed.push_str(&line);
            printed.push('\n');
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
