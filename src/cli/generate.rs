//! `headgate crds` and `headgate webhook-configuration`: what the API server has to be told.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, RuleWithOperations, ServiceReference, ValidatingWebhook, ValidatingWebhookConfiguration,
    WebhookClientConfig,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResourceExt as _;
use kube::api::ObjectMeta;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::output::{self, Format};
use super::{Ending, Failure};
use crate::cluster::secrets::CREDENTIALS_LABEL;
use crate::config::Config;
use crate::gate::{PolicyGrant, Rules};
use crate::policy::{Kind, Rank};
use crate::source::PolicySource;
use crate::source::resource::Mode;

/// Leaves out CREATE of the Tiers that Calico makes when it starts: with an unreachable webhook it could not, and the
/// webhook's own Pods may need its network. What Git declares of them is kept by the sync loop.
const BUILT_IN_TIERS: &str = "!(request.operation == 'CREATE' && has(object.metadata.name) && object.metadata.name in \
    ['default', 'kube-admin', 'kube-baseline', 'adminnetworkpolicy', 'baselineadminnetworkpolicy'])";

/// A namespace that is going has to be able to end, whether the webhook can be reached or not.
const NOT_GOING: &str = "!has(oldObject.metadata.deletionTimestamp)";

#[derive(Debug, Args)]
pub(super) struct CrdArguments {
    /// Only these, by the plural of their resource, as policysources; left out: all
    #[arg(value_name = "RESOURCE", value_parser = ["policysources", "policygrants"])]
    resources: Vec<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Format::Yaml)]
    output: Format,
}

#[derive(Debug, Args)]
pub(super) struct WebhookConfigurationArguments {
    /// Where the API server reaches the webhook, as in <https://127.0.0.1:8443>
    #[arg(long, required_unless_present = "service", conflicts_with = "service")]
    url: Option<String>,
    /// The Service of the webhook, for one that runs in the cluster
    #[arg(long, value_name = "NAMESPACE/NAME")]
    service: Option<String>,
    /// The certificates that the API server shall trust, as PEM
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// The configuration, which names the guarded kinds and the mode
    #[arg(long, env = "HEADGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The configuration's name
    #[arg(long, default_value = "headgate")]
    name: String,
    /// Headgate's own namespace, whose Secrets sources may name
    #[arg(
        long,
        env = "HEADGATE_NAMESPACE",
        value_name = "NAME",
        default_value = "headgate-system"
    )]
    namespace: String,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Format::Yaml)]
    output: Format,
}

pub(super) fn crds(arguments: &CrdArguments) -> Result<Ending, Failure> {
    let all = [PolicySource::crd(), PolicyGrant::crd()];
    let asked = |crd: &CustomResourceDefinition| {
        arguments.resources.is_empty() || arguments.resources.contains(&crd.spec.names.plural)
    };
    let definitions: Vec<_> = all.into_iter().filter(asked).collect();
    match (definitions.as_slice(), arguments.output) {
        ([one], format) => output::print_structured(one, format)?,
        (many, Format::Json) => {
            let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": many});
            output::print_structured(&list, Format::Json)?;
        }
        (many, _) => {
            let documents: Vec<String> = many.iter().map(output::yaml).collect::<Result<_, _>>()?;
            output::print(&documents.join("---\n"))?;
        }
    }
    Ok(Ending::Clean)
}

pub(super) fn webhook_configuration(arguments: &WebhookConfigurationArguments) -> Result<Ending, Failure> {
    let rules = Config::read(arguments.config.as_deref())?.rules;
    let ca =
        std::fs::read(&arguments.ca).map_err(|error| format!("{} cannot be read: {error}", arguments.ca.display()))?;
    check_ca(&ca).map_err(|why| format!("{}: {why}", arguments.ca.display()))?;
    let client_config = client_config(arguments, ca)?;
    let mut configuration = configuration(&arguments.name, &client_config, &rules);
    let witnesses = witnesses(&client_config, &arguments.namespace);
    configuration.webhooks.get_or_insert_default().extend(witnesses);
    let mut value = serde_json::to_value(&configuration)?;
    if let Some(object) = value.as_object_mut() {
        object.insert("apiVersion".to_owned(), "admissionregistration.k8s.io/v1".into());
        object.insert("kind".to_owned(), "ValidatingWebhookConfiguration".into());
    }
    output::print_structured(&value, arguments.output)?;
    Ok(Ending::Clean)
}

/// What is printed is read by many: it must be certificates, and nothing else.
fn check_ca(pem: &[u8]) -> Result<(), &'static str> {
    if String::from_utf8_lossy(pem).contains("PRIVATE KEY") {
        return Err("a private key is in it; name the certificate of the authority");
    }
    let mut certificates = CertificateDer::pem_slice_iter(pem).peekable();
    if certificates.peek().is_none() || certificates.any(|certificate| certificate.is_err()) {
        return Err("there is no certificate in it that can be read");
    }
    Ok(())
}

fn client_config(arguments: &WebhookConfigurationArguments, ca: Vec<u8>) -> Result<WebhookClientConfig, Failure> {
    let mut config = WebhookClientConfig {
        ca_bundle: Some(ByteString(ca)),
        ..WebhookClientConfig::default()
    };
    match (&arguments.url, &arguments.service) {
        (Some(url), _) => config.url = Some(endpoint(url)?),
        (None, Some(service)) => {
            let (namespace, name) = service.split_once('/').ok_or("--service: expected NAMESPACE/NAME")?;
            config.service = Some(ServiceReference {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                path: Some("/validate".to_owned()),
                port: Some(443),
            });
        }
        (None, None) => return Err("one of --url and --service is needed".into()),
    }
    Ok(config)
}

fn endpoint(text: &str) -> Result<String, Failure> {
    let mut url = url::Url::parse(text).map_err(|error| format!("--url: \"{text}\" is not a URL: {error}"))?;
    if url.scheme() != "https" {
        return Err("--url: the API server calls webhooks by https only".into());
    }
    if url.path() == "/" {
        url.set_path("/validate");
    }
    Ok(url.into())
}

fn configuration(name: &str, client_config: &WebhookClientConfig, rules: &Rules) -> ValidatingWebhookConfiguration {
    let failure_policy = match rules.mode {
        Mode::Enforce => "Fail",
        Mode::Audit => "Ignore",
    };
    let is_limited = |kind: &Kind| !kind.definition().namespaces.is_empty();
    let (limited, everywhere): (Vec<Kind>, Vec<Kind>) = rules.guarded.iter().partition(|kind| is_limited(kind));
    let (tiers, others): (Vec<Kind>, Vec<Kind>) = everywhere
        .into_iter()
        .partition(|kind| kind.definition().rank == Rank::Tier);
    let webhook = |name: &str, kinds: &[Kind], conditions: Option<Vec<MatchCondition>>| ValidatingWebhook {
        name: format!("{name}.headgate.dev"),
        admission_review_versions: vec!["v1".to_owned()],
        client_config: client_config.clone(),
        failure_policy: Some(failure_policy.to_owned()),
        match_policy: Some("Equivalent".to_owned()),
        side_effects: "NoneOnDryRun".to_owned(),
        timeout_seconds: Some(10),
        rules: Some(api_rules(kinds)),
        match_conditions: conditions,
        ..ValidatingWebhook::default()
    };
    let but_built_in = MatchCondition {
        name: "not-creation-of-built-in-tiers".to_owned(),
        expression: BUILT_IN_TIERS.to_owned(),
    };
    let in_namespaces = MatchCondition {
        name: "in-namespaces-where-it-is-guarded".to_owned(),
        expression: where_guarded(&limited),
    };
    let not_going = MatchCondition {
        name: "not-going-already".to_owned(),
        expression: NOT_GOING.to_owned(),
    };
    let webhooks = [
        (!others.is_empty()).then(|| webhook("policies", &others, None)),
        (!tiers.is_empty()).then(|| webhook("calico-tiers", &tiers, Some(vec![but_built_in]))),
        (!limited.is_empty()).then(|| webhook("namespaces", &limited, Some(vec![in_namespaces]))),
        rules.guard_namespaces.then(|| ValidatingWebhook {
            rules: Some(vec![deletions_of_namespaces()]),
            ..webhook("namespace-deletion", &[], Some(vec![not_going]))
        }),
    ];
    ValidatingWebhookConfiguration {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        webhooks: Some(webhooks.into_iter().flatten().collect()),
    }
}

/// Reviews of changes of what is trusted, by which it is put on record who asks. They are never refused, and nobody waits
/// long for them where the webhook cannot be reached: sources and Secrets are what Headgate is set up with.
fn witnesses(client_config: &WebhookClientConfig, namespace: &str) -> [ValidatingWebhook; 2] {
    let rule = |group: &str, version: &str, resources: &[&str], scope: &str| RuleWithOperations {
        api_groups: Some(vec![group.to_owned()]),
        api_versions: Some(vec![version.to_owned()]),
        operations: Some(["CREATE", "UPDATE", "DELETE"].map(str::to_owned).to_vec()),
        resources: Some(resources.iter().map(ToString::to_string).collect()),
        scope: Some(scope.to_owned()),
    };
    let labelled = |name: &str, value: &str| LabelSelector {
        match_labels: Some(BTreeMap::from([(name.to_owned(), value.to_owned())])),
        ..LabelSelector::default()
    };
    let witness = |name: &str, rule: RuleWithOperations| ValidatingWebhook {
        name: format!("{name}.headgate.dev"),
        admission_review_versions: vec!["v1".to_owned()],
        client_config: client_config.clone(),
        failure_policy: Some("Ignore".to_owned()),
        match_policy: Some("Equivalent".to_owned()),
        side_effects: "NoneOnDryRun".to_owned(),
        timeout_seconds: Some(3),
        rules: Some(vec![rule]),
        ..ValidatingWebhook::default()
    };
    let sources = rule(
        "headgate.dev",
        "v1alpha1",
        &["policysources", "policygrants"],
        "Cluster",
    );
    [
        witness("trust", sources),
        ValidatingWebhook {
            namespace_selector: Some(labelled("kubernetes.io/metadata.name", namespace)),
            object_selector: Some(labelled(CREDENTIALS_LABEL, "true")),
            ..witness("trust-secrets", rule("", "v1", &["secrets"], "Namespaced"))
        },
    ]
}

/// The API server does not even ask about a kind in namespaces where it is not guarded. A namespace's name is in the
/// request itself; its labels anybody might change.
fn where_guarded(kinds: &[Kind]) -> String {
    let quoted = |text: &&str| format!("'{text}'");
    let condition = |kind: &Kind| {
        let definition = kind.definition();
        format!(
            "(request.resource.group == '{}' && request.resource.resource == '{}' && request.namespace in [{}])",
            definition.group,
            definition.plural,
            definition.namespaces.iter().map(quoted).collect::<Vec<_>>().join(", ")
        )
    };
    kinds.iter().map(condition).collect::<Vec<_>>().join(" || ")
}

fn deletions_of_namespaces() -> RuleWithOperations {
    RuleWithOperations {
        api_groups: Some(vec![String::new()]),
        api_versions: Some(vec!["v1".to_owned()]),
        operations: Some(vec!["DELETE".to_owned()]),
        resources: Some(vec!["namespaces".to_owned()]),
        scope: Some("Cluster".to_owned()),
    }
}

/// One rule a group version, each resource by its name: a wildcard would let unguarded kinds hang on Headgate too.
fn api_rules(kinds: &[Kind]) -> Vec<RuleWithOperations> {
    let mut resources: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for kind in kinds {
        let definition = kind.definition();
        for served in definition.served {
            resources.entry(*served).or_default().push(definition.plural.to_owned());
        }
    }
    let rule = |((group, version), resources): ((&str, &str), Vec<String>)| RuleWithOperations {
        api_groups: Some(vec![group.to_owned()]),
        api_versions: Some(vec![version.to_owned()]),
        operations: Some(["CREATE", "UPDATE", "DELETE"].map(str::to_owned).to_vec()),
        resources: Some(resources),
        scope: Some("*".to_owned()),
    };
    resources.into_iter().map(rule).collect()
}
