//! `headgate check`: what the gate would say of a folder, without a cluster.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;
use walkdir::WalkDir;

use super::output;
use super::{Ending, Failure};
use crate::policy::manifest::{self, Problem, Severity};
use crate::policy::{Key, Manifest};
use crate::source::resource::Scope;
use crate::source::{Coverage, is_manifest_path};

#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// The folder
    dir: PathBuf,
    /// Namespaces that the source covers, as globs; may be repeated
    #[arg(long = "namespaces", value_name = "GLOB", value_delimiter = ',')]
    namespaces: Vec<String>,
    /// With --namespaces: cluster-scoped objects are covered, too
    #[arg(long, requires = "namespaces")]
    cluster_scoped: bool,
    /// Files that do not count, as globs from the folder; may be repeated
    #[arg(long, value_name = "GLOB")]
    ignore: Vec<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: CheckFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum CheckFormat {
    /// For people: file, line and column first
    #[default]
    Text,
    /// One JSON document
    Json,
    /// Annotations that GitHub shows in the pull request
    Github,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
struct Findings {
    /// Guarded objects that can be read.
    objects: usize,
    /// Files that were read.
    files: usize,
    problems: Vec<Located>,
    ignored: Vec<Ignored>,
}

#[derive(Debug, Serialize)]
struct Located {
    file: String,
    #[serde(flatten)]
    problem: Problem,
}

#[derive(Debug, Serialize)]
struct Ignored {
    file: String,
    line: usize,
    what: String,
}

pub(super) fn check(arguments: &CheckArguments) -> Result<Ending, Failure> {
    let coverage = Coverage::from_scope(scope(arguments).as_ref())?;
    let ignore = ignored_globs(&arguments.ignore)?;
    if !arguments.dir.is_dir() {
        return Err(format!("{} is not a folder", arguments.dir.display()).into());
    }
    let mut checker = Checker {
        coverage,
        places: HashMap::new(),
        findings: Findings::default(),
    };
    for path in manifests_below(&arguments.dir)? {
        let shown = path.strip_prefix(&arguments.dir).unwrap_or(&path).display().to_string();
        if !ignore.is_match(&shown) {
            checker.add(&path, &shown)?;
        }
    }
    report(&checker.findings, arguments.output)?;
    let faulty = checker
        .findings
        .problems
        .iter()
        .any(|located| located.problem.severity == Severity::Error);
    Ok(if faulty { Ending::Found } else { Ending::Clean })
}

fn scope(arguments: &CheckArguments) -> Option<Scope> {
    (!arguments.namespaces.is_empty()).then(|| Scope {
        namespaces: Some(arguments.namespaces.clone()),
        cluster_scoped: arguments.cluster_scoped,
        ..Scope::default()
    })
}

fn ignored_globs(patterns: &[String]) -> Result<globset::GlobSet, Failure> {
    let mut set = globset::GlobSetBuilder::new();
    for pattern in patterns {
        set.add(globset::GlobBuilder::new(pattern).literal_separator(true).build()?);
    }
    Ok(set.build()?)
}

/// In the order of their names, so that two runs say the same.
fn manifests_below(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let is_git = |entry: &walkdir::DirEntry| entry.depth() > 0 && entry.file_name() == ".git";
    let mut paths = Vec::new();
    for entry in WalkDir::new(folder)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| !is_git(entry))
    {
        let entry = entry?;
        if !entry.file_type().is_dir() && is_manifest_path(&entry.path().to_string_lossy()) {
            paths.push(entry.into_path());
        }
    }
    Ok(paths)
}

struct Checker {
    coverage: Coverage,
    places: HashMap<Key, String>,
    findings: Findings,
}

impl Checker {
    fn add(&mut self, path: &Path, file: &str) -> Result<(), Failure> {
        if path.is_symlink() {
            let message = "a symbolic link is not followed; put the file itself here";
            self.problem(file, Severity::Error, 1, message.to_owned());
            return Ok(());
        }
        let text = std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        let parsed = manifest::parse(&text);
        self.findings.files += 1;
        self.findings.objects += parsed.manifests.len();
        for problem in parsed.problems {
            self.findings.problems.push(Located {
                file: file.to_owned(),
                problem,
            });
        }
        for ignored in parsed.ignored {
            self.findings.ignored.push(Ignored {
                file: file.to_owned(),
                line: ignored.line,
                what: ignored.what,
            });
        }
        if let Some(second) = parsed.manifests.get(1) {
            let message = "one object per file is easier to review and to blame".to_owned();
            self.problem(file, Severity::Warning, second.line, message);
        }
        for manifest in &parsed.manifests {
            self.place(file, manifest);
        }
        Ok(())
    }

    fn place(&mut self, file: &str, manifest: &Manifest) {
        let key = &manifest.key;
        if !self.coverage.covers(key) {
            let message = format!("{} is outside the source's scope and would be skipped", key.label());
            self.problem(file, Severity::Warning, manifest.line, message);
        } else if let Some(tier) = manifest.tier.as_deref().filter(|tier| !self.coverage.allows_tier(tier)) {
            let message = format!(
                "{} is in the tier \"{tier}\", outside the source's scope, and would be skipped",
                key.label()
            );
            self.problem(file, Severity::Warning, manifest.line, message);
        }
        let place = format!("{file}:{}", manifest.line);
        if let Some(first) = self.places.get(key).cloned() {
            let message = format!("{} is declared in {first} already", key.label());
            self.problem(file, Severity::Error, manifest.line, message);
        } else {
            self.places.insert(key.clone(), place);
        }
    }

    fn problem(&mut self, file: &str, severity: Severity, line: usize, message: String) {
        let problem = Problem {
            severity,
            line,
            column: 1,
            field: String::new(),
            message,
        };
        self.findings.problems.push(Located {
            file: file.to_owned(),
            problem,
        });
    }
}

fn report(findings: &Findings, format: CheckFormat) -> Result<(), Failure> {
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
    let field = if problem.field.is_empty() {
        String::new()
    } else {
        format!("{}: ", problem.field)
    };
    format!(
        "::{level} file={},line={},col={}::{}\n",
        property(file),
        problem.line,
        problem.column,
        data(&format!("{field}{}", problem.message))
    )
}
