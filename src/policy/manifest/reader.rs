//! Documents to manifests: lists to their items, checks, canonical forms, and the place of every problem.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde_json::{Map, Value};

use super::documents::{self, Document};
use super::findings::{Findings, MOST_PROBLEMS};
use super::path::{Path, Step};
use super::position::Positions;
use super::{Ignored, Manifest, Parsed, Problem, Severity, object, shape, what};
use crate::policy::canonical::canonicalize;
use crate::policy::key::Key;

/// Line and column.
type Place = (usize, usize);

struct Reader<'t> {
    text: &'t [u8],
    /// Read only once they are asked for.
    positions: Option<Positions>,
    parsed: Parsed,
    /// The line at which each key was declared.
    declared: HashMap<Key, usize>,
}

/// Where an object begins: a document, or an item of a list in one.
struct Start<'a> {
    document: Place,
    at: Place,
    path: Path<'a>,
}

pub(super) fn read(text: &[u8]) -> Parsed {
    let (documents, problems) = documents::read(text);
    let mut reader = Reader {
        text,
        positions: None,
        parsed: Parsed {
            problems,
            ..Parsed::default()
        },
        declared: HashMap::new(),
    };
    for document in documents {
        reader.document(document);
    }
    reader.finish()
}

impl Reader<'_> {
    fn document(&mut self, document: Document) {
        let at = (document.line, document.column);
        let path = Path::default();
        self.value(document.value, &Start { document: at, at, path });
    }

    fn value(&mut self, value: Value, start: &Start<'_>) {
        let Value::Object(mut members) = value else {
            return self.ignore(start, shape::found(&value).to_owned());
        };
        match what::take_items(&mut members) {
            Some(items) => self.items(items, start),
            None => self.object(members, start),
        }
    }

    fn items(&mut self, items: Vec<Value>, start: &Start<'_>) {
        for (index, item) in items.into_iter().enumerate() {
            let mut path = start.path.clone();
            path.0.extend([Step::Member("items"), Step::Item(index)]);
            let at = self.place(start.document, &path).unwrap_or(start.document);
            let document = start.document;
            self.value(item, &Start { document, at, path });
        }
    }

    fn object(&mut self, mut members: Map<String, Value>, start: &Start<'_>) {
        let mut findings = Findings::starting(start.path.clone());
        let kind = what::guarded_kind(&members, &mut findings);
        match kind {
            Some(kind) => object::check(kind, &members, &mut findings),
            None => self.ignore(start, what::described(&members)),
        }
        let accepted = kind.filter(|_| !findings.has_errors());
        self.report(findings, start);
        if let Some(kind) = accepted {
            object::make_sendable(kind, &mut members);
            self.declare(Value::Object(members), start);
        }
    }

    fn declare(&mut self, object: Value, start: &Start<'_>) {
        let line = start.at.0;
        let canonical = canonicalize(object.clone()).map_err(|error| error.to_string());
        let digested = canonical.and_then(|form| Ok((form.digest().map_err(|error| error.to_string())?, form)));
        let (digest, canonical) = match digested {
            Ok(digested) => digested,
            Err(message) => return self.refuse(start, message),
        };
        match self.declared.entry(canonical.key.clone()) {
            Entry::Occupied(first) => {
                let message = format!(
                    "{} is declared twice in this file, first at line {}: remove one",
                    canonical.key.label(),
                    first.get()
                );
                self.refuse(start, message);
            }
            Entry::Vacant(entry) => {
                entry.insert(line);
                self.parsed.manifests.push(Manifest {
                    tier: canonical.tier().map(str::to_owned),
                    key: canonical.key,
                    digest,
                    form: canonical.form,
                    object,
                    line,
                });
            }
        }
    }

    fn report(&mut self, findings: Findings<'_>, start: &Start<'_>) {
        for finding in findings.found {
            let (line, column) = self.place(start.document, &finding.path).unwrap_or(start.at);
            self.parsed.problems.push(Problem {
                severity: finding.severity,
                line,
                column,
                field: finding.path.to_string(),
                message: finding.message,
                lint: None,
            });
        }
    }

    fn ignore(&mut self, start: &Start<'_>, what: String) {
        let line = start.at.0;
        self.parsed.ignored.push(Ignored { line, what });
    }

    fn refuse(&mut self, start: &Start<'_>, message: String) {
        let (line, column) = start.at;
        self.parsed.problems.push(Problem {
            severity: Severity::Error,
            line,
            column,
            field: start.path.to_string(),
            message,
            lint: None,
        });
    }

    fn place(&mut self, document: Place, path: &Path<'_>) -> Option<Place> {
        let text = self.text;
        self.positions
            .get_or_insert_with(|| Positions::of(text))
            .find(document, path)
    }

    /// Errors first matter most: beyond the bound, the rest is only counted.
    fn finish(mut self) -> Parsed {
        for problem in &mut self.parsed.problems {
            shorten(&mut problem.message);
            shorten(&mut problem.field);
        }
        self.parsed
            .ignored
            .iter_mut()
            .for_each(|ignored| shorten(&mut ignored.what));
        let problems = &mut self.parsed.problems;
        if problems.len() > MOST_PROBLEMS {
            problems.sort_by_key(|problem| std::cmp::Reverse(problem.severity));
            let dropped = problems.split_off(MOST_PROBLEMS);
            let severity = dropped.first().map_or(Severity::Warning, |problem| problem.severity);
            problems.push(Problem {
                severity,
                line: 1,
                column: 1,
                field: String::new(),
                message: format!("{} more problems in this file", dropped.len()),
                lint: None,
            });
        }
        problems.sort_by_key(|problem| (problem.line, problem.column));
        self.parsed
    }
}

/// Names and values in a message may be as long as the file.
const MOST_BYTES: usize = 1000;

fn shorten(text: &mut String) {
    if text.len() > MOST_BYTES {
        text.truncate(text.floor_char_boundary(MOST_BYTES));
        text.push('…');
    }
}
