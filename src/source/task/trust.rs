//! The keys that may sign for a source, and what is told of the head's signature.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::Task;
use crate::source::keys::{Looked, look};
use crate::source::report::{RefusalReason, Verification};
use crate::source::resource::{VerifyMode, WhenUnverified};
use crate::source::signature::SignatureFault;

/// The Secret with the keys that may sign is read with every fetch, and this often between them.
const KEYS_EVERY: Duration = Duration::from_secs(30);

impl Task {
    pub(super) fn keys_due(&self) -> Option<Instant> {
        let asks = self.wanted.settings.verification.keys.is_some() && self.wanted.invalid.is_none();
        asks.then(|| self.keys_looked_at + KEYS_EVERY)
    }

    pub(super) async fn look_at_keys(&mut self) {
        self.keys_looked_at = Instant::now();
        let looked = look(&self.shared, &self.wanted.settings).await;
        self.take_keys(looked);
    }

    pub(super) fn take_keys(&mut self, looked: Option<Looked>) {
        let Some(keys) = looked.and_then(|looked| self.keys.after(looked)) else {
            return;
        };
        if let Some(problem) = keys.trouble() {
            tracing::warn!("no new commit is accepted: {problem}");
        } else {
            tracing::info!("the keys that may sign were read");
        }
        self.keys = Arc::new(keys);
    }

    /// Whether the commit that was refused last may be good later on.
    pub(super) fn may_change_with_time(&self) -> bool {
        let reason = self.refusal.as_ref().map(|refusal| refusal.reason);
        reason == Some(RefusalReason::NotVerified(SignatureFault::NotYetValid))
    }

    pub(super) fn verification(&self) -> Verification {
        let rules = &self.wanted.settings.verification;
        if rules.mode == VerifyMode::None || self.head.borrow().is_none() {
            return Verification::Unknown;
        }
        match &self.standing {
            Ok(None) => Verification::Unknown,
            Ok(Some(signer)) => Verification::Signed {
                by: signer.to_string(),
                keys_problem: self.keys.trouble().map(ToOwned::to_owned),
            },
            Err(fault) => Verification::Failed {
                fault: fault.kind,
                message: fault.message.clone(),
                kept: rules.when_unverified == WhenUnverified::Keep,
            },
        }
    }

    pub(super) fn verified_at(&self) -> Option<Timestamp> {
        let asks = self.wanted.settings.verification.mode != VerifyMode::None;
        self.head
            .borrow()
            .as_ref()
            .filter(|_| asks)
            .map(|head| head.accepted_at)
    }
}
