//! `headgate status`: the sources and how they fare.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use kube::api::{Api, ListParams};

use super::connect::ConnectArguments;
use super::output::{self, Format};
use super::{Ending, Failure, watch};
use crate::gate::wording::inline;
use crate::source::{PolicySource, PolicySourceStatus};

/// How long the API server may take.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Debug, Args)]
pub(super) struct StatusArguments {
    #[command(flatten)]
    pub(super) connect: ConnectArguments,
    /// A source; all of them where none is named
    pub(super) source: Option<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Format,
    /// Go on until interrupted, and show what changes; at a terminal with a bar for what is being written
    #[arg(short, long, conflicts_with = "output")]
    pub(super) watch: bool,
}

/// The columns of the table.
pub(super) const HEADER: [&str; 7] = ["NAME", "READY", "STATUS", "COMMIT", "OBJECTS", "DRIFT", "AGE"];

pub(super) async fn status(arguments: StatusArguments) -> Result<Ending, Failure> {
    let api: Api<PolicySource> = Api::all(arguments.connect.client().await?);
    let mut sources = tokio::time::timeout(PATIENCE, list(&api, arguments.source.as_deref()))
        .await
        .map_err(|_| format!("the API server did not answer within {PATIENCE:?}"))??;
    if arguments.watch {
        if sources.is_empty() {
            output::print(&text(&sources, false))?;
        }
        return watch::watch(api, arguments.source.as_deref()).await;
    }
    for source in &mut sources {
        source.metadata.managed_fields = None;
    }
    match arguments.output {
        Format::Json | Format::Yaml => output::print_structured(&sources, arguments.output)?,
        format => output::print(&text(&sources, format == Format::Wide))?,
    }
    let ready = sources.iter().all(|source| is_ready(source) && drift(source) == 0);
    Ok(if ready { Ending::Clean } else { Ending::Found })
}

async fn list(api: &Api<PolicySource>, name: Option<&str>) -> Result<Vec<PolicySource>, Failure> {
    match name {
        Some(name) => {
            let source = api.get_opt(name).await?;
            Ok(vec![
                source.ok_or_else(|| format!("there is no PolicySource \"{name}\""))?,
            ])
        }
        None => Ok(api.list(&ListParams::default()).await?.items),
    }
}

fn text(sources: &[PolicySource], wide: bool) -> String {
    if sources.is_empty() {
        return "There are no PolicySources. Where the gate enforces, it refuses every write of a guarded object.\n"
            .to_owned();
    }
    let mut header = HEADER.to_vec();
    if wide {
        header.extend(["URL", "REF", "FETCHED"]);
    }
    let rows: Vec<Vec<String>> = sources.iter().map(|source| row(source, wide)).collect();
    let mut text = output::table(&header, &rows);
    for source in sources {
        for condition in conditions(source)
            .iter()
            // That no other source overlaps is as it should be.
            .filter(|condition| condition.status == "False" && condition.type_ != "Overlapping")
        {
            let message = inline(&condition.message);
            let line = format!(
                "\n{}: {} is False ({}): {}\n",
                source.name_any(),
                condition.type_,
                condition.reason,
                message
            );
            text.push_str(&line);
        }
        if let Some(status) = &source.status {
            text.push_str(&left_alone(&source.name_any(), status));
        }
    }
    text
}

/// The undeclared objects that the loop leaves alone: some by key, and how many more.
fn left_alone(name: &str, status: &PolicySourceStatus) -> String {
    let listed = &status.undeclared;
    let count = usize::try_from(status.undeclared_count).unwrap_or(0).max(listed.len());
    if count == 0 {
        return String::new();
    }
    let mut text = format!("\n{name}: {count} not in Git, and left alone:\n");
    for key in listed {
        let _ = writeln!(text, "  {key}");
    }
    if count > listed.len() {
        let more = count - listed.len();
        let _ = writeln!(text, "  and {more} more: headgate diff lists them all");
    }
    text
}

pub(super) fn row(source: &PolicySource, wide: bool) -> Vec<String> {
    let now = Timestamp::now();
    let default = PolicySourceStatus::default();
    let status = source.status.as_ref().unwrap_or(&default);
    let ready = conditions(source).iter().find(|condition| condition.type_ == "Ready");
    let or_none = |text: &str| {
        if text.is_empty() {
            "<none>".to_owned()
        } else {
            text.to_owned()
        }
    };
    let mut row = vec![
        source.name_any(),
        ready.map_or_else(|| "Unknown".to_owned(), |condition| condition.status.clone()),
        or_none(ready.map_or("", |condition| condition.reason.as_str())),
        or_none(&status.short_commit),
        status
            .head
            .as_ref()
            .map_or_else(|| "<none>".to_owned(), |head| head.objects.to_string()),
        status.drift.to_string(),
        source
            .creation_timestamp()
            .map_or_else(|| "<unknown>".to_owned(), |time| age(now, time.0)),
    ];
    if wide {
        let git = &source.spec.git;
        row.push(git.url.clone());
        row.push(
            git.r#ref
                .tag
                .as_ref()
                .or(git.r#ref.branch.as_ref())
                .cloned()
                .unwrap_or_else(|| "main".to_owned()),
        );
        row.push(
            status
                .fetched_at
                .as_ref()
                .map_or_else(|| "<never>".to_owned(), |time| age(now, time.0)),
        );
    }
    row
}

fn conditions(source: &PolicySource) -> &[Condition] {
    source.status.as_ref().map_or(&[][..], |status| &status.conditions)
}

fn is_ready(source: &PolicySource) -> bool {
    conditions(source)
        .iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn drift(source: &PolicySource) -> i64 {
    source.status.as_ref().map_or(0, |status| status.drift)
}

/// A span as kubectl writes it: the largest unit that says enough.
fn age(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}
