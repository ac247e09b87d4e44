//! Leader election by a Lease: one process writes, the others stand by.
//!
//! As client-go does it: how long a lease lasts is measured from when this process saw it renewed, so that the clocks
//! of two nodes need not agree.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

use super::request::{CallError, Failure, within};

/// A lease that was not renewed for this long is anyone's.
const LEASE: Duration = Duration::from_secs(15);
/// A leader that could not renew for this long stops, well before anyone else may begin.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Time between two attempts.
const RETRY: Duration = Duration::from_secs(2);

/// Where the lease is, and who asks for it.
#[derive(Clone, Debug)]
pub struct LeaderElection {
    /// The namespace of the Lease.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// This process among all others; a Pod's name.
    pub identity: String,
}

/// Takes part in the election.
pub(super) struct Candidate {
    leases: Api<Lease>,
    election: LeaderElection,
    /// The lease as it was seen last, and when it was seen to change.
    seen: Option<(Lease, Instant)>,
}

impl Candidate {
    pub(super) fn new(client: Client, election: LeaderElection) -> Self {
        Self {
            leases: Api::namespaced(client, &election.namespace),
            election,
            seen: None,
        }
    }

    /// Returns once this process leads.
    pub(super) async fn win(&mut self) {
        loop {
            match self.attempt().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "cannot take part in the leader election"),
            }
            tokio::time::sleep(RETRY.mul_f64(0.8 + fastrand::f64() * 0.4)).await;
        }
    }

    /// Renews the lease; returns once it is lost.
    pub(super) async fn keep(&mut self) {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(RETRY).await;
            let left = RENEW_DEADLINE.saturating_sub(renewed.elapsed());
            match tokio::time::timeout(left, self.attempt()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "cannot renew the lease");
                    if renewed.elapsed() >= RENEW_DEADLINE {
                        return;
                    }
                }
                Ok(Ok(false)) | Err(_) => return,
            }
        }
    }

    /// Lets go of the lease, so that the next leader need not wait for its end.
    pub(super) async fn release(&mut self) {
        let Some((mut lease, _)) = self.seen.take() else {
            return;
        };
        let Some(spec) = lease.spec.as_mut().filter(|spec| self.is_mine(spec)) else {
            return;
        };
        spec.holder_identity = None;
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        if let Err(error) = self.put(&lease).await {
            tracing::debug!(%error, "cannot release the lease; it runs out by itself");
        }
    }

    /// Takes or renews the lease; false where someone else has it.
    async fn attempt(&mut self) -> Result<bool, CallError> {
        let lease = match self.seen.take() {
            Some((lease, at)) if lease.spec.as_ref().is_some_and(|spec| self.is_mine(spec)) => {
                // Renewing needs no look first: the version says whether it is still ours.
                match self.take(lease.clone()).await {
                    Err(error) if error.failure() != Failure::Conflict => {
                        self.seen = Some((lease, at));
                        return Err(error);
                    }
                    Ok(true) => return Ok(true),
                    _ => self.look().await?,
                }
            }
            seen => {
                let lease = self.look().await?;
                let unchanged = |(old, _): &(Lease, Instant)| Some(&old.spec) == lease.as_ref().map(|new| &new.spec);
                self.seen = seen.filter(unchanged);
                lease
            }
        };
        let Some(lease) = lease else {
            return self.create().await;
        };
        let (_, since) = self.seen.get_or_insert((lease.clone(), Instant::now()));
        let age = since.elapsed();
        if lease
            .spec
            .as_ref()
            .is_some_and(|spec| !self.is_mine(spec) && is_held(spec, age))
        {
            return Ok(false);
        }
        self.take(lease).await
    }

    async fn look(&self) -> Result<Option<Lease>, CallError> {
        within(RENEW_DEADLINE / 2, self.leases.get_opt(&self.election.name)).await
    }

    async fn create(&mut self) -> Result<bool, CallError> {
        let now = MicroTime(Timestamp::now());
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.election.name.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(self.claim(None, now)),
        };
        match within(RENEW_DEADLINE / 2, self.leases.create(&PostParams::default(), &lease)).await {
            Ok(lease) => {
                self.seen = Some((lease, Instant::now()));
                Ok(true)
            }
            Err(error) if error.failure() == Failure::Conflict => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn take(&mut self, mut lease: Lease) -> Result<bool, CallError> {
        lease.spec = Some(self.claim(lease.spec.take(), MicroTime(Timestamp::now())));
        match self.put(&lease).await {
            Ok(lease) => {
                self.seen = Some((lease, Instant::now()));
                Ok(true)
            }
            Err(error) if error.failure() == Failure::Conflict => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn put(&self, lease: &Lease) -> Result<Lease, CallError> {
        let name = &self.election.name;
        within(
            RENEW_DEADLINE / 2,
            self.leases.replace(name, &PostParams::default(), lease),
        )
        .await
    }

    fn claim(&self, before: Option<LeaseSpec>, now: MicroTime) -> LeaseSpec {
        let before = before.unwrap_or_default();
        let mine = self.is_mine(&before);
        LeaseSpec {
            holder_identity: Some(self.election.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
            acquire_time: before.acquire_time.clone().filter(|_| mine).or(Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(before.lease_transitions.unwrap_or(0) + i32::from(!mine)),
            ..before
        }
    }

    fn is_mine(&self, spec: &LeaseSpec) -> bool {
        spec.holder_identity.as_deref() == Some(&self.election.identity)
    }
}

/// Whether someone holds a lease that has looked like this for so long.
fn is_held(spec: &LeaseSpec, age: Duration) -> bool {
    let lasts = spec
        .lease_duration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok());
    let held = spec.holder_identity.as_deref().is_some_and(|holder| !holder.is_empty());
    held && age < lasts.map_or(LEASE, Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_ends_by_the_watchers_own_clock() {
        let spec = LeaseSpec {
            holder_identity: Some("other".to_owned()),
            lease_duration_seconds: Some(15),
            // The holder's clock is far behind: that says nothing.
            renew_time: Some(MicroTime(Timestamp::UNIX_EPOCH)),
            ..LeaseSpec::default()
        };
        assert!(is_held(&spec, Duration::from_secs(14)));
        assert!(!is_held(&spec, Duration::from_secs(15)));
    }

    #[test]
    fn a_released_lease_is_anyones() {
        assert!(!is_held(&LeaseSpec::default(), Duration::ZERO));
    }
}
