//! The processes of one control plane, and the promise that none of them outlives this program.
//!
//! `Drop` is not enough for that promise: it runs neither for statics nor after `kill -9`. So a
//! small shell, the guardian, holds the reading end of a pipe and acts when the pipe ends, which
//! the kernel brings about however this program goes (see `guardian.sh`).
//!
//! A process is made known to the guardian *before* it becomes what it shall be: it starts as a
//! shell that waits for one line. If this program dies before the guardian knows, that line never
//! comes and the shell exits. So there is no moment in which a process could be lost.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use super::Error;

/// How many lines of a log an error shows.
const TAIL: usize = 20;

/// All processes of one control plane.
#[derive(Debug)]
pub(super) struct Processes {
    dir: PathBuf,
    guardian: Child,
    /// Taken when the guardian shall act.
    pipe: Option<ChildStdin>,
    running: Vec<Process>,
}

#[derive(Debug)]
struct Process {
    name: &'static str,
    child: Child,
}

impl Processes {
    /// Starts the guardian over `dir`, which is removed in the end unless `keep` is set.
    pub(super) fn guarded(dir: &Path, keep: bool) -> Result<Self, Error> {
        let mut guardian = Command::new("sh")
            .args(["-c", include_str!("guardian.sh"), "guardian"])
            .arg(dir)
            .args(keep.then_some("keep"))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C at the terminal is for the program, not for what it still needs while it ends.
            .process_group(0)
            .spawn()
            .map_err(Error::io("start the guardian shell"))?;
        let pipe = guardian.stdin.take();
        Ok(Self {
            dir: dir.to_owned(),
            guardian,
            pipe,
            running: Vec::new(),
        })
    }

    /// Starts `program` in the control plane's folder, its output going to [`Processes::log`].
    pub(super) fn start(&mut self, name: &'static str, program: &Path, arguments: &[String]) -> Result<(), Error> {
        let path = self.log(name);
        let log = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(Error::file("open", &path))?;
        let again = log.try_clone().map_err(Error::file("open", &path))?;
        let mut child = Command::new("sh")
            .args(["-c", "read -r _ && exec \"$0\" \"$@\" </dev/null"])
            .arg(program)
            .args(arguments)
            .current_dir(&self.dir)
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(again)
            .process_group(0)
            .spawn()
            .map_err(Error::io(format!("start {name}")))?;
        let pid = child.id();
        let signal = child.stdin.take();
        self.running.push(Process { name, child });
        self.tell_guardian("watch", pid)?;
        if let Some(mut signal) = signal {
            signal.write_all(b"go\n").map_err(Error::io(format!("start {name}")))?;
        }
        Ok(())
    }

    /// Kills a process at once, as a crash would, and waits until it is gone.
    pub(super) fn stop(&mut self, name: &str) -> Result<(), Error> {
        let Some(index) = self.running.iter().position(|process| process.name == name) else {
            return Ok(());
        };
        let mut process = self.running.swap_remove(index);
        process.child.kill().map_err(Error::io(format!("kill {name}")))?;
        process.child.wait().map_err(Error::io(format!("wait for {name}")))?;
        self.tell_guardian("forget", process.child.id())
    }

    /// The process id of one that runs.
    pub(super) fn pid(&self, name: &str) -> Option<u32> {
        self.running
            .iter()
            .find(|process| process.name == name)
            .map(|process| process.child.id())
    }

    /// An error if one of the processes has ended by itself.
    pub(super) fn check(&mut self) -> Result<(), Error> {
        let mut ended: Option<(&'static str, ExitStatus, u32)> = None;
        for process in &mut self.running {
            let status = process
                .child
                .try_wait()
                .map_err(Error::io(format!("look at {}", process.name)))?;
            if let Some(status) = status {
                ended = Some((process.name, status, process.child.id()));
                break;
            }
        }
        let Some((process, status, pid)) = ended else {
            return Ok(());
        };
        // Reaped just now: its number may soon be somebody else's.
        self.running.retain(|running| running.name != process);
        self.tell_guardian("forget", pid)?;
        Err(Error::Ended {
            process,
            status,
            log: self.tail(process),
        })
    }

    /// The file that holds the output of a process.
    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.log"))
    }

    /// The last lines of every log, under headings.
    pub(super) fn tails(&self) -> String {
        let sections = self
            .running
            .iter()
            .map(|process| format!("--- {}\n{}", process.name, self.tail(process.name)));
        sections.collect::<Vec<_>>().join("\n")
    }

    fn tail(&self, name: &str) -> String {
        let path = self.log(name);
        match std::fs::read(&path) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                let lines: Vec<&str> = text.lines().collect();
                lines.split_at(lines.len().saturating_sub(TAIL)).1.join("\n")
            }
            Err(error) => format!("({} cannot be read: {error})", path.display()),
        }
    }

    fn tell_guardian(&mut self, verb: &str, pid: u32) -> Result<(), Error> {
        match &mut self.pipe {
            Some(pipe) => writeln!(pipe, "{verb} {pid}").map_err(Error::io("reach the guardian")),
            None => Ok(()),
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        // All at once first: none of them shall see another one disappear and complain for long.
        for process in &mut self.running {
            // It fails for what has ended already, which is what is wanted.
            let _ = process.child.kill();
        }
        for mut process in std::mem::take(&mut self.running) {
            if process.child.wait().is_ok() {
                let _ = self.tell_guardian("forget", process.child.id());
            }
        }
        drop(self.pipe.take());
        // It removes the folder, then exits; nothing could be done if that failed.
        let _ = self.guardian.wait();
    }
}
