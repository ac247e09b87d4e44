//! Signatures that git itself makes and verifies, against what a source makes of them.

#[path = "../git_support/mod.rs"]
mod git_support;

mod chain;
mod hostile;
mod keys;
mod openpgp;
mod replicas;
mod ssh;
mod tags;
mod workshop;
