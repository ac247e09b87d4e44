//! The chart, against helm and against a real API server: what it renders is accepted, guards what it says,
//! and gives each identity what it needs and no more.

#![expect(clippy::indexing_slicing, reason = "an absent member of a JSON value reads as null")]

#[path = "chart/certificates.rs"]
mod certificates;
#[path = "controlplane/mod.rs"]
mod controlplane;
#[path = "chart/guard.rs"]
mod guard;
#[path = "chart/guard_definitions.rs"]
mod guard_definitions;
#[path = "chart/guard_values.rs"]
mod guard_values;
#[path = "chart/lock.rs"]
mod lock;
#[path = "chart/push.rs"]
mod push;
#[path = "chart/rights.rs"]
mod rights;
#[path = "chart/server.rs"]
mod server;
#[path = "chart/tools.rs"]
mod tools;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use headgate::config::{Config, default_kinds};
use headgate::gate::PolicyGrant;
use headgate::gate::preset::{self, Preset};
use headgate::policy::Kind;
use headgate::source::PolicySource;
use headgate::source::resource::Mode;
use kube::CustomResourceExt as _;
use serde_json::Value;

use tools::*;

#[test]
fn helm_finds_nothing_to_complain_about() -> TestResult {
    for values in variants() {
        succeed(helm(cluster()?, "lint --strict", values).arg(CHART), "")?;
    }
    Ok(())
}

#[test]
fn a_typo_in_the_values_is_refused() -> TestResult {
    for (value, named) in [
        ("config.mod=Audit", "mod"),
        ("config.mode=audit", "mode"),
        ("config.guardedKinds={networkpolicy}", "guardedKinds"),
        ("config.guardedKinds={}", "guardedKinds"),
        ("config.genericKinds[0].group=a.example", "genericKinds"),
        ("config.grants.maxDuration=soon", "maxDuration"),
        ("config.grants.max=4h", "max"),
        ("webhook.replica=3", "replica"),
        ("webhook.replicas=0", "replicas"),
        ("certificate.mode=generate", "certificate"),
        ("certificates.mode=selfmanaged", "mode"),
        ("certificates.selfManaged.validDays=0", "validDays"),
        ("sync.replicas=0", "self-managed needs the sync loop"),
        ("certificates.mode=existing", "certificates.existing"),
        ("image.digest=latest", "digest"),
        ("config.exemptions[0].users={alice}", "kinds"),
        ("config.exemptionPresets[0].name=calico", "exemptionPresets"),
        ("config.exemptionPresets[0].name=calico-datastore-migration", "until"),
        ("config.guardNamespaces=yes-please", "guardNamespaces"),
    ] {
        let error = fail(
            helm(cluster()?, "template headgate", &[&format!("--set={value}")]).arg(CHART),
            "",
        )?;
        assert!(error.contains(named), "{value}: {error}");
    }
    let no_user = r#"{"config": {"exemptions": [{"kinds": ["tier.projectcalico.org"], "reason": "because"}]}}"#;
    let error = fail(
        helm(cluster()?, "template headgate --values=-", &[]).arg(CHART),
        no_user,
    )?;
    assert!(error.contains("users"), "{error}");
    Ok(())
}

#[test]
fn the_definitions_are_those_in_the_code() -> TestResult {
    let rendered = render(&[])?;
    for crd in [PolicySource::crd(), PolicyGrant::crd()] {
        let name = crd.metadata.name.clone().unwrap_or_default();
        let code = serde_json::to_value(crd)?;
        let file = std::fs::read_to_string(format!("{CHART}/files/{name}.yaml"))?;
        let file: Value = serde_saphyr::from_str(&file)?;
        assert!(file == code, "the chart's file {name} is old: run `make crds`");
        let rendered = named(&rendered, "CustomResourceDefinition", &name)?;
        assert_eq!(at(rendered, "/spec"), at(&code, "/spec"));
        assert_eq!(at(rendered, "/metadata/annotations/helm.sh~1resource-policy"), "keep");
    }
    Ok(())
}

const NAMESPACE_DELETION: &str = "namespace-deletion.headgate.dev";

/// Whether an entry is there for the record alone.
fn is_witness(webhook: &Value) -> bool {
    ["trust.headgate.dev", "trust-secrets.headgate.dev"]
        .iter()
        .any(|name| at(webhook, "/name") == *name)
}

/// What the rules of the webhook configuration name, as group, version, resource.
fn guarded(objects: &[Value]) -> Result<BTreeSet<[String; 3]>, Error> {
    let webhooks = named(objects, "ValidatingWebhookConfiguration", "headgate")?;
    let mut guarded = BTreeSet::new();
    let of_objects =
        all(webhooks, "/webhooks").filter(|webhook| at(webhook, "/name") != NAMESPACE_DELETION && !is_witness(webhook));
    for rule in of_objects.flat_map(|webhook| all(webhook, "/rules")) {
        assert_eq!(
            at(rule, "/operations"),
            &serde_json::json!(["CREATE", "UPDATE", "DELETE"])
        );
        assert_eq!(at(rule, "/scope"), "*");
        let [group, version] = ["/apiGroups/0", "/apiVersions/0"].map(|field| at(rule, field).as_str().unwrap_or("?"));
        for resource in all(rule, "/resources") {
            let resource = resource.as_str().unwrap_or("?");
            assert!(
                guarded.insert([group, version, resource].map(str::to_owned)),
                "{resource} is there twice"
            );
        }
    }
    Ok(guarded)
}

fn served(kinds: impl Iterator<Item = Kind>) -> BTreeSet<[String; 3]> {
    let served = |kind: Kind| {
        let definition = kind.definition();
        definition
            .served
            .iter()
            .map(|(group, version)| [*group, *version, definition.plural].map(str::to_owned))
    };
    kinds.flat_map(served).collect()
}

#[test]
fn the_webhook_is_asked_about_every_guarded_kind_in_every_group() -> TestResult {
    assert_eq!(guarded(&render(&[&EVERY_KIND])?)?, served(known_kinds()));
    assert_eq!(guarded(&render(&[])?)?, served(default_kinds()));
    let one = render(&["--set=config.guardedKinds={tier.projectcalico.org}"])?;
    assert_eq!(
        guarded(&one)?,
        served(Kind::of_name("tier.projectcalico.org").into_iter())
    );
    Ok(())
}

#[test]
fn nothing_about_the_webhook_lets_anybody_opt_out() -> TestResult {
    for (values, failure_policy) in [(&[][..], "Fail"), (&[EVERY_KIND.as_str()], "Fail"), (AUDIT, "Ignore")] {
        let objects = render(values)?;
        let webhooks = named(&objects, "ValidatingWebhookConfiguration", "headgate")?;
        for webhook in all(webhooks, "/webhooks").filter(|webhook| !is_witness(webhook)) {
            assert_eq!(at(webhook, "/failurePolicy"), failure_policy);
            assert_eq!(at(webhook, "/matchPolicy"), "Equivalent");
            assert_eq!(at(webhook, "/sideEffects"), "NoneOnDryRun");
            assert!(webhook.get("namespaceSelector").is_none() && webhook.get("objectSelector").is_none());
            let is_about_tiers = at(webhook, "/name") == "calico-tiers.headgate.dev";
            assert_eq!(webhook.get("matchConditions").is_some(), is_about_tiers);
            let others = all(webhook, "/rules")
                .flat_map(|rule| all(rule, "/resources"))
                .any(|name| name != "tiers");
            assert_ne!(others, is_about_tiers, "conditions hold for a whole entry");
        }
    }
    Ok(())
}

#[test]
fn who_changes_what_is_trusted_is_put_on_record_and_never_held_up() -> TestResult {
    for values in [&[][..], AUDIT] {
        let objects = render(values)?;
        let webhooks = named(&objects, "ValidatingWebhookConfiguration", "headgate")?;
        let witnesses: Vec<_> = all(webhooks, "/webhooks")
            .filter(|webhook| is_witness(webhook))
            .collect();
        let [sources, secrets] = witnesses.as_slice() else {
            return Err("an entry for sources and grants, and one for Secrets".into());
        };
        for witness in [sources, secrets] {
            assert_eq!(at(witness, "/failurePolicy"), "Ignore");
            assert_eq!(at(witness, "/timeoutSeconds"), 3);
            assert_eq!(
                at(witness, "/rules/0/operations"),
                &serde_json::json!(["CREATE", "UPDATE", "DELETE"])
            );
        }
        assert_eq!(
            at(sources, "/rules/0/resources"),
            &serde_json::json!(["policysources", "policygrants"])
        );
        // Subresources are not asked about: the loop writes the status all the time.
        assert_eq!(at(secrets, "/rules/0/resources"), &serde_json::json!(["secrets"]));
        let place = "/namespaceSelector/matchLabels/kubernetes.io~1metadata.name";
        assert_eq!(at(secrets, place), "headgate-system");
        assert_eq!(
            at(secrets, "/objectSelector/matchLabels/headgate.dev~1credentials"),
            "true"
        );
    }
    Ok(())
}

#[test]
fn what_is_guarded_in_some_namespaces_is_asked_about_and_written_there_only() -> TestResult {
    let objects = render(GENERIC)?;
    let webhooks = named(&objects, "ValidatingWebhookConfiguration", "headgate")?;
    let limited = all(webhooks, "/webhooks").find(|webhook| at(webhook, "/name") == "namespaces.headgate.dev");
    let limited = limited.ok_or("no webhook for kinds in namespaces")?;
    let condition = at(limited, "/matchConditions/0/expression")
        .as_str()
        .unwrap_or_default();
    assert_eq!(
        condition.split_whitespace().collect::<Vec<_>>().join(" "),
        "(request.resource.group == '' && request.resource.resource == 'configmaps' && request.namespace in ['payments', \
         'web']) || (request.resource.group == 'rbac.authorization.k8s.io' && request.resource.resource == 'roles' && \
         request.namespace in ['payments'])"
    );
    for role in of_kind(&objects, "ClusterRole") {
        assert!(!at(role, "/rules").to_string().contains("configmaps"), "{role}");
    }
    let places: BTreeSet<_> = of_kind(&objects, "Role")
        .filter(|role| at(role, "/metadata/name") == "headgate-sync-guarded")
        .filter(|role| at(role, "/rules").to_string().contains("configmaps"))
        .filter_map(|role| at(role, "/metadata/namespace").as_str())
        .collect();
    assert_eq!(places, BTreeSet::from(["payments", "web"]));
    Ok(())
}

#[test]
fn the_program_understands_the_configuration_that_the_chart_writes() -> TestResult {
    for values in variants() {
        let objects = render(values)?;
        let text = at(named(&objects, "ConfigMap", "headgate")?, "/data/config.yaml").as_str();
        let rules = Config::from_text(text.ok_or("no configuration")?, Path::new("config.yaml"))?.rules;
        assert_eq!(rules.mode == Mode::Audit, values == AUDIT);
        assert_eq!(rules.exemptions.is_empty(), values != CALICO && values != NAMESPACES);
        assert_eq!(rules.guard_namespaces, values == NAMESPACES);
        assert_eq!(guarded(&objects)?, served(rules.guarded.into_iter()));
    }
    Ok(())
}

#[test]
fn the_program_takes_the_arguments_that_the_chart_gives_it() -> TestResult {
    let objects = render(&[])?;
    for deployment in of_kind(&objects, "Deployment") {
        let arguments = all(deployment, "/spec/template/spec/containers/0/args").filter_map(Value::as_str);
        // Arguments are read one after the other, so help is what one gets when all before it were understood.
        let mut headgate = Command::new(env!("CARGO_BIN_EXE_headgate"));
        let help = succeed(headgate.args(arguments).arg("--help"), "")?;
        assert!(help.contains("--metrics-listen"), "{help}");
    }
    Ok(())
}

#[test]
fn deletions_of_namespaces_and_nothing_else_about_them_are_asked_about_where_the_values_say_so() -> TestResult {
    let objects = render(NAMESPACES)?;
    let webhooks = named(&objects, "ValidatingWebhookConfiguration", "headgate")?;
    let about = all(webhooks, "/webhooks").find(|webhook| at(webhook, "/name") == NAMESPACE_DELETION);
    let mut about = about.ok_or("nobody asks")?.clone();
    // The command line prints the same.
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let text = at(named(&objects, "ConfigMap", "headgate")?, "/data/config.yaml").as_str();
    std::fs::write(path("config.yaml"), text.ok_or("no configuration")?)?;
    let mut certs = Command::new(env!("CARGO_BIN_EXE_headgate"));
    succeed(
        certs.args(["certs", "--dns", "localhost", "--out"]).arg(path("certs")),
        "",
    )?;
    let mut headgate = Command::new(env!("CARGO_BIN_EXE_headgate"));
    headgate.args(["webhook-configuration", "--service", "a/b", "-o", "json", "--ca"]);
    let printed = succeed(
        headgate
            .arg(path("certs/ca.crt"))
            .arg("--config")
            .arg(path("config.yaml")),
        "",
    )?;
    let printed: Value = serde_json::from_str(&printed)?;
    let same = all(&printed, "/webhooks").find(|webhook| at(webhook, "/name") == NAMESPACE_DELETION);
    let mut same = same.ok_or("the command line does not ask")?.clone();
    for webhook in [&mut about, &mut same] {
        webhook
            .as_object_mut()
            .and_then(|members| members.remove("clientConfig"));
    }
    assert_eq!(about, same);
    assert_eq!(at(&about, "/rules/0/operations"), &serde_json::json!(["DELETE"]));
    assert_eq!(at(&about, "/failurePolicy"), "Fail");
    let without = render(&[])?;
    let without = named(&without, "ValidatingWebhookConfiguration", "headgate")?;
    assert!(
        !at(without, "/webhooks").to_string().contains("namespaces"),
        "{without}"
    );
    Ok(())
}

#[test]
fn the_schema_knows_the_presets_and_which_need_an_end() -> TestResult {
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(format!("{CHART}/values.schema.json"))?)?;
    let listed = |pointer: &str| all(&schema, pointer).filter_map(Value::as_str).collect::<BTreeSet<_>>();
    assert_eq!(
        listed("/definitions/preset/properties/name/enum"),
        preset::names().collect()
    );
    let mut needing = BTreeSet::new();
    for name in preset::names() {
        if Preset::of_name(name)?.needs_end {
            needing.insert(name);
        }
    }
    assert_eq!(listed("/definitions/preset/if/properties/name/enum"), needing);
    Ok(())
}
