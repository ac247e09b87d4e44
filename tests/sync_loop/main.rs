//! The loop against a real API server: what it writes, what it leaves alone, and how fast.
//!
//! All tests share one control plane; each has a repository, a source and a namespace of its own.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "tests print what they measured, and look into JSON that is not there as null"
)]

#[path = "../controlplane/mod.rs"]
mod controlplane;
#[path = "../stand/repository.rs"]
#[allow(
    dead_code,
    reason = "every program that includes this module uses another part of it"
)]
mod repository;

mod calico;
mod commits;
mod deployers;
mod drift;
mod election;
mod exactness;
mod harness;
mod history;
mod pace;
mod progress;
mod refusals;
mod removal;
mod safety;
mod scopes;
mod signatures;
mod teams;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Outcome = Result<(), Failure>;
