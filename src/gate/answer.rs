//! The answer to a review, as the API server reads it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::decision::{Reason, Verdict};
use super::subject::Subject;

/// An `AdmissionReview` with a response.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    api_version: &'static str,
    kind: &'static str,
    response: Response,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    uid: String,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    audit_annotations: BTreeMap<&'static str, String>,
}

#[derive(Clone, Debug, Serialize)]
struct Status {
    #[serde(rename = "status")]
    outcome: &'static str,
    message: String,
    reason: &'static str,
    code: u16,
}

impl Answer {
    /// An answer that lets the request pass, with warnings for the person who made it.
    pub fn allow(uid: String, warnings: Vec<String>, annotations: BTreeMap<&'static str, String>) -> Self {
        Self::of(Response {
            uid,
            allowed: true,
            status: None,
            warnings,
            audit_annotations: annotations,
        })
    }

    /// An answer that refuses the request: 403 `Forbidden` with this text.
    pub fn deny(uid: String, message: String, annotations: BTreeMap<&'static str, String>) -> Self {
        let status = Status {
            outcome: "Failure",
            message,
            reason: "Forbidden",
            code: 403,
        };
        Self::of(Response {
            uid,
            allowed: false,
            status: Some(status),
            warnings: Vec::new(),
            audit_annotations: annotations,
        })
    }

    fn of(response: Response) -> Self {
        Self {
            api_version: "admission.k8s.io/v1",
            kind: "AdmissionReview",
            response,
        }
    }

    /// Whether the request passes.
    pub fn allowed(&self) -> bool {
        self.response.allowed
    }
}

/// What the API server's audit log gets to know of a verdict; the API server puts the webhook's name before each key.
pub fn audit_annotations(subject: &Subject, verdict: &Verdict<'_>) -> BTreeMap<&'static str, String> {
    let mut annotations = bare_annotations(verdict.reason);
    if let Some(state) = subject.judged() {
        annotations.insert("digest", state.digest.to_string());
    }
    if let Some(source) = verdict.source {
        annotations.insert("source", source.name.to_string());
        if let Some(head) = &source.head {
            annotations.insert("commit", head.commit.id.clone());
        }
    }
    if let Some(declared) = verdict.declared {
        annotations.insert("path", declared.entry.path.to_string());
    }
    if let Some((grant, _)) = verdict.grant {
        annotations.insert("grant", grant.name.clone());
    }
    if verdict.would_deny() {
        annotations.insert("would-deny", "true".to_owned());
    }
    annotations
}

/// The annotations of a verdict about which nothing else is known.
pub fn bare_annotations(reason: Reason) -> BTreeMap<&'static str, String> {
    [("reason", reason.as_str().to_owned())].into()
}
