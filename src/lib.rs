//! Headgate makes Git the only source of network policy in a Kubernetes cluster.
//!
//! The rooms, each using only those before it: [`policy`] (kinds, canonical form, digest), [`source`] (Git to a
//! snapshot), [`gate`] (the decision), [`ledger`] (the record), [`webhook`], [`sync`], and the edge: [`cli`],
//! [`config`], [`telemetry`].

pub mod cluster;
pub mod gate;
pub mod ledger;
pub mod policy;
pub mod source;
pub mod webhook;
