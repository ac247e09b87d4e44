//! The definitions of guarded kinds: what may change about them, and by whom.

use serde_json::{Value, json};

use crate::guard::*;
use crate::tools::*;

/// A change to a definition.
type Change = fn(&mut Value);

/// What a definition says about the policies' `spec`.
fn spec(crd: &mut Value) -> &mut Value {
    &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
}

const REFUSED: [(&str, Change); 8] = [
    ("other names", |crd| {
        crd["spec"]["names"]["shortNames"] = json!(["cnp9"]);
    }),
    ("a version more, the old unserved", |crd| {
        let mut next = crd["spec"]["versions"][0].clone();
        next["name"] = json!("v4");
        next["storage"] = json!(false);
        crd["spec"]["versions"][0]["served"] = json!(false);
        if let Some(versions) = crd["spec"]["versions"].as_array_mut() {
            versions.push(next);
        }
    }),
    ("a conversion", |crd| {
        crd["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
            "conversionReviewVersions": ["v1"], "clientConfig": {"url": "https://127.0.0.1:1/convert"}}});
    }),
    ("a way around by scale", |crd| {
        crd["spec"]["versions"][0]["subresources"] =
            json!({"scale": {"specReplicasPath": ".spec.order", "statusReplicasPath": ".status.order"}});
    }),
    ("a default at the top", |crd| {
        spec(crd)["properties"]["tier"]["default"] = json!("other");
    }),
    ("a default deep down", |crd| {
        let source = &mut spec(crd)["properties"]["ingress"]["items"]["properties"]["source"];
        source["properties"]["selector"]["default"] = json!("all()");
    }),
    ("a new field with a default", |crd| {
        spec(crd)["properties"]["extra"] = json!({"type": "string", "default": "x"});
    }),
    ("a field that goes", |crd| {
        if let Some(fields) = spec(crd)["properties"]["egress"]["items"]["properties"].as_object_mut() {
            fields.remove("metadata");
        }
    }),
];

const PASSING: [(&str, Change); 4] = [
    ("nothing", |_| ()),
    ("a label", |crd| crd["metadata"]["labels"]["a"] = json!("b")),
    ("a column", |crd| {
        crd["spec"]["versions"][0]["additionalPrinterColumns"] =
            json!([{"name": "Order", "type": "number", "jsonPath": ".spec.order"}]);
    }),
    ("a text and a new field without a default", |crd| {
        spec(crd)["description"] = json!("Another text.");
        spec(crd)["properties"]["ingress"]["items"]["properties"]["remark"] = json!({"type": "string"});
    }),
];

#[test]
fn definitions_of_guarded_kinds_stay_as_they_decide() -> TestResult {
    let guarded = guarded()?;
    let live = guarded.object("crd networkpolicies.projectcalico.org")?;
    for (what, change) in REFUSED {
        let crd = changed(&live, change);
        for user in [CLUSTER_ADMIN, SOURCE_OWNER, &account(SYNC)] {
            let refused = guarded.refuses(user, REPLACE, &crd, "definitions");
            refused.map_err(|error| format!("{what}: {error}"))?;
        }
        guarded.lets(GUARD_ADMIN, REPLACE, &crd)?;
        guarded.lets(INSTALLER, REPLACE, &crd)?;
    }
    for (what, change) in PASSING {
        let passed = guarded.lets(CLUSTER_ADMIN, REPLACE, &changed(&live, change));
        passed.map_err(|error| format!("{what}: {error}"))?;
    }
    let status = json!({"status": {"storedVersions": ["v3"]}}).to_string();
    let patch = format!(
        "patch crd networkpolicies.projectcalico.org --subresource=status --type=merge --dry-run=server -p {status}"
    );
    guarded.lets(CLUSTER_ADMIN, &patch, &Value::Null)
}

#[test]
fn definitions_of_guarded_kinds_and_of_headgate_are_not_deleted() -> TestResult {
    let guarded = guarded()?;
    let collector = "system:serviceaccount:kube-system:generic-garbage-collector";
    for crd in [
        "networkpolicies.projectcalico.org",
        "tiers.crd.projectcalico.org",
        "policysources.headgate.dev",
    ] {
        let delete = format!("delete crd {crd} --dry-run=server");
        for user in [
            CLUSTER_ADMIN,
            INSTALLER,
            &account(SYNC),
            &account("uninstall"),
            collector,
        ] {
            guarded.refuses(user, &delete, &Value::Null, "definitions")?;
        }
        guarded.lets(GUARD_ADMIN, &delete, &Value::Null)?;
    }
    let all = "delete --raw=/apis/apiextensions.k8s.io/v1/customresourcedefinitions?dryRun=All";
    guarded.refuses(CLUSTER_ADMIN, all, &Value::Null, "definitions")?;
    let other = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "widgets.acme.example"},
        "spec": {"group": "acme.example", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"}, "versions": [
            {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]},
    });
    guarded.lets(CLUSTER_ADMIN, "create -f -", &other)?;
    guarded.lets(CLUSTER_ADMIN, "delete crd widgets.acme.example", &Value::Null)
}
