//! Events to nodes: aliases to what they stand for, merges to members, all of it bounded.

use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::mem::discriminant;

use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, StrInput, Tag};

use super::scalar::Scalar;
use super::{Content, Flaw, Member, Node, Place};

/// Fine where a document begins.
const BOM: char = '\u{feff}';

/// How deep a document may be nested, aliases included. What an API server sends of it is nested deeper.
pub(in super::super) const MOST_DEPTH: usize = 100;

/// How many nodes a document may have once every alias is what it stands for.
const MOST_NODES: usize = 500_000;

/// How many nodes of a file may be copies that aliases stand for: a few bytes must not become many times their size, in
/// one document or in many.
const MOST_COPIED_NODES: usize = 100_000;

/// How much text those copies may have.
const MOST_COPIED_BYTES: usize = 4 << 20;

/// What the aliases of a file have been copied to so far.
#[derive(Default)]
pub(super) struct Copies {
    nodes: usize,
    bytes: usize,
}

/// The one document of a text that begins at `start`; none where it is empty.
pub(super) fn document(text: &str, start: Place, copies: &mut Copies) -> Result<Option<Node>, Flaw> {
    let text = text.strip_prefix(BOM).unwrap_or(text);
    let mut composer = Composer {
        text,
        end: 0,
        parser: Parser::new_from_str_with_options(text, options()),
        start,
        anchors: HashMap::new(),
        nodes: 0,
        copies,
    };
    if let Some(offset) = text.find(BOM) {
        let before = text.get(..offset).unwrap_or_default();
        let column = before.chars().rev().take_while(|c| *c != '\n').count();
        let at = composer.place(before.split('\n').count(), column);
        let message = "there is an invisible byte order mark here, which is no part of any name or value: remove it";
        return Err(Flaw::new(at, message));
    }
    loop {
        match composer.next()? {
            (Event::StreamStart, _) => {}
            (Event::DocumentStart(..), _) => break,
            _ => return Ok(None),
        }
    }
    let (event, at) = composer.next()?;
    let node = composer.node(event, at, 0)?.node;
    composer.expect_end()?;
    Ok((!node.is_null()).then_some(node))
}

fn options() -> Options {
    granit_parser::options! { emit_comments: false }
}

struct Composer<'t, 'c> {
    text: &'t str,
    /// Where the event read last ends.
    end: usize,
    parser: Parser<'t, StrInput<'t>>,
    start: Place,
    anchors: HashMap<usize, Composed>,
    nodes: usize,
    copies: &'c mut Copies,
}

/// A node and its size.
#[derive(Clone)]
struct Composed {
    node: Node,
    size: Size,
}

#[derive(Clone, Copy)]
struct Size {
    nodes: usize,
    bytes: usize,
    depth: usize,
}

impl Size {
    /// That of a node around parts that are to come.
    const OUTSIDE: Self = Self {
        nodes: 1,
        bytes: 0,
        depth: 1,
    };

    fn add(&mut self, part: Self) {
        self.nodes += part.nodes;
        self.bytes += part.bytes;
        self.depth = self.depth.max(part.depth + 1);
    }
}

impl<'t> Composer<'t, '_> {
    fn next(&mut self) -> Result<(Event<'t>, Place), Flaw> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                self.end = span.end.byte_offset().unwrap_or_default();
                Ok((event, self.place(span.start.line(), span.start.col())))
            }
            Some(Err(error)) => Err(self.flaw(&error)),
            None => Ok((Event::StreamEnd, self.start)),
        }
    }

    /// A place in the whole text, by one in this document: its line from 1, its column from 0.
    fn place(&self, line: usize, column: usize) -> Place {
        let column = if line <= 1 { self.start.1 + column } else { column + 1 };
        (self.start.0 + line.saturating_sub(1), column)
    }

    fn flaw(&self, error: &ScanError) -> Flaw {
        let marker = error.marker();
        let at = self.place(marker.line(), marker.col());
        match error.kind() {
            ErrorKind::RecursionLimitExceeded => too_deep(at),
            kind => Flaw::new(at, format!("this is not YAML as kubectl reads it: {kind}")),
        }
    }

    /// kubectl reads one document between two `---`, and drops whatever follows its end without a word.
    fn expect_end(&mut self) -> Result<(), Flaw> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(()),
                (Event::DocumentEnd, _) => {}
                (_, at) => {
                    return Err(Flaw::new(
                        at,
                        "kubectl drops what follows `...`: begin a document with `---`",
                    ));
                }
            }
        }
    }

    fn node(&mut self, event: Event<'t>, at: Place, depth: usize) -> Result<Composed, Flaw> {
        self.nodes += 1;
        self.check_bounds(at, depth)?;
        let (content, size, anchor) = match event {
            Event::Alias(anchor) => return self.alias(anchor, at, depth),
            Event::Scalar(text, style, anchor, tag) => {
                let size = Size {
                    bytes: text.len(),
                    ..Size::OUTSIDE
                };
                (Content::Scalar(scalar(text, style, tag, at)?), size, anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                let (items, size) = self.items(depth)?;
                (Content::List(items), size, anchor)
            }
            Event::MappingStart(_, anchor, _) => {
                let (members, size) = self.members(depth)?;
                (Content::Members(members), size, anchor)
            }
            _ => {
                return Err(Flaw::new(
                    at,
                    "this is not YAML as kubectl reads it: a value is missing",
                ));
            }
        };
        let node = Composed {
            node: Node { at, content },
            size,
        };
        if anchor > 0 {
            self.copy(size, at)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn check_bounds(&self, at: Place, depth: usize) -> Result<(), Flaw> {
        if depth >= MOST_DEPTH {
            return Err(too_deep(at));
        }
        if self.copies.nodes > MOST_COPIED_NODES || self.copies.bytes > MOST_COPIED_BYTES {
            return Err(Flaw::new(
                at,
                "the file is too large once its aliases are what they stand for",
            ));
        }
        if self.nodes > MOST_NODES {
            return Err(Flaw::new(
                at,
                format!("the document holds more than {MOST_NODES} values"),
            ));
        }
        Ok(())
    }

    fn copy(&mut self, size: Size, at: Place) -> Result<(), Flaw> {
        self.nodes += size.nodes;
        self.copies.nodes += size.nodes;
        self.copies.bytes += size.bytes;
        self.check_bounds(at, 0)
    }

    fn alias(&mut self, anchor: usize, at: Place, depth: usize) -> Result<Composed, Flaw> {
        // Taken out meanwhile: nothing is copied before its size is known to be fine.
        let Some(target) = self.anchors.remove(&anchor) else {
            return Err(Flaw::new(at, "this alias stands for something that contains it"));
        };
        self.copy(target.size, at)?;
        self.check_bounds(at, depth + target.size.depth - 1)?;
        let mut copied = target.clone();
        self.anchors.insert(anchor, target);
        copied.node.at = at;
        Ok(copied)
    }

    fn items(&mut self, depth: usize) -> Result<(Vec<Node>, Size), Flaw> {
        let (mut items, mut size) = (Vec::new(), Size::OUTSIDE);
        loop {
            let (event, at) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok((items, size));
            }
            let item = self.node(event, at, depth + 1)?;
            size.add(item.size);
            items.push(item.node);
        }
    }

    fn members(&mut self, depth: usize) -> Result<(BTreeMap<String, Member>, Size), Flaw> {
        let (mut members, mut size) = (BTreeMap::new(), Size::OUTSIDE);
        let mut has_merged = false;
        loop {
            let (event, at) = self.next()?;
            if event == Event::MappingEnd {
                return Ok((members, size));
            }
            self.check_colon(&event, at)?;
            if !is_merge(&event) {
                let key = self.node(event, at, depth + 1)?;
                size.add(key.size);
                let value = self.value(depth, &mut size)?;
                insert(&mut members, key.node, at, value)?;
            } else if std::mem::replace(&mut has_merged, true) {
                return Err(Flaw::new(at, "`<<` is here twice: write `<<: [*one, *other]`"));
            } else {
                let value = self.value(depth, &mut size)?;
                merge(&mut members, value, at)?;
            }
        }
    }

    /// In `[a:, b]` and `{a:}` the colon ends the key `a` for YAML 1.2, and belongs to the text `a:` for kubectl.
    fn check_colon(&self, key: &Event<'_>, at: Place) -> Result<(), Flaw> {
        let rest = self.text.get(self.end..).unwrap_or_default();
        let after = rest.trim_start_matches(' ').strip_prefix(':').unwrap_or_default();
        if matches!(key, Event::Scalar(_, ScalarStyle::Plain, ..)) && after.starts_with([',', '[', ']', '{', '}']) {
            return Err(Flaw::new(at, "the colon after this key needs a space behind it"));
        }
        Ok(())
    }

    fn value(&mut self, depth: usize, size: &mut Size) -> Result<Node, Flaw> {
        let (event, at) = self.next()?;
        let value = self.node(event, at, depth + 1)?;
        size.add(value.size);
        Ok(value.node)
    }
}

fn scalar(text: Cow<'_, str>, style: ScalarStyle, tag: Option<Cow<'_, Tag>>, at: Place) -> Result<Scalar, Flaw> {
    let scalar = match tag {
        Some(tag) => Scalar::tagged(&text, &tag)
            .ok_or_else(|| Flaw::new(at, format!("the tag {} does not fit here: remove it", tag.original())))?,
        None if style == ScalarStyle::Plain => Scalar::plain(&text),
        None => Scalar::Text(text.into_owned()),
    };
    if scalar.is_json() {
        Ok(scalar)
    } else {
        Err(Flaw::new(
            at,
            "no field can hold this number: if text is meant, write it in quotes",
        ))
    }
}

fn too_deep(at: Place) -> Flaw {
    Flaw::new(at, format!("the document is nested deeper than {MOST_DEPTH} levels"))
}

fn is_merge(event: &Event<'_>) -> bool {
    matches!(event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<")
}

fn insert(members: &mut BTreeMap<String, Member>, key: Node, at: Place, value: Node) -> Result<(), Flaw> {
    let no_key = || {
        Flaw::new(
            at,
            "this cannot be the name of a field: if text is meant, write it in quotes",
        )
    };
    let Content::Scalar(key) = key.content else {
        return Err(no_key());
    };
    let member = Member {
        at,
        value,
        kind: discriminant(&key),
        is_merged: false,
    };
    match members.entry(key.into_key().ok_or_else(no_key)?) {
        Entry::Vacant(entry) => {
            entry.insert(member);
        }
        Entry::Occupied(mut entry) if entry.get().is_merged && entry.get().kind == member.kind => {
            entry.insert(member);
        }
        Entry::Occupied(entry) => return Err(repeated(entry.key(), entry.get(), at)),
    }
    Ok(())
}

fn repeated(name: &str, first: &Member, at: Place) -> Flaw {
    let line = first.at.0;
    Flaw::new(at, format!("`{name}` is here twice, first at line {line}: remove one"))
}

/// Adds what a `<<` names; of several the first one counts.
fn merge(members: &mut BTreeMap<String, Member>, value: Node, at: Place) -> Result<(), Flaw> {
    let sources = match value.content {
        Content::List(items) => items,
        _ => vec![value],
    };
    let mut merged: BTreeMap<String, Member> = BTreeMap::new();
    for source in sources {
        let Content::Members(source) = source.content else {
            return Err(Flaw::new(at, "`<<` needs an alias of an object, or a list of such"));
        };
        for (name, member) in source {
            match merged.entry(name) {
                Entry::Vacant(entry) => {
                    entry.insert(member);
                }
                Entry::Occupied(entry) if entry.get().kind == member.kind => {}
                Entry::Occupied(entry) => return Err(repeated(entry.key(), entry.get(), at)),
            }
        }
    }
    for (name, member) in merged {
        // YAML has the written key win. kubectl has the last one win: only one order is the same to everybody.
        if members.contains_key(&name) {
            let message = format!("kubectl would replace `{name}` above by what `<<` has: move `<<` before it");
            return Err(Flaw::new(at, message));
        }
        members.insert(
            name,
            Member {
                is_merged: true,
                ..member
            },
        );
    }
    Ok(())
}
