//! What the ledger is told about a write.

use jiff::Timestamp;

use crate::gate::Operation;
use crate::ledger::{Outcome, Record, Subject};
use crate::sync::apply::{Done, Job, WriteError};
use crate::sync::plan::{DeleteReason, Finding, Step};
use crate::sync::request::Failure;

/// The record of a write that was made.
pub(super) fn change(job: &Job, finding: &Finding, done: &Done) -> Record {
    let (outcome, reason, what) = match &job.step {
        Step::Create => (Outcome::Created, "missing", "was missing; created as Git declares it"),
        Step::Replace { .. } => (
            Outcome::Replaced,
            "changed",
            "differed from Git; replaced with what Git declares",
        ),
        Step::Delete { reason, .. } => match reason {
            DeleteReason::Undeclared => (Outcome::Deleted, "undeclared", "is not in Git; deleted"),
            DeleteReason::Misplaced => (Outcome::Deleted, "misplaced", "is stored under a forged name; deleted"),
            DeleteReason::SourceRemoved => (
                Outcome::Deleted,
                "source-removed",
                "belonged to a removed source; deleted",
            ),
        },
    };
    let message = format!("{} {what}.", job.key.label());
    let mut record = about(job, finding, outcome, reason, message);
    record.digest = done.before.or(record.digest);
    record.differences.clone_from(&done.differences);
    record
}

/// The record of a write that failed.
pub(super) fn failure(job: &Job, finding: &Finding, failure: Failure, error: &WriteError) -> Record {
    let reason = match (failure, error) {
        (_, WriteError::Altered(_)) => "altered",
        (Failure::NotFound, _) => "not-found",
        (Failure::Conflict, _) => "conflict",
        (Failure::Denied, _) => "denied",
        (Failure::NotPermitted, _) => "not-permitted",
        (Failure::Invalid, _) => "invalid",
        (Failure::Unavailable, _) => "unavailable",
    };
    let verb = match &job.step {
        Step::Create => "created",
        Step::Replace { .. } => "replaced",
        Step::Delete { .. } => "deleted",
    };
    let message = format!("{} could not be {verb}: {error}", job.key.label());
    about(job, finding, Outcome::Failed, reason, message)
}

fn about(job: &Job, finding: &Finding, outcome: Outcome, reason: &'static str, message: String) -> Record {
    let mut record = Record::new(Timestamp::now(), Subject::Change, outcome, reason, message);
    record.key = Some(job.key.clone());
    record.operation = Some(match &job.step {
        Step::Create => Operation::Create,
        Step::Replace { .. } => Operation::Update,
        Step::Delete { .. } => Operation::Delete,
    });
    record.api_group = Some(job.served.write.group.clone());
    record.digest = finding.live;
    if let Some(declaration) = &finding.declaration {
        record.source = Some(declaration.source.to_string());
        record.commit = Some(declaration.commit.clone());
        record.path = Some(declaration.entry.path.to_string());
        record.declared = Some(declaration.entry.digest);
    } else {
        record.source = finding.sources.first().map(ToString::to_string);
    }
    record
}
