//! The threat model's table names the tests that show each row: they are there.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::path::Path;

/// The names of all test functions below a folder.
fn functions(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            // The attribute, perhaps others, and the name.
            for after in text.split("test]").skip(1).chain(text.split("test(flavor").skip(1)) {
                let name = after.split("fn ").nth(1).unwrap_or_default();
                names.extend(name.split('(').next().map(str::to_owned));
            }
        }
    }
}

#[test]
fn every_test_that_the_threat_model_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = BTreeSet::new();
    functions(&root.join("tests"), &mut tests);
    functions(&root.join("src"), &mut tests);
    let page = std::fs::read_to_string(root.join("docs/threat-model.md")).unwrap();
    let is_test =
        |word: &&str| word.matches('_').count() > 1 && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let named: Vec<&str> = page.split('`').filter(is_test).collect();
    assert!(named.len() > 60, "only {} are named", named.len());
    let absent: Vec<&&str> = named.iter().filter(|name| !tests.contains(**name)).collect();
    assert!(absent.is_empty(), "there is no test of these names: {absent:#?}");
    // A row ends with its tests, or with a dash where there is none.
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| ") && line.matches(" | ").count() == 2);
    for row in rows.filter(|row| !row.contains("| shown by")) {
        let shown = row.rsplit(" | ").next().unwrap_or_default();
        assert!(shown.starts_with('`') || shown.starts_with('–'), "{row}");
    }
}
