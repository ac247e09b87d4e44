//! What a real API server says to the chart, from the first day to the last.

use std::process::{Command, Stdio};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use crate::controlplane::ControlPlane;
use crate::guard::until;
use crate::tools::*;

#[test]
fn the_api_server_accepts_all_of_it() -> TestResult {
    for values in variants() {
        let is_foreign = |object: &Value| {
            let group = at(object, "/apiVersion").as_str().unwrap_or_default();
            group.starts_with("cert-manager.io/") || group.starts_with("monitoring.coreos.com/")
        };
        let mut objects = render(values)?;
        objects.retain(|object| !is_foreign(object));
        // Two appliers' actions would be merged; helm is one and the same from install to install.
        let bindings = objects
            .iter_mut()
            .filter(|object| at(object, "/kind") == "ValidatingAdmissionPolicyBinding");
        for name in bindings.filter_map(|binding| binding.pointer_mut("/metadata/name")) {
            *name = json!(format!("{}-probe", name.as_str().unwrap_or_default()));
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        let apply = "apply --server-side --force-conflicts --dry-run=server --validate=strict -f -";
        let said = succeed(&mut kubectl(cluster()?, apply), &list.to_string())?;
        // A node's network is what the restricted standard forbids.
        assert_eq!(said.contains("Warning"), values == HOST_NETWORK, "{said}");
    }
    Ok(())
}

#[test]
fn the_pods_pass_the_restricted_pod_security_standard() -> TestResult {
    let objects = render(&[])?;
    for deployment in of_kind(&objects, "Deployment").chain(of_kind(&objects, "Job")) {
        let mut spec = at(deployment, "/spec/template/spec").clone();
        // The hook's own account is there only while it runs.
        spec["serviceAccountName"] = json!("headgate-sync");
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "probe", "namespace": NAMESPACE},
            "spec": spec,
        });
        succeed(
            &mut kubectl(cluster()?, "create --dry-run=server -f -"),
            &pod.to_string(),
        )?;
    }
    Ok(())
}

#[test]
fn while_the_webhook_is_down_calico_still_gets_its_tiers_and_nothing_else_passes() -> TestResult {
    // An error in a condition would be refused too, so it counts who refused.
    let refused = |line: &str, manifest: &Value, entry: &str| -> TestResult {
        let error = fail(&mut kubectl(cluster()?, line), &manifest.to_string())?;
        let wanted = format!("failed calling webhook \"{entry}.headgate.dev\"");
        assert!(error.contains(&wanted), "{line} {manifest}: {error}");
        Ok(())
    };
    let tier = |group_version: &str, name: &str| {
        let action = if name == "default" { "Deny" } else { "Pass" };
        json!({
            "apiVersion": group_version, "kind": "Tier", "metadata": {"name": name},
            "spec": {"order": 5, "defaultAction": action},
        })
    };
    for group_version in ["projectcalico.org/v3", "crd.projectcalico.org/v1"] {
        for name in [
            "default",
            "kube-admin",
            "kube-baseline",
            "adminnetworkpolicy",
            "baselineadminnetworkpolicy",
        ] {
            succeed(
                &mut kubectl(cluster()?, "create -f -"),
                &tier(group_version, name).to_string(),
            )?;
        }
        refused("create -f -", &tier(group_version, "team-a"), "calico-tiers")?;
        let mut generated = tier(group_version, "default");
        if let Some(metadata) = generated.get_mut("metadata") {
            *metadata = json!({"generateName": "default"});
        }
        refused("create -f -", &generated, "calico-tiers")?;
        let (group, _) = group_version.split_once('/').unwrap_or_default();
        for line in [
            format!("label tiers.{group} default a=b"),
            format!("delete tiers.{group} default"),
            format!("delete tiers.{group} --all"),
            format!("delete --raw=/apis/{group_version}/tiers"),
        ] {
            refused(&line, &Value::Null, "calico-tiers")?;
        }
    }
    for (group_version, kind, entry) in [
        ("networking.k8s.io/v1", "NetworkPolicy", "kubernetes"),
        ("projectcalico.org/v3", "NetworkPolicy", "calico"),
        ("crd.projectcalico.org/v1", "NetworkPolicy", "calico"),
        ("projectcalico.org/v3", "GlobalNetworkSet", "calico"),
    ] {
        let object = json!({
            "apiVersion": group_version, "kind": kind, "metadata": {"name": "default"}, "spec": {"podSelector": {}},
        });
        refused("create --validate=false -f -", &object, entry)?;
    }
    Ok(())
}

/// Shakes hands with the certificate that the chart makes, as the API server would.
fn shake_hands(secret: &Secret, name: &'static str) -> TestResult {
    let data = secret.data.as_ref().ok_or("an empty Secret")?;
    let pem = |file: &str| {
        data.get(file)
            .map(|bytes| bytes.0.as_slice())
            .ok_or("a file is missing")
    };
    let certificates =
        |file| -> Result<Vec<_>, Error> { Ok(CertificateDer::pem_slice_iter(pem(file)?).collect::<Result<_, _>>()?) };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates("ca.crt")?);
    let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            certificates("tls.crt")?,
            PrivateKeyDer::from_pem_slice(pem("tls.key")?)?,
        )?;
    let mut client = ClientConnection::new(Arc::new(client), name.try_into()?)?;
    let mut server = ServerConnection::new(Arc::new(server))?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire)?;
        server.read_tls(&mut wire.as_slice())?;
        server.process_new_packets()?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire)?;
        client.read_tls(&mut wire.as_slice())?;
        client.process_new_packets()?;
    }
    Ok(())
}

#[test]
fn the_generated_certificate_is_good_for_the_service_and_for_nothing_else() -> TestResult {
    let objects = render(GENERATE)?;
    let secret = serde_json::from_value(named(&objects, "Secret", "headgate-webhook-tls")?.clone())?;
    // The name the API server asks for.
    shake_hands(&secret, "headgate-webhook.headgate-system.svc")?;
    assert!(shake_hands(&secret, "headgate-webhook.other.svc").is_err());
    Ok(())
}

/// `helm uninstall`, with this test for a kubelet: it runs the hook's container as the hook's account.
async fn uninstall(plane: &ControlPlane) -> TestResult {
    let mut helm = helm(plane, "uninstall headgate --timeout 2m", &[]);
    let mut helm = helm.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let line = format!("get job headgate-uninstall -n {NAMESPACE} -o json --ignore-not-found");
    let mut job = String::new();
    until("the hook's Job", || {
        job = succeed(&mut kubectl(plane, &line), "")?;
        Ok(!job.is_empty())
    })?;
    let job: Value = serde_json::from_str(&job)?;
    let pod = at(&job, "/spec/template/spec");
    let account = at(pod, "/serviceAccountName").as_str().unwrap_or_default();
    let kubeconfig = plane.kubeconfig_for_service_account(NAMESPACE, account).await?;
    let arguments = all(pod, "/containers/0/args").filter_map(Value::as_str);
    let mut headgate = Command::new(env!("CARGO_BIN_EXE_headgate"));
    succeed(headgate.args(arguments).arg("--kubeconfig").arg(kubeconfig), "")?;
    let now = jiff::Timestamp::now();
    let met = |name: &str| json!({"type": name, "status": "True", "lastTransitionTime": now});
    let status = json!({"status": {
        "startTime": at(&job, "/metadata/creationTimestamp"), "completionTime": now, "succeeded": 1,
        "conditions": [met("SuccessCriteriaMet"), met("Complete")],
    }});
    let patch = format!("patch job headgate-uninstall -n {NAMESPACE} --subresource=status --type=merge -p");
    succeed(kubectl(plane, &patch).arg(status.to_string()), "")?;
    let status = helm.wait()?;
    assert!(status.success(), "helm uninstall: {status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn upgrades_keep_the_certificate_and_an_uninstall_keeps_the_sources() -> TestResult {
    let plane = plane()?;
    let get = |line: &str| succeed(&mut kubectl(&plane, &format!("get -n {NAMESPACE} {line}")), "");
    let trusted = || get("validatingwebhookconfiguration headgate -o=jsonpath={.webhooks[*].clientConfig.caBundle}");
    let secret = || get("secret headgate-webhook-tls -o=jsonpath={.data}");

    let notes = succeed(&mut install(&plane, GENERATE), "")?;
    assert!(notes.contains("kubectl get policysources"), "{notes}");
    let (first_trusted, first_secret) = (trusted()?, secret()?);
    succeed(&mut install(&plane, &[GENERATE, AUDIT].concat()), "")?;
    succeed(&mut install(&plane, GENERATE), "")?;
    assert_eq!((&first_trusted, &first_secret), (&trusted()?, &secret()?));
    let pair: Value = serde_json::from_str(&first_secret)?;
    assert!(first_trusted.split(' ').all(|trusted| at(&pair, "/ca.crt") == trusted));

    let source = json!({
        "apiVersion": "headgate.dev/v1alpha1", "kind": "PolicySource", "metadata": {"name": "platform"},
        "spec": {"git": {"url": "https://git.example.com/acme/policies.git"}},
    });
    succeed(&mut kubectl(&plane, "create -f -"), &source.to_string())?;
    uninstall(&plane).await?;
    assert!(get("policysources -o=name")?.contains("platform"));
    let gone = fail(&mut kubectl(&plane, "get validatingwebhookconfiguration headgate"), "")?;
    assert!(gone.contains("NotFound"), "{gone}");
    let left = succeed(
        &mut kubectl(
            &plane,
            "get validatingadmissionpolicies,clusterroles,clusterrolebindings -o=name",
        ),
        "",
    )?;
    assert!(!left.contains("headgate"), "{left}");
    // And it comes back beside what it left.
    succeed(&mut install(&plane, &[]), "")?;
    assert!(get("policysources -o=name")?.contains("platform"));
    Ok(())
}
