use super::*;

fn manifest(kind: OwnKind, object: Value) -> Manifest {
    Manifest {
        kind,
        name: "headgate".to_owned(),
        object,
    }
}

fn webhooks() -> Manifest {
    manifest(
        OwnKind::WebhookConfiguration,
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "headgate", "labels": {"part-of": "headgate"}, "annotations": {"inject": "ca"}},
            "webhooks": [{
                "name": "policies.headgate.dev", "failurePolicy": "Fail", "sideEffects": "NoneOnDryRun",
                "admissionReviewVersions": ["v1"],
                "clientConfig": {"service": {"name": "w", "namespace": "n"}, "caBundle": "QQ=="},
                "rules": [{"apiGroups": ["g"], "apiVersions": ["v1"], "resources": ["r"], "operations": ["CREATE"]}],
            }],
        }),
    )
}

/// As the API server stores the manifest.
fn stored() -> Value {
    let mut live = webhooks().object;
    merge(
        &mut live,
        json!({"metadata": {"resourceVersion": "7", "uid": "u", "labels": {"helm": "x"}, "managedFields": [
            {"manager": "helm", "operation": "Update", "time": "2026-01-01T00:00:00Z"}]}}),
    );
    if let Some(webhook) = live.pointer_mut("/webhooks/0") {
        merge(
            webhook,
            json!({"matchPolicy": "Equivalent", "timeoutSeconds": 10, "namespaceSelector": {}, "objectSelector": {},
                "clientConfig": {"service": {"port": 443}}}),
        );
    }
    if let Some(rule) = live.pointer_mut("/webhooks/0/rules/0") {
        merge(rule, json!({"scope": "*"}));
    }
    live
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn set(pointer: &str, value: Value) -> Value {
    let mut live = stored();
    let (parent, name) = pointer.rsplit_once('/').unwrap_or_default();
    if let Some(members) = live.pointer_mut(parent).and_then(Value::as_object_mut) {
        members.insert(name.to_owned(), value);
    }
    live
}

fn paths(step: &Step) -> Vec<&str> {
    match step {
        Step::Replace { differences, .. } => differences.iter().map(|difference| difference.path.as_str()).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn what_the_api_server_filled_in_is_no_change() {
    assert_eq!(plan(&webhooks(), Some(&stored()), None), Step::Keep);
}

#[test]
fn what_is_not_there_is_created_as_it_is_written() {
    assert_eq!(plan(&webhooks(), None, None), Step::Create(webhooks().object));
}

#[test]
fn every_change_that_opens_the_gate_is_undone() {
    for (pointer, value) in [
        ("/webhooks/0/failurePolicy", json!("Ignore")),
        ("/webhooks/0/rules/0/operations", json!(["DELETE"])),
        ("/webhooks/0/rules/0/scope", json!("Cluster")),
        ("/webhooks/0/rules", json!([])),
        ("/webhooks/0/namespaceSelector", json!({"matchLabels": {"a": "b"}})),
        ("/webhooks/0/objectSelector", json!({"matchLabels": {"a": "b"}})),
        (
            "/webhooks/0/matchConditions",
            json!([{"name": "n", "expression": "false"}]),
        ),
        ("/webhooks/0/matchPolicy", json!("Exact")),
        ("/webhooks/0/timeoutSeconds", json!(1)),
        ("/webhooks/0/sideEffects", json!("Some")),
        ("/webhooks/0/admissionReviewVersions", json!(["v1beta1"])),
        ("/webhooks/0/clientConfig/caBundle", json!("Qg==")),
        ("/webhooks/0/clientConfig/service/name", json!("other")),
        ("/webhooks", json!([])),
        ("/metadata/labels", json!({"helm": "x"})),
        ("/metadata/annotations", json!({"inject": "another"})),
        ("/metadata/finalizers", json!(["example.com/stuck"])),
        (
            "/metadata/ownerReferences",
            json!([{"kind": "ConfigMap", "name": "bait"}]),
        ),
    ] {
        let step = plan(&webhooks(), Some(&set(pointer, value)), None);
        let Step::Replace { object, differences } = &step else {
            unreachable!("{pointer} was let through: {step:?}");
        };
        assert!(!differences.is_empty());
        // Nothing is left to do once it is written, and it is written on top of what was seen.
        assert_eq!(plan(&webhooks(), Some(object), None), Step::Keep, "{pointer}");
        assert_eq!(object.pointer("/metadata/resourceVersion"), Some(&json!("7")));
        assert_eq!(object.pointer("/metadata/labels/helm"), Some(&json!("x")));
    }
}

#[test]
fn an_additional_webhook_goes() {
    let mut live = stored();
    let more = json!({"name": "other.example", "rules": []});
    if let Some(list) = live.get_mut("webhooks").and_then(Value::as_array_mut) {
        list.push(more);
    }
    assert_eq!(paths(&plan(&webhooks(), Some(&live), None)), ["webhooks[1]"]);
}

#[test]
fn the_authority_comes_from_the_secret_where_the_manifest_does_not_say() {
    let mut unsaid = webhooks();
    if let Some(client) = unsaid
        .object
        .pointer_mut("/webhooks/0/clientConfig")
        .and_then(Value::as_object_mut)
    {
        client.remove("caBundle");
    }
    assert_eq!(plan(&unsaid, Some(&stored()), Some("QQ==")), Step::Keep);
    assert_eq!(
        paths(&plan(&unsaid, Some(&stored()), Some("Qg=="))),
        ["webhooks[0].clientConfig.caBundle"]
    );
    // Nobody knows it yet: what somebody else put there stays.
    assert_eq!(plan(&unsaid, Some(&stored()), None), Step::Keep);
}

#[test]
fn a_policy_and_its_binding_are_compared_as_a_whole() {
    let policy = manifest(
        OwnKind::Policy,
        json!({"metadata": {"name": "headgate"}, "spec": {"matchConstraints": {"resourceRules": [{"resources": ["r"]}]},
            "validations": [{"expression": "false"}]}}),
    );
    let mut live = policy.object.clone();
    merge(
        &mut live,
        json!({"spec": {"failurePolicy": "Fail", "matchConstraints": {"matchPolicy": "Equivalent",
        "namespaceSelector": {}, "objectSelector": {}, "resourceRules": [{"resources": ["r"], "scope": "*"}]}},
        "status": {"observedGeneration": 1}}),
    );
    assert_eq!(plan(&policy, Some(&live), None), Step::Keep);
    merge(&mut live, json!({"spec": {"validations": [{"expression": "true"}]}}));
    assert_eq!(
        paths(&plan(&policy, Some(&live), None)),
        ["spec.validations[0].expression"]
    );
    let binding = manifest(
        OwnKind::Binding,
        json!({"spec": {"policyName": "p", "validationActions": ["Deny"]}}),
    );
    let mut live = binding.object.clone();
    merge(
        &mut live,
        json!({"spec": {"matchResources": {"namespaceSelector": {"matchLabels": {"no": "where"}}}}}),
    );
    assert_eq!(paths(&plan(&binding, Some(&live), None)), ["spec.matchResources"]);
}

#[test]
fn the_last_writer_is_who_was_not_headgate() {
    let live = json!({"metadata": {"managedFields": [
        {"manager": "helm", "operation": "Update", "time": "2026-01-01T00:00:00Z"},
        {"manager": "kubectl-edit", "operation": "Update", "time": "2026-01-03T00:00:00Z"},
        {"manager": "headgate", "operation": "Update", "time": "2026-01-04T00:00:00Z"},
        {"manager": "kcm", "operation": "Update", "time": "2026-01-05T00:00:00Z", "subresource": "status"},
    ]}});
    assert_eq!(
        last_writer(&live).as_deref(),
        Some("kubectl-edit (Update, 2026-01-03T00:00:00Z)")
    );
    assert_eq!(last_writer(&json!({})), None);
}

#[test]
fn an_authority_that_is_renewed_is_told_from_one_that_somebody_put_there() {
    let mut unsaid = webhooks();
    if let Some(client) = unsaid
        .object
        .pointer_mut("/webhooks/0/clientConfig")
        .and_then(Value::as_object_mut)
    {
        client.remove("caBundle");
    }
    // "old", "old,new" and "new" as base64.
    let (old, both, new) = ("b2xk", "b2xkLG5ldw==", "bmV3");
    let trusting = |bundle: &str, manager: &str| {
        let mut live = set("/webhooks/0/clientConfig/caBundle", bundle.into());
        merge(
            &mut live,
            json!({"metadata": {"managedFields": [{"manager": manager}]}}),
        );
        live
    };
    let ours = |bundle| trusting(bundle, "headgate");
    assert!(follows(&unsaid, &ours(old), Some(old), Some(both)));
    assert!(follows(&unsaid, &ours(both), Some(both), Some(new)));
    for bundle in ["", new, "bWFsbG9yeQ=="] {
        assert!(!follows(&unsaid, &ours(bundle), Some(old), Some(both)), "{bundle}");
    }
    // A process that has not looked before: the first installation, and a leader that goes on.
    assert!(follows(&unsaid, &trusting("", "helm"), None, Some(old)));
    assert!(follows(&unsaid, &ours(old), None, Some(both)));
    for bundle in ["", "bWFsbG9yeQ=="] {
        assert!(!follows(&unsaid, &ours(bundle), None, Some(both)), "{bundle}");
    }
    let mut opened = ours(old);
    if let Some(webhook) = opened.pointer_mut("/webhooks/0") {
        merge(webhook, json!({"failurePolicy": "Ignore"}));
    }
    assert!(!follows(&unsaid, &opened, Some(old), Some(both)));
}
