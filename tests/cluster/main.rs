//! The whole product on a real API server: the program itself, a real repository, real kubectl.
//!
//! The tests share a control plane and take turns on it; each has a namespace and a folder of its own.

#![expect(clippy::indexing_slicing, reason = "an absent member of a JSON value reads as null")]

#[path = "../controlplane/mod.rs"]
mod controlplane;
#[path = "../stand/mod.rs"]
mod stand;

mod aggregated;
mod agreement;
mod calico;
mod certificates;
mod cold_start;
mod command_line;
mod crash;
mod deletes;
mod deployers;
mod exemptions;
mod export;
mod faults;
mod gate;
mod grants;
mod kinds;
mod kubectl;
mod modes;
mod namespaces;
mod own;
mod policies;
mod pushes;
mod record;
mod replicas;
mod siege;
mod signatures;
mod sources;
mod sync;
mod trust;

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use serde_json::json;
use stand::{Failure, Stand};

type Outcome = Result<(), Failure>;

/// The stand whose Headgate was installed from the chart, for whoever's turn it is.
fn stand() -> Result<MutexGuard<'static, Stand>, Failure> {
    static STAND: LazyLock<Result<Mutex<Stand>, String>> =
        LazyLock::new(|| installed().map(Mutex::new).map_err(|error| error.to_string()));
    let stand = STAND.as_ref().map_err(Clone::clone)?;
    Ok(stand.lock().unwrap_or_else(PoisonError::into_inner))
}

fn installed() -> Result<Stand, Failure> {
    let stand = Stand::new()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(stand.install_chart(&[]))?;
    // Something that is always declared, so that no test empties the repository.
    stand.kubectl(&["create", "namespace", "anchor"]).ok()?;
    stand
        .repository
        .write("policies/anchor/deny.yaml", &policies::default_deny("anchor"))?;
    let commit = stand.repository.commit("Deny everything in the anchor namespace")?;
    stand.add_source("platform", json!({"git": {"path": "policies"}, "maxRemovals": "90%"}))?;
    stand.until_ready_at("platform", &commit)?;
    Ok(stand)
}

/// A namespace whose only declared policy is a default deny, and that policy's commit applied.
fn denied_namespace(stand: &Stand, namespace: &str) -> Outcome {
    stand.kubectl(&["create", "namespace", namespace]).ok()?;
    stand.repository.write(
        &format!("policies/{namespace}/deny.yaml"),
        &policies::default_deny(namespace),
    )?;
    let commit = stand.repository.commit(&format!("Deny everything in {namespace}"))?;
    stand.until_ready_at("platform", &commit)
}
