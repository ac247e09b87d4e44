//! Documents to manifests: lists to their items, checks, canonical forms, and the place of every problem.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::documents::{self, Document, Source};
use super::findings::{Findings, MOST_PROBLEMS};
use super::path::{Path, Step};
use super::position::Positions;
use super::{Ignored, Manifest, Parsed, Problem, Severity, object, shape, what};
use crate::policy::canonical::canonicalize;
use crate::policy::key::Key;

/// Line and column.
type Place = (usize, usize);

#[derive(Default)]
struct Reader {
    parsed: Parsed,
    /// The line at which each key was declared.
    declared: HashMap<Key, usize>,
}

/// Where an object begins: a document, or an item of a list in one.
struct Start<'a> {
    places: &'a Places<'a>,
    at: Place,
    path: Path<'a>,
}

/// The places of a document, read only once they are asked for.
struct Places<'t> {
    source: Source<'t>,
    read: OnceCell<Positions>,
}

impl Places<'_> {
    fn find(&self, path: &Path<'_>) -> Option<Place> {
        self.read.get_or_init(|| Positions::of(self.source)).find(path)
    }
}

/// With this begins what Git LFS leaves in the place of a file. To YAML it is a plain text, which declares nothing.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

pub(super) fn read(text: &[u8]) -> Parsed {
    if text.starts_with(LFS_POINTER) {
        return lfs_pointer();
    }
    let mut reader = Reader::default();
    let problems = documents::read(text, &mut |document| reader.document(document));
    reader.parsed.problems.extend(problems);
    reader.finish()
}

fn lfs_pointer() -> Parsed {
    let message = "this is a pointer of Git LFS, and not the file itself: keep manifests out of LFS";
    Parsed {
        problems: vec![Problem {
            severity: Severity::Error,
            line: 1,
            column: 1,
            field: String::new(),
            message: message.to_owned(),
            lint: None,
        }],
        ..Parsed::default()
    }
}

impl Reader {
    fn document(&mut self, document: Document<'_>) {
        let at = (document.line, document.column);
        let path = Path::default();
        let places = &Places {
            source: document.source,
            read: OnceCell::new(),
        };
        self.value(document.value, &Start { places, at, path });
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
            let at = start.places.find(&path).unwrap_or(start.at);
            let places = start.places;
            self.value(item, &Start { places, at, path });
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
        let size = size_as_json(&object);
        if size > MOST_STORED_BYTES {
            let message = format!("the object has {size} bytes: etcd takes {MOST_STORED_BYTES} at most");
            return self.refuse(start, message);
        }
        let canonical = canonicalize(object.clone()).map_err(|error| error.to_string());
        let digested = canonical.and_then(|canonical| {
            let read = canonical
                .digest()
                .and_then(|digest| Ok((digest, canonical.marked()?.map(Arc::new))));
            let (digest, marked) = read.map_err(|error| error.to_string())?;
            Ok((digest, marked, canonical))
        });
        let (digest, marked, canonical) = match digested {
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
                    marked,
                    form: canonical.form,
                    object,
                    line,
                });
            }
        }
    }

    fn report(&mut self, findings: Findings<'_>, start: &Start<'_>) {
        for finding in findings.found {
            let (line, column) = start.places.find(&finding.path).unwrap_or(start.at);
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

/// etcd's `--max-request-bytes`, which nobody raises for a policy.
const MOST_STORED_BYTES: usize = 3 << 19;

/// How long an object is as the API server gets it, without writing it down.
fn size_as_json(object: &Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Neither a value nor the counter has anything to fail by; an object that did would be too large.
    serde_json::to_writer(&mut count, object).map_or(usize::MAX, |()| count.0)
}

/// Names and values in a message may be as long as the file.
const MOST_BYTES: usize = 1000;

fn shorten(text: &mut String) {
    if text.len() > MOST_BYTES {
        text.truncate(text.floor_char_boundary(MOST_BYTES));
        text.push('…');
    }
}
