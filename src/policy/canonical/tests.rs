use proptest::prelude::*;

use super::*;
use serde_json::json;

fn form_of(object: Value) -> Value {
    canonicalize(object).map(|canonical| canonical.form).unwrap_or_default()
}

fn calico(spec: &Value) -> Value {
    json!({
        "apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
        "metadata": {"name": "web", "namespace": "shop"}, "spec": spec,
    })
}

/// What Calico stores: the name it is stored under, its annotation, and the tier.
fn stored(name: &str, annotation: &str, tier: &str) -> Canonical {
    let object = json!({
        "apiVersion": "crd.projectcalico.org/v1", "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "shop", "annotations": {METADATA_ANNOTATION: annotation}},
        "spec": {"tier": tier, "selector": "all()"},
    });
    canonicalize(object).unwrap_or_else(|error| unreachable!("{error}"))
}

#[test]
fn kubernetes_defaults_are_filled_in_and_empty_selectors_kept() {
    let object = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "web", "namespace": "shop", "uid": "x", "labels": {}},
        "spec": {"egress": [{"to": [{"namespaceSelector": {}, "podSelector": null}], "ports": [{"port": 53}]}], "ingress": []},
        "status": {},
    });
    let expected = json!({"spec": {
        "podSelector": {}, "policyTypes": ["Ingress", "Egress"],
        "egress": [{"to": [{"namespaceSelector": {}}], "ports": [{"port": 53, "protocol": "TCP"}]}],
    }});
    assert_eq!(form_of(object), expected);
}

#[test]
fn calico_ports_protocols_and_orders_have_one_spelling() {
    let written = calico(&json!({"order": 100.0, "selector": "", "ingress": [{
        "action": "Allow", "protocol": "06", "source": {"nets": []}, "destination": {"ports": ["0080", "80:80", "1:2", "http"]},
    }]}));
    let plain = calico(
        &json!({"order": 100, "tier": "default", "types": ["Ingress"], "ingress": [{
            "action": "Allow", "protocol": 6, "destination": {"ports": [80, 80, "1:2", "http"]},
        }]}),
    );
    assert_eq!(form_of(written), form_of(plain));
}

#[test]
fn a_staged_deletion_has_no_types() {
    for (kind, types) in [
        ("StagedNetworkPolicy", "types"),
        ("StagedKubernetesNetworkPolicy", "policyTypes"),
    ] {
        let staged = |action: &str| {
            form_of(json!({
                "apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": {"name": "web", "namespace": "shop"},
                "spec": {"stagedAction": action, types: ["Egress"]},
            }))
        };
        assert!(
            staged("Set")
                .pointer("/spec")
                .is_some_and(|spec| spec.get(types).is_some()),
            "{kind}"
        );
        assert!(
            staged("Delete")
                .pointer("/spec")
                .is_some_and(|spec| spec.get(types).is_none()),
            "{kind}"
        );
    }
}

#[test]
fn what_is_not_known_stays_in_the_form() {
    let object = calico(&json!({"ingress": [{"action": "Allow", "source": {"domains": []}}], "newField": ""}));
    let form = form_of(object);
    assert_eq!(form.pointer("/spec/newField"), Some(&json!("")));
    assert_eq!(form.pointer("/spec/ingress/0/source/domains"), Some(&json!([])));
}

#[test]
fn the_annotation_of_a_stored_object_gives_its_name_and_overrides_its_labels() {
    let object = stored("default.web", r#"{"name": "web", "labels": {"a": "b"}}"#, "default");
    assert_eq!((object.key.name(), object.placement), ("web", Placement::AsNamed));
    assert_eq!(object.form.pointer("/metadata/labels/a"), Some(&json!("b")));
    assert_eq!(object.form.pointer("/metadata/annotations"), None);
}

#[test]
fn stored_names_follow_the_history_of_releases() {
    let cases = [
        ("web", r#"{"name": "web"}"#, "sec", "web", Placement::AsNamed),
        ("default.web", "{}", "default", "web", Placement::AsNamed),
        ("default.web", "{}", "sec", "default.web", Placement::AsNamed),
        ("default.a.b", r#"{"name": "a.b"}"#, "a", "a.b", Placement::Misplaced),
        (
            "web",
            r#"{"name": "victim"}"#,
            "default",
            "victim",
            Placement::Misplaced,
        ),
        (
            "default.web",
            r#"{"name": "default.web"}"#,
            "default",
            "default.web",
            Placement::AsNamed,
        ),
    ];
    for (name, annotation, tier, expected, placement) in cases {
        let object = stored(name, annotation, tier);
        assert_eq!(
            (object.key.name(), object.placement),
            (expected, placement),
            "{name} {annotation} {tier}"
        );
    }
}

/// Go's decoder ignores case and merges repeated objects; what it cannot decode, Calico hides.
#[test]
fn an_annotation_that_calico_would_read_otherwise_is_unreadable() {
    let unreadable = [
        "{",
        "null",
        "[]",
        r#"{"Labels": {"role": "db"}}"#,
        r#"{"labels": {"role": "db"}, "labels": {}}"#,
        r#"{"labels": {"role": 1}}"#,
        r#"{"name": 1}"#,
        r#"{"generation": "1"}"#,
        r#"{"creationTimestamp": "yesterday"}"#,
        r#"{"creationTimestamp": "2026-11-23 16:27:00Z"}"#,
        r#"{"ownerReferences": [{"apiVersion": "v1", "Kind": "ConfigMap"}]}"#,
        r#"{"managedFields": [{"time": 1}]}"#,
        r#"{"annotations": {"projectcalico.org/metadata": "{}"}}"#,
        r#"{"finalizers": ["a"]} {}"#,
    ];
    for annotation in unreadable {
        let object = stored("default.web", annotation, "default");
        assert_eq!(object.placement, Placement::UnreadableMetadata, "{annotation}");
        assert_eq!(object.key.name(), "default.web");
        assert!(object.form.pointer("/metadata/annotations").is_some(), "{annotation}");
    }
}

#[test]
fn a_v3_object_keeps_the_annotation_in_its_form() {
    let mut object = calico(&json!({}));
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("annotations".to_owned(), json!({METADATA_ANNOTATION: "{}"}));
    }
    assert_eq!(calico_metadata(&object), Some(&json!("{}")));
    assert_ne!(form_of(object), form_of(calico(&json!({}))));
}

#[test]
fn finalizers_and_deletion_are_read_from_the_annotation_too() {
    let packed = r#"{"name": "web", "deletionTimestamp": "2026-11-23T16:27:00Z", "finalizers": ["orphan"]}"#;
    let (before, after) = (
        stored("web", r#"{"name": "web"}"#, ""),
        stored("web", packed, "default"),
    );
    assert!(after.terminating && !before.terminating);
    assert_eq!(after.finalizers(), ["orphan"]);
    assert_eq!(after.form_without_finalizers(), before.form);
    assert_eq!(after.tier(), Some("default"));
}

#[test]
fn the_finalizer_of_calicos_tier_controller_is_bookkeeping_on_tiers_only() {
    let with = |kind: &str| {
        json!({"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": {
            "name": "t", "namespace": "n", "finalizers": ["projectcalico.org/tier-controller"], "labels": {"projectcalico.org/tier": "x"},
        }})
    };
    assert_eq!(form_of(with("Tier")).pointer("/metadata/finalizers"), None);
    assert!(form_of(with("NetworkSet")).pointer("/metadata/finalizers").is_some());
    assert!(form_of(with("NetworkSet")).pointer("/metadata/labels").is_some());
    assert!(form_of(with("NetworkPolicy")).pointer("/metadata/labels").is_none());
}

#[test]
fn cilium_keeps_spec_and_specs_as_written_but_for_nulls() {
    let object = json!({
        "apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": {"name": "a", "namespace": "b"},
        "spec": {"endpointSelector": {}, "ingress": [{"fromEndpoints": [], "icmps": [{"fields": [{"type": 8}]}]}], "egress": null},
        "specs": [],
    });
    let expected = json!({
        "spec": {"endpointSelector": {}, "ingress": [{"fromEndpoints": [], "icmps": [{"fields": [{"type": 8, "family": "IPv4"}]}]}]},
        "specs": [],
    });
    assert_eq!(form_of(object), expected);
}

#[test]
fn other_kinds_versions_and_depths_are_refused() {
    assert!(matches!(
        canonicalize(json!("x")),
        Err(CanonicalError::NotGuarded { .. })
    ));
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}});
    assert!(matches!(canonicalize(pod), Err(CanonicalError::NotGuarded { .. })));
    let mut later = calico(&json!({}));
    if let Some(members) = later.as_object_mut() {
        members.insert("apiVersion".to_owned(), json!("projectcalico.org/v4"));
    }
    assert!(matches!(
        canonicalize(later),
        Err(CanonicalError::UnknownVersion { .. })
    ));
    let deep = (0..200).fold(json!({}), |inner, _| json!({ "a": inner }));
    assert_eq!(canonicalize(calico(&deep)), Err(CanonicalError::TooDeep));
    let nameless = json!({"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {}});
    assert!(matches!(canonicalize(nameless), Err(CanonicalError::Missing { .. })));
}

fn any_spec() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        Just("ingress"),
        Just("egress"),
        Just("types"),
        Just("source"),
        Just("ports"),
        Just("nets"),
        Just("selector"),
        Just("order"),
        Just("tier"),
        Just("protocol"),
        Just("podSelector"),
        Just("matchLabels"),
        Just("other"),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-1..100_i32).prop_map(|number| json!(f64::from(number) / 2.0)),
        "[0-9:a]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())),
        ]
    })
}

fn reversed(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members
                .iter()
                .rev()
                .map(|(name, value)| (name.clone(), reversed(value)));
            Value::Object(members.collect())
        }
        Value::Array(items) => items.iter().map(reversed).collect(),
        other => other.clone(),
    }
}

fn register(text: &str) {
    let parsed: Result<crate::policy::GenericKind, _> = serde_saphyr::from_str(text);
    let registered = parsed.map(|kind| kind.register().map(drop));
    assert!(matches!(registered, Ok(Ok(()))), "{registered:?}");
}

#[test]
fn of_a_configured_kind_everything_counts_but_status_bookkeeping_and_nulls() {
    register("{group: form.test.example, version: v1, kind: Firewall, plural: firewalls, namespaced: true}");
    let object = json!({
        "apiVersion": "form.test.example/v1", "kind": "Firewall",
        "metadata": {"name": "edge", "namespace": "shop", "uid": "u", "generation": 3, "labels": {"a": "b"}},
        "spec": {"limit": 10.0, "open": [], "note": null, "deep": [{"a": null, "b": {}}]}, "other": "x", "status": {"a": 1},
    });
    let expected = json!({
        "metadata": {"labels": {"a": "b"}}, "other": "x",
        "spec": {"limit": 10, "open": [], "deep": [{"b": {}}]},
    });
    assert_eq!(form_of(object), expected);
    let newer = json!({"apiVersion": "form.test.example/v2", "kind": "Firewall", "metadata": {"name": "edge"}});
    assert!(matches!(
        canonicalize(newer),
        Err(CanonicalError::UnknownVersion { .. })
    ));
}

#[test]
fn of_kubernetes_own_configured_kinds_empty_lists_are_absent() {
    register("{group: '', version: v1, kind: PodTemplate, plural: podtemplates, namespaced: true, namespaces: [shop]}");
    let object = |rest: &Value| json!({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "a", "namespace": "shop"}, "template": rest});
    assert_eq!(
        form_of(object(&json!({"a": [], "b": {}}))),
        form_of(object(&json!({"b": {}})))
    );
    let key = canonicalize(object(&json!({}))).map(|canonical| canonical.key.to_string());
    assert_eq!(key.as_deref(), Ok("podtemplate/shop/a"));
}

proptest! {
    #[test]
    fn any_spec_has_one_form_whatever_the_order_of_its_keys(spec in any_spec(), kind in 0..15_usize) {
        let definition = Kind::all().nth(kind).map(Kind::definition);
        if let Some(definition) = definition {
            let (group, version) = definition.served.first().copied().unwrap_or_default();
            let object = json!({
                "apiVersion": format!("{group}/{version}"), "kind": definition.kind,
                "metadata": {"name": "a", "namespace": "b"}, "spec": spec,
            });
            let form = form_of(object.clone());
            prop_assert_eq!(form_of(reversed(&object)), form.clone());
            let mut again = object;
            if let (Some(again), Some(form)) = (again.as_object_mut(), form.as_object()) {
                again.remove("spec");
                again.extend(form.clone());
            }
            prop_assert_eq!(form_of(again), form);
        }
    }
}
