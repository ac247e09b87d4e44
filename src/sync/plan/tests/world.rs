//! What a judgement is made of, in few words.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::gate::{GrantSet, Rules};
use crate::policy::{Digest, Placement};
use crate::source::resource::Mode;
use crate::source::{BlobId, Commit, DesiredState, Entries, Entry, Settings, Snapshot, SourceState, UrlRules};
use crate::sync::live::{Content, LiveIndex, LiveObject, Sighting};
use crate::sync::namespaces::{Namespaces, Phase};
use crate::sync::plan::{Finding, Scene, Standing, judge, part};

pub(super) const WEB: &str = "networkpolicy.networking.k8s.io/payments/web";
pub(super) const ADOPTED: &str = "2026-01-01T00:00:00Z";
pub(super) const BEFORE: &str = "2025-12-31T23:59:59Z";
pub(super) const SINCE: &str = "2026-01-01T00:00:01Z";

/// A cluster and sources, built up line by line.
pub(super) struct World {
    pub(super) sources: Vec<SourceState>,
    pub(super) rules: Rules,
    pub(super) grants: GrantSet,
    pub(super) live: LiveIndex,
    pub(super) namespaces: Namespaces,
    pub(super) now: jiff::Timestamp,
}

impl World {
    pub(super) fn new() -> Self {
        let mut live = LiveIndex::default();
        for kind in crate::policy::Kind::all() {
            live.replace(kind, None, Vec::new());
        }
        let mut namespaces = Namespaces::default();
        namespaces.replace([("payments".into(), Phase::Active), ("going".into(), Phase::Terminating)]);
        Self {
            sources: Vec::new(),
            rules: Rules {
                mode: Mode::Enforce,
                uncovered: crate::gate::Uncovered::Deny,
                dry_run: crate::gate::DryRun::Deny,
                guarded: crate::policy::Kind::all().collect(),
                exemptions: Vec::new(),
                guard_namespaces: false,
            },
            grants: GrantSet::default(),
            live,
            namespaces,
            now: jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(24 * 365 * 60),
        }
    }

    pub(super) fn source(
        mut self,
        name: &str,
        spec: &Value,
        declares: &[(&str, &str)],
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let mut all = json!({"git": {"url": "https://git.example.com/x.git"}});
        merge(&mut all, spec);
        let settings = Settings::from_spec(&serde_json::from_value(all)?, &UrlRules::default())?;
        let mut entries = Entries::default();
        for (key, says) in declares {
            entries.insert(key.parse()?, entry(says)?);
        }
        let commit = Commit {
            id: "c0ffee0".to_owned(),
            tree: String::new(),
            time: ADOPTED.parse()?,
            author: String::new(),
            subject: String::new(),
        };
        self.sources.push(SourceState {
            name: name.into(),
            settings: Arc::new(settings),
            head: Some(Arc::new(Snapshot {
                commit,
                entries,
                skipped: Vec::new(),
                ignored: 0,
            })),
            had_head: true,
            confirmed_at: None,
            adopted_at: Some(ADOPTED.parse()?),
            being_removed: false,
            is_unverified: false,
            is_behind: false,
            formerly: Arc::default(),
            awaited: None,
        });
        Ok(self)
    }

    pub(super) fn change(mut self, name: &str, change: impl Fn(&mut SourceState)) -> Self {
        self.sources
            .iter_mut()
            .filter(|source| &*source.name == name)
            .for_each(change);
        self
    }

    pub(super) fn holds(self, key: &str, says: &str, created: &str) -> Result<Self, Box<dyn std::error::Error>> {
        self.holds_at(key, key, says, created, |_| {})
    }

    pub(super) fn holds_at(
        mut self,
        place: &str,
        key: &str,
        says: &str,
        created: &str,
        change: impl Fn(&mut LiveObject),
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let placement = if place == key {
            Placement::AsNamed
        } else {
            Placement::Misplaced
        };
        let mut object = LiveObject {
            key: key.parse()?,
            content: Content::Readable {
                digest: digest(says)?,
                marked: None,
                placement,
            },
            terminating: false,
            exempt_until: None,
            uid: "uid".into(),
            resource_version: "7".into(),
            created: Some(created.parse()?),
        };
        change(&mut object);
        self.live.see(Sighting {
            place: place.parse()?,
            object,
        });
        Ok(self)
    }

    pub(super) fn judge(&self, key: &str) -> Result<Finding, Box<dyn std::error::Error>> {
        let sources = self.sources.iter().cloned().map(Arc::new).collect();
        let (staying, leaving) = part(&DesiredState::new(sources));
        let scene = Scene {
            desired: &staying,
            leaving: &leaving,
            rules: &self.rules,
            grants: &self.grants,
            now: self.now,
            live: &self.live,
            namespaces: &self.namespaces,
        };
        Ok(judge(&key.parse()?, &scene))
    }

    pub(super) fn standing(&self, key: &str) -> Result<(Standing, usize), Box<dyn std::error::Error>> {
        let finding = self.judge(key)?;
        Ok((finding.standing, finding.steps.len()))
    }
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

pub(super) fn digest(says: &str) -> Result<Digest, serde_json::Error> {
    Digest::of(&Value::String(says.to_owned()))
}

fn entry(says: &str) -> Result<Entry, serde_json::Error> {
    Ok(Entry {
        digest: digest(says)?,
        marked: None,
        path: "a.yaml".into(),
        blob: BlobId([0; 20]),
        index: 0,
        line: 1,
    })
}
