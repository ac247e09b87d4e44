//! When sources came or spoke otherwise: what that brings up is not what somebody has just done.

use std::sync::Arc;
use std::time::Instant;

use crate::policy::Key;
use crate::source::Settings;

/// The scopes that were taken up last, each with the instant.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// The oldest first.
    scopes: Vec<(Arc<Settings>, Instant)>,
    /// When the last of those was taken up that are no longer told apart: it counts for every key.
    earlier: Option<Instant>,
}

impl Arrivals {
    /// Takes note of scopes that were taken up at an instant, not before any other. At most `most` are told apart.
    pub(super) fn note(&mut self, scopes: &[Arc<Settings>], at: Instant, most: usize) {
        let is_known = |scope: &Arc<Settings>| scopes.iter().any(|new| Arc::ptr_eq(new, scope));
        self.scopes.retain(|(scope, _)| !is_known(scope));
        self.scopes.extend(scopes.iter().map(|scope| (Arc::clone(scope), at)));
        let surplus = self.scopes.len().saturating_sub(most);
        let dropped = self.scopes.drain(..surplus).map(|(_, at)| at).next_back();
        self.earlier = self.earlier.max(dropped);
    }

    /// Whether a source that speaks for the key came or spoke otherwise at this instant or later.
    pub(super) fn concern(&self, key: &Key, since: Instant) -> bool {
        let mut later = self.scopes.iter().rev().take_while(|(_, at)| *at >= since);
        self.earlier >= Some(since) || later.any(|(scope, _)| scope.coverage.covers(key))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::source::UrlRules;

    fn scope(namespace: &str) -> Result<Arc<Settings>, Box<dyn std::error::Error>> {
        let spec = json!({"git": {"url": "https://git.example.com/x.git"}, "scope": {"namespaces": [namespace]}});
        let settings = Settings::from_spec(&serde_json::from_value(spec)?, &UrlRules::default())?;
        Ok(Arc::new(settings))
    }

    #[test]
    fn only_what_it_covers_concerns_a_source_that_comes() -> Result<(), Box<dyn std::error::Error>> {
        let (shop, pay, at) = (scope("shop")?, scope("pay")?, Instant::now());
        let in_shop = "networkpolicy.networking.k8s.io/shop/web".parse()?;
        let in_pay = "networkpolicy.networking.k8s.io/pay/web".parse()?;
        let later = at + Duration::from_secs(1);
        let mut arrivals = Arrivals::default();
        arrivals.note(&[Arc::clone(&shop)], at, 2);
        arrivals.note(&[Arc::clone(&pay)], later, 2);
        let between = at + Duration::from_millis(1);
        assert!(arrivals.concern(&in_shop, at) && !arrivals.concern(&in_shop, between));
        assert!(arrivals.concern(&in_pay, between) && !arrivals.concern(&in_pay, later + Duration::from_millis(1)));
        // The same one again takes no more room.
        arrivals.note(&[pay], later, 2);
        assert!(!arrivals.concern(&in_shop, between));
        // What there is no room for counts for all.
        arrivals.note(&[scope("other")?], later, 1);
        assert!(arrivals.concern(&in_shop, later));
        Ok(())
    }
}
