//! A file's text to its documents, as kubectl reads them: a stream of JSON where the text begins with `{`, else YAML.

use serde_json::Value;
use serde_saphyr::{Options, Spanned};

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
        // A flow mapping, or JSON between document markers. Where that is no YAML either, JSON's own error says more.
        Err(problem) => match read_yaml(text) {
            (documents, problems) if problems.is_empty() => (documents, problems),
            _ => (Vec::new(), vec![problem]),
        },
    }
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

/// YAML as kubectl reads it (`sigs.k8s.io/yaml`): YAML 1.1 booleans and octal numbers, merge keys; repeated keys are
/// refused, aliases bounded.
pub(super) fn yaml_options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_documents: 100_000 },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 250_000 },
        emit_comments: false,
        legacy_octal_numbers: true,
        with_snippet: false,
    }
}

fn read_yaml(text: &str) -> (Vec<Document>, Vec<Problem>) {
    let mut bytes = text.as_bytes();
    let (mut documents, mut problems) = (Vec::new(), Vec::new());
    for document in serde_saphyr::read_with_options::<_, Spanned<StrictValue>>(&mut bytes, yaml_options()) {
        match document {
            Ok(spanned) => documents.push(Document {
                line: usize::try_from(spanned.referenced.line()).unwrap_or_default().max(1),
                column: usize::try_from(spanned.referenced.column()).unwrap_or_default().max(1),
                value: spanned.value.0,
            }),
            Err(error) => problems.push(yaml_problem(&error)),
        }
    }
    (documents, problems)
}

fn yaml_problem(error: &serde_saphyr::Error) -> Problem {
    let at = error.location();
    let place = |number: fn(&serde_saphyr::Location) -> u64| {
        at.as_ref()
            .map_or(1, |at| usize::try_from(number(at)).unwrap_or(1))
            .max(1)
    };
    let message = error.without_snippet().to_string();
    let (message, _) = message.split_once(" at line ").unwrap_or((&message, ""));
    syntax(
        place(serde_saphyr::Location::line),
        place(serde_saphyr::Location::column),
        format!("this is not YAML as kubectl reads it: {message}"),
    )
}

fn read_json(text: &str) -> Result<Vec<Document>, Problem> {
    let mut documents = Vec::new();
    let mut place = Place {
        offset: 0,
        line: 1,
        column: 1,
    };
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<StrictValue>();
    loop {
        place.advance(text, values.byte_offset());
        match values.next() {
            None => return Ok(documents),
            Some(Ok(StrictValue(value))) => documents.push(Document {
                value,
                line: place.line,
                column: place.column,
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
