//! `headgate source`: the deliberate moves of a source. Each changes its spec as who runs it; who may is RBAC's and the guard's to say.

mod refresh;

use std::time::Duration;

use clap::{Args, Subcommand};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::connect::ConnectArguments;
use super::output::{self, complain};
use super::status::{self, StatusArguments};
use super::{Ending, Failure};
use crate::gate::wording::inline;
use crate::source::resource::{Git, GitRef, Mode, Prune, Scope, SecretRef, SyncRules};
use crate::source::{PolicySource, PolicySourceSpec};

/// How long the API server may take for a call.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Debug, Args)]
pub(super) struct SourceArguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the sources and how they fare
    Get(StatusArguments),
    /// Make a source
    Create(CreateArguments),
    /// Have every replica look at the repository now
    Refresh(refresh::RefreshArguments),
    /// Roll back: hold a source to one commit of its branch
    Pin(CommitArguments),
    /// Let a source follow its branch again
    Unpin(NameArguments),
    /// Accept a commit that removes more than maxRemovals
    Accept(CommitArguments),
    /// Hold a source to the commit in force, and change nothing in the cluster for it
    Suspend(NameArguments),
    /// Let a suspended source go on
    Resume(NameArguments),
}

#[derive(Debug, Args)]
struct NameArguments {
    #[command(flatten)]
    connect: ConnectArguments,
    /// The source
    name: String,
}

#[derive(Debug, Args)]
struct CommitArguments {
    #[command(flatten)]
    connect: ConnectArguments,
    /// The source
    name: String,
    /// The commit's full id
    #[arg(value_parser = full_commit)]
    commit: String,
}

#[derive(Debug, Args)]
struct CreateArguments {
    #[command(flatten)]
    connect: ConnectArguments,
    /// The source's name
    name: String,
    /// The repository: `https://HOST/PATH` or `ssh://USER@HOST/PATH`
    #[arg(long, value_name = "URL")]
    url: String,
    /// The branch
    #[arg(long, value_name = "NAME", default_value = "main")]
    branch: String,
    /// The folder in the repository; left out: all of it
    #[arg(long, value_name = "DIR")]
    path: Option<String>,
    /// Globs of the namespaces that it speaks for, with commas between them; left out: everything
    #[arg(long, value_name = "GLOBS", value_delimiter = ',')]
    namespaces: Vec<String>,
    /// Which undeclared objects the loop removes
    #[arg(long, value_enum, default_value_t)]
    prune: PruneChoice,
    /// The Secret in Headgate's namespace with the credentials
    #[arg(long, value_name = "NAME")]
    credentials: Option<String>,
    /// Only warn and report, change and refuse nothing
    #[arg(long)]
    audit: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
enum PruneChoice {
    Never,
    #[default]
    SinceAdoption,
    All,
}

impl From<PruneChoice> for Prune {
    fn from(choice: PruneChoice) -> Self {
        match choice {
            PruneChoice::Never => Self::Never,
            PruneChoice::SinceAdoption => Self::SinceAdoption,
            PruneChoice::All => Self::All,
        }
    }
}

fn full_commit(text: &str) -> Result<String, String> {
    let is_full = text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_full {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("the full id is needed, 40 hexadecimal digits; git rev-parse prints it".to_owned())
    }
}

pub(super) async fn source(arguments: SourceArguments) -> Result<Ending, Failure> {
    match arguments.command {
        Command::Get(arguments) => status::status(arguments).await,
        Command::Create(arguments) => create(arguments).await,
        Command::Refresh(arguments) => refresh::refresh(arguments).await,
        Command::Pin(it) => {
            let done = format!("pinned to {}", it.commit);
            let spec = json!({"git": {"ref": {"commit": it.commit}}});
            change(&it.connect, &it.name, spec, &done).await
        }
        Command::Unpin(it) => {
            let spec = json!({"git": {"ref": {"commit": null}}});
            change(&it.connect, &it.name, spec, "unpinned").await
        }
        Command::Accept(it) => {
            let done = format!("accepts {}", it.commit);
            change(&it.connect, &it.name, json!({"accept": it.commit}), &done).await
        }
        Command::Suspend(it) => change(&it.connect, &it.name, json!({"suspend": true}), "suspended").await,
        Command::Resume(it) => change(&it.connect, &it.name, json!({"suspend": false}), "resumed").await,
    }
}

async fn change(connect: &ConnectArguments, name: &str, spec: Value, done: &str) -> Result<Ending, Failure> {
    let api: Api<PolicySource> = Api::all(connect.client().await?);
    let (patch, params) = (Patch::Merge(json!({"spec": spec})), PatchParams::default());
    finish(name, done, api.patch(name, &params, &patch)).await
}

async fn create(arguments: CreateArguments) -> Result<Ending, Failure> {
    let spec = PolicySourceSpec {
        git: Git {
            url: arguments.url,
            r#ref: GitRef {
                branch: Some(arguments.branch),
                ..GitRef::default()
            },
            path: arguments.path.unwrap_or_default(),
            credentials_secret_ref: arguments.credentials.map(|name| SecretRef { name }),
            ..serde_json::from_value(json!({"url": ""}))?
        },
        scope: (!arguments.namespaces.is_empty()).then(|| Scope {
            namespaces: Some(arguments.namespaces),
            ..Scope::default()
        }),
        mode: if arguments.audit { Mode::Audit } else { Mode::Enforce },
        sync: SyncRules {
            prune: arguments.prune.into(),
            ..SyncRules::default()
        },
        // Everything else as the definition's own defaults have it.
        ..serde_json::from_value(json!({"git": {"url": ""}}))?
    };
    let source = PolicySource::new(&arguments.name, spec);
    let api: Api<PolicySource> = Api::all(arguments.connect.client().await?);
    finish(&arguments.name, "created", api.create(&PostParams::default(), &source)).await
}

/// Prints what was done as kubectl does. What the API server refuses is found, not failed.
async fn finish(
    name: &str,
    done: &str,
    call: impl Future<Output = kube::Result<PolicySource>>,
) -> Result<Ending, Failure> {
    let answer = tokio::time::timeout(PATIENCE, call)
        .await
        .map_err(|_| format!("the API server did not answer within {PATIENCE:?}"))?;
    match answer {
        Ok(_) => {
            output::print(&format!("policysource.headgate.dev/{name} {done}\n"))?;
            Ok(Ending::Clean)
        }
        Err(kube::Error::Api(refusal)) => {
            complain(&format!("error: {}", inline(&refusal.message)));
            Ok(Ending::Found)
        }
        Err(error) => Err(error.into()),
    }
}
