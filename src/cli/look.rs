//! One look at Git and the cluster, as commands take it that compare the two: the sources' repositories are read, and
//! everything that is guarded is listed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use kube::Client;
use kube::api::{Api, ListParams};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::connect::ConnectArguments;
use super::progress::Spinner;
use super::{Failure, output};
use crate::cluster::{Grants, SecretStore};
use crate::config::Config;
use crate::gate::GrantSet;
use crate::policy::deployer::without_marks;
use crate::policy::{Difference, Key, differences};
use crate::source::{DesiredState, Keeper, KeeperOptions, PolicySource, SourceReport};
use crate::sync::{self, Finding, Standing, Survey};

/// How long the repositories may take to be read.
const PATIENCE: Duration = Duration::from_secs(90);

#[derive(Debug, Args)]
pub(super) struct LookArguments {
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
}

/// What one look found.
pub(super) struct Look {
    /// The sources, as the API server has them.
    pub(super) sources: Vec<PolicySource>,
    /// What their heads declare.
    pub(super) desired: Arc<DesiredState>,
    /// How the cluster stands against that.
    pub(super) survey: Survey,
    /// Who may step around Git for a while.
    pub(super) grants: GrantSet,
    /// Sources without a head, each with the reason.
    pub(super) headless: Vec<(String, String)>,
    keeper: Keeper,
    // In this order: first the tasks are told to end, then the folder goes.
    _stop: DropGuard,
    _state: StateDir,
}

impl LookArguments {
    /// Reads the repositories and lists the cluster. `is_worth_it` sees the sources first: where it says no, nothing
    /// else is looked at.
    pub(super) async fn look(
        &self,
        connect: &ConnectArguments,
        is_worth_it: impl FnOnce(&[PolicySource]) -> Result<(), Failure>,
    ) -> Result<Look, Failure> {
        let Config {
            rules,
            urls,
            grants,
            limits,
            ..
        } = Config::read(self.config.as_deref())?;
        let client = connect.client().await?;
        let sources = Api::<PolicySource>::all(client.clone())
            .list(&ListParams::default())
            .await?
            .items;
        is_worth_it(&sources)?;
        let state = StateDir::new(self.state_dir.clone())?;
        let stop = CancellationToken::new();
        let options = KeeperOptions {
            state_dir: state.path.clone(),
            urls: urls.with_files(self.allow_file_urls),
            fetch_timeout: PATIENCE,
            limits,
            credentials: Arc::new(SecretStore::new(client.clone(), &self.namespace)),
        };
        let keeper = Keeper::start(options, stop.child_token());
        let stop = stop.drop_guard();
        let spinner = Spinner::new("reading the repositories");
        let headless = read_sources(&keeper, sources.clone(), &spinner).await?;
        let grants = grants_of(&client, grants).await;
        let desired = keeper.desired();
        let listening = |kind: &str, count| spinner.listed(kind, count);
        let survey = sync::survey(&client, &desired, &rules, &grants, &listening).await?;
        Ok(Look {
            sources,
            desired,
            survey,
            grants,
            headless,
            keeper,
            _stop: stop,
            _state: state,
        })
    }
}

impl Look {
    /// In what a live object differs from the file, where it is known to.
    pub(super) async fn differences(&self, key: &Key, finding: &Finding) -> Result<Vec<Difference>, Failure> {
        match (finding.standing, &finding.declaration, self.survey.forms.get(key)) {
            (Standing::Changed, Some(declaration), Some(live)) => {
                let manifest = self.keeper.manifest(&declaration.source, &declaration.entry).await?;
                let live = without_marks(key.kind(), &manifest.form, live, declaration.deployer);
                Ok(differences(&manifest.form, &live))
            }
            _ => Ok(Vec::new()),
        }
    }
}

async fn grants_of(client: &Client, rules: crate::gate::GrantRules) -> GrantSet {
    Grants::look(rules, client.clone()).await.unwrap_or_else(|error| {
        output::complain(&format!(
            "break-glass grants cannot be listed, so what one covers is shown like anything else: {error}"
        ));
        GrantSet::default()
    })
}

/// Waits until every repository was read once; gives the sources that have no head then, each with the reason.
async fn read_sources(
    keeper: &Keeper,
    sources: Vec<PolicySource>,
    spinner: &Spinner,
) -> Result<Vec<(String, String)>, Failure> {
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
    let headless = reports.iter().filter(|(_, report)| report.head.is_none());
    Ok(headless.map(|(name, report)| (name.to_string(), why(report))).collect())
}

/// Why a source has no head.
fn why(report: &SourceReport) -> String {
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
        let path = std::env::temp_dir().join(format!("headgate-{:016x}", fastrand::u64(..)));
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
