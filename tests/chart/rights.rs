//! What each identity may do, asked of the API server.

use headgate::policy::Kind;
use headgate::policy::kind::Definition;
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use kube::Api;
use kube::api::PostParams;

use crate::tools::*;

/// Verbs, API group, resource (with its subresource or an object's name), namespace: `""` for all namespaces or none.
type Right = (&'static str, &'static str, &'static str, &'static str);

const READ: &str = "get list watch";
const KEEP: &str = "get list watch create update delete";
/// What RBAC checks when a delete asks to skip what cannot be read: admission is skipped with it.
const UNSAFE: &str = "unsafe-delete-ignore-read-errors";

const WEBHOOK_MAY: &[Right] = &[
    (READ, "headgate.dev", "policysources", ""),
    (READ, "headgate.dev", "policygrants", ""),
    (READ, "", "namespaces", ""),
    ("get", "", "secrets", NAMESPACE),
    ("create patch", "", "events", NAMESPACE),
    ("create patch", "events.k8s.io", "events", NAMESPACE),
    (READ, "", "secrets headgate-webhook-certs", NAMESPACE),
];
const WEBHOOK_MAY_NOT: &[Right] = &[
    (
        "create update patch delete",
        "",
        "secrets headgate-webhook-certs",
        NAMESPACE,
    ),
    (READ, "discovery.k8s.io", "endpointslices", NAMESPACE),
    ("update patch", "headgate.dev", "policysources", ""),
    ("update patch", "headgate.dev", "policysources/status", ""),
    ("update patch", "headgate.dev", "policygrants/status", ""),
    ("get create", "coordination.k8s.io", "leases", NAMESPACE),
];
const SYNC_MAY: &[Right] = &[
    (READ, "headgate.dev", "policysources", ""),
    ("patch", "headgate.dev", "policysources", ""),
    ("patch", "headgate.dev", "policysources/status", ""),
    (READ, "headgate.dev", "policygrants", ""),
    ("patch", "headgate.dev", "policygrants/status", ""),
    (READ, "", "namespaces", ""),
    (KEEP, "projectcalico.org", "tier.networkpolicies", "payments"),
    (KEEP, "projectcalico.org", "tier.globalnetworkpolicies", ""),
    (KEEP, "projectcalico.org", "tier.stagednetworkpolicies", "payments"),
    (KEEP, "projectcalico.org", "tier.stagedglobalnetworkpolicies", ""),
    ("get", "", "secrets", NAMESPACE),
    ("create patch", "", "events", NAMESPACE),
    ("create patch", "events.k8s.io", "events", NAMESPACE),
    ("create", "coordination.k8s.io", "leases", NAMESPACE),
    ("get update", "coordination.k8s.io", "leases headgate-sync", NAMESPACE),
    ("get", "apiregistration.k8s.io", "apiservices v3.projectcalico.org", ""),
    (READ, "", "configmaps headgate-own", NAMESPACE),
    ("get create patch", "", "secrets headgate-trust", NAMESPACE),
    (
        "get list watch create patch",
        "",
        "secrets headgate-webhook-certs",
        NAMESPACE,
    ),
    ("list", "discovery.k8s.io", "endpointslices", NAMESPACE),
    (
        "get list watch update",
        WEBHOOKS,
        "validatingwebhookconfigurations headgate",
        "",
    ),
    (
        "get list watch update",
        WEBHOOKS,
        "validatingadmissionpolicies headgate-sources",
        "",
    ),
    (
        "get list watch update",
        WEBHOOKS,
        "validatingadmissionpolicybindings headgate-sources",
        "",
    ),
    // RBAC cannot tell what is created by its name.
    ("create", WEBHOOKS, "validatingwebhookconfigurations", ""),
    ("create", WEBHOOKS, "validatingadmissionpolicies", ""),
    ("create", WEBHOOKS, "validatingadmissionpolicybindings", ""),
];
const NEITHER_MAY: &[Right] = &[
    ("* create update delete", "headgate.dev", "policysources", ""),
    ("* create update patch delete", "headgate.dev", "policygrants", ""),
    ("* create update patch delete", "", "namespaces", ""),
    (READ, "", "secrets", ""),
    (READ, "", "secrets", "default"),
    ("* list watch create update patch delete", "", "secrets", NAMESPACE),
    ("update delete", "", "secrets headgate-webhook-certs", NAMESPACE),
    ("list watch update delete", "", "secrets headgate-trust", NAMESPACE),
    (
        "get watch create update patch delete",
        "discovery.k8s.io",
        "endpointslices",
        NAMESPACE,
    ),
    ("list", "discovery.k8s.io", "endpointslices", ""),
    ("get list delete", "", "events", NAMESPACE),
    ("create", "", "events", "default"),
    ("get create", "coordination.k8s.io", "leases", "kube-system"),
    ("get update patch delete", "coordination.k8s.io", "leases", NAMESPACE),
    ("get list update", "apiregistration.k8s.io", "apiservices", ""),
    ("get create update patch delete", "", "pods", NAMESPACE),
    ("get create", "", "pods/exec", NAMESPACE),
    ("get update", "", "configmaps", NAMESPACE),
    ("create", "", "serviceaccounts/token", NAMESPACE),
    ("impersonate", "", "users", ""),
    ("get update delete", WEBHOOKS, "validatingwebhookconfigurations", ""),
    ("get update delete", WEBHOOKS, "validatingadmissionpolicies", ""),
    ("get update delete", WEBHOOKS, "validatingadmissionpolicybindings", ""),
    ("delete patch", WEBHOOKS, "validatingwebhookconfigurations headgate", ""),
    ("update patch", "", "configmaps headgate-own", NAMESPACE),
    ("get create update", WEBHOOKS, "mutatingwebhookconfigurations", ""),
    ("bind escalate create", "rbac.authorization.k8s.io", "clusterroles", ""),
    ("update delete", "apiextensions.k8s.io", "customresourcedefinitions", ""),
    ("create", "networking.k8s.io", "ingresses", "payments"),
    ("get create", "policy.networking.k8s.io", "adminnetworkpolicies", ""),
    ("get create", "cilium.io", "ciliumnetworkpolicies", "payments"),
];
const WEBHOOKS: &str = "admissionregistration.k8s.io";

/// Asks the API server itself, which reads roles and bindings as it would for a request.
async fn expect(account: &str, expected: bool, rights: &[Right]) -> TestResult {
    let reviews: Api<SubjectAccessReview> = Api::all(cluster()?.client().await?);
    for (verbs, group, resource, namespace) in rights {
        let (resource, name) = resource.split_once(' ').unwrap_or((resource, ""));
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        for verb in verbs.split(' ') {
            let review = serde_json::from_value(serde_json::json!({
                "spec": {
                    "user": format!("system:serviceaccount:{NAMESPACE}:headgate-{account}"),
                    "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{NAMESPACE}"), "system:authenticated"],
                    "resourceAttributes": {
                        "verb": verb, "group": group, "resource": resource, "subresource": subresource, "name": name,
                        "namespace": namespace,
                    },
                },
            }))?;
            let answer = reviews.create(&PostParams::default(), &review).await?;
            let allowed = answer.status.is_some_and(|status| status.allowed);
            assert_eq!(
                allowed, expected,
                "{account}: {verb} {group} {resource} {subresource} {name} in {namespace:?}"
            );
        }
    }
    Ok(())
}

fn guarded(verbs: &'static str) -> Vec<Right> {
    let rights = |kind: &'static Definition| {
        let namespace = if kind.namespaced { "payments" } else { "" };
        let right = move |(group, _): &(&'static str, _)| (verbs, *group, kind.plural, namespace);
        kind.served.iter().map(right)
    };
    let by_default = |kind: &&Definition| !OFF_BY_DEFAULT.contains(&kind.group);
    known_kinds()
        .map(Kind::definition)
        .filter(by_default)
        .flat_map(rights)
        .collect()
}

#[tokio::test]
async fn the_webhook_may_read_and_not_write() -> TestResult {
    expect("webhook", true, WEBHOOK_MAY).await?;
    expect("webhook", false, WEBHOOK_MAY_NOT).await?;
    expect("webhook", false, NEITHER_MAY).await?;
    expect("webhook", false, &guarded(KEEP)).await?;
    expect("webhook", false, &guarded(UNSAFE)).await
}

#[tokio::test]
async fn the_loop_may_write_what_is_guarded_and_nothing_else() -> TestResult {
    expect("sync", true, SYNC_MAY).await?;
    expect("sync", true, &guarded(KEEP)).await?;
    expect("sync", false, NEITHER_MAY).await?;
    expect("sync", false, &guarded("* patch deletecollection")).await?;
    expect("sync", false, &guarded(UNSAFE)).await
}

#[test]
fn no_role_has_a_wildcard() -> TestResult {
    let objects = render(&[&EVERY_KIND])?;
    let roles: Vec<_> = of_kind(&objects, "ClusterRole")
        .chain(of_kind(&objects, "Role"))
        .collect();
    assert_eq!(roles.len(), 7);
    for rule in roles.into_iter().flat_map(|role| all(role, "/rules")) {
        assert!(!rule.to_string().contains('*'), "{rule}");
    }
    Ok(())
}

#[test]
fn the_secrets_that_may_be_read_can_be_named() -> TestResult {
    let objects = render(&["--set=rbac.secretNames={acme-git}"])?;
    let reading = ["headgate-webhook", "headgate-sync"];
    for role in of_kind(&objects, "Role").filter(|role| reading.iter().any(|name| at(role, "/metadata/name") == *name))
    {
        let secrets = all(role, "/rules").find(|rule| at(rule, "/resources/0") == "secrets");
        let names = secrets.and_then(|rule| rule.get("resourceNames"));
        assert_eq!(names, Some(&serde_json::json!(["acme-git"])));
    }
    Ok(())
}
