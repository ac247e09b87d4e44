//! `headgate source history`: the commits that changed a source's policy, as the sync loop recorded them.

use clap::Args;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::Api;

use super::moves::known;
use crate::cli::connect::ConnectArguments;
use crate::cli::output::{self, Format};
use crate::cli::{Ending, Failure};
use crate::gate::wording::inline;
use crate::source::PolicySource;
use crate::source::resource::HistoryEntry;

#[derive(Debug, Args)]
pub(super) struct HistoryArguments {
    #[command(flatten)]
    connect: ConnectArguments,
    /// The source
    name: String,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Prints a source's history, newest first.
pub(super) async fn history(arguments: HistoryArguments) -> Result<Ending, Failure> {
    let api: Api<PolicySource> = Api::all(arguments.connect.client().await?);
    let source = known(&api, &arguments.name).await?;
    match arguments.output {
        Format::Json | Format::Yaml => {
            let history = source.status.map(|status| status.history).unwrap_or_default();
            output::print_structured(&history, arguments.output)?;
        }
        format => output::print(&text(&source, format == Format::Wide))?,
    }
    Ok(Ending::Clean)
}

/// The history as a table.
pub(super) fn text(source: &PolicySource, wide: bool) -> String {
    let history = source.status.as_ref().map_or(&[][..], |status| &status.history);
    if history.is_empty() {
        return "No commit that changed policy was recorded yet.\n".to_owned();
    }
    let mut header = vec![
        "COMMIT", "COMMITS", "CREATED", "CHANGED", "REMOVED", "ACCEPTED", "APPLIED", "AUTHOR", "SUBJECT",
    ];
    if wide {
        header.push("OBJECTS");
    }
    let rows: Vec<Vec<String>> = history.iter().map(|entry| row(entry, wide)).collect();
    output::table(&header, &rows)
}

fn row(entry: &HistoryEntry, wide: bool) -> Vec<String> {
    let commit = if wide {
        entry.commit.as_str()
    } else {
        entry.commit.get(..7).unwrap_or(&entry.commit)
    };
    let pinned = if entry.pinned { " (pinned)" } else { "" };
    let mut row = vec![
        format!("{commit}{pinned}"),
        spanned(entry),
        count(entry.created),
        count(entry.changed),
        count(entry.removed),
        moment(Some(&entry.accepted_at), ""),
        moment(entry.applied_at.as_ref(), "<not yet>"),
        inline(&entry.author),
        inline(&entry.subject),
    ];
    if wide {
        let objects: Vec<String> = entry
            .objects
            .iter()
            .map(|touched| {
                let sign = match touched.change.as_str() {
                    "Created" => '+',
                    "Removed" => '-',
                    _ => '~',
                };
                format!("{sign}{}", touched.object)
            })
            .collect();
        row.push(inline(&objects.join(" ")));
    }
    row
}

/// How many commits a step brought, and how many it took back.
fn spanned(entry: &HistoryEntry) -> String {
    match (entry.commits, entry.undone) {
        (Some(0), Some(0)) | (None, None) => "<unknown>".to_owned(),
        (Some(commits), None | Some(0)) => format!("+{commits}"),
        (Some(0) | None, Some(undone)) => format!("-{undone}"),
        (Some(commits), Some(undone)) => format!("+{commits} -{undone}"),
    }
}

fn count(objects: Option<i64>) -> String {
    objects.map_or_else(|| "<unknown>".to_owned(), |objects| objects.to_string())
}

fn moment(time: Option<&Time>, none: &str) -> String {
    time.map_or_else(
        || none.to_owned(),
        |time| time.0.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    )
}
