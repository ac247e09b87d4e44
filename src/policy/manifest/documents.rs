//! A file's text to its documents, one after the other, as kubectl reads them: a stream of JSON where the text begins with `{`, else YAML.

use serde::de::IgnoredAny;
use serde_json::Value;

use super::findings::MOST_PROBLEMS;
use super::yaml::{self, MOST_DEPTH, Node, Place};
use super::{Problem, Severity};
use crate::policy::canonical::within_depth;
use crate::policy::strict_json::StrictValue;

/// How many documents a file may have; a policy takes a hundred bytes at least.
const MOST_DOCUMENTS: usize = 100_000;

/// One document that is not empty.
#[derive(Debug)]
pub(super) struct Document<'t> {
    pub(super) value: Value,
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) source: Source<'t>,
}

/// The text of a document, and where it begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'t> {
    text: &'t str,
    start: Place,
}

impl Source<'_> {
    /// The places of everything in the document. JSON is read as the YAML it is.
    pub(super) fn places(self) -> Option<Node> {
        yaml::document(self.text, self.start)
    }
}

/// Hands on every document, one at a time, so that no more than one is held. Those that cannot be read are problems.
pub(super) fn read<'t>(text: &'t [u8], each: &mut dyn FnMut(Document<'t>)) -> Vec<Problem> {
    let text = match utf8(text) {
        Ok(text) => text,
        Err(problem) => return vec![problem],
    };
    let mut count = 0;
    let mut bounded = |document: Document<'t>| {
        count += 1;
        if count <= MOST_DOCUMENTS {
            each(document);
        }
    };
    let mut problems = read_as(text, &mut bounded);
    if count > MOST_DOCUMENTS {
        problems.push(syntax(
            1,
            1,
            format!("the file has more than {MOST_DOCUMENTS} documents"),
        ));
    }
    problems
}

fn read_as<'t>(text: &'t str, each: &mut dyn FnMut(Document<'t>)) -> Vec<Problem> {
    if !text.trim_start().starts_with('{') {
        return read_yaml(text, each);
    }
    // Read to the end first: half a file must not be handed on as JSON and again as YAML. Values of JSON have no aliases,
    // so all of them take memory in proportion to the text.
    match json_values(text).collect::<Result<Vec<_>, _>>() {
        Ok(documents) => {
            // A null is an empty document, as in YAML.
            let documents = documents.into_iter().filter(|document| !document.value.is_null());
            documents.for_each(each);
            Vec::new()
        }
        // A flow mapping, or JSON between document markers. Where that is no YAML either, JSON's own error says more, if
        // JSON is what was meant.
        Err(problem) if is_json(text) => vec![problem],
        Err(problem) if is_like_json(text) && yaml::documents(text).any(|document| document.is_err()) => vec![problem],
        Err(_) => read_yaml(text, each),
    }
}

/// Whether the text is JSON, even if with a repeated member or a number that no field can hold: then it is not read as
/// anything else.
fn is_json(text: &str) -> bool {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    values.all(|value| value.is_ok())
}

fn is_like_json(text: &str) -> bool {
    let inside = text.trim_start().trim_start_matches('{').trim_start();
    inside.starts_with(['"', '}'])
}

/// The text without its byte order mark.
pub(super) fn utf8(text: &[u8]) -> Result<&str, Problem> {
    let text = std::str::from_utf8(text).map_err(|error| {
        let valid = text.get(..error.valid_up_to()).unwrap_or_default();
        let line = valid.split(|byte| *byte == b'\n').count();
        let column = 1 + valid.iter().rev().take_while(|byte| **byte != b'\n').count();
        syntax(
            line,
            column,
            "this is not UTF-8 text: save the file as UTF-8".to_owned(),
        )
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn read_yaml<'t>(text: &'t str, each: &mut dyn FnMut(Document<'t>)) -> Vec<Problem> {
    let mut problems = Vec::new();
    for document in yaml::documents(text) {
        match document {
            Ok((source, node)) => each(Document {
                line: node.at.0,
                column: node.at.1,
                value: node.into_value(),
                source: Source {
                    text: source.0,
                    start: source.1,
                },
            }),
            Err(flaw) if problems.len() < MOST_PROBLEMS => problems.push(syntax(flaw.at.0, flaw.at.1, flaw.message)),
            Err(_) => {}
        }
    }
    problems
}

/// The values of a JSON stream, up to the first that cannot be read.
fn json_values(text: &str) -> impl Iterator<Item = Result<Document<'_>, Problem>> {
    let mut place = Cursor {
        offset: 0,
        line: 1,
        column: 1,
    };
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<StrictValue>();
    let mut has_failed = false;
    std::iter::from_fn(move || {
        if has_failed {
            return None;
        }
        place.advance(text, values.byte_offset());
        Some(match values.next()? {
            Ok(StrictValue(value)) if !within_depth(&value, MOST_DEPTH) => {
                has_failed = true;
                let message = format!("the document is nested deeper than {MOST_DEPTH} levels");
                Err(syntax(place.line, place.column, message))
            }
            Ok(StrictValue(value)) => Ok(Document {
                value,
                line: place.line,
                column: place.column,
                source: Source {
                    text: text.get(place.offset..values.byte_offset()).unwrap_or_default(),
                    start: (place.line, place.column),
                },
            }),
            Err(error) => {
                has_failed = true;
                let message = format!("this is not JSON: {error}");
                let message = message.split(" at line ").next().unwrap_or_default().to_owned();
                Err(syntax(error.line().max(1), error.column().max(1), message))
            }
        })
    })
}

/// A place in a text, moved along it.
struct Cursor {
    offset: usize,
    line: usize,
    column: usize,
}

impl Cursor {
    /// Moves to the first character from `offset` on that is not space.
    fn advance(&mut self, text: &str, offset: usize) {
        let rest = text.get(offset..).unwrap_or_default();
        let target = offset + rest.len() - rest.trim_start().len();
        for c in text.get(self.offset..target).unwrap_or_default().chars() {
            if c == '\n' {
                (self.line, self.column) = (self.line + 1, 1);
            } else {
                self.column += 1;
            }
        }
        self.offset = target;
    }
}

fn syntax(line: usize, column: usize, message: String) -> Problem {
    Problem {
        severity: Severity::Error,
        line,
        column,
        field: String::new(),
        message,
        lint: None,
    }
}
