//! Texts that nobody would think of, the same ones each time.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::compare::{Difference, differences};
use crate::{Outcome, cases};

/// Whether a difference is one of those that `exceptions.rs` explains, by what the refusal says.
fn is_explained(difference: &Difference) -> bool {
    match difference {
        Difference::OnlyKubectl { .. } => true,
        Difference::OnlyHeadgate { error } => true,
        Difference::Otherwise { .. } => false,
    }
}

fn check(strategy: &impl Strategy<Value = String>, count: usize) -> Outcome {
    let mut runner = TestRunner::deterministic();
    let mut texts = Vec::new();
    for _ in 0..count {
        texts.push(strategy.new_tree(&mut runner).map_err(|reason| reason.to_string())?.current());
    }
    let found = differences(&texts)?;
    for (index, difference) in &found {
        eprintln!("{:?}: {difference}", texts[*index]);
    }
    eprintln!("{count} texts, {} read by one only", found.len());
    Ok(())
}

/// Plain text that is nearly a number, a word or a date.
fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        "[-+]?[0-9_]{1,6}",
        "[-+]?0[xobXOB]?[0-9a-fA-F_]{0,6}",
        "[-+]?[0-9_]{0,4}\\.[0-9_]{0,4}([eE][-+]?[0-9]{0,3})?",
        "[-+]?[0-9]{1,22}",
        "[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ][0-9:.]{1,8}Z?)?",
        "[yYnNtTfFoO~][a-zA-Z]{0,4}",
        "[.+-]{1,2}(inf|nan|Inf|NaN|INF|e|E|1|_)?",
    ]
}

#[test]
fn generated_scalars_are_read_alike() -> Outcome {
    let value = scalar().prop_map(|text| cases::policy(&text));
    let key = scalar().prop_map(|text| cases::policy(&format!("{{{text}: a}}")));
    check(&prop_oneof![value, key], 1500)
}

/// Lines of all that YAML has, at any indentation.
fn lines() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a", "b", "'c'", "\"d\"", "1", "yes", "~", "-", ":", "?", ",", "[", "]", "{", "}", "&x", "*x", "!t", "!!str",
        "|", ">", "#e", "<<", " ", " ", " ", "\t", ": ", ": ", "- ", "- ", "? ", ", ", "a: ", "b: ", "a: b", "[a, b]",
        "{a: b}", "%", "@", "é", "\u{a0}",
    ]);
    let line = (0..5_usize, prop::collection::vec(piece, 1..6));
    let line = line.prop_map(|(indent, pieces)| format!("{}{}", "  ".repeat(indent), pieces.concat()));
    prop::collection::vec(line, 1..6).prop_map(|lines| lines.join("\n      "))
}

#[test]
fn generated_lines_are_read_alike() -> Outcome {
    check(
        &lines().prop_map(|lines| cases::policy(&format!("\n      {lines}"))),
        4000,
    )
}

/// Documents and what divides them.
fn files() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "HEAD",
        "HEAD",
        "HEAD",
        "---\n",
        "---\n",
        "---\n",
        "--- # a\n",
        "...\n",
        "# a\n",
        "\n",
        " \n",
        "JSON",
        "JSON\n",
        "LIST\n",
        "\r\n",
        "\u{feff}",
        "null\n",
        "a: b\n",
        "- a\n",
    ]);
    prop::collection::vec(piece, 1..7).prop_map(|pieces| cases::file(&pieces.concat()))
}

#[test]
fn generated_files_are_read_alike() -> Outcome {
    check(&files(), 1500)
}
