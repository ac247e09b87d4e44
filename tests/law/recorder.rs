//! A validating webhook that allows everything and keeps every review.

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{DefaultBodyLimit, State};
use axum::routing::post;
use axum::{Json, Router};
use axum_server::tls_rustls::RustlsConfig;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use crate::Failure;

/// What makes a review one of an object: group, resource, namespace, name.
pub(crate) type Place = (String, String, String, String);

/// One review, as far as it matters here.
#[derive(Clone, Debug)]
pub(crate) struct Review {
    pub(crate) operation: String,
    pub(crate) object: Value,
    pub(crate) old: Value,
}

type Reviews = Arc<Mutex<HashMap<Place, Vec<Review>>>>;

/// The webhook; it lives as long as the program.
pub(crate) struct Recorder {
    reviews: Reviews,
    url: String,
    certificate: String,
}

impl Recorder {
    /// Starts to listen, on a thread with a runtime of its own: tests of several runtimes use it.
    pub(crate) fn start() -> Result<Self, Failure> {
        // The API server is given this very certificate as its authority.
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(["127.0.0.1".to_owned()])?
            .self_signed(&key)?
            .pem();
        // Another part of the program may have chosen the same provider before.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let url = format!("https://{}/", listener.local_addr()?);
        let reviews = Reviews::default();
        let router = Router::new()
            .route("/", post(record))
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&reviews));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let pem = (certificate.clone(), key.serialize_pem());
        std::thread::spawn(move || {
            runtime.block_on(async move {
                let tls = RustlsConfig::from_pem(pem.0.into_bytes(), pem.1.into_bytes()).await?;
                axum_server::from_tcp_rustls(listener, tls)?
                    .serve(router.into_make_service())
                    .await
            })
        });
        Ok(Self {
            reviews,
            url,
            certificate,
        })
    }

    /// The configuration by which the API server asks about every guarded kind.
    pub(crate) fn configuration(&self) -> Value {
        let rule = |group: &str| json!({"apiGroups": [group], "apiVersions": ["*"], "resources": ["*"], "operations": ["CREATE", "UPDATE", "DELETE"]});
        let rules = [
            "networking.k8s.io",
            "projectcalico.org",
            "crd.projectcalico.org",
            "policy.networking.k8s.io",
        ]
        .map(rule);
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "recorder"},
            "webhooks": [{
                "name": "recorder.headgate.dev", "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail",
                "timeoutSeconds": 30,
                "clientConfig": {"url": self.url, "caBundle": k8s_openapi::ByteString(self.certificate.clone().into_bytes())},
                "rules": rules,
            }],
        })
    }

    /// The reviews of an object since they were taken last, in order.
    pub(crate) fn take(&self, place: &Place) -> Vec<Review> {
        let mut reviews = self.reviews.lock().unwrap_or_else(PoisonError::into_inner);
        reviews.remove(place).unwrap_or_default()
    }
}

async fn record(State(reviews): State<Reviews>, Json(mut review): Json<Value>) -> Json<Value> {
    let request = review["request"].take();
    let uid = request["uid"].clone();
    if request["dryRun"] != true {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (object, old) = (request["object"].clone(), request["oldObject"].clone());
        let named = if object.is_object() { &object } else { &old };
        let place = (
            text(&request["resource"]["group"]),
            text(&request["resource"]["resource"]),
            text(&request["namespace"]),
            text(&named["metadata"]["name"]),
        );
        let operation = text(&request["operation"]);
        let mut reviews = reviews.lock().unwrap_or_else(PoisonError::into_inner);
        reviews
            .entry(place)
            .or_default()
            .push(Review { operation, object, old });
    }
    Json(json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {"uid": uid, "allowed": true},
    }))
}
