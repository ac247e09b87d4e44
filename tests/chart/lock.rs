//! The lock on writers: who may write guarded kinds while nobody answers for the webhook, and while there is none.

use serde_json::{Value, json};

use crate::guard::{account, until};
use crate::tools::*;

const LOCKED: &[&str] = &[
    "--set=lockWriters=true",
    concat!(
        "--set-json=config.exemptions=[",
        r#"{"users": ["robot"], "groups": ["robots"], "kinds": ["networkpolicy.networking.k8s.io"], "namespaces": ["robo-*"], "#,
        r#""names": ["auto.?-*"], "labels": {"made-by": "robot"}, "operations": ["CREATE", "UPDATE"], "reason": "automatic"}]"#
    ),
];
const POLICY: &str = "ValidatingAdmissionPolicy 'headgate-writers'";

fn policy(namespace: &str, name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace, "labels": labels}, "spec": {"podSelector": {}},
    })
}

#[test]
fn only_the_loop_and_the_exempt_write_and_what_ends_still_ends() -> TestResult {
    let plane = plane()?;
    succeed(&mut install(&plane, LOCKED), "")?;
    for namespace in ["web", "robo-1"] {
        succeed(&mut kubectl(&plane, &format!("create namespace {namespace}")), "")?;
    }
    for (name, subject) in [("robot", "--user=robot"), ("group", "--group=robots")] {
        let bind = format!("create clusterrolebinding {name} --clusterrole=cluster-admin {subject}");
        succeed(&mut kubectl(&plane, &bind), "")?;
    }
    let ask = |user: &str, line: &str, object: &Value| {
        let mut kubectl = kubectl(&plane, line);
        if user != "admin" {
            kubectl.args(user.split(' '));
        }
        run(&mut kubectl, &object.to_string())
    };
    let refused = |user: &str, line: &str, object: &Value| -> TestResult {
        let said = ask(user, line, object)?
            .err()
            .ok_or_else(|| format!("{user}: {line} was to be refused"))?;
        assert!(
            said.contains(POLICY) && !said.contains("resulted in error"),
            "{user}: {line}: {said}"
        );
        Ok(())
    };
    let lets = |user: &str, line: &str, object: &Value| -> TestResult {
        ask(user, line, object)?
            .map(drop)
            .map_err(|error| format!("{user}: {line}: {error}").into())
    };
    let plain = policy("web", "plain", &json!({}));
    let (create, replace) = ("create -f -", "replace -f -");
    until("the lock to be in force", || {
        Ok(ask("admin", create, &plain)?.is_err_and(|error| error.contains(POLICY)))
    })?;
    // Nobody answers for the webhook: who passes the lock is refused there, and nobody else gets so far.
    let loop_itself = format!("--as={}", account("sync"));
    let said = ask(&loop_itself, create, &plain)?.err().unwrap_or_default();
    assert!(said.contains("failed calling webhook"), "{said}");

    lets("admin", "delete validatingwebhookconfiguration headgate", &Value::Null)?;
    until("the webhook to be gone", || {
        Ok(ask(&loop_itself, create, &plain)?.is_ok())
    })?;
    let label = |policy: &Value| {
        let mut policy = policy.clone();
        policy["metadata"]["labels"]["more"] = json!("so");
        policy
    };
    refused("admin", create, &policy("web", "other", &json!({})))?;
    refused("admin", replace, &label(&plain))?;
    refused("admin", "delete networkpolicy -n web plain", &Value::Null)?;
    refused("admin", "delete networkpolicy -n web --all", &Value::Null)?;
    lets("admin", replace, &plain)?;
    lets(&loop_itself, replace, &label(&plain))?;

    let made = json!({"made-by": "robot"});
    let exempt = policy("robo-1", "auto.a-1", &made);
    lets("--as=robot", create, &exempt)?;
    lets("--as=someone --as-group=robots", replace, &label(&exempt))?;
    refused(
        "--as=someone --as-group=others --as-group=system:masters",
        replace,
        &exempt,
    )?;
    refused("--as=robot", replace, &policy("robo-1", "auto.a-1", &json!({})))?;
    refused("--as=robot", "delete networkpolicy -n robo-1 auto.a-1", &Value::Null)?;
    refused("--as=robot", create, &policy("web", "auto.a-1", &made))?;
    refused("--as=robot", create, &policy("robo-1", "autoxa-1", &made))?;
    refused("--as=robot", create, &policy("robo-1", "xauto.a-1", &made))?;

    // An owner that goes takes its policies with it, and a namespace all of them.
    lets("admin", "create configmap owner -n web", &Value::Null)?;
    let owner: Value = serde_json::from_str(&succeed(
        &mut kubectl(&plane, "get configmap owner -n web -o json"),
        "",
    )?)?;
    let mut dependent = policy("web", "owned", &json!({}));
    dependent["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": at(&owner, "/metadata/uid")}]);
    lets(&loop_itself, create, &dependent)?;
    lets("admin", "delete configmap owner -n web", &Value::Null)?;
    lets(
        "admin",
        "wait --for=delete networkpolicy/owned -n web --timeout=60s",
        &Value::Null,
    )?;
    lets("admin", "delete namespace web --timeout=60s", &Value::Null)
}

#[test]
fn a_lock_that_makes_no_sense_is_refused() -> TestResult {
    for (value, named) in [
        ("config.mode=Audit", "Audit"),
        ("config.uncovered=Allow", "uncovered"),
        ("sync.replicas=0,certificates.mode=generate", "only writer"),
        (
            r"config.exemptions[0].names[0]=a[bc],config.exemptions[0].users[0]=u,config.exemptions[0].reason=r,config.exemptions[0].kinds[0]=tier.projectcalico.org",
            "CEL",
        ),
    ] {
        let lock = ["--set=lockWriters=true", &format!("--set={value}")];
        let error = fail(helm(cluster()?, "template headgate", &lock).arg(CHART), "")?;
        assert!(
            error.contains("lockWriters") && error.contains(named),
            "{value}: {error}"
        );
    }
    Ok(())
}
