//! Manifests: the text of a file, as kubectl reads it, to guarded objects with their keys, digests and problems.

mod documents;
mod findings;
mod name;
mod object;
mod path;
mod position;
mod reader;
mod shape;
mod what;
mod yaml;

use std::sync::Arc;

use serde_json::Value;

use super::deployer::{Marked, Statement};
use super::digest::Digest;
use super::key::Key;
use super::lint::Lint;

pub(crate) use findings::Findings;
pub(crate) use name::{is_label, is_subdomain};

/// How much a problem matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth a look; the file is accepted.
    Warning,
    /// The file is not accepted, and with it the commit.
    Error,
}

/// Something wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// How much it matters.
    pub severity: Severity,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// The field, as in `spec.ingress[0].ports[0].port`; empty where the problem is the whole document.
    pub field: String,
    /// What is wrong and what to do, in plain words.
    pub message: String,
    /// The lint that found it, where it can be turned off by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lint: Option<Lint>,
}

/// One guarded object of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// What makes it the same object as another manifest.
    pub key: Key,
    /// The digest of its canonical form.
    pub digest: Digest,
    /// The deployers' marks that it declares itself, if any.
    pub marked: Option<Arc<Marked>>,
    /// The canonical form itself.
    pub form: Value,
    /// The object as the file has it, ready to be sent to an API server: without bookkeeping and status.
    pub object: Value,
    /// The line at which its document begins, from 1.
    pub line: usize,
    /// The tier a Calico policy is in; none for other kinds.
    pub tier: Option<String>,
}

impl Manifest {
    /// What it says, to compare others with.
    pub fn statement(&self) -> Statement<'_> {
        Statement {
            digest: self.digest,
            marked: self.marked.as_deref(),
        }
    }
}

/// A document that is not of a guarded kind.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Ignored {
    /// The line at which it begins, from 1.
    pub line: usize,
    /// `apiVersion` and `kind` as written, or what else it is, for people.
    pub what: String,
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parsed {
    /// Its guarded objects, in order. An object with an error is not among them.
    pub manifests: Vec<Manifest>,
    /// Its other documents.
    pub ignored: Vec<Ignored>,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
}

/// Reads a file of YAML or JSON, one document or many, as kubectl does. Lists (`kind: List`, or a kind's own list) are
/// read as their items. Never panics, whatever the bytes.
pub fn parse(text: &[u8]) -> Parsed {
    reader::read(text)
}

#[cfg(test)]
mod tests;
