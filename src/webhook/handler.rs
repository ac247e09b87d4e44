//! From the body of a review to its answer: read, decide, ask Git once more before a refusal, record, answer.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{self, Query};
use axum::http::{Request as HttpRequest, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;

use super::desk::{Desk, Place};
use super::metrics::WebhookMetrics;
use super::witness;
use crate::cluster::{Grants, Namespaces};
use crate::gate::answer::{audit_annotations, bare_annotations};
use crate::gate::decision::{Basis, Lenience, Reason, Verdict, decide, refuse};
use crate::gate::grant::is_calicos_server;
use crate::gate::wording::{self, Findings, Unread};
use crate::gate::{Answer, GrantSet, NamespaceDeletion, Operation, Request, Rules, State, Subject};
use crate::ledger::{Ledger, Outcome, Record, Subject as RecordSubject};
use crate::policy::deployer::{whose_marks, without_marks};
use crate::policy::{Deployer, Difference, differences};
use crate::source::{DesiredState, Keeper, Refresh, edit_url};

/// The longest a request about to be refused waits for a fetch.
pub(super) const REFRESH_PATIENCE: Duration = Duration::from_secs(2);
/// The longest a delete about to be refused waits for a look at its namespace.
const NAMESPACE_PATIENCE: Duration = Duration::from_millis(500);
/// The time in which the API server wants an answer where it does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest a refusal waits for the declared object; without it, it shows no fields.
const READ_PATIENCE: Duration = Duration::from_millis(300);
/// The API server's own limit for webhooks.
const LONGEST_PATIENCE: Duration = Duration::from_secs(30);
/// How much earlier than the API server Headgate gives up, so that the refusal carries its own words.
const MARGIN: Duration = Duration::from_secs(1);

/// Calico's API server writes what people ask of it under its own name.
const UNKNOWN_ACTOR: &str = "unknown (via calico-apiserver)";

/// What the handler needs.
pub struct Gate {
    /// What Git declares.
    pub keeper: Keeper,
    /// The configuration.
    pub rules: Arc<Rules>,
    /// Who may step around Git for a while.
    pub grants: Grants,
    /// Which namespaces are going.
    pub namespaces: Namespaces,
    /// Where verdicts are recorded.
    pub ledger: Ledger,
    /// What is counted.
    pub metrics: WebhookMetrics,
}

/// What a request and the cluster have that the file has not, and the other way round.
#[derive(Default)]
struct Compared {
    /// In the request.
    differences: Vec<Difference>,
    /// In the cluster, before the request.
    in_cluster: Vec<Difference>,
    /// Whose tracking marks are in the request, where the source names that deployer not.
    marks_of: Option<Deployer>,
}

/// The API server tells its own deadline in the query, as in `timeout=10s`.
#[derive(Debug, Default, Deserialize)]
pub struct Deadline {
    timeout: Option<String>,
}

impl Deadline {
    fn patience(&self) -> Duration {
        let told = self
            .timeout
            .as_deref()
            .and_then(|text| humantime::parse_duration(text).ok());
        told.unwrap_or(DEFAULT_TIMEOUT)
            .saturating_sub(MARGIN)
            .clamp(Duration::from_millis(500), LONGEST_PATIENCE)
    }
}

/// Answers a review.
pub(super) async fn validate(
    extract::State(desk): extract::State<Arc<Desk>>,
    Query(deadline): Query<Deadline>,
    request: HttpRequest<Body>,
) -> Response {
    let arrived = Instant::now();
    let patience = deadline.patience();
    let gate = Arc::clone(&desk.gate);
    let body = match desk.receive(request, patience).await {
        Ok(body) => body,
        Err((status, why)) => return gate.without_review(status, why),
    };
    let left = patience.saturating_sub(arrived.elapsed());
    let Some(place) = desk.place(body.len(), left).await else {
        return gate.without_review(StatusCode::SERVICE_UNAVAILABLE, "too many large reviews at once");
    };
    let request = match Request::read(&body) {
        Ok(request) => request,
        Err((Some(uid), error)) => return json(&gate.cannot_judge(uid, &error.to_string(), None, false)),
        Err((None, error)) => return gate.without_review(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    drop(body);
    // A task of its own, which ends within the patience: if the API server hangs up meanwhile, the verdict is recorded
    // all the same.
    let judging = tokio::spawn({
        let (gate, in_flight) = (Arc::clone(&gate), gate.metrics.begun());
        async move {
            let _in_flight = in_flight;
            gate.answer(request, place, arrived, patience).await
        }
    });
    let Ok(answer) = judging.await else {
        return gate.without_review(StatusCode::INTERNAL_SERVER_ERROR, "judging failed inside Headgate");
    };
    gate.metrics.answered(arrived.elapsed());
    json(&answer)
}

impl Gate {
    /// The answer to a request that could be read.
    async fn answer(&self, request: Request, mut place: Place, arrived: Instant, patience: Duration) -> Answer {
        let uid = request.uid.clone();
        let dry_run = request.dry_run;
        let user = request.user.clone();
        if let Some(trusted) = witness::about(&request) {
            if let Some(record) = witness::record(trusted, &request, Timestamp::now()) {
                self.ledger.record(record);
            }
            return Answer::allow(uid, Vec::new(), BTreeMap::new());
        }
        if let Some(deletion) = NamespaceDeletion::of(&request) {
            let deadline = patience.saturating_sub(arrived.elapsed());
            let judged = tokio::time::timeout(deadline, self.judge_namespace(&deletion, arrived)).await;
            return judged.unwrap_or_else(|_| {
                let why = format!("Namespace {} was not judged within {patience:?}", deletion.name);
                self.refuse_as(Reason::Internal, uid, &why, Some(user), dry_run)
            });
        }
        let subject = match Subject::new(request) {
            Ok(subject) => subject,
            Err(error) => return self.cannot_judge(uid, &error.to_string(), Some(user), dry_run),
        };
        let deadline = patience.saturating_sub(arrived.elapsed());
        if let Ok(answer) = tokio::time::timeout(deadline, self.judge(&subject, &mut place, arrived)).await {
            answer
        } else {
            let why = format!("{} was not judged within {patience:?}", subject.key.label());
            self.refuse_as(Reason::Internal, uid, &why, Some(user), dry_run)
        }
    }

    async fn judge(&self, subject: &Subject, place: &mut Place, arrived: Instant) -> Answer {
        let terminating = self.namespaces.terminating();
        let grants = self.grants.current();
        let desired = self.keeper.desired();
        let verdict = self.decide(subject, &desired, &grants, &terminating);
        if verdict.reason.rests_on_head() || verdict.reason.may_change_with_head() {
            // A replica that knows of a newer commit does not decide by the older one.
            let awaited = self.awaited(desired.covering(&subject.key));
            if !awaited.is_empty() {
                // A courtesy to others. Where there is no room aside, it waits all the same: the older head may allow
                // what the newer one refuses.
                let _ = place.step_aside();
                self.keeper.catch_up(&awaited).await;
                // All of it may be another by now.
                let (terminating, grants) = (self.namespaces.terminating(), self.grants.current());
                let desired = self.keeper.desired();
                let verdict = self.decide(subject, &desired, &grants, &terminating);
                return self.judge_by(subject, &desired, verdict, place, arrived).await;
            }
        }
        self.judge_by(subject, &desired, verdict, place, arrived).await
    }

    /// Concludes with a verdict that lets the request pass; before a refusal, looks whether Git or its namespace's end
    /// would change it.
    async fn judge_by(
        &self,
        subject: &Subject,
        desired: &DesiredState,
        verdict: Verdict<'_>,
        place: &mut Place,
        arrived: Instant,
    ) -> Answer {
        if verdict.reason.allows() {
            return self.conclude(subject, &verdict, Unread::Nothing).await;
        }
        // Those who pass need the room that somebody who waits would take.
        let may_wait = place.step_aside();
        if let Some(answer) = self.goes_with_its_namespace(subject, desired).await {
            return answer;
        }
        if !verdict.reason.may_change_with_head() {
            return self.conclude(subject, &verdict, Unread::Nothing).await;
        }
        let nobody_waits = verdict.lenience == Some(Lenience::Audit);
        let refreshed = self.refresh(subject, desired, arrived, may_wait && !nobody_waits).await;
        let terminating = self.namespaces.terminating();
        let grants = self.grants.current();
        let desired = self.keeper.desired();
        let verdict = self.decide(subject, &desired, &grants, &terminating);
        let unread = match refreshed {
            // In Audit nobody waited for it.
            Refresh::NotRefreshed(_) if nobody_waits => Unread::Nothing,
            Refresh::NotRefreshed(_) if !may_wait => Unread::TooManyWait,
            Refresh::NotRefreshed(sources) => Unread::of(&sources, verdict.source),
            Refresh::Fresh => Unread::Nothing,
        };
        self.conclude(subject, &verdict, unread).await
    }

    fn decide<'a>(
        &'a self,
        subject: &'a Subject,
        desired: &'a DesiredState,
        grants: &'a GrantSet,
        terminating: &'a HashSet<String>,
    ) -> Verdict<'a> {
        decide(subject, self.basis(desired, grants, terminating))
    }

    pub(super) fn basis<'a>(
        &'a self,
        desired: &'a DesiredState,
        grants: &'a GrantSet,
        terminating: &'a HashSet<String>,
    ) -> Basis<'a> {
        Basis {
            desired,
            rules: &self.rules,
            grants,
            terminating,
            now: Timestamp::now(),
        }
    }

    /// The watch may lag behind a namespace's end, and refusing its teardown would leave it hanging.
    async fn goes_with_its_namespace(&self, subject: &Subject, desired: &DesiredState) -> Option<Answer> {
        let namespace = subject
            .key
            .namespace()
            .filter(|_| subject.operation == Operation::Delete)?;
        if !self.namespaces.is_terminating_now(namespace, NAMESPACE_PATIENCE).await {
            return None;
        }
        let terminating = HashSet::from([namespace.to_owned()]);
        let grants = GrantSet::default();
        let verdict = self.decide(subject, desired, &grants, &terminating);
        if !verdict.reason.allows() {
            return None;
        }
        Some(self.conclude(subject, &verdict, Unread::Nothing).await)
    }

    /// Before a refusal, one shared fetch that started after the request arrived. In `Audit` nobody waits for it.
    async fn refresh(&self, subject: &Subject, desired: &DesiredState, arrived: Instant, waits: bool) -> Refresh {
        let sources: Vec<Arc<str>> = desired
            .covering(&subject.key)
            .map(|source| Arc::clone(&source.name))
            .collect();
        let left = REFRESH_PATIENCE.saturating_sub(arrived.elapsed());
        let patience = if waits { left } else { Duration::ZERO };
        self.keeper.refresh(&sources, arrived, patience).await
    }

    async fn conclude(&self, subject: &Subject, verdict: &Verdict<'_>, unread: Unread) -> Answer {
        self.metrics.judged(subject.operation, verdict, subject.dry_run);
        let annotations = audit_annotations(subject, verdict);
        let uid = subject.uid.clone();
        if verdict.reason.allows() {
            let sentence = wording::sentence(subject, verdict);
            let warnings = match verdict.grant {
                Some((grant, overruled)) => vec![wording::break_glass(subject, grant, overruled)],
                None if verdict.reason == Reason::Uncovered => vec![sentence.clone()],
                None => Vec::new(),
            };
            if verdict.reason.is_remarkable() {
                let compared = self.compare(subject, verdict).await;
                self.record(subject, verdict, compared.differences, sentence);
            }
            return Answer::allow(uid, warnings, annotations);
        }
        let Compared {
            differences,
            in_cluster,
            marks_of,
        } = self.compare(subject, verdict).await;
        let edit_url = verdict.declared.and_then(|declared| {
            edit_url(
                &declared.source.settings,
                &declared.snapshot.commit.id,
                &declared.entry.path,
            )
        });
        let findings = Findings {
            differences: &differences,
            in_cluster: &in_cluster,
            marks_of,
            unread: &unread,
            edit_url: edit_url.as_deref(),
            now: Timestamp::now(),
        };
        let text = wording::denial(subject, verdict, findings);
        self.record(subject, verdict, differences, wording::sentence(subject, verdict));
        if verdict.allowed {
            return Answer::allow(uid, vec![wording::would_deny(verdict.lenience, &text)], annotations);
        }
        Answer::deny(uid, text, annotations)
    }

    /// Request, cluster and file beside one another; nothing where the file cannot be read just now, for the verdict does
    /// not hang on it.
    async fn compare(&self, subject: &Subject, verdict: &Verdict<'_>) -> Compared {
        let reason = verdict.grant.map_or(verdict.reason, |(_, overruled)| overruled);
        let (Reason::Differs, Some(declared), Some(new)) = (reason, verdict.declared, &subject.new) else {
            return Compared::default();
        };
        let reading = self.keeper.manifest(&declared.source.name, declared.entry);
        let read = tokio::time::timeout(READ_PATIENCE, reading).await;
        match read.unwrap_or_else(|_| Err(format!("it takes longer than {READ_PATIENCE:?}"))) {
            Ok(manifest) => {
                let (kind, deployer) = (subject.key.kind(), declared.source.settings.deployer);
                let from_git = |state: &State| {
                    let form = &state.canonical.form;
                    differences(&manifest.form, &without_marks(kind, &manifest.form, form, deployer))
                };
                Compared {
                    differences: from_git(new),
                    in_cluster: subject.old.as_ref().map(from_git).unwrap_or_default(),
                    marks_of: whose_marks(kind, &manifest.form, &new.canonical.form, deployer),
                }
            }
            Err(error) => {
                tracing::warn!(error, key = %subject.key, "the declared object cannot be read; the refusal shows no fields");
                Compared::default()
            }
        }
    }

    fn record(&self, subject: &Subject, verdict: &Verdict<'_>, differences: Vec<Difference>, message: String) {
        let outcome = outcome(verdict);
        let head = verdict.source.and_then(|source| source.head.as_ref());
        self.ledger.record(Record {
            user: Some(subject.user.clone()),
            actor: is_calicos_server(&subject.user, &subject.api_group).then(|| UNKNOWN_ACTOR.to_owned()),
            grant: verdict.grant.map(|(grant, _)| grant.into()),
            operation: Some(subject.operation),
            key: Some(subject.key.clone()),
            api_group: Some(subject.api_group.clone()),
            dry_run: subject.dry_run,
            review: Some(subject.uid.clone()),
            source: verdict.source.map(|source| source.name.to_string()),
            commit: head.map(|head| head.commit.id.clone()),
            path: verdict.declared.map(|declared| declared.entry.path.to_string()),
            digest: subject.judged().map(|state| state.digest),
            declared: verdict.declared.map(|declared| declared.entry.digest),
            differences,
            ..Record::new(
                Timestamp::now(),
                RecordSubject::Verdict,
                outcome,
                verdict.reason.as_str(),
                message,
            )
        });
    }

    fn cannot_judge(&self, uid: String, why: &str, user: Option<crate::gate::User>, dry_run: bool) -> Answer {
        self.refuse_as(Reason::Unreadable, uid, why, user, dry_run)
    }

    /// A refusal about whose object nothing is known.
    fn refuse_as(
        &self,
        reason: Reason,
        uid: String,
        why: &str,
        user: Option<crate::gate::User>,
        dry_run: bool,
    ) -> Answer {
        let verdict = refuse(reason, &self.rules);
        self.metrics.not_judged(reason, verdict.allowed);
        let text = wording::denial_without_subject(why);
        let outcome = if verdict.allowed {
            Outcome::WouldDeny
        } else {
            Outcome::Denied
        };
        self.ledger.record(Record {
            user,
            dry_run,
            review: Some(uid.clone()),
            ..Record::new(
                Timestamp::now(),
                RecordSubject::Verdict,
                outcome,
                reason.as_str(),
                text.clone(),
            )
        });
        let annotations = bare_annotations(reason);
        if verdict.allowed {
            return Answer::allow(uid, vec![wording::would_deny(verdict.lenience, &text)], annotations);
        }
        Answer::deny(uid, text, annotations)
    }

    /// Without a uid there is no review to answer: the HTTP status refuses, whatever the mode.
    fn without_review(&self, status: StatusCode, why: &str) -> Response {
        self.metrics.not_judged(Reason::Unreadable, false);
        let text = wording::denial_without_subject(why);
        let now = Timestamp::now();
        self.ledger.record(Record::new(
            now,
            RecordSubject::Verdict,
            Outcome::Denied,
            Reason::Unreadable.as_str(),
            text.clone(),
        ));
        (status, text).into_response()
    }
}

pub(super) fn outcome(verdict: &Verdict<'_>) -> Outcome {
    match (verdict.allowed, verdict.reason.allows()) {
        (true, true) => Outcome::Allowed,
        (true, false) => Outcome::WouldDeny,
        (false, _) => Outcome::Denied,
    }
}

fn json(answer: &Answer) -> Response {
    match serde_json::to_vec(answer) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
