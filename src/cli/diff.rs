//! `headgate diff`: what the cluster holds against what its sources declare.

use std::fmt::Write as _;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::connect::ConnectArguments;
use super::look::{Look, LookArguments};
use super::output::{self, Format};
use super::{Ending, Failure};
use crate::gate::wording::inline;
use crate::policy::{Difference, Key};
use crate::sync::{Finding, Standing};

#[derive(Debug, Args)]
pub(super) struct DiffArguments {
    #[command(flatten)]
    connect: ConnectArguments,
    #[command(flatten)]
    look: LookArguments,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// One object that is not as Git says.
#[derive(Serialize)]
struct Row {
    key: Key,
    standing: Standing,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// What keeps the loop from bringing it to Git meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<GrantRow>,
    differences: Vec<Difference>,
}

/// A break-glass grant in force that names the object.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GrantRow {
    name: String,
    requested_by: String,
    ends: Timestamp,
}

pub(super) async fn diff(arguments: DiffArguments) -> Result<Ending, Failure> {
    let look = arguments.look.look(&arguments.connect, |_| Ok(())).await?;
    let rows = rows(&look).await?;
    match arguments.output {
        Format::Json | Format::Yaml => output::print_structured(&rows, arguments.output)?,
        Format::Text | Format::Wide => output::print(&text(&rows))?,
    }
    if !look.headless.is_empty() {
        let each = look.headless.iter().map(|(name, why)| format!("{name}: {why}"));
        let all = each.collect::<Vec<_>>().join("; ");
        return Err(format!("these sources have no commit to compare with: {all}").into());
    }
    Ok(if rows.iter().any(|row| row.standing != Standing::Unadopted) {
        Ending::Found
    } else {
        Ending::Clean
    })
}

async fn rows(look: &Look) -> Result<Vec<Row>, Failure> {
    let (mut rows, now) = (Vec::new(), Timestamp::now());
    let findings = look.survey.findings.iter();
    for (key, finding) in findings.filter(|(_, finding)| is_worth_showing(finding)) {
        let declaration = finding.declaration.as_ref();
        rows.push(Row {
            key: key.clone(),
            standing: finding.standing,
            source: declaration.map(|declaration| declaration.source.to_string()),
            commit: declaration.map(|declaration| declaration.commit.clone()),
            file: declaration.map(|declaration| declaration.entry.path.to_string()),
            grant: look.grants.naming(key, now).map(|grant| GrantRow {
                name: grant.name.clone(),
                requested_by: grant.requested_by.clone(),
                ends: grant.ends,
            }),
            differences: look.differences(key, finding).await?,
        });
    }
    Ok(rows)
}

fn is_worth_showing(finding: &Finding) -> bool {
    !matches!(
        finding.standing,
        Standing::InSync | Standing::Settled | Standing::Exempt
    )
}

fn text(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let _ = writeln!(text, "{}: {:?}", row.key, row.standing);
        if let (Some(source), Some(commit), Some(file)) = (&row.source, &row.commit, &row.file) {
            let file = inline(file);
            let _ = writeln!(text, "  {file} of {source} at {}", commit.get(..7).unwrap_or(commit));
        }
        if let Some(grant) = &row.grant {
            let ends = grant.ends.strftime("%Y-%m-%dT%H:%M:%SZ");
            let _ = writeln!(
                text,
                "  left as it is until {ends}: break-glass grant {} of {}",
                grant.name,
                inline(&grant.requested_by)
            );
        }
        for difference in &row.differences {
            let _ = writeln!(text, "  {}", inline(&difference.sentence("the cluster")));
        }
    }
    text
}
