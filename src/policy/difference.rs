//! Field differences between two canonical forms, as a person reads them.

mod align;
mod pairing;
mod shown;

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

/// The most differences that are told apart. Where there are more, one last difference says so:
/// [`Difference::is_more`].
pub const MOST_DIFFERENCES: usize = 64;

const MORE: &str = "…";

/// One field that differs, by path.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Difference {
    /// The field, as in `spec.ingress[0].ports[0].port`. An item of a list has its place in Git, or where it is not in Git, its
    /// place in the other. Hidden characters are written out, and a long path is without its middle.
    pub path: String,
    /// The value in Git; none where Git has no such field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git: Option<Value>,
    /// The value in the request, or in the cluster; none where that has no such field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<Value>,
    /// Where the other list has this item of Git, unchanged: then there is no value.
    #[serde(rename = "movedTo", skip_serializing_if = "Option::is_none")]
    pub moved_to: Option<usize>,
}

/// The field differences between Git's canonical form and another's: by field, `metadata` last, for what a policy does
/// matters most where not all is shown. An item inserted into a list is one difference, not one for each item behind it,
/// and so is one that changed its place.
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
            moved_to: None,
        });
    }
    found
}

impl Difference {
    /// Whether this stands for all differences beyond [`MOST_DIFFERENCES`].
    pub fn is_more(&self) -> bool {
        self.path == MORE && self.git.is_none() && self.other.is_none() && self.moved_to.is_none()
    }

    /// The difference in one line, with the words for the side that is not Git: `this request`, `the cluster`.
    pub fn sentence(&self, side: &str) -> String {
        let path = &self.path;
        match (&self.git, &self.other, self.moved_to) {
            (Some(git), Some(other), _) => {
                let (git, other) = shown::two(git, other);
                format!("{path}: {git} in Git, {other} in {side}")
            }
            (None, Some(other), _) => match self.place() {
                Some(place) => format!("{path}: not in Git, {place} in {side} is {}", shown::one(other)),
                None => format!("{path}: not in Git, {} in {side}", shown::one(other)),
            },
            (Some(git), None, _) => format!("{path}: {} in Git, not in {side}", shown::one(git)),
            (None, None, Some(place)) => format!("{path}: moved, [{place}] in {side}"),
            (None, None, None) => "more fields differ".to_owned(),
        }
    }

    /// The place at the end of the path, as in `[0]`, where it names an item.
    fn place(&self) -> Option<&str> {
        let (_, place) = self.path.strip_suffix(']')?.rsplit_once('[')?;
        let is_place = place.bytes().all(|byte| byte.is_ascii_digit());
        self.path.get(self.path.len() - place.len() - 2..).filter(|_| is_place)
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
            _ => self.record(Some(git), Some(other), None),
        }
    }

    fn members(&mut self, git: &Map<String, Value>, other: &Map<String, Value>) {
        let is_top = self.path.is_empty();
        let names: BTreeSet<(bool, &String)> = git
            .keys()
            .chain(other.keys())
            .map(|name| (is_top && name == "metadata", name))
            .collect();
        for (_, name) in names {
            if self.is_full() {
                return;
            }
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
            _ => self.record(git, other, None),
        }
    }

    fn is_map_of_entries(&self) -> bool {
        matches!(
            self.path.as_str(),
            "metadata" | "metadata.labels" | "metadata.annotations"
        )
    }

    fn items(&mut self, git: &[Value], other: &[Value]) {
        let alignment = align::align(git, other);
        for (from_git, from_other) in &alignment.changed {
            self.changed(git, from_git, other, from_other);
            if self.is_full() {
                return;
            }
        }
        for (from, to) in alignment.moved {
            self.below(&format!("[{from}]"), |this| this.record(None, None, Some(to)));
        }
    }

    /// Items of Git against items that took their place: the edited ones in pairs, what is left over on either side.
    fn changed(&mut self, git: &[Value], from_git: &[usize], other: &[Value], from_other: &[usize]) {
        let git_items: Vec<&Value> = from_git.iter().filter_map(|at| git.get(*at)).collect();
        let other_items: Vec<&Value> = from_other.iter().filter_map(|at| other.get(*at)).collect();
        for (mine, theirs) in pairing::pair(&git_items, &other_items) {
            let place = match (mine, theirs) {
                (Some(at), _) => from_git.get(at),
                (None, at) => at.and_then(|at| from_other.get(at)),
            };
            let mine = mine.and_then(|at| git_items.get(at).copied());
            let theirs = theirs.and_then(|at| other_items.get(at).copied());
            let place = place.copied().unwrap_or_default();
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

    fn record(&mut self, git: Option<&Value>, other: Option<&Value>, moved_to: Option<usize>) {
        if !self.is_full() {
            self.found.push(Difference {
                path: shown::path(&self.path),
                git: git.cloned(),
                other: other.cloned(),
                moved_to,
            });
        }
    }

    /// One more than is told, so that the end can say there are more.
    fn is_full(&self) -> bool {
        self.found.len() > MOST_DIFFERENCES
    }
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

#[cfg(test)]
mod tests;
