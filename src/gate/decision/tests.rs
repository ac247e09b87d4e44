//! The decision table, a sentence a row.

#![expect(
    clippy::needless_pass_by_value,
    reason = "objects are handed over so that the tests read as sentences"
)]

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Basis, Lenience, Reason, decide};
use crate::gate::{DryRun, Exemption, ExemptionSpec, GrantSet, Operation, Request, Rules, Subject, Uncovered};
use crate::policy::{Key, canonicalize};
use crate::source::resource::{Git, Mode, OnRemoval, PolicySourceSpec, Prune, Scope, WhenStale};
use crate::source::{BlobId, Commit, DesiredState, Entry, Settings, Snapshot, SourceState};

mod calico_server;
mod namespaces;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 365 * 50)
}

fn spec() -> PolicySourceSpec {
    PolicySourceSpec {
        git: Git {
            url: "https://git.example.com/acme/policies.git".to_owned(),
            interval: "30s".to_owned(),
            ..Git::default()
        },
        max_removals: "20%".to_owned(),
        stale_after: "10m".to_owned(),
        ..PolicySourceSpec::default()
    }
}

/// A policy whose content is told by its port.
fn policy(namespace: &str, name: &str, port: u16) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": "2019-01-01T00:00:00Z"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"],
                 "ingress": [{"ports": [{"protocol": "TCP", "port": port}]}]}
    })
}

fn snapshot(declared: &[Value]) -> Result<Snapshot, Box<dyn std::error::Error>> {
    let mut entries = HashMap::new();
    for (index, object) in declared.iter().enumerate() {
        let canonical = canonicalize(object.clone())?;
        let entry = Entry {
            digest: canonical.digest()?,
            path: "policies.yaml".into(),
            blob: BlobId([0; 20]),
            index,
            line: 1,
        };
        entries.insert(canonical.key, entry);
    }
    let commit = Commit {
        id: "3f2a91c0000000000000000000000000000000000"
            .get(..40)
            .unwrap_or_default()
            .to_owned(),
        tree: String::new(),
        time: now(),
        author: "Ada".to_owned(),
        subject: "Allow the web".to_owned(),
    };
    Ok(Snapshot {
        commit,
        entries,
        skipped: Vec::new(),
        ignored: 0,
    })
}

fn source(name: &str, spec: &PolicySourceSpec, declared: &[Value]) -> Result<SourceState, Box<dyn std::error::Error>> {
    Ok(SourceState {
        name: name.into(),
        settings: Arc::new(Settings::from_spec(spec, false)?),
        head: Some(Arc::new(snapshot(declared)?)),
        had_head: true,
        confirmed_at: Some(now()),
        adopted_at: Some(now() - SignedDuration::from_hours(1)),
        being_removed: false,
        is_behind: false,
        formerly: Arc::default(),
    })
}

fn rules() -> Rules {
    Rules {
        mode: Mode::Enforce,
        uncovered: Uncovered::Deny,
        dry_run: DryRun::Deny,
        guarded: Vec::new(),
        exemptions: Vec::new(),
        guard_namespaces: false,
    }
}

fn request(
    operation: Operation,
    object: Option<Value>,
    old_object: Option<Value>,
) -> Result<Subject, Box<dyn std::error::Error>> {
    let any = object.as_ref().or(old_object.as_ref()).cloned().unwrap_or_default();
    let text = |pointer: &str| {
        any.pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let api_version = text("/apiVersion");
    let (group, version) = crate::policy::kind::split_api_version(&api_version);
    let review = json!({"request": {
        "uid": "u", "kind": {"group": group, "version": version, "kind": text("/kind")},
        "name": text("/metadata/name"), "namespace": text("/metadata/namespace"), "operation": operation,
        "userInfo": {"username": "alice", "groups": ["system:masters"]},
        "object": object, "oldObject": old_object
    }});
    let request = Request::read(review.to_string().as_bytes()).map_err(|(_, error)| error)?;
    Ok(Subject::new(request)?)
}

fn create(object: Value) -> Result<Subject, Box<dyn std::error::Error>> {
    request(Operation::Create, Some(object), None)
}

fn delete(object: Value) -> Result<Subject, Box<dyn std::error::Error>> {
    request(Operation::Delete, None, Some(object))
}

fn update(old: Value, new: Value) -> Result<Subject, Box<dyn std::error::Error>> {
    request(Operation::Update, Some(new), Some(old))
}

fn with(mut object: Value, pointer: &str, key: &str, value: Value) -> Value {
    if let Some(place) = object.pointer_mut(pointer).and_then(Value::as_object_mut) {
        place.insert(key.to_owned(), value);
    }
    object
}

/// The decision in a cluster with these sources.
fn verdict(subject: &Subject, sources: Vec<SourceState>, rules: &Rules) -> (Reason, bool) {
    verdict_in(subject, sources, rules, &HashSet::new())
}

fn verdict_in(
    subject: &Subject,
    sources: Vec<SourceState>,
    rules: &Rules,
    terminating: &HashSet<String>,
) -> (Reason, bool) {
    verdict_with(subject, sources, rules, terminating, &GrantSet::default())
}

fn verdict_with(
    subject: &Subject,
    sources: Vec<SourceState>,
    rules: &Rules,
    terminating: &HashSet<String>,
    grants: &GrantSet,
) -> (Reason, bool) {
    let desired = DesiredState::new(sources.into_iter().map(Arc::new).collect());
    let verdict = decide(
        subject,
        Basis {
            desired: &desired,
            rules,
            grants,
            terminating,
            now: now(),
        },
    );
    (verdict.reason, verdict.allowed)
}

fn one(declared: &[Value]) -> Result<Vec<SourceState>, Box<dyn std::error::Error>> {
    Ok(vec![source("platform", &spec(), declared)?])
}

#[test]
fn what_git_says_passes_and_anything_else_does_not() -> Outcome {
    let git = policy("payments", "web", 443);
    let declared = [git.clone()];
    let opened = policy("payments", "web", 8443);
    assert_eq!(
        verdict(&create(git.clone())?, one(&declared)?, &rules()),
        (Reason::MatchesHead, true)
    );
    assert_eq!(
        verdict(&create(opened.clone())?, one(&declared)?, &rules()),
        (Reason::Differs, false)
    );
    assert_eq!(
        verdict(&update(git.clone(), opened.clone())?, one(&declared)?, &rules()),
        (Reason::Differs, false)
    );
    assert_eq!(
        verdict(&update(opened, git)?, one(&declared)?, &rules()),
        (Reason::MatchesHead, true)
    );
    let rogue = policy("payments", "rogue", 1);
    assert_eq!(
        verdict(&create(rogue)?, one(&declared)?, &rules()),
        (Reason::NotDeclared, false)
    );
    Ok(())
}

#[test]
fn a_declared_object_may_not_go_and_an_adopted_undeclared_one_may() -> Outcome {
    let git = policy("payments", "web", 443);
    assert_eq!(
        verdict(&delete(git.clone())?, one(std::slice::from_ref(&git))?, &rules()),
        (Reason::StillDeclared, false)
    );
    let young = with(git, "/metadata", "creationTimestamp", json!(now().to_string()));
    assert_eq!(
        verdict(&delete(young)?, one(&[])?, &rules()),
        (Reason::AbsentAtHead, true)
    );
    Ok(())
}

#[test]
fn what_was_there_before_the_source_stays_unless_git_once_declared_it_or_prune_is_all() -> Outcome {
    let old = policy("payments", "legacy", 443);
    assert_eq!(
        verdict(&delete(old.clone())?, one(&[])?, &rules()),
        (Reason::NotAdopted, false)
    );
    let mut once = source("platform", &spec(), &[])?;
    once.formerly = Arc::new(HashSet::from([
        "networkpolicy.networking.k8s.io/payments/legacy".parse::<Key>()?
    ]));
    assert_eq!(
        verdict(&delete(old.clone())?, vec![once], &rules()),
        (Reason::AbsentAtHead, true)
    );
    let mut all = spec();
    all.sync.prune = Prune::All;
    assert_eq!(
        verdict(&delete(old)?, vec![source("platform", &all, &[])?], &rules()),
        (Reason::AbsentAtHead, true)
    );
    Ok(())
}

#[test]
fn nothing_passes_without_a_source_or_without_a_head() -> Outcome {
    let subject = create(policy("payments", "web", 443))?;
    assert_eq!(verdict(&subject, Vec::new(), &rules()), (Reason::NotCovered, false));
    let lenient = Rules {
        uncovered: Uncovered::Allow,
        ..rules()
    };
    assert_eq!(verdict(&subject, Vec::new(), &lenient), (Reason::Uncovered, true));
    let mut headless = source("platform", &spec(), &[])?;
    headless.head = None;
    headless.had_head = false;
    assert_eq!(
        verdict(&subject, vec![headless.clone()], &rules()),
        (Reason::HeadUnknown, false)
    );
    assert_eq!(
        verdict(&subject, vec![headless], &lenient),
        (Reason::HeadUnknown, false)
    );
    Ok(())
}

#[test]
fn a_source_that_lost_its_head_blocks_what_the_others_do_not_declare() -> Outcome {
    let git = policy("payments", "web", 443);
    let mut lost = source("team", &spec(), &[])?;
    lost.head = None;
    let mut never = lost.clone();
    never.had_head = false;
    let platform = || source("platform", &spec(), std::slice::from_ref(&git));
    let rogue = create(policy("payments", "rogue", 1))?;
    assert_eq!(
        verdict(&create(git.clone())?, vec![platform()?, lost.clone()], &rules()),
        (Reason::MatchesHead, true)
    );
    assert_eq!(
        verdict(&rogue, vec![platform()?, lost], &rules()),
        (Reason::HeadUnknown, false)
    );
    assert_eq!(
        verdict(&rogue, vec![platform()?, never], &rules()),
        (Reason::NotDeclared, false)
    );
    Ok(())
}

#[test]
fn the_higher_priority_wins_and_equal_ones_conflict() -> Outcome {
    let (a, b) = (policy("payments", "web", 443), policy("payments", "web", 8443));
    let high = PolicySourceSpec { priority: 10, ..spec() };
    let subject = create(b.clone())?;
    let first = source("a", &spec(), &[a])?;
    assert_eq!(
        verdict(
            &subject,
            vec![first.clone(), source("b", &spec(), std::slice::from_ref(&b))?],
            &rules()
        ),
        (Reason::Conflict, false)
    );
    assert_eq!(
        verdict(&subject, vec![first, source("b", &high, &[b])?], &rules()),
        (Reason::MatchesHead, true)
    );
    Ok(())
}

#[test]
fn a_source_speaks_only_for_its_scope() -> Outcome {
    let scoped = PolicySourceSpec {
        scope: Some(Scope {
            namespaces: Some(vec!["payments".to_owned()]),
            ..Scope::default()
        }),
        ..spec()
    };
    let other = policy("kube-system", "web", 443);
    let sources = vec![source("team", &scoped, std::slice::from_ref(&other))?];
    assert_eq!(verdict(&create(other)?, sources, &rules()), (Reason::NotCovered, false));
    Ok(())
}

#[test]
fn a_stale_head_refuses_where_the_source_says_so() -> Outcome {
    let git = policy("payments", "web", 443);
    let strict = PolicySourceSpec {
        when_stale: WhenStale::Deny,
        ..spec()
    };
    for (spec, expected) in [(spec(), Reason::MatchesHead), (strict, Reason::Stale)] {
        let mut stale = source("platform", &spec, std::slice::from_ref(&git))?;
        stale.confirmed_at = Some(now() - SignedDuration::from_mins(11));
        assert_eq!(verdict(&create(git.clone())?, vec![stale], &rules()).0, expected);
    }
    Ok(())
}

#[test]
fn an_update_that_changes_only_bookkeeping_passes_even_where_git_differs() -> Outcome {
    let live = policy("payments", "web", 8443);
    let touched = with(live.clone(), "/metadata", "resourceVersion", json!("77"));
    let sources = one(&[policy("payments", "web", 443)])?;
    assert_eq!(
        verdict(&update(live.clone(), touched)?, sources, &rules()),
        (Reason::NoChange, true)
    );
    let labelled = with(live.clone(), "/metadata", "labels", json!({"a": "b"}));
    let sources = one(&[policy("payments", "web", 443)])?;
    assert_eq!(
        verdict(&update(live, labelled)?, sources, &rules()),
        (Reason::Differs, false)
    );
    Ok(())
}

#[test]
fn finalizers_may_be_taken_only_from_an_object_that_is_being_deleted() -> Outcome {
    let held = with(
        policy("payments", "web", 443),
        "/metadata",
        "finalizers",
        json!(["example.com/hold"]),
    );
    let freed = policy("payments", "web", 443);
    let going = |object: Value| with(object, "/metadata", "deletionTimestamp", json!("2020-01-01T00:00:00Z"));
    assert_eq!(
        verdict(
            &update(held.clone(), freed.clone())?,
            one(std::slice::from_ref(&held))?,
            &rules()
        ),
        (Reason::Differs, false)
    );
    assert_eq!(
        verdict(
            &update(going(held.clone()), going(freed.clone()))?,
            one(std::slice::from_ref(&held))?,
            &rules()
        ),
        (Reason::NoChange, true)
    );
    assert!(!verdict(&update(going(freed), going(held))?, one(&[])?, &rules()).1);
    Ok(())
}

#[test]
fn the_end_of_a_namespace_takes_its_policies_and_changes_none() -> Outcome {
    let git = policy("payments", "web", 443);
    let terminating = HashSet::from(["payments".to_owned()]);
    let decide_on = |subject: &Subject| -> Result<(Reason, bool), Box<dyn std::error::Error>> {
        Ok(verdict_in(
            subject,
            one(std::slice::from_ref(&git))?,
            &rules(),
            &terminating,
        ))
    };
    let mut ended = delete(git.clone())?;
    ended.user.username = "system:serviceaccount:kube-system:namespace-controller".to_owned();
    assert_eq!(decide_on(&ended)?, (Reason::NamespaceTerminating, true));
    // The controller waits for the Pods to be gone; nobody may be faster.
    assert_eq!(decide_on(&delete(git.clone())?)?, (Reason::StillDeclared, false));
    assert_eq!(
        decide_on(&update(git.clone(), policy("payments", "web", 1))?)?,
        (Reason::Differs, false)
    );
    assert!(!decide_on(&delete(policy("other", "web", 443))?)?.1);
    // Of who ends namespaces, too, an update passes only where it is about finalizers.
    let mut changed = update(git.clone(), policy("payments", "web", 1))?;
    changed.user = ended.user;
    assert_eq!(decide_on(&changed)?, (Reason::Differs, false));
    Ok(())
}

#[test]
fn a_generated_name_is_refused() -> Outcome {
    let generated = with(
        policy("payments", "web-x7k2p", 443),
        "/metadata",
        "generateName",
        json!("web-"),
    );
    assert_eq!(
        verdict(&create(generated.clone())?, one(&[])?, &rules()),
        (Reason::GeneratedName, false)
    );
    Ok(())
}

#[test]
fn an_exemption_lets_its_user_write_its_objects_and_must_name_both_states() -> Outcome {
    let exemption = Exemption::new(ExemptionSpec {
        users: vec!["alice".to_owned()],
        kinds: vec!["networkpolicy.networking.k8s.io".to_owned()],
        labels: [("managed".to_owned(), "yes".to_owned())].into(),
        reason: "test".to_owned(),
        ..ExemptionSpec::default()
    })?;
    let rules = Rules {
        exemptions: vec![exemption],
        ..rules()
    };
    let plain = policy("payments", "web", 1);
    let marked = with(plain.clone(), "/metadata", "labels", json!({"managed": "yes"}));
    assert_eq!(
        verdict(&create(marked.clone())?, one(&[])?, &rules),
        (Reason::Exempt, true)
    );
    assert!(!verdict(&update(plain.clone(), marked)?, one(&[plain])?, &rules).1);
    Ok(())
}

#[test]
fn an_exemption_holds_until_its_end_and_not_a_second_longer() -> Outcome {
    let subject = create(policy("payments", "web", 1))?;
    for (until, expected) in [
        (now() + SignedDuration::from_secs(1), (Reason::Exempt, true)),
        (now(), (Reason::NotDeclared, false)),
    ] {
        let exemption = Exemption::new(ExemptionSpec {
            users: vec!["alice".to_owned()],
            kinds: vec!["networkpolicy.networking.k8s.io".to_owned()],
            until: Some(until),
            reason: "test".to_owned(),
            ..ExemptionSpec::default()
        })?;
        let rules = Rules {
            exemptions: vec![exemption],
            ..rules()
        };
        assert_eq!(verdict(&subject, one(&[])?, &rules), expected);
    }
    Ok(())
}

#[test]
fn audit_lets_pass_what_it_would_refuse() -> Outcome {
    let subject = create(policy("payments", "rogue", 1))?;
    let audit = Rules {
        mode: Mode::Audit,
        ..rules()
    };
    assert_eq!(verdict(&subject, one(&[])?, &audit), (Reason::NotDeclared, true));
    let spec = PolicySourceSpec {
        mode: Mode::Audit,
        ..spec()
    };
    assert_eq!(
        verdict(&subject, vec![source("platform", &spec, &[])?], &rules()),
        (Reason::NotDeclared, true)
    );
    assert_eq!(verdict(&subject, Vec::new(), &rules()), (Reason::NotCovered, false));
    Ok(())
}

#[test]
fn a_dry_run_passes_with_a_warning_only_where_the_configuration_says_so() -> Outcome {
    let warn = Rules {
        dry_run: DryRun::Warn,
        ..rules()
    };
    let real = create(policy("payments", "rogue", 1))?;
    let dry = Subject {
        dry_run: true,
        ..real.clone()
    };
    assert_eq!(verdict(&dry, one(&[])?, &rules()), (Reason::NotDeclared, false));
    assert_eq!(verdict(&dry, one(&[])?, &warn), (Reason::NotDeclared, true));
    assert_eq!(verdict(&real, one(&[])?, &warn), (Reason::NotDeclared, false));
    let desired = DesiredState::new(one(&[])?.into_iter().map(Arc::new).collect());
    let basis = Basis {
        desired: &desired,
        rules: &warn,
        grants: &GrantSet::default(),
        terminating: &HashSet::new(),
        now: now(),
    };
    assert_eq!(decide(&dry, basis).lenience, Some(Lenience::DryRun));
    Ok(())
}

#[test]
fn objects_go_with_a_source_that_is_being_removed_with_prune() -> Outcome {
    let git = policy("payments", "web", 443);
    let mut prune = spec();
    prune.sync.on_removal = OnRemoval::Prune;
    for (spec, expected) in [(spec(), Reason::StillDeclared), (prune, Reason::SourceBeingRemoved)] {
        let mut going = source("platform", &spec, std::slice::from_ref(&git))?;
        going.being_removed = true;
        assert_eq!(verdict(&delete(git.clone())?, vec![going], &rules()).0, expected);
    }
    Ok(())
}

#[test]
fn calicos_own_annotation_on_a_v3_object_is_a_forgery() -> Outcome {
    let set = |annotations: Value| {
        json!({
            "apiVersion": "projectcalico.org/v3", "kind": "NetworkSet",
            "metadata": {"name": "trusted", "namespace": "payments", "annotations": annotations},
            "spec": {"nets": ["10.0.0.0/8"]}
        })
    };
    let forged = set(json!({"projectcalico.org/metadata": "{\"labels\":{\"role\":\"admin\"}}"}));
    let plain = set(json!({}));
    // Calico would hide a stored object whose annotation it cannot read.
    let mut unreadable = set(json!({"projectcalico.org/metadata": "no JSON"}));
    unreadable["apiVersion"] = json!("crd.projectcalico.org/v1");
    assert_eq!(
        verdict(&create(unreadable)?, one(&[])?, &rules()),
        (Reason::ForgedMetadata, false)
    );
    let sources = || one(std::slice::from_ref(&plain));
    assert_eq!(
        verdict(&create(forged.clone())?, sources()?, &rules()),
        (Reason::ForgedMetadata, false)
    );
    assert_eq!(
        verdict(&update(plain.clone(), forged.clone())?, sources()?, &rules()),
        (Reason::ForgedMetadata, false)
    );
    assert_eq!(
        verdict(&update(forged, plain.clone())?, sources()?, &rules()),
        (Reason::MatchesHead, true)
    );
    Ok(())
}

#[test]
fn a_misplaced_calico_object_may_go_and_may_not_be_written() -> Outcome {
    let stored = |port: u16, name: &str| {
        json!({
            "apiVersion": "crd.projectcalico.org/v1", "kind": "NetworkPolicy",
            "metadata": {"name": "elsewhere", "namespace": "payments",
                         "annotations": {"projectcalico.org/metadata": json!({"name": name}).to_string()}},
            "spec": {"tier": "default", "types": ["Ingress"], "order": port}
        })
    };
    let misplaced = stored(1, "web");
    assert_eq!(
        verdict(&create(misplaced.clone())?, one(&[])?, &rules()),
        (Reason::ForgedMetadata, false)
    );
    assert_eq!(
        verdict(&update(misplaced.clone(), stored(2, "web"))?, one(&[])?, &rules()),
        (Reason::ForgedMetadata, false)
    );
    assert_eq!(
        verdict(&delete(misplaced)?, one(&[])?, &rules()),
        (Reason::Misplaced, true)
    );
    Ok(())
}

#[test]
fn calicos_deletion_timestamp_inside_the_annotation_is_judged_as_a_delete() -> Outcome {
    let stored = |metadata: Value| {
        json!({
            "apiVersion": "crd.projectcalico.org/v1", "kind": "NetworkSet",
            "metadata": {"name": "trusted", "namespace": "payments",
                         "annotations": {"projectcalico.org/metadata": metadata.to_string()}},
            "spec": {"nets": ["10.0.0.0/8"]}
        })
    };
    let plain = stored(json!({}));
    let going = stored(
        json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 0,
                              "finalizers": ["foregroundDeletion"]}),
    );
    let subject = update(plain.clone(), going)?;
    assert_eq!(subject.operation, Operation::Delete);
    assert_eq!(
        verdict(&subject, one(&[plain])?, &rules()),
        (Reason::StillDeclared, false)
    );
    Ok(())
}

#[test]
fn every_reason_is_written_once() {
    let names: HashSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(names.len(), Reason::ALL.len());
}

#[test]
fn a_source_without_its_head_is_not_overruled_by_one_of_lower_priority() -> Outcome {
    let git = policy("payments", "web", 443);
    let tenant = || source("tenant", &spec(), std::slice::from_ref(&git));
    let high = PolicySourceSpec {
        priority: 100,
        ..spec()
    };
    let mut platform = source("platform", &high, &[])?;
    platform.head = None;
    let subject = create(git.clone())?;
    let verdict_with = |platform: &SourceState| -> Result<(Reason, bool), Box<dyn std::error::Error>> {
        Ok(verdict(&subject, vec![platform.clone(), tenant()?], &rules()))
    };
    assert_eq!(verdict_with(&platform)?, (Reason::HeadUnknown, false));
    platform.had_head = false;
    assert_eq!(verdict_with(&platform)?, (Reason::MatchesHead, true));
    Ok(())
}

#[test]
fn a_source_on_trial_takes_nothing_from_those_in_force() -> Outcome {
    let subject = create(policy("payments", "rogue", 1))?;
    let audit = PolicySourceSpec {
        mode: Mode::Audit,
        ..spec()
    };
    let trial = || source("a-trial", &audit, &[]);
    let both = vec![trial()?, source("team", &spec(), &[])?];
    assert_eq!(verdict(&subject, both, &rules()), (Reason::NotDeclared, false));
    assert_eq!(verdict(&subject, vec![trial()?], &rules()), (Reason::NotDeclared, true));
    Ok(())
}

#[test]
fn an_object_that_only_claims_to_be_going_is_a_forgery() -> Outcome {
    let stored = |annotation: Value, order: u16| {
        json!({
            "apiVersion": "crd.projectcalico.org/v1", "kind": "NetworkPolicy",
            "metadata": {"name": "web", "namespace": "payments",
                         "annotations": {"projectcalico.org/metadata": annotation.to_string()}},
            "spec": {"tier": "default", "types": ["Ingress"], "order": order}
        })
    };
    let git = stored(json!({}), 1);
    let going = stored(json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}), 1);
    let sources = || one(std::slice::from_ref(&git));
    assert_eq!(
        verdict(&create(going.clone())?, sources()?, &rules()),
        (Reason::ForgedMetadata, false)
    );
    let other = stored(json!({}), 2);
    assert_eq!(
        verdict(&update(other, going)?, sources()?, &rules()),
        (Reason::ForgedMetadata, false)
    );
    Ok(())
}

#[test]
fn a_stored_calico_policy_may_not_lose_its_types() -> Outcome {
    let stored = |spec: Value| {
        json!({
            "apiVersion": "crd.projectcalico.org/v1", "kind": "GlobalNetworkPolicy",
            "metadata": {"name": "deny", "annotations": {}}, "spec": spec
        })
    };
    let git = stored(json!({"tier": "default", "types": ["Ingress"]}));
    let without = stored(json!({"tier": "default"}));
    let sources = || one(std::slice::from_ref(&git));
    assert_eq!(
        verdict(&update(git.clone(), without.clone())?, sources()?, &rules()),
        (Reason::ForgedMetadata, false)
    );
    assert_eq!(
        verdict(&create(without.clone())?, sources()?, &rules()),
        (Reason::ForgedMetadata, false)
    );
    assert!(verdict(&update(without, git.clone())?, sources()?, &rules()).1);
    Ok(())
}

#[test]
fn a_kind_is_guarded_in_the_namespaces_beside_it_and_free_in_others() -> Outcome {
    let text =
        "{group: apps, version: v1, kind: Deployment, plural: deployments, namespaced: true, namespaces: [payments]}";
    serde_saphyr::from_str::<crate::policy::GenericKind>(text)?.register()?;
    let object = |namespace: &str| json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": namespace}});
    let declared = [object("payments"), object("web")];
    for (subject, expected) in [
        (create(object("payments"))?, (Reason::MatchesHead, true)),
        (delete(object("payments"))?, (Reason::StillDeclared, false)),
        (create(object("web"))?, (Reason::NotGuarded, true)),
        (delete(object("web"))?, (Reason::NotGuarded, true)),
    ] {
        assert_eq!(
            verdict(&subject, one(&declared)?, &rules()),
            expected,
            "{}",
            subject.key
        );
    }
    Ok(())
}

mod grants;
