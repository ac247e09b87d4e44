//! What `headgate check` prints.

use serde::Serialize;

use crate::cli::{Failure, output};
use crate::policy::manifest::{Problem, Severity};

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
        CheckFormat::Json => output::print(&(serde_json::to_string_pretty(findings)? + "\n")),
        CheckFormat::Github => output::print(&findings.problems.iter().map(annotation).collect::<String>()),
        CheckFormat::Text => output::print(&text(findings)),
    }
}

fn text(findings: &Findings) -> String {
    let mut text = String::new();
    for Located { file, problem } in &findings.problems {
        text.push_str(&(output::located(file, problem) + "\n"));
    }
    for ignored in &findings.ignored {
        let line = format!("{}:{}: ignored: {}\n", ignored.file, ignored.line, ignored.what);
        text.push_str(&line);
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

/// GitHub's workflow commands end at a newline and take `%`, `,` and `:` as their own.
fn annotation(located: &Located) -> String {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let Located { file, problem } = located;
    let level = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    format!(
        "::{level} file={},line={},col={}::{}\n",
        property(file),
        problem.line,
        problem.column,
        data(&output::told(problem))
    )
}
