//! Carries out one step: creates, replaces as a whole, or deletes exactly what was judged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Client;
use kube::api::{DeleteParams, Preconditions, PropagationPolicy};
use kube::core::ApiResource;
use serde_json::{Map, Value, json};

use super::echoes::Echoes;
use super::live::{Content, Sighting};
use super::plan::{Declaration, Step, Through};
use super::request::{CallError, Calls, Failure};
use super::served::Served;
use crate::gate::Rules;
use crate::policy::deployer::{keep_marks, without_marks};
use crate::policy::{
    Canonical, Deployer, Difference, Digest, Family, Key, Manifest, Placement, Rank, Statement, canonicalize,
    differences,
};
use crate::source::Keeper;

/// The finalizer that Calico's tier controller keeps on tiers in native mode; the canonical form ignores it, so that a
/// replacement leaves it.
const TIER_FINALIZER: &str = "projectcalico.org/tier-controller";

/// Carries out steps. Cheap to clone.
#[derive(Clone)]
pub(super) struct Writer {
    pub(super) client: Client,
    pub(super) keeper: Keeper,
    pub(super) rules: Arc<Rules>,
    pub(super) echoes: Echoes,
    pub(super) patience: Duration,
}

/// A step, with all that it needs.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) key: Key,
    pub(super) step: Step,
    pub(super) served: Served,
    pub(super) declaration: Option<Declaration>,
}

impl Job {
    /// Whose tracking marks do not count.
    fn deployer(&self) -> Option<Deployer> {
        self.declaration.as_ref()?.deployer
    }
}

/// What became of a step.
#[derive(Debug)]
pub(super) enum Deed {
    /// It was done.
    Done(Done),
    /// The cluster was as it should be when looked at again.
    Needless,
}

/// What was there before, for the record.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) before: Option<Digest>,
    pub(super) differences: Vec<Difference>,
}

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// The mirror does not give the file's object.
    #[error("cannot read the object from the mirror: {0}")]
    Manifest(String),
    /// A step that needs a declaration came without one.
    #[error("nothing declares the object any more")]
    Undeclared,
    /// The API server refused, or could not be asked.
    #[error(transparent)]
    Call(#[from] CallError),
    /// What the API server stored is not what Git says: something changes objects on their way.
    #[error("the API server stored something else than Git says; does a mutating webhook or policy change it? {0}")]
    Altered(String),
}

impl WriteError {
    /// What kind of setback it is.
    pub(super) fn failure(&self) -> Failure {
        match self {
            Self::Manifest(_) | Self::Undeclared => Failure::Unavailable,
            Self::Call(error) => error.failure(),
            Self::Altered(_) => Failure::Invalid,
        }
    }
}

impl Writer {
    /// Carries out a step.
    pub(super) async fn carry_out(&self, job: &Job) -> Result<Deed, WriteError> {
        match &job.step {
            Step::Create => self.create(job).await,
            Step::Replace { place, through } => self.replace(job, place, *through).await,
            Step::Delete { .. } => self.delete(job).await,
        }
    }

    async fn create(&self, job: &Job) -> Result<Deed, WriteError> {
        let manifest = self.manifest(job).await?;
        let api = &job.served.write;
        let object = compose(&manifest, &job.key, api, None, None);
        let stored = self.calls(api).create(&job.key, &object).await?;
        self.check_stored(&manifest, stored, job, api)?;
        Ok(Deed::Done(Done::default()))
    }

    async fn replace(&self, job: &Job, stored_at: &Key, through: Through) -> Result<Deed, WriteError> {
        let manifest = self.manifest(job).await?;
        let (api, place) = match through {
            Through::Written if job.served.write != job.served.watch => (&job.served.write, &job.key),
            _ => (&job.served.watch, stored_at),
        };
        let calls = self.calls(api);
        let live = calls.get(place).await?;
        let object = compose(&manifest, place, api, Some(&live), job.deployer());
        let freed = freed(&manifest, &live);
        let mut done = Done::default();
        if let Ok(before) = canonicalize(live) {
            done.before = before.digest().ok();
            let as_declared = says(&before, &manifest, job.deployer()) && before.placement == Placement::AsNamed;
            if as_declared && api != &job.served.watch {
                // Calico's server shows nothing wrong, what it stores is: only the stored object can be mended.
                return Box::pin(self.replace(job, stored_at, Through::Stored)).await;
            }
            if as_declared {
                return Ok(Deed::Needless);
            }
            done.differences = differing(&manifest, &before.form, job.deployer());
        }
        if let Some(freed) = freed {
            // Once it is gone it is made anew.
            calls.replace(place, &freed).await?;
            return Ok(Deed::Done(done));
        }
        let stored = calls.replace(place, &object).await?;
        self.check_stored(&manifest, stored, job, api)?;
        Ok(Deed::Done(done))
    }

    /// A write that is not kept as Git says would be repeated for ever: it is a failure. One that is is known to the watch.
    fn check_stored(&self, manifest: &Manifest, stored: Value, job: &Job, api: &ApiResource) -> Result<(), WriteError> {
        let read = Sighting::of_object(job.key.kind(), stored, &self.rules);
        let Some((sighting, form)) = read else {
            return Err(WriteError::Altered("the answer has no name".to_owned()));
        };
        let statement = sighting.object.statement();
        if statement.is_some_and(|statement| manifest.statement().matches(statement, job.deployer())) {
            if *api == job.served.watch {
                self.echoes.expect(sighting, Instant::now());
            }
            return Ok(());
        }
        Err(WriteError::Altered(match (&sighting.object.content, form) {
            (Content::Unreadable(why), _) => why.to_string(),
            (_, form) => {
                let differing = differing(manifest, &form.unwrap_or_default(), job.deployer());
                let fields: Vec<String> = differing.into_iter().take(5).map(|field| field.path).collect();
                fields.join(", ")
            }
        }))
    }

    async fn delete(&self, job: &Job) -> Result<Deed, WriteError> {
        let Step::Delete {
            place,
            uid,
            resource_version,
            ..
        } = &job.step
        else {
            return Ok(Deed::Needless);
        };
        let exactly = |uid: &str, version: &str| DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: Some(version.to_owned()),
            }),
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        if !is_deleted_through_its_server(job) {
            let params = exactly(uid, resource_version);
            self.calls(&job.served.watch).delete(place, &params).await?;
            return Ok(Deed::Done(Done::default()));
        }
        // The two APIs give one object two uids, and one version.
        let calls = self.calls(&job.served.write);
        let live = calls.get(&job.key).await?;
        let member = |field: &str| live.get("metadata")?.get(field)?.as_str();
        if member("resourceVersion") != Some(resource_version) {
            return Ok(Deed::Needless);
        }
        let params = exactly(member("uid").unwrap_or_default(), resource_version);
        calls.delete(&job.key, &params).await?;
        Ok(Deed::Done(Done::default()))
    }

    async fn manifest(&self, job: &Job) -> Result<std::sync::Arc<Manifest>, WriteError> {
        let declaration = job.declaration.as_ref().ok_or(WriteError::Undeclared)?;
        self.keeper
            .manifest(&declaration.source, &declaration.entry)
            .await
            .map_err(WriteError::Manifest)
    }

    fn calls<'a>(&'a self, api: &'a ApiResource) -> Calls<'a> {
        Calls {
            client: &self.client,
            api,
            patience: self.patience,
        }
    }
}

/// An object that Calico's server shows is deleted where it is stored, with the uid that the index knows; but a tier
/// goes through Calico's server, which refuses to delete one that policies are in.
fn is_deleted_through_its_server(job: &Job) -> bool {
    let Step::Delete { place, .. } = &job.step else {
        return false;
    };
    let definition = job.key.kind().definition();
    definition.family == Family::Calico
        && definition.rank == Rank::Tier
        && job.served.write != job.served.watch
        && *place == job.key
}

/// The object to send: Git's content under the name and in the API it is written to, and of what is live only what the
/// canonical form ignores, and the deployer's marks. No field of another manager survives.
///
/// In `crd.projectcalico.org/v1` the name is the v3 name too: so it is from Calico 3.32 on, and calicoctl reads it in
/// older releases as well.
fn compose(
    manifest: &Manifest,
    place: &Key,
    api: &ApiResource,
    live: Option<&Value>,
    deployer: Option<Deployer>,
) -> Value {
    let mut object = match &manifest.object {
        Value::Object(members) => members.clone(),
        _ => Map::new(),
    };
    let given = object.remove("metadata").unwrap_or_default();
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), json!(place.name()));
    if let Some(namespace) = place.namespace() {
        metadata.insert("namespace".to_owned(), json!(namespace));
    }
    for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
        if let Some(value) = given.get(field) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    if let (Some(live), Some(deployer)) = (live, deployer) {
        // Without them the deployer would think that the object is not its own any more, and put them back.
        keep_marks(manifest.key.kind(), live, deployer, &mut metadata);
    }
    if let Some(live) = live.and_then(|live| live.get("metadata")) {
        keep_bookkeeping(&mut metadata, live);
    }
    object.remove("status");
    write_out_types(manifest, &mut object);
    object.insert("apiVersion".to_owned(), json!(api.api_version));
    object.insert("kind".to_owned(), json!(api.kind));
    object.insert("metadata".to_owned(), Value::Object(metadata));
    Value::Object(object)
}

/// An object that is going and cannot be brought to Git, without what holds it up: the API server takes no new finalizer
/// for it, so one that Git names and it has not would keep whatever else was changed in force for ever.
fn freed(manifest: &Manifest, live: &Value) -> Option<Value> {
    let metadata = live.get("metadata")?;
    metadata.get("deletionTimestamp").filter(|time| !time.is_null())?;
    let held_by = |finalizer: &Value| {
        let finalizers = metadata.get("finalizers").and_then(Value::as_array);
        finalizers.is_some_and(|list| list.contains(finalizer))
    };
    let wanted = manifest.object.pointer("/metadata/finalizers")?.as_array()?;
    if wanted.iter().all(held_by) {
        return None;
    }
    let mut freed = live.clone();
    let finalizers = freed.pointer_mut("/metadata/finalizers")?.as_array_mut()?;
    // Calico's own: a tier goes after its policies.
    finalizers.retain(|finalizer| finalizer == TIER_FINALIZER);
    Some(freed)
}

/// What Calico's client would fill in is written out: behind a custom resource nobody does, and Felix takes a policy
/// without types for one of both directions.
fn write_out_types(manifest: &Manifest, object: &mut Map<String, Value>) {
    if manifest.key.kind().definition().family != Family::Calico {
        return;
    }
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    for field in ["types", "policyTypes"] {
        if let Some(types) = manifest.form.get("spec").and_then(|form| form.get(field)) {
            spec.entry(field).or_insert_with(|| types.clone());
        }
    }
}

fn keep_bookkeeping(metadata: &mut Map<String, Value>, live: &Value) {
    for field in ["uid", "resourceVersion"] {
        if let Some(value) = live.get(field) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    let holds = |finalizers: Option<&Value>| {
        finalizers
            .and_then(Value::as_array)
            .is_some_and(|list| list.iter().any(|name| name == TIER_FINALIZER))
    };
    if holds(live.get("finalizers")) && !holds(metadata.get("finalizers")) {
        let mut finalizers = metadata
            .get("finalizers")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        finalizers.push(json!(TIER_FINALIZER));
        metadata.insert("finalizers".to_owned(), Value::Array(finalizers));
    }
}

/// Whether an object says what the file says.
fn says(object: &Canonical, manifest: &Manifest, deployer: Option<Deployer>) -> bool {
    let (Ok(digest), Ok(marked)) = (object.digest(), object.marked()) else {
        return false;
    };
    let marked = marked.as_ref();
    manifest.statement().matches(Statement { digest, marked }, deployer)
}

fn differing(manifest: &Manifest, form: &Value, deployer: Option<Deployer>) -> Vec<Difference> {
    let form = without_marks(manifest.key.kind(), &manifest.form, form, deployer);
    differences(&manifest.form, &form)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api() -> ApiResource {
        ApiResource {
            group: "projectcalico.org".into(),
            version: "v3".into(),
            api_version: "projectcalico.org/v3".into(),
            kind: "Tier".into(),
            plural: "tiers".into(),
        }
    }

    fn manifest(object: Value) -> Result<Manifest, Box<dyn std::error::Error>> {
        let key: Key = "tier.projectcalico.org/platform".parse()?;
        Ok(Manifest {
            key,
            digest: Digest::of(&Value::Null)?,
            marked: None,
            form: Value::Null,
            object,
            line: 1,
            tier: None,
        })
    }

    #[test]
    fn a_replacement_is_gits_content_and_the_servers_bookkeeping_alone() -> Result<(), Box<dyn std::error::Error>> {
        let manifest = manifest(json!({
            "apiVersion": "crd.projectcalico.org/v1", "kind": "Tier", "status": {"a": 1},
            "metadata": {"name": "platform", "uid": "forged", "labels": {"team": "net"}},
            "spec": {"order": 10}
        }))?;
        let live = json!({
            "metadata": {"name": "platform", "uid": "u", "resourceVersion": "7", "managedFields": [{}],
                "labels": {"rogue": "x", "app.kubernetes.io/managed-by": "Helm"},
                "annotations": {"rogue": "x", "meta.helm.sh/release-name": "r", "argocd.argoproj.io/tracking-id": "a"},
                "finalizers": ["projectcalico.org/tier-controller", "rogue/finalizer"]},
            "spec": {"order": 99, "defaultAction": "Pass"}
        });
        let object = compose(&manifest, &manifest.key, &api(), Some(&live), Some(Deployer::Helm));
        assert_eq!(
            object,
            json!({
                "apiVersion": "projectcalico.org/v3", "kind": "Tier",
                "metadata": {"name": "platform", "uid": "u", "resourceVersion": "7",
                    "labels": {"team": "net", "app.kubernetes.io/managed-by": "Helm"},
                    "annotations": {"meta.helm.sh/release-name": "r"},
                    "finalizers": ["projectcalico.org/tier-controller"]},
                "spec": {"order": 10}
            })
        );
        Ok(())
    }

    #[test]
    fn what_is_created_carries_no_bookkeeping() -> Result<(), Box<dyn std::error::Error>> {
        let manifest = manifest(json!({
            "apiVersion": "projectcalico.org/v3", "kind": "Tier",
            "metadata": {"name": "platform", "namespace": "ignored", "resourceVersion": "3"}, "spec": {}
        }))?;
        let object = compose(&manifest, &manifest.key, &api(), None, None);
        assert_eq!(
            object,
            json!({"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": "platform"}, "spec": {}})
        );
        Ok(())
    }
}
