//! What the admission policies of the chart refuse and what they let pass, asked of a real API server.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::controlplane::ControlPlane;
use crate::tools::*;

/// Somebody to whom RBAC permits everything: what such a person may not do, nobody may.
pub(crate) const CLUSTER_ADMIN: &str = "carol";
/// Whom the values name.
pub(crate) const GUARD_ADMIN: &str = "alice";
pub(crate) const SOURCE_OWNER: &str = "bob";
pub(crate) const INSTALLER: &str = "tigera";

/// A cluster of its own, in which no group is an administrator of Headgate.
pub(crate) struct Guarded {
    pub(crate) plane: ControlPlane,
    kubeconfigs: Vec<(&'static str, PathBuf)>,
}

pub(crate) const VALUES: &[&str] = &[
    "--set=guard.admins.groups=null",
    "--set=guard.admins.users={alice}",
    "--set=guard.sources.users={bob}",
    "--set=guard.definitions.users={tigera}",
];

static GUARDED: LazyLock<Result<Guarded, Error>> = LazyLock::new(Guarded::start);

pub(crate) fn guarded() -> Result<&'static Guarded, Error> {
    GUARDED.as_ref().map_err(|error| error.to_string().into())
}

/// As the loop's own identity.
pub(crate) const SYNC: &str = "sync";

impl Guarded {
    fn start() -> Result<Self, Error> {
        let plane = plane()?;
        for folder in ["crds/calico-native-v3", "crds/calico-crd-v1"] {
            succeed(kubectl(&plane, "apply --server-side -f").arg(shared(folder)?), "")?;
        }
        let mut kubeconfigs = Vec::new();
        for user in [CLUSTER_ADMIN, GUARD_ADMIN, SOURCE_OWNER, INSTALLER] {
            kubeconfigs.push((user, plane.kubeconfig_for_user(user, &[])?));
            let bind = format!("create clusterrolebinding {user} --clusterrole=cluster-admin --user={user}");
            succeed(&mut kubectl(&plane, &bind), "")?;
        }
        succeed(&mut install(&plane, VALUES), "")?;
        // The identities themselves may do everything here, so that only the policies can refuse.
        for account in ["sync", "webhook", "uninstall"] {
            let bind = format!(
                "create clusterrolebinding all-{account} --clusterrole=cluster-admin --serviceaccount={NAMESPACE}:headgate-{account}"
            );
            succeed(&mut kubectl(&plane, &bind), "")?;
        }
        let guarded = Self { plane, kubeconfigs };
        guarded.until_in_force()?;
        Ok(guarded)
    }

    /// A policy is in force some seconds after it is created; each is waited for by something that it alone refuses.
    fn until_in_force(&self) -> TestResult {
        for line in [
            "annotate validatingwebhookconfiguration headgate probe=1 --dry-run=server --overwrite",
            "delete crd networkpolicies.projectcalico.org --dry-run=server",
            "create --dry-run=server -f -",
        ] {
            until(line, || {
                let said = run(&mut self.kubectl(CLUSTER_ADMIN, line), &source("probe").to_string())?;
                Ok(said.is_err_and(|error| error.contains("ValidatingAdmissionPolicy")))
            })?;
        }
        Ok(())
    }

    pub(crate) fn kubectl(&self, user: &str, line: &str) -> std::process::Command {
        let known = self.kubeconfigs.iter().find(|(name, _)| *name == user);
        let mut kubectl = match known {
            Some((_, kubeconfig)) => self.plane.kubectl_for(kubeconfig),
            None => self.plane.kubectl(),
        };
        kubectl.args(line.split(' '));
        if known.is_none() && user != "admin" {
            kubectl.arg(format!("--as={user}"));
        }
        kubectl
    }

    /// The change is refused, by this policy and by no other reason.
    pub(crate) fn refuses(&self, user: &str, line: &str, input: &Value, policy: &str) -> TestResult {
        let error = fail(&mut self.kubectl(user, line), &input.to_string())?;
        let wanted = format!("ValidatingAdmissionPolicy 'headgate-{policy}'");
        assert!(error.contains(&wanted), "{user}: {line}: {error}");
        assert!(!error.contains("resulted in error"), "{user}: {line}: {error}");
        Ok(())
    }

    pub(crate) fn lets(&self, user: &str, line: &str, input: &Value) -> TestResult {
        succeed(&mut self.kubectl(user, line), &input.to_string()).map(drop)
    }

    pub(crate) fn object(&self, line: &str) -> Result<Value, Error> {
        let text = succeed(&mut kubectl(&self.plane, &format!("get {line} -o json")), "")?;
        Ok(serde_json::from_str(&text)?)
    }
}

pub(crate) fn account(name: &str) -> String {
    format!("system:serviceaccount:{NAMESPACE}:headgate-{name}")
}

pub(crate) fn until(what: &str, mut look: impl FnMut() -> Result<bool, Error>) -> TestResult {
    let start = Instant::now();
    while !look()? {
        if start.elapsed() > Duration::from_mins(1) {
            return Err(format!("waited in vain for: {what}").into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn source(name: &str) -> Value {
    json!({
        "apiVersion": "headgate.dev/v1alpha1", "kind": "PolicySource", "metadata": {"name": name},
        "spec": {"git": {"url": "https://git.example.com/acme/policies.git"}},
    })
}

pub(crate) const REPLACE: &str = "replace --dry-run=server -f -";

#[test]
fn nobody_but_administrators_touches_the_webhook_configuration() -> TestResult {
    let guarded = guarded()?;
    let delete = "delete validatingwebhookconfigurations headgate --dry-run=server";
    let delete_all = "delete --raw=/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations?dryRun=All";
    let live = guarded.object("validatingwebhookconfiguration headgate")?;
    let mut ignoring = live.clone();
    ignoring["webhooks"][0]["failurePolicy"] = json!("Ignore");
    let mut trusting = live;
    trusting["webhooks"][0]["clientConfig"]["caBundle"] =
        json!("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCi0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K");
    for user in [
        CLUSTER_ADMIN,
        SOURCE_OWNER,
        INSTALLER,
        "system:serviceaccount:kube-system:generic-garbage-collector",
        &account("webhook"),
    ] {
        guarded.refuses(user, delete, &Value::Null, "webhooks")?;
        guarded.refuses(user, REPLACE, &ignoring, "webhooks")?;
        guarded.refuses(user, REPLACE, &trusting, "webhooks")?;
        guarded.refuses(
            user,
            "label validatingwebhookconfiguration headgate a=b --dry-run=server",
            &Value::Null,
            "webhooks",
        )?;
    }
    // A collection is deleted without a name in the request.
    guarded.refuses(CLUSTER_ADMIN, delete_all, &Value::Null, "webhooks")?;
    guarded.lets(GUARD_ADMIN, delete, &Value::Null)?;
    guarded.lets(GUARD_ADMIN, REPLACE, &ignoring)?;
    guarded.lets(&account(SYNC), REPLACE, &ignoring)?;
    guarded.lets(&account("uninstall"), delete, &Value::Null)?;
    guarded.refuses(&account("uninstall"), REPLACE, &ignoring, "webhooks")?;
    // Another's configuration is nobody's business here.
    let other = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "other"}, "webhooks": [],
    });
    guarded.lets(CLUSTER_ADMIN, "create -f -", &other)?;
    guarded.lets(
        CLUSTER_ADMIN,
        "delete validatingwebhookconfigurations other",
        &Value::Null,
    )
}

/// The definition with something changed in it.
pub(crate) fn changed(definition: &Value, change: impl FnOnce(&mut Value)) -> Value {
    let mut definition = definition.clone();
    change(&mut definition);
    definition
}

#[test]
fn sources_are_for_administrators_and_delegates_and_their_status_for_the_loop() -> TestResult {
    let guarded = guarded()?;
    let create = "create -f -";
    for user in [CLUSTER_ADMIN, INSTALLER, &account(SYNC), &account("webhook")] {
        guarded.refuses(user, create, &source("refused"), "sources")?;
    }
    guarded.lets(GUARD_ADMIN, create, &source("one"))?;
    guarded.lets(SOURCE_OWNER, create, &source("two"))?;

    let status = |user: &str| {
        let line =
            "patch policysource one --subresource=status --type=merge -p {\"status\":{\"shortCommit\":\"1234567\"}}";
        guarded.kubectl(user, line)
    };
    for user in [CLUSTER_ADMIN, GUARD_ADMIN, SOURCE_OWNER] {
        let error = fail(&mut status(user), "")?;
        assert!(
            error.contains("headgate-sources") && error.contains("only the sync loop"),
            "{error}"
        );
    }
    succeed(&mut status(&account(SYNC)), "")?;

    let finalizer = "patch policysource one --type=merge -p {\"metadata\":{\"finalizers\":[\"headgate.dev/release\"]}}";
    let release = "patch policysource one --type=merge -p {\"metadata\":{\"finalizers\":[]}}";
    let repoint =
        "patch policysource one --type=merge -p {\"spec\":{\"git\":{\"url\":\"https://evil.example/x.git\"}}}";
    guarded.refuses(CLUSTER_ADMIN, finalizer, &Value::Null, "sources")?;
    guarded.lets(&account(SYNC), finalizer, &Value::Null)?;
    guarded.lets(&account(SYNC), release, &Value::Null)?;
    for user in [
        CLUSTER_ADMIN,
        &account(SYNC),
        "system:serviceaccount:kube-system:generic-garbage-collector",
    ] {
        guarded.refuses(user, repoint, &Value::Null, "sources")?;
    }
    guarded.refuses(CLUSTER_ADMIN, "delete policysource one", &Value::Null, "sources")?;
    guarded.refuses(CLUSTER_ADMIN, "delete policysources --all", &Value::Null, "sources")?;
    guarded.lets(GUARD_ADMIN, repoint, &Value::Null)?;
    // In the foreground the garbage collector takes the last finalizer.
    guarded.lets(
        GUARD_ADMIN,
        "delete policysource one --cascade=foreground --timeout=60s",
        &Value::Null,
    )?;
    guarded.lets(SOURCE_OWNER, "delete policysource two", &Value::Null)
}

#[test]
fn a_policy_cannot_guard_policies() -> TestResult {
    // Why the sync loop puts them back: the API server asks no policy about policies.
    let guarded = guarded()?;
    let forbid = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "forbid"},
        "spec": {
            "matchConstraints": {"resourceRules": [{
                "apiGroups": ["admissionregistration.k8s.io"], "apiVersions": ["*"], "operations": ["UPDATE", "DELETE"],
                "resources": ["validatingadmissionpolicies", "validatingadmissionpolicybindings", "mutatingadmissionpolicies",
                    "mutatingwebhookconfigurations"],
            }]},
            "matchConditions": [{"name": "probe", "expression": "oldObject.metadata.name == 'probe'"}],
            "validations": [{"expression": "false"}],
        },
    });
    let bind = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "forbid"}, "spec": {"policyName": "forbid", "validationActions": ["Deny"]},
    });
    let probes = [
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "probe"}, "webhooks": []}),
        changed(&forbid, |policy| policy["metadata"]["name"] = json!("probe")),
        changed(&bind, |binding| binding["metadata"]["name"] = json!("probe")),
    ];
    for object in [&forbid, &bind].into_iter().chain(&probes) {
        guarded.lets("admin", "create -f -", object)?;
    }
    until("the policy to be in force", || {
        let line = "delete mutatingwebhookconfigurations probe --dry-run=server";
        Ok(run(&mut guarded.kubectl("admin", line), "")?.is_err_and(|error| error.contains("forbid")))
    })?;
    for kind in ["validatingadmissionpolicybindings", "validatingadmissionpolicies"] {
        guarded.lets("admin", &format!("delete {kind} probe"), &Value::Null)?;
        guarded.lets("admin", &format!("delete {kind} forbid"), &Value::Null)?;
    }
    Ok(())
}

#[test]
fn the_api_server_finds_no_fault_in_the_policies() -> TestResult {
    let guarded = guarded()?;
    for name in ["webhooks", "definitions", "sources"] {
        until("the policy to be type-checked", || {
            let policy = guarded.object(&format!("validatingadmissionpolicy headgate-{name}"))?;
            let observed = at(&policy, "/status/observedGeneration");
            Ok(!observed.is_null() && observed == at(&policy, "/metadata/generation"))
        })?;
        let policy = guarded.object(&format!("validatingadmissionpolicy headgate-{name}"))?;
        assert!(
            at(&policy, "/status/typeChecking/expressionWarnings").is_null(),
            "{policy}"
        );
    }
    Ok(())
}
