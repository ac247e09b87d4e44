//! The operator's pages, tried as they are written: every command of docs/operations.md and docs/recovery.md runs in one
//! shell, with the real kubectl, git, helm and headgate, on a real control plane, and prints what the page shows.
//!
//! A section that is not tried here names the tests that do; one that does neither fails `every_section_is_tried`.

#![expect(clippy::indexing_slicing, reason = "an absent member of a JSON value reads as null")]

#[path = "../controlplane/mod.rs"]
mod controlplane;
#[path = "../stand/mod.rs"]
mod stand;

mod compare;
mod guide;
mod page;
mod recovery;
mod shell;
mod tour;

use std::collections::BTreeSet;
use std::path::Path;

use stand::Failure;
use tour::Tour;

type Outcome = Result<(), Failure>;

/// How a section is tried.
pub(crate) enum Trial {
    /// Its commands run here. What the section takes for granted is made before it, what it promises is looked at after it.
    Here {
        before: fn(&mut Tour) -> Outcome,
        after: fn(&mut Tour) -> Outcome,
    },
    /// These tests do what it says, elsewhere.
    Elsewhere(&'static [&'static str]),
}

/// The sections of a page, in their order.
pub(crate) type Trials = [(&'static str, Trial)];

const PAGES: [(&str, &Trials); 2] = [("operations.md", guide::TRIALS), ("recovery.md", recovery::TRIALS)];

#[test]
fn every_section_is_tried() -> Outcome {
    let mut tests = BTreeSet::new();
    functions(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"), &mut tests)?;
    for (name, trials) in PAGES {
        let sections = page::read(name)?;
        let headings: Vec<&str> = sections.iter().map(|section| section.heading.as_str()).collect();
        let tried: Vec<&str> = trials.iter().map(|(heading, _)| *heading).collect();
        assert_eq!(headings, tried, "the sections of {name} and their trials");
        for (section, (heading, trial)) in sections.iter().zip(trials) {
            match trial {
                Trial::Here { .. } => assert!(!section.steps.is_empty(), "{name}: {heading} has no command after a $"),
                Trial::Elsewhere(named) => {
                    let absent: Vec<&&str> = named.iter().filter(|test| !tests.contains(**test)).collect();
                    assert!(
                        !named.is_empty() && absent.is_empty(),
                        "{name}: {heading}: no tests {absent:?}"
                    );
                }
            }
        }
    }
    Ok(())
}

/// The names of all functions below a folder.
fn functions(folder: &Path, names: &mut BTreeSet<String>) -> Outcome {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            functions(&path, names)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(path)?;
            let after = text.split("fn ").skip(1);
            names.extend(after.filter_map(|after| after.split('(').next().map(str::to_owned)));
        }
    }
    Ok(())
}

#[test]
fn the_guide_works_from_its_first_command_to_its_last() -> Outcome {
    let mut tour = guide::begin()?;
    tour.follow("operations.md", guide::TRIALS)
}

#[test]
fn what_went_wrong_is_mended_as_the_page_says() -> Outcome {
    let mut tour = recovery::begin()?;
    tour.follow("recovery.md", recovery::TRIALS)
}
