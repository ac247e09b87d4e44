//! What the tests of the chart have in common: the cluster, helm and kubectl, and ways into what helm renders.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use headgate::policy::{Family, Kind};
use serde_json::Value;

use crate::controlplane::ControlPlane;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type TestResult = Result<(), Error>;

pub(crate) const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/headgate");
pub(crate) const NAMESPACE: &str = "headgate-system";
pub(crate) const AUDIT: &[&str] = &["--set=config.mode=Audit"];
pub(crate) const EXISTING: &[&str] = &[
    "--set=certificates.mode=existing",
    "--set=certificates.existing.secretName=mine",
    "--set=certificates.existing.caBundle=LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t",
];
pub(crate) const GENERATE: &[&str] = &["--set=certificates.mode=generate"];
pub(crate) const CERT_MANAGER: &[&str] = &["--set=certificates.mode=cert-manager"];
pub(crate) const HOST_NETWORK: &[&str] = &[
    "--set=webhook.hostNetwork=true",
    "--set=webhook.replicas=1",
    "--set=metrics.serviceMonitor.enabled=true",
    "--set=rbac.secretNames={acme-git}",
    "--set=webhook.extraEnv[0].name=HTTPS_PROXY",
    "--set=webhook.extraEnv[0].value=http://proxy.example",
];
pub(crate) const PUSH: &[&str] = &["--set=push.enabled=true"];
pub(crate) const CALICO: &[&str] = &[concat!(
    "--values=",
    env!("CARGO_MANIFEST_DIR"),
    "/charts/headgate/examples/calico.yaml"
)];
pub(crate) const NAMESPACES: &[&str] = &[
    "--set=config.guardNamespaces=true",
    "--set=config.exemptionPresets[0].name=kubernetes-controllers",
    "--set=config.exemptionPresets[1].name=calico-datastore-migration",
    "--set=config.exemptionPresets[1].until=2999-01-31T18:00:00Z",
];
/// A custom resource everywhere, and kinds of Kubernetes' own in some namespaces.
pub(crate) const GENERIC: &[&str] = &[concat!(
    "--set-json=config.genericKinds=[",
    r#"{"group": "acme.example", "version": "v1", "kind": "Firewall", "plural": "firewalls", "namespaced": true},"#,
    r#"{"group": "", "version": "v1", "kind": "ConfigMap", "plural": "configmaps", "namespaced": true, "#,
    r#""namespaces": ["payments", "web"]},"#,
    r#"{"group": "rbac.authorization.k8s.io", "version": "v1", "kind": "Role", "plural": "roles", "namespaced": true, "#,
    r#""namespaces": ["payments"]}]"#
)];
/// Groups whose kinds are not guarded unless the values say so.
pub(crate) const OFF_BY_DEFAULT: [&str; 2] = ["policy.networking.k8s.io", "cilium.io"];
/// What Headgate knows without any configuration.
pub(crate) fn known_kinds() -> impl Iterator<Item = Kind> {
    Kind::all().filter(|kind| kind.definition().family != Family::Generic)
}

/// Every kind there is, whatever the default list.
pub(crate) static EVERY_KIND: LazyLock<String> = LazyLock::new(|| {
    let names: Vec<_> = known_kinds().map(|kind| kind.to_string()).collect();
    format!("--set=config.guardedKinds={{{}}}", names.join(","))
});

/// A control plane with Calico's CRDs and the chart in it, as `helm install` leaves it. There are no nodes, so nobody
/// answers for the webhook; the API server looks for its Pods, not for its Service, and so knows that at once.
static CLUSTER: LazyLock<Result<ControlPlane, Error>> = LazyLock::new(|| {
    let plane = plane()?;
    for folder in ["crds/calico-native-v3", "crds/calico-crd-v1"] {
        succeed(kubectl(&plane, "apply --server-side -f").arg(shared(folder)?), "")?;
    }
    succeed(
        &mut kubectl(&plane, "wait --for=condition=Established crd --all --timeout=60s"),
        "",
    )?;
    succeed(&mut kubectl(&plane, &format!("create namespace {NAMESPACE}")), "")?;
    // Where some variants guard kinds.
    succeed(&mut kubectl(&plane, "create namespace payments"), "")?;
    succeed(&mut kubectl(&plane, "create namespace web"), "")?;
    let restricted = format!("label namespace {NAMESPACE} pod-security.kubernetes.io/enforce=restricted");
    succeed(&mut kubectl(&plane, &restricted), "")?;
    succeed(&mut install(&plane, &[]), "")?;
    Ok(plane)
});

pub(crate) fn plane() -> Result<ControlPlane, Error> {
    Ok(ControlPlane::builder()
        .apiserver_flag("--enable-aggregator-routing=true")
        .start()?)
}

/// The cluster that the tests share. What they write there has to be gone or to hurt nobody.
pub(crate) fn cluster() -> Result<&'static ControlPlane, Error> {
    CLUSTER.as_ref().map_err(|error| error.to_string().into())
}

/// `kubectl` with the arguments of this line.
pub(crate) fn kubectl(plane: &ControlPlane, line: &str) -> Command {
    let mut kubectl = plane.kubectl();
    kubectl.args(line.split(' '));
    kubectl
}

/// `helm` with the arguments of this line, and these values.
pub(crate) fn helm(plane: &ControlPlane, line: &str, values: &[&str]) -> Command {
    let mut helm = plane.helm();
    helm.args(line.split(' ')).args(["--namespace", NAMESPACE]).args(values);
    helm
}

pub(crate) fn install(plane: &ControlPlane, values: &[&str]) -> Command {
    let mut helm = helm(plane, "upgrade --install --create-namespace headgate", values);
    helm.arg(CHART);
    helm
}

/// A file of the folder beside the clone. It has to be there: nothing is skipped.
pub(crate) fn shared(path: &str) -> Result<PathBuf, Error> {
    let folder = std::env::var_os("HEADGATE_SHARED").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared")),
        PathBuf::from,
    );
    let file = folder.join(path);
    if file.exists() {
        Ok(file)
    } else {
        Err(format!("{} is missing", file.display()).into())
    }
}

/// Runs a command with this input; its output, or its words about what went wrong.
pub(crate) fn run(command: &mut Command, input: &str) -> Result<Result<String, String>, Error> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or("no stdin")?;
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output()?;
    // A command that fails early does not read it all.
    let _ = writer.join();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    Ok(if output.status.success() {
        Ok(format!("{out}{err}"))
    } else {
        Err(err)
    })
}

pub(crate) fn succeed(command: &mut Command, input: &str) -> Result<String, Error> {
    run(command, input)?.map_err(|error| format!("{command:?}: {error}").into())
}

pub(crate) fn fail(command: &mut Command, input: &str) -> Result<String, Error> {
    match run(command, input)? {
        Ok(output) => Err(format!("{command:?} was to fail: {output}").into()),
        Err(error) => Ok(error),
    }
}

/// What `helm template` makes of these values.
pub(crate) fn render(values: &[&str]) -> Result<Vec<Value>, Error> {
    let output = succeed(helm(cluster()?, "template headgate", values).arg(CHART), "")?;
    Ok(serde_saphyr::from_multiple(&output)?)
}

/// The value at this JSON pointer, or `null`.
pub(crate) fn at<'a>(object: &'a Value, pointer: &str) -> &'a Value {
    object.pointer(pointer).unwrap_or(&Value::Null)
}

/// The items of the list at this JSON pointer.
pub(crate) fn all<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    at(object, pointer).as_array().into_iter().flatten()
}

pub(crate) fn of_kind<'a>(objects: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| at(object, "/kind") == kind)
}

pub(crate) fn named<'a>(objects: &'a [Value], kind: &'a str, name: &str) -> Result<&'a Value, Error> {
    of_kind(objects, kind)
        .find(|object| at(object, "/metadata/name") == name)
        .ok_or_else(|| format!("no {kind} {name}").into())
}

/// The values that are tried: what people choose between, and the whole of it.
pub(crate) fn variants() -> [&'static [&'static str]; 11] {
    static EVERY_KIND_ALONE: LazyLock<[&str; 1]> = LazyLock::new(|| [EVERY_KIND.as_str()]);
    [
        &[],
        AUDIT,
        EXISTING,
        GENERATE,
        CERT_MANAGER,
        HOST_NETWORK,
        CALICO,
        GENERIC,
        NAMESPACES,
        PUSH,
        &*EVERY_KIND_ALONE,
    ]
}
