//! One delivery: authenticated while its body arrives, answered, counted, and forgotten.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http_body_util::BodyExt as _;

use super::authentication::{Examination, Scheme, Token};
use super::metrics::{Outcome, PushMetrics};
use super::tokens::Tokens;
use crate::source::Keeper;

/// The largest delivery that is read, in bytes: what GitHub sends at most. None of it is kept.
pub const MAX_BODY: usize = 25 * 1024 * 1024;
/// The longest a delivery may take to arrive. GitHub and GitLab wait ten seconds for the answer.
const ARRIVAL_PATIENCE: Duration = Duration::from_secs(10);
/// Failed deliveries are told of in the log this often at most, with their number.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// What deliveries are held against, and whom they reach.
pub struct Receiver {
    keeper: Keeper,
    tokens: Tokens,
    metrics: PushMetrics,
    /// What is compared where there is no token.
    stand_in: Token,
    complaints: Mutex<Complaints>,
}

/// Failed deliveries since the log was told of them last.
#[derive(Default)]
struct Complaints {
    told: Option<Instant>,
    untold: u64,
}

impl Receiver {
    /// Takes deliveries for the sources of this keeper.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn new(keeper: Keeper, tokens: Tokens, metrics: PushMetrics) -> Result<Self, RandomError> {
        Ok(Self {
            keeper,
            tokens,
            metrics,
            stand_in: Token::random().ok_or(RandomError)?,
            complaints: Mutex::default(),
        })
    }

    async fn receive(&self, source: &str, request: Request) -> Outcome {
        let told = request.headers().get(header::CONTENT_LENGTH);
        let told = told.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if told.is_some_and(|length| length > MAX_BODY) {
            return Outcome::TooLarge;
        }
        let token = self.tokens.of(source);
        let (parts, body) = request.into_parts();
        let examination = Examination::begin(&parts.headers, token.as_deref(), &self.stand_in);
        let scheme = match tokio::time::timeout(ARRIVAL_PATIENCE, examined(examination, body)).await {
            Ok(Ok(scheme)) => scheme,
            Ok(Err(outcome)) => return outcome,
            Err(_) => return Outcome::Incomplete,
        };
        if let Some(scheme) = scheme {
            return self.accept(source, scheme);
        }
        self.complain(source, token.is_some());
        Outcome::Unauthenticated
    }

    fn accept(&self, source: &str, scheme: Scheme) -> Outcome {
        let is_fetched = self.keeper.urge(source);
        // The source is known, so its name is none that somebody made up.
        tracing::info!(source, ?scheme, is_fetched, "a push was delivered");
        if is_fetched {
            Outcome::Accepted
        } else {
            Outcome::NotFetched
        }
    }

    /// A delivery that failed is told of, and a flood of them in one line.
    fn complain(&self, source: &str, is_known: bool) {
        self.tokens.doubt(source);
        let mut complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        complaints.untold += 1;
        if complaints.told.is_some_and(|at| at.elapsed() < COMPLAIN_EVERY) {
            return;
        }
        complaints.told = Some(Instant::now());
        let failed = std::mem::take(&mut complaints.untold);
        let source = if is_known { source } else { "(none that takes pushes)" };
        tracing::warn!(
            source,
            failed,
            "deliveries failed to authenticate; the last was for this source"
        );
    }

    fn finish(&self, outcome: Outcome) -> Response {
        self.metrics.count(outcome);
        outcome.into_response()
    }
}

/// There are no random numbers to be had.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the push endpoint cannot start: the system has no random numbers")]
pub struct RandomError;

async fn examined(mut examination: Examination, mut body: Body) -> Result<Option<Scheme>, Outcome> {
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Outcome::Incomplete)?;
        let Some(data) = frame.data_ref() else { continue };
        length += data.len();
        if length > MAX_BODY {
            return Err(Outcome::TooLarge);
        }
        examination.update(data);
    }
    Ok(examination.end())
}

impl IntoResponse for Outcome {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            // A fetch that is put off, or not made at all, looks the same.
            Self::Accepted | Self::NotFetched => (StatusCode::ACCEPTED, "accepted\n"),
            Self::Unauthenticated => {
                let scheme = [(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))];
                return (StatusCode::UNAUTHORIZED, scheme, "unauthorized\n").into_response();
            }
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too large\n"),
            Self::Incomplete => (StatusCode::REQUEST_TIMEOUT, "incomplete\n"),
            Self::NotADelivery => (StatusCode::NOT_FOUND, "not found\n"),
            Self::TooManyConnections => (StatusCode::SERVICE_UNAVAILABLE, "too many connections\n"),
        };
        (status, text).into_response()
    }
}

async fn deliver(State(receiver): State<Arc<Receiver>>, Path(source): Path<String>, request: Request) -> Response {
    let outcome = receiver.receive(&source, request).await;
    receiver.finish(outcome)
}

async fn not_a_post(State(receiver): State<Arc<Receiver>>) -> Response {
    receiver.metrics.count(Outcome::NotADelivery);
    let allow = [(header::ALLOW, HeaderValue::from_static("POST"))];
    (StatusCode::METHOD_NOT_ALLOWED, allow, "method not allowed\n").into_response()
}

async fn not_found(State(receiver): State<Arc<Receiver>>) -> Response {
    receiver.finish(Outcome::NotADelivery)
}

/// The routes, without connections.
pub fn router(receiver: Arc<Receiver>) -> Router {
    Router::new()
        .route("/push/{source}", post(deliver).fallback(not_a_post))
        .fallback(not_found)
        // The body is counted as it arrives, and not collected.
        .layer(DefaultBodyLimit::disable())
        .with_state(receiver)
}
