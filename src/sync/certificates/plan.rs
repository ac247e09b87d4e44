//! What to do next about the webhook's certificate: a pure function of what is stored, what the API server is told to
//! trust, what replicas serve, and the time.
//!
//! It knows nothing of where a rotation was left off: each step is told from what is there, so that a process that
//! dies, or another leader, goes on where it has to.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The SHA-256 of an authority's certificate.
pub(super) type Fingerprint = [u8; 32];

/// An authority that the API server is to trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trusted {
    pub(super) fingerprint: Fingerprint,
    pub(super) until: Timestamp,
}

/// A certificate with its key that can be served, and the trusted authority by which it can be verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) authority: Fingerprint,
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
    /// Whether it is made out for every name that it is to have.
    pub(super) fits: bool,
}

/// What the Secret holds, as far as it can be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) trusted: Vec<Trusted>,
    pub(super) serving: Option<Leaf>,
    pub(super) next: Option<Leaf>,
    /// Somebody asked for a new certificate.
    pub(super) asked: bool,
}

/// What ready replicas serve, held against the stored certificate's authority alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replicas {
    /// Nobody looked, or could.
    Unknown,
    /// Not all of them could be verified by it; or there is none.
    Behind,
    /// All of them can be verified by it.
    Current,
}

/// All that the plan is made from.
#[derive(Clone, Debug)]
pub(super) struct Sight {
    pub(super) now: Timestamp,
    pub(super) state: State,
    /// For how long this process has seen exactly these authorities in the webhook configuration, without a break; by
    /// its own clock, as nobody else's counts. None where they are not there now.
    pub(super) configured: Option<Duration>,
    pub(super) replicas: Replicas,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is nothing to serve: make a certificate.
    Begin,
    /// Make the next certificate, and have its authority trusted beside those that are.
    Prepare,
    /// Have the next certificate served.
    Serve,
    /// Trust these authorities no more: no replica needs them.
    Retire(Vec<Fingerprint>),
    /// Nothing yet.
    Wait(Wait),
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// The API servers are to take up what they shall trust.
    Trust,
    /// Replicas are to serve what is stored.
    Replicas,
    /// The certificate is good until it is to be renewed then.
    Renewal(Timestamp),
}

/// Plans the next step. `settle` is how long API servers may take to take up a changed configuration.
pub(super) fn plan(sight: &Sight, settle: Duration) -> Step {
    let (now, state) = (sight.now, &sight.state);
    let usable = |leaf: &&Leaf| leaf.from <= now && now < leaf.until;
    let next = state.next.as_ref().filter(usable);
    let Some(serving) = state.serving.as_ref().filter(usable) else {
        return match next {
            // Something else is served, and trusted for that.
            Some(next) if needed_beside(state, next, now) => serve_once_trusted(sight, settle),
            // Nothing that is served would be trusted: it cannot get worse.
            Some(_) => Step::Serve,
            None => Step::Begin,
        };
    };
    match next {
        // It lay there for so long that it would be followed by another at once.
        Some(next) if !next.fits || renewal(next) <= now => Step::Prepare,
        Some(_) => serve_once_trusted(sight, settle),
        None if !serving.fits || renewal(serving) <= now => Step::Prepare,
        None => settled(sight, serving),
    }
}

fn serve_once_trusted(sight: &Sight, settle: Duration) -> Step {
    if sight.configured.is_some_and(|since| since >= settle) {
        Step::Serve
    } else {
        Step::Wait(Wait::Trust)
    }
}

fn settled(sight: &Sight, serving: &Leaf) -> Step {
    let others = |trusted: &&Trusted| trusted.fingerprint != serving.authority;
    let others: Vec<&Trusted> = sight.state.trusted.iter().filter(others).collect();
    let is_over = |trusted: &&&Trusted| trusted.until <= sight.now;
    let fingerprints = |list: Vec<&Trusted>| list.into_iter().map(|trusted| trusted.fingerprint).collect();
    if others.is_empty() {
        // One rotation at a time: whoever asks during one gets another after it.
        return if sight.state.asked {
            Step::Prepare
        } else {
            Step::Wait(Wait::Renewal(renewal(serving)))
        };
    }
    if sight.replicas == Replicas::Current {
        return Step::Retire(fingerprints(others));
    }
    // What has ended verifies nothing any more, whatever replicas serve.
    let over: Vec<&Trusted> = others.iter().filter(is_over).copied().collect();
    if over.is_empty() {
        Step::Wait(Wait::Replicas)
    } else {
        Step::Retire(fingerprints(over))
    }
}

fn needed_beside(state: &State, leaf: &Leaf, now: Timestamp) -> bool {
    let other = |trusted: &Trusted| trusted.fingerprint != leaf.authority && now < trusted.until;
    state.trusted.iter().any(other)
}

/// When two thirds of a certificate's life are over.
fn renewal(leaf: &Leaf) -> Timestamp {
    let life: SignedDuration = leaf.until.duration_since(leaf.from);
    leaf.until.checked_sub(life / 3).unwrap_or(leaf.from)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
