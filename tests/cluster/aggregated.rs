//! What Calico's API server stores in `crd.projectcalico.org`, written here in its name: it is nobody special.

use serde_json::{Value, json};

use crate::calico::shared;
use crate::stand::{Said, Stand};
use crate::{Failure, Outcome};

const SERVER: &str = "system:serviceaccount:calico-apiserver:calico-apiserver";
const CONTROLLERS: &str = "system:serviceaccount:calico-system:calico-kube-controllers";
const POLICIES: &str = "networkpolicies.crd.projectcalico.org";
const SETS: &str = "networksets.crd.projectcalico.org";

fn as_user(stand: &Stand, user: &str, arguments: &[&str], input: &str) -> Said {
    let user = format!("--as={user}");
    let identity = [user.as_str(), "--as-group=system:masters"];
    stand.kubectl_with(&[arguments, &identity].concat(), input)
}

fn create(stand: &Stand, user: &str, object: &str) -> Said {
    as_user(stand, user, &["create", "-f", "-"], object)
}

/// A policy as Calico's server stores it: under this name, showing that one.
fn policy(namespace: &str, stored: &str, name: &str, selector: &str) -> String {
    let spec = json!({"tier": "default", "types": ["Ingress"], "selector": selector});
    object("NetworkPolicy", (namespace, stored), &json!({"name": name}), &spec)
}

fn object(kind: &str, (namespace, name): (&str, &str), annotation: &Value, spec: &Value) -> String {
    let annotations = json!({"projectcalico.org/metadata": annotation.to_string()});
    let metadata = json!({"name": name, "namespace": namespace, "annotations": annotations});
    json!({"apiVersion": "crd.projectcalico.org/v1", "kind": kind, "metadata": metadata, "spec": spec}).to_string()
}

const DECLARED: &str = "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: web, namespace: calico}\n\
    spec: {selector: app == 'web', types: [Ingress]}\n---\n\
    apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: api, namespace: calico}\n\
    spec: {selector: app == 'api', types: [Ingress]}\n---\n\
    apiVersion: projectcalico.org/v3\nkind: NetworkSet\nmetadata: {name: trusted, namespace: calico, labels: {role: partner}}\n\
    spec: {nets: [203.0.113.0/24]}\n";

/// Calico's stored kinds, a twin from before, and Headgate that applies nothing itself.
fn installed() -> Result<Option<Stand>, Failure> {
    let Some(definitions) = shared("crds/calico-crd-v1")? else {
        return Ok(None);
    };
    let stand = Stand::new()?;
    let definitions = definitions.display().to_string();
    stand.kubectl(&["apply", "--server-side", "-f", &definitions]).ok()?;
    let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
    stand.kubectl(&established).ok()?;
    for namespace in ["calico", "calico-system"] {
        stand.kubectl(&["create", "namespace", namespace]).ok()?;
    }
    stand
        .kubectl_with(&["create", "-f", "-"], &policy("calico", "twin", "web", "all()"))
        .ok()?;
    stand.repository.write("calico.yaml", DECLARED)?;
    stand.repository.commit("Calico policies")?;
    stand.serve("exemptionPresets: [{name: tigera-operator}, {name: calico-policy-name-migration}]\n")?;
    stand.add_source("platform", json!({"sync": {"enabled": false}}))?;
    stand.until("the head", || {
        let source = stand.get("policysource/platform", None)?;
        Ok(source["status"]["head"].is_object().then_some(()))
    })?;
    Ok(Some(stand))
}

#[test]
fn calicos_server_stores_and_deletes_nothing_but_what_git_says() -> Outcome {
    let Some(stand) = installed()? else {
        return Ok(());
    };
    misplaced(&stand)?;
    create(&stand, SERVER, &policy("calico", "web", "web", "app == 'web'")).ok()?;
    create(&stand, SERVER, &set(&json!({"role": "partner"}))).ok()?;
    let opened = policy("calico", "web", "web", "all()");
    let opened = as_user(&stand, SERVER, &["replace", "-f", "-"], &opened).refused()?;
    assert!(opened.contains("spec.selector"), "{opened}");
    // A person's delete through the server and the garbage collector's look like this.
    for what in ["web", "--all"] {
        let said = as_user(&stand, SERVER, &["delete", POLICIES, what, "-n", "calico"], "").refused()?;
        assert!(
            said.contains("NetworkPolicy calico/web is still declared in Git"),
            "{said}"
        );
    }
    assert!(!stand.get(&format!("{POLICIES}/web"), Some("calico"))?.is_null());
    forgeries(&stand)?;
    exempt(&stand)
}

fn set(labels: &Value) -> String {
    let spec = json!({"nets": ["203.0.113.0/24"]});
    object("NetworkSet", ("calico", "trusted"), &json!({"labels": labels}), &spec)
}

fn forgeries(stand: &Stand) -> Outcome {
    for user in [SERVER, "alice"] {
        let flipped = as_user(stand, user, &["replace", "-f", "-"], &set(&json!({"role": "admin"})));
        let flipped = flipped.refused()?;
        assert!(flipped.contains("metadata.labels.role"), "{flipped}");
        for (stored, name) in [("second", "web"), ("api", "other")] {
            let forged = policy("calico", stored, name, "app == 'web'");
            let said = create(stand, user, &forged).refused()?;
            assert!(said.contains("a name that it is not stored under"), "{said}");
        }
        let going = json!({"labels": {"role": "partner"}, "deletionTimestamp": "2026-01-01T00:00:00Z"});
        for (annotation, why) in [
            ("no JSON".to_owned(), "is not JSON"),
            (going.to_string(), "still declared in Git"),
        ] {
            let annotations = json!({"projectcalico.org/metadata": annotation});
            let patch = json!({"metadata": {"annotations": annotations}}).to_string();
            let arguments = ["patch", SETS, "trusted", "-n", "calico", "--type=merge", "-p", &patch];
            let said = as_user(stand, user, &arguments, "").refused()?;
            assert!(said.contains(why), "{said}");
        }
    }
    Ok(())
}

/// The twin was there before the gate: it may go, and not be written.
fn misplaced(stand: &Stand) -> Outcome {
    // The second one is what Git says of web.
    for selector in ["has(a)", "app == 'web'"] {
        let edited = policy("calico", "twin", "web", selector);
        let said = stand.kubectl_with(&["replace", "-f", "-"], &edited).refused()?;
        assert!(said.contains("stored under a name that is not its own"), "{said}");
    }
    stand
        .kubectl(&["delete", POLICIES, "twin", "-n", "calico"])
        .ok()
        .map(drop)
}

fn exempt(stand: &Stand) -> Outcome {
    let own = |namespace: &str, name: &str| policy(namespace, name, name, "all()");
    // The operator was judged on v3; its server stores it. Nobody gets that by writing directly.
    create(stand, SERVER, &own("calico-system", "calico-system.dns")).ok()?;
    create(stand, "alice", &own("calico-system", "calico-system.api")).refused()?;
    create(stand, SERVER, &own("calico", "calico-system.dns")).refused()?;
    // The policy-name migration: the same policy under its old name goes, for its controller only.
    let api = |stored: &str| policy("calico", stored, "api", "app == 'api'");
    create(stand, SERVER, &api("default.api")).ok()?;
    let delete = |user: &str, name: &str| as_user(stand, user, &["delete", POLICIES, name, "-n", "calico"], "");
    for user in [SERVER, "alice"] {
        let said = delete(user, "default.api").refused()?;
        assert!(said.contains("still declared in Git"), "{said}");
    }
    create(stand, CONTROLLERS, &api("api")).ok()?;
    delete(CONTROLLERS, "default.api").ok()?;
    delete(CONTROLLERS, "api").refused()?;
    Ok(())
}
