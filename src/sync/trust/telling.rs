//! What there is to tell: a pure function of what was told last and of what is trusted now.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::Value;

use super::InForce;
use super::memory::{KnownConfiguration, KnownSecret, KnownSource, MAX_SPEC, Memory, Notebook};
use crate::cluster::secrets::{SecretSight, Sights, last_writer};
use crate::ledger::trust::{Trusted, changes, seen, shown_secret, shown_spec};
use crate::ledger::{Change, Outcome, Record};
use crate::source::PolicySource;

/// What is trusted now.
pub(super) struct Present<'a> {
    pub(super) configuration: &'a InForce,
    pub(super) sources: &'a BTreeMap<String, PolicySource>,
    pub(super) secrets: &'a Sights,
}

/// The fields of a spec that name Secrets, and what for.
const REFERENCES: [(&str, &str); 3] = [
    ("/spec/git/credentialsSecretRef/name", "credentials"),
    ("/spec/git/pushSecretRef/name", "pushes"),
    ("/spec/verify/keysSecretRef/name", "signers"),
];

/// The records, and the memory after them.
pub(super) fn tell(notes: &Notebook, present: &Present<'_>, now: Timestamp) -> (Vec<Record>, Memory) {
    let mut records = Vec::new();
    let before = &notes.memory;
    let mut after = Memory::default();
    configuration(before, present.configuration, now, &mut records);
    after.configuration = Some(KnownConfiguration {
        hash: present.configuration.hash.clone(),
        content: present.configuration.content.clone(),
    });
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, source) in present.sources {
        let spec = shown_spec(&serde_json::to_value(&source.spec).unwrap_or_default());
        for (pointer, what) in REFERENCES {
            if let Some(secret) = spec.pointer(pointer).and_then(Value::as_str) {
                uses.entry(secret.to_owned())
                    .or_default()
                    .insert(format!("{what} of {name}"));
            }
        }
        let known = before.sources.get(name);
        records.extend(of_source(name, source, &spec, known, now));
        after.sources.insert(name.clone(), known_source(source, spec));
    }
    let gone = before
        .sources
        .iter()
        .filter(|(name, _)| !after.sources.contains_key(*name));
    for (name, known) in gone {
        records.push(source_gone(name, known, now));
    }
    for (name, uses) in &uses {
        let known = before.secrets.get(name);
        let Some(sight) = present.secrets.get(name) else {
            // Not read yet by this process.
            if let Some(known) = known {
                after.secrets.insert(name.clone(), known.clone());
            }
            continue;
        };
        let shown = sight.as_ref().map(|sight| KnownSecret {
            uid: sight.uid.clone(),
            entries: shown_secret(&sight.entries, |entry, hash| notes.mark(entry, hash)),
        });
        records.extend(of_secret(name, uses, known, shown.as_ref(), sight.as_ref(), now));
        after.secrets.extend(shown.map(|shown| (name.clone(), shown)));
    }
    (records, after)
}

fn configuration(before: &Memory, now_in_force: &InForce, now: Timestamp, records: &mut Vec<Record>) {
    let Some(known) = before.configuration.as_ref() else {
        return;
    };
    if known.hash == now_in_force.hash {
        return;
    }
    let text = |hash: &String| Some(Value::String(hash.clone()));
    let mut told = vec![Change {
        path: "hash".to_owned(),
        from: text(&known.hash),
        to: text(&now_in_force.hash),
    }];
    told.extend(changes(Some(&known.content), Some(&now_in_force.content)));
    let (trusted, outcome) = (Trusted::Configuration, Outcome::Changed);
    records.push(seen(trusted, "", outcome, told, None, now));
}

fn known_source(source: &PolicySource, spec: Value) -> KnownSource {
    KnownSource {
        uid: source.uid().unwrap_or_default(),
        generation: source.metadata.generation,
        spec: if spec.to_string().len() > MAX_SPEC {
            Value::Null
        } else {
            spec
        },
    }
}

fn of_source(
    name: &str,
    source: &PolicySource,
    spec: &Value,
    known: Option<&KnownSource>,
    now: Timestamp,
) -> Vec<Record> {
    let writer = last_writer(source.managed_fields(), "f:spec");
    let record = |outcome, changes| {
        let mut record = seen(Trusted::Source, name, outcome, changes, writer.as_deref(), now);
        record.generation = source.metadata.generation;
        record
    };
    let uid = source.uid().unwrap_or_default();
    match known {
        // The generation counts, and not the spec: a new version may fill in more of it.
        Some(known) if known.uid == uid && known.generation == source.metadata.generation => Vec::new(),
        Some(known) if known.uid == uid => {
            let before = (!known.spec.is_null()).then_some(&known.spec);
            vec![record(Outcome::Changed, changes(before, Some(spec)))]
        }
        other => {
            let gone = other.map(|known| source_gone(name, known, now));
            let new = record(Outcome::Created, changes(None, Some(spec)));
            gone.into_iter().chain([new]).collect()
        }
    }
}

fn source_gone(name: &str, known: &KnownSource, now: Timestamp) -> Record {
    let before = (!known.spec.is_null()).then_some(&known.spec);
    let mut record = seen(
        Trusted::Source,
        name,
        Outcome::Deleted,
        changes(before, None),
        None,
        now,
    );
    record.generation = known.generation;
    record
}

fn of_secret(
    name: &str,
    uses: &BTreeSet<String>,
    known: Option<&KnownSecret>,
    shown: Option<&KnownSecret>,
    sight: Option<&SecretSight>,
    now: Timestamp,
) -> Option<Record> {
    let outcome = match (known, shown) {
        (Some(known), Some(shown)) if known.entries == shown.entries => return None,
        (Some(_), Some(_)) => Outcome::Changed,
        (None, Some(_)) => Outcome::Created,
        (Some(_), None) => Outcome::Deleted,
        (None, None) => return None,
    };
    let told = changes(known.map(|known| &known.entries), shown.map(|shown| &shown.entries));
    let writer = sight.and_then(|sight| sight.writer.as_deref());
    let mut record = seen(Trusted::Secret, name, outcome, told, writer, now);
    let uses: Vec<&str> = uses.iter().map(String::as_str).collect();
    record.message = format!("{} It is {}.", record.message, uses.join(", "));
    let mut owners: BTreeSet<&str> = uses.iter().filter_map(|used| used.rsplit(' ').next()).collect();
    if owners.len() == 1 {
        record.source = owners.pop_first().map(str::to_owned);
    }
    Some(record)
}

#[cfg(test)]
mod tests;
