//! One call to the API server: bounded in time, its failure classified by kind.

use std::future::Future;
use std::time::Duration;

use axum::http;
use kube::Client;
use kube::api::{DeleteParams, GetParams, PostParams};
use kube::core::response::StatusDetails;
use kube::core::{ApiResource, Request, request};
use serde_json::Value;

use crate::policy::Key;

/// The name under which the loop's writes stand in `managedFields`.
pub const FIELD_MANAGER: &str = "headgate";

/// Why a call to the API server did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No answer in time. The client itself never gives up on reading.
    #[error("the API server did not answer within {}", humantime::format_duration(*.0))]
    TimedOut(Duration),
    /// The API server's own error, or the way to it failed.
    #[error("{}", plain(.0))]
    Answer(#[source] kube::Error),
}

/// What a failed write asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The object, its namespace or its kind is not there (any more).
    NotFound,
    /// Someone else wrote in between, or it exists already.
    Conflict,
    /// An admission webhook or policy refused: a replica of the gate may not be at this head yet.
    Denied,
    /// The loop's identity lacks a permission.
    NotPermitted,
    /// The API server refuses the object as such.
    Invalid,
    /// No answer, or an answer that says "later".
    Unavailable,
}

impl CallError {
    /// What the failure asks for. By status code and structure, never by text.
    pub fn failure(&self) -> Failure {
        let Self::Answer(kube::Error::Api(status)) = self else {
            return Failure::Unavailable;
        };
        let details = status.details.as_ref();
        match status.code {
            404 | 410 => Failure::NotFound,
            409 => Failure::Conflict,
            // The authoriser says what was asked for; an admission webhook's own result has no details.
            403 if details.is_some_and(names_a_terminating_namespace) => Failure::NotFound,
            // An admission policy names the object as the authoriser does, and gives a cause, which that never does.
            403 if details.is_some_and(|details| !details.causes.is_empty()) => Failure::Denied,
            403 if details.is_some_and(|details| !details.kind.is_empty()) => Failure::NotPermitted,
            403 => Failure::Denied,
            401 => Failure::NotPermitted,
            400 | 405 | 413 | 415 | 422 => Failure::Invalid,
            _ => Failure::Unavailable,
        }
    }

    /// Whether the answer was 404.
    pub fn is_not_found(&self) -> bool {
        self.failure() == Failure::NotFound
    }
}

/// What the namespace lifecycle answers to a CREATE while the namespace goes.
fn names_a_terminating_namespace(details: &StatusDetails) -> bool {
    details
        .causes
        .iter()
        .any(|cause| cause.reason == "NamespaceTerminating")
}

/// The message without the debug form that the client adds to it.
fn plain(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        kube::Error::Api(status) => format!("the API server answered {} {}", status.code, status.reason),
        kube::Error::Service(source) => format!("the API server cannot be reached: {source}"),
        other => other.to_string(),
    }
}

/// Waits for a call, and not for ever.
///
/// # Errors
/// When it failed or took too long.
pub async fn within<T>(patience: Duration, call: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    match tokio::time::timeout(patience, call).await {
        Ok(answer) => answer.map_err(CallError::Answer),
        Err(_) => Err(CallError::TimedOut(patience)),
    }
}

/// Calls on one object through one API, objects as plain JSON so that nothing of them is lost.
pub(super) struct Calls<'a> {
    pub(super) client: &'a Client,
    pub(super) api: &'a ApiResource,
    pub(super) patience: Duration,
}

impl Calls<'_> {
    /// Reads an object by the name it is stored under.
    pub(super) async fn get(&self, place: &Key) -> Result<Value, CallError> {
        self.send(self.path(place).get(place.name(), &GetParams::default()))
            .await
    }

    /// Creates an object.
    pub(super) async fn create(&self, place: &Key, object: &Value) -> Result<Value, CallError> {
        let request = self.path(place).create(&post_params(), body(object)?);
        self.send(request.map(strictly)).await
    }

    /// Replaces an object as a whole.
    pub(super) async fn replace(&self, place: &Key, object: &Value) -> Result<Value, CallError> {
        let request = self.path(place).replace(place.name(), &post_params(), body(object)?);
        self.send(request.map(strictly)).await
    }

    /// Deletes exactly the state of an object that was judged.
    pub(super) async fn delete(&self, place: &Key, params: &DeleteParams) -> Result<Value, CallError> {
        self.send(self.path(place).delete(place.name(), params)).await
    }

    fn path(&self, place: &Key) -> Request {
        let namespace = place.namespace().map(|namespace| format!("namespaces/{namespace}/"));
        let root = if self.api.group.is_empty() { "/api" } else { "/apis" };
        Request::new(format!(
            "{root}/{}/{}{}",
            self.api.api_version,
            namespace.unwrap_or_default(),
            self.api.plural
        ))
    }

    async fn send(&self, request: Result<http::Request<Vec<u8>>, request::Error>) -> Result<Value, CallError> {
        let request = request.map_err(|error| CallError::Answer(kube::Error::BuildRequest(error)))?;
        within(self.patience, self.client.request(request)).await
    }
}

fn post_params() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

fn body(object: &Value) -> Result<Vec<u8>, CallError> {
    serde_json::to_vec(object).map_err(|error| CallError::Answer(kube::Error::SerdeError(error)))
}

/// An unknown field is an error and not silently dropped; the client's own parameters cannot say so.
fn strictly(mut request: http::Request<Vec<u8>>) -> http::Request<Vec<u8>> {
    let uri = format!("{}&fieldValidation=Strict", request.uri());
    if let Ok(uri) = uri.parse() {
        *request.uri_mut() = uri;
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(status: Value) -> Result<Failure, serde_json::Error> {
        let status = serde_json::from_value(status)?;
        Ok(CallError::Answer(kube::Error::Api(Box::new(status))).failure())
    }

    #[test]
    fn a_denial_by_the_gate_is_told_from_a_missing_permission() -> Result<(), serde_json::Error> {
        let denied = json!({"code": 403, "reason": "Forbidden", "message": "differs from Git"});
        let not_permitted = json!({"code": 403, "reason": "Forbidden", "message": "differs from Git",
            "details": {"group": "networking.k8s.io", "kind": "networkpolicies"}});
        assert_eq!(answer(denied)?, Failure::Denied);
        assert_eq!(answer(not_permitted)?, Failure::NotPermitted);
        Ok(())
    }

    #[test]
    fn a_denial_by_an_admission_policy_is_told_from_a_missing_permission() -> Result<(), serde_json::Error> {
        let denied = json!({"code": 403, "reason": "Forbidden", "details": {"kind": "networkpolicies",
            "causes": [{"message": "ValidatingAdmissionPolicy 'p' with binding 'p' denied request: no"}]}});
        assert_eq!(answer(denied)?, Failure::Denied);
        Ok(())
    }

    #[test]
    fn a_namespace_that_is_going_counts_as_not_there() -> Result<(), serde_json::Error> {
        let terminating = json!({"code": 403, "reason": "Forbidden", "details": {"kind": "networkpolicies",
            "causes": [{"reason": "NamespaceTerminating", "message": "", "field": "metadata.namespace"}]}});
        assert_eq!(answer(terminating)?, Failure::NotFound);
        Ok(())
    }

    #[test]
    fn what_says_later_is_tried_again_and_what_is_invalid_is_not_soon() -> Result<(), serde_json::Error> {
        for code in [429, 500, 503, 504] {
            assert_eq!(answer(json!({"code": code}))?, Failure::Unavailable);
        }
        for code in [400, 413, 422] {
            assert_eq!(answer(json!({"code": code}))?, Failure::Invalid);
        }
        assert_eq!(
            CallError::TimedOut(Duration::from_secs(1)).failure(),
            Failure::Unavailable
        );
        Ok(())
    }
}
