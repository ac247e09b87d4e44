//! Field differences between two canonical forms, as a person reads them.

mod pairing;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use serde_json::{Map, Value};
use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::digest::Digest;

/// The most differences that are told apart. Where there are more, one last difference says so:
/// [`Difference::is_more`].
pub const MOST_DIFFERENCES: usize = 64;

/// Longer lists, by the product of both lengths, are compared place by place: finding what was inserted takes
/// quadratic time at worst.
const MOST_COMPARISONS: usize = 1_000_000;

/// How much of a value a sentence shows.
const MOST_CHARS: usize = 80;

const MORE: &str = "…";

/// One field that differs, by path.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Difference {
    /// The field, as in `spec.ingress[0].ports[0].port`.
    pub path: String,
    /// The value in Git; none where Git has no such field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git: Option<Value>,
    /// The value in the request, or in the cluster; none where that has no such field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<Value>,
}

/// The field differences between Git's canonical form and another's, sorted by field. An item inserted into a list is
/// one difference, not one for each item that moved; a path names an item by its place in Git, or where it is not in
/// Git, by its place in the other.
///
/// Empty if and only if the forms are equal. At most [`MOST_DIFFERENCES`], and then one that says there are more.
pub fn differences(git: &Value, other: &Value) -> Vec<Difference> {
    let mut comparison = Comparison {
        path: String::new(),
        found: Vec::new(),
    };
    comparison.values(git, other);
    let mut found = comparison.found;
    if found.len() > MOST_DIFFERENCES {
        found.truncate(MOST_DIFFERENCES);
        found.push(Difference {
            path: MORE.to_owned(),
            git: None,
            other: None,
        });
    }
    found
}

impl Difference {
    /// Whether this stands for all differences beyond [`MOST_DIFFERENCES`].
    pub fn is_more(&self) -> bool {
        self.path == MORE && self.git.is_none() && self.other.is_none()
    }

    /// The difference in one line, with the words for the side that is not Git: `this request`, `the cluster`.
    pub fn sentence(&self, side: &str) -> String {
        let path = escape(&self.path);
        match (&self.git, &self.other) {
            (Some(git), Some(other)) => format!("{path}: {} in Git, {} in {side}", shown(git), shown(other)),
            (None, Some(_)) => format!("{path}: not in Git"),
            (Some(_), None) => format!("{path}: only in Git"),
            (None, None) => "more fields differ".to_owned(),
        }
    }
}

/// The sentence of a denial: `spec.ingress[0].ports[0].port: 443 in Git, 8443 in this request`.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence("this request"))
    }
}

struct Comparison {
    path: String,
    found: Vec<Difference>,
}

impl Comparison {
    fn values(&mut self, git: &Value, other: &Value) {
        if self.is_full() {
            return;
        }
        match (git, other) {
            (Value::Object(git), Value::Object(other)) => self.members(git, other),
            (Value::Array(git), Value::Array(other)) => self.items(git, other),
            _ if git == other => {}
            _ => self.record(Some(git), Some(other)),
        }
    }

    fn members(&mut self, git: &Map<String, Value>, other: &Map<String, Value>) {
        let names: BTreeSet<&String> = git.keys().chain(other.keys()).collect();
        for name in names {
            self.below(&member_segment(name, self.path.is_empty()), |this| {
                this.optional(git.get(name), other.get(name));
            });
        }
    }

    fn optional(&mut self, git: Option<&Value>, other: Option<&Value>) {
        match (git, other) {
            (Some(git), Some(other)) => self.values(git, other),
            // A map that only one side has is told entry by entry: people think of labels one at a time.
            (Some(Value::Object(git)), None) if self.is_map_of_entries() => self.members(git, &Map::new()),
            (None, Some(Value::Object(other))) if self.is_map_of_entries() => self.members(&Map::new(), other),
            _ => self.record(git, other),
        }
    }

    fn is_map_of_entries(&self) -> bool {
        matches!(
            self.path.as_str(),
            "metadata" | "metadata.labels" | "metadata.annotations"
        )
    }

    fn items(&mut self, git: &[Value], other: &[Value]) {
        for operation in operations(git, other) {
            let (_, from_git, from_other) = operation.as_tag_tuple();
            if !matches!(operation, DiffOp::Equal { .. }) {
                self.changed(git, from_git, other, from_other);
            }
        }
    }

    /// Items of Git against items that took their place: the edited ones in pairs, what is left over on either side.
    fn changed(&mut self, git: &[Value], from_git: Range<usize>, other: &[Value], from_other: Range<usize>) {
        let git_items = git.get(from_git.clone()).unwrap_or_default();
        let other_items = other.get(from_other.clone()).unwrap_or_default();
        for (mine, theirs) in pairing::pair(git_items, other_items) {
            let place = match (mine, theirs) {
                (Some(at), _) => from_git.start + at,
                (None, at) => from_other.start + at.unwrap_or_default(),
            };
            let mine = mine.and_then(|at| git_items.get(at));
            let theirs = theirs.and_then(|at| other_items.get(at));
            self.below(&format!("[{place}]"), |this| this.optional(mine, theirs));
            if self.is_full() {
                return;
            }
        }
    }

    fn below(&mut self, segment: &str, compare: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(segment);
        compare(self);
        self.path.truncate(length);
    }

    fn record(&mut self, git: Option<&Value>, other: Option<&Value>) {
        if !self.is_full() {
            self.found.push(Difference {
                path: self.path.clone(),
                git: git.cloned(),
                other: other.cloned(),
            });
        }
    }

    /// One more than is told, so that the end can say there are more.
    fn is_full(&self) -> bool {
        self.found.len() > MOST_DIFFERENCES
    }
}

/// What was kept, inserted and removed between two lists.
fn operations(git: &[Value], other: &[Value]) -> Vec<DiffOp> {
    if git.len().saturating_mul(other.len()) <= MOST_COMPARISONS
        && let (Some(git), Some(other)) = (digests(git), digests(other))
    {
        return capture_diff_slices(Algorithm::Myers, &git, &other);
    }
    vec![DiffOp::Replace {
        old_index: 0,
        old_len: git.len(),
        new_index: 0,
        new_len: other.len(),
    }]
}

fn digests(items: &[Value]) -> Option<Vec<Digest>> {
    items.iter().map(|item| Digest::of(item).ok()).collect()
}

/// `.name`, or `["app.kubernetes.io/name"]` where a dot would read as another field.
fn member_segment(name: &str, is_first: bool) -> String {
    let is_plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    match (is_plain, is_first) {
        (true, true) => name.to_owned(),
        (true, false) => format!(".{name}"),
        (false, _) => format!("[{}]", Value::from(name)),
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(MOST_CHARS) {
        Some((end, _)) => escape(text.get(..end).unwrap_or_default()) + MORE,
        None => escape(&text),
    }
}

/// Nothing that moves a terminal's cursor or turns its text around reaches a message.
fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        if c.is_control() || is_invisible(c) {
            escaped.extend(c.escape_unicode());
        } else {
            escaped.push(c);
        }
        escaped
    })
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests;
