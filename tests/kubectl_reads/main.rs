//! YAML as kubectl reads it: what `manifest::parse` makes of a text, compared with what the real kubectl makes of it.

#![expect(
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "an absent member of a JSON value reads as null; figures are for people"
)]

#[path = "../controlplane/mod.rs"]
mod controlplane;

mod cases;
mod compare;
mod corpus;
mod exceptions;
mod generated;
mod kubectl;

use compare::differences;
use exceptions::{Exception, Who};

type Failure = Box<dyn std::error::Error>;
type Outcome<T = (), E = Failure> = Result<T, E>;

#[test]
fn odd_values_are_read_alike() -> Outcome {
    expect_only(exceptions::VALUES, cases::VALUES, cases::policy)
}

#[test]
fn odd_values_are_read_alike_with_the_line_ends_of_windows() -> Outcome {
    let values: Vec<&str> = cases::VALUES
        .iter()
        .copied()
        .filter(|value| !value.contains('\r'))
        .collect();
    expect_only(exceptions::VALUES, &values, |value| {
        cases::policy(value).replace('\n', "\r\n")
    })
}

#[test]
fn odd_files_are_read_alike() -> Outcome {
    expect_only(exceptions::FILES, cases::FILES, cases::file)
}

/// The cases that are read differently are the exceptions, all of them and no others.
fn expect_only(exceptions: &[Exception], cases: &[&str], text: impl Fn(&str) -> String) -> Outcome {
    let texts: Vec<String> = cases.iter().map(|case| text(case)).collect();
    let found = differences(&texts)?;
    let excepted = |case: &str| exceptions.iter().find(|exception| exception.texts.contains(&case));
    for (index, difference) in &found {
        let case = cases[*index];
        let is_known = excepted(case).is_some_and(|exception| exception.who == Who::reads(difference));
        assert!(is_known, "{case:?}: {difference}");
    }
    for exception in exceptions {
        for text in exception.texts {
            let is_found = found.iter().any(|(index, _)| cases[*index] == *text);
            assert!(is_found, "{text:?} is read alike, though {}", exception.why);
        }
    }
    eprintln!(
        "{} texts read alike, {} exceptions",
        cases.len() - found.len(),
        found.len()
    );
    Ok(())
}
