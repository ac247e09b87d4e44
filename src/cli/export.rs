//! `headgate export`: a cluster's guarded objects as the repository that declares them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value};

use super::connect::ConnectArguments;
use super::output::{self, complain};
use super::progress::Spinner;
use super::{Ending, Failure};
use crate::config::Config;
use crate::gate::wording::inline;
use crate::policy::deployer::is_only_a_mark;
use crate::policy::{Canonical, Digest, Key, Kind, Placement, Severity, canonicalize, manifest};
use crate::sync;

/// Where cluster-scoped objects go: no namespace has a name like this.
const CLUSTER: &str = "_cluster";
/// Bytes that a file's name may have on the usual file systems.
const LONGEST_NAME: usize = 255;

/// Like the marks of deployers: whoever applies the repository later puts its own.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

#[derive(Debug, Args)]
pub(super) struct ExportArguments {
    #[command(flatten)]
    connect: ConnectArguments,
    /// The configuration, which names the guarded kinds
    #[arg(long, env = "HEADGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only objects of these namespaces; given once for each. Left out: everything, cluster-scoped objects too
    #[arg(short, long = "namespace", value_name = "NAME")]
    namespaces: Vec<String>,
    /// Only objects of these kinds, with commas between them
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    kinds: Vec<String>,
    /// The folder to write to, a file an object; left out: everything is printed as one stream
    #[arg(short, long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Write into a folder that is not empty, over what is there
    #[arg(long, requires = "dir")]
    force: bool,
}

pub(super) async fn export(arguments: ExportArguments) -> Result<Ending, Failure> {
    let rules = Config::read(arguments.config.as_deref())?.rules;
    let kinds = chosen(&rules.guarded, &arguments.kinds)?;
    if let Some(dir) = arguments.dir.as_deref().filter(|_| !arguments.force) {
        check_empty(dir)?;
    }
    let client = arguments.connect.client().await?;
    let wanted = |key: &Key| {
        let named = |namespace| arguments.namespaces.iter().any(|wanted| wanted == namespace);
        key.is_guarded() && (arguments.namespaces.is_empty() || key.namespace().is_some_and(named))
    };
    let mut files = BTreeMap::new();
    let mut left_out = 0;
    let spinner = Spinner::new("asking what the cluster serves");
    let objects = sync::survey::objects(&client, &kinds, &|kind, count| spinner.listed(kind, count)).await?;
    drop(spinner);
    for object in objects {
        let added = exported(object, wanted).and_then(|found| match found {
            Some((path, text)) => add(&mut files, path, text),
            None => Ok(()),
        });
        if let Err(why) = added {
            left_out += 1;
            complain(&format!("left out: {}", inline(&why)));
        }
    }
    if let Some(dir) = &arguments.dir {
        write(dir, &files)?;
        output::print(&format!("{} objects written to {}\n", files.len(), dir.display()))?;
    } else {
        let texts: Vec<&str> = files.values().map(String::as_str).collect();
        output::print(&texts.join("---\n"))?;
    }
    Ok(if left_out == 0 { Ending::Clean } else { Ending::Found })
}

fn chosen(guarded: &[Kind], names: &[String]) -> Result<Vec<Kind>, Failure> {
    if names.is_empty() {
        return Ok(guarded.to_vec());
    }
    let guarded_kind = |name: &String| {
        Kind::of_name(name)
            .filter(|kind| guarded.contains(kind))
            .ok_or_else(|| Failure::from(format!("\"{name}\" is not a kind that is guarded")))
    };
    names.iter().map(guarded_kind).collect()
}

fn check_empty(dir: &Path) -> Result<(), Failure> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => match entries.find(|entry| entry.as_ref().map_or(true, |entry| entry.file_name() != ".git"))
        {
            Some(_) => Err(format!("{} is not empty; --force writes into it all the same", dir.display()).into()),
            None => Ok(()),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("{} cannot be read: {error}", dir.display()).into()),
    }
}

/// The file of an object, if it is wanted; else why it cannot be declared.
fn exported(object: Value, wanted: impl Fn(&Key) -> bool) -> Result<Option<(PathBuf, String)>, String> {
    let name = described(&object);
    let canonical = canonicalize(object).map_err(|error| format!("{name}: {error}"))?;
    if !wanted(&canonical.key) {
        return Ok(None);
    }
    let key = canonical.key.clone();
    let refuse = |why: &str| Err(format!("{key}: {why}"));
    if canonical.terminating {
        return refuse("it is being deleted");
    }
    if canonical.placement != Placement::AsNamed {
        return refuse("it is stored under a name or with metadata that Calico's own server would not give it");
    }
    let manifest = declared(canonical);
    if manifest.pointer("/metadata/ownerReferences").is_some() {
        return refuse("another object owns it, whose controller makes it");
    }
    let text = output::yaml(&manifest).map_err(|error| format!("{key}: {error}"))?;
    // Whatever is wrong with it, the repository's own check would say so.
    let parsed = manifest::parse(text.as_bytes());
    if let Some(problem) = parsed
        .problems
        .iter()
        .find(|problem| problem.severity == Severity::Error)
    {
        return refuse(&format!(
            "it could not be declared: {}: {}",
            problem.field, problem.message
        ));
    }
    if parsed.manifests.first().is_none_or(|read| read.key != key) {
        return refuse("it would not be read back as the same object");
    }
    Ok(Some((file(&key), text)))
}

/// One object may be stored under several names, from Calico's releases; which of them counts is not for this to say.
fn add(files: &mut BTreeMap<PathBuf, String>, path: PathBuf, text: String) -> Result<(), String> {
    match files.entry(path) {
        Entry::Vacant(free) => {
            free.insert(text);
            Ok(())
        }
        Entry::Occupied(taken) if *taken.get() == text => Ok(()),
        Entry::Occupied(taken) => Err(format!(
            "{}: it is stored a second time with other content; delete one of the two",
            taken.key().display()
        )),
    }
}

fn described(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    format!(
        "{} {}/{}",
        text("/kind"),
        text("/metadata/namespace"),
        text("/metadata/name")
    )
}

/// The manifest that people would write, without what deployers put there.
fn declared(canonical: Canonical) -> Value {
    let Canonical { key, form, .. } = canonical;
    let definition = key.kind().definition();
    let (group, version) = definition.served.first().copied().unwrap_or((definition.group, "v1"));
    let mut members = match form {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    let mut metadata = match members.remove("metadata") {
        Some(Value::Object(metadata)) => metadata,
        _ => Map::new(),
    };
    unmark(&key, &mut metadata);
    metadata.insert("name".to_owned(), key.name().into());
    if let Some(namespace) = key.namespace() {
        metadata.insert("namespace".to_owned(), namespace.into());
    }
    members.insert(
        "apiVersion".to_owned(),
        crate::policy::kind::api_version(group, version).into(),
    );
    members.insert("kind".to_owned(), definition.kind.into());
    members.insert("metadata".to_owned(), Value::Object(metadata));
    Value::Object(members)
}

/// Takes off the marks of deployers. Labels of sets stay, whoever put them there: they select traffic.
fn unmark(key: &Key, metadata: &mut Map<String, Value>) {
    for field in ["labels", "annotations"] {
        let Some(Value::Object(map)) = metadata.get_mut(field) else {
            continue;
        };
        map.retain(|name, value| name != LAST_APPLIED && !is_only_a_mark(key.kind(), field, name, value));
        if map.is_empty() {
            metadata.remove(field);
        }
    }
}

/// A folder a namespace; the kind without its group where no other group has one of that name.
fn file(key: &Key) -> PathBuf {
    let full = key.kind().to_string();
    let short = |kind: &str| kind.split('.').next().unwrap_or_default().to_owned();
    let namesakes = Kind::all()
        .filter(|kind| short(&kind.to_string()) == short(&full))
        .count();
    let kind = if namesakes > 1 { full } else { short(&full) };
    let ending = format!(".{kind}.yaml");
    let mut name = plain(key.name());
    if name.len() + ending.len() > LONGEST_NAME {
        let digest = Digest::of(&Value::from(key.name())).map_or_else(|_| String::new(), |digest| digest.to_string());
        let tail = digest.get(digest.len().saturating_sub(12)..).unwrap_or_default();
        name.truncate(LONGEST_NAME - ending.len() - tail.len() - 1);
        name = format!("{name}_{tail}");
    }
    Path::new(key.namespace().unwrap_or(CLUSTER)).join(name + &ending)
}

/// A name as every file system keeps it: what is not a small letter, a digit, a dot or a hyphen is written as a number,
/// so that no two names become one, also where capitals do not count.
fn plain(name: &str) -> String {
    let mut text = String::new();
    for (index, byte) in name.bytes().enumerate() {
        match byte {
            b'.' if index == 0 => text.push_str("_2e"),
            b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' => text.push(char::from(byte)),
            other => {
                let _ = write!(text, "_{other:02x}");
            }
        }
    }
    text
}

fn write(dir: &Path, files: &BTreeMap<PathBuf, String>) -> Result<(), Failure> {
    for (path, text) in files {
        let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        if !is_plain {
            return Err(format!("{} is not a file below {}", path.display(), dir.display()).into());
        }
        let path = dir.join(path);
        let written = path
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(&path, text));
        written.map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn export(object: Value) -> Result<(String, String), String> {
        let (path, text) = exported(object, |_| true)?.ok_or("it is wanted")?;
        Ok((path.display().to_string(), text))
    }

    #[test]
    fn a_live_object_becomes_what_a_person_would_write() -> Result<(), String> {
        let (path, text) = export(json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {
                "name": "web", "namespace": "shop", "uid": "1", "resourceVersion": "7", "generation": 2,
                "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": [{"manager": "x"}],
                "labels": {"app.kubernetes.io/managed-by": "Helm", "argocd.argoproj.io/instance": "shop", "team": "yes"},
                "annotations": {"meta.helm.sh/release-name": "shop", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
            },
            "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": 80, "protocol": "TCP"}]}]},
        }))?;
        assert_eq!(path, "shop/web.networkpolicy.networking.k8s.io.yaml");
        let read = manifest::parse(text.as_bytes());
        assert!(read.problems.is_empty(), "{:?}", read.problems);
        let object = read
            .manifests
            .first()
            .map(|manifest| manifest.object.clone())
            .unwrap_or_default();
        assert_eq!(
            object.pointer("/metadata").cloned().unwrap_or_default(),
            json!({"name": "web", "namespace": "shop", "labels": {"team": "yes"}})
        );
        Ok(())
    }

    #[test]
    fn what_another_object_owns_or_what_is_going_is_left_out() {
        let with = |metadata: Value| {
            let mut all = json!({"name": "web", "namespace": "shop"});
            if let (Some(all), Value::Object(metadata)) = (all.as_object_mut(), metadata) {
                all.extend(metadata);
            }
            let object = json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                "metadata": all, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
            });
            export(object).err().unwrap_or_default()
        };
        let owner = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "1"}]);
        assert!(with(json!({"ownerReferences": owner})).contains("owns it"));
        assert!(with(json!({"deletionTimestamp": "2026-01-01T00:00:00Z"})).contains("being deleted"));
    }

    #[test]
    fn every_name_becomes_a_file_of_its_own_on_every_file_system() -> Result<(), crate::policy::key::KeyError> {
        let long = |end: &str| format!("{}{end}", "x".repeat(250));
        let names = [
            "web",
            "default.web",
            "Web",
            "wEb",
            "w:b",
            "w_3ab",
            ".web",
            &long("a"),
            &long("b"),
        ];
        let mut files = std::collections::BTreeSet::new();
        for name in names {
            let key: Key = format!("networkpolicy.networking.k8s.io/shop/{name}").parse()?;
            let file = file(&key).display().to_string();
            let (_, last) = file.split_once('/').unwrap_or_default();
            assert!(last.len() <= LONGEST_NAME && !last.starts_with('.'), "{last}");
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
            assert!(last.bytes().all(plain), "{last}");
            files.insert(file);
        }
        assert_eq!(files.len(), names.len(), "{files:?}");
        assert!(files.contains("shop/default.web.networkpolicy.networking.k8s.io.yaml"));
        Ok(())
    }
}
