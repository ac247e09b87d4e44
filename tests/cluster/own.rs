//! Headgate's own objects: put back whatever happens to them, with a record, until it is uninstalled.

use serde_json::{Value, json};

use crate::policies::{allow_port, default_deny};
use crate::stand::{Failure, NAMESPACE, OWN_MANIFESTS, Stand};
use crate::{Outcome, denied_namespace, stand};

const WEBHOOKS: &str = "validatingwebhookconfiguration/headgate";

/// What an object does, without the server's bookkeeping.
fn content(stand: &Stand, object: &str) -> Result<Value, Failure> {
    let live = stand.get(object, None)?;
    Ok(json!([
        live["spec"],
        live["webhooks"],
        live["metadata"]["labels"],
        live["metadata"]["finalizers"]
    ]))
}

fn records(stand: &Stand, reason: &str) -> Result<Vec<Value>, Failure> {
    let records = stand.records("sync")?.into_iter();
    Ok(records.filter(|record| record["reason"] == reason).collect())
}

fn until_put_back(stand: &Stand, object: &str, before: &Value) -> Outcome {
    stand.until(&format!("{object} to be put back"), || {
        Ok((content(stand, object)? == *before).then_some(()))
    })
}

#[test]
fn whatever_happens_to_headgates_own_objects_is_put_back_and_recorded() -> Outcome {
    let stand = stand()?;
    let before = content(&stand, WEBHOOKS)?;
    let more = json!({"op": "add", "path": "/webhooks/-", "value": {
        "name": "other.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Ignore",
        "clientConfig": {"url": "https://127.0.0.1:1/"}, "rules": []}});
    let replace =
        |path: &str, value: Value| json!({"op": "replace", "path": format!("/webhooks/0/{path}"), "value": value});
    let changes = [
        ("webhooks[0].failurePolicy", replace("failurePolicy", json!("Ignore"))),
        ("webhooks[0].rules", replace("rules", json!([]))),
        (
            "webhooks[0].namespaceSelector",
            replace("namespaceSelector", json!({"matchLabels": {"no": "where"}})),
        ),
        (
            "webhooks[0].clientConfig.caBundle",
            replace("clientConfig/caBundle", json!("")),
        ),
        (
            "webhooks[0].matchConditions",
            json!({"op": "add", "path": "/webhooks/0/matchConditions",
            "value": [{"name": "never", "expression": "false"}]}),
        ),
        ("webhooks[", more),
        (
            "metadata.finalizers",
            json!({"op": "add", "path": "/metadata/finalizers", "value": ["example.com/stuck"]}),
        ),
    ];
    for (path, change) in changes {
        let known = records(&stand, "own-changed")?.len();
        let patch = Value::Array(vec![change]).to_string();
        let arguments = [
            "patch",
            WEBHOOKS,
            "--type=json",
            "--field-manager=mallory",
            "-p",
            &patch,
        ];
        stand.kubectl(&arguments).ok()?;
        let record = stand.until(&format!("a record about {path}"), || {
            Ok(records(&stand, "own-changed")?.into_iter().nth(known))
        })?;
        assert_eq!(record["outcome"], "replaced");
        assert_eq!(
            record["object"],
            "validatingwebhookconfigurations.admissionregistration.k8s.io/headgate"
        );
        let paths = record["differences"].to_string();
        assert!(paths.contains(path), "{path}: {record}");
        // Managed fields forget who only took something away.
        let took_away = path.ends_with("rules") || path.ends_with("caBundle");
        assert!(
            took_away || record["message"].to_string().contains("mallory"),
            "{record}"
        );
        until_put_back(&stand, WEBHOOKS, &before)?;
    }
    for object in [
        WEBHOOKS,
        "validatingadmissionpolicy/headgate-sources",
        "validatingadmissionpolicy/headgate-grants",
        "validatingadmissionpolicybinding/headgate-definitions",
    ] {
        let before = content(&stand, object)?;
        let known = records(&stand, "own-missing")?.len();
        stand.kubectl(&["delete", object]).ok()?;
        until_put_back(&stand, object, &before)?;
        let record = stand.until("a record", || {
            Ok(records(&stand, "own-missing")?.into_iter().nth(known))
        })?;
        assert_eq!(record["outcome"], "created", "{record}");
    }
    for (object, patch) in [
        (
            "validatingadmissionpolicybinding/headgate-webhooks",
            r#"{"spec": {"validationActions": ["Audit"]}}"#,
        ),
        (
            "validatingadmissionpolicy/headgate-sources",
            r#"{"spec": {"validations": [{"expression": "true"}]}}"#,
        ),
        (
            "validatingadmissionpolicy/headgate-definitions",
            r#"{"spec": {"failurePolicy": "Ignore"}}"#,
        ),
    ] {
        let before = content(&stand, object)?;
        stand.kubectl(&["patch", object, "--type=merge", "-p", patch]).ok()?;
        until_put_back(&stand, object, &before)?;
    }
    Ok(())
}

#[test]
fn an_upgrade_and_the_loop_agree() -> Outcome {
    let stand = stand()?;
    let map = format!("configmap/{OWN_MANIFESTS}");
    let before = stand.get(&map, Some(NAMESPACE))?;
    let timeout = |seconds: u8| -> Outcome {
        let what = format!("a timeout of {seconds} s");
        stand.until(&what, || {
            Ok((stand.get(WEBHOOKS, None)?["webhooks"][0]["timeoutSeconds"] == seconds).then_some(()))
        })
    };
    let mut after = before.clone();
    let manifests = after["data"]["manifests.yaml"].as_str().unwrap_or_default();
    assert!(manifests.contains("\"timeoutSeconds\":10"));
    after["data"]["manifests.yaml"] = manifests
        .replace("\"timeoutSeconds\":10", "\"timeoutSeconds\":9")
        .into();
    after["metadata"]
        .as_object_mut()
        .and_then(|metadata| metadata.remove("resourceVersion"));
    stand.kubectl_with(&["replace", "-f", "-"], &after.to_string()).ok()?;
    timeout(9)?;
    let probes = stand.probes("sync")?;
    let unusable = |expected: u8| {
        stand.until("the metric about the manifests", || {
            let metrics = crate::faults::get(&format!("{probes}/metrics"))?;
            let line = format!("headgate_sync_own_manifests_unusable {expected}\n");
            Ok(metrics.contains(&line).then_some(()))
        })
    };
    let failed = |words: &str| -> Outcome {
        stand.until(words, || {
            let mut failed = records(&stand, "own-failed")?.into_iter();
            let about = |record: &Value| record["object"] == format!("configmaps/{NAMESPACE}/{OWN_MANIFESTS}");
            let told = failed.any(|record| about(&record) && record["message"].to_string().contains(words));
            Ok(told.then_some(()))
        })
    };
    unusable(0)?;
    // Nonsense leaves what was said last in force.
    let patch = r#"{"data": {"manifests.yaml": "kind: Pod"}}"#;
    stand
        .kubectl(&["patch", &map, "-n", NAMESPACE, "--type=merge", "-p", patch])
        .ok()?;
    unusable(1)?;
    failed("cannot be used")?;
    stand.kubectl(&["delete", WEBHOOKS]).ok()?;
    timeout(9)?;
    stand.kubectl(&["delete", &map, "-n", NAMESPACE]).ok()?;
    stand.kubectl(&["delete", WEBHOOKS]).ok()?;
    timeout(9)?;
    failed("is not there; what it said last stays in force")?;
    unusable(1)?;
    let mut again = before;
    for field in ["resourceVersion", "uid", "creationTimestamp"] {
        again["metadata"]
            .as_object_mut()
            .and_then(|metadata| metadata.remove(field));
    }
    stand.kubectl_with(&["create", "-f", "-"], &again.to_string()).ok()?;
    timeout(10)?;
    unusable(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_uninstallation_everybody_writes_again() -> Outcome {
    let stand = Stand::new()?;
    stand.install_chart(&["guard.admins.groups=[]"]).await?;
    stand.kubectl(&["create", "namespace", "free"]).ok()?;
    // Nobody is an administrator here, not even who uninstalls: a policy's binding refuses that until it is gone.
    stand.until("the guard to be in force", || {
        let delete = stand.kubectl(&["delete", WEBHOOKS, "--dry-run=server"]);
        Ok(delete.err.contains("headgate-webhooks").then_some(()))
    })?;
    stand.until("the gate to refuse", || {
        Ok(stand
            .apply(&default_deny("free"))
            .err
            .contains("HeadUnknown")
            .then_some(())
            .or_else(|| {
                stand
                    .apply(&allow_port("free", "x", 1))
                    .err
                    .contains("denied the request")
                    .then_some(())
            }))
    })?;

    let kubeconfig = stand.plane.kubeconfig().display().to_string();
    let uninstall = |more: &[&str]| stand.headgate(&[&["uninstall", "--kubeconfig", &kubeconfig], more].concat());
    // Without a word nobody can be asked, and a dry run leaves everything.
    let unasked = uninstall(&[]);
    assert_eq!((unasked.code, unasked.err.contains("--yes")), (2, true), "{unasked:?}");
    let dry = uninstall(&["--dry-run"]).ok()?;
    assert!(
        dry.contains("validatingwebhookconfigurations.admissionregistration.k8s.io/headgate would be deleted"),
        "{dry}"
    );
    assert!(!stand.get(WEBHOOKS, None)?.is_null());

    let said = uninstall(&["--yes", "--timeout", "30s"]).ok()?;
    let order = [
        "marked",
        "scaled to 0",
        "validatingadmissionpolicybindings",
        "validatingadmissionpolicies",
        "validatingwebhookconfigurations",
        "can be written again",
    ];
    let places: Vec<_> = order.iter().map(|word| said.find(word)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{said}");
    // The sync loop runs on here, where no Deployment rules it, and keeps to the mark.
    for object in [
        WEBHOOKS,
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
    ] {
        let left = stand
            .kubectl(&["get", object, "-o", "name", "--ignore-not-found"])
            .ok()?;
        assert!(left.is_empty(), "{left}");
    }
    stand.until("free writes", || {
        Ok(stand.apply(&default_deny("free")).succeeded().then_some(()))
    })?;
    assert!(!records(&stand, "own-missing")?.iter().any(|_| true));
    // Once more there is nothing to do.
    assert!(uninstall(&["--yes"]).ok()?.contains("not found"));
    Ok(())
}

#[test]
fn a_denial_still_comes_after_all_that() -> Outcome {
    let stand = stand()?;
    denied_namespace(&stand, "own-still")?;
    let refused = stand.apply(&allow_port("own-still", "more", 80)).refused()?;
    assert!(refused.contains("denied the request"), "{refused}");
    Ok(())
}
