//! The command lines of the processes: what makes this a real control plane, and what makes it one
//! for tests.

use std::path::Path;

use super::pki::{FRONT_PROXY, Pki};

/// Where Services get their addresses; nothing routes there.
pub(super) const SERVICE_RANGE: &str = "10.96.0.0/16";

/// etcd listens on sockets in the control plane's folder (a scheme, a host that is a path, and a
/// port that is part of the file's name), so it takes no port and no other user can reach it.
const ETCD: &str = "unix://etcd:2379";
/// The file of that socket.
pub(super) const ETCD_SOCKET: &str = "etcd:2379";
const ETCD_PEERS: &str = "unix://etcd:2380";

/// What tests rely on without naming it: namespaces go away when deleted, owners take their
/// dependants with them, namespaces get their default service account, aggregated roles add up, and
/// admission policies are type-checked.
const CONTROLLERS: [&str; 7] = [
    "namespace-controller",
    "garbage-collector-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "root-ca-certificate-publisher-controller",
    "clusterrole-aggregation-controller",
    "validatingadmissionpolicy-status-controller",
];

/// etcd, without the disk waits that protect data nobody needs after a power failure.
pub(super) fn etcd() -> Vec<String> {
    vec![
        "--name=test".into(),
        format!("--data-dir={}", super::ETCD_DATA),
        "--unsafe-no-fsync".into(),
        "--log-level=warn".into(),
        format!("--listen-client-urls={ETCD}"),
        format!("--advertise-client-urls={ETCD}"),
        format!("--listen-peer-urls={ETCD_PEERS}"),
        format!("--initial-advertise-peer-urls={ETCD_PEERS}"),
        format!("--initial-cluster=test={ETCD_PEERS}"),
    ]
}

/// kube-apiserver with RBAC, service account tokens, the aggregation layer and an audit log.
pub(super) fn api_server(pki: &Pki, port: u16, audit_policy: &Path, audit_log: &Path) -> Vec<String> {
    let file = |name: &str| pki.file(name).display().to_string();
    vec![
        format!("--etcd-servers={ETCD}"),
        "--bind-address=127.0.0.1".into(),
        format!("--secure-port={port}"),
        // The port is held for it by a socket of this program's: see `ports.rs`.
        "--permit-port-sharing".into(),
        // An address for documentation: endpoints must not be loopback ones, and a machine without
        // a network has no other. There is nothing to reach: no node, no pod.
        "--advertise-address=192.0.2.1".into(),
        "--endpoint-reconciler-type=none".into(),
        format!("--service-cluster-ip-range={SERVICE_RANGE}"),
        "--authorization-mode=RBAC".into(),
        "--allow-privileged".into(),
        "--profiling=false".into(),
        format!("--tls-cert-file={}", file("apiserver.crt")),
        format!("--tls-private-key-file={}", file("apiserver.key")),
        format!("--client-ca-file={}", file("ca.crt")),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
        format!("--service-account-key-file={}", file("service-account.pub")),
        format!("--service-account-signing-key-file={}", file("service-account.key")),
        format!("--requestheader-client-ca-file={}", file("front-proxy-ca.crt")),
        format!("--requestheader-allowed-names={FRONT_PROXY}"),
        "--requestheader-username-headers=X-Remote-User".into(),
        "--requestheader-group-headers=X-Remote-Group".into(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
        format!("--proxy-client-cert-file={}", file("front-proxy-client.crt")),
        format!("--proxy-client-key-file={}", file("front-proxy-client.key")),
        format!("--audit-policy-file={}", audit_policy.display()),
        format!("--audit-log-path={}", audit_log.display()),
    ]
}

/// kube-controller-manager with few controllers, each under its own service account as in a real
/// cluster, and in more of a hurry.
pub(super) fn controller_manager(pki: &Pki, kubeconfig: &Path) -> Vec<String> {
    let file = |name: &str| pki.file(name).display().to_string();
    vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--controllers={}", CONTROLLERS.join(",")),
        "--use-service-account-credentials".into(),
        format!("--service-account-private-key-file={}", file("service-account.key")),
        format!("--root-ca-file={}", file("ca.crt")),
        "--leader-elect=false".into(),
        // No port of its own: nobody asks it anything.
        "--secure-port=0".into(),
        "--kube-api-qps=200".into(),
        "--kube-api-burst=400".into(),
        "--profiling=false".into(),
    ]
}
