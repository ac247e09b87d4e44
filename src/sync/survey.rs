//! One look at the whole cluster, without a watch and without a write.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::core::{ApiResource, PartialObjectMeta};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use super::live::{LiveIndex, Sighting};
use super::namespaces::Namespaces;
use super::plan::{self, Finding, Scene, Standing};
use super::report::Report;
use super::request::{CallError, within};
use super::served::{Offer, ServedKinds};
use super::setback::Setbacks;
use super::stored::Stored;
use super::watching;
use crate::gate::{GrantSet, Rules};
use crate::policy::{Key, Kind};
use crate::source::{DesiredState, Lookup};

/// No single call takes longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Objects a page.
const PAGE: u32 = 500;

/// Told while something is listed: of what kind, and how many of it there are so far.
pub type Listening<'a> = &'a (dyn Fn(&str, usize) + Sync);

/// How the cluster stands against a desired state.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// Source by source.
    pub report: Report,
    /// Every key of which there is something to say, those in sync too.
    pub findings: BTreeMap<Key, Finding>,
    /// The canonical forms of the live objects that some source speaks for and that are not as Git says.
    pub forms: HashMap<Key, Value>,
}

/// Why the cluster could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// The served kinds cannot be found out.
    #[error("cannot find out which kinds the cluster serves: an API does not answer")]
    Discovery,
    /// The objects of a kind cannot be listed.
    #[error("cannot list {kind}: {source}")]
    List {
        /// The kind, as people name it.
        kind: String,
        /// Why.
        source: CallError,
    },
    /// An object cannot be read.
    #[error("cannot read the {kind} {name}: {source}")]
    Unreadable {
        /// The kind, as people name it.
        kind: String,
        /// The object's name.
        name: String,
        /// Why.
        source: serde_json::Error,
    },
}

/// Lists everything once and compares it with a desired state. What the loop would do is in the findings' steps; what
/// only its memory knows (which undeclared objects an earlier head declared) is not.
///
/// # Errors
/// When something cannot be listed: half a look would call the other half missing.
pub async fn survey(
    client: &Client,
    desired: &DesiredState,
    rules: &Rules,
    grants: &GrantSet,
    listening: Listening<'_>,
) -> Result<Survey, SurveyError> {
    let offer = Offer::discover(client, &rules.guarded, PATIENCE).await;
    if !offer.is_complete() {
        return Err(SurveyError::Discovery);
    }
    let mut live = LiveIndex::default();
    let mut survey = Survey::default();
    for (kind, served) in offer.choose(&rules.guarded, &ServedKinds::new()) {
        for part in kind.parts() {
            let objects = match part {
                None => Api::all_with(client.clone(), &served.watch),
                Some(namespace) => Api::namespaced_with(client.clone(), namespace, &served.watch),
            };
            let stored = pages(&objects, &kind.label(), listening).await?;
            let sightings = sightings(kind, &served.watch, stored, rules, desired, &mut survey.forms);
            live.replace(kind, part, sightings);
        }
    }
    let mut namespaces = Namespaces::default();
    namespaces.replace(list_namespaces(client, listening).await?.iter().map(watching::phase));
    let (staying, leaving) = plan::part(desired);
    let scene = Scene {
        desired: &staying,
        leaving: &leaving,
        rules,
        grants,
        now: Timestamp::now(),
        live: &live,
        namespaces: &namespaces,
    };
    let keys: HashSet<&Key> = plan::all_keys(&scene).collect();
    let judged = keys.into_iter().map(|key| (key.clone(), plan::judge(key, &scene)));
    survey.findings = judged
        .filter(|(_, finding)| finding.standing != Standing::Settled)
        .collect();
    survey.report = Report::of(survey.findings.iter(), &Setbacks::default());
    survey.report.complete = true;
    for source in desired.sources() {
        let tally = survey.report.sources.entry(Arc::clone(&source.name)).or_default();
        tally.commit = source.head.as_ref().map(|head| head.commit.id.clone());
    }
    Ok(survey)
}

/// Every live object of these kinds, as the version that is served first has it.
///
/// # Errors
/// When something cannot be listed.
pub async fn objects(client: &Client, kinds: &[Kind], listening: Listening<'_>) -> Result<Vec<Value>, SurveyError> {
    let offer = Offer::discover(client, kinds, PATIENCE).await;
    if !offer.is_complete() {
        return Err(SurveyError::Discovery);
    }
    let mut found = Vec::new();
    for (kind, served) in offer.choose(kinds, &ServedKinds::new()) {
        for part in kind.parts() {
            let objects = match part {
                None => Api::all_with(client.clone(), &served.watch),
                Some(namespace) => Api::namespaced_with(client.clone(), namespace, &served.watch),
            };
            let stored: Vec<Stored> = pages(&objects, &kind.label(), listening).await?;
            for stored in stored {
                let name = stored.name_any();
                let unreadable = |source| SurveyError::Unreadable {
                    kind: kind.label(),
                    name,
                    source,
                };
                found.push(stored.into_object(&served.watch).map_err(unreadable)?);
            }
        }
    }
    Ok(found)
}

fn sightings(
    kind: Kind,
    api: &ApiResource,
    objects: Vec<Stored>,
    rules: &Rules,
    desired: &DesiredState,
    forms: &mut HashMap<Key, Value>,
) -> Vec<Sighting> {
    let mut sightings = Vec::new();
    for stored in objects {
        let Some((sighting, form)) = Sighting::with_form(kind, api, stored, rules) else {
            continue;
        };
        let is_news = match desired.look_up(&sighting.object.key) {
            Lookup::Declared(declared) => {
                let statement = sighting.object.statement();
                !statement.is_some_and(|statement| declared.matches(statement))
            }
            Lookup::NotCovered => false,
            _ => true,
        };
        if let Some(form) = form.filter(|_| is_news) {
            forms.insert(sighting.object.key.clone(), form);
        }
        sightings.push(sighting);
    }
    sightings
}

async fn list_namespaces(
    client: &Client,
    listening: Listening<'_>,
) -> Result<Vec<PartialObjectMeta<Namespace>>, SurveyError> {
    pages(&Api::all(client.clone()), "namespaces", listening).await
}

async fn pages<K>(api: &Api<K>, kind: &str, listening: Listening<'_>) -> Result<Vec<K>, SurveyError>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let mut items = Vec::new();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = within(PATIENCE, api.list(&params))
            .await
            .map_err(|source| SurveyError::List {
                kind: kind.to_owned(),
                source,
            })?;
        items.extend(page.items);
        listening(kind, items.len());
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(items),
        }
    }
}
