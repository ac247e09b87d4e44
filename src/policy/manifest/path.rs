//! The way from a document's root to one of its fields.

use std::fmt;

use serde_json::Value;

/// One step of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// The member of an object.
    Member(&'a str),
    /// The item of a list.
    Item(usize),
}

/// The steps from a document's root to a field. Written `spec.ingress[0].from`, and
/// `metadata.labels["app.kubernetes.io/name"]` where a dot would read as another field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Path<'a>(pub(super) Vec<Step<'a>>);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match *step {
                Step::Item(place) => write!(f, "[{place}]")?,
                Step::Member(name) if !is_plain(name) => write!(f, "[{}]", Value::from(name))?,
                Step::Member(name) if index == 0 => f.write_str(name)?,
                Step::Member(name) => write!(f, ".{name}")?,
            }
        }
        Ok(())
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}
