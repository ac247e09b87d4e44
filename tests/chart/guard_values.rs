//! What the values make of the guard: whom it lets by, and what the loop is told to keep.

use serde_json::{Value, json};

use crate::guard::*;
use crate::tools::*;

#[test]
fn who_may_break_the_glass_makes_and_ends_grants_and_nobody_changes_them() -> TestResult {
    let guarded = guarded()?;
    // With no right but this.
    let bind = "create clusterrolebinding glass --clusterrole=headgate-break-glass --user=carol";
    guarded.lets("admin", bind, &Value::Null)?;
    let grant = |name: &str, user: &str, duration: &str| {
        json!({
            "apiVersion": "headgate.dev/v1alpha1", "kind": "PolicyGrant", "metadata": {"name": name},
            "spec": {
                "requestedBy": user, "duration": duration, "reason": "an outage",
                "objects": [{"kind": "networkpolicy.networking.k8s.io", "namespace": "payments", "name": "web"}],
            },
        })
    };
    let create = "create -f -";
    until("the policy of grants to be in force", || {
        let probe = grant("probe", "mallory", "1h").to_string();
        let said = run(&mut guarded.kubectl("carol", "create --dry-run=server -f -"), &probe)?;
        Ok(said.is_err_and(|error| error.contains("headgate-grants")))
    })?;
    // Not even Headgate's administrators and the loop let others in.
    for user in ["carol", CLUSTER_ADMIN, GUARD_ADMIN, &account(SYNC)] {
        guarded.refuses(user, create, &grant("night", "mallory", "1h"), "grants")?;
    }
    guarded.refuses("carol", create, &grant("night", "carol", "5h"), "grants")?;
    guarded.lets("carol", create, &grant("night", "carol", "1h"))?;

    let status = "patch policygrant night --subresource=status --type=merge -p {\"status\":{\"objects\":\"a\"}}";
    let label = "label policygrant night a=b";
    let hold = "patch policygrant night --type=merge -p {\"metadata\":{\"finalizers\":[\"a.example/b\"]}}";
    for user in [CLUSTER_ADMIN, SOURCE_OWNER] {
        for line in [status, label, hold] {
            guarded.refuses(user, line, &Value::Null, "sources")?;
        }
    }
    guarded.refuses(GUARD_ADMIN, status, &Value::Null, "sources")?;
    guarded.lets(&account(SYNC), status, &Value::Null)?;
    guarded.lets(GUARD_ADMIN, label, &Value::Null)?;
    // The definition itself keeps what a grant says, whoever asks.
    let longer = "patch policygrant night --type=merge -p {\"spec\":{\"duration\":\"2h\"}}";
    for user in [CLUSTER_ADMIN, GUARD_ADMIN, &account(SYNC)] {
        let error = fail(&mut guarded.kubectl(user, longer), "")?;
        assert!(error.contains("a grant cannot be changed"), "{user}: {error}");
    }
    guarded.lets("carol", "delete policygrant night", &Value::Null)?;
    guarded.refuses(
        CLUSTER_ADMIN,
        "delete crd policygrants.headgate.dev",
        &Value::Null,
        "definitions",
    )
}

#[test]
fn cert_managers_injector_writes_the_authority_and_nothing_else() -> TestResult {
    let guarded = guarded()?;
    let values = [
        CERT_MANAGER,
        VALUES,
        &[
            "--set=fullnameOverride=injected",
            // Two entries: one more than may go.
            "--set=config.guardedKinds={tier.projectcalico.org,networkpolicy.networking.k8s.io}",
        ],
    ];
    let objects = render(&values.concat())?;
    for object in [
        named(&objects, "ValidatingWebhookConfiguration", "injected")?,
        named(&objects, "ValidatingAdmissionPolicy", "injected-webhooks")?,
        named(&objects, "ValidatingAdmissionPolicyBinding", "injected-webhooks")?,
    ] {
        guarded.lets("admin", "create -f -", object)?;
    }
    until("the policy to be in force", || {
        let line = "delete validatingwebhookconfiguration injected --dry-run=server";
        Ok(run(&mut guarded.kubectl(CLUSTER_ADMIN, line), "")?.is_err_and(|error| error.contains("injected-webhooks")))
    })?;
    let live = guarded.object("validatingwebhookconfiguration injected")?;
    let with = |name: &str, value: Value| changed(&live, |configuration| configuration["webhooks"][0][name] = value);
    let bundle = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t";
    let injected = changed(&live, |configuration| {
        configuration["webhooks"][0]["clientConfig"]["caBundle"] = json!(bundle);
    });
    let injector = "system:serviceaccount:cert-manager:cert-manager-cainjector";
    let mut bind = kubectl(
        &guarded.plane,
        "create clusterrolebinding injector --clusterrole=cluster-admin",
    );
    succeed(bind.arg(format!("--user={injector}")), "")?;
    let as_injector = |line: &str, object: &Value| run(&mut guarded.kubectl(injector, line), &object.to_string());
    // The bundle is no certificate: what refuses it then is the API server's own validation, which comes after.
    let said = as_injector(REPLACE, &injected)?.err().unwrap_or_default();
    assert!(
        !said.contains("injected-webhooks") && (said.is_empty() || said.contains("caBundle")),
        "{said}"
    );
    for object in [
        with("failurePolicy", json!("Ignore")),
        with("rules", json!([])),
        with("objectSelector", json!({"matchLabels": {"a": "b"}})),
        with("namespaceSelector", json!({"matchLabels": {"a": "b"}})),
        with("matchPolicy", json!("Exact")),
        with("sideEffects", json!("None")),
        with("timeoutSeconds", json!(1)),
        with("admissionReviewVersions", json!(["v1", "v1beta1"])),
        with("matchConditions", json!([{"name": "never", "expression": "false"}])),
        with("clientConfig", json!({"url": "https://127.0.0.1:1/validate"})),
        changed(&live, |configuration| {
            configuration["webhooks"][0]["clientConfig"]["service"]["path"] = json!("/elsewhere");
        }),
        changed(&live, |configuration| configuration["webhooks"] = json!([])),
        changed(&live, |configuration| {
            configuration["webhooks"].as_array_mut().map(Vec::pop);
        }),
    ] {
        let said = as_injector(REPLACE, &object)?.err().unwrap_or_default();
        assert!(
            said.contains("injected-webhooks") && !said.contains("resulted in error"),
            "{object}: {said}"
        );
    }
    let delete = "delete validatingwebhookconfiguration injected --dry-run=server";
    let said = as_injector(delete, &Value::Null)?.err().unwrap_or_default();
    assert!(said.contains("injected-webhooks"), "{said}");
    Ok(())
}

/// Deleted in the foreground, the configuration waits for the garbage collector, and the API server goes on asking by it.
#[test]
fn while_the_webhook_configuration_goes_nobody_hollows_it_out() -> TestResult {
    let guarded = guarded()?;
    let values = [
        VALUES,
        &[
            "--set=fullnameOverride=going",
            "--set=config.guardedKinds={tier.projectcalico.org}",
        ],
    ];
    let objects = render(&values.concat())?;
    let configuration = named(&objects, "ValidatingWebhookConfiguration", "going")?;
    let held = changed(configuration, |object| {
        object["metadata"]["finalizers"] = json!(["example.com/hold"]);
    });
    for object in [
        &held,
        named(&objects, "ValidatingAdmissionPolicy", "going-webhooks")?,
        named(&objects, "ValidatingAdmissionPolicyBinding", "going-webhooks")?,
    ] {
        guarded.lets("admin", "create -f -", object)?;
    }
    let delete = "delete validatingwebhookconfiguration going";
    until("the policy to be in force", || {
        let line = format!("{delete} --dry-run=server");
        Ok(run(&mut guarded.kubectl(CLUSTER_ADMIN, &line), "")?.is_err_and(|error| error.contains("going-webhooks")))
    })?;
    guarded.lets(GUARD_ADMIN, &format!("{delete} --wait=false"), &Value::Null)?;
    let live = guarded.object("validatingwebhookconfiguration going")?;
    assert!(!at(&live, "/metadata/deletionTimestamp").is_null(), "{live}");
    let released = changed(&live, |object| object["metadata"]["finalizers"] = json!([]));
    let hollow = changed(&released, |object| {
        object["webhooks"][0]["failurePolicy"] = json!("Ignore");
    });
    let collector = "system:serviceaccount:kube-system:generic-garbage-collector";
    for (user, object) in [
        (CLUSTER_ADMIN, &released),
        (CLUSTER_ADMIN, &hollow),
        (collector, &hollow),
    ] {
        let said = run(&mut guarded.kubectl(user, REPLACE), &object.to_string())?
            .err()
            .unwrap_or_default();
        assert!(
            said.contains("going-webhooks") && !said.contains("resulted in error"),
            "{user}: {said}"
        );
    }
    guarded.lets(collector, "replace -f -", &released)?;
    assert!(
        run(
            &mut guarded.kubectl("admin", "get validatingwebhookconfiguration going"),
            ""
        )?
        .is_err()
    );
    Ok(())
}

#[test]
fn in_audit_the_guard_only_warns() -> TestResult {
    for binding in of_kind(&render(AUDIT)?, "ValidatingAdmissionPolicyBinding") {
        // A grant for somebody else would outlive the mode.
        let is_of_grants = at(binding, "/spec/policyName") == "headgate-grants";
        let actions = if is_of_grants {
            json!(["Deny"])
        } else {
            json!(["Warn", "Audit"])
        };
        assert_eq!(at(binding, "/spec/validationActions"), &actions);
    }
    let objects = render(&[])?;
    for policy in of_kind(&objects, "ValidatingAdmissionPolicy") {
        // What a policy cannot evaluate it refuses.
        assert_eq!(at(policy, "/spec/failurePolicy"), "Fail");
    }
    let bindings: Vec<_> = of_kind(&objects, "ValidatingAdmissionPolicyBinding").collect();
    assert_eq!(bindings.len(), 4);
    for binding in bindings {
        assert_eq!(at(binding, "/spec/validationActions"), &json!(["Deny"]));
    }
    Ok(())
}

#[test]
fn what_the_loop_keeps_is_what_helm_installs() -> TestResult {
    let every_lock: &[&str] = &["--set=lockWriters=true"];
    for values in variants().into_iter().chain([every_lock]) {
        let objects = render(values)?;
        let text = at(named(&objects, "ConfigMap", "headgate-own")?, "/data/manifests.yaml").as_str();
        let kept: Vec<Value> = serde_saphyr::from_multiple(text.ok_or("no manifests")?)?;
        assert!(kept.len() >= 7);
        for manifest in &kept {
            assert!(objects.contains(manifest), "{manifest}");
        }
        let group = "admissionregistration.k8s.io/v1";
        assert_eq!(
            objects
                .iter()
                .filter(|object| at(object, "/apiVersion") == group)
                .count(),
            kept.len()
        );
    }
    Ok(())
}

#[test]
fn who_upgrades_has_to_be_an_administrator_and_can_be_made_one() -> TestResult {
    let plane = plane()?;
    let admins = |users: &str| format!("--set=guard.admins.groups=null,guard.admins.users={{{users}}}");
    let one_kind = "--set=config.guardedKinds={tier.projectcalico.org}";
    for user in [CLUSTER_ADMIN, GUARD_ADMIN] {
        let bind = format!("create clusterrolebinding {user} --clusterrole=cluster-admin --user={user}");
        succeed(&mut kubectl(&plane, &bind), "")?;
    }
    let upgrade = |user: &str, values: &[&str]| {
        let mut helm = install(&plane, values);
        helm.env("KUBECONFIG", plane.kubeconfig_for_user(user, &[])?);
        run(&mut helm, "")
    };
    upgrade(CLUSTER_ADMIN, &[&admins(GUARD_ADMIN)])??;
    until("the guard to be in force", || {
        let line = format!("delete validatingwebhookconfiguration headgate --dry-run=server --as={CLUSTER_ADMIN}");
        Ok(run(&mut kubectl(&plane, &line), "")?.is_err_and(|error| error.contains("headgate-webhooks")))
    })?;
    let said = upgrade(CLUSTER_ADMIN, &[&admins(GUARD_ADMIN), one_kind])?
        .err()
        .unwrap_or_default();
    assert!(said.contains("headgate-webhooks"), "{said}");
    upgrade(GUARD_ADMIN, &[&admins(GUARD_ADMIN), one_kind])??;
    // An upgrade that changes nothing but the list is open to whoever may change policies.
    let both = admins(&format!("{GUARD_ADMIN},{CLUSTER_ADMIN}"));
    upgrade(CLUSTER_ADMIN, &[&both, one_kind])??;
    until("the longer list to be in force", || {
        Ok(upgrade(CLUSTER_ADMIN, &[&both])?.is_ok())
    })
}
