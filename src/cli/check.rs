//! `headgate check`: what the gate would say of a folder, without a cluster.

mod print;
mod scope;
mod walk;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::{Ending, Failure};
use crate::config::Config;
use crate::gate::wording::inline;
use crate::policy::lint::{self, Lint, Surroundings};
use crate::policy::manifest::{self, Problem, Severity};
use crate::policy::{Key, Kind, Manifest};
use crate::source::Coverage;
use print::{Findings, Ignored, Located};
use scope::ScopeArguments;
use walk::{Entry, Fate};

#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// The folder
    dir: PathBuf,
    #[command(flatten)]
    scope: ScopeArguments,
    /// The configuration, which names further guarded kinds
    #[arg(long, env = "HEADGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// A lint to turn off, by the name in brackets; may be repeated
    #[arg(long, value_name = "LINT", value_delimiter = ',', value_parser = lint_name)]
    disable: Vec<Lint>,
    /// Headgate's own namespace, which no policy should cut off
    #[arg(
        long,
        env = "HEADGATE_NAMESPACE",
        value_name = "NAME",
        default_value = "headgate-system"
    )]
    headgate_namespace: String,
    /// The port of the webhook's Pods
    #[arg(long, value_name = "PORT", default_value_t = 8443)]
    webhook_port: u16,
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

fn lint_name(text: &str) -> Result<Lint, String> {
    let names = Lint::ALL.map(Lint::name).join(", ");
    Lint::of_name(text).ok_or_else(|| format!("expected one of {names}"))
}

pub(super) fn check(arguments: &CheckArguments) -> Result<Ending, Failure> {
    let config = Config::read(arguments.config.as_deref())?;
    let source = arguments.scope.source()?;
    let entries = walk::entries(&arguments.dir, &source, &config.limits)?;
    let mut checker = Checker {
        guarded: config.rules.guarded.into_iter().collect(),
        is_configured: arguments.config.is_some(),
        disabled: arguments.disable.iter().copied().collect(),
        places: HashMap::new(),
        manifests: Vec::new(),
        findings: Findings::default(),
        coverage: source.coverage,
    };
    for entry in entries {
        checker.add(entry)?;
    }
    if checker.findings.files == 0 && checker.findings.problems.is_empty() {
        let folder = walk::shown(&arguments.dir.join(&source.path));
        let message = "no manifest is here: a source that reads this folder declares nothing".to_owned();
        checker.problem(&folder, 1, message);
    }
    checker.lint(&Surroundings {
        namespace: arguments.headgate_namespace.clone(),
        webhook_port: arguments.webhook_port,
    });
    print::report(&checker.findings, arguments.output)?;
    let faulty = checker
        .findings
        .problems
        .iter()
        .any(|located| located.problem.severity == Severity::Error);
    Ok(if faulty { Ending::Found } else { Ending::Clean })
}

struct Checker {
    coverage: Coverage,
    /// The kinds that the configuration guards, or would guard where none is given.
    guarded: HashSet<Kind>,
    /// Whether a configuration was given.
    is_configured: bool,
    disabled: HashSet<Lint>,
    places: HashMap<Key, String>,
    /// What the source would declare, with its file.
    manifests: Vec<(String, Manifest)>,
    findings: Findings,
}

impl Checker {
    fn add(&mut self, entry: Entry) -> Result<(), Failure> {
        let file = entry.shown.as_str();
        match entry.fate {
            Fate::Read => self.read(&entry.path, file)?,
            Fate::Refuse(why) => self.error(file, 1, why),
            Fate::Pass(why) => self.warning(Lint::NotRead, file, 1, "", why),
        }
        Ok(())
    }

    fn read(&mut self, path: &Path, file: &str) -> Result<(), Failure> {
        let text = std::fs::read(path).map_err(|error| inline(&format!("{file} cannot be read: {error}")))?;
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
            self.warning(Lint::SeveralObjects, file, second.line, "", message);
        }
        for manifest in parsed.manifests {
            self.place(file, manifest);
        }
        Ok(())
    }

    fn place(&mut self, file: &str, manifest: Manifest) {
        let key = &manifest.key;
        if let Some(why) = self.coverage.outside(key, manifest.tier.as_deref()) {
            let message = format!(
                "{} is outside the source's scope and would be skipped: {why}",
                key.label()
            );
            return self.warning(Lint::OutsideScope, file, manifest.line, "", message);
        }
        if !self.guarded.contains(&key.kind()) {
            let message = self.not_guarded(key.kind());
            self.warning(Lint::NotGuarded, file, manifest.line, "kind", message);
        }
        let key = &manifest.key;
        let place = format!("{file}:{}", manifest.line);
        if let Some(first) = self.places.get(key).cloned() {
            let message = format!("{} is declared in {first} already: remove one", key.label());
            return self.error(file, manifest.line, message);
        }
        self.places.insert(key.clone(), place);
        self.manifests.push((file.to_owned(), manifest));
    }

    fn not_guarded(&self, kind: Kind) -> String {
        let label = kind.label();
        if self.is_configured {
            return format!(
                "{label} is not among the configuration's guardedKinds: it would be neither applied nor guarded"
            );
        }
        format!(
            "{label} is not among the kinds that are guarded by default: unless the configuration's guardedKinds names {kind}, \
             it is neither applied nor guarded. --config says which configuration holds"
        )
    }

    /// What the policies do together; then everything in the order of the files.
    fn lint(&mut self, surroundings: &Surroundings) {
        let manifests = std::mem::take(&mut self.manifests);
        let plain: Vec<&Manifest> = manifests.iter().map(|(_, manifest)| manifest).collect();
        for finding in lint::lint(&plain, surroundings) {
            if let Some((file, manifest)) = manifests.get(finding.manifest) {
                self.warning(finding.lint, file, manifest.line, finding.field, finding.message);
            }
        }
        let place = |located: &Located| (located.file.clone(), located.problem.line, located.problem.column);
        self.findings.problems.sort_by_cached_key(place);
    }

    fn error(&mut self, file: &str, line: usize, message: String) {
        self.problem(file, line, message).severity = Severity::Error;
    }

    fn warning(&mut self, found_by: Lint, file: &str, line: usize, field: &str, message: String) {
        if !self.disabled.contains(&found_by) {
            let problem = self.problem(file, line, message);
            field.clone_into(&mut problem.field);
            problem.lint = Some(found_by);
        }
    }

    fn problem(&mut self, file: &str, line: usize, message: String) -> &mut Problem {
        let problem = Problem {
            severity: Severity::Warning,
            line,
            column: 1,
            field: String::new(),
            message,
            lint: None,
        };
        let located = Located {
            file: file.to_owned(),
            problem,
        };
        &mut self.findings.problems.push_mut(located).problem
    }
}
