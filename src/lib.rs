//! Headgate makes Git the only source of network policy in a Kubernetes cluster.
//!
//! The rooms, each using only those before it: [`policy`] (kinds, canonical form, digest), [`source`] (Git to a
//! snapshot), [`gate`] (the decision), [`ledger`] (the record), [`cluster`] (what is read from the Kubernetes API
//! besides guarded objects), [`webhook`], [`push`], [`sync`], and the edge: [`cli`], [`config`], [`telemetry`].

pub mod cli;
pub mod cluster;
pub mod config;
pub mod gate;
pub mod ledger;
pub mod policy;
pub mod push;
pub mod source;
pub mod sync;
pub mod telemetry;
pub mod webhook;
