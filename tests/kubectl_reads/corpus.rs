//! The files that people wrote, as both read them.

use std::path::{Path, PathBuf};

use headgate::policy::Severity;
use headgate::policy::manifest::parse;
use serde_json::Value;

use crate::Outcome;
use crate::compare::{check_places, comparable, kind};
use crate::kubectl::{self, Reading};

/// What a problem says where the text itself cannot be read, in whole or in part.
const UNREADABLE: &[&str] = &["this is not YAML", "this is not JSON", "is here twice"];

/// The corpus, where it is; in CI it has to be.
fn corpus() -> Outcome<Option<PathBuf>> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let folder = std::env::var_os("HEADGATE_SHARED")
        .map_or_else(beside, PathBuf::from)
        .join("corpus");
    if folder.is_dir() {
        return Ok(Some(folder));
    }
    eprintln!("skipped: {} is not there", folder.display());
    if std::env::var_os("CI").is_some() {
        return Err("CI must not skip this test".into());
    }
    Ok(None)
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) -> Outcome {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files_below(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
    Ok(())
}

#[test]
fn the_corpus_is_read_alike() -> Outcome {
    let Some(folder) = corpus()? else {
        return Ok(());
    };
    let mut files = Vec::new();
    files_below(&folder, &mut files)?;
    files.sort();
    let texts = files
        .iter()
        .map(std::fs::read_to_string)
        .collect::<Result<Vec<String>, _>>()?;
    let (mut objects, mut refused) = (0, 0);
    for ((file, text), reading) in files.iter().zip(&texts).zip(&kubectl::read(&texts)?) {
        match compare(text, reading) {
            Ok(Some(count)) => objects += count,
            Ok(None) => refused += 1,
            Err(difference) => return Err(format!("{}: {difference}", file.display()).into()),
        }
    }
    eprintln!(
        "{} files: {objects} objects are the same, {refused} files are refused by both",
        files.len()
    );
    assert!(objects > 800, "{objects}");
    Ok(())
}

/// How many objects are the same; none where neither can read the text. What Headgate refuses for its content is not
/// among them, and kubectl does not look at that here.
fn compare(text: &str, reading: &Reading) -> Outcome<Option<usize>, String> {
    let parsed = parse(text.as_bytes());
    check_places(text, &parsed);
    let unknown = |error: &&String| error.contains("no matches for kind") || error.contains("Object 'Kind' is missing");
    let (unserved, unread): (Vec<_>, Vec<_>) = reading.errors.iter().partition(unknown);
    let is_unreadable = |message: &str| UNREADABLE.iter().any(|part| message.contains(part));
    let errors: Vec<_> = parsed
        .problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .collect();
    match (
        unread.first(),
        errors.iter().find(|problem| is_unreadable(&problem.message)),
    ) {
        (Some(_), Some(_)) => return Ok(None),
        (Some(error), None) => return Err(format!("kubectl says {error}")),
        (None, Some(problem)) => return Err(format!("Headgate says {problem:?}")),
        (None, None) => {}
    }
    let guarded = reading.objects.iter().filter(|object| kind(object).is_some());
    let mut guarded: Vec<Value> = guarded.map(comparable).collect();
    let ignored = parsed.ignored.len();
    let foreign = reading.objects.len() - guarded.len() + unserved.len();
    if ignored != foreign || (errors.is_empty() && guarded.len() != parsed.manifests.len()) {
        return Err(format!(
            "{ignored} ignored, {foreign} others; {} objects",
            guarded.len()
        ));
    }
    for manifest in &parsed.manifests {
        let object = comparable(&manifest.object);
        let same = guarded.iter().position(|other| *other == object);
        let same = same.ok_or_else(|| format!("kubectl reads no {object}"))?;
        guarded.remove(same);
    }
    Ok(Some(parsed.manifests.len()))
}
