//! What is done to each object on the server, and where the law has to hold.

use std::collections::{BTreeSet, HashSet};
use std::time::Instant;

use axum::http::Method;
use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::Failure;
use crate::case::Case;
use crate::corpus::COPY;
use crate::recorder::Review;
use crate::server::{Server, request};

/// How many requests are under way at once.
const AT_ONCE: usize = 8;
/// How many objects one call of kubectl is given.
const BATCH: usize = 120;
/// Who creates, and who applies again: in turns, batch by batch.
const TURNS: [[Side; 2]; 2] = [[Side::Client, Side::Server], [Side::Server, Side::Client]];

/// What came of it.
#[derive(Default)]
pub(crate) struct Outcome {
    /// How often a digest was compared.
    pub(crate) compared: usize,
    /// Where the law was broken.
    pub(crate) objections: Vec<String>,
    /// What the server refused, with its reason.
    pub(crate) refused: Vec<(String, String)>,
}

impl Outcome {
    fn compare(&mut self, case: &Case, what: &str, object: &Value) {
        self.compared += 1;
        self.objections.extend(case.objection(what, object));
    }

    fn object(&mut self, case: &Case, what: &str) {
        self.objections.push(format!("{}: {what}\n{}", case.label, case.text));
    }

    fn add(&mut self, other: Self) {
        self.compared += other.compared;
        self.objections.extend(other.objections);
        self.refused.extend(other.refused);
    }
}

/// Everything, for all cases.
pub(crate) async fn run(server: &Server, cases: &[Case]) -> Result<Outcome, Failure> {
    let started = Instant::now();
    let client = server.plane.client().await?;
    make_namespaces(&client, cases).await?;
    let mut outcome = Outcome::default();
    let (alone, others): (Vec<&Case>, Vec<&Case>) = cases.iter().partition(|case| case.is_alone());
    let mut steps = futures::stream::iter(&others)
        .map(|case| life(server, &client, case))
        .buffer_unordered(AT_ONCE);
    while let Some(done) = steps.next().await {
        outcome.add(done?);
    }
    for case in &alone {
        outcome.add(life(server, &client, case).await?);
    }
    drop(steps);
    eprintln!("{} objects lived after {:?}", others.len(), started.elapsed());
    let refused: HashSet<String> = outcome.refused.iter().map(|(text, _)| text.clone()).collect();
    // kubectl treats the copies in Calico's other group as it does the originals.
    let is_applied = |case: &&Case| !refused.contains(&case.text) && !case.label.ends_with(COPY);
    let stored: Vec<&Case> = others.into_iter().filter(is_applied).collect();
    let (with_null, without_null): (Vec<&Case>, Vec<&Case>) =
        stored.iter().copied().partition(|case| case.holds_null());
    for (batch, sides) in without_null.chunks(BATCH).zip(TURNS.iter().cycle()) {
        outcome.add(apply(server, &client, batch, *sides).await?);
    }
    for batch in with_null.chunks(BATCH) {
        outcome.add(apply(server, &client, batch, [Side::Client, Side::Client]).await?);
    }
    eprintln!("{} objects were applied after {:?}", stored.len(), started.elapsed());
    // kubectl treats all kinds alike: of the kind that has one object at a time, two will do.
    for (case, sides) in alone
        .into_iter()
        .filter(|case| !refused.contains(&case.text) && !case.holds_null())
        .zip(TURNS)
    {
        outcome.add(apply(server, &client, &[case], sides).await?);
    }
    Ok(outcome)
}

async fn make_namespaces(client: &kube::Client, cases: &[Case]) -> Result<(), Failure> {
    let names: BTreeSet<&str> = cases
        .iter()
        .map(Case::namespace)
        .filter(|name| !name.is_empty())
        .collect();
    for name in names {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        request(client, Method::POST, "/api/v1/namespaces", Some(&namespace)).await?;
    }
    Ok(())
}

/// Create, read, change, replace, delete: by the client that the sync loop uses.
async fn life(server: &Server, client: &kube::Client, case: &Case) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::default();
    let object = &case.manifest.object;
    match request(client, Method::POST, &case.collection(), Some(object)).await {
        Err(kube::Error::Api(status)) => {
            outcome.refused.push((case.text.clone(), status.message.clone()));
            server.recorder.take(&case.place());
            return Ok(outcome);
        }
        made => outcome.compare(case, "the answer to the creation", &made?),
    }
    let reviewed = last_review(server, case, "CREATE")?;
    outcome.compare(case, "the object of the creation's review", &reviewed.object);
    let read = request(client, Method::GET, &case.path(), None).await?;
    outcome.compare(case, "the object read back", &read);

    let mut changed = object.clone();
    changed["metadata"]["labels"]["law"] = "changed".into();
    let changed = replace(client, case, changed, &read).await?;
    let reviewed = last_review(server, case, "UPDATE")?;
    outcome.compare(case, "the old object of a change's review", &reviewed.old);
    for (what, object) in [("stored", &changed), ("reviewed", &reviewed.object)] {
        if case.objection("changed", object).is_none() {
            outcome.object(case, &format!("an added label went unnoticed where it was {what}"));
        }
    }
    let restored = replace(client, case, object.clone(), &changed).await?;
    outcome.compare(case, "the answer to a replacement", &restored);
    let reviewed = last_review(server, case, "UPDATE")?;
    outcome.compare(case, "the object of the replacement's review", &reviewed.object);

    delete(client, case).await?;
    let reviewed = server.recorder.take(&case.place());
    match reviewed.iter().rfind(|review| review.operation == "DELETE") {
        Some(review) => outcome.compare(case, "the old object of the deletion's review", &review.old),
        None => outcome.object(case, "no review of the deletion"),
    }
    Ok(outcome)
}

/// The review that decided. The API server asks first about what its cache holds, and again where that proves to be
/// stale.
fn last_review(server: &Server, case: &Case, operation: &str) -> Result<Review, Failure> {
    let last = server.recorder.take(&case.place()).pop();
    last.filter(|review| review.operation == operation)
        .ok_or_else(|| format!("{}: no review of its {operation}\n{}", case.label, case.text).into())
}

async fn replace(client: &kube::Client, case: &Case, mut object: Value, stored: &Value) -> Result<Value, Failure> {
    object["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"].clone();
    let replaced = request(client, Method::PUT, &case.path(), Some(&object)).await;
    replaced.map_err(|error| {
        format!(
            "{}: replace: {error}
{}",
            case.label, case.text
        )
        .into()
    })
}

/// Deletes the object, whatever its finalizers.
async fn delete(client: &kube::Client, case: &Case) -> Result<(), Failure> {
    request(client, Method::DELETE, &case.path(), None).await?;
    if case.manifest.form.pointer("/metadata/finalizers").is_some() {
        let released = json!({"metadata": {"finalizers": null}});
        request(client, Method::PATCH, &case.path(), Some(&released)).await?;
    }
    Ok(())
}

/// kubectl, of the file's own text: created by one kind of apply, then applied again by the other.
async fn apply(server: &Server, client: &kube::Client, cases: &[&Case], sides: [Side; 2]) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::default();
    let texts: Vec<&str> = cases.iter().map(|case| case.text.as_str()).collect();
    let text = texts.join("\n---\n");
    let file = server.plane.dir().join("batch.yaml");
    std::fs::write(&file, text)?;
    for side in sides {
        if let Err(error) = server.kubectl(side.arguments(), &file) {
            outcome.objections.push(error.to_string());
        }
    }
    let mut deletions = futures::stream::iter(cases)
        .map(async |case| (case, delete(client, case).await))
        .buffer_unordered(AT_ONCE);
    while let Some((case, deleted)) = deletions.next().await {
        if let Err(error) = deleted {
            outcome.object(case, &format!("was not there: {error}"));
        }
        let reviews = server.recorder.take(&case.place());
        let count = |operation: &str| reviews.iter().filter(|review| review.operation == operation).count();
        // The same side finds nothing to do the second time.
        let is_updated = count("UPDATE") > 0 || sides[0] == sides[1];
        if count("CREATE") == 0 || !is_updated {
            outcome.object(case, &format!("{sides:?}: not both created and updated"));
        }
        // What comes after the deletion takes finalizers away.
        let end = reviews.iter().position(|review| review.operation == "DELETE");
        for review in reviews.iter().take(end.map_or(reviews.len(), |end| end + 1)) {
            for (which, object) in [("object", &review.object), ("old object", &review.old)] {
                if object.is_object() {
                    let what = format!("the {which} of the {} by {sides:?}", review.operation);
                    outcome.compare(case, &what, object);
                }
            }
        }
    }
    Ok(outcome)
}

/// Where `kubectl apply` merges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

impl Side {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Client => &["apply", "-f"],
            Self::Server => &["apply", "--server-side", "--force-conflicts", "-f"],
        }
    }
}
