//! The Secrets that sources name: in Headgate's own namespace, and only those that are marked for it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::Api;
use kube::{Client, ResourceExt};
use tokio::sync::watch;

use crate::source::trusted::Entry;
use crate::source::{CredentialStore, Credentials};

/// The label without which a Secret is not read, so that naming another one in a source does not hand it to a Git server.
pub const CREDENTIALS_LABEL: &str = "headgate.dev/credentials";
/// How long the API server may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A Secret as it was read last. Holds nothing of what is secret in it but hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretSight {
    /// Tells it from a later one of the same name.
    pub uid: String,
    /// Its entries.
    pub entries: BTreeMap<String, Entry>,
    /// Who wrote its data last, as far as managed fields tell.
    pub writer: Option<String>,
}

/// The Secrets that were read, by name; none where a Secret is not there, or not marked.
pub type Sights = BTreeMap<String, Option<SecretSight>>;

/// Reads Secrets of one namespace, and remembers what it saw.
pub struct SecretStore {
    api: Api<Secret>,
    /// Counts the looks: of two at once the one that began later counts.
    looks: Arc<AtomicU64>,
    seen: watch::Sender<Arc<BTreeMap<String, Seen>>>,
}

/// What a look brought.
#[derive(Clone)]
struct Seen {
    look: u64,
    version: Option<String>,
    sight: Option<SecretSight>,
}

/// What was seen of Secrets, now and whenever it changes. Cheap to clone.
#[derive(Clone)]
pub struct SightReceiver {
    seen: watch::Receiver<Arc<BTreeMap<String, Seen>>>,
    looks: Arc<AtomicU64>,
    /// Looks that began before this one do not count.
    since: u64,
}

impl SightReceiver {
    /// What is seen from now on, and nothing of before: another process may have seen something newer meanwhile.
    #[must_use]
    pub fn from_now_on(&self) -> Self {
        Self {
            since: self.looks.load(Ordering::Relaxed),
            ..self.clone()
        }
    }

    /// What was seen so far.
    pub fn current(&mut self) -> Sights {
        let seen = self.seen.borrow_and_update();
        let counts = seen.iter().filter(|(_, seen)| seen.look >= self.since);
        counts.map(|(name, seen)| (name.clone(), seen.sight.clone())).collect()
    }

    /// Waits until something else is seen; false once nobody looks any more. That a Secret was seen again as it was is
    /// no news.
    pub async fn changed(&mut self) -> bool {
        self.seen.changed().await.is_ok()
    }
}

impl std::fmt::Debug for SightReceiver {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SightReceiver")
    }
}

impl SecretStore {
    /// Reads Secrets of this namespace.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            looks: Arc::default(),
            seen: watch::Sender::default(),
        }
    }

    /// What is seen of Secrets as they are read. Nothing is read for this: a Secret that nobody needs is not trusted.
    pub fn sights(&self) -> SightReceiver {
        SightReceiver {
            seen: self.seen.subscribe(),
            looks: Arc::clone(&self.looks),
            since: 0,
        }
    }

    async fn read(&self, name: &str) -> Result<Credentials, String> {
        let look = self.looks.fetch_add(1, Ordering::Relaxed);
        let secret = tokio::time::timeout(PATIENCE, self.api.get_opt(name))
            .await
            .map_err(|_| format!("the API server did not hand out the Secret {name} within {PATIENCE:?}"))?
            .map_err(|error| format!("the Secret {name} cannot be read: {error}"))?;
        let marked = secret.as_ref().filter(|secret| is_marked(secret.labels()));
        self.notice(name, look, marked);
        let secret = secret.ok_or_else(|| format!("the Secret {name} is not in Headgate's namespace"))?;
        if !is_marked(secret.labels()) {
            return Err(format!(
                "the Secret {name} lacks the label {CREDENTIALS_LABEL}=true, without which it is not read"
            ));
        }
        Ok(secret
            .data
            .unwrap_or_default()
            .into_iter()
            .map(|(key, value)| (key, value.0))
            .collect())
    }

    fn notice(&self, name: &str, look: u64, secret: Option<&Secret>) {
        let version = secret.and_then(ResourceExt::resource_version);
        self.seen.send_if_modified(|all| {
            let before = all.get(name);
            if before.is_some_and(|before| before.look > look) {
                return false;
            }
            // Hashed once, however often it is read.
            let sight = match before {
                Some(before) if before.version == version => before.sight.clone(),
                _ => secret.map(sight),
            };
            let is_new = before.is_none_or(|before| before.sight != sight);
            let seen = Seen { look, version, sight };
            Arc::make_mut(all).insert(name.to_owned(), seen);
            is_new
        });
    }
}

/// Whether these are the labels of a Secret that may be read.
pub fn is_marked(labels: &BTreeMap<String, String>) -> bool {
    labels.get(CREDENTIALS_LABEL).is_some_and(|value| value == "true")
}

fn sight(secret: &Secret) -> SecretSight {
    let data = secret.data.iter().flatten();
    SecretSight {
        uid: secret.uid().unwrap_or_default(),
        entries: data
            .map(|(name, content)| (name.clone(), Entry::of(name, &content.0)))
            .collect(),
        writer: last_writer(secret.managed_fields(), "f:data"),
    }
}

/// Who wrote a part of an object last, as far as managed fields tell: they name a program, and a person only where that
/// chose to. `part` is as managed fields write it, `f:spec`.
pub fn last_writer(managed: &[ManagedFieldsEntry], part: &str) -> Option<String> {
    let holds = |entry: &&ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref();
        fields.is_some_and(|fields| fields.0.get(part).is_some())
    };
    let last = managed
        .iter()
        .filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty())
        .filter(holds)
        .max_by_key(|entry| entry.time.as_ref().map(|time| time.0))?;
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "?".to_owned());
    Some(match &last.time {
        Some(time) => format!("{}, {}, {}", text(&last.manager), text(&last.operation), time.0),
        None => format!("{}, {}", text(&last.manager), text(&last.operation)),
    })
}

impl CredentialStore for SecretStore {
    fn load<'a>(&'a self, name: &'a str) -> Pin<Box<dyn Future<Output = Result<Credentials, String>> + Send + 'a>> {
        Box::pin(self.read(name))
    }
}
