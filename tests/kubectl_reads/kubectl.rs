//! What the real kubectl makes of many texts, in one call.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use headgate::policy::Kind;
use serde_json::{Value, json};

use crate::Outcome;
use crate::controlplane::ControlPlane;

/// What kubectl made of a text: the objects it would create, and its errors.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub(crate) objects: Vec<Value>,
    pub(crate) errors: Vec<String>,
}

/// A kind that every server knows, after each text: kubectl goes through a folder in order, and where one text's
/// objects end is told by it.
const MARK: &str = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: the-end-of-one-text}\n";

/// Has kubectl read each text, as a file of its own.
pub(crate) fn read(texts: &[impl AsRef<str>]) -> Outcome<Vec<Reading>> {
    let folder = tempfile::tempdir()?;
    for (index, text) in texts.iter().enumerate() {
        std::fs::write(folder.path().join(format!("{index:06}.yaml")), text.as_ref())?;
        std::fs::write(folder.path().join(format!("{index:06}~.yaml")), MARK)?;
    }
    let output = kubectl()?
        .args(["create", "--dry-run=client", "--validate=false", "-o", "json", "-f"])
        .arg(folder.path())
        .output()?;
    let mut readings = Vec::new();
    let mut reading = Reading::default();
    for object in serde_json::Deserializer::from_slice(&output.stdout).into_iter() {
        let object: Value = object?;
        if object["metadata"]["name"] == "the-end-of-one-text" {
            readings.push(std::mem::take(&mut reading));
        } else {
            reading.objects.push(object);
        }
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    if readings.len() != texts.len() {
        return Err(format!("kubectl read {} of {} texts: {errors}", readings.len(), texts.len()).into());
    }
    add_errors(&mut readings, folder.path(), &errors)?;
    Ok(readings)
}

/// An error names the file; what it says may have several lines.
fn add_errors(readings: &mut [Reading], folder: &Path, errors: &str) -> Outcome {
    let prefix = format!("{}/", folder.display());
    let mut last = None;
    for line in errors.lines() {
        let index = line
            .split_once(&prefix)
            .and_then(|(_, rest)| rest.get(..6)?.parse().ok());
        last = index.or(last);
        let at: usize = last.ok_or_else(|| format!("kubectl said: {errors}"))?;
        let reading = readings.get_mut(at).ok_or("an error of no text")?;
        match reading.errors.last_mut() {
            Some(error) if index.is_none() => error.push_str(line),
            _ => reading.errors.push(line.to_owned()),
        }
    }
    Ok(())
}

/// kubectl, before a server that serves every guarded kind. A dry run of the client asks it for nothing else.
fn kubectl() -> Outcome<Command> {
    static PLANE: LazyLock<Outcome<ControlPlane, String>> =
        LazyLock::new(|| prepared().map_err(|error| error.to_string()));
    Ok(PLANE.as_ref().map_err(Clone::clone)?.kubectl())
}

fn prepared() -> Outcome<ControlPlane> {
    let plane = ControlPlane::start()?;
    let definitions: Vec<Value> = Kind::all().flat_map(definitions).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": definitions});
    let path = plane.dir().join("definitions.json");
    std::fs::write(&path, list.to_string())?;
    let run = |arguments: &[&str]| -> Outcome {
        let status = plane.kubectl().args(arguments).stdout(Stdio::null()).status()?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("kubectl {arguments:?} failed").into())
        }
    };
    run(&["create", "-f", &path.display().to_string()])?;
    run(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"])?;
    Ok(plane)
}

/// Definitions that let anything pass, for a kind that the server has not itself.
fn definitions(kind: Kind) -> impl Iterator<Item = Value> {
    let definition = kind.definition();
    let foreign = definition
        .served
        .iter()
        .filter(|(group, _)| *group != "networking.k8s.io");
    foreign.map(|(group, version)| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {
                "name": format!("{}.{group}", definition.plural),
                "annotations": {"api-approved.kubernetes.io": "unapproved, a test"},
            },
            "spec": {
                "group": group,
                "scope": if definition.namespaced { "Namespaced" } else { "Cluster" },
                "names": {
                    "plural": definition.plural,
                    "singular": definition.kind.to_lowercase(),
                    "kind": definition.kind,
                },
                "versions": [{
                    "name": version, "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                }],
            },
        })
    })
}
