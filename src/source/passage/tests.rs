use serde_json::Value;

use super::*;
use crate::policy::Digest;
use crate::source::snapshot::{BlobId, Commit, Entries, Entry};

type Failure = Box<dyn std::error::Error>;

fn snapshot(declares: &[(&str, &str)]) -> Result<Snapshot, Failure> {
    let mut entries = Entries::default();
    for (name, says) in declares {
        let entry = Entry {
            digest: Digest::of(&Value::String((*says).to_owned()))?,
            marked: None,
            path: "a.yaml".into(),
            blob: BlobId([0; 20]),
            index: 0,
            line: 1,
        };
        entries.insert(format!("tier.projectcalico.org/{name}").parse()?, entry);
    }
    Ok(Snapshot {
        commit: Commit {
            id: String::new(),
            tree: String::new(),
            time: jiff::Timestamp::UNIX_EPOCH,
            author: String::new(),
            subject: String::new(),
        },
        entries,
        skipped: Vec::new(),
        ignored: 0,
    })
}

#[test]
fn objects_are_counted_by_what_became_of_them() -> Result<(), Failure> {
    let before = snapshot(&[("same", "1"), ("changed", "1"), ("removed", "1")])?;
    let after = snapshot(&[("same", "1"), ("changed", "2"), ("added", "1"), ("more", "1")])?;
    let changes = Changes::between(&before, &after);
    assert_eq!((changes.created, changes.changed, changes.removed), (2, 1, 1));
    let named: Vec<(&str, Touch)> = changes.first.iter().map(|(key, touch)| (key.name(), *touch)).collect();
    assert_eq!(
        named,
        [
            ("added", Touch::Created),
            ("changed", Touch::Changed),
            ("more", Touch::Created),
            ("removed", Touch::Removed)
        ]
    );
    assert!(Changes::between(&before, &before).is_empty());
    Ok(())
}

#[test]
fn of_many_objects_the_first_by_key_are_named() -> Result<(), Failure> {
    let tiers: Vec<String> = (0..50).map(|number| format!("t{number:02}")).collect();
    let declares: Vec<(&str, &str)> = tiers.iter().map(|name| (name.as_str(), "1")).collect();
    let changes = Changes::first_of(&snapshot(&declares)?);
    assert_eq!(changes.created, 50);
    let named: Vec<&str> = changes.first.keys().map(Key::name).collect();
    assert_eq!(named, ["t00", "t01", "t02", "t03", "t04"]);
    Ok(())
}
