//! The lock on writers: who may write guarded kinds while nobody answers for the webhook, and while there is none.

use serde_json::{Value, json};

use crate::controlplane::ControlPlane;
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
const COLLECTOR: &str = "system:serviceaccount:kube-system:generic-garbage-collector";
const NAMESPACES: &str = "system:serviceaccount:kube-system:namespace-controller";

fn policy(namespace: &str, name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace, "labels": labels}, "spec": {"podSelector": {}},
    })
}

/// A cluster with the lock in it, and nobody who answers for the webhook.
struct Locked(ControlPlane);

impl Locked {
    fn start() -> Result<Self, Error> {
        let plane = plane()?;
        let tiers = shared("crds/calico-native-v3/projectcalico.org_tiers.yaml")?;
        succeed(kubectl(&plane, "apply --server-side -f").arg(tiers), "")?;
        succeed(&mut install(&plane, LOCKED), "")?;
        for namespace in ["web", "robo-1"] {
            succeed(&mut kubectl(&plane, &format!("create namespace {namespace}")), "")?;
        }
        let controllers = [COLLECTOR, NAMESPACES].map(|name| format!("--user={name}"));
        for (name, subject) in [
            ("robot", "--user=robot"),
            ("group", "--group=robots"),
            ("collector", &controllers[0]),
            ("namespaces", &controllers[1]),
        ] {
            let bind = format!("create clusterrolebinding {name} --clusterrole=cluster-admin {subject}");
            succeed(&mut kubectl(&plane, &bind), "")?;
        }
        Ok(Self(plane))
    }

    fn ask(&self, user: &str, line: &str, object: &Value) -> Result<Result<String, String>, Error> {
        let mut kubectl = kubectl(&self.0, line);
        if user != "admin" {
            kubectl.args(user.split(' '));
        }
        run(&mut kubectl, &object.to_string())
    }

    fn refused(&self, user: &str, line: &str, object: &Value) -> TestResult {
        let said = self
            .ask(user, line, object)?
            .err()
            .ok_or_else(|| format!("{user}: {line} was to be refused"))?;
        assert!(
            said.contains(POLICY) && !said.contains("resulted in error"),
            "{user}: {line}: {said}"
        );
        Ok(())
    }

    fn lets(&self, user: &str, line: &str, object: &Value) -> TestResult {
        self.ask(user, line, object)?
            .map(drop)
            .map_err(|error| format!("{user}: {line}: {error}").into())
    }
}

#[test]
fn only_the_loop_and_the_exempt_write_and_what_ends_still_ends() -> TestResult {
    let locked = Locked::start()?;
    let plain = policy("web", "plain", &json!({}));
    let (create, replace) = ("create -f -", "replace -f -");
    until("the lock to be in force", || {
        Ok(locked
            .ask("admin", create, &plain)?
            .is_err_and(|error| error.contains(POLICY)))
    })?;
    // Nobody answers for the webhook: who passes the lock is refused there, and nobody else gets so far.
    let loop_itself = format!("--as={}", account("sync"));
    let said = locked.ask(&loop_itself, create, &plain)?.err().unwrap_or_default();
    assert!(said.contains("failed calling webhook"), "{said}");

    locked.lets("admin", "delete validatingwebhookconfiguration headgate", &Value::Null)?;
    until("the webhook to be gone", || {
        Ok(locked.ask(&loop_itself, create, &plain)?.is_ok())
    })?;
    let label = |policy: &Value| {
        let mut policy = policy.clone();
        policy["metadata"]["labels"]["more"] = json!("so");
        policy
    };
    locked.refused("admin", create, &policy("web", "other", &json!({})))?;
    locked.refused("admin", replace, &label(&plain))?;
    locked.refused("admin", "delete networkpolicy -n web plain", &Value::Null)?;
    locked.refused("admin", "delete networkpolicy -n web --all", &Value::Null)?;
    locked.lets("admin", replace, &plain)?;
    changes_of_each_sort_are_refused(&locked, &plain)?;
    finalizers_hold_only_what_is_going(&locked, &loop_itself)?;
    locked.lets(&loop_itself, replace, &label(&plain))?;

    let made = json!({"made-by": "robot"});
    let exempt = policy("robo-1", "auto.a-1", &made);
    locked.lets("--as=robot", create, &exempt)?;
    locked.lets("--as=someone --as-group=robots", replace, &label(&exempt))?;
    locked.refused(
        "--as=someone --as-group=others --as-group=system:masters",
        replace,
        &exempt,
    )?;
    locked.refused("--as=robot", replace, &policy("robo-1", "auto.a-1", &json!({})))?;
    locked.refused("--as=robot", "delete networkpolicy -n robo-1 auto.a-1", &Value::Null)?;
    locked.refused("--as=robot", create, &policy("web", "auto.a-1", &made))?;
    locked.refused("--as=robot", create, &policy("robo-1", "autoxa-1", &made))?;
    locked.refused("--as=robot", create, &policy("robo-1", "xauto.a-1", &made))?;

    owners_and_namespaces_take_their_policies_along(&locked, &loop_itself)
}

/// What no exemption names is refused, whatever part of the object it is about and whoever ends things.
fn changes_of_each_sort_are_refused(locked: &Locked, plain: &Value) -> TestResult {
    let (create, replace) = ("create -f -", "replace -f -");
    for (place, value) in [
        ("annotations", json!({"a": "b"})),
        (
            "ownerReferences",
            json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "y"}]),
        ),
        ("finalizers", json!(["example.com/hold"])),
    ] {
        let mut with = plain.clone();
        with["metadata"][place] = value;
        locked.refused("admin", replace, &with)?;
    }
    let mut opened = plain.clone();
    opened["spec"]["ingress"] = json!([{}]);
    locked.refused("admin", replace, &opened)?;
    // Who ends things ends them, and writes nothing.
    let (collector, namespaces) = (format!("--as={COLLECTOR}"), format!("--as={NAMESPACES}"));
    locked.refused(&collector, create, &policy("web", "other", &json!({})))?;
    locked.refused(&namespaces, create, &policy("web", "other", &json!({})))?;
    locked.refused(&namespaces, replace, &opened)?;
    let tier = |name: &str| json!({"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": name}, "spec": {"order": 1, "defaultAction": "Pass"}});
    locked.lets("admin", create, &tier("kube-admin"))?;
    locked.refused("admin", create, &tier("team-a"))?;
    locked.refused("admin", "delete tiers.projectcalico.org kube-admin", &Value::Null)?;
    Ok(())
}

/// A finalizer holds what is being deleted until it goes, and nothing else.
fn finalizers_hold_only_what_is_going(locked: &Locked, loop_itself: &str) -> TestResult {
    let mut held = policy("web", "held", &json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    locked.lets(loop_itself, "create -f -", &held)?;
    let release = "patch networkpolicy held -n web --type=merge -p {\"metadata\":{\"finalizers\":null}}";
    locked.refused("admin", release, &Value::Null)?;
    locked.lets(
        loop_itself,
        "delete networkpolicy held -n web --wait=false",
        &Value::Null,
    )?;
    locked.lets("admin", release, &Value::Null)
}

fn owners_and_namespaces_take_their_policies_along(locked: &Locked, loop_itself: &str) -> TestResult {
    // An owner that goes takes its policies with it, and a namespace all of them.
    locked.lets("admin", "create configmap owner -n web", &Value::Null)?;
    let owner: Value = serde_json::from_str(&succeed(
        &mut kubectl(&locked.0, "get configmap owner -n web -o json"),
        "",
    )?)?;
    let mut dependent = policy("web", "owned", &json!({}));
    dependent["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": at(&owner, "/metadata/uid")}]);
    locked.lets(loop_itself, "create -f -", &dependent)?;
    locked.lets("admin", "delete configmap owner -n web", &Value::Null)?;
    locked.lets(
        "admin",
        "wait --for=delete networkpolicy/owned -n web --timeout=60s",
        &Value::Null,
    )?;
    locked.lets("admin", "delete namespace web --timeout=60s", &Value::Null)
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
