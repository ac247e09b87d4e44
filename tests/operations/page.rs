//! The pages as people read them: sections, and in their indented blocks the commands with what they print.

use std::path::Path;

use crate::Failure;

/// A section under a heading of the second level, with the sections below it.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) heading: String,
    pub(crate) steps: Vec<Step>,
}

/// A command after a `$ `, and what the page shows below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// The line of the page, for messages.
    pub(crate) line: usize,
    pub(crate) command: String,
    pub(crate) shown: Vec<String>,
}

/// Reads a page below `docs/`.
pub(crate) fn read(name: &str) -> Result<Vec<Section>, Failure> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    Ok(sections(&std::fs::read_to_string(path)?))
}

fn sections(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    // Whether what comes next belongs to the command, or to what it prints.
    let (mut is_open, mut goes_on) = (false, false);
    for (index, line) in text.lines().enumerate() {
        if let Some(heading) = line.strip_prefix("## ") {
            let (heading, steps) = (heading.to_owned(), Vec::new());
            sections.push(Section { heading, steps });
        }
        let Some(code) = line.strip_prefix("    ") else {
            // A block goes on after an empty line.
            is_open &= line.is_empty();
            continue;
        };
        let Some(section) = sections.last_mut() else { continue };
        if let Some(command) = code.strip_prefix("$ ") {
            section.steps.push(Step {
                line: index + 1,
                command: command.to_owned(),
                shown: Vec::new(),
            });
            (is_open, goes_on) = (true, command.ends_with('\\'));
            continue;
        }
        let Some(step) = section.steps.last_mut().filter(|_| is_open) else {
            continue;
        };
        let more = match code.strip_prefix('>') {
            Some(more) if step.shown.is_empty() => Some(more.strip_prefix(' ').unwrap_or(more)),
            _ => Some(code).filter(|_| goes_on),
        };
        match more {
            Some(more) => {
                step.command.push('\n');
                step.command.push_str(more);
                goes_on = more.ends_with('\\');
            }
            None => step.shown.push(code.to_owned()),
        }
    }
    sections
}

#[test]
fn commands_are_told_from_what_they_print() {
    let text = "# Page\n\n## One\n\n    $ git log\n    a\n\n    b\n\ntext\n\n    no prompt\n\n    $ kubectl apply \\\n        -f - <<EOF\n    > a: b\n    >\n    > EOF\n    done\n\n## Two\ntext\n";
    let read = sections(text);
    let headings: Vec<&str> = read.iter().map(|section| section.heading.as_str()).collect();
    assert_eq!(headings, ["One", "Two"]);
    let steps: Vec<(usize, &str, usize)> = read
        .iter()
        .flat_map(|section| &section.steps)
        .map(|step| (step.line, step.command.as_str(), step.shown.len()))
        .collect();
    assert_eq!(
        steps,
        [
            (5, "git log", 2),
            (14, "kubectl apply \\\n    -f - <<EOF\na: b\n\nEOF", 1),
        ]
    );
}
