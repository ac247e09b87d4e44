//! What `headgate check` prints.

use std::fmt::Write as _;

use serde::Serialize;

use crate::cli::{Failure, output};
use crate::gate::wording::inline;
use crate::policy::manifest::{Problem, Severity};
use crate::policy::visible;

use super::CheckFormat;

/// What was found.
#[derive(Debug, Default, Serialize)]
pub(super) struct Findings {
    /// Guarded objects that can be read.
    pub(super) objects: usize,
    /// Files that were read.
    pub(super) files: usize,
    pub(super) problems: Vec<Located>,
    pub(super) ignored: Vec<Ignored>,
}

#[derive(Debug, Serialize)]
pub(super) struct Located {
    pub(super) file: String,
    #[serde(flatten)]
    pub(super) problem: Problem,
}

#[derive(Debug, Serialize)]
pub(super) struct Ignored {
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) what: String,
}

pub(super) fn report(findings: &Findings, format: CheckFormat) -> Result<(), Failure> {
    match format {
        CheckFormat::Json => output::print(&(plain_json(&serde_json::to_string_pretty(findings)?) + "\n")),
        CheckFormat::Github => output::print(&annotations(findings)),
        CheckFormat::Text => output::print(&text(findings)),
    }
}

fn text(findings: &Findings) -> String {
    let mut text = String::new();
    for Located { file, problem } in &findings.problems {
        text.push_str(&(output::located(file, problem) + "\n"));
    }
    for ignored in &findings.ignored {
        text.push_str(&(output::ignored(&ignored.file, ignored.line, &ignored.what) + "\n"));
    }
    let count = |severity| {
        findings
            .problems
            .iter()
            .filter(|located| located.problem.severity == severity)
            .count()
    };
    let summary = format!(
        "{} objects in {} files: {} errors, {} warnings, {} documents ignored\n",
        findings.objects,
        findings.files,
        count(Severity::Error),
        count(Severity::Warning),
        findings.ignored.len()
    );
    text + &summary
}

/// JSON that says the same without hidden characters: a terminal may be what reads it.
fn plain_json(json: &str) -> String {
    let mut plain = String::with_capacity(json.len());
    for c in json.chars() {
        // The newlines are between the values: within them they are escaped already.
        if c != '\n' && visible::is_hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(plain, "\\u{unit:04x}");
            }
        } else {
            plain.push(c);
        }
    }
    plain
}

/// A workflow command for each problem, and a notice for each document that is no policy.
fn annotations(findings: &Findings) -> String {
    let problems = findings.problems.iter().map(|Located { file, problem }| {
        let level = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let place = format!("line={},col={}", problem.line, problem.column);
        annotation(level, file, &place, &output::told(problem))
    });
    let ignored = findings.ignored.iter().map(|Ignored { file, line, what }| {
        let told = format!("ignored, for no guarded kind: {what}");
        annotation("notice", file, &format!("line={line}"), &told)
    });
    problems.chain(ignored).collect()
}

/// GitHub's workflow commands end at a newline and take `%`, `,` and `:` as their own.
fn annotation(level: &str, file: &str, place: &str, message: &str) -> String {
    let data = |text: &str| {
        let line = inline(text).replace('%', "%25");
        line.replace('\r', "%0D").replace('\n', "%0A")
    };
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    format!("::{level} file={},{place}::{}\n", property(file), data(message))
}
