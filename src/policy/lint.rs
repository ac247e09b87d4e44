//! Lints: policies that every server accepts, and that do what nobody meant. Each has a name by which it can be turned
//! off. They look at all policies of a folder together: what one cuts off, another may let through.

mod network;
mod probe;
mod selection;
mod selector;

use std::collections::HashSet;

use super::kind::Family;
use super::manifest::Manifest;
use network::Policy;
use probe::{DNS_PORTS, Direction, Probe, Wanted};
use selection::Selections;
use selector::Labels;

/// A lint, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lint {
    /// A file holds more than one object.
    SeveralObjects,
    /// An object is outside the scope of its source, and would be skipped.
    OutsideScope,
    /// An object is of a kind that the configuration does not guard: nobody would apply it.
    NotGuarded,
    /// A file looks like a manifest, and has a name under which no source reads it.
    NotRead,
    /// Pods may send something, and cannot ask the DNS.
    DnsCutOff,
    /// Headgate's own Pods can reach neither the API server nor Git.
    HeadgateCutOff,
    /// The API server cannot reach Headgate's webhook.
    WebhookCutOff,
}

impl Lint {
    /// Every lint; what the documentation lists.
    pub const ALL: [Lint; 7] = [
        Self::SeveralObjects,
        Self::OutsideScope,
        Self::NotGuarded,
        Self::NotRead,
        Self::DnsCutOff,
        Self::HeadgateCutOff,
        Self::WebhookCutOff,
    ];

    /// The name; it stays the same from release to release.
    pub fn name(self) -> &'static str {
        match self {
            Self::SeveralObjects => "several-objects",
            Self::OutsideScope => "outside-scope",
            Self::NotGuarded => "not-guarded",
            Self::NotRead => "not-read",
            Self::DnsCutOff => "dns-cut-off",
            Self::HeadgateCutOff => "headgate-cut-off",
            Self::WebhookCutOff => "webhook-cut-off",
        }
    }

    /// The lint of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lint| lint.name() == name)
    }
}

impl serde::Serialize for Lint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Where Headgate runs, for the lints that protect it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// Its namespace.
    pub namespace: String,
    /// The port on which its Pods serve the webhook.
    pub webhook_port: u16,
}

/// What a lint found, by the place of the manifest among those it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which manifest.
    pub manifest: usize,
    /// Which lint.
    pub lint: Lint,
    /// The field.
    pub field: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

/// Finds what the policies of a folder cut off together. The time it takes grows with their number, not with its square.
pub fn lint(manifests: &[&Manifest], surroundings: &Surroundings) -> Vec<Finding> {
    let passing = passing_tiers(manifests);
    let policies: Vec<(usize, Policy<'_>)> = manifests
        .iter()
        .enumerate()
        .filter_map(|(index, manifest)| Some((index, Policy::of(manifest, &passing)?)))
        .collect();
    let mut found = without_dns(&policies);
    found.extend(without_headgate(&policies, surroundings));
    found.sort_by_key(|finding| (finding.manifest, finding.lint));
    found
}

/// Policies under which Pods may send something, and cannot ask the DNS. One that lets nothing be sent cuts off no more than it
/// says; where another lets something be sent beside it, that one is looked at.
fn without_dns(policies: &[(usize, Policy<'_>)]) -> Vec<Finding> {
    let lets = |policy: &Policy<'_>| Probe::DNS.iter().any(|probe| policy.lets(probe));
    let stops = |policy: &Policy<'_>| Probe::DNS.iter().all(|probe| policy.stops(probe));
    let opening = policies.iter().filter(|(_, policy)| lets(policy));
    let opening = Selections::new(opening.map(|(_, policy)| policy.selection()).collect());
    let mut found = Vec::new();
    for (manifest, policy) in policies {
        if policy.opens(Direction::Egress) && stops(policy) && !opening.select_all_of(&policy.selection()) {
            found.push(Finding {
                manifest: *manifest,
                lint: Lint::DnsCutOff,
                field: policy.field(Direction::Egress),
                message: dns_message(policy),
            });
        }
    }
    found
}

/// Policies that cut off Headgate's own Pods, each told once a lint.
fn without_headgate(policies: &[(usize, Policy<'_>)], surroundings: &Surroundings) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    let mut told = HashSet::new();
    for (lint, probe, role) in guarded(surroundings) {
        let pod = Labels::of_headgate(&surroundings.namespace, role);
        if policies
            .iter()
            .any(|(_, other)| other.lets(&probe) && other.selects(&pod))
        {
            continue;
        }
        for (manifest, policy) in policies {
            if policy.stops(&probe) && policy.selects(&pod) && told.insert((lint, *manifest)) {
                found.push(Finding {
                    manifest: *manifest,
                    lint,
                    field: policy.field(probe.direction),
                    message: guarded_message(lint, surroundings),
                });
            }
        }
    }
    found
}

/// What must stay possible for Headgate: for which lint, what, and to which of its Pods.
fn guarded(surroundings: &Surroundings) -> [(Lint, Probe, &'static str); 3] {
    let out = Probe {
        direction: Direction::Egress,
        protocol: probe::TCP,
        wanted: Wanted::AnyBut(&DNS_PORTS),
    };
    let webhook = Probe {
        direction: Direction::Ingress,
        protocol: probe::TCP,
        wanted: Wanted::Port(surroundings.webhook_port, Some("https")),
    };
    [
        (Lint::HeadgateCutOff, out, "webhook"),
        (Lint::HeadgateCutOff, out, "sync"),
        (Lint::WebhookCutOff, webhook, "webhook"),
    ]
}

fn dns_message(policy: &Policy<'_>) -> String {
    let why = if Probe::DNS_BY_TCP.iter().any(|probe| policy.lets(probe)) {
        "port 53 is open for TCP only, and DNS asks by UDP"
    } else {
        "egress is restricted, and no rule here or in another policy of this folder opens port 53"
    };
    format!("what this selects cannot resolve names: {why}. Allow UDP and TCP to port 53 of the cluster's DNS")
}

fn guarded_message(lint: Lint, surroundings: &Surroundings) -> String {
    let Surroundings {
        namespace,
        webhook_port,
    } = surroundings;
    if lint == Lint::WebhookCutOff {
        format!(
            "this selects Headgate's Pods in {namespace}, and lets the API server not reach their webhook: every write of a \
             guarded object would be refused. Allow TCP port {webhook_port} from outside the Pods' network, or leave them out"
        )
    } else {
        format!(
            "this selects Headgate's Pods in {namespace}, and lets them reach neither the API server nor Git: no commit would \
             arrive any more. Allow TCP to both, or leave them out"
        )
    }
}

/// Tiers whose end lets pass what no policy decided.
fn passing_tiers<'m>(manifests: &[&'m Manifest]) -> HashSet<&'m str> {
    let tiers = manifests.iter().filter(|manifest| {
        let definition = manifest.key.kind().definition();
        definition.family == Family::Calico && definition.kind == "Tier"
    });
    let passes = |manifest: &&&Manifest| {
        let action = manifest.form.pointer("/spec/defaultAction");
        action.is_some_and(|action| action == "Pass")
    };
    tiers.filter(passes).map(|manifest| manifest.key.name()).collect()
}

#[cfg(test)]
mod tests;
