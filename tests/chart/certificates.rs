//! The certificate that the loop makes: what the chart leaves to it, and what an upgrade leaves alone.

use serde_json::{Value, json};

use crate::tools::*;

const SECRET: &str = "headgate-webhook-certs";

/// As the loop creates and writes it; nothing in it is a certificate.
fn made(name: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE},
        "data": {"ca.crt": "Y2E=", "tls.crt": "Y3J0", "tls.key": "a2V5"},
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_leaves_the_certificate_that_the_loop_made_and_whom_it_trusts() -> TestResult {
    let plane = plane()?;
    let get = |line: &str| succeed(&mut kubectl(&plane, &format!("get -n {NAMESPACE} {line}")), "");
    let trusted = || get("validatingwebhookconfiguration headgate -o=jsonpath={.webhooks[*].clientConfig.caBundle}");
    let data = || get(&format!("secret {SECRET} -o=jsonpath={{.data}}"));

    // From another mode: what replicas serve by stays trusted until the loop says otherwise.
    succeed(&mut install(&plane, GENERATE), "")?;
    let before = trusted()?;
    // Without any value, helm would take those of before.
    succeed(&mut install(&plane, &["--reset-values"]), "")?;
    assert!(!before.is_empty());
    assert_eq!((trusted()?, data()?), (before, String::new()));
    let own = get("configmap headgate-own -o=jsonpath={.data}")?;
    assert!(!own.contains("caBundle"), "{own}");

    // What the loop makes of it is nothing to any upgrade.
    let sync = plane.kubeconfig_for_service_account(NAMESPACE, "headgate-sync").await?;
    let as_sync = |line: &str| {
        let mut kubectl = plane.kubectl_for(&sync);
        kubectl.args(line.split(' '));
        kubectl
    };
    let patch = format!("patch secret {SECRET} -n {NAMESPACE} --type=merge -p");
    succeed(as_sync(&patch).arg(made(SECRET)), "")?;
    let certificate = some_certificate()?;
    let live = get("validatingwebhookconfiguration headgate -o=json")?;
    let mut live: Value = serde_json::from_str(&live)?;
    for webhook in live
        .pointer_mut("/webhooks")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        webhook["clientConfig"]["caBundle"] = certificate.clone();
    }
    succeed(&mut as_sync("replace -f -"), &live.to_string())?;
    let (by_loop, made_data) = (trusted()?, data()?);
    assert!(by_loop.split(' ').all(|bundle| certificate == bundle) && made_data.contains("a2V5"));
    for values in [AUDIT, &["--set=config.guardNamespaces=true"], &["--reset-values"]] {
        succeed(&mut install(&plane, values), "")?;
        assert_eq!(data()?, made_data);
        assert!(trusted()?.split(' ').all(|bundle| certificate == bundle));
    }

    // Were the Secret deleted, the loop makes it again: this one and no other, which a POST could not be held to.
    succeed(
        &mut kubectl(&plane, &format!("delete secret {SECRET} -n {NAMESPACE}")),
        "",
    )?;
    let apply = "apply --server-side --field-manager=headgate -f -";
    let forbidden = |line: &str, name: &str| -> TestResult {
        let error = fail(&mut as_sync(line), &made(name))?;
        assert!(error.contains("Forbidden") || error.contains("forbidden"), "{error}");
        Ok(())
    };
    forbidden("create -f -", SECRET)?;
    forbidden("create -f -", "other")?;
    forbidden(apply, "other")?;
    succeed(&mut as_sync(apply), &made(SECRET))?;
    assert_eq!(data()?, made_data);
    Ok(())
}

/// Some certificate, PEM, as base64: the API server looks whether it is one.
fn some_certificate() -> Result<Value, Error> {
    let made = rcgen::generate_simple_self_signed(vec!["headgate-webhook.headgate-system.svc".to_owned()])?;
    Ok(serde_json::to_value(k8s_openapi::ByteString(made.cert.pem().into()))?)
}

/// What older releases' values do not have.
const NEWER: &[&str] = &[
    "config.dryRun",
    "config.genericKinds",
    "config.exemptionPresets",
    "config.exemptions",
    "config.guardNamespaces",
    "config.grants",
    "certificates.selfManaged",
    "certificates.certManager",
    "guard",
    "lockWriters",
    "lockWritersStorage",
    "uninstall",
    "webhook.drainSeconds",
];

#[test]
fn values_of_an_older_release_mean_what_todays_defaults_mean() -> TestResult {
    // As after `helm upgrade --reuse-values`: what the release was installed with, and nothing from this chart's values.
    let older: Vec<String> = NEWER.iter().map(|key| format!("--set={key}=null")).collect();
    let older: Vec<&str> = older.iter().map(String::as_str).collect();
    for mode in [&[][..], CERT_MANAGER] {
        assert_eq!(render(&[&older[..], mode].concat())?, render(mode)?);
    }
    for key in NEWER {
        assert_eq!(render(&[&format!("--set={key}=null")])?, render(&[])?, "{key}");
    }
    // What is said counts, also where it says no.
    let without = [
        "--set=config.grants=null",
        "--set=guard.enabled=false",
        "--set=uninstall.hook=false",
    ];
    let objects = render(&without)?;
    assert!(named(&objects, "ValidatingAdmissionPolicy", "headgate-webhooks").is_err());
    assert!(of_kind(&objects, "Job").next().is_none());
    Ok(())
}

#[test]
fn a_release_of_an_older_chart_is_upgraded_with_its_values() -> TestResult {
    let plane = plane()?;
    // The chart as it was before those values: helm takes what is not given from there and not from today's.
    let folder = tempfile::tempdir()?;
    let chart = folder.path().join("headgate");
    succeed(std::process::Command::new("cp").arg("-r").arg(CHART).arg(&chart), "")?;
    let mut values: Value = serde_saphyr::from_str(&std::fs::read_to_string(chart.join("values.yaml"))?)?;
    for key in NEWER {
        let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
        let pointer = if section.is_empty() {
            String::new()
        } else {
            format!("/{section}")
        };
        let section = values.pointer_mut(&pointer).and_then(Value::as_object_mut);
        section
            .and_then(|section| section.remove(name))
            .ok_or("a key is not in today's values")?;
    }
    values["certificates"]["mode"] = json!("generate");
    std::fs::write(chart.join("values.yaml"), values.to_string())?;
    let line = "upgrade --install --create-namespace headgate";
    succeed(helm(&plane, line, &[]).arg(&chart), "")?;
    succeed(&mut install(&plane, &["--reuse-values"]), "")?;
    let values: Value = serde_json::from_str(&succeed(
        &mut helm(&plane, "get values headgate -o json --all", &[]),
        "",
    )?)?;
    assert_eq!(at(&values, "/certificates/mode"), "generate");
    // Where the values are today's, so is the mode.
    succeed(&mut install(&plane, &["--reset-values"]), "")?;
    succeed(&mut kubectl(&plane, &format!("get secret {SECRET} -n {NAMESPACE}")), "")?;
    Ok(())
}
