//! A reader of a page: a cluster with Headgate in it, a forge with repositories, and a shell.
//!
//! Three things differ from what the page says, and nothing else: `https://git.example.com/` is a folder, since no
//! repository is served there; Headgate's Pods are processes beside the control plane, since there is no node, and the
//! API server finds the webhook by their address; sources are looked at every second, so that nobody waits for half a minute.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::page::{self, Step};
use crate::shell::Shell;
use crate::stand::repository::git;
use crate::stand::{Failure, NAMESPACE, OWN_MANIFESTS, Stand};
use crate::{Outcome, Trial, Trials, compare};

/// Where the pages have their repositories.
const FORGE: &str = "https://git.example.com/";
/// How long what a command shows may take to come true, where it only looks or may be repeated.
const PATIENCE: Duration = Duration::from_mins(1);
/// Commands that are repeated until they print what the page shows.
const LOOKS: [&str; 8] = [
    "kubectl get",
    "kubectl auth",
    "kubectl wait",
    "kubectl patch",
    "kubectl apply",
    "headgate status",
    "headgate diff",
    "headgate source get",
];

pub(crate) struct Tour {
    pub(crate) stand: Stand,
    /// The cluster left behind for another one.
    left: Option<Stand>,
    shell: Shell,
    /// What says where the webhook is, as helm installed it.
    installed: Vec<Value>,
    /// The forge, and the home folder.
    dir: tempfile::TempDir,
}

impl Tour {
    /// A shell for who administers this stand's cluster. Headgate need not be there yet.
    pub(crate) fn on(stand: Stand) -> Result<Self, Failure> {
        let dir = tempfile::tempdir()?;
        let home = dir.path().join("home");
        std::fs::create_dir_all(&home)?;
        // The chart as people have it: in the folder that they are in.
        std::os::unix::fs::symlink(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("charts"),
            home.join("charts"),
        )?;
        let settings = "[user]\n  name = Ada Lovelace\n  email = ada@example.com\n[init]\n  defaultBranch = main\n\
                        [push]\n  default = current\n[advice]\n  detachedHead = false\n";
        std::fs::write(home.join(".gitconfig"), settings)?;
        let shell = Shell::start(environment(&stand, &home)?)?;
        Ok(Self {
            stand,
            left: None,
            shell,
            installed: Vec::new(),
            dir,
        })
    }

    /// Has the shell's commands go to another cluster from now on.
    pub(crate) fn go_to(&mut self, other: Stand) -> Outcome {
        self.left = Some(std::mem::replace(&mut self.stand, other));
        self.at_this_cluster()
    }

    /// Goes back to the cluster of before; the other one ends.
    pub(crate) fn go_back(&mut self) -> Outcome {
        self.stand = self.left.take().ok_or("there is no other cluster")?;
        self.at_this_cluster()
    }

    /// Has the shell's commands be those of the administrator.
    pub(crate) fn at_this_cluster(&mut self) -> Outcome {
        let export = format!("export KUBECONFIG={}", self.stand.plane.kubeconfig().display());
        self.quietly(&export).map(drop)
    }

    /// Follows a page through all sections that are tried here.
    pub(crate) fn follow(&mut self, name: &str, trials: &Trials) -> Outcome {
        for section in page::read(name)? {
            let trial = trials.iter().find(|(heading, _)| *heading == section.heading);
            let Some((heading, Trial::Here { before, after })) = trial else {
                continue;
            };
            let at = |what: &str, error: &Failure| Failure::from(format!("docs/{name}, {heading}, {what}: {error}"));
            before(self).map_err(|error| at("before it", &error))?;
            for step in &section.steps {
                self.take(step)
                    .map_err(|error| at(&format!("line {}", step.line), &error))?;
            }
            after(self).map_err(|error| at("after it", &error))?;
        }
        Ok(())
    }

    /// Runs a command of the page until it prints what is shown; one that shows nothing has to succeed.
    fn take(&mut self, step: &Step) -> Outcome {
        let start = Instant::now();
        let may_repeat = LOOKS.iter().any(|look| step.command.starts_with(look));
        let forge = self.forge();
        if step.command.starts_with("helm upgrade") {
            self.undo_reachable()?;
        }
        loop {
            let (code, printed) = self.shell.run(&step.command.replace(FORGE, &forge))?;
            let printed = printed.replace(&forge, FORGE);
            let is_right = if step.shown.is_empty() {
                code == 0
            } else {
                compare::is_as_shown(&step.shown, &printed)
            };
            if is_right {
                return self.stand_in(&step.command);
            }
            if !may_repeat || start.elapsed() > PATIENCE {
                let shown = step.shown.join("\n");
                let logs = self.stand.logs();
                return Err(format!(
                    "{} ended with {code}\nshown:\n{shown}\nprinted:\n{printed}\n{logs}",
                    step.command
                )
                .into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Runs a command that the page does not have; it has to succeed.
    pub(crate) fn quietly(&mut self, command: &str) -> Result<String, Failure> {
        let forge = self.forge();
        match self.shell.run(&command.replace(FORGE, &forge))? {
            (0, printed) => Ok(printed),
            (code, printed) => Err(format!("{command} ended with {code}: {printed}").into()),
        }
    }

    fn forge(&self) -> String {
        format!("file://{}/", self.dir.path().join("forge").display())
    }

    /// Where sources find a repository of the forge.
    pub(crate) fn url(&self, name: &str) -> String {
        self.forge() + name
    }

    /// A repository of the forge.
    pub(crate) fn repository(&self, name: &str) -> PathBuf {
        self.dir.path().join("forge").join(name)
    }

    /// Makes an empty repository at the forge, and a clone of it in the home folder, where the shell is then.
    pub(crate) fn make_repository(&mut self, name: &str, clone: &str) -> Outcome {
        let bare = self.repository(name);
        std::fs::create_dir_all(&bare)?;
        git(&bare, &["init", "--quiet", "--bare", "--initial-branch=main"])?;
        // The chart is wherever its reader is.
        let chart = "ln -s ~/charts charts && echo charts >> .git/info/exclude";
        self.quietly(&format!(
            "cd && git clone --quiet {FORGE}{name} {clone} && cd {clone} && {chart}"
        ))
        .map(drop)
    }

    /// Writes a file into the folder in which the shell is.
    pub(crate) fn write(&mut self, path: &str, text: &str) -> Outcome {
        let folder = self.quietly("pwd")?;
        let file = Path::new(folder.trim()).join(path);
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        Ok(std::fs::write(file, text)?)
    }

    /// Commits and pushes all that is in the clone where the shell is.
    pub(crate) fn push(&mut self, message: &str) -> Result<String, Failure> {
        let line =
            format!("git add --all && git commit --quiet -m '{message}' && git push --quiet && git rev-parse HEAD");
        Ok(self.quietly(&line)?.trim().to_owned())
    }

    /// Does what nodes, and time, would do after a command.
    fn stand_in(&mut self, command: &str) -> Outcome {
        if command.starts_with("helm install") {
            self.run_installed()?;
        } else if command.starts_with("helm upgrade") {
            self.make_reachable()?;
        }
        if command.contains("rollout restart") {
            self.restart_without_state()?;
        }
        self.hurry()
    }

    /// Has every source looked at once a second.
    fn hurry(&self) -> Outcome {
        let slow = "jsonpath={range .items[?(@.spec.git.interval==\"30s\")]}{.metadata.name} {end}";
        let listed = self.stand.kubectl(&["get", "policysources", "-o", slow]);
        // Before Headgate is installed there is no such resource.
        for name in listed.out.split_whitespace().filter(|_| listed.succeeded()) {
            let patch = r#"{"spec": {"git": {"interval": "1s"}}}"#;
            let arguments = ["patch", "policysource", name, "--type=merge", "-p", patch];
            self.stand.kubectl(&arguments).ok()?;
        }
        Ok(())
    }

    /// Runs what `helm install` put into the cluster.
    pub(crate) fn run_installed(&mut self) -> Outcome {
        self.installed = self.own()?;
        let stand = &self.stand;
        let wait = [
            "wait",
            "--for=condition=Established",
            "crd/policysources.headgate.dev",
            "--timeout=60s",
        ];
        stand.kubectl(&wait).ok()?;
        let configuration = stand.get("configmap/headgate", Some(NAMESPACE))?;
        let configuration = configuration["data"]["config.yaml"]
            .as_str()
            .ok_or("the chart has no configuration")?;
        std::fs::write(stand.plane.dir().join("config.yaml"), configuration)?;
        stand.make_certificates()?;
        self.run_webhook()?;
        self.make_reachable()?;
        stand.run_sync(&self.account("headgate-sync")?)
    }

    fn run_webhook(&self) -> Outcome {
        let account = self.account("headgate-webhook")?;
        let certificates = self.stand.certificates();
        self.stand
            .run("webhook", "webhook", &account, &["--certs", &certificates])
    }

    pub(crate) fn account(&self, name: &str) -> Result<PathBuf, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.stand.account(name))
    }

    /// Tells the API server where the webhook is, by the configuration and by what the loop keeps it to.
    fn make_reachable(&self) -> Outcome {
        let stand = &self.stand;
        let url = format!("https://{}/validate", stand.address("webhook", "the webhook listens")?);
        let ca = std::fs::read(format!("{}/ca.crt", stand.certificates()))?;
        let client = json!({"url": url, "caBundle": serde_json::to_value(k8s_openapi::ByteString(ca))?});
        for mut live in self.own()? {
            if let Some(text) = live["data"]["manifests.yaml"].as_str() {
                let mut manifests: Vec<Value> = serde_saphyr::from_multiple(text)?;
                for manifest in &mut manifests {
                    lead_to(manifest, &client);
                }
                let texts: Vec<String> = manifests.iter().map(Value::to_string).collect();
                live["data"]["manifests.yaml"] = texts.join("\n---\n").into();
            }
            lead_to(&mut live, &client);
            self.replace(&live)?;
        }
        Ok(())
    }

    /// What says where the webhook is, as far as it is there: what the loop goes by comes first.
    fn own(&self) -> Result<Vec<Value>, Failure> {
        let mut own = vec![
            self.stand.get(&format!("configmap/{OWN_MANIFESTS}"), Some(NAMESPACE))?,
            self.stand.get("validatingwebhookconfiguration/headgate", None)?,
        ];
        own.retain(|object| !object.is_null());
        for object in &mut own {
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.retain(|field, _| ["name", "namespace", "labels", "annotations"].contains(&field.as_str()));
            }
        }
        Ok(own)
    }

    /// Puts back what helm knows of: it merges what it installs with what is there.
    fn undo_reachable(&self) -> Outcome {
        for object in &self.installed {
            self.replace(object)?;
        }
        Ok(())
    }

    /// Puts an object in the place of what is there. The loop may be mending the same one: who comes second tries again.
    fn replace(&self, object: &Value) -> Outcome {
        self.stand.until("an object to be replaced", || {
            let said = self.stand.kubectl_with(&["replace", "-f", "-"], &object.to_string());
            if said.err.contains("(Conflict)") {
                return Ok(None);
            }
            said.ok().map(|_| Some(()))
        })
    }

    /// Does something that the gate would refuse: the API server does not ask it meanwhile.
    pub(crate) fn behind_the_gate(&self, kubectl: &[&str]) -> Outcome {
        let stand = &self.stand;
        stand
            .kubectl(&["delete", "validatingwebhookconfiguration", "headgate"])
            .ok()?;
        stand.until("the gate to be gone", || {
            Ok(stand.kubectl(kubectl).succeeded().then_some(()))
        })
    }

    /// Ends both processes as the end of their Pods does, with what they had on disk, and starts new ones.
    pub(crate) fn restart_without_state(&self) -> Outcome {
        for name in ["webhook", "sync"] {
            self.stand.plane.kill_beside(name)?;
            let state = self.stand.plane.dir().join(format!("state-{name}"));
            if state.exists() {
                std::fs::remove_dir_all(state)?;
            }
            // What it said of its address before is not to be taken for the new one's.
            std::fs::write(self.stand.plane.log(name), "")?;
        }
        // A Pod that ends lets go of the lease; here it was killed.
        let lease = [
            "delete",
            "lease",
            "headgate-sync",
            "-n",
            NAMESPACE,
            "--ignore-not-found",
        ];
        self.stand.kubectl(&lease).ok()?;
        self.run_webhook()?;
        self.make_reachable()?;
        self.stand.run_sync(&self.account("headgate-sync")?)
    }
}

fn lead_to(configuration: &mut Value, client: &Value) {
    let webhooks = configuration.get_mut("webhooks").and_then(Value::as_array_mut);
    for webhook in webhooks.into_iter().flatten() {
        webhook["clientConfig"] = client.clone();
    }
}

/// What a shell finds: the programs, and nothing of the machine's own settings.
fn environment(stand: &Stand, home: &Path) -> Result<Command, Failure> {
    let programs = |program: &Path| program.parent().map(Path::to_owned).ok_or("a program without a folder");
    let path = [
        programs(&stand.plane.bin("kubectl"))?,
        programs(stand.program())?,
        PathBuf::from(std::env::var("PATH")?),
    ];
    let path: Vec<String> = path.iter().map(|folder| folder.display().to_string()).collect();
    let mut shell = Command::new("bash");
    shell
        .args(["--noprofile", "--norc"])
        .current_dir(home)
        .env("HOME", home)
        .env("PATH", path.join(":"))
        .env("KUBECONFIG", stand.plane.kubeconfig())
        .env("KUBECACHEDIR", stand.plane.dir().join("kubectl-cache"))
        .env("KUBERC", "off")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HEADGATE_ALLOW_FILE_URLS", "true");
    Ok(shell)
}
