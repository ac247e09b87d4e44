//! Puts on record when a grant comes into force and when it ends, and keeps its status current.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::request::{CallError, Failure, within};
use crate::cluster::grants::{Board, Known};
use crate::gate::{Grant, GrantError, PolicyGrant, PolicyGrantStatus};
use crate::ledger::{Ledger, Outcome, Record, Subject};

/// A failed write is tried again after this long.
const RETRY: Duration = Duration::from_secs(1);
/// With nothing to wait for, grants are looked at this often.
const LONGEST_SLEEP: Duration = Duration::from_mins(1);
/// The manager of the status fields.
const STATUS_MANAGER: &str = "headgate-sync";
/// The condition that says whether a grant is in force.
const ACTIVE: &str = "Active";

/// Tells the ledger and the grants' status about grants.
pub(super) struct Registrar {
    api: Api<PolicyGrant>,
    board: watch::Receiver<Arc<Board>>,
    ledger: Ledger,
    patience: Duration,
    /// What was in force when it was looked at last, by uid.
    live: BTreeMap<String, Grant>,
    /// What this process wrote of each grant, by uid: the watch brings it back later.
    written: BTreeMap<String, PolicyGrantStatus>,
}

/// How a grant stands.
struct Standing {
    status: &'static str,
    reason: &'static str,
    message: String,
}

impl Registrar {
    pub(super) fn new(client: Client, board: watch::Receiver<Arc<Board>>, ledger: Ledger, patience: Duration) -> Self {
        Self {
            api: Api::all(client),
            board,
            ledger,
            patience,
            live: BTreeMap::new(),
            written: BTreeMap::new(),
        }
    }

    /// Works until cancelled.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let board = Arc::clone(&self.board.borrow_and_update());
            let failed = tokio::select! {
                () = shutdown.cancelled() => return,
                failed = self.look(&board) => failed,
            };
            let now = Timestamp::now();
            let next = board.grants.next_end(now).map_or(LONGEST_SLEEP, |end| {
                Duration::try_from(end.duration_since(now)).unwrap_or_default() + Duration::from_millis(1)
            });
            let sleep = if failed { RETRY } else { next.min(LONGEST_SLEEP) };
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = self.board.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// Whether something has to be tried again.
    async fn look(&mut self, board: &Board) -> bool {
        let now = Timestamp::now();
        let mut failed = false;
        for (name, known) in &board.known {
            let Some(uid) = known.object.metadata.uid.as_deref() else {
                continue;
            };
            let before = self.written.get(uid).or(known.object.status.as_ref()).cloned();
            self.record(uid, known, before.as_ref(), now);
            let status = status_of(known, before.as_ref(), now);
            if before.as_ref() == Some(&status) || known.object.metadata.deletion_timestamp.is_some() {
                continue;
            }
            match self.write(name, uid, &status).await {
                Ok(()) => {
                    self.written.insert(uid.to_owned(), status);
                }
                Err(error) if error.failure() == Failure::NotFound => {}
                Err(error) => {
                    tracing::warn!(grant = name, %error, "cannot write the grant's status; trying again");
                    failed = true;
                }
            }
        }
        if board.is_listed {
            self.forget_deleted(board);
        }
        failed
    }

    /// A grant is put on record once when it comes into force and once when it ends; a process that takes over goes by the status.
    fn record(&mut self, uid: &str, known: &Known, before: Option<&PolicyGrantStatus>, now: Timestamp) {
        let said = before
            .and_then(|status| active(&status.conditions))
            .map(|active| active.status.as_str());
        match &known.grant {
            Ok(grant) if grant.is_live(now) => {
                if self.live.insert(uid.to_owned(), grant.clone()).is_none() && said != Some("True") {
                    self.tell(grant, Outcome::Granted, "created", "is in force");
                }
            }
            Ok(grant) => {
                let was_live = self.live.remove(uid).is_some() || said == Some("True");
                if said.is_none() && !was_live {
                    // It came and went while nobody led.
                    self.tell(grant, Outcome::Granted, "created", "was in force");
                }
                if was_live || said.is_none() {
                    self.tell(grant, Outcome::Ended, "expired", "ended at its time");
                }
            }
            Err(GrantError::Deleted) => {
                if let Some(grant) = self.live.remove(uid) {
                    self.tell(&grant, Outcome::Ended, "deleted", "was deleted");
                }
            }
            Err(_) => {}
        }
    }

    fn forget_deleted(&mut self, board: &Board) {
        let is_there = |uid: &str| {
            let mut known = board.known.values();
            known.any(|known| known.object.metadata.uid.as_deref() == Some(uid))
        };
        self.written.retain(|uid, _| is_there(uid));
        let gone: Vec<String> = self.live.keys().filter(|uid| !is_there(uid)).cloned().collect();
        for grant in gone.iter().filter_map(|uid| self.live.remove(uid)).collect::<Vec<_>>() {
            self.tell(&grant, Outcome::Ended, "deleted", "was deleted");
        }
    }

    fn tell(&self, grant: &Grant, outcome: Outcome, reason: &'static str, what: &str) {
        let message = format!(
            "Break-glass grant {} of {} {what}: {} ({}).",
            grant.name,
            grant.requested_by,
            grant.summary(),
            grant.reason
        );
        self.ledger.record(Record {
            grant: Some(grant.into()),
            ..Record::new(Timestamp::now(), Subject::Grant, outcome, reason, message)
        });
    }

    async fn write(&self, name: &str, uid: &str, status: &PolicyGrantStatus) -> Result<(), CallError> {
        let patch = Patch::Apply(json!({
            "apiVersion": PolicyGrant::api_version(&()),
            "kind": PolicyGrant::kind(&()),
            "metadata": {"name": name, "uid": uid},
            "status": status,
        }));
        let params = PatchParams::apply(STATUS_MANAGER).force();
        let call = self.api.patch_status(name, &params, &patch);
        within(self.patience, call).await.map(drop)
    }
}

fn active(conditions: &[Condition]) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == ACTIVE)
}

fn status_of(known: &Known, before: Option<&PolicyGrantStatus>, now: Timestamp) -> PolicyGrantStatus {
    let standing = standing(known, now);
    let since = before
        .and_then(|status| active(&status.conditions))
        .filter(|condition| condition.status == standing.status)
        .map(|condition| condition.last_transition_time.clone());
    let whole_second = |at: Timestamp| Time(Timestamp::from_second(at.as_second()).unwrap_or(at));
    let grant = known.grant.as_ref().ok();
    PolicyGrantStatus {
        ends_at: grant.map(|grant| whole_second(grant.ends)),
        objects: grant.map(Grant::summary).unwrap_or_default(),
        conditions: vec![Condition {
            type_: ACTIVE.to_owned(),
            status: standing.status.to_owned(),
            reason: standing.reason.to_owned(),
            message: standing.message,
            observed_generation: known.object.metadata.generation,
            last_transition_time: since.unwrap_or_else(|| whole_second(now)),
        }],
    }
}

fn standing(known: &Known, now: Timestamp) -> Standing {
    match &known.grant {
        Ok(grant) if grant.is_live(now) => Standing {
            status: "True",
            reason: "InForce",
            message: format!(
                "{} may write these objects without Git; they are not healed.",
                grant.requested_by
            ),
        },
        Ok(_) => Standing {
            status: "False",
            reason: "Expired",
            message: "Its time is over.".to_owned(),
        },
        Err(error) => Standing {
            status: "False",
            reason: "Unusable",
            message: format!("It covers nothing: {error}."),
        },
    }
}
