//! `headgate source create`: makes a source as who runs it, or shows what would be made.

use clap::{Args, ValueEnum};
use kube::api::{Api, PostParams};
use serde_json::json;

use super::moves::{answered, refused};
use crate::cli::connect::ConnectArguments;
use crate::cli::deployer::Tool;
use crate::cli::output::{self, DryRun, Printed};
use crate::cli::{Ending, Failure};
use crate::source::resource::{Git, GitRef, Mode, Prune, Scope, SecretRef, SyncRules};
use crate::source::{PolicySource, PolicySourceSpec};

#[derive(Debug, Args)]
pub(super) struct CreateArguments {
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
    /// Who applies the source instead of the sync loop; its tracking marks do not count
    #[arg(long, value_enum, value_name = "TOOL")]
    deployer: Option<Tool>,
    /// Only show what would be made: client sends nothing, server has it checked
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    dry_run: DryRun,
    /// How to print
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Printed>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
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

pub(super) async fn create(arguments: CreateArguments) -> Result<Ending, Failure> {
    let source = PolicySource::new(&arguments.name, spec(&arguments)?);
    let made = match arguments.dry_run {
        DryRun::Client => source,
        how => {
            let api: Api<PolicySource> = Api::all(arguments.connect.client().await?);
            let parameters = PostParams {
                dry_run: how == DryRun::Server,
                ..PostParams::default()
            };
            match answered(api.create(&parameters, &source)).await? {
                Ok(made) => made,
                Err(error) => return refused(error),
            }
        }
    };
    print(made, &arguments)?;
    Ok(Ending::Clean)
}

fn spec(arguments: &CreateArguments) -> Result<PolicySourceSpec, Failure> {
    Ok(PolicySourceSpec {
        git: Git {
            url: arguments.url.clone(),
            r#ref: GitRef {
                branch: Some(arguments.branch.clone()),
                ..GitRef::default()
            },
            path: arguments.path.clone().unwrap_or_default(),
            credentials_secret_ref: arguments.credentials.clone().map(|name| SecretRef { name }),
            ..serde_json::from_value(json!({"url": ""}))?
        },
        scope: (!arguments.namespaces.is_empty()).then(|| Scope {
            namespaces: Some(arguments.namespaces.clone()),
            ..Scope::default()
        }),
        mode: if arguments.audit { Mode::Audit } else { Mode::Enforce },
        sync: SyncRules {
            enabled: arguments.deployer.is_none(),
            prune: arguments.prune.into(),
            ..SyncRules::default()
        },
        deployer: arguments.deployer.map(Into::into).unwrap_or_default(),
        // Everything else as the definition's own defaults have it.
        ..serde_json::from_value(json!({"git": {"url": ""}}))?
    })
}

/// Prints what was done as `kubectl create` does.
fn print(mut made: PolicySource, arguments: &CreateArguments) -> Result<(), Failure> {
    made.metadata.managed_fields = None;
    let how = match arguments.dry_run {
        DryRun::None => "",
        DryRun::Client => " (dry run)",
        DryRun::Server => " (server dry run)",
    };
    let name = format!("policysource.headgate.dev/{}", arguments.name);
    match arguments.output {
        Some(Printed::Json) => output::print_structured(&made, output::Format::Json),
        Some(Printed::Yaml) => output::print_structured(&made, output::Format::Yaml),
        Some(Printed::Name) => output::print(&format!("{name}\n")),
        None => output::print(&format!("{name} created{how}\n")),
    }
}
