//! What commands print: text for people, JSON and YAML for machines.

use std::io::Write;

use clap::ValueEnum;
use serde::Serialize;

use super::Failure;
use crate::gate::wording::inline;
use crate::policy::visible::escape;
use crate::policy::{Problem, Severity};

/// How a list is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Text,
    /// With more columns.
    Wide,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

/// How much of what is asked for is only tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum DryRun {
    /// It is done.
    #[default]
    None,
    /// Nothing is sent.
    Client,
    /// The API server checks it, and stores nothing.
    Server,
}

/// How one object is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Printed {
    Json,
    Yaml,
    Name,
}

/// Writes to the standard output.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Writes lines to the standard error. Where that is gone nobody is left to be told. What a server said moves no cursor.
pub(super) fn complain(text: &str) {
    let lines: Vec<String> = text.lines().map(escape).collect();
    let _ = writeln!(std::io::stderr().lock(), "{}", lines.join("\n"));
}

/// Prints a value as JSON or YAML.
pub(super) fn print_structured(value: &impl Serialize, format: Format) -> Result<(), Failure> {
    match format {
        Format::Yaml => print(&yaml(value)?),
        _ => print(&(serde_json::to_string_pretty(value)? + "\n")),
    }
}

/// A value as a YAML document.
pub(super) fn yaml(value: &impl Serialize) -> Result<String, Failure> {
    Ok(serde_saphyr::to_string(value)?)
}

/// A problem as editors and terminals make a link of it: `file:line:column: error: field: message [lint]`.
pub(super) fn located(file: &str, problem: &Problem) -> String {
    let severity = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    inline(&format!(
        "{file}:{}:{}: {severity}: {}",
        problem.line,
        problem.column,
        told(problem)
    ))
}

/// A document that is of no guarded kind, with its place.
pub(super) fn ignored(file: &str, line: usize, what: &str) -> String {
    inline(&format!("{file}:{line}: ignored: {what}"))
}

/// A problem without its place: `field: message [lint]`.
pub(super) fn told(problem: &Problem) -> String {
    let field = match problem.field.as_str() {
        "" => String::new(),
        field => format!("{field}: "),
    };
    let lint = problem
        .lint
        .map_or_else(String::new, |lint| format!(" [{}]", lint.name()));
    format!("{field}{}{lint}", problem.message)
}

/// Lines up rows as kubectl does: columns padded, three spaces between them.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let header: Vec<String> = header.iter().map(ToString::to_string).collect();
    let widths: Vec<usize> = (0..header.len())
        .map(|column| {
            let cells = std::iter::once(&header).chain(rows).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        })
        .collect();
    let mut text = String::new();
    for row in std::iter::once(&header).chain(rows) {
        let padded: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(padded.join("   ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_table_lines_up_its_columns() {
        let rows = [
            vec!["payments".to_owned(), "1".to_owned()],
            vec!["x".to_owned(), "22".to_owned()],
        ];
        assert_eq!(
            super::table(&["NAME", "N"], &rows),
            "NAME       N\npayments   1\nx          22\n"
        );
    }
}
