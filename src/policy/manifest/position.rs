//! Where a field is in the text. Asked only once something is wrong: the document is then read a second time, with places.

use super::documents::Source;
use super::path::{Path, Step};
use super::yaml::{Content, Node, Place};

/// The places of everything in a document.
pub(super) struct Positions(Option<Node>);

impl Positions {
    pub(super) fn of(document: Source<'_>) -> Self {
        Self(document.places())
    }

    /// Line and column of a field; of the nearest thing around it where it is not there itself.
    pub(super) fn find(&self, path: &Path<'_>) -> Option<Place> {
        let mut node = self.0.as_ref()?;
        let mut found = node.at;
        for step in &path.0 {
            let next = match (step, &node.content) {
                (Step::Member(name), Content::Members(members)) => {
                    members.get(*name).map(|member| (member.at, &member.value))
                }
                (Step::Item(index), Content::List(items)) => items.get(*index).map(|item| (item.at, item)),
                _ => None,
            };
            let Some(next) = next else { break };
            (found, node) = next;
        }
        Some(found)
    }
}
