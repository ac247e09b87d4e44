//! What the tests wait for.

use std::time::{Duration, Instant};

use headgate::source::PolicySource;
use serde_json::json;

use super::Bench;
use crate::{Failure, Outcome};

/// How long a condition may take to come true before the wait is given up.
const PATIENCE: Duration = Duration::from_mins(1);

impl Bench {
    /// Waits until a condition of a source has this reason, and gives its message.
    pub(crate) async fn until_says(&self, source: &str, name: &str, reason: &str) -> Result<String, Failure> {
        until(&format!("{source} to say {name}: {reason}"), async || {
            let source = self.sources().get(source).await?;
            let conditions = source.status.unwrap_or_default().conditions;
            let found = conditions
                .into_iter()
                .find(|condition| condition.type_ == name && condition.reason == reason);
            Ok(found.map(|condition| condition.message))
        })
        .await
    }

    /// Waits until a policy lets in this port and no other.
    pub(crate) async fn until_port(&self, name: &str, port: u16) -> Outcome {
        until(&format!("{name} to let in {port}"), async || {
            let Some(policy) = self.policies().get_opt(name).await? else {
                return Ok(None);
            };
            let live = serde_json::to_value(policy)?;
            Ok((live["spec"]["ingress"] == json!([{"ports": [{"port": port, "protocol": "TCP"}]}])).then_some(()))
        })
        .await
    }

    /// Waits until the source says that the cluster is at this commit, and until what is created from now on counts as
    /// younger than the source's adoption, which is rounded up to a whole second.
    pub(crate) async fn until_synced_at(&self, commit: &str) -> Outcome {
        let what = format!("{} to be synced at {commit}", self.name);
        until(&what, async || {
            let source = self.source().await?;
            let at = source.status.as_ref().and_then(|status| status.head.as_ref());
            let here = at.is_some_and(|head| head.commit == commit);
            let synced = condition(&source, "Synced").is_some_and(|(status, _)| status == "True");
            Ok((here && synced && is_adopted(&source)).then_some(()))
        })
        .await
    }

    /// Waits until what is created from now on counts as younger than the source's adoption, which is rounded up to a
    /// whole second.
    pub(crate) async fn until_adopted(&self) -> Outcome {
        until(&format!("{} to be adopted", self.name), async || {
            Ok(is_adopted(&self.source().await?).then_some(()))
        })
        .await
    }

    /// Waits until the source is gone.
    pub(crate) async fn until_source_gone(&self, name: &str) -> Outcome {
        until(&format!("the source {name} to be gone"), async || {
            Ok(self.sources().get_opt(name).await?.is_none().then_some(()))
        })
        .await
    }

    /// Waits until the source is held until its objects are gone.
    pub(crate) async fn until_held(&self, name: &str) -> Outcome {
        until("the finalizer", async || {
            let source = self.sources().get(name).await?;
            Ok(source.metadata.finalizers.map(|_| ()))
        })
        .await
    }

    /// Waits for a reason of the condition `Ready`.
    pub(crate) async fn until_ready_says(&self, reason: &str) -> Outcome {
        let what = format!("{} to say {reason}", self.name);
        until(&what, async || {
            let source = self.source().await?;
            Ok(condition(&source, "Ready")
                .filter(|(_, said)| said == reason)
                .map(|_| ()))
        })
        .await
    }

    pub(crate) async fn until_gone(&self, name: &str) -> Outcome {
        until(&format!("{name} to be gone"), async || {
            Ok(self.policies().get_opt(name).await?.is_none().then_some(()))
        })
        .await
    }

    pub(crate) async fn until_there(&self, name: &str) -> Outcome {
        until(&format!("{name} to be there"), async || {
            Ok(self.policies().get_opt(name).await?.map(|_| ()))
        })
        .await
    }
}

/// Waits until something can be had.
pub(crate) async fn until<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("waited {PATIENCE:?} in vain for {what}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Status and reason of a condition.
pub(crate) fn condition(source: &PolicySource, name: &str) -> Option<(String, String)> {
    let conditions = &source.status.as_ref()?.conditions;
    let condition = conditions.iter().find(|condition| condition.type_ == name)?;
    Some((condition.status.clone(), condition.reason.clone()))
}

fn is_adopted(source: &PolicySource) -> bool {
    let adopted = source.status.as_ref().and_then(|status| status.adopted_at.as_ref());
    adopted.is_some_and(|adopted| adopted.0 <= jiff::Timestamp::now())
}
