//! The files that people wrote, as both read them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use headgate::policy::Severity;
use headgate::policy::manifest::parse;
use serde_json::Value;

use crate::Outcome;
use crate::compare::{NO_OBJECT, check_places, comparable, kind};
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
    let readings = kubectl::read(&texts)?;
    let served: HashSet<String> = readings.iter().flat_map(foreign).collect();
    let (mut objects, mut refused) = (0, 0);
    for ((file, text), reading) in files.iter().zip(&texts).zip(&readings) {
        match compare(text, reading, &served) {
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
fn compare(text: &str, reading: &Reading, served: &HashSet<String>) -> Outcome<Option<usize>, String> {
    let parsed = parse(text.as_bytes());
    check_places(text, &parsed);
    let no_object = |error: &String| NO_OBJECT.iter().any(|part| error.contains(part));
    let mut unread = reading.errors.iter().filter(|error| !no_object(error));
    let is_unreadable = |message: &str| UNREADABLE.iter().any(|part| message.contains(part));
    let errors: Vec<_> = parsed
        .problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .collect();
    match (
        unread.next(),
        errors.iter().find(|problem| is_unreadable(&problem.message)),
    ) {
        (Some(_), Some(_)) => return Ok(None),
        (Some(error), None) => return Err(format!("kubectl says {error}")),
        (None, Some(problem)) => return Err(format!("Headgate says {problem:?}")),
        (None, None) => {}
    }
    let guarded = reading.objects.iter().filter(|object| kind(object).is_some());
    let mut guarded: Vec<Value> = guarded.map(comparable).collect();
    // Of kinds that no server here has, kubectl says only that there are some.
    let ignored = parsed.ignored.iter().map(|ignored| ignored.what.clone());
    let mut ignored: Vec<String> = ignored.filter(|what| served.contains(what)).collect();
    let mut foreign: Vec<String> = foreign(reading).collect();
    ignored.sort();
    foreign.sort();
    if ignored != foreign || (errors.is_empty() && guarded.len() != parsed.manifests.len()) {
        return Err(format!(
            "{ignored:?} ignored, {foreign:?} others; {} objects",
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

/// The objects that are not guarded, as Headgate lists them.
fn foreign(reading: &Reading) -> impl Iterator<Item = String> {
    let foreign = reading.objects.iter().filter(|object| kind(object).is_none());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    foreign.map(move |object| format!("{} {}", text(&object["apiVersion"]), text(&object["kind"])))
}
