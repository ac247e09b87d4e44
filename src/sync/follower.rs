//! What a process does that waits to lead: where it finds a commit that the others may not know of, a push reached it and
//! not the leader for one, it announces that commit in the source's status. They fetch it themselves and judge it
//! themselves; nothing else of the status is this process's to write.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use super::request::{CallError, Failure, within};
use crate::source::{Keeper, PolicySource};

/// A failed write is tried again after this long.
const RETRY: Duration = Duration::from_secs(1);
/// The manager of this one field, until the leader writes it.
const MANAGER: &str = "headgate-sync-follower";

/// Announces what this process finds, until it is dropped. Ends only with the keeper.
pub(super) async fn announce(client: &Client, keeper: &Keeper, patience: Duration) {
    let api: Api<PolicySource> = Api::all(client.clone());
    let mut looks = keeper.reports();
    // Each commit once: where the leader refuses it, it does not stay in the status.
    let mut told: HashMap<Arc<str>, String> = HashMap::new();
    loop {
        let reports = looks.borrow_and_update().clone();
        told.retain(|name, _| reports.contains_key(name));
        let mut failed = false;
        for (name, report) in reports.iter() {
            let Some(commit) = report.found.as_ref().filter(|found| told.get(name) != Some(*found)) else {
                continue;
            };
            match write(&api, name, commit, patience).await {
                Ok(()) => {
                    tracing::info!(source = %name, %commit, "announced a commit to the other replicas");
                    told.insert(Arc::clone(name), commit.clone());
                }
                Err(error) if error.failure() == Failure::NotFound => {}
                Err(error) => {
                    tracing::warn!(source = %name, %error, "cannot announce a commit; trying again");
                    failed = true;
                }
            }
        }
        let retry = if failed { RETRY } else { Duration::MAX };
        if let Ok(Err(_)) = tokio::time::timeout(retry, looks.changed()).await {
            return;
        }
    }
}

async fn write(api: &Api<PolicySource>, name: &str, commit: &str, patience: Duration) -> Result<(), CallError> {
    let patch = Patch::Merge(json!({"status": {"announced": commit}}));
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    within(patience, api.patch_status(name, &params, &patch)).await?;
    Ok(())
}
