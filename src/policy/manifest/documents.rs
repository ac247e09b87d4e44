//! A file's text to its documents, as kubectl reads them: a stream of JSON where the text begins with `{`, else YAML.

use serde::de::IgnoredAny;
use serde_json::Value;

use super::yaml::{self, Node};
use super::{Problem, Severity};
use crate::policy::strict_json::StrictValue;

/// One document that is not empty.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) value: Value,
    pub(super) line: usize,
    pub(super) column: usize,
}

/// Reads every document; those that cannot be read are problems.
pub(super) fn read(text: &[u8]) -> (Vec<Document>, Vec<Problem>) {
    let text = match utf8(text) {
        Ok(text) => text,
        Err(problem) => return (Vec::new(), vec![problem]),
    };
    if !text.trim_start().starts_with('{') {
        return read_yaml(text);
    }
    match read_json(text) {
        Ok(documents) => (documents, Vec::new()),
        // A flow mapping, or JSON between document markers. Where that is no YAML either, JSON's own error says more, if
        // JSON is what was meant.
        Err(problem) if !is_json(text) => match read_yaml(text) {
            (documents, problems) if problems.is_empty() || !is_like_json(text) => (documents, problems),
            _ => (Vec::new(), vec![problem]),
        },
        Err(problem) => (Vec::new(), vec![problem]),
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

fn read_yaml(text: &str) -> (Vec<Document>, Vec<Problem>) {
    let (mut documents, mut problems) = (Vec::new(), Vec::new());
    for document in yaml::documents(text) {
        match document {
            Ok(node) => documents.push(Document {
                line: node.at.0,
                column: node.at.1,
                value: node.into_value(),
            }),
            Err(flaw) => problems.push(syntax(flaw.at.0, flaw.at.1, flaw.message)),
        }
    }
    (documents, problems)
}

/// The places of everything in a text. JSON is read as the YAML it is.
pub(super) fn places(text: &[u8]) -> Vec<Node> {
    let text = utf8(text).unwrap_or_default();
    match json_parts(text) {
        Ok(parts) if text.trim_start().starts_with('{') => {
            let place = |part: &Part<'_>| yaml::document(part.text, (part.document.line, part.document.column));
            parts.iter().filter_map(place).collect()
        }
        _ => yaml::documents(text).filter_map(Result::ok).collect(),
    }
}

/// A value of a JSON stream, and its text.
struct Part<'t> {
    document: Document,
    text: &'t str,
}

fn read_json(text: &str) -> Result<Vec<Document>, Problem> {
    let parts = json_parts(text)?;
    let documents = parts.into_iter().map(|part| part.document);
    // A null is an empty document, as in YAML.
    Ok(documents.filter(|document| !document.value.is_null()).collect())
}

fn json_parts(text: &str) -> Result<Vec<Part<'_>>, Problem> {
    let mut parts = Vec::new();
    let mut place = Place {
        offset: 0,
        line: 1,
        column: 1,
    };
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<StrictValue>();
    loop {
        place.advance(text, values.byte_offset());
        match values.next() {
            None => return Ok(parts),
            Some(Ok(StrictValue(value))) => parts.push(Part {
                document: Document {
                    value,
                    line: place.line,
                    column: place.column,
                },
                text: text.get(place.offset..values.byte_offset()).unwrap_or_default(),
            }),
            Some(Err(error)) => {
                let message = format!("this is not JSON: {error}");
                let message = message.split(" at line ").next().unwrap_or_default().to_owned();
                return Err(syntax(error.line().max(1), error.column().max(1), message));
            }
        }
    }
}

/// A place in a text, moved along it.
struct Place {
    offset: usize,
    line: usize,
    column: usize,
}

impl Place {
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
