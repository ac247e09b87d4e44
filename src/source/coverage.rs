//! Which objects a source speaks for.

use std::collections::HashSet;

use globset::GlobSet;

use super::overlap;
use super::resource::Scope;
use super::settings::{SettingsError, globs};
use crate::policy::{Key, Kind};

/// Which objects a source speaks for.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    namespaces: Option<Names>,
    cluster_scoped: bool,
    kinds: Vec<Kind>,
    tiers: Option<Vec<String>>,
}

/// Globs of namespaces. Most name one, and every source is asked about every object: those are looked up.
#[derive(Clone, Debug, Default)]
struct Names {
    exact: HashSet<Box<str>>,
    globs: GlobSet,
    /// The globs as they were written.
    patterns: Vec<String>,
}

impl Names {
    fn read(patterns: &[String]) -> Result<Self, SettingsError> {
        let is_name = |pattern: &&String| pattern.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let (exact, patterns): (Vec<&String>, Vec<&String>) = patterns.iter().partition(is_name);
        let patterns: Vec<String> = patterns.into_iter().cloned().collect();
        Ok(Self {
            exact: exact.into_iter().map(|name| name.as_str().into()).collect(),
            globs: globs("spec.scope.namespaces", &patterns, false)?,
            patterns,
        })
    }

    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.patterns.is_empty()
    }

    /// Whether there can be a namespace that both hold.
    fn meet(&self, other: &Self) -> bool {
        self.exact.iter().any(|name| other.hold(name))
            || (!self.globs.is_empty() && other.exact.iter().any(|name| self.hold(name)))
            || overlap::meet(&self.patterns, &other.patterns)
    }

    fn hold(&self, namespace: &str) -> bool {
        self.exact.contains(namespace) || (!self.globs.is_empty() && self.globs.is_match(namespace))
    }
}

impl Coverage {
    /// The coverage of a source without a scope.
    pub fn everything() -> Self {
        Self {
            cluster_scoped: true,
            ..Self::default()
        }
    }

    /// Reads a scope; none covers everything.
    ///
    /// # Errors
    /// Names the field that cannot be used.
    pub fn from_scope(scope: Option<&Scope>) -> Result<Self, SettingsError> {
        let Some(scope) = scope else {
            return Ok(Self::everything());
        };
        let named = |name: &String| {
            Kind::of_name(name).ok_or_else(|| SettingsError::Field {
                field: "spec.scope.kinds",
                value: name.clone(),
                expected: "a kind that Headgate guards, as in networkpolicy.projectcalico.org",
            })
        };
        let tiers = scope
            .tiers
            .clone()
            .or_else(|| scope.namespaces.as_ref().map(|_| vec!["default".to_owned()]));
        Ok(Self {
            namespaces: scope.namespaces.as_ref().map(|list| Names::read(list)).transpose()?,
            cluster_scoped: scope.cluster_scoped,
            kinds: scope.kinds.iter().map(named).collect::<Result<_, _>>()?,
            tiers,
        })
    }

    /// Whether the source speaks for the object with this key.
    pub fn covers(&self, key: &Key) -> bool {
        let is_there = || match key.namespace() {
            Some(namespace) => self.namespaces.as_ref().is_none_or(|names| names.hold(namespace)),
            None => self.cluster_scoped,
        };
        // Every source is asked about every object, and most say no to its namespace.
        is_there() && (self.kinds.is_empty() || self.kinds.contains(&key.kind())) && key.is_guarded()
    }

    /// Where the objects are for which the source speaks: namespaces, and none for what is cluster-scoped. Nothing where
    /// that cannot be listed: it names no namespaces, or globs of them.
    pub fn places(&self) -> Option<impl Iterator<Item = Option<&str>>> {
        let names = self.namespaces.as_ref().filter(|names| names.globs.is_empty())?;
        let exact = names.exact.iter().map(|name| Some(&**name));
        Some(exact.chain(self.cluster_scoped.then_some(None)))
    }

    /// Whether the source speaks for objects in this namespace, of whatever kind.
    pub fn reaches(&self, namespace: &str) -> bool {
        self.namespaces.as_ref().is_none_or(|names| names.hold(namespace))
    }

    /// Whether there can be an object for which both speak.
    pub fn overlaps(&self, other: &Self) -> bool {
        let shared = |namespaced: bool| {
            Kind::all().any(|kind| {
                kind.definition().namespaced == namespaced
                    && [self, other]
                        .iter()
                        .all(|it| it.kinds.is_empty() || it.kinds.contains(&kind))
            })
        };
        let meet = match (&self.namespaces, &other.namespaces) {
            (Some(some), Some(others)) => some.meet(others),
            (Some(some), None) | (None, Some(some)) => !some.is_empty(),
            (None, None) => true,
        };
        (self.cluster_scoped && other.cluster_scoped && shared(false)) || (meet && shared(true))
    }

    /// Why an object with this key and Calico tier is not the source's to declare; none where it is.
    pub fn outside(&self, key: &Key, tier: Option<&str>) -> Option<String> {
        if !key.is_guarded() {
            return Some(format!("the configuration does not guard {} there", key.kind()));
        }
        if !self.covers(key) {
            let kind_is_listed = self.kinds.is_empty() || self.kinds.contains(&key.kind());
            return Some(match key.namespace() {
                _ if !kind_is_listed => format!("{} is not among spec.scope.kinds", key.kind()),
                Some(namespace) => format!("namespace {namespace} is not among spec.scope.namespaces"),
                None => "spec.scope.clusterScoped is not set".to_owned(),
            });
        }
        let tier = tier.filter(|tier| !self.allows_tier(tier))?;
        Some(format!("tier {tier} is not among spec.scope.tiers"))
    }

    /// The Calico tiers in which the source may place policies; none where it may in all.
    pub(super) fn tiers(&self) -> Option<&[String]> {
        self.tiers.as_deref()
    }

    /// The same with other tiers.
    pub(super) fn with_tiers(self, tiers: Option<Vec<String>>) -> Self {
        Self { tiers, ..self }
    }

    /// Whether the source may place a policy in this Calico tier.
    pub fn allows_tier(&self, tier: &str) -> bool {
        self.tiers
            .as_ref()
            .is_none_or(|tiers| tiers.iter().any(|allowed| allowed == tier))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::key::KeyError;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn scope(namespaces: &[&str]) -> Scope {
        Scope {
            namespaces: Some(namespaces.iter().map(ToString::to_string).collect()),
            ..Scope::default()
        }
    }

    #[test]
    fn no_scope_covers_everything() -> TestResult {
        let coverage = Coverage::from_scope(None)?;
        assert!(coverage.covers(&"networkpolicy.networking.k8s.io/any/thing".parse()?));
        assert!(coverage.covers(&"tier.projectcalico.org/platform".parse()?));
        assert!(coverage.allows_tier("platform"));
        Ok(())
    }

    #[test]
    fn a_team_is_held_to_its_namespaces_and_the_default_tier() -> TestResult {
        let coverage = Coverage::from_scope(Some(&scope(&["payments", "pay-*"])))?;
        assert!(coverage.covers(&"networkpolicy.networking.k8s.io/payments/a".parse()?));
        assert!(coverage.covers(&"networkpolicy.networking.k8s.io/pay-eu/a".parse()?));
        assert!(!coverage.covers(&"networkpolicy.networking.k8s.io/kube-system/a".parse()?));
        assert!(!coverage.covers(&"globalnetworkpolicy.projectcalico.org/a".parse()?));
        assert!(coverage.allows_tier("default"));
        assert!(!coverage.allows_tier("platform"));
        Ok(())
    }

    #[test]
    fn scopes_overlap_where_an_object_can_be_both_theirs() -> TestResult {
        let of = |spec: serde_json::Value| -> Result<Coverage, Box<dyn std::error::Error>> {
            Ok(Coverage::from_scope(Some(&serde_json::from_value(spec)?))?)
        };
        let everything = Coverage::everything();
        let payments = of(json!({"namespaces": ["pay-*"]}))?;
        let europe = of(json!({"namespaces": ["*-eu"], "kinds": ["networkpolicy.networking.k8s.io"]}))?;
        let shop = of(json!({"namespaces": ["shop"], "clusterScoped": true}))?;
        let calico = of(json!({"namespaces": ["pay-eu"], "kinds": ["networkpolicy.projectcalico.org"]}))?;
        let platform = of(json!({"namespaces": [], "clusterScoped": true}))?;
        for (one, other, expected) in [
            (&everything, &payments, true),
            (&payments, &payments, true),
            (&payments, &europe, true),
            (&payments, &shop, false),
            (&shop, &shop, true),
            (&europe, &calico, false),
            (&payments, &calico, true),
            (&shop, &platform, true),
            (&payments, &platform, false),
            (&everything, &platform, true),
        ] {
            assert_eq!(
                (one.overlaps(other), other.overlaps(one)),
                (expected, expected),
                "{one:?} {other:?}"
            );
        }
        Ok(())
    }

    #[test]
    fn places_are_listed_only_where_every_one_is_named() -> TestResult {
        let places = |spec: serde_json::Value| -> Result<Option<Vec<String>>, Box<dyn std::error::Error>> {
            let coverage = Coverage::from_scope(Some(&serde_json::from_value(spec)?))?;
            let named = |place: Option<&str>| place.unwrap_or("cluster-scoped").to_owned();
            let mut places: Option<Vec<String>> = coverage.places().map(|places| places.map(named).collect());
            if let Some(places) = &mut places {
                places.sort();
            }
            Ok(places)
        };
        let listed = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect());
        assert_eq!(places(json!({}))?, None);
        assert_eq!(places(json!({"namespaces": ["payments", "pay-*"]}))?, None);
        assert_eq!(
            places(json!({"namespaces": ["shop", "pay"]}))?,
            listed(&["pay", "shop"])
        );
        let both = json!({"namespaces": ["pay"], "clusterScoped": true});
        assert_eq!(places(both)?, listed(&["cluster-scoped", "pay"]));
        assert_eq!(places(json!({"namespaces": []}))?, listed(&[]));
        Ok(())
    }

    #[test]
    fn what_is_outside_the_scope_is_told_why() -> TestResult {
        let coverage = Coverage::from_scope(Some(&scope(&["payments"])))?;
        let why = |key: &str, tier| Ok::<_, KeyError>(coverage.outside(&key.parse()?, tier).unwrap_or_default());
        assert_eq!(why("networkpolicy.projectcalico.org/payments/a", Some("default"))?, "");
        assert!(why("networkpolicy.projectcalico.org/payments/a", Some("platform"))?.contains("tier platform"));
        assert!(why("networkpolicy.projectcalico.org/web/a", None)?.contains("namespace web"));
        assert!(why("tier.projectcalico.org/a", None)?.contains("clusterScoped"));
        Ok(())
    }
}
