//! Headgate as it runs for users: the program itself, beside a real control plane, with a real repository. Tests and the
//! demo set it up in two ways: by the manifests that the command line prints, or by the chart.
#![allow(
    dead_code,
    reason = "every program that includes this module uses another part of it"
)]

pub(crate) mod repository;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::controlplane::ControlPlane;
pub(crate) use repository::Repository;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How long a condition may take to come true before the wait is given up.
const PATIENCE: Duration = Duration::from_mins(1);
/// Headgate's own namespace, as the chart's documentation has it.
pub(crate) const NAMESPACE: &str = "headgate-system";
/// The `ConfigMap` that says what Headgate's own objects are to be.
pub(crate) const OWN_MANIFESTS: &str = "headgate-own";

/// A control plane, a repository, and Headgate between them.
pub(crate) struct Stand {
    pub(crate) plane: ControlPlane,
    pub(crate) repository: Repository,
    program: PathBuf,
}

/// What the chart renders beside what is installed already.
pub(crate) struct Rendered {
    /// The webhook configuration, and the `ConfigMap` that says what Headgate's own objects are to be.
    pub(crate) own: Vec<Value>,
    /// The arguments that the chart gives the webhook.
    pub(crate) webhook: Vec<String>,
    /// The arguments that the chart gives the sync loop.
    pub(crate) sync: Vec<String>,
}

/// What a command said.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn succeeded(&self) -> bool {
        self.code == 0
    }

    /// The output, or an error with what was complained about.
    pub(crate) fn ok(self) -> Result<String, Failure> {
        if self.succeeded() {
            Ok(self.out)
        } else {
            Err(format!("{}{}", self.out, self.err).into())
        }
    }

    /// The complaint of a command that had to fail.
    pub(crate) fn refused(self) -> Result<String, Failure> {
        if self.succeeded() {
            Err(format!("this should have been refused: {}", self.out).into())
        } else {
            Ok(self.err)
        }
    }
}

impl Stand {
    /// A control plane and an empty repository; Headgate is not there yet.
    pub(crate) fn new() -> Result<Self, Failure> {
        Self::on(ControlPlane::start()?)
    }

    /// The same on a control plane of the test's own making.
    pub(crate) fn on(plane: ControlPlane) -> Result<Self, Failure> {
        let repository = Repository::create(&plane.dir().join("git"))?;
        Ok(Self {
            plane,
            repository,
            program: program()?,
        })
    }

    /// Installs Headgate by the command line's own manifests and runs all of it in one process.
    pub(crate) fn serve(&self, configuration: &str) -> Result<(), Failure> {
        self.kubectl(&["create", "namespace", NAMESPACE]).ok()?;
        self.apply(&self.headgate(&["crds"]).ok()?).ok()?;
        self.make_certificates()?;
        self.start("headgate", configuration)
    }

    /// Ends the process of [`Stand::serve`] and runs another in its place, with this configuration.
    pub(crate) fn serve_again(&self, name: &'static str, configuration: &str) -> Result<(), Failure> {
        self.plane.kill_beside("headgate")?;
        self.start(name, configuration)
    }

    fn start(&self, name: &'static str, configuration: &str) -> Result<(), Failure> {
        std::fs::write(self.plane.dir().join("config.yaml"), configuration)?;
        let kubeconfig = self.plane.kubeconfig().to_owned();
        self.run(name, "serve", &kubeconfig, &["--certs", &self.certificates()])?;
        let url = format!("https://{}", self.address(name, "the webhook listens")?);
        self.ask_at(&url)
    }

    /// Has the API server ask for verdicts there, by what the command line prints.
    pub(crate) fn ask_at(&self, url: &str) -> Result<(), Failure> {
        let ca = format!("{}/ca.crt", self.certificates());
        let config = self.plane.dir().join("config.yaml").display().to_string();
        let arguments = ["webhook-configuration", "--url", url, "--ca", &ca, "--config", &config];
        self.apply(&self.headgate(&arguments).ok()?).ok()?;
        Ok(())
    }

    /// Installs the rendered chart and runs both halves under the chart's own `ServiceAccounts`.
    pub(crate) async fn install_chart(&self, values: &[&str]) -> Result<(), Failure> {
        let mut own = self.install_beginning(values)?.own;
        self.make_certificates()?;
        let webhook = self.account("headgate-webhook").await?;
        let sync = self.account("headgate-sync").await?;
        self.run("webhook", "webhook", &webhook, &["--certs", &self.certificates()])?;
        let url = format!("https://{}/validate", self.address("webhook", "the webhook listens")?);
        let ca = std::fs::read(format!("{}/ca.crt", self.certificates()))?;
        let ca = serde_json::to_value(k8s_openapi::ByteString(ca))?;
        self.install_own(&mut own, &json!({"url": url, "caBundle": ca}))?;
        self.run_sync(&sync)
    }

    /// A kubeconfig for one of the chart's accounts.
    pub(crate) async fn account(&self, name: &str) -> Result<PathBuf, Failure> {
        Ok(self.plane.kubeconfig_for_service_account(NAMESPACE, name).await?)
    }

    /// Installs all of the chart but what makes the API server ask Headgate.
    pub(crate) fn install_beginning(&self, values: &[&str]) -> Result<Rendered, Failure> {
        self.kubectl(&["create", "namespace", NAMESPACE]).ok()?;
        let rendered = self.render(values)?;
        let configuration = rendered
            .iter()
            .filter(|object| object["kind"] == "ConfigMap")
            .find_map(|object| object["data"]["config.yaml"].as_str())
            .ok_or("the chart has no configuration")?;
        std::fs::write(self.plane.dir().join("config.yaml"), configuration)?;
        let arguments = |role: &str| {
            let name = format!("headgate-{role}");
            let is_it = |object: &&Value| object["kind"] == "Deployment" && object["metadata"]["name"] == *name;
            let deployment = rendered.iter().find(is_it)?;
            serde_json::from_value(deployment["spec"]["template"]["spec"]["containers"][0]["args"].clone()).ok()
        };
        let (webhook, sync) = (arguments("webhook"), arguments("sync"));
        let (own, others): (Vec<Value>, Vec<Value>) = rendered
            .into_iter()
            .filter(|object| object["metadata"]["annotations"]["helm.sh/hook"].is_null())
            .partition(|object| {
                object["kind"] == "ValidatingWebhookConfiguration" || object["metadata"]["name"] == OWN_MANIFESTS
            });
        self.apply(&list(&others)).ok()?;
        self.kubectl(&[
            "wait",
            "--for=condition=Established",
            "crd/policysources.headgate.dev",
            "--timeout=60s",
        ])
        .ok()?;
        Ok(Rendered {
            own,
            webhook: webhook.ok_or("the chart has no webhook")?,
            sync: sync.ok_or("the chart has no sync loop")?,
        })
    }

    /// Installs what makes the API server ask Headgate. There is no node, so no Service leads to the webhook: who is asked
    /// is said here, and everything else stays as the chart has it.
    pub(crate) fn install_own(&self, own: &mut [Value], client: &Value) -> Result<(), Failure> {
        for object in own.iter_mut() {
            if object["kind"] == "ConfigMap" {
                let manifests = object["data"]["manifests.yaml"].as_str().unwrap_or_default();
                let mut manifests: Vec<Value> = serde_saphyr::from_multiple(manifests)?;
                for manifest in &mut manifests {
                    make_reachable(manifest, client);
                }
                let texts: Vec<String> = manifests.iter().map(Value::to_string).collect();
                object["data"]["manifests.yaml"] = texts.join("\n---\n").into();
            }
            make_reachable(object, client);
        }
        self.apply(&list(own)).ok().map(drop)
    }

    /// Starts the sync loop as the chart does, under this identity.
    pub(crate) fn run_sync(&self, kubeconfig: &Path) -> Result<(), Failure> {
        let pushes = ["--push-listen", "127.0.0.1:0"];
        let arguments = [&["--leader-elect", "--own-manifests", OWN_MANIFESTS][..], &pushes].concat();
        self.run("sync", "sync", kubeconfig, &arguments)
    }

    fn render(&self, values: &[&str]) -> Result<Vec<Value>, Failure> {
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/headgate");
        let mut helm = self.plane.helm();
        helm.args(["template", "headgate"])
            .arg(chart)
            .args(["--namespace", NAMESPACE, "--include-crds"]);
        for value in values {
            let is_json = value.contains("=[");
            helm.args([if is_json { "--set-json" } else { "--set" }, value]);
        }
        let rendered = said(&mut helm, None)?.ok()?;
        let listed = self
            .kubectl_with(&["create", "--dry-run=client", "-o", "json", "-f", "-"], &rendered)
            .ok()?;
        let objects = serde_json::Deserializer::from_str(&listed).into_iter::<Value>();
        Ok(objects.collect::<Result<_, _>>()?)
    }

    /// Runs a role of the program beside the control plane.
    pub(crate) fn run(&self, name: &'static str, role: &str, kubeconfig: &Path, more: &[&str]) -> Result<(), Failure> {
        let arguments = self.arguments(name, role, kubeconfig, more);
        Ok(self.plane.run_beside(name, &self.program, &arguments)?)
    }

    /// The same, with a variable of the environment.
    pub(crate) fn run_with(
        &self,
        (variable, value): (&str, &str),
        name: &'static str,
        role: &str,
        kubeconfig: &Path,
        more: &[&str],
    ) -> Result<(), Failure> {
        let mut arguments = vec![format!("{variable}={value}"), self.program.display().to_string()];
        arguments.extend(self.arguments(name, role, kubeconfig, more));
        Ok(self.plane.run_beside(name, Path::new("/usr/bin/env"), &arguments)?)
    }

    fn arguments(&self, name: &str, role: &str, kubeconfig: &Path, more: &[&str]) -> Vec<String> {
        let dir = self.plane.dir();
        let mut arguments: Vec<String> = vec![role.to_owned()];
        let mut flag = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        flag("--kubeconfig", kubeconfig.display().to_string());
        flag("--config", dir.join("config.yaml").display().to_string());
        flag("--state-dir", dir.join(format!("state-{name}")).display().to_string());
        flag("--metrics-listen", "127.0.0.1:0".to_owned());
        flag("--log", "headgate=debug,info".to_owned());
        if role != "sync" {
            flag("--listen", "127.0.0.1:0".to_owned());
            flag("--drain-delay", "0s".to_owned());
        }
        arguments.push("--allow-file-urls".to_owned());
        arguments.extend(more.iter().map(ToString::to_string));
        arguments
    }

    /// The address that a part of the program said it listens on.
    pub(crate) fn address(&self, name: &'static str, sentence: &str) -> Result<String, Failure> {
        self.until(sentence, || {
            self.plane.check()?;
            let log = std::fs::read_to_string(self.plane.log(name)).unwrap_or_default();
            let line = log.lines().rfind(|line| line.contains(sentence));
            Ok(line
                .and_then(|line| line.split("address=").nth(1))
                .map(|rest| rest.split_whitespace().next().unwrap_or_default().to_owned()))
        })
    }

    /// Where metrics and probes of a process are.
    pub(crate) fn probes(&self, name: &'static str) -> Result<String, Failure> {
        Ok(format!("http://{}", self.address(name, "metrics and probes listen")?))
    }

    /// Makes the webhook's certificates, where they are not there yet.
    pub(crate) fn make_certificates(&self) -> Result<(), Failure> {
        if Path::new(&self.certificates()).exists() {
            return Ok(());
        }
        self.headgate(&["certs", "--out", &self.certificates()]).ok().map(drop)
    }

    /// The folder with the webhook's certificate.
    pub(crate) fn certificates(&self) -> String {
        self.plane.dir().join("certs").display().to_string()
    }

    /// Adds a source for the repository; `spec` is merged over the defaults.
    pub(crate) fn add_source(&self, name: &str, spec: Value) -> Result<(), Failure> {
        let mut source = json!({
            "apiVersion": "headgate.dev/v1alpha1", "kind": "PolicySource", "metadata": {"name": name},
            "spec": {"git": {"url": self.repository.url(), "interval": "1s"}}
        });
        merge(&mut source["spec"], spec);
        self.apply(&source.to_string()).ok().map(drop)
    }

    /// Waits until a source is ready at a commit, and until what is created from now on counts as younger than its
    /// adoption, which is rounded up to a whole second.
    pub(crate) fn until_ready_at(&self, name: &str, commit: &str) -> Result<(), Failure> {
        self.until(&format!("{name} ready at {commit}"), || {
            let source = self.get(&format!("policysource/{name}"), None)?;
            let ready = condition(&source, "Ready").is_some_and(|condition| condition["status"] == "True");
            let adopted = source["status"]["adoptedAt"].as_str().unwrap_or_default();
            let past = adopted
                .parse()
                .is_ok_and(|at: jiff::Timestamp| at <= jiff::Timestamp::now());
            Ok((ready && past && source["status"]["head"]["commit"] == commit).then_some(()))
        })
    }

    /// An object, or null.
    pub(crate) fn get(&self, object: &str, namespace: Option<&str>) -> Result<Value, Failure> {
        let mut arguments = vec!["get", object, "-o", "json", "--ignore-not-found"];
        arguments.extend(namespace.iter().flat_map(|namespace| ["-n", *namespace]));
        let text = self.kubectl(&arguments).ok()?;
        if text.is_empty() {
            Ok(Value::Null)
        } else {
            Ok(serde_json::from_str(&text)?)
        }
    }

    /// Waits until something can be had.
    pub(crate) fn until<T>(
        &self,
        what: &str,
        mut look: impl FnMut() -> Result<Option<T>, Failure>,
    ) -> Result<T, Failure> {
        let start = Instant::now();
        loop {
            if let Some(found) = look()? {
                return Ok(found);
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("waited {PATIENCE:?} in vain for: {what}\n{}", self.logs()).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The ends of Headgate's logs, for a failure's message.
    pub(crate) fn logs(&self) -> String {
        let tail = |name: &str| {
            let text = std::fs::read_to_string(self.plane.log(name)).ok()?;
            let lines: Vec<&str> = text.lines().collect();
            Some(format!(
                "--- {name}\n{}",
                lines[lines.len().saturating_sub(40)..].join("\n")
            ))
        };
        let status = self
            .kubectl(&["get", "policysources", "-o", "jsonpath={.items[*].status}"])
            .out;
        let logs = ["headgate", "webhook", "lagging", "sync", "standby"]
            .into_iter()
            .filter_map(tail);
        logs.chain([status]).collect::<Vec<_>>().join("\n")
    }

    /// The records that a process wrote so far.
    pub(crate) fn records(&self, name: &str) -> Result<Vec<Value>, Failure> {
        let text = std::fs::read_to_string(self.plane.log(name))?;
        Ok(text
            .lines()
            .filter(|line| line.starts_with("{\"time\""))
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect())
    }

    /// kubectl as cluster-admin.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Said {
        heard(self.plane.kubectl().args(arguments), None)
    }

    /// kubectl as cluster-admin, with something to read.
    pub(crate) fn kubectl_with(&self, arguments: &[&str], input: &str) -> Said {
        heard(self.plane.kubectl().args(arguments), Some(input))
    }

    /// `kubectl apply` as cluster-admin.
    pub(crate) fn apply(&self, manifests: &str) -> Said {
        self.kubectl_with(&["apply", "-f", "-"], manifests)
    }

    /// The program itself.
    pub(crate) fn headgate(&self, arguments: &[&str]) -> Said {
        heard(Command::new(&self.program).args(arguments), None)
    }

    /// The program's path.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }
}

/// A condition of an object by its type.
pub(crate) fn condition<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object["status"]["conditions"]
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == name)
}

/// Objects as one `List`.
pub(crate) fn list(items: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

fn make_reachable(configuration: &mut Value, client: &Value) {
    let webhooks = configuration.get_mut("webhooks").and_then(Value::as_array_mut);
    for webhook in webhooks.into_iter().flatten() {
        webhook["clientConfig"] = client.clone();
    }
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn heard(command: &mut Command, input: Option<&str>) -> Said {
    said(command, input).unwrap_or_else(|error| Said {
        code: -1,
        out: String::new(),
        err: error.to_string(),
    })
}

fn said(command: &mut Command, input: Option<&str>) -> Result<Said, Failure> {
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // A command that answers while it reads would wait for its output to be taken, and the writer for it.
    let writer = child.stdin.take().zip(input).map(|(mut stdin, input)| {
        let input = input.to_owned();
        std::thread::spawn(move || stdin.write_all(input.as_bytes()))
    });
    let output = child.wait_with_output()?;
    // A command that fails early does not read it all; what it says about that is the outcome.
    let _ = writer.map(std::thread::JoinHandle::join);
    Ok(Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Cargo tells tests where the program is; an example lies one folder below it.
fn program() -> Result<PathBuf, Failure> {
    if let Some(path) = option_env!("CARGO_BIN_EXE_headgate") {
        return Ok(path.into());
    }
    let own = std::env::current_exe()?;
    let path = own
        .parent()
        .and_then(Path::parent)
        .map(|folder| folder.join("headgate"));
    path.filter(|path| path.exists())
        .ok_or_else(|| "the program headgate is not built; `make demo` builds it".into())
}
