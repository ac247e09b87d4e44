//! `headgate source get NAME`: every object that a source declares, and what else it has to do with, each with how it
//! stands. Without a name: the sources.

use std::collections::HashMap;

use clap::Args;
use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use crate::cli::look::{Look, LookArguments};
use crate::cli::output::{self, Format, complain};
use crate::cli::status::{self, StatusArguments};
use crate::cli::{Ending, Failure};
use crate::gate::wording::inline;
use crate::policy::{Difference, Key};
use crate::source::{PolicySource, SourceState};
use crate::sync::{Finding, Hold, Standing};

/// Differences that a line tells; JSON and YAML have them all.
const TOLD: usize = 3;

#[derive(Debug, Args)]
pub(super) struct GetArguments {
    #[command(flatten)]
    status: StatusArguments,
    #[command(flatten)]
    look: LookArguments,
}

/// How an object stands. A closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Status {
    /// The cluster holds what Git says.
    Synced,
    /// Declared, and not there.
    Missing,
    /// Declared, and different.
    Differs,
    /// There, and not declared.
    Undeclared,
    /// There, not declared, and older than the source: left alone.
    Unadopted,
    /// There under a name that its key does not have.
    Misplaced,
    /// The loop tries to bring it to Git, and fails.
    Failing,
    /// Sources of equal priority declare it differently.
    Conflict,
    /// Another source of higher priority declares it.
    Overridden,
    /// In Git, and outside the source's scope.
    Skipped,
    /// In Git, and of a kind that the configuration does not guard.
    NotGuarded,
    /// There under a name that its key does not have, and named by an exemption.
    Exempt,
    /// Its namespace is not there, or is going.
    WaitingForNamespace,
    /// The cluster does not serve its kind.
    KindNotServed,
    /// The objects of its kind are not known.
    NotListed,
    /// A source that may declare it has no commit in force.
    HeadUnknown,
    /// There, not declared, and without a canonical form: left alone.
    Unreadable,
    /// It is being deleted already.
    Terminating,
    /// It goes with its source.
    Leaving,
    /// Its source goes, and leaves it as it is.
    Released,
}

impl Status {
    fn of(standing: Standing) -> Self {
        match standing {
            Standing::InSync => Self::Synced,
            Standing::Missing => Self::Missing,
            Standing::Changed => Self::Differs,
            Standing::Undeclared => Self::Undeclared,
            Standing::Misplaced => Self::Misplaced,
            Standing::Leaving => Self::Leaving,
            Standing::Unadopted => Self::Unadopted,
            Standing::Unreadable => Self::Unreadable,
            Standing::WaitingForNamespace => Self::WaitingForNamespace,
            Standing::KindNotServed => Self::KindNotServed,
            Standing::NotListed => Self::NotListed,
            Standing::Conflict => Self::Conflict,
            Standing::HeadUnknown => Self::HeadUnknown,
            Standing::Terminating => Self::Terminating,
            Standing::Exempt => Self::Exempt,
            Standing::Settled => Self::NotGuarded,
        }
    }

    /// Whether it is as it should be, or left alone on purpose.
    fn is_in_order(self) -> bool {
        matches!(
            self,
            Self::Synced
                | Self::Unadopted
                | Self::Overridden
                | Self::Skipped
                | Self::NotGuarded
                | Self::Exempt
                | Self::Released
        )
    }
}

/// One object.
#[derive(Serialize)]
struct Row {
    group: &'static str,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    name: String,
    status: Status,
    /// The file, from the repository's root.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    /// The source that decides, and its commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<Difference>,
}

/// Lists sources, or the objects of one.
pub(super) async fn get(arguments: GetArguments) -> Result<Ending, Failure> {
    let GetArguments { status, look } = arguments;
    let Some(name) = status.source.clone().filter(|_| !status.watch) else {
        return status::status(status).await;
    };
    let look = look
        .look(&status.connect, |sources| find(sources, &name).map(drop))
        .await?;
    let listed = find(&look.sources, &name)?;
    let rows = rows(&look, listed).await?;
    match status.output {
        Format::Json | Format::Yaml => output::print_structured(&rows, status.output)?,
        format => output::print(&text(&rows, format == Format::Wide))?,
    }
    warn(listed);
    if let Some((_, why)) = look.headless.iter().find(|(headless, _)| *headless == name) {
        return Err(format!("{name} has no commit to compare with: {why}").into());
    }
    Ok(if rows.iter().all(|row| row.status.is_in_order()) {
        Ending::Clean
    } else {
        Ending::Found
    })
}

fn find<'a>(sources: &'a [PolicySource], name: &str) -> Result<&'a PolicySource, Failure> {
    let found = sources.iter().find(|source| source.name_any() == name);
    found.ok_or_else(|| format!("there is no PolicySource \"{name}\"").into())
}

/// What the source itself says that is not as it should be, beside the objects.
fn warn(source: &PolicySource) {
    let conditions = source.status.iter().flat_map(|status| &status.conditions);
    for condition in conditions.filter(|condition| condition.status == "False" && condition.type_ != "Overlapping") {
        // Of the others `Ready` repeats one.
        if condition.type_ != "Ready" {
            let line = format!(
                "{} is False ({}): {}",
                condition.type_, condition.reason, condition.message
            );
            complain(&inline(&line));
        }
    }
}

async fn rows(look: &Look, listed: &PolicySource) -> Result<Vec<Row>, Failure> {
    let name = listed.name_any();
    let Some(source) = look.desired.source(&name) else {
        return Ok(Vec::new());
    };
    let failing: HashMap<&str, &str> = listed
        .status
        .iter()
        .flat_map(|status| &status.failing)
        .map(|failing| (failing.object.as_str(), failing.message.as_str()))
        .collect();
    let mut rows = Vec::new();
    for (key, finding) in &look.survey.findings {
        let is_declared = source.declares(key).is_some();
        let is_its_own = finding.sources.contains(&source.name) && finding.standing != Standing::Exempt;
        if is_declared || is_its_own {
            rows.push(judged(look, source, key, finding, &failing).await?);
        }
    }
    let head = source.head.iter();
    // What is declared and was not looked at: nobody guards it, or nobody cares any more.
    let unjudged = head.clone().flat_map(|head| &head.entries);
    for (key, entry) in unjudged.filter(|(key, _)| !look.survey.findings.contains_key(*key)) {
        let (status, message) = if source.being_removed {
            (Status::Released, "its source is being deleted, and leaves it as it is")
        } else {
            (Status::NotGuarded, "the configuration does not guard its kind there")
        };
        let mut row = Row::of(key, status, message.to_owned());
        (row.file, row.line) = (Some(entry.path.to_string()), Some(entry.line));
        rows.push(row);
    }
    for skipped in head.flat_map(|head| &head.skipped) {
        let mut row = Row::of(&skipped.key, Status::Skipped, skipped.why.clone());
        (row.file, row.line) = (Some(skipped.path.clone()), Some(skipped.line));
        rows.push(row);
    }
    rows.sort_by(|a, b| a.place().cmp(&b.place()));
    Ok(rows)
}

async fn judged(
    look: &Look,
    source: &SourceState,
    key: &Key,
    finding: &Finding,
    failing: &HashMap<&str, &str>,
) -> Result<Row, Failure> {
    let differences = look.differences(key, finding).await?;
    let mut row = Row::of(key, Status::of(finding.standing), String::new());
    let own = source.declares(key);
    if let Some(own) = &own {
        (row.file, row.line) = (Some(own.entry.path.to_string()), Some(own.entry.line));
    }
    if let Some(declaration) = &finding.declaration {
        row.source = Some(declaration.source.to_string());
        row.commit = Some(declaration.commit.clone());
    }
    let decides = finding.declaration.as_ref().filter(|it| it.source != source.name);
    let mut parts = Vec::new();
    match (own, decides) {
        (Some(own), Some(other)) if other.entry.digest != own.entry.digest => {
            row.status = Status::Overridden;
            let priority = look.desired.source(&other.source).map_or(0, |it| it.settings.priority);
            row.message = format!("PolicySource {} decides, by its priority {priority}", other.source);
            return Ok(row);
        }
        (_, Some(other)) => parts.push(format!("PolicySource {} decides, and says the same", other.source)),
        _ => {}
    }
    if finding.standing == Standing::Conflict {
        let names: Vec<&str> = finding.sources.iter().map(AsRef::as_ref).collect();
        parts.push(format!(
            "{} do not agree, and have the same priority",
            names.join(" and ")
        ));
    }
    if finding.standing == Standing::HeadUnknown {
        let names: Vec<&str> = finding.sources.iter().map(AsRef::as_ref).collect();
        parts.push(format!("{} has no commit in force", names.join(", ")));
    }
    if finding.standing.is_drift()
        && let Some(why) = failing.get(key.to_string().as_str())
    {
        row.status = Status::Failing;
        parts.push((*why).to_owned());
    }
    parts.extend(told(&differences));
    parts.extend(finding.hold.map(|hold| held(hold, look, key)));
    row.message = parts.join("; ");
    row.differences = differences;
    Ok(row)
}

/// The first differences, and how many there are besides.
fn told(differences: &[Difference]) -> Vec<String> {
    let mut told: Vec<String> = differences
        .iter()
        .take(TOLD)
        .map(|difference| difference.sentence("the cluster"))
        .collect();
    if differences.len() > TOLD {
        told.push(format!("and {} more", differences.len() - TOLD));
    }
    told
}

/// Why the loop leaves it as it is.
fn held(hold: Hold, look: &Look, key: &Key) -> String {
    match hold {
        Hold::Audit => "only reported (mode Audit)".to_owned(),
        Hold::Behind => "left as it is: another process is at a later commit".to_owned(),
        Hold::Unverified => "left as it is: the commit no longer verifies".to_owned(),
        Hold::Suspended => "left as it is: the source is suspended".to_owned(),
        Hold::GateOnly => "left to the source's own deployer (sync.enabled: false)".to_owned(),
        Hold::PruneNever => "left alone (sync.prune: Never)".to_owned(),
        Hold::BreakGlass => match look.grants.naming(key, Timestamp::now()) {
            Some(grant) => {
                let ends = grant.ends.strftime("%Y-%m-%dT%H:%M:%SZ");
                format!("left as it is until {ends}: break-glass grant {}", grant.name)
            }
            None => "left as it is: break-glass".to_owned(),
        },
    }
}

impl Row {
    fn of(key: &Key, status: Status, message: String) -> Self {
        let definition = key.kind().definition();
        Self {
            group: definition.group,
            kind: definition.kind,
            namespace: key.namespace().map(str::to_owned),
            name: key.name().to_owned(),
            status,
            file: None,
            line: None,
            source: None,
            commit: None,
            message,
            differences: Vec::new(),
        }
    }

    fn place(&self) -> impl Ord + '_ {
        (
            self.group,
            self.kind,
            &self.namespace,
            &self.name,
            self.status == Status::Skipped,
        )
    }
}

fn text(rows: &[Row], wide: bool) -> String {
    let mut header = vec!["GROUP", "KIND", "NAMESPACE", "NAME", "STATUS", "FILE"];
    if wide {
        header.extend(["LINE", "SOURCE", "COMMIT"]);
    }
    header.push("MESSAGE");
    let cells = |row: &Row| {
        let or_empty = |text: &Option<String>| text.as_deref().map(inline).unwrap_or_default();
        let mut cells = vec![
            row.group.to_owned(),
            row.kind.to_owned(),
            or_empty(&row.namespace),
            row.name.clone(),
            format!("{:?}", row.status),
            or_empty(&row.file),
        ];
        if wide {
            let commit = row.commit.as_deref().unwrap_or_default();
            cells.extend([
                row.line.map(|line| line.to_string()).unwrap_or_default(),
                or_empty(&row.source),
                commit.get(..7).unwrap_or(commit).to_owned(),
            ]);
        }
        cells.push(inline(&row.message));
        cells
    };
    output::table(&header, &rows.iter().map(cells).collect::<Vec<_>>())
}
