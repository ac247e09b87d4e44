//! Texts that nobody would think of, the same ones each time.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::compare::{Difference, differences};
use crate::{Outcome, cases};

/// What Headgate says where only kubectl reads a text: the reasons of `exceptions.rs`.
const REFUSED: &[(&str, &str)] = &[
    ("kubectl drops what follows", "the rest would be lost without a word"),
    ("expected <document start>", "the rest would be lost without a word"),
    ("is here twice", "the last one would count"),
    ("move `<<` before it", "what was written would not count"),
    ("byte order mark", "invisible, and part of a key for kubectl"),
    ("this is not JSON", "half JSON, half YAML"),
    ("a space behind it", "a key for some, text for others"),
    ("comments must be separated", "no YAML"),
    ("while scanning a tag", "no YAML"),
    (
        "is no field of this object",
        "the content, which kubectl does not look at",
    ),
    ("no field can hold this number", "infinity as a key"),
];

/// What kubectl says where only Headgate reads a text: what YAML 1.2 has more of.
const READ: &[(&str, &str)] = &[
    (
        "cannot start any token",
        "a tab before a value, or around an empty line",
    ),
    (
        "a tab character where an indentation space",
        "a tab that begins a block of text",
    ),
    ("expected alphabetic or numeric character", "an anchor of any name"),
    (
        "unsupported map key of type: %!s(<nil>)",
        "an anchor whose name has a colon",
    ),
    ("expected node content", "`...` before anything else"),
    ("invalid character '.'", "`...` behind JSON"),
    ("expected whitespace or line break", "a tag of any name"),
];

fn is_explained(difference: &Difference) -> bool {
    let says = |list: &[(&str, &str)], error: &str| list.iter().any(|(part, _)| error.contains(part));
    match difference {
        Difference::OnlyKubectl { error } => says(REFUSED, error),
        Difference::OnlyHeadgate { error } => says(READ, error),
        Difference::Otherwise { .. } => false,
    }
}

fn check(strategy: &impl Strategy<Value = String>, count: usize) -> Outcome {
    let mut runner = TestRunner::deterministic();
    let mut text = || {
        Ok(strategy
            .new_tree(&mut runner)
            .map_err(|reason| reason.to_string())?
            .current())
    };
    let texts = (0..count).map(|_| text()).collect::<Outcome<Vec<String>>>()?;
    let found = differences(&texts)?;
    for (index, difference) in &found {
        assert!(is_explained(difference), "{:?}: {difference}", texts[*index]);
    }
    eprintln!("{count} generated texts, {} of them exceptions", found.len());
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
        2500,
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
    check(&files(), 1000)
}
