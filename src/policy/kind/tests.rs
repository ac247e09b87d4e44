use super::*;

#[test]
fn both_calico_groups_name_one_kind() {
    let v3 = Kind::of_manifest("projectcalico.org/v3", "NetworkPolicy");
    assert!(v3.is_some());
    assert_eq!(v3, Kind::of_manifest("crd.projectcalico.org/v1", "NetworkPolicy"));
    assert_ne!(v3, Kind::of_manifest("networking.k8s.io/v1", "NetworkPolicy"));
}

#[test]
fn a_kind_without_group_is_not_guarded() {
    assert_eq!(Kind::of_manifest("v1", "NetworkPolicy"), None);
    assert_eq!(Kind::of_manifest("networking.k8s.io/v1", "Ingress"), None);
}

#[test]
fn people_may_name_a_kind_as_kubectl_does() {
    let named = |name| Kind::of_name(name).map(|kind| kind.to_string());
    assert_eq!(
        named("NetworkPolicy").as_deref(),
        Some("networkpolicy.networking.k8s.io")
    );
    assert_eq!(
        named("networkpolicies.projectcalico.org").as_deref(),
        Some("networkpolicy.projectcalico.org")
    );
    assert_eq!(named("tiers").as_deref(), Some("tier.projectcalico.org"));
    assert_eq!(named("pods"), None);
}

fn generic(text: &str) -> Result<Kind, GenericKindError> {
    let parsed: Result<GenericKind, _> = serde_saphyr::from_str(text);
    parsed.unwrap_or_default().register()
}

#[test]
fn a_configured_kind_is_found_by_every_name() -> Result<(), GenericKindError> {
    assert_eq!(Kind::of_manifest("kinds.test.example/v1", "Firewall"), None);
    let kind =
        generic("{group: kinds.test.example, version: v1, kind: Firewall, plural: firewalls, namespaced: true}")?;
    assert_eq!(Kind::of_manifest("kinds.test.example/v1", "Firewall"), Some(kind));
    assert_eq!(Kind::of_resource("kinds.test.example", "firewalls"), Some(kind));
    assert_eq!(Kind::of_name(&kind.to_string()), Some(kind));
    assert!(kind.guards(Some("anywhere"), "x") && kind.parts() == [None]);
    let again =
        generic("{group: kinds.test.example, version: v1, kind: Firewall, plural: firewalls, namespaced: true}")?;
    assert_eq!(again, kind);
    let other =
        generic("{group: kinds.test.example, version: v2, kind: Firewall, plural: firewalls, namespaced: true}");
    assert!(matches!(other, Err(GenericKindError::Contradiction { .. })));
    Ok(())
}

#[test]
fn a_kind_of_the_core_group_is_guarded_where_it_is_listed() -> Result<(), GenericKindError> {
    let kind = generic(
        "{group: '', version: v1, kind: LimitRange, plural: limitranges, namespaced: true, namespaces: [payments]}",
    )?;
    assert_eq!(Kind::of_manifest("v1", "LimitRange"), Some(kind));
    assert_eq!(kind.to_string(), "limitrange");
    assert_eq!(Kind::of_name("limitrange"), Some(kind));
    assert!(kind.guards(Some("payments"), "x") && !kind.guards(Some("web"), "x"));
    assert_eq!(kind.parts(), [Some("payments")]);
    Ok(())
}

#[test]
fn what_must_not_depend_on_git_is_refused() {
    for (text, complaint) in [
        (
            "{group: '', version: v1, kind: Secret, plural: secrets, namespaced: true, namespaces: [a]}",
            "Secret's content",
        ),
        (
            "{group: '', version: v1, kind: Namespace, plural: namespaces, namespaced: false}",
            "cluster-scoped",
        ),
        (
            "{group: rbac.authorization.k8s.io, version: v1, kind: ClusterRole, plural: clusterroles, namespaced: false}",
            "cluster-scoped",
        ),
        (
            "{group: admissionregistration.k8s.io, version: v1, kind: ValidatingWebhookConfiguration, \
             plural: validatingwebhookconfigurations, namespaced: false}",
            "cluster",
        ),
        (
            "{group: apiextensions.k8s.io, version: v1, kind: CustomResourceDefinition, \
             plural: customresourcedefinitions, namespaced: false}",
            "cluster",
        ),
        (
            "{group: headgate.dev, version: v1alpha1, kind: PolicySource, plural: policysources}",
            "Headgate's own",
        ),
        (
            "{group: '', version: v1, kind: Pod, plural: pods, namespaced: true, namespaces: [a]}",
            "controllers",
        ),
        (
            "{group: '', version: v1, kind: ConfigMap, plural: configmaps, namespaced: true}",
            "namespaces",
        ),
        (
            "{group: '', version: v1, kind: ConfigMap, plural: configmaps, namespaced: true, namespaces: [kube-system]}",
            "kube-system",
        ),
        (
            "{group: a.example, version: v1, kind: X, plural: xs, namespaced: false, namespaces: [a]}",
            "no namespace",
        ),
        (
            "{group: a.example, version: v1, kind: X, plural: xs, namespaced: true, namespaces: ['a*']}",
            "a*",
        ),
        (
            "{group: networking.k8s.io, version: v1, kind: NetworkPolicy, plural: networkpolicies}",
            "guardedKinds",
        ),
        ("{group: A.example, version: v1, kind: X, plural: xs}", "group"),
        ("{group: a.example, version: v1, kind: x, plural: xs}", "kind"),
        (
            "{group: a.example, version: v1, kind: X, plural: 'xs/status'}",
            "plural",
        ),
    ] {
        let refused = generic(text).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused.contains(complaint), "{text}: {refused}");
    }
}
