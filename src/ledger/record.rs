//! One record: a verdict, or a change that the loop made.

use jiff::Timestamp;
use serde::Serialize;

use crate::gate::{Grant, Operation, User};
use crate::policy::{Difference, Digest, Key};

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// A verdict of the gate.
    Verdict,
    /// Something the loop wrote, or tried to.
    Change,
    /// A head that was accepted or refused.
    Head,
    /// A grant that came into force or ended.
    Grant,
    /// Who or what is trusted: a source, a Secret that one names, a grant, the configuration.
    Trust,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The gate let it pass.
    Allowed,
    /// The gate refused it.
    Denied,
    /// The gate let it pass, in `Audit` or as a dry run, and would have refused it otherwise.
    WouldDeny,
    /// The loop created the object; what is trusted is new.
    Created,
    /// The loop replaced the object.
    Replaced,
    /// What is trusted is another than before.
    Changed,
    /// The loop deleted the object; what was trusted is gone.
    Deleted,
    /// The loop's write failed.
    Failed,
    /// The commit is in force.
    Accepted,
    /// The commit is not in force.
    Refused,
    /// The grant is in force.
    Granted,
    /// The grant is no longer in force.
    Ended,
    /// Somebody asks the API server to change what is trusted. What came of it is told by the loop.
    Asked,
    /// A process started.
    Started,
}

/// A field of what is trusted, before and after.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The field, as `spec.git.url`.
    pub path: String,
    /// Its value before; none where there was none. Of a secret it is a mark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<serde_json::Value>,
    /// Its value now; none where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<serde_json::Value>,
}

fn cut(text: &mut String) {
    if text.len() > MAX_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text.push('…');
    }
}

impl Subject {
    /// The subject as metrics write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Verdict => "verdict",
            Self::Change => "change",
            Self::Head => "head",
            Self::Grant => "grant",
            Self::Trust => "trust",
        }
    }
}

impl Outcome {
    /// The outcome as metrics write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::WouldDeny => "would-deny",
            Self::Created => "created",
            Self::Replaced => "replaced",
            Self::Changed => "changed",
            Self::Deleted => "deleted",
            Self::Failed => "failed",
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Granted => "granted",
            Self::Ended => "ended",
            Self::Asked => "asked",
            Self::Started => "started",
        }
    }
}

/// A grant as records name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantMark {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Whom it covers.
    pub requested_by: String,
    /// Why it was made.
    pub reason: String,
    /// When it ends.
    pub ends: Timestamp,
}

impl From<&Grant> for GrantMark {
    fn from(grant: &Grant) -> Self {
        Self {
            name: grant.name.clone(),
            uid: grant.uid.clone(),
            requested_by: grant.requested_by.clone(),
            reason: grant.reason.clone(),
            ends: grant.ends,
        }
    }
}

/// A record for auditors: who, what, when, against which commit and file, which fields, dry run or not.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// When.
    pub time: Timestamp,
    /// What it is about.
    pub subject: Subject,
    /// How it went.
    pub outcome: Outcome,
    /// Why, from a closed list.
    pub reason: &'static str,
    /// Who asked; for the loop's own changes absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
    /// Who did it, where that is somebody else than who asked, or cannot be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// The grant that let it pass, or that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantMark>,
    /// What was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// The object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// The namespace that was to go, where the record is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// One of Headgate's own objects, as `validatingwebhookconfigurations.admissionregistration.k8s.io/headgate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The API group through which it was written, where a kind has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_group: Option<String>,
    /// Whether nothing was to be stored.
    pub dry_run: bool,
    /// The id of the admission review.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub review: Option<String>,
    /// The deciding source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The commit it was held against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The digest of what was asked for, or of what was live before the loop wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The digest that Git declares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub declared: Option<Digest>,
    /// The fields that differ from Git.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// What changed of what is trusted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// The generation of the source or grant that has these changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// One sentence for people.
    pub message: String,
}

/// So much of a text that the requester chose is kept, in bytes; nobody shall push older records out with long ones.
const MAX_TEXT: usize = 1024;
/// So many groups of a user are kept.
const MAX_GROUPS: usize = 64;
/// So much of a value that differs is kept, in bytes of JSON.
const MAX_VALUE: usize = 16 * 1024;
/// So much of a value of what is trusted is kept, in bytes of JSON: there may be a value for each of many fields.
const MAX_TRUSTED: usize = 4 * 1024;

fn cut_value(value: &mut serde_json::Value, most: usize) {
    let mut text = value.to_string();
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        *value = serde_json::Value::String(text + "…");
    }
}

impl Record {
    /// The same record without what is too long; what was cut ends in `…`.
    pub(super) fn bounded(mut self) -> Self {
        if let Some(user) = &mut self.user {
            cut(&mut user.username);
            user.groups.truncate(MAX_GROUPS);
            user.groups.iter_mut().for_each(cut);
        }
        self.review.iter_mut().for_each(cut);
        self.message.truncate(self.message.floor_char_boundary(4 * MAX_TEXT));
        self.actor.iter_mut().for_each(cut);
        let differences = self.differences.iter_mut();
        let values = differences.flat_map(|one| [&mut one.git, &mut one.other]);
        values.flatten().for_each(|value| cut_value(value, MAX_VALUE));
        let changes = self.changes.iter_mut().flat_map(|one| [&mut one.from, &mut one.to]);
        changes.flatten().for_each(|value| cut_value(value, MAX_TRUSTED));
        self
    }

    /// A record with nothing optional in it yet.
    pub fn new(time: Timestamp, subject: Subject, outcome: Outcome, reason: &'static str, message: String) -> Self {
        Self {
            time,
            subject,
            outcome,
            reason,
            message,
            user: None,
            actor: None,
            grant: None,
            operation: None,
            key: None,
            namespace: None,
            object: None,
            api_group: None,
            dry_run: false,
            review: None,
            source: None,
            commit: None,
            path: None,
            digest: None,
            declared: None,
            differences: Vec::new(),
            changes: Vec::new(),
            generation: None,
        }
    }
}
