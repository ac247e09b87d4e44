//! A policy as the lints see it: whom it selects, and what it lets pass.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::probe::{self, Direction, Match, Probe, items};
use super::selection::Selection;
use super::selector::{self, Labels, Truth};
use crate::policy::kind::Family;
use crate::policy::manifest::Manifest;

/// A Kubernetes or Calico policy that takes effect.
pub(super) struct Policy<'m> {
    family: Family,
    namespace: Option<&'m str>,
    spec: &'m Map<String, Value>,
    /// Whether what no rule decides goes on to the next tier.
    passes_at_the_end: bool,
}

impl<'m> Policy<'m> {
    /// None for other kinds, and for policies that are staged, or for hosts only.
    pub(super) fn of(manifest: &'m Manifest, passing_tiers: &HashSet<&str>) -> Option<Self> {
        let definition = manifest.key.kind().definition();
        let spec = manifest.form.get("spec")?.as_object()?;
        let for_hosts = ["doNotTrack", "preDNAT"]
            .iter()
            .any(|name| spec.get(*name) == Some(&Value::Bool(true)));
        let counts = match definition.family {
            Family::Kubernetes => true,
            Family::Calico => matches!(definition.kind, "NetworkPolicy" | "GlobalNetworkPolicy") && !for_hosts,
            _ => false,
        };
        counts.then(|| Self {
            family: definition.family,
            namespace: manifest.key.namespace(),
            spec,
            passes_at_the_end: manifest
                .tier
                .as_deref()
                .is_some_and(|tier| passing_tiers.contains(tier)),
        })
    }

    /// The field in which a direction is restricted.
    pub(super) fn field(&self, direction: Direction) -> &'static str {
        match (direction, self.spec.contains_key(rules_of(direction)), self.family) {
            (Direction::Ingress, true, _) => "spec.ingress",
            (Direction::Egress, true, _) => "spec.egress",
            (_, false, Family::Kubernetes) => "spec.policyTypes",
            (_, false, _) => "spec.types",
        }
    }

    /// Whether it restricts this direction at all.
    fn restricts(&self, direction: Direction) -> bool {
        let (name, word) = match (self.family, direction) {
            (Family::Kubernetes, Direction::Ingress) => ("policyTypes", "Ingress"),
            (Family::Kubernetes, Direction::Egress) => ("policyTypes", "Egress"),
            (_, Direction::Ingress) => ("types", "Ingress"),
            (_, Direction::Egress) => ("types", "Egress"),
        };
        let types = self.spec.get(name).and_then(Value::as_array);
        types.is_some_and(|types| types.iter().any(|listed| listed == word))
    }

    /// Whether nothing of the probe can pass what this policy alone says.
    pub(super) fn stops(&self, probe: &Probe) -> bool {
        self.restricts(probe.direction) && !self.has_way(probe) && !self.passes_at_the_end_for(probe)
    }

    /// Whether a rule lets some of the probe pass.
    pub(super) fn lets(&self, probe: &Probe) -> bool {
        self.restricts(probe.direction) && self.has_way(probe)
    }

    fn has_way(&self, probe: &Probe) -> bool {
        let mut rules = self.rules(probe.direction);
        if self.family == Family::Kubernetes {
            return rules.any(|rule| kubernetes_rule(rule, probe));
        }
        for rule in rules {
            match (rule.get("action").and_then(Value::as_str), calico_rule(rule, probe)) {
                (Some("Allow" | "Pass"), Match::Some | Match::All) => return true,
                (Some("Deny"), Match::All) => return false,
                _ => {}
            }
        }
        false
    }

    /// A tier that passes at its end stops only what a rule denies.
    fn passes_at_the_end_for(&self, probe: &Probe) -> bool {
        let denies = |rule: &Map<String, Value>| {
            rule.get("action").is_some_and(|action| action == "Deny") && calico_rule(rule, probe) == Match::All
        };
        self.passes_at_the_end && !self.rules(probe.direction).any(denies)
    }

    fn rules(&self, direction: Direction) -> impl Iterator<Item = &'m Map<String, Value>> + use<'m> {
        let list = self.spec.get(rules_of(direction)).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_object)
    }

    /// Whether it surely selects this Pod.
    pub(super) fn selects(&self, pod: &Labels) -> bool {
        if self.namespace.is_some_and(|namespace| namespace != pod.namespace()) {
            return false;
        }
        if self.family == Family::Kubernetes {
            return self
                .spec
                .get("podSelector")
                .is_none_or(|selector| pod.matches(selector));
        }
        let whole = [
            ("selector", pod.pod()),
            ("namespaceSelector", pod.of_namespace()),
            ("serviceAccountSelector", pod.service_account()),
        ];
        whole.into_iter().all(|(name, labels)| match self.text(name) {
            "" => true,
            text => selector::evaluate(text, labels) == Truth::Yes,
        })
    }

    /// Whether anything may be sent, or received, at all: a rule lets something pass, or the end of the tier may.
    pub(super) fn opens(&self, direction: Direction) -> bool {
        let lets = |rule: &Map<String, Value>| {
            let action = rule.get("action").and_then(Value::as_str);
            self.family == Family::Kubernetes || matches!(action, Some("Allow" | "Pass"))
        };
        self.passes_at_the_end || self.rules(direction).any(lets)
    }

    /// What it selects, ready to be compared with what many others select.
    pub(super) fn selection(&self) -> Selection<'m> {
        let requirements = self.spec.get("podSelector").map(selector::requirements);
        let mut requirements: Vec<String> = requirements.iter().flatten().map(Value::to_string).collect();
        requirements.sort_unstable();
        requirements.dedup();
        let text = |name| match self.text(name) {
            "all()" => "",
            text => text,
        };
        Selection {
            namespace: self.namespace,
            narrowing: ["selector", "namespaceSelector", "serviceAccountSelector"].map(text),
            requirements,
        }
    }

    fn text(&self, name: &str) -> &'m str {
        let text = self.spec.get(name).and_then(Value::as_str).unwrap_or_default();
        text.trim_matches([' ', '\t'])
    }
}

fn rules_of(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    }
}

/// The API server is no Pod: of the peers of an ingress rule only a network can be its.
fn kubernetes_rule(rule: &Map<String, Value>, probe: &Probe) -> bool {
    let fits = |port: &Map<String, Value>| {
        probe.is_protocol(port.get("protocol").unwrap_or(&Value::Null))
            && port
                .get("port")
                .is_none_or(|first| probe.port(first, port.get("endPort")) != Match::No)
    };
    let ports = items(rule, "ports").is_none_or(|ports| ports.iter().filter_map(Value::as_object).any(fits));
    let from_outside = items(rule, "from").is_none_or(|peers| peers.iter().any(|peer| peer.get("ipBlock").is_some()));
    ports && (probe.direction == Direction::Egress || from_outside)
}

/// Whom a rule is about is not looked at closely: a selector may select network sets, and those may be anything.
fn calico_rule(rule: &Map<String, Value>, probe: &Probe) -> Match {
    let is_probes = |name: &str| rule.get(name).map(|protocol| probe.is_protocol(protocol));
    if is_probes("protocol") == Some(false) || is_probes("notProtocol") == Some(true) {
        return Match::No;
    }
    let none = Map::new();
    let side = |name: &str| rule.get(name).and_then(Value::as_object).unwrap_or(&none);
    let (source, destination) = (side("source"), side("destination"));
    let port = |list: &[Value]| probe::best(list.iter().map(|port| probe.port(port, None)));
    let ports = items(destination, "ports").map_or(Match::All, port);
    if ports == Match::No || items(destination, "notPorts").is_some_and(|list| port(list) == Match::All) {
        return Match::No;
    }
    let narrower = |name: &String| !matches!(name.as_str(), "ports");
    let is_narrow = !source.is_empty()
        || destination.keys().any(narrower)
        || ["ipVersion", "http", "icmp", "notICMP"]
            .iter()
            .any(|name| rule.contains_key(*name));
    if is_narrow { Match::Some } else { ports }
}
