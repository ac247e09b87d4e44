//! Where a field is in the text. Asked only once something is wrong: the file is then read a second time, with places.

use super::documents;
use super::path::{Path, Step};
use super::yaml::{Content, Node, Place};

/// The places of everything in a file.
pub(super) struct Positions(Vec<Node>);

impl Positions {
    pub(super) fn of(text: &[u8]) -> Self {
        Self(documents::places(text))
    }

    /// Line and column of a field in the document that begins at `start`; of the nearest thing around it where it is
    /// not there itself.
    pub(super) fn find(&self, start: Place, path: &Path<'_>) -> Option<Place> {
        let mut node = self.0.iter().find(|node| node.at == start)?;
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
