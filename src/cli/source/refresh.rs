//! `headgate source refresh`: has every replica look at the repository now, and says what came of it.

use std::time::Duration;

use clap::Args;
use futures::StreamExt as _;
use jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::json;

use super::moves::PATIENCE;
use crate::cli::connect::ConnectArguments;
use crate::cli::output::{self, complain};
use crate::cli::{Ending, Failure};
use crate::gate::wording::inline;
use crate::source::resource::REFRESH_REQUESTED;
use crate::source::{PolicySource, PolicySourceStatus};

#[derive(Debug, Args)]
pub(super) struct RefreshArguments {
    #[command(flatten)]
    connect: ConnectArguments,
    /// The source
    name: String,
    /// Only ask for it, and do not wait until it was done
    #[arg(long)]
    no_wait: bool,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = humantime::parse_duration, conflicts_with = "no_wait")]
    timeout: Duration,
}

pub(super) async fn refresh(arguments: RefreshArguments) -> Result<Ending, Failure> {
    let name = &arguments.name;
    let api: Api<PolicySource> = Api::all(arguments.connect.client().await?);
    let request = Timestamp::now().to_string();
    let patch = Patch::Merge(json!({"metadata": {"annotations": {REFRESH_REQUESTED: request}}}));
    let params = PatchParams::default();
    let asked = tokio::time::timeout(PATIENCE, api.patch(name, &params, &patch))
        .await
        .map_err(|_| format!("the API server did not answer within {PATIENCE:?}"))?;
    let source = match asked {
        Ok(source) => source,
        Err(kube::Error::Api(refusal)) => {
            complain(&format!("error: {}", inline(&refusal.message)));
            return Ok(Ending::Found);
        }
        Err(error) => return Err(error.into()),
    };
    if source.spec.suspend {
        complain(&format!("error: {name} is suspended: nothing is fetched"));
        return Ok(Ending::Found);
    }
    if arguments.no_wait {
        output::print(&format!("policysource.headgate.dev/{name} asked to refresh\n"))?;
        return Ok(Ending::Clean);
    }
    let status = tokio::time::timeout(arguments.timeout, until_answered(api, name, &request)).await;
    let status = status.map_err(|_| {
        let patience = humantime::format_duration(arguments.timeout);
        format!("the sync loop did not answer within {patience}; what it last knew of {name}: headgate status {name}")
    })??;
    report(name, &status)
}

/// Waits until the sync role has looked at the repository for this request. The status says what is true then.
async fn until_answered(api: Api<PolicySource>, name: &str, request: &str) -> Result<PolicySourceStatus, Failure> {
    let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut sights = watcher(api, only).default_backoff().boxed();
    while let Some(sight) = sights.next().await {
        match sight {
            Ok(watcher::Event::Apply(source) | watcher::Event::InitApply(source)) => {
                let status = source.status.unwrap_or_default();
                if status.last_handled_refresh == request {
                    return Ok(status);
                }
            }
            Ok(watcher::Event::Delete(_)) => return Err(format!("{name} was deleted meanwhile").into()),
            Ok(watcher::Event::Init | watcher::Event::InitDone) => {}
            // Taken up again until the patience is over.
            Err(error) => tracing::debug!(%error, "the watch failed"),
        }
    }
    Err("the watch ended".into())
}

fn report(name: &str, status: &PolicySourceStatus) -> Result<Ending, Failure> {
    let failed = ["Fetched", "Accepted"].into_iter().find_map(|wanted| {
        let is_it = |condition: &&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
            condition.type_ == wanted && condition.status == "False"
        };
        status.conditions.iter().find(is_it)
    });
    let commit = status.head.as_ref().map_or("no commit", |head| head.commit.as_str());
    if let Some(condition) = failed {
        let (reason, message) = (&condition.reason, inline(&condition.message));
        complain(&format!("error: {name}: {reason}: {message}"));
        output::print(&format!("policysource.headgate.dev/{name} still at {commit}\n"))?;
        return Ok(Ending::Found);
    }
    output::print(&format!("policysource.headgate.dev/{name} at {commit}\n"))?;
    Ok(Ending::Clean)
}
