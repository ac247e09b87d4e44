use serde_json::json;

use super::*;
use crate::source::trusted::Entry;

type Outcomes = Vec<(Outcome, &'static str, String)>;

struct World {
    notes: Notebook,
    configuration: InForce,
    sources: BTreeMap<String, PolicySource>,
    secrets: Sights,
}

impl World {
    fn new() -> Self {
        Self {
            notes: Notebook::new(),
            configuration: InForce {
                hash: "a".to_owned(),
                content: json!({"mode": "Enforce"}),
            },
            sources: BTreeMap::new(),
            secrets: Sights::new(),
        }
    }

    fn source(&mut self, uid: &str, generation: i64, spec: &Value) -> Result<(), serde_json::Error> {
        let source = serde_json::from_value(json!({
            "apiVersion": "headgate.dev/v1alpha1", "kind": "PolicySource",
            "metadata": {"name": "payments", "uid": uid, "generation": generation},
            "spec": spec,
        }))?;
        self.sources.insert("payments".to_owned(), source);
        Ok(())
    }

    fn secret(&mut self, password: &str) {
        let sight = SecretSight {
            uid: "s".to_owned(),
            entries: BTreeMap::from([("password".to_owned(), Entry::of("password", password.as_bytes()))]),
            writer: Some("kubectl-create".to_owned()),
        };
        self.secrets.insert("acme-git".to_owned(), Some(sight));
    }

    /// What is told, and remembered from now on.
    fn told(&mut self) -> Vec<Record> {
        let present = Present {
            configuration: &self.configuration,
            sources: &self.sources,
            secrets: &self.secrets,
        };
        let (records, memory) = tell(&self.notes, &present, Timestamp::UNIX_EPOCH);
        // As another process reads it back.
        let text = serde_json::to_vec(&memory).unwrap_or_default();
        self.notes.memory = serde_json::from_slice(&text).unwrap_or_default();
        records
    }

    fn outcomes(&mut self) -> Outcomes {
        let paths = |record: &Record| {
            let paths: Vec<&str> = record.changes.iter().map(|change| change.path.as_str()).collect();
            paths.join(" ")
        };
        let told = self.told();
        let outcomes = told.iter();
        outcomes
            .map(|record| (record.outcome, record.reason, paths(record)))
            .collect()
    }
}

fn git(branch: &str) -> Value {
    json!({"git": {"url": "https://git.example.com/a", "ref": {"branch": branch},
        "credentialsSecretRef": {"name": "acme-git"}}})
}

fn one(outcome: Outcome, reason: &'static str, paths: &str) -> Outcomes {
    vec![(outcome, reason, paths.to_owned())]
}

#[test]
fn each_change_of_a_source_is_told_once_whoever_leads() -> Result<(), serde_json::Error> {
    let mut world = World::new();
    world.source("1", 1, &git("main"))?;
    assert_eq!(world.outcomes(), one(Outcome::Created, "source", "spec"));
    assert_eq!(world.outcomes(), []);
    world.source("1", 2, &git("next"))?;
    assert_eq!(world.outcomes(), one(Outcome::Changed, "source", "spec.git.ref.branch"));
    assert_eq!(world.outcomes(), []);
    world.source("2", 1, &git("next"))?;
    assert_eq!(
        world.outcomes(),
        [
            (Outcome::Deleted, "source", "spec".to_owned()),
            (Outcome::Created, "source", "spec".to_owned())
        ]
    );
    world.sources.clear();
    assert_eq!(world.outcomes(), one(Outcome::Deleted, "source", "spec"));
    assert_eq!(world.outcomes(), []);
    Ok(())
}

#[test]
fn a_spec_that_only_a_new_version_reads_otherwise_is_no_change() -> Result<(), serde_json::Error> {
    let mut world = World::new();
    world.source("1", 1, &git("main"))?;
    world.told();
    world.source("1", 1, &git("next"))?;
    assert_eq!(world.outcomes(), []);
    Ok(())
}

#[test]
fn a_secret_is_told_of_by_marks_when_it_was_read_and_its_loss_when_it_is_gone() -> Result<(), serde_json::Error> {
    let mut world = World::new();
    world.source("1", 1, &git("main"))?;
    world.told();
    assert_eq!(world.outcomes(), [], "it was not read yet");
    world.secret("s3cret");
    assert_eq!(world.outcomes(), one(Outcome::Created, "secret", "password"));
    let restarted = std::mem::take(&mut world.secrets);
    assert_eq!(world.outcomes(), [], "another process has not read it yet");
    world.secrets = restarted;
    assert_eq!(world.outcomes(), []);
    world.secret("0ther");
    let told = world.told();
    let text = serde_json::to_string(&told)?;
    assert!(
        text.contains("mark:") && !text.contains("s3cret") && !text.contains("0ther"),
        "{text}"
    );
    assert_eq!(told.len(), 1);
    let Some(record) = told.first() else { return Ok(()) };
    assert_eq!(
        record.message,
        "Secret acme-git was changed: password. It is credentials of payments."
    );
    assert_eq!(record.source.as_deref(), Some("payments"));
    world.secrets.insert("acme-git".to_owned(), None);
    assert_eq!(world.outcomes(), one(Outcome::Deleted, "secret", "password"));
    assert_eq!(world.outcomes(), []);
    Ok(())
}

#[test]
fn another_configuration_is_told_with_its_fields_and_the_first_one_is_not() {
    let mut world = World::new();
    assert_eq!(world.outcomes(), []);
    world.configuration = InForce {
        hash: "b".to_owned(),
        content: json!({"mode": "Audit"}),
    };
    assert_eq!(world.outcomes(), one(Outcome::Changed, "configuration", "hash mode"));
    assert_eq!(world.outcomes(), []);
}

#[test]
fn a_spec_that_is_too_long_to_be_remembered_is_told_as_a_whole() -> Result<(), serde_json::Error> {
    let mut world = World::new();
    let ignore = |item: &str| json!({"git": {"url": "https://x", "ignore": vec![item; 2000]}});
    world.source("1", 1, &ignore("aaaaaaaaaaaaaaaa"))?;
    world.told();
    world.source("1", 2, &ignore("bbbbbbbbbbbbbbbb"))?;
    assert_eq!(world.outcomes(), one(Outcome::Changed, "source", "spec"));
    Ok(())
}
