//! Where a field is in the text. Asked only once something is wrong: the file is then read a second time, with places.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::documents;
use super::path::{Path, Step};

/// The places of everything in a file. JSON is read as the YAML it is.
pub(super) struct Positions(Vec<Spanned<Tree>>);

/// A document without its scalars.
enum Tree {
    Leaf,
    List(Vec<Spanned<Tree>>),
    Members(Vec<(Spanned<String>, Spanned<Tree>)>),
}

impl Positions {
    pub(super) fn of(text: &[u8]) -> Self {
        let mut bytes = documents::utf8(text).unwrap_or_default().as_bytes();
        let trees = serde_saphyr::read_with_options(&mut bytes, documents::yaml_options());
        Self(trees.filter_map(Result::ok).collect())
    }

    /// Line and column of a field in the document that begins at `line`; of the nearest thing around it where it is
    /// not there itself.
    pub(super) fn find(&self, line: usize, path: &Path<'_>) -> Option<(usize, usize)> {
        let root = self.0.iter().find(|tree| place(tree.referenced).0 == line)?;
        let mut found = root.referenced;
        let mut tree = root;
        for step in &path.0 {
            let next = match (step, &tree.value) {
                (Step::Member(name), Tree::Members(members)) => members
                    .iter()
                    .find(|(key, _)| key.value == *name)
                    .map(|(key, value)| (key.referenced, value)),
                (Step::Item(index), Tree::List(items)) => items.get(*index).map(|item| (item.referenced, item)),
                _ => None,
            };
            let Some((at, next)) = next else { break };
            (found, tree) = (at, next);
        }
        Some(place(found))
    }
}

fn place(at: Location) -> (usize, usize) {
    let number = |number: u64| usize::try_from(number).unwrap_or_default().max(1);
    (number(at.line()), number(at.column()))
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_str<E>(self, _: &str) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = access.next_entry()? {
            members.push(member);
        }
        Ok(Tree::Members(members))
    }
}
