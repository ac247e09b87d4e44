//! The certificate that Headgate makes and renews by itself: on a control plane of its own, with three replicas behind one
//! address, and requests through the API server all the time.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use headgate::sync::certificates::issue::{Issued, issue};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::Outcome;
use crate::policies::{allow_port, default_deny};
use crate::stand::{Failure, NAMESPACE, Stand};

const SECRET: &str = "headgate-webhook-certs";
const WEBHOOKS: &str = "validatingwebhookconfiguration/headgate";
/// So many requests are in flight, of which every fourth is one that Git does not ask for.
const IN_FLIGHT: usize = 200;

/// The bytes of a base64 text.
fn decoded(text: &str) -> Vec<u8> {
    let bytes: Result<k8s_openapi::ByteString, _> = serde_json::from_value(text.into());
    bytes.map(|bytes| bytes.0).unwrap_or_default()
}

/// Headgate with a certificate of its own: three replicas, of which one reads its certificate from a folder, as from a
/// volume that kubelet is slow to bring up to date.
struct Served {
    stand: Stand,
    runtime: tokio::runtime::Runtime,
    balancer: Balancer,
    sync: PathBuf,
    arguments: Vec<String>,
}

/// What a Service is: one address, and every connection goes to the next replica.
struct Balancer {
    address: SocketAddr,
    replicas: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<Vec<JoinHandle<()>>>>,
    opened: Arc<AtomicUsize>,
}

impl Balancer {
    async fn start() -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let balancer = Self {
            address: listener.local_addr()?,
            replicas: Arc::default(),
            connections: Arc::default(),
            opened: Arc::default(),
        };
        let (replicas, connections, opened) = (
            Arc::clone(&balancer.replicas),
            Arc::clone(&balancer.connections),
            Arc::clone(&balancer.opened),
        );
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let number = opened.fetch_add(1, Ordering::Relaxed);
                let replica = {
                    let replicas = replicas.lock().unwrap_or_else(PoisonError::into_inner);
                    replicas.get(number % replicas.len().max(1)).cloned()
                };
                let connection = tokio::spawn(async move {
                    let Some(replica) = replica else { return };
                    if let Ok(mut to) = TcpStream::connect(replica).await {
                        let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
                    }
                });
                let mut connections = connections.lock().unwrap_or_else(PoisonError::into_inner);
                connections.retain(|connection| !connection.is_finished());
                connections.push(connection);
            }
        });
        Ok(balancer)
    }

    fn add(&self, replica: String) {
        self.replicas
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(replica);
    }

    /// From now on each request needs a new connection.
    fn break_connections(&self) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        for connection in connections.drain(..) {
            connection.abort();
        }
    }
}

impl Served {
    fn start() -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let stand = Stand::new()?;
        let mut rendered = stand.install_beginning(&[
            "certificates.selfManaged.extraNames={127.0.0.1}",
            "certificates.selfManaged.settleSeconds=3",
        ])?;
        let own = |argument: &&String| {
            ["--own-", "--webhook-service", "--leader-elect"]
                .iter()
                .any(|name| argument.starts_with(name))
        };
        let served = Self {
            balancer: runtime.block_on(Balancer::start())?,
            sync: runtime.block_on(stand.account("headgate-sync"))?,
            arguments: rendered.sync.iter().filter(own).cloned().collect(),
            stand,
            runtime,
        };
        let stand = &served.stand;
        // Neither the replicas nor the API server know any certificate yet.
        let account = served.runtime.block_on(stand.account("headgate-webhook"))?;
        let from_secret: Vec<&str> = rendered
            .webhook
            .iter()
            .filter(|argument| argument.starts_with("--certs"))
            .map(String::as_str)
            .collect();
        assert_eq!(from_secret, [format!("--certs-secret={SECRET}")]);
        for name in ["webhook", "second"] {
            stand.run(name, "webhook", &account, &from_secret)?;
            served.add(name)?;
        }
        let readyz = format!("{}/readyz", stand.probes("webhook")?);
        stand.until("a replica that waits for a certificate", || {
            let text = served.fetch(&readyz)?;
            Ok(text
                .contains("waiting for the sync loop to make a certificate")
                .then_some(()))
        })?;
        let url = format!("https://{}/validate", served.balancer.address);
        stand.install_own(&mut rendered.own, &json!({"url": url}))?;
        served.lead("sync")?;
        stand.until("a first certificate in service", || Ok(served.judges()?.then_some(())))?;
        served.bring_folder_up_to_date()?;
        stand.run(
            "lagging",
            "webhook",
            &account,
            &["--certs", &served.folder().display().to_string()],
        )?;
        served.add("lagging")?;

        stand.kubectl(&["create", "namespace", "payments"]).ok()?;
        stand.repository.write("deny.yaml", &default_deny("payments"))?;
        let commit = stand.repository.commit("Deny everything in payments")?;
        stand.add_source("platform", json!({}))?;
        stand.until_ready_at("platform", &commit)?;
        for name in ["webhook", "second", "lagging"] {
            stand.until("each replica to have the commit", || {
                let log = std::fs::read_to_string(stand.plane.log(name))?;
                Ok(log.contains(&format!("commit={commit}")).then_some(()))
            })?;
        }
        Ok(served)
    }

    fn fetch(&self, url: &str) -> Result<String, Failure> {
        Ok(self.runtime.block_on(async { reqwest::get(url).await?.text().await })?)
    }

    /// Replaces the whole Secret.
    fn replace_secret(&self, issued: &Issued) -> Outcome {
        let data = json!({"ca.crt": issued.authority, "tls.crt": issued.certificate, "tls.key": issued.key});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": NAMESPACE},
                            "stringData": data});
        self.stand
            .kubectl_with(&["replace", "-f", "-"], &secret.to_string())
            .ok()
            .map(drop)
    }

    /// Runs a sync loop as the chart does.
    fn lead(&self, name: &'static str) -> Outcome {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        self.stand.run(name, "sync", &self.sync, &arguments)
    }

    /// Puts a replica behind the address, and tells the cluster of it as its endpoint controller would.
    fn add(&self, name: &'static str) -> Outcome {
        let address = self.stand.address(name, "the webhook listens")?;
        let port: u16 = address.rsplit(':').next().unwrap_or_default().parse()?;
        // Addresses of endpoints must not be loopback ones. As a name, this one may: every resolver takes it for 127.0.0.1.
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "FQDN",
            "metadata": {"name": format!("headgate-webhook-{name}"), "namespace": NAMESPACE,
                         "labels": {"kubernetes.io/service-name": "headgate-webhook"}},
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
            "endpoints": [{"addresses": ["127.1"], "conditions": {"ready": true}}],
        });
        self.stand.apply(&slice.to_string()).ok()?;
        self.balancer.add(address);
        Ok(())
    }

    /// Whether the API server gets an answer at all: a refusal, and by the gate.
    fn judges(&self) -> Result<bool, Failure> {
        let rogue = allow_port("default", "rogue", 1);
        let said = self
            .stand
            .kubectl_with(&["create", "--dry-run=server", "-f", "-"], &rogue);
        Ok(said.refused()?.contains("denied the request"))
    }

    fn folder(&self) -> PathBuf {
        self.stand.plane.dir().join("volume")
    }

    fn bring_folder_up_to_date(&self) -> Outcome {
        let secret = self.secret()?;
        std::fs::create_dir_all(self.folder())?;
        for name in ["tls.crt", "tls.key"] {
            let text = secret["data"][name].as_str().unwrap_or_default();
            std::fs::write(self.folder().join(name), decoded(text))?;
        }
        Ok(())
    }

    fn secret(&self) -> Result<Value, Failure> {
        self.stand.get(&format!("secret/{SECRET}"), Some(NAMESPACE))
    }

    /// How many authorities the Secret names.
    fn authorities(&self) -> Result<usize, Failure> {
        let secret = self.secret()?;
        let bundle = decoded(secret["data"]["ca.crt"].as_str().unwrap_or_default());
        Ok(String::from_utf8(bundle)?.matches("BEGIN CERTIFICATE").count())
    }

    fn renew(&self) -> Outcome {
        let name = format!("secret/{SECRET}");
        let arguments = ["annotate", "-n", NAMESPACE, &name, "headgate.dev/renew=now"];
        self.stand.kubectl(&arguments).ok().map(drop)
    }

    /// How often a step was recorded, by whoever led.
    fn steps(&self, reason: &str) -> Result<usize, Failure> {
        let mut steps = 0;
        for name in ["sync", "standby"] {
            if self.stand.plane.log(name).exists() {
                let records = self.stand.records(name)?;
                steps += records.iter().filter(|record| record["reason"] == reason).count();
            }
        }
        Ok(steps)
    }

    fn until_step(&self, reason: &str, count: usize) -> Outcome {
        let what = format!("the step {reason} for the {count}. time");
        self.stand
            .until(&what, || Ok((self.steps(reason)? >= count).then_some(())))
    }

    /// Does this while requests are in flight, and returns what did not go as it should.
    fn under_load(&self, act: impl FnOnce(&Load) -> Outcome) -> Result<Vec<String>, Failure> {
        let client = self.runtime.block_on(self.stand.plane.client())?;
        let load = Load::default();
        let acted = std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let all = (0..IN_FLIGHT).map(|number| load.ask(&client, number));
                self.runtime.block_on(futures::future::join_all(all));
            });
            let acted = load
                .more(&self.stand, 400)
                .and_then(|()| act(&load))
                .and_then(|()| load.more(&self.stand, 400));
            load.done.store(true, Ordering::Relaxed);
            let _ = asking.join();
            acted
        });
        acted?;
        Ok(load.surprises.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Requests through the API server, one after the other in each of many lanes.
#[derive(Default)]
struct Load {
    done: AtomicBool,
    answered: AtomicUsize,
    surprises: Mutex<Vec<String>>,
}

impl Load {
    async fn ask(&self, client: &kube::Client, number: usize) {
        let api: Api<NetworkPolicy> = Api::namespaced(client.clone(), "payments");
        let valid = json!({"spec": {"podSelector": {}, "policyTypes": ["Ingress"]}});
        let rogue: Result<NetworkPolicy, _> = serde_saphyr::from_str(&allow_port("payments", "rogue", 80));
        let rogue = rogue.unwrap_or_default();
        while !self.done.load(Ordering::Relaxed) {
            let surprise = if number % 4 == 3 {
                let params = PostParams {
                    dry_run: true,
                    ..PostParams::default()
                };
                match api.create(&params, &rogue).await {
                    Err(kube::Error::Api(status)) if status.message.contains("denied the request") => None,
                    other => Some(format!("{other:?}")),
                }
            } else {
                let params = PatchParams {
                    dry_run: true,
                    ..PatchParams::default()
                };
                api.patch("deny", &params, &Patch::Merge(&valid))
                    .await
                    .err()
                    .map(|error| error.to_string())
            };
            self.answered.fetch_add(1, Ordering::Relaxed);
            if let Some(surprise) = surprise {
                self.surprises
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(surprise);
            }
        }
    }

    /// Waits for so many more answers.
    fn more(&self, stand: &Stand, count: usize) -> Outcome {
        let before = self.answered.load(Ordering::Relaxed);
        stand.until("more answers", || {
            Ok((self.answered.load(Ordering::Relaxed) >= before + count).then_some(()))
        })
    }
}

#[test]
fn a_rotation_under_load_refuses_no_valid_request_whoever_leads() -> Outcome {
    let served = Served::start()?;
    let stand = &served.stand;
    assert_eq!((served.steps("certificate-made")?, served.authorities()?), (1, 1));
    let first = served.secret()?["data"]["tls.crt"].clone();
    let opened = served.balancer.opened.load(Ordering::Relaxed);
    let surprises = served.under_load(|load| {
        served.renew()?;
        served.until_step("certificate-prepared", 1)?;
        assert_eq!(served.secret()?["data"]["tls.crt"], first);
        // Whoever leads dies; another goes on where it was left off.
        stand.plane.kill_beside("sync")?;
        served.lead("standby")?;
        served.until_step("certificate-served", 1)?;
        assert_ne!(served.secret()?["data"]["tls.crt"], first);
        // One replica still serves the old certificate, for as long as its folder is old.
        stand.until("the loop to see the replica that lags", || {
            let log = std::fs::read_to_string(stand.plane.log("standby"))?;
            Ok(log
                .contains("not every replica serves the new certificate yet")
                .then_some(()))
        })?;
        load.more(stand, 2000)?;
        assert_eq!((served.steps("certificate-settled")?, served.authorities()?), (0, 2));
        served.bring_folder_up_to_date()?;
        served.until_step("certificate-settled", 1)?;
        assert_eq!(served.authorities()?, 1);
        // And once more, in one go.
        served.renew()?;
        served.until_step("certificate-served", 2)?;
        served.bring_folder_up_to_date()?;
        served.until_step("certificate-settled", 2)
    })?;
    assert!(
        surprises.is_empty(),
        "{} surprises: {:?}",
        surprises.len(),
        surprises.first()
    );
    // Connections were made anew meanwhile, so that certificates mattered.
    assert!(served.balancer.opened.load(Ordering::Relaxed) > opened + 10);
    let trusted = stand.get(WEBHOOKS, None)?["webhooks"][0]["clientConfig"]["caBundle"].clone();
    assert_eq!(trusted, served.secret()?["data"]["ca.crt"]);
    // All that was the loop's own doing, and nothing was taken for somebody's.
    assert_eq!(served.steps("own-changed")?, 0);

    // Somebody else's authority is put right, and on record.
    let patch = json!([{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": first}]).to_string();
    stand.kubectl(&["patch", WEBHOOKS, "--type=json", "-p", &patch]).ok()?;
    served.until_step("own-changed", 1)?;
    assert_eq!(
        stand.get(WEBHOOKS, None)?["webhooks"][0]["clientConfig"]["caBundle"],
        trusted
    );

    // Without the overlap, the same requests are refused: who replaces certificate and authority at once finds out.
    stand.plane.kill_beside("standby")?;
    let names = [
        "headgate-webhook.headgate-system.svc".to_owned(),
        "127.0.0.1".to_owned(),
    ];
    let day = Duration::from_hours(24);
    let hasty = issue(&names, 90 * day, SystemTime::now())?;
    let surprises = served.under_load(|load| {
        served.replace_secret(&hasty)?;
        stand.until("a replica to serve it", || {
            let log = std::fs::read_to_string(stand.plane.log("webhook"))?;
            Ok((log.matches("the certificate was replaced").count() >= 3).then_some(()))
        })?;
        served.balancer.break_connections();
        load.more(stand, 400)
    })?;
    assert!(
        surprises.iter().any(|surprise| surprise.contains("x509")),
        "{surprises:?}"
    );

    // As after a year without power: what there is has ended long ago, and nobody has to do anything.
    served.replace_secret(&issue(&names, 90 * day, SystemTime::now() - 365 * day)?)?;
    served.lead("late")?;
    stand.until("a certificate that is good again", || {
        Ok(served.judges()?.then_some(()))
    })?;
    // Each replica reads its folder when it looks at it: another one may have judged.
    stand.until("the replica's own certificate to end in about 90 days", || {
        let metrics = served.fetch(&format!("{}/metrics", stand.probes("webhook")?))?;
        let ends = metrics
            .lines()
            .find_map(|line| line.strip_prefix("headgate_certificate_expiration_timestamp_seconds "));
        let ends: i64 = ends.ok_or("no metric")?.parse()?;
        let in_days = (ends - jiff::Timestamp::now().as_second()) / 86_400;
        Ok((88..=90).contains(&in_days).then_some(()))
    })?;
    Ok(())
}

#[test]
fn a_certificate_whose_secret_is_deleted_comes_again_without_a_refusal() -> Outcome {
    let served = Served::start()?;
    let stand = &served.stand;
    let before = served.secret()?;
    // Nobody keeps it for a moment, and somebody uses that to have another authority trusted.
    stand.plane.kill_beside("sync")?;
    let folder = stand.plane.dir().join("mallory");
    stand
        .headgate(&["certs", "--out", &folder.display().to_string()])
        .ok()?;
    let mut bundle = decoded(before["data"]["ca.crt"].as_str().unwrap_or_default());
    bundle.extend(std::fs::read(folder.join("ca.crt"))?);
    let bundle = serde_json::to_value(k8s_openapi::ByteString(bundle))?;
    let webhooks = stand.get(WEBHOOKS, None)?["webhooks"].as_array().map_or(0, Vec::len);
    let replace =
        |index| json!({"op": "replace", "path": format!("/webhooks/{index}/clientConfig/caBundle"), "value": bundle});
    let patch = Value::Array((0..webhooks).map(replace).collect()).to_string();
    stand.kubectl(&["patch", WEBHOOKS, "--type=json", "-p", &patch]).ok()?;
    let surprises = served.under_load(|_| {
        stand.kubectl(&["delete", "secret", SECRET, "-n", NAMESPACE]).ok()?;
        served.lead("standby")?;
        served.until_step("certificate-prepared", 1)?;
        // The authority by which replicas serve, and the new one.
        assert_eq!(served.authorities()?, 2);
        served.until_step("certificate-served", 1)?;
        served.bring_folder_up_to_date()?;
        served.until_step("certificate-settled", 1)
    })?;
    assert!(
        surprises.is_empty(),
        "{} surprises: {:?}",
        surprises.len(),
        surprises.first()
    );
    let after = served.secret()?;
    assert_eq!(served.authorities()?, 1);
    assert_ne!(after["data"]["tls.crt"], before["data"]["tls.crt"]);
    let trusted = stand.get(WEBHOOKS, None)?["webhooks"][0]["clientConfig"]["caBundle"].clone();
    assert_eq!(trusted, after["data"]["ca.crt"]);
    Ok(())
}
