//! What is found wrong in one document, and where in it.

use super::Severity;
use super::path::{Path, Step};

/// The most that is told about one file.
pub(super) const MOST_PROBLEMS: usize = 100;

/// Something wrong, by its path in the document.
#[derive(Debug)]
pub(super) struct Finding<'a> {
    pub(super) severity: Severity,
    pub(super) path: Path<'a>,
    pub(super) message: String,
}

/// Collects findings while a check walks down a document.
#[derive(Debug, Default)]
pub(crate) struct Findings<'a> {
    at: Path<'a>,
    pub(super) found: Vec<Finding<'a>>,
}

impl<'a> Findings<'a> {
    /// Checks an object that begins at `at`.
    pub(super) fn starting(at: Path<'a>) -> Self {
        Self { at, found: Vec::new() }
    }

    /// Checks a member of what is being checked.
    pub(crate) fn member<R>(&mut self, name: &'a str, check: impl FnOnce(&mut Self) -> R) -> R {
        self.below(Step::Member(name), check)
    }

    /// Checks an item of what is being checked.
    pub(crate) fn item<R>(&mut self, index: usize, check: impl FnOnce(&mut Self) -> R) -> R {
        self.below(Step::Item(index), check)
    }

    /// The manifest is not accepted.
    pub(crate) fn error(&mut self, message: impl Into<String>) {
        self.add(Severity::Error, message.into());
    }

    /// The manifest is accepted, and worth a look.
    pub(crate) fn warning(&mut self, message: impl Into<String>) {
        self.add(Severity::Warning, message.into());
    }

    /// Whether anything found keeps the manifest from being accepted.
    pub(super) fn has_errors(&self) -> bool {
        self.found.iter().any(|finding| finding.severity == Severity::Error)
    }

    fn below<R>(&mut self, step: Step<'a>, check: impl FnOnce(&mut Self) -> R) -> R {
        self.at.0.push(step);
        let result = check(self);
        self.at.0.pop();
        result
    }

    fn add(&mut self, severity: Severity, message: String) {
        let told = self.found.iter().filter(|finding| finding.severity == severity).count();
        if told < MOST_PROBLEMS {
            self.found.push(Finding {
                severity,
                path: self.at.clone(),
                message,
            });
        }
    }
}
