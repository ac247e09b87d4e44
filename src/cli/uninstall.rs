//! `headgate uninstall`: takes away what the API server was told, in the order that leaves a usable cluster.
//!
//! Healing ends first, by a mark that the sync loop reads before each round and by scaling it to nothing; then the
//! policies' bindings go, the policies, and at last the webhook configuration. The rest is the installer's to remove.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use clap::Args;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use super::connect::ConnectArguments;
use super::{Ending, Failure, output};
use crate::sync::own::manifest::{OwnKind, UNINSTALLING, Wish};
use crate::sync::request::{CallError, Failure as CallFailure, within};

/// One call to the API server may take this long.
const CALL: Duration = Duration::from_secs(15);
/// Between two looks.
const GLANCE: Duration = Duration::from_millis(250);
/// What stayed away for so long will not come back: a round of the sync loop that had begun before is over by then.
const QUIET: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct UninstallArguments {
    #[command(flatten)]
    connect: ConnectArguments,
    /// Headgate's own namespace
    #[arg(short, long, env = "HEADGATE_NAMESPACE", default_value = "headgate-system")]
    namespace: String,
    /// The name of the installation: that of the webhook configuration
    #[arg(long, default_value = "headgate")]
    name: String,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Give up after this long
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// An object to remove.
type Target = (OwnKind, String);

pub(super) async fn uninstall(arguments: UninstallArguments) -> Result<Ending, Failure> {
    let client = arguments.connect.client().await?;
    let removal = Removal {
        deadline: Instant::now() + arguments.timeout,
        client,
        arguments,
    };
    let map = removal.map().await?;
    let targets = removal.targets(map.as_ref())?;
    if !removal.agreed(&targets)? {
        output::complain("nothing was removed");
        return Ok(Ending::Found);
    }
    if removal.arguments.dry_run {
        return Ok(Ending::Clean);
    }
    if map.is_some() {
        removal.mark().await?;
    }
    removal.stop_loop().await?;
    for target in &targets {
        removal.delete(target).await?;
    }
    removal.stay_away(&targets).await?;
    output::print("guarded objects can be written again; the rest of the installation can be removed\n")?;
    Ok(Ending::Clean)
}

struct Removal {
    client: Client,
    arguments: UninstallArguments,
    deadline: Instant,
}

impl Removal {
    fn map_name(&self) -> String {
        format!("{}-own", self.arguments.name)
    }

    fn maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.arguments.namespace)
    }

    fn objects(&self, kind: OwnKind) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &kind.api())
    }

    async fn map(&self) -> Result<Option<ConfigMap>, Failure> {
        Ok(within(CALL, self.maps().get_opt(&self.map_name())).await?)
    }

    /// What the chart wrote down as Headgate's own. Without it there is only what every installation has.
    fn targets(&self, map: Option<&ConfigMap>) -> Result<Vec<Target>, Failure> {
        let Some(map) = map else {
            output::complain(&format!(
                "the ConfigMap {} is not in the namespace {}: only the webhook configuration is removed",
                self.map_name(),
                self.arguments.namespace
            ));
            return Ok(vec![(OwnKind::WebhookConfiguration, self.arguments.name.clone())]);
        };
        let (Wish::Keep(manifests) | Wish::LetGo(manifests)) = Wish::of(map)?;
        Ok(manifests.into_iter().map(|own| (own.kind, own.name)).collect())
    }

    fn agreed(&self, targets: &[Target]) -> Result<bool, Failure> {
        let suffix = if self.arguments.dry_run { " (dry run)" } else { "" };
        if self.arguments.yes && !self.arguments.dry_run {
            return Ok(true);
        }
        for target in targets {
            output::print(&format!("{} would be deleted{suffix}\n", label(target)))?;
        }
        if self.arguments.dry_run {
            return Ok(true);
        }
        if !std::io::stdin().is_terminal() {
            return Err("nobody is there to be asked: --yes says that it is meant".into());
        }
        write!(
            std::io::stderr(),
            "From then on nothing keeps network policy as Git has it. Continue? [y/N] "
        )?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }

    /// The loop reads the mark before each round, also where it runs outside of the cluster.
    async fn mark(&self) -> Result<(), Failure> {
        let name = self.map_name();
        let patch = Patch::Merge(json!({"metadata": {"annotations": {UNINSTALLING: "true"}}}));
        within(CALL, self.maps().patch(&name, &PatchParams::default(), &patch)).await?;
        output::print(&format!("configmap/{name} marked: nothing is put back any more\n"))
    }

    async fn stop_loop(&self) -> Result<(), Failure> {
        let name = format!("{}-sync", self.arguments.name);
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), &self.arguments.namespace);
        let Some(deployment) = within(CALL, deployments.get_opt(&name)).await? else {
            return output::print(&format!("deployment.apps/{name} not found: nothing to scale\n"));
        };
        let patch = Patch::Merge(json!({"spec": {"replicas": 0}}));
        within(CALL, deployments.patch_scale(&name, &PatchParams::default(), &patch)).await?;
        output::print(&format!("deployment.apps/{name} scaled to 0\n"))?;
        let labels = deployment.spec.selector.match_labels;
        let selector: Vec<_> = labels
            .iter()
            .flatten()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.arguments.namespace);
        let params = ListParams::default().labels(&selector.join(","));
        // Half the time at most: a Pod on a lost node never goes, and the mark holds for it as well.
        let until = Instant::now() + self.deadline.saturating_duration_since(Instant::now()) / 2;
        loop {
            let left = within(CALL, pods.list_metadata(&params)).await?.items.len();
            if left == 0 {
                return output::print("no Pod of the sync loop is left\n");
            }
            if Instant::now() > until {
                output::complain(&format!("{left} Pods of the sync loop do not go; the mark has to do"));
                return Ok(());
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Deletes, again and again: a policy whose binding is gone refuses for some seconds more.
    async fn delete(&self, target: &Target) -> Result<(), Failure> {
        let (kind, name) = target;
        let mut was_there = false;
        loop {
            match within(CALL, self.objects(*kind).delete(name, &DeleteParams::default())).await {
                Ok(_) if Instant::now() > self.deadline => return Err(self.comes_back(target)),
                Ok(_) => was_there = true,
                Err(error) if error.is_not_found() => {
                    let what = if was_there { "deleted" } else { "not found" };
                    return output::print(&format!("{} {what}\n", label(target)));
                }
                Err(error) if self.is_final(&error) => return Err(format!("{}: {error}", label(target)).into()),
                Err(_) => {}
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    fn comes_back(&self, target: &Target) -> Failure {
        format!(
            "{} does not stay away within {}: something puts it back, or a finalizer holds it; stop the sync loop and try again",
            label(target),
            humantime::format_duration(self.arguments.timeout)
        )
        .into()
    }

    /// Whether to give up about it.
    fn is_final(&self, error: &CallError) -> bool {
        error.failure() == CallFailure::NotPermitted || Instant::now() > self.deadline
    }

    /// Waits until everything stays away, and deletes what comes back.
    async fn stay_away(&self, targets: &[Target]) -> Result<(), Failure> {
        let mut quiet_since = Instant::now();
        while quiet_since.elapsed() < QUIET {
            for target in targets {
                let (kind, name) = target;
                if within(CALL, self.objects(*kind).get_metadata_opt(name))
                    .await?
                    .is_none()
                {
                    continue;
                }
                if Instant::now() > self.deadline {
                    return Err(self.comes_back(target));
                }
                output::print(&format!("{} came back\n", label(target)))?;
                self.delete(target).await?;
                quiet_since = Instant::now();
            }
            tokio::time::sleep(GLANCE).await;
        }
        Ok(())
    }
}

fn label((kind, name): &Target) -> String {
    format!("{}.admissionregistration.k8s.io/{name}", kind.plural())
}
