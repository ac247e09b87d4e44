//! `headgate diff`: what the cluster holds against what its sources declare.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ListParams};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::connect::ConnectArguments;
use super::output::{self, Format};
use super::progress::Spinner;
use super::{Ending, Failure};
use crate::cluster::{Grants, SecretStore};
use crate::config::Config;
use crate::gate::GrantSet;
use crate::gate::wording::inline;
use crate::policy::{Difference, Key, differences};
use crate::source::{Keeper, KeeperOptions, Limits, PolicySource, UrlRules};
use crate::sync::{self, Finding, Standing, Survey};

/// How long the repositories may take to be read.
const PATIENCE: Duration = Duration::from_secs(90);

#[derive(Debug, Args)]
pub(super) struct DiffArguments {
    #[command(flatten)]
    connect: ConnectArguments,
    /// The configuration, which names the guarded kinds and the exemptions: what those keep is no difference
    #[arg(long, env = "HEADGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder for the mirrors of the repositories; a temporary one where it is left out
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Headgate's own namespace, where the Secrets of the sources are
    #[arg(
        short,
        long,
        env = "HEADGATE_NAMESPACE",
        value_name = "NAME",
        default_value = "headgate-system"
    )]
    namespace: String,
    /// Let sources use file: URLs; for development
    #[arg(long, env = "HEADGATE_ALLOW_FILE_URLS")]
    allow_file_urls: bool,
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
    let Config {
        rules,
        urls,
        grants,
        limits,
        ..
    } = Config::read(arguments.config.as_deref())?;
    let urls = urls.with_files(arguments.allow_file_urls);
    let client = arguments.connect.client().await?;
    let state = StateDir::new(arguments.state_dir.clone())?;
    let stop = CancellationToken::new();
    let keeper = keeper(&arguments, (urls, limits), &client, state.path.clone(), &stop);
    let sources = Api::<PolicySource>::all(client.clone())
        .list(&ListParams::default())
        .await?
        .items;
    let spinner = Spinner::new("reading the repositories");
    let missing = read_sources(&keeper, sources, &spinner).await?;
    let grants = Grants::look(grants, client.clone()).await.unwrap_or_else(|error| {
        output::complain(&format!(
            "break-glass grants cannot be listed, so what one covers is shown like anything else: {error}"
        ));
        GrantSet::default()
    });
    let listening = |kind: &str, count| spinner.listed(kind, count);
    let survey = sync::survey(&client, &keeper.desired(), &rules, &grants, &listening).await?;
    let rows = rows(&keeper, &survey, &grants).await?;
    drop(spinner);
    stop.cancel();
    match arguments.output {
        Format::Json | Format::Yaml => output::print_structured(&rows, arguments.output)?,
        Format::Text | Format::Wide => output::print(&text(&rows))?,
    }
    if !missing.is_empty() {
        return Err(format!("these sources have no commit to compare with: {}", missing.join("; ")).into());
    }
    Ok(if rows.iter().any(|row| row.standing != Standing::Unadopted) {
        Ending::Found
    } else {
        Ending::Clean
    })
}

fn keeper(
    arguments: &DiffArguments,
    (urls, limits): (UrlRules, Limits),
    client: &Client,
    state_dir: PathBuf,
    stop: &CancellationToken,
) -> Keeper {
    let options = KeeperOptions {
        state_dir,
        urls,
        fetch_timeout: PATIENCE,
        limits,
        credentials: Arc::new(SecretStore::new(client.clone(), &arguments.namespace)),
    };
    Keeper::start(options, stop.child_token())
}

/// Waits until every repository was read once; gives the sources that have no head then, each with the reason.
async fn read_sources(keeper: &Keeper, sources: Vec<PolicySource>, spinner: &Spinner) -> Result<Vec<String>, Failure> {
    let mut reports = keeper.reports();
    let all = sources.len();
    keeper.set_sources(sources);
    let settled = async {
        while !keeper.settled() {
            reports.changed().await?;
            let read = reports
                .borrow()
                .values()
                .filter(|report| report.attempt.is_some())
                .count();
            spinner.say(format!("reading the repositories: {read} of {all}"));
        }
        Ok::<_, Failure>(())
    };
    tokio::time::timeout(PATIENCE, settled)
        .await
        .map_err(|_| format!("the repositories could not be read within {PATIENCE:?}"))??;
    let reports = Arc::clone(&reports.borrow());
    let why = |report: &crate::source::SourceReport| {
        let failed = report
            .attempt
            .as_ref()
            .and_then(|attempt| attempt.outcome.as_ref().err().cloned());
        let refused = report.refusal.as_ref().map(|refusal| refusal.message.clone());
        report
            .invalid
            .clone()
            .or(failed)
            .or(refused)
            .unwrap_or_else(|| "nothing was accepted yet".to_owned())
    };
    let headless = reports.iter().filter(|(_, report)| report.head.is_none());
    Ok(headless
        .map(|(name, report)| format!("{name}: {}", why(report)))
        .collect())
}

async fn rows(keeper: &Keeper, survey: &Survey, grants: &GrantSet) -> Result<Vec<Row>, Failure> {
    let (mut rows, now) = (Vec::new(), Timestamp::now());
    for (key, finding) in survey.findings.iter().filter(|(_, finding)| is_worth_showing(finding)) {
        let declaration = finding.declaration.as_ref();
        rows.push(Row {
            key: key.clone(),
            standing: finding.standing,
            source: declaration.map(|declaration| declaration.source.to_string()),
            commit: declaration.map(|declaration| declaration.commit.clone()),
            file: declaration.map(|declaration| declaration.entry.path.to_string()),
            grant: grants.naming(key, now).map(|grant| GrantRow {
                name: grant.name.clone(),
                requested_by: grant.requested_by.clone(),
                ends: grant.ends,
            }),
            differences: field_differences(keeper, survey, key, finding).await?,
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

async fn field_differences(
    keeper: &Keeper,
    survey: &Survey,
    key: &Key,
    finding: &Finding,
) -> Result<Vec<Difference>, Failure> {
    match (finding.standing, &finding.declaration, survey.forms.get(key)) {
        (Standing::Changed, Some(declaration), Some(live)) => {
            let manifest = keeper.manifest(&declaration.source, &declaration.entry).await?;
            Ok(differences(&manifest.form, live))
        }
        _ => Ok(Vec::new()),
    }
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

/// A folder for mirrors; a temporary one goes when this is dropped.
struct StateDir {
    path: PathBuf,
    temporary: bool,
}

impl StateDir {
    fn new(given: Option<PathBuf>) -> Result<Self, Failure> {
        if let Some(path) = given {
            return Ok(Self { path, temporary: false });
        }
        let path = std::env::temp_dir().join(format!("headgate-diff-{:016x}", fastrand::u64(..)));
        std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(&path)?;
        Ok(Self { path, temporary: true })
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        if self.temporary {
            // What cannot be removed is in the folder for temporary files, where it is expected.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
