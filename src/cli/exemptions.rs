//! `headgate exemptions`: what may be written without Git, and what Headgate brings along for that.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::output::{self, Format};
use super::{Ending, Failure};
use crate::config::Config;
use crate::gate::preset::{self, Preset};
use crate::gate::wording::inline;
use crate::gate::{Exemption, ExemptionSpec};

#[derive(Debug, Args)]
pub(super) struct ExemptionArguments {
    /// The configuration; without one nothing is exempt
    #[arg(long, env = "HEADGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// List the presets there are, instead of what is exempt
    #[arg(long)]
    presets: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// An exemption as machines read it: as the configuration would write it, and where it is from.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    preset: Option<&'a str>,
    in_force: bool,
    #[serde(flatten)]
    spec: &'a ExemptionSpec,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    name: &'static str,
    #[serde(flatten)]
    preset: Preset,
}

pub(super) fn exemptions(arguments: &ExemptionArguments) -> Result<Ending, Failure> {
    let rules = Config::read(arguments.config.as_deref())?.rules;
    if arguments.presets {
        return presets(arguments.output);
    }
    let now = Timestamp::now();
    match arguments.output {
        Format::Json | Format::Yaml => {
            let rows: Vec<Row<'_>> = rules.exemptions.iter().map(|exemption| row(exemption, now)).collect();
            output::print_structured(&rows, arguments.output)?;
        }
        format => output::print(&text(&rules.exemptions, now, format == Format::Wide))?,
    }
    Ok(Ending::Clean)
}

fn row(exemption: &Exemption, now: Timestamp) -> Row<'_> {
    Row {
        preset: exemption.preset(),
        in_force: exemption.holds_at(now),
        spec: exemption.spec(),
    }
}

fn text(exemptions: &[Exemption], now: Timestamp, wide: bool) -> String {
    if exemptions.is_empty() {
        return "There are no exemptions: nobody writes a guarded object without Git.\n".to_owned();
    }
    let mut header = vec!["PRESET", "USERS", "KINDS", "NAMES", "OPERATIONS", "ENDS", "REASON"];
    if wide {
        header.extend(["NAMESPACES", "LABELS", "OWNERS"]);
    }
    let rows: Vec<Vec<String>> = exemptions.iter().map(|exemption| cells(exemption, now, wide)).collect();
    output::table(&header, &rows)
}

fn cells(exemption: &Exemption, now: Timestamp, wide: bool) -> Vec<String> {
    let spec = exemption.spec();
    let list = |items: &[String]| short(items, "*", wide);
    let users: Vec<String> = spec.users.iter().chain(&spec.groups).cloned().collect();
    let stored = spec.stored_names.iter().map(|name| format!("stored as {name}"));
    let names: Vec<String> = spec.names.iter().cloned().chain(stored).collect();
    let operations: Vec<&str> = spec.operations.iter().map(|operation| operation.as_str()).collect();
    let ends = match spec.until {
        None => "<never>".to_owned(),
        Some(until) if exemption.holds_at(now) => until.to_string(),
        Some(until) => format!("{until} (over)"),
    };
    let mut cells = vec![
        exemption.preset().unwrap_or("<none>").to_owned(),
        list(&users),
        list(&spec.kinds),
        list(&names),
        if operations.is_empty() {
            "*".to_owned()
        } else {
            operations.join(",")
        },
        ends,
        inline(&spec.reason),
    ];
    if wide {
        let labels: Vec<String> = spec
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        cells.extend([list(&spec.namespaces), list(&labels), list(&spec.owner_kinds)]);
    }
    cells
}

/// The first of a list and how many more there are, or all of it.
fn short(items: &[String], none: &str, whole: bool) -> String {
    let text = match items {
        [] => none.to_owned(),
        [first, _, ..] if !whole => format!("{first} + {} more", items.len() - 1),
        all => all.join(","),
    };
    inline(&text)
}

fn presets(format: Format) -> Result<Ending, Failure> {
    let listed = preset::names().map(|name| {
        let preset = Preset::of_name(name)?;
        Ok(Listed { name, preset })
    });
    let listed: Vec<Listed> = listed.collect::<Result<_, Failure>>()?;
    if let Format::Json | Format::Yaml = format {
        output::print_structured(&listed, format)?;
        return Ok(Ending::Clean);
    }
    let rows: Vec<Vec<String>> = listed
        .into_iter()
        .map(|Listed { name, preset }| {
            let needs_end = if preset.needs_end { "yes" } else { "no" };
            let exemptions = preset.exemptions.len().to_string();
            vec![name.to_owned(), exemptions, needs_end.to_owned(), preset.description]
        })
        .collect();
    output::print(&output::table(
        &["NAME", "EXEMPTIONS", "NEEDS-END", "DESCRIPTION"],
        &rows,
    ))?;
    Ok(Ending::Clean)
}
