//! Beside other deployers (`sync.enabled: false`): each tool marks what it applies as it does, and applies it as it does.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::Outcome;
use crate::calico::shared;
use crate::policies::allow_port;
use crate::stand::{Failure, Said, Stand};

/// A stand of its own, with a namespace, a folder and a source for each tool. The definitions of Calico's kinds are there
/// where they can be had.
fn own() -> Result<MutexGuard<'static, Stand>, Failure> {
    static OWN: LazyLock<Result<Mutex<Stand>, String>> =
        LazyLock::new(|| installed().map(Mutex::new).map_err(|error| error.to_string()));
    let own = OWN.as_ref().map_err(Clone::clone)?;
    Ok(own.lock().unwrap_or_else(PoisonError::into_inner))
}

fn installed() -> Result<Stand, Failure> {
    let stand = Stand::new()?;
    if let Some(calico) = shared("crds/calico-native-v3")? {
        let folder = calico.display().to_string();
        stand.kubectl(&["apply", "--server-side", "-f", &folder]).ok()?;
        let established = [
            "wait",
            "--for=condition=Established",
            "crd/networksets.projectcalico.org",
            "--timeout=60s",
        ];
        stand.kubectl(&established).ok()?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(stand.install_chart(&[]))?;
    Ok(stand)
}

/// The same marks with other values, where the tool may give others.
fn other_values(marks: &Value) -> Value {
    let mut marks = marks.clone();
    for member in marks.as_object_mut().into_iter().flat_map(|marks| marks.values_mut()) {
        for (key, value) in member.as_object_mut().into_iter().flatten() {
            if key != "app.kubernetes.io/managed-by" {
                *value = json!("another");
            }
        }
    }
    marks
}

/// A folder and a namespace of this name, with a policy in it, and a source that another deployer applies.
struct Place<'a> {
    stand: &'a Stand,
    name: &'static str,
}

impl<'a> Place<'a> {
    fn new(stand: &'a Stand, name: &'static str, deployer: &str) -> Result<Self, Failure> {
        let place = Self { stand, name };
        stand.kubectl(&["create", "namespace", name]).ok()?;
        place.write(80)?;
        let commit = stand.repository.commit(&format!("A policy for {name}"))?;
        let spec = json!({"git": {"path": name}, "scope": {"namespaces": [name]}, "sync": {"enabled": false},
            "deployer": deployer});
        stand.add_source(name, spec)?;
        stand.until_ready_at(name, &commit)?;
        Ok(place)
    }

    fn write(&self, port: u16) -> Outcome {
        self.stand
            .repository
            .write(&format!("{}/web.yaml", self.name), &self.file(port))
    }

    fn file(&self, port: u16) -> String {
        allow_port(self.name, "web", port)
    }

    /// Moves HEAD to another port.
    fn commit(&self, port: u16) -> Outcome {
        self.write(port)?;
        let commit = self.stand.repository.commit("Another port")?;
        self.stand.until_ready_at(self.name, &commit)
    }

    fn live(&self) -> Result<Value, Failure> {
        self.stand.get("networkpolicy/web", Some(self.name))
    }

    fn until_drift(&self, drift: u64) -> Outcome {
        self.stand.until(&format!("a drift of {drift} in {}", self.name), || {
            let source = self.stand.get(&format!("policysource/{}", self.name), None)?;
            Ok((source["status"]["drift"] == drift).then_some(()))
        })
    }

    /// HEAD passes, and once HEAD moved the revision of before does not.
    fn follows_head_and_nothing_else(&self, apply: impl Fn(&str) -> Said, marks: &Value) -> Outcome {
        let marked = |port| marked(&self.file(port), marks);
        apply(&marked(80)?).ok()?;
        self.until_drift(0)?;
        self.commit(443)?;
        self.until_drift(1)?;
        apply(&marked(443)?).ok()?;
        self.until_drift(0)?;
        let stale = apply(&marked(80)?).refused()?;
        assert!(
            stale.contains("differs from Git") && stale.contains("443 in Git, 80 in this request"),
            "{stale}"
        );
        assert!(!stale.contains("marks what it applies"), "{stale}");
        assert_eq!(self.live()?["spec"]["ingress"][0]["ports"][0]["port"], 443);
        // The marks alone may change: they are the tool's.
        let others = other_values(marks);
        apply(&self::marked(&self.file(443), &others)?).ok()?;
        let metadata = self.live()?["metadata"].take();
        for member in ["labels", "annotations"] {
            for (key, value) in others[member].as_object().into_iter().flatten() {
                assert_eq!(&metadata[member][key], value, "{key}");
            }
        }
        Ok(())
    }
}

/// A manifest with these labels and annotations besides its own.
fn marked(manifest: &str, marks: &Value) -> Result<String, Failure> {
    let mut object: Value = serde_saphyr::from_str(manifest)?;
    for field in ["labels", "annotations"] {
        for (name, value) in marks[field].as_object().into_iter().flatten() {
            object["metadata"][field][name] = value.clone();
        }
    }
    Ok(object.to_string())
}

fn argo_marks(namespace: &str) -> Value {
    json!({"labels": {"app.kubernetes.io/instance": "policies"}, "annotations": {
        "argocd.argoproj.io/tracking-id": format!("policies:networking.k8s.io/NetworkPolicy:{namespace}/web"),
        "argocd.argoproj.io/installation-id": "west"}})
}

fn flux_marks() -> Value {
    json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "policies", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}})
}

fn helm_marks(namespace: &str) -> Value {
    json!({"labels": {"app.kubernetes.io/managed-by": "Helm"}, "annotations": {
        "meta.helm.sh/release-name": "policies", "meta.helm.sh/release-namespace": namespace}})
}

fn server_side<'a>(stand: &'a Stand, manager: &'a str) -> impl Fn(&str) -> Said + 'a {
    let manager = format!("--field-manager={manager}");
    move |manifest| {
        let apply = ["apply", "--server-side", "--force-conflicts", &manager, "-f", "-"];
        // As Flux does, a dry run first.
        let dry = stand.kubectl_with(&[&apply[..], &["--dry-run=server"]].concat(), manifest);
        if dry.succeeded() {
            stand.kubectl_with(&apply, manifest)
        } else {
            dry
        }
    }
}

#[test]
fn argo_cd_applies_head_and_no_other_revision() -> Outcome {
    let stand = own()?;
    let place = Place::new(&stand, "argo-client", "argo-cd")?;
    place.follows_head_and_nothing_else(|manifest| stand.apply(manifest), &argo_marks(place.name))?;
    let place = Place::new(&stand, "argo-server", "argo-cd")?;
    let apply = server_side(&stand, "argocd-controller");
    place.follows_head_and_nothing_else(apply, &argo_marks(place.name))
}

#[test]
fn flux_applies_head_and_no_other_revision() -> Outcome {
    let stand = own()?;
    let place = Place::new(&stand, "flux", "flux")?;
    place.follows_head_and_nothing_else(server_side(&stand, "kustomize-controller"), &flux_marks())
}

#[test]
fn a_pipeline_that_marks_nothing_applies_head_and_no_other_revision() -> Outcome {
    let stand = own()?;
    let place = Place::new(&stand, "pipeline", "")?;
    place.follows_head_and_nothing_else(|manifest| stand.apply(manifest), &json!({}))?;
    let place = Place::new(&stand, "pipeline-replace", "")?;
    stand.apply(&place.file(80)).ok()?;
    let replace = |manifest: &str| stand.kubectl_with(&["replace", "-f", "-"], manifest);
    place.follows_head_and_nothing_else(replace, &json!({}))
}

#[test]
fn helm_itself_installs_and_upgrades_to_head_and_no_other_revision() -> Outcome {
    let stand = own()?;
    let place = Place::new(&stand, "helm", "helm")?;
    let chart = stand.plane.dir().join("helm-chart");
    let render = |port: u16| -> Outcome {
        std::fs::create_dir_all(chart.join("templates"))?;
        std::fs::write(
            chart.join("Chart.yaml"),
            "apiVersion: v2\nname: policies\nversion: 1.0.0\n",
        )?;
        Ok(std::fs::write(chart.join("templates/web.yaml"), place.file(port))?)
    };
    let helm = |verb: &str| -> Result<Said, Failure> {
        let mut command = stand.plane.helm();
        command
            .args([verb, "policies"])
            .arg(&chart)
            .args(["--namespace", place.name]);
        let output = command.output()?;
        Ok(Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    };
    render(80)?;
    helm("install")?.ok()?;
    let live = place.live()?;
    assert_eq!(live["metadata"]["labels"]["app.kubernetes.io/managed-by"], "Helm");
    assert_eq!(live["metadata"]["annotations"]["meta.helm.sh/release-name"], "policies");
    place.until_drift(0)?;
    place.commit(443)?;
    place.until_drift(1)?;
    render(443)?;
    helm("upgrade")?.ok()?;
    place.until_drift(0)?;
    render(80)?;
    let stale = helm("upgrade")?.refused()?;
    assert!(stale.contains("differs from Git"), "{stale}");
    assert_eq!(place.live()?["spec"]["ingress"][0]["ports"][0]["port"], 443);
    render(443)?;
    helm("upgrade")?.ok()?;
    let kubeconfig = stand.plane.kubeconfig().display().to_string();
    let objects = stand.headgate(&[
        "source",
        "get",
        "helm",
        "--kubeconfig",
        &kubeconfig,
        "--allow-file-urls",
    ]);
    assert_eq!(objects.code, 0, "{objects:?}");
    // Git still declares it.
    helm_uninstall(&stand, place.name)?.refused()?;
    assert_eq!(place.live()?["metadata"]["uid"], live["metadata"]["uid"]);
    Ok(())
}

fn helm_uninstall(stand: &Stand, namespace: &str) -> Result<Said, Failure> {
    let output = stand
        .plane
        .helm()
        .args(["uninstall", "policies", "--namespace", namespace])
        .output()?;
    Ok(Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

#[test]
fn marks_that_the_source_does_not_expect_are_refused_with_what_to_do() -> Outcome {
    let stand = own()?;
    let none = Place::new(&stand, "unmarked", "")?;
    let helm = Place::new(&stand, "marked-by-helm", "helm")?;
    for (marks, name, word) in [
        (argo_marks("x"), "Argo CD", "argo-cd"),
        (flux_marks(), "Flux", "flux"),
        (helm_marks("x"), "Helm", "helm"),
    ] {
        let said = stand.apply(&marked(&none.file(80), &marks)?).refused()?;
        let hint = format!(
            "{name} marks what it applies. If it applies this source, let PolicySource unmarked say spec.deployer: {word}"
        );
        assert!(said.contains(&hint) && said.contains("not in Git"), "{said}");
        let said = stand.apply(&marked(&helm.file(80), &marks)?);
        assert_eq!(said.succeeded(), name == "Helm", "{said:?}");
        if name != "Helm" {
            assert!(
                said.err.contains(&format!("spec.deployer: {word} instead of helm")),
                "{said:?}"
            );
        }
    }
    // Beside a mark nothing else passes, and a value that is not the tool's is no mark.
    for labels in [
        json!({"team": "a"}),
        json!({"app.kubernetes.io/managed-by": "somebody"}),
    ] {
        let said = stand
            .apply(&marked(&helm.file(80), &json!({"labels": labels}))?)
            .refused()?;
        assert!(said.contains("metadata.labels"), "{said}");
    }
    // Once the source says so, they pass.
    let deployer = r#"{"spec": {"deployer": "flux"}}"#;
    stand
        .kubectl(&["patch", "policysource", "unmarked", "--type=merge", "-p", deployer])
        .ok()?;
    let flux = marked(&none.file(80), &flux_marks())?;
    stand.until("Flux's marks to pass", || {
        Ok(stand.apply(&flux).succeeded().then_some(()))
    })?;
    let said = stand.kubectl(&[
        "patch",
        "policysource",
        "unmarked",
        "--type=merge",
        "-p",
        r#"{"spec": {"deployer": "spinnaker"}}"#,
    ]);
    assert!(said.refused()?.contains("spec.deployer"));
    Ok(())
}

#[test]
fn a_mark_among_a_sets_labels_counts_for_it_selects_traffic() -> Outcome {
    let stand = own()?;
    if stand
        .get("customresourcedefinition/networksets.projectcalico.org", None)?
        .is_null()
    {
        return Ok(());
    }
    let place = Place::new(&stand, "sets", "helm")?;
    let set = |labels: &str| {
        format!(
            "apiVersion: projectcalico.org/v3\nkind: NetworkSet\nmetadata:\n  name: partners\n  namespace: sets\n  \
             labels: {labels}\nspec:\n  nets: [192.0.2.0/24]\n"
        )
    };
    stand.repository.write("sets/set.yaml", &set("{team: a}"))?;
    let commit = stand.repository.commit("A set")?;
    stand.until_ready_at("sets", &commit)?;
    let said = stand
        .apply(&marked(&set("{team: a}"), &helm_marks("sets"))?)
        .refused()?;
    assert!(
        said.contains(r#"metadata.labels["app.kubernetes.io/managed-by"]: not in Git"#),
        "{said}"
    );
    let annotations = json!({"annotations": helm_marks("sets")["annotations"]});
    stand.apply(&marked(&set("{team: a}"), &annotations)?).ok()?;
    // What the tool needs there is declared in Git.
    stand
        .repository
        .write("sets/set.yaml", &set("{team: a, app.kubernetes.io/managed-by: Helm}"))?;
    let commit = stand.repository.commit("The set as Helm labels it")?;
    stand.until_ready_at("sets", &commit)?;
    stand.apply(&marked(&set("{team: a}"), &helm_marks("sets"))?).ok()?;
    stand.apply(&place.file(80)).ok()?;
    place.until_drift(0)
}
