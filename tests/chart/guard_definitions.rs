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

const REFUSED: [(&str, Change); 15] = [
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
    ("a field of another type", |crd| {
        spec(crd)["properties"]["order"]["type"] = json!("string");
    }),
    ("a list of another type", |crd| {
        spec(crd)["properties"]["types"]["items"]["type"] = json!("integer");
    }),
    ("a list that becomes a map", |crd| {
        spec(crd)["properties"]["types"] = json!({"type": "object", "additionalProperties": {"type": "string"}});
    }),
    ("a list's own default", |crd| {
        spec(crd)["properties"]["types"]["default"] = json!(["Egress"]);
    }),
    ("a default of each of a list", |crd| {
        spec(crd)["properties"]["ingress"]["items"]["default"] = json!({"action": "Allow"});
    }),
    ("anything goes in the spec", |crd| {
        spec(crd)["x-kubernetes-preserve-unknown-fields"] = json!(true);
    }),
    ("anything goes in each of a list", |crd| {
        spec(crd)["properties"]["ingress"]["items"]["x-kubernetes-preserve-unknown-fields"] = json!(true);
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

/// A field so deep that the comparison ends above it.
fn deep(crd: &mut Value, levels: usize) -> &mut Value {
    let top = &mut spec(crd)["properties"]["extra"];
    (0..levels).fold(top, |field, _| &mut field["properties"]["x"])
}

#[test]
fn a_version_of_two_stays_as_it_is_and_so_does_what_lies_deeper_than_the_comparison_looks() -> TestResult {
    let guarded = guarded()?;
    let name = "crd stagedkubernetesnetworkpolicies.projectcalico.org";
    let one = guarded.object(name)?;
    let two = changed(&one, |crd| {
        *deep(crd, 0) = json!({"type": "string"});
        for _ in 0..12 {
            let inner = deep(crd, 0).take();
            *deep(crd, 0) = json!({"type": "object", "properties": {"x": inner}});
        }
        let mut next = crd["spec"]["versions"][0].clone();
        next["name"] = json!("v9");
        next["storage"] = json!(false);
        if let Some(versions) = crd["spec"]["versions"].as_array_mut() {
            versions.push(next);
        }
    });
    guarded.lets(GUARD_ADMIN, "replace -f -", &two)?;
    let live = guarded.object(name)?;
    let index = |crd: &Value, version: &str| all(crd, "/spec/versions").position(|one| at(one, "/name") == version);
    let (stored, next) = (index(&live, "v3").ok_or("no v3")?, index(&live, "v9").ok_or("no v9")?);
    let without = changed(&live, |crd| {
        if let Some(versions) = crd["spec"]["versions"].as_array_mut() {
            versions.remove(next);
        }
    });
    let swapped = changed(&live, |crd| {
        crd["spec"]["versions"][stored]["storage"] = json!(false);
        crd["spec"]["versions"][next]["storage"] = json!(true);
    });
    let text_below = changed(&live, |crd| {
        for version in 0..2 {
            let extra = &mut crd["spec"]["versions"][version]["schema"]["openAPIV3Schema"]["properties"]["spec"];
            let field = (0..12).fold(
                &mut extra["properties"]["extra"],
                |field, _| &mut field["properties"]["x"],
            );
            field["description"] = json!("Another text.");
        }
    });
    for (what, crd) in [
        ("a version less", without),
        ("another version stored", swapped),
        ("a text below", text_below),
    ] {
        let refused = guarded.refuses(CLUSTER_ADMIN, REPLACE, &crd, "definitions");
        refused.map_err(|error| format!("{what}: {error}"))?;
        guarded.lets(GUARD_ADMIN, REPLACE, &crd)?;
    }
    Ok(())
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
