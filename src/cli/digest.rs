//! `headgate digest`: key and digest of each guarded object of a file.

use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::deployer::Tool;
use super::output::{self, Format};
use super::{Ending, Failure};
use crate::config::Config;
use crate::gate::wording::inline;
use crate::policy::deployer::without_marks;
use crate::policy::manifest::{self, Severity};
use crate::policy::{Digest, Key, Manifest};

#[derive(Debug, Args)]
pub(super) struct DigestArguments {
    /// A file of YAML or JSON, or - for the standard input
    file: PathBuf,
    /// The configuration, which names further guarded kinds
    #[arg(long, env = "HEADGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Leave out this deployer's tracking marks: so a live object can be compared with its file
    #[arg(long, value_enum, value_name = "TOOL")]
    deployer: Option<Tool>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Serialize)]
struct Row {
    key: Key,
    digest: Digest,
    line: usize,
}

pub(super) fn digest(arguments: &DigestArguments) -> Result<Ending, Failure> {
    Config::read(arguments.config.as_deref())?;
    let text = read(&arguments.file)?;
    let parsed = manifest::parse(&text);
    let mut rows = Vec::new();
    for manifest in &parsed.manifests {
        rows.push(Row {
            key: manifest.key.clone(),
            digest: digest_of(manifest, arguments.deployer)?,
            line: manifest.line,
        });
    }
    match arguments.output {
        Format::Text | Format::Wide => {
            for row in &rows {
                output::print(&format!("{} {}\n", row.key, row.digest))?;
            }
        }
        format => output::print_structured(&rows, format)?,
    }
    let file = arguments.file.display().to_string();
    let mut ending = Ending::Clean;
    for problem in &parsed.problems {
        output::complain(&output::located(&file, problem));
        if problem.severity == Severity::Error {
            ending = Ending::Found;
        }
    }
    for ignored in &parsed.ignored {
        output::complain(&output::ignored(&file, ignored.line, &ignored.what));
    }
    // As kubectl has it: a file without anything to work on is no success.
    if rows.is_empty() && ending == Ending::Clean {
        output::complain(&inline(&format!("{file}: no object of a guarded kind is in it")));
        ending = Ending::Found;
    }
    Ok(ending)
}

fn digest_of(manifest: &Manifest, deployer: Option<Tool>) -> Result<Digest, Failure> {
    let Some(deployer) = deployer else {
        return Ok(manifest.digest);
    };
    // None of them counts here, not those either that the file declares.
    let form = without_marks(manifest.key.kind(), &Value::Null, &manifest.form, Some(deployer.into()));
    Ok(Digest::of(&form)?)
}

fn read(file: &PathBuf) -> Result<Vec<u8>, Failure> {
    if file.as_os_str() == "-" {
        let mut text = Vec::new();
        std::io::stdin().lock().read_to_end(&mut text)?;
        return Ok(text);
    }
    let refuse = |error| inline(&format!("{} cannot be read: {error}", file.display())).into();
    std::fs::read(file).map_err(refuse)
}
