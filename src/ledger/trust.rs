//! Records of who and what is trusted: a source, a Secret that one names, a grant, the configuration. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::record::{Change, Outcome, Record, Subject};
use crate::policy::differences;
use crate::source::trusted::{Entry, without_passwords};

/// So many fields are named in a sentence.
const NAMED: usize = 6;

/// What is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trusted {
    /// A `PolicySource`.
    Source,
    /// A `PolicyGrant`.
    Grant,
    /// A Secret that a source names, or may name.
    Secret,
    /// The configuration file.
    Configuration,
}

impl Trusted {
    /// As records give the reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Grant => "grant",
            Self::Secret => "secret",
            Self::Configuration => "configuration",
        }
    }

    fn label(self, name: &str) -> String {
        match self {
            Self::Source => format!("PolicySource {name}"),
            Self::Grant => format!("PolicyGrant {name}"),
            Self::Secret => format!("Secret {name}"),
            Self::Configuration => "the configuration".to_owned(),
        }
    }

    fn object(self, name: &str) -> Option<String> {
        match self {
            Self::Source => Some(format!("policysources.headgate.dev/{name}")),
            Self::Grant => Some(format!("policygrants.headgate.dev/{name}")),
            Self::Secret => Some(format!("secrets/{name}")),
            Self::Configuration => None,
        }
    }
}

/// The spec of a source or grant as records show it: no passwords in URLs, whatever its owner wrote there.
pub fn shown_spec(spec: &Value) -> Value {
    let mut shown = json!({ "spec": spec });
    without_passwords(&mut shown);
    shown
}

/// A Secret as records show it: what is public as it is, and of the rest only what `mark` makes of its hash.
pub fn shown_secret(entries: &BTreeMap<String, Entry>, mark: impl Fn(&str, &[u8; 32]) -> String) -> Value {
    let shown = entries.iter().map(|(name, entry)| {
        let value = match entry {
            Entry::Public(lines) => json!(lines),
            Entry::Private(hash) => Value::String(mark(name, hash)),
        };
        (name.clone(), value)
    });
    Value::Object(shown.collect())
}

/// What changed, field by field; what is new or gone is one change.
pub fn changes(before: Option<&Value>, after: Option<&Value>) -> Vec<Change> {
    match (before, after) {
        (Some(before), Some(after)) => differences(before, after)
            .into_iter()
            .map(|difference| Change {
                path: difference.path,
                from: difference.git,
                to: difference
                    .other
                    .or_else(|| difference.moved_to.map(|place| json!({ "movedTo": place }))),
            })
            .collect(),
        (before, after) => {
            let whole = before.or(after).and_then(Value::as_object);
            let members = whole.into_iter().flatten();
            members
                .map(|(path, value)| Change {
                    path: path.clone(),
                    from: before.is_some().then(|| value.clone()),
                    to: after.is_some().then(|| value.clone()),
                })
                .collect()
        }
    }
}

/// The record of a change that was seen in the cluster. `writer` is the field manager, as far as the object tells.
pub fn seen(
    trusted: Trusted,
    name: &str,
    outcome: Outcome,
    changes: Vec<Change>,
    writer: Option<&str>,
    now: Timestamp,
) -> Record {
    let label = trusted.label(name);
    let paths = paths(&changes);
    let what = match outcome {
        Outcome::Created => format!("{label} is trusted from now on"),
        Outcome::Deleted => format!("{label} is trusted no more"),
        _ if paths.is_empty() => format!("{label} was changed in nothing that is shown"),
        _ => format!("{label} was changed: {paths}"),
    };
    let mut message = what + ".";
    if let Some(first) = message.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let mut record = Record::new(now, Subject::Trust, outcome, trusted.reason(), message);
    // Who took something away is not in what is left, and a file has no field managers.
    if matches!(outcome, Outcome::Created | Outcome::Changed) && trusted != Trusted::Configuration {
        record.actor = Some(match writer {
            Some(writer) => format!("unknown (field manager {writer})"),
            None => "unknown".to_owned(),
        });
    }
    record.object = trusted.object(name);
    record.source = (trusted == Trusted::Source).then(|| name.to_owned());
    record.changes = changes;
    record
}

/// The sentence of what somebody asks for.
pub fn asked(trusted: Trusted, name: &str, verb: &str, changes: Vec<Change>, now: Timestamp) -> Record {
    let label = trusted.label(name);
    let paths = paths(&changes);
    let message = format!("Asked to {verb} {label}: {paths}.");
    let mut record = Record::new(now, Subject::Trust, Outcome::Asked, trusted.reason(), message);
    record.object = trusted.object(name);
    record.source = (trusted == Trusted::Source).then(|| name.to_owned());
    record.changes = changes;
    record
}

/// The record of a process that starts.
pub fn started(role: &str, version: &str, configuration: &str, now: Timestamp) -> Record {
    let message = format!("headgate {role} {version} starts with the configuration {configuration}.");
    let mut record = Record::new(
        now,
        Subject::Trust,
        Outcome::Started,
        Trusted::Configuration.reason(),
        message,
    );
    record.changes = vec![Change {
        path: "hash".to_owned(),
        from: None,
        to: Some(configuration.into()),
    }];
    record
}

fn paths(changes: &[Change]) -> String {
    let mut named: Vec<&str> = changes.iter().map(|change| change.path.as_str()).collect();
    let more = named.len().saturating_sub(NAMED);
    named.truncate(NAMED);
    let named = named.join(", ");
    if more > 0 {
        format!("{named} and {more} more")
    } else {
        named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_spec_is_told_field_by_field_and_without_passwords() {
        let before = shown_spec(&json!({"git": {"url": "https://me:s3cret@git.example.com/a", "path": "x"}}));
        let after = shown_spec(&json!({"git": {"url": "https://git.example.com/b", "path": "x"}}));
        let told = changes(Some(&before), Some(&after));
        let url = |value: &str| Some(Value::String(value.to_owned()));
        assert_eq!(
            told,
            [Change {
                path: "spec.git.url".to_owned(),
                from: url("https://…@git.example.com/a"),
                to: url("https://git.example.com/b"),
            }]
        );
        let record = seen(
            Trusted::Source,
            "payments",
            Outcome::Changed,
            told,
            Some("kubectl-edit"),
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(record.message, "PolicySource payments was changed: spec.git.url.");
        assert_eq!(record.actor.as_deref(), Some("unknown (field manager kubectl-edit)"));
    }

    #[test]
    fn what_is_new_and_what_is_gone_is_told_as_a_whole() {
        let spec = shown_spec(&json!({"priority": 1}));
        let new = changes(None, Some(&spec));
        assert!(new.iter().all(|change| change.path == "spec" && change.from.is_none()));
        let gone = changes(Some(&spec), None);
        assert!(gone.iter().all(|change| change.path == "spec" && change.to.is_none()));
        assert_eq!((new.len(), gone.len()), (1, 1));
    }
}
