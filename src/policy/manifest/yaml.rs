//! YAML as kubectl reads it: Go's `gopkg.in/yaml.v2` under `sigs.k8s.io/yaml`, document by document.
//!
//! Only finding the tokens is left to a library. What they mean is decided here, as kubectl decides it: YAML 1.1's
//! booleans and octal numbers, keys that are no text, merges. Where kubectl lets something pass that nobody can have
//! meant (a repeated key, text that it drops), this refuses.

mod compose;
mod float;
mod scalar;

use std::collections::BTreeMap;
use std::mem::Discriminant;

use serde_json::Value;

use compose::Copies;
pub(super) use compose::MOST_DEPTH;
use scalar::Scalar;

/// Line and column, both from 1.
pub(super) type Place = (usize, usize);

/// A value with the places of its parts.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: Place,
    pub(super) content: Content,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    Scalar(Scalar),
    List(Vec<Node>),
    Members(BTreeMap<String, Member>),
}

/// A member of a mapping.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// The place of its key.
    pub(super) at: Place,
    pub(super) value: Node,
    /// What its key was before it became text: for kubectl `1` and `"1"` are two keys until the end.
    kind: Discriminant<Scalar>,
    /// Whether it came with a `<<`, and gives way to a key that is written.
    is_merged: bool,
}

/// What is wrong with a text, and where.
#[derive(Debug)]
pub(super) struct Flaw {
    pub(super) at: Place,
    pub(super) message: String,
}

impl Flaw {
    fn new(at: Place, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { at, message }
    }
}

/// Every document of a text, in order, with its own text and where that begins; none for one that holds nothing.
pub(super) fn documents(text: &str) -> impl Iterator<Item = Result<((&str, Place), Node), Flaw>> {
    let mut chunks = match forbidden(text) {
        Some(flaw) => vec![Err(flaw)],
        None => chunks(text),
    }
    .into_iter();
    let mut copies = Copies::default();
    std::iter::from_fn(move || {
        chunks.find_map(|chunk| match chunk {
            Ok((line, chunk)) => {
                let start = (line, 1);
                let node = compose::document(chunk, start, &mut copies).transpose()?;
                Some(node.map(|node| ((chunk, start), node)))
            }
            Err(flaw) => Some(Err(flaw)),
        })
    })
}

/// The document that a part of a text is, which begins at `start`.
pub(super) fn document(text: &str, start: Place) -> Option<Node> {
    compose::document(text, start, &mut Copies::default()).ok().flatten()
}

/// The parts between the lines that begin with `---`, each with the number of its first line. kubectl divides a file so
/// before it looks at any of it. Where there is nothing before such a line, it is part of what follows.
fn chunks(text: &str) -> Vec<Result<(usize, &str), Flaw>> {
    let (mut found, mut start, mut first_line, mut offset) = (Vec::new(), 0, 1, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if let Some(rest) = line.strip_prefix("---") {
            let rest = rest.trim();
            if !rest.is_empty() && !rest.starts_with('#') {
                let message = "only a comment may follow `---` on its line: kubectl refuses anything else";
                found.push(Err(Flaw::new((index + 1, 4), message)));
            }
            if offset > start {
                found.push(Ok((first_line, text.get(start..offset).unwrap_or_default())));
                (start, first_line) = (offset + line.len(), index + 2);
            }
        }
        offset += line.len();
    }
    found.push(Ok((first_line, text.get(start..).unwrap_or_default())));
    found
}

/// The first character that kubectl refuses, or takes for the end of a line where nobody sees one.
fn forbidden(text: &str) -> Option<Flaw> {
    let is_fine = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{fffd}' | '\u{10000}'..);
    let is_odd = |c: char| !is_fine(c);
    let (before, rest) = text.split_at(text.find(is_odd)?);
    let c = rest.chars().next()?;
    let line = before.split('\n').count();
    let column = 1 + before.chars().rev().take_while(|c| *c != '\n').count();
    let name = c.escape_unicode();
    let message = match c {
        '\u{85}' | '\u{2028}' | '\u{2029}' => {
            format!(
                "the invisible character {name} ends a line for kubectl: remove it, or write it as an escape in quotes"
            )
        }
        _ => format!("the control character {name} is not allowed: remove it, or write it as an escape in quotes"),
    };
    Some(Flaw::new((line, column), message))
}

impl Node {
    /// The value alone.
    pub(super) fn into_value(self) -> Value {
        match self.content {
            Content::Scalar(scalar) => scalar.into_value(),
            Content::List(items) => items.into_iter().map(Node::into_value).collect(),
            Content::Members(members) => {
                let member = |(name, member): (String, Member)| (name, member.value.into_value());
                Value::Object(members.into_iter().map(member).collect())
            }
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.content, Content::Scalar(Scalar::Null))
    }
}

#[cfg(test)]
mod tests;
