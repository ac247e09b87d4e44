//! Clusters from a small alphabet: one to three sources, an exemption or none, namespaces that may be going.

use std::collections::HashSet;
use std::sync::Arc;

use headgate::gate::{DryRun, Exemption, ExemptionSpec, Rules, Uncovered};
use headgate::source::resource::Mode;
use headgate::source::{BlobId, Commit, DesiredState, Entries, Entry, Settings, Snapshot, SourceState, UrlRules};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::requests::{Place, file};

/// What a file says: which content, and whether with the label.
pub(crate) type Says = (u8, bool);

/// A source as it was made up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    /// Speaks for everything; otherwise for the namespace `payments` only.
    pub(crate) everything: bool,
    pub(crate) high: bool,
    pub(crate) audit: bool,
    pub(crate) deny_when_stale: bool,
    pub(crate) deny_when_unverified: bool,
    pub(crate) suspended: bool,
    pub(crate) prune_all: bool,
    pub(crate) takes_along: bool,
    /// What its head declares; none where it has no head.
    pub(crate) head: Option<[Option<Says>; 5]>,
    pub(crate) had_head: bool,
    pub(crate) stale: bool,
    pub(crate) unverified: bool,
    pub(crate) going: bool,
    /// Whether earlier heads declared every object.
    pub(crate) declared_formerly: bool,
}

/// A cluster, as it was made up and as the decision sees it.
pub(crate) struct World {
    /// In the order of their names.
    pub(crate) sources: Vec<Source>,
    pub(crate) terminating: Vec<&'static str>,
    pub(crate) desired: DesiredState,
    pub(crate) rules: Rules,
}

/// What worlds are drawn from, made once.
pub(crate) struct Worlds {
    settings: Vec<Arc<Settings>>,
    snapshots: Vec<Arc<Snapshot>>,
    exemption: Exemption,
    formerly: Arc<HashSet<headgate::policy::Key>>,
}

const GUARDED: [Place; 5] = [Place::Web, Place::Api, Place::Elsewhere, Place::Partners, Place::Stored];
const SAYINGS: [Option<Says>; 4] = [None, Some((0, false)), Some((1, false)), Some((0, true))];

pub(crate) fn now() -> Timestamp {
    "2020-01-01T00:00:00Z".parse().unwrap()
}

impl Worlds {
    pub(crate) fn new() -> Self {
        let exemption = ExemptionSpec {
            users: vec!["robot".to_owned()],
            kinds: vec!["networkpolicy.networking.k8s.io".to_owned()],
            labels: [("managed".to_owned(), "yes".to_owned())].into(),
            reason: "test".to_owned(),
            ..ExemptionSpec::default()
        };
        Self {
            settings: (0..256).map(|bits| Arc::new(settings(bits))).collect(),
            snapshots: (0..1024).map(|number| Arc::new(snapshot(&says(number)))).collect(),
            exemption: Exemption::new(exemption).unwrap(),
            formerly: Arc::new(GUARDED.map(|place| file(place, 0, false).0).into()),
        }
    }

    pub(crate) fn draw(&self, random: &mut fastrand::Rng) -> World {
        let count = random.usize(..4);
        let (mut sources, mut states) = (Vec::new(), Vec::new());
        for name in ["a", "b", "c"].into_iter().take(count) {
            let (source, state) = self.source(name, random);
            sources.push(source);
            states.push(Arc::new(state));
        }
        let one_in = |random: &mut fastrand::Rng, n: u8| random.u8(..n) == 0;
        let pick = |is, yes, no| if is { yes } else { no };
        World {
            sources,
            terminating: pick(one_in(random, 3), vec!["payments"], Vec::new()),
            desired: DesiredState::new(states),
            rules: Rules {
                guard_namespaces: false,
                mode: if one_in(random, 8) { Mode::Audit } else { Mode::Enforce },
                uncovered: if one_in(random, 2) {
                    Uncovered::Allow
                } else {
                    Uncovered::Deny
                },
                dry_run: if one_in(random, 2) { DryRun::Warn } else { DryRun::Deny },
                guarded: Vec::new(),
                exemptions: if one_in(random, 2) {
                    vec![self.exemption.clone()]
                } else {
                    Vec::new()
                },
            },
        }
    }

    fn source(&self, name: &str, random: &mut fastrand::Rng) -> (Source, SourceState) {
        let (bits, number) = (random.usize(..256), random.usize(..1024));
        let mut flag = |n: u8| random.u8(..n) == 0;
        let (has_head, stale, unverified) = (!flag(4), flag(4), flag(4));
        let (lost, going, declared_formerly) = (flag(2), flag(3), flag(3));
        let source = Source {
            everything: bits & 1 != 0,
            high: bits & 2 != 0,
            audit: is_audit(bits),
            deny_when_stale: bits & 8 != 0,
            deny_when_unverified: bits & 128 != 0,
            suspended: bits & 16 != 0,
            prune_all: bits & 32 != 0,
            takes_along: bits & 64 != 0,
            head: has_head.then(|| says(number)),
            had_head: has_head || lost,
            stale,
            unverified,
            going,
            declared_formerly,
        };
        let age = SignedDuration::from_mins(if stale { 11 } else { 9 });
        let published = SourceState {
            name: name.into(),
            settings: Arc::clone(&self.settings[bits]),
            head: has_head.then(|| Arc::clone(&self.snapshots[number])),
            had_head: has_head || lost,
            confirmed_at: Some(now() - age),
            adopted_at: Some(now() - SignedDuration::from_hours(1)),
            being_removed: going,
            is_unverified: unverified,
            is_behind: false,
            awaited: None,
            formerly: if declared_formerly {
                Arc::clone(&self.formerly)
            } else {
                Arc::default()
            },
        };
        (source, published)
    }
}

/// Seldom enough that refusals are common.
fn is_audit(bits: usize) -> bool {
    bits & 4 != 0 && bits & 16 == 0
}

fn settings(bits: usize) -> Settings {
    let of = |bit: usize, yes: &'static str, no: &'static str| if bits & bit != 0 { yes } else { no };
    let mut spec = json!({
        "git": {"url": "https://git.example.com/x.git"}, "staleAfter": "10m",
        "priority": if bits & 2 != 0 { 10 } else { 0 },
        "mode": if is_audit(bits) { "Audit" } else { "Enforce" },
        "whenStale": of(8, "Deny", "Allow"),
        "verify": {"mode": "Head", "keysSecretRef": {"name": "signers"}, "whenUnverified": of(128, "Deny", "Keep")},
        "suspend": bits & 16 != 0,
        "sync": {"prune": of(32, "All", "SinceAdoption"), "onRemoval": of(64, "Prune", "Release")},
    });
    if bits & 1 == 0 {
        spec["scope"] = json!({"namespaces": ["payments"]});
    }
    Settings::from_spec(&serde_json::from_value(spec).unwrap(), &UrlRules::default()).unwrap()
}

/// Of each guarded object in turn what a head says: the digits of a number.
fn says(number: usize) -> [Option<Says>; 5] {
    [0, 2, 4, 6, 8].map(|shift| SAYINGS[number >> shift & 3])
}

fn snapshot(says: &[Option<Says>; 5]) -> Snapshot {
    let mut entries = Entries::default();
    for (place, says) in GUARDED.into_iter().zip(says) {
        let Some((content, labelled)) = *says else { continue };
        let (key, digest) = file(place, content, labelled);
        let entry = Entry {
            digest,
            marked: None,
            path: "policies.yaml".into(),
            blob: BlobId([0; 20]),
            index: 0,
            line: 1,
        };
        entries.insert(key, entry);
    }
    let commit = Commit {
        id: "0".repeat(40),
        tree: String::new(),
        time: now(),
        author: String::new(),
        subject: String::new(),
    };
    Snapshot {
        commit,
        entries,
        skipped: Vec::new(),
        ignored: 0,
    }
}
