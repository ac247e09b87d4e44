//! The corpus: real files, each object of them in a place of its own.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use headgate::policy::manifest::parse;
use headgate::policy::{Kind, Severity};
use serde_json::Value;

use crate::Failure;
use crate::case::{Case, Places, moved, moved_text};

/// Ends the label of an object that was written to Calico's other group.
pub(crate) const COPY: &str = " as crd v1";

/// What became of the corpus.
#[derive(Default)]
pub(crate) struct Corpus {
    pub(crate) accepted: Vec<Case>,
    pub(crate) refused: Vec<Refused>,
}

/// An object that the check refuses.
pub(crate) struct Refused {
    pub(crate) label: String,
    pub(crate) object: Value,
    pub(crate) messages: Vec<String>,
}

impl Corpus {
    /// Every object of a guarded kind. Objects without a namespace get one: it would come from the command line.
    pub(crate) fn read(root: &Path) -> Result<Self, Failure> {
        let (mut corpus, mut places, mut seen) = (Self::default(), Places::new("corpus"), HashSet::new());
        for file in files_below(root)? {
            let label = file.strip_prefix(root)?.display().to_string();
            let text = std::fs::read_to_string(&file)?;
            for document in documents(&text) {
                // Many files of the corpus are copies of one another.
                if !seen.insert(document.clone()) {
                    continue;
                }
                corpus.add(&label, &document, &mut places);
                if document.contains("projectcalico.org/v3") {
                    // What calicoctl, or a file of the other group, would store.
                    let stored = document.replace("projectcalico.org/v3", "crd.projectcalico.org/v1");
                    corpus.add(&format!("{label}{COPY}"), &stored, &mut places);
                }
            }
        }
        Ok(corpus)
    }

    fn add(&mut self, label: &str, document: &str, places: &mut Places) {
        let Ok(value) = serde_saphyr::from_str::<Value>(document) else {
            return;
        };
        for object in items(&value) {
            let text = |member: &str| object[member].as_str().unwrap_or_default();
            let Some(kind) = Kind::of_manifest(text("apiVersion"), text("kind")) else {
                continue;
            };
            let definition = kind.definition();
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let place = places.next(text("apiVersion"), definition.kind, definition.namespaced, name);
            let object = moved(object.clone(), &place);
            let case = Case::read(label, object.to_string());
            // The text is as its author wrote it, where that is possible.
            let written = moved_text(document, &place).and_then(|text| Case::read(label, text));
            match (case, written) {
                (Some(case), Some(written))
                    if case.manifest.digest == written.manifest.digest && case.manifest.key == written.manifest.key =>
                {
                    self.accepted.push(written);
                }
                (Some(case), _) => self.accepted.push(case),
                (None, _) => self.refused.push(Refused {
                    label: label.to_owned(),
                    messages: errors(&object),
                    object,
                }),
            }
        }
    }
}

/// Why the check refuses an object.
pub(crate) fn errors(object: &Value) -> Vec<String> {
    let problems = parse(object.to_string().as_bytes()).problems;
    let errors = problems
        .into_iter()
        .filter(|problem| problem.severity == Severity::Error);
    errors
        .map(|problem| format!("{}: {}", problem.field, problem.message))
        .collect()
}

fn items(value: &Value) -> Vec<Value> {
    let is_list = value["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    match (is_list, &value["items"]) {
        (true, Value::Array(items)) => items.clone(),
        _ => vec![value.clone()],
    }
}

/// The documents of a file, each with its own lines.
fn documents(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in text.lines() {
        if line == "---" || line.starts_with("--- ") {
            documents.push(String::new());
        } else if let Some(document) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    documents.retain(|document| !document.trim().is_empty());
    documents
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    let mut entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::path);
    for entry in entries {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_below(&path)?);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml")
        {
            found.push(path);
        }
    }
    Ok(found)
}
