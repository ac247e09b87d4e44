//! A repository, a source for it, and a loop that follows it.

mod awaiting;
mod running;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use headgate::gate::{DryRun, Rules, Uncovered};
use headgate::ledger::{Ledger, LedgerMetrics};
use headgate::policy::Kind;
use headgate::source::resource::Mode;
use headgate::source::{CredentialStore, Credentials, Keeper, KeeperOptions, PolicySource, UrlRules};
use headgate::sync::{self, LeaderElection, Options};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, CustomResourceExt, ResourceExt as _};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::controlplane::ControlPlane;
use crate::repository::Repository;
use crate::{Failure, Outcome};

pub(crate) use self::awaiting::{condition, until};
use self::running::Lines;
pub(crate) use self::running::Running;

/// The label of the sources that one bench's loops follow.
const BENCH: &str = "bench";

/// A repository and a source for it, named like the namespace it speaks for.
pub(crate) struct Bench {
    pub(crate) client: Client,
    pub(crate) repository: Repository,
    pub(crate) name: String,
    pub(crate) secrets: Secrets,
    plane: &'static ControlPlane,
    pub(crate) dir: tempfile::TempDir,
}

/// The Secrets that sources may name. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Arc<Mutex<BTreeMap<String, Credentials>>>);

impl Secrets {
    pub(crate) fn put(&self, name: &str, entry: &str, content: &str) -> Outcome {
        let mut secrets = self.0.lock().map_err(|_| "a test failed while it held the Secrets")?;
        secrets.insert(name.to_owned(), Credentials::from([(entry.to_owned(), content.into())]));
        Ok(())
    }
}

impl CredentialStore for Secrets {
    fn load<'a>(&'a self, name: &'a str) -> Pin<Box<dyn Future<Output = Result<Credentials, String>> + Send + 'a>> {
        let found = self.0.lock().ok().and_then(|secrets| secrets.get(name).cloned());
        Box::pin(async move { found.ok_or_else(|| format!("there is no Secret {name}")) })
    }
}

impl Bench {
    /// Makes the namespace too, unless the test wants to be first.
    pub(crate) async fn new(name: &str) -> Result<Self, Failure> {
        let bench = Self::without_namespace(name).await?;
        bench.make_namespace(name).await?;
        Ok(bench)
    }

    pub(crate) async fn without_namespace(name: &str) -> Result<Self, Failure> {
        let _ = tracing_subscriber::fmt()
            .with_env_filter(std::env::var("HEADGATE_TEST_LOG").unwrap_or_else(|_| "error".to_owned()))
            .with_test_writer()
            .try_init();
        Self::on(ControlPlane::shared().map_err(ToString::to_string)?, name).await
    }

    /// On a control plane that is not the shared one.
    pub(crate) async fn on(plane: &'static ControlPlane, name: &str) -> Result<Self, Failure> {
        let client = plane.client().await?;
        install_crd(&client).await?;
        let dir = tempfile::tempdir()?;
        Ok(Self {
            plane,
            repository: Repository::create(dir.path())?,
            client,
            name: name.to_owned(),
            secrets: Secrets::default(),
            dir,
        })
    }

    pub(crate) async fn make_namespace(&self, name: &str) -> Outcome {
        let namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces.create(&PostParams::default(), &namespace).await?;
        Ok(())
    }

    /// Makes the source; `spec` is merged over what speaks for the one namespace.
    pub(crate) async fn make_source(&self, spec: &Value) -> Outcome {
        let mut all = json!({
            "git": {"url": self.repository.url(), "interval": "1s"},
            "scope": {"namespaces": [self.name]},
        });
        merge(&mut all, spec);
        self.make_source_named(&self.name, &all).await
    }

    /// Makes a source of another name, with this spec, that the loop of this bench follows, too.
    pub(crate) async fn make_source_named(&self, name: &str, spec: &Value) -> Outcome {
        let source = serde_json::from_value(json!({
            "apiVersion": "headgate.dev/v1alpha1", "kind": "PolicySource",
            "metadata": {"name": name, "labels": {BENCH: self.name}}, "spec": spec,
        }))?;
        self.sources().create(&PostParams::default(), &source).await?;
        Ok(())
    }

    /// Changes a source's spec.
    pub(crate) async fn change_source(&self, name: &str, spec: Value) -> Outcome {
        let patch = Patch::Merge(json!({"spec": spec}));
        self.sources().patch(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    pub(crate) fn kubeconfig(&self) -> &std::path::Path {
        self.plane.kubeconfig()
    }

    pub(crate) fn sources(&self) -> Api<PolicySource> {
        Api::all(self.client.clone())
    }

    pub(crate) fn policies(&self) -> Api<NetworkPolicy> {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// A loop for this source alone, in `Enforce`.
    pub(crate) async fn run(&self) -> Result<Running, Failure> {
        self.run_as(Mode::Enforce, None, "state").await
    }

    pub(crate) async fn run_as(
        &self,
        mode: Mode,
        leader: Option<LeaderElection>,
        state: &str,
    ) -> Result<Running, Failure> {
        self.run_with(rules(mode), leader, state).await
    }

    pub(crate) async fn run_with(
        &self,
        rules: Rules,
        leader: Option<LeaderElection>,
        state: &str,
    ) -> Result<Running, Failure> {
        let stop = CancellationToken::new();
        let keeper = Keeper::start(
            KeeperOptions {
                state_dir: self.dir.path().join(state),
                urls: UrlRules::default().with_files(true),
                fetch_timeout: Duration::from_secs(20),
                limits: headgate::source::Limits::default(),
                credentials: Arc::new(self.secrets.clone()),
            },
            stop.child_token(),
        );
        let feeder = tokio::spawn(feed(
            self.sources(),
            self.name.clone(),
            keeper.clone(),
            stop.child_token(),
        ));
        let lines = Lines::default();
        let mut registry = prometheus_client::registry::Registry::default();
        let ledger = Ledger::new(lines.clone(), LedgerMetrics::register(&mut registry));
        let options = Options {
            leader,
            rediscover: Duration::from_secs(1),
            ..Options::default()
        };
        options.metrics.register(&mut registry);
        // Every process has connections of its own.
        let client = self.plane.client().await?;
        let task = tokio::spawn(sync::run(
            client,
            keeper.clone(),
            Arc::new(rules),
            ledger,
            options,
            stop.child_token(),
        ));
        Ok(Running {
            keeper,
            registry,
            lines,
            stop,
            task,
            feeder,
        })
    }

    pub(crate) async fn source(&self) -> Result<PolicySource, Failure> {
        Ok(self.sources().get(&self.name).await?)
    }

    /// A repository besides the bench's own.
    pub(crate) fn another_repository(&self, name: &str) -> Result<Repository, Failure> {
        Repository::create(&self.dir.path().join(name))
    }

    /// Deletes a source, and does not wait for it.
    pub(crate) async fn delete_source(&self, name: &str) -> Outcome {
        self.sources().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    pub(crate) async fn create(&self, policy: &str) -> Outcome {
        let policy = serde_json::from_value(parse(policy)?)?;
        self.policies().create(&PostParams::default(), &policy).await?;
        Ok(())
    }

    /// Edits a policy as `kubectl patch` does.
    pub(crate) async fn patch(&self, name: &str, patch: Value) -> Outcome {
        let params = PatchParams::default();
        self.policies().patch(name, &params, &Patch::Merge(patch)).await?;
        Ok(())
    }

    pub(crate) async fn delete(&self, name: &str) -> Outcome {
        self.policies().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }
}

async fn feed(sources: Api<PolicySource>, bench: String, keeper: Keeper, stop: CancellationToken) {
    let only = watcher::Config::default().labels(&format!("{BENCH}={bench}"));
    let mut events = watcher(sources, only).default_backoff().boxed();
    let mut known: BTreeMap<String, PolicySource> = BTreeMap::new();
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.next() => event,
        };
        match event {
            Some(Ok(watcher::Event::Apply(source))) => {
                known.insert(source.name_any(), source);
            }
            Some(Ok(watcher::Event::InitApply(source))) => {
                known.insert(source.name_any(), source);
                continue;
            }
            Some(Ok(watcher::Event::Delete(source))) => {
                known.remove(&source.name_any());
            }
            Some(Ok(watcher::Event::Init)) => {
                known.clear();
                continue;
            }
            Some(Ok(watcher::Event::InitDone)) => {}
            Some(Err(_)) => continue,
            None => return,
        }
        keeper.set_sources(known.values().cloned().collect());
    }
}

pub(crate) fn rules(mode: Mode) -> Rules {
    Rules {
        mode,
        uncovered: Uncovered::Deny,
        dry_run: DryRun::Deny,
        guarded: Kind::all().collect(),
        exemptions: Vec::new(),
        guard_namespaces: false,
    }
}

async fn install_crd(client: &Client) -> Outcome {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let crd = PolicySource::crd();
    let name = crd.metadata.name.clone().unwrap_or_default();
    let params = PatchParams::apply("test").force();
    crds.patch(&name, &params, &Patch::Apply(&crd)).await?;
    until("the CRD to be established", async || {
        let crd = crds.get(&name).await?;
        let conditions = crd.status.and_then(|status| status.conditions).unwrap_or_default();
        let established = |name: &str| conditions.iter().any(|c| c.type_ == name && c.status == "True");
        Ok(established("Established").then_some(()))
    })
    .await
}

/// Reads YAML as the loop's own parser does not: for what a person applies.
pub(crate) fn parse(text: &str) -> Result<Value, Failure> {
    Ok(serde_saphyr::from_str(text)?)
}

pub(crate) fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

/// Denies all ingress, and says nothing of an `ingress` list.
pub(crate) fn deny(namespace: &str, name: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: {name}\n  namespace: {namespace}\n\
         spec:\n  podSelector: {{}}\n  policyTypes: [Ingress]\n"
    )
}

/// Lets a port in.
pub(crate) fn allow(namespace: &str, name: &str, port: u16) -> String {
    format!(
        "{}  ingress:\n    - ports:\n        - port: {port}\n",
        deny(namespace, name)
    )
}
