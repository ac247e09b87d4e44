//! Somebody who may do anything to guarded kinds, at random and as everybody, through the gate and behind it: no change
//! lasts, and each is on record.

mod attack;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use attack::{Attack, Attacker, Target};
use futures::future::join_all;
use kube::Client;
use serde_json::{Value, json};

use crate::policies::{allow_port, default_deny};
use crate::stand::{Failure, Stand};
use crate::sync::behind_the_gate;
use crate::{Outcome, calico};

/// What is thrown begins alike in every run; how many waves there are, and what comes of them, is the machine's to say.
const SEED: u64 = 4711;
/// Attacks at once.
const WAVE: usize = 48;
/// How long each half goes on, in waves of which each is over when all have their answers.
const LASTS: Duration = Duration::from_secs(5);
const NAMESPACES: [&str; 2] = ["siege-stays", "siege-goes"];

fn calico_policies(namespace: &str) -> Vec<String> {
    let object = |kind: &str, name: &str, spec: Value| {
        let definition = json!({"apiVersion": "projectcalico.org/v3", "kind": kind,
            "metadata": {"name": name, "namespace": namespace, "labels": {"team": "net"}}, "spec": spec});
        definition.to_string()
    };
    let policy = || json!({"selector": "app == 'web'", "types": ["Ingress"], "ingress": [{"action": "Deny"}]});
    vec![
        object("NetworkPolicy", "calico", policy()),
        object("StagedNetworkPolicy", "staged", policy()),
        object("NetworkSet", "partners", json!({"nets": ["203.0.113.0/24"]})),
    ]
}

fn calico_globals() -> Vec<String> {
    let object = |kind: &str, name: &str, spec: Value| {
        let definition = json!({"apiVersion": "projectcalico.org/v3", "kind": kind,
            "metadata": {"name": name, "annotations": {"note": "by Git"}}, "spec": spec});
        definition.to_string()
    };
    let policy = || json!({"selector": "has(siege)", "types": ["Ingress"], "ingress": [{"action": "Deny"}]});
    vec![
        object("Tier", "siege", json!({"order": 10, "defaultAction": "Pass"})),
        object("GlobalNetworkPolicy", "everywhere", policy()),
        object("StagedGlobalNetworkPolicy", "staged", policy()),
        object("GlobalNetworkSet", "world", json!({"nets": ["198.51.100.0/24"]})),
        object(
            "HostEndpoint",
            "node",
            json!({"node": "node-1", "expectedIPs": ["192.0.2.1"]}),
        ),
    ]
}

struct Siege {
    stand: Stand,
    client: Client,
    targets: Vec<Target>,
    /// Every collection, with the names in it.
    collections: BTreeMap<String, BTreeSet<String>>,
}

impl Siege {
    async fn begin() -> Result<Self, Failure> {
        let stand = Stand::new()?;
        let has_calico = calico::install(&stand)?;
        stand.install_chart(&[]).await?;
        for namespace in NAMESPACES {
            stand.kubectl(&["create", "namespace", namespace]).ok()?;
            let mut files = vec![default_deny(namespace), allow_port(namespace, "web", 443)];
            files.extend(has_calico.then(|| calico_policies(namespace)).into_iter().flatten());
            for (index, file) in files.iter().enumerate() {
                stand.repository.write(&format!("{namespace}/{index}.yaml"), file)?;
            }
        }
        for (index, file) in has_calico.then(calico_globals).into_iter().flatten().enumerate() {
            stand.repository.write(&format!("global/{index}.yaml"), &file)?;
        }
        let commit = stand.repository.commit("What is besieged")?;
        stand.add_source("platform", json!({"sync": {"prune": "All"}}))?;
        stand.until_ready_at("platform", &commit)?;
        let client = stand.plane.client().await?;
        let mut siege = Self {
            stand,
            client,
            targets: Vec::new(),
            collections: BTreeMap::new(),
        };
        for collection in attack::collections(&NAMESPACES, has_calico) {
            let list = siege.get(&collection).await?.ok_or("a kind is not served")?;
            let items = list["items"].as_array().cloned().unwrap_or_default();
            let names = items.iter().filter_map(|item| item["metadata"]["name"].as_str());
            siege
                .collections
                .insert(collection.clone(), names.map(str::to_owned).collect());
            siege
                .targets
                .extend(items.iter().map(|item| Target::new(&collection, &list, item)));
        }
        Ok(siege)
    }

    /// What is at a path; none where nothing is.
    async fn get(&self, path: &str) -> Result<Option<Value>, Failure> {
        let request = axum::http::Request::get(path).body(Vec::new())?;
        match self.client.request_text(request).await {
            Ok(text) => Ok(Some(serde_json::from_str(&text)?)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A wave of attacks; those that the API server carried out, with what it answered.
    async fn wave(&self, attacker: &mut Attacker) -> Result<Vec<(Attack, Result<Value, u16>)>, Failure> {
        let mut attacks = Vec::new();
        for _ in 0..WAVE {
            let target = attacker.pick(&self.targets);
            let live = self.get(&target.path()).await?;
            attacks.push(attacker.attack(target, live));
        }
        let carried_out = attacks.into_iter().map(|attack| async move {
            let answer = match self.client.request_text(attack.request()?).await {
                Ok(text) => Ok(serde_json::from_str(&text)?),
                Err(kube::Error::Api(status)) => Err(status.code),
                Err(error) => return Err(error.into()),
            };
            Ok::<_, Failure>((attack, answer))
        });
        join_all(carried_out).await.into_iter().collect()
    }

    /// Why the cluster is not what it was.
    async fn difference(&self) -> Result<Option<String>, Failure> {
        for (collection, names) in &self.collections {
            let Some(list) = self.get(collection).await? else {
                return Ok(Some(format!("{collection} is not served")));
            };
            let items = list["items"].as_array().cloned().unwrap_or_default();
            let live = items.iter().filter_map(|item| item["metadata"]["name"].as_str());
            let live: BTreeSet<String> = live.map(str::to_owned).collect();
            if live != *names {
                return Ok(Some(format!("{collection} holds {live:?} instead of {names:?}")));
            }
            for item in &items {
                let name = &item["metadata"]["name"];
                let target = self.targets.iter().find(|target| target.is(collection, name));
                if let Some(target) = target.filter(|target| !target.is_held_by(item)) {
                    return Ok(Some(format!("{} is {item}", target.path())));
                }
            }
        }
        Ok(None)
    }

    async fn until_as_before(&self) -> Outcome {
        let start = Instant::now();
        let mut last = String::new();
        while let Some(difference) = self.difference().await? {
            last = difference;
            if start.elapsed() > Duration::from_mins(1) {
                return Err(format!("the cluster stays changed: {last}\n{}", self.stand.logs()).into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drop(last);
        Ok(())
    }

    fn denials(&self) -> Result<usize, Failure> {
        let records = self.stand.records("webhook")?;
        Ok(records.iter().filter(|record| record["outcome"] == "denied").count())
    }

    /// The keys whose changes the loop undid since so many records.
    fn undone_since(&self, before: usize) -> Result<BTreeSet<String>, Failure> {
        let records = self.stand.records("sync")?.into_iter().skip(before);
        let changes = records.filter(|record| {
            record["subject"] == "change"
                && ["created", "replaced", "deleted"]
                    .iter()
                    .any(|done| record["outcome"] == *done)
        });
        Ok(changes
            .filter_map(|record| record["key"].as_str().map(str::to_owned))
            .collect())
    }
}

/// Whether another wave is due: for a while, and until enough of them were attacks indeed, which takes a busy machine longer.
fn goes_on(start: Instant, is_enough: bool) -> Result<bool, Failure> {
    if !is_enough && start.elapsed() > Duration::from_mins(1) {
        return Err("hardly any of these attacks is one".into());
    }
    Ok(!is_enough || start.elapsed() < LASTS)
}

/// Nothing that the API server stored through the gate is other than what Git says, not for a moment.
async fn through_the_gate(siege: &Siege, attacker: &mut Attacker) -> Outcome {
    let before = siege.denials()?;
    let (start, mut refused, mut stored) = (Instant::now(), 0, 0);
    while goes_on(start, refused > 50 && stored > 5)? {
        for (attack, answer) in siege.wave(attacker).await? {
            match answer {
                Ok(object) if !attack.is_dry_run => {
                    assert!(attack.leaves_as_is(&object), "{attack:?} was let through: {object}");
                    stored += 1;
                }
                Ok(object) => assert!(attack.leaves_as_is(&object), "{attack:?} was let through: {object}"),
                Err(403) => refused += 1,
                Err(_) => {}
            }
        }
        let difference = siege.difference().await?;
        assert!(difference.is_none(), "{difference:?}");
    }
    // A refusal may be of more than one object, and each is on record.
    siege.stand.until("every refusal on record", || {
        Ok((siege.denials()? - before >= refused).then_some(()))
    })
}

/// What is stored while nobody asks the gate is undone, and each change is on record.
async fn behind_its_back(siege: &Siege, attacker: &mut Attacker) -> Outcome {
    let (start, mut stored) = (Instant::now(), 0);
    while goes_on(start, stored > 20)? {
        let before = siege.stand.records("sync")?.len();
        let answers = siege.wave(attacker).await?;
        let carried_out = || {
            answers
                .iter()
                .filter(|(attack, answer)| answer.is_ok() && !attack.is_dry_run)
        };
        let mut changed = BTreeSet::new();
        for (attack, answer) in carried_out() {
            // What somebody else undid in the same wave, nobody may have seen.
            let others = carried_out().filter(|(other, _)| other.concerns(attack));
            if others.count() == 1 && !answer.as_ref().is_ok_and(|object| attack.leaves_as_is(object)) {
                changed.extend(attack.changed_key());
            }
        }
        stored += changed.len();
        siege.until_as_before().await?;
        let mut undone = BTreeSet::new();
        let on_record = siege.stand.until("every change on record", || {
            undone = siege.undone_since(before)?;
            Ok(changed.is_subset(&undone).then_some(()))
        });
        on_record.map_err(|error| format!("{:?}: {error}", changed.difference(&undone)))?;
    }
    Ok(())
}

/// A namespace goes with all in it, while it is attacked, and comes back with all that Git declares in it.
async fn while_a_namespace_goes(siege: &Siege, attacker: &mut Attacker) -> Outcome {
    let [_, goes] = NAMESPACES;
    siege
        .stand
        .kubectl(&["delete", "namespace", goes, "--wait=false"])
        .ok()?;
    while !siege.stand.get(&format!("namespace/{goes}"), None)?.is_null() {
        for (attack, answer) in siege.wave(attacker).await? {
            let is_elsewhere = attack.namespace() != Some(goes);
            assert!(
                answer.is_err() || !is_elsewhere || attack.leaves_as_is(answer.as_ref().unwrap_or(&Value::Null)),
                "{attack:?} was let through"
            );
        }
    }
    siege.stand.kubectl(&["create", "namespace", goes]).ok()?;
    siege.until_as_before().await
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_thrown_at_guarded_kinds_nothing_lasts_and_each_change_is_on_record() -> Outcome {
    let siege = Siege::begin().await?;
    let mut attacker = Attacker::new(SEED);
    through_the_gate(&siege, &mut attacker).await?;
    while_a_namespace_goes(&siege, &mut attacker).await?;
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        behind_the_gate(&siege.stand, || {
            runtime.block_on(behind_its_back(&siege, &mut attacker))
        })
    })?;
    siege.until_as_before().await
}
