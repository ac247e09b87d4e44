//! What the source speaks for, and which files count: by arguments, or by the manifest of a `PolicySource`.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use clap::Args;
use globset::GlobSet;
use kube::{CustomResourceExt, Resource};
use serde_json::Value;

use crate::cli::Failure;
use crate::gate::wording::inline;
use crate::source::resource::Scope;
use crate::source::{Coverage, PolicySource, Settings, UrlRules};

#[derive(Debug, Args)]
pub(super) struct ScopeArguments {
    /// A file with the source's `PolicySource`: its scope, path and ignored files hold, and DIR is the repository's root
    #[arg(
        long,
        alias = "source",
        value_name = "FILE",
        conflicts_with_all = ["namespaces", "cluster_scoped", "kinds", "tiers"],
    )]
    scope: Option<PathBuf>,
    /// Namespaces that the source covers, as globs; may be repeated
    #[arg(long = "namespaces", value_name = "GLOB", value_delimiter = ',')]
    namespaces: Vec<String>,
    /// Cluster-scoped objects are covered, too, where another argument limits the scope
    #[arg(long)]
    cluster_scoped: bool,
    /// Kinds that the source covers, as networkpolicy.projectcalico.org; may be repeated
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    kinds: Vec<String>,
    /// Calico tiers in which its policies may be; may be repeated
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    tiers: Vec<String>,
    /// Files that do not count, as globs from the folder; may be repeated
    #[arg(long, value_name = "GLOB")]
    ignore: Vec<String>,
}

/// What the source speaks for, and which files count.
pub(super) struct Source {
    pub(super) coverage: Coverage,
    /// Below the folder that is checked, without slashes at its ends; empty for all of it.
    pub(super) path: String,
    /// By the arguments, and by the `PolicySource`.
    ignore: Vec<GlobSet>,
}

impl Source {
    /// Whether a file, by its path from the folder that is checked, does not count.
    pub(super) fn ignores(&self, path: &str) -> bool {
        self.ignore.iter().any(|globs| globs.is_match(path))
    }
}

impl ScopeArguments {
    pub(super) fn source(&self) -> Result<Source, Failure> {
        let ignore = globs(&self.ignore)?;
        let Some(file) = &self.scope else {
            return Ok(Source {
                coverage: Coverage::from_scope(self.scope().as_ref())?,
                path: String::new(),
                ignore: vec![ignore],
            });
        };
        let settings = settings(file).map_err(|why| inline(&format!("--scope: {} {why}", file.display())))?;
        Ok(Source {
            coverage: settings.coverage,
            path: settings.path,
            ignore: vec![ignore, settings.ignore],
        })
    }

    /// As a `PolicySource` with these fields would have it; none where nothing limits it.
    fn scope(&self) -> Option<Scope> {
        let listed = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
        let limits = [&self.namespaces, &self.kinds, &self.tiers];
        limits.iter().any(|list| !list.is_empty()).then(|| Scope {
            namespaces: listed(&self.namespaces),
            cluster_scoped: self.cluster_scoped,
            kinds: self.kinds.clone(),
            tiers: listed(&self.tiers),
        })
    }
}

fn globs(patterns: &[String]) -> Result<GlobSet, Failure> {
    let mut set = globset::GlobSetBuilder::new();
    for pattern in patterns {
        let glob = globset::GlobBuilder::new(pattern).literal_separator(true).build();
        set.add(glob.map_err(|error| inline(&format!("--ignore: {error}")))?);
    }
    Ok(set.build()?)
}

/// What the one `PolicySource` of a file says, read as the API server and the source read it. The error goes on with the
/// sentence that the file's name begins.
fn settings(file: &Path) -> Result<Settings, String> {
    let source = find(file)?;
    let unusable = |error: &dyn Display| format!("holds no PolicySource that can be used: {error}");
    if let Some(field) = unknown_field(&source) {
        return Err(unusable(&format!("{field} is no field of it")));
    }
    let source: PolicySource = serde_json::from_value(source).map_err(|error| unusable(&error))?;
    let path = &source.spec.git.path;
    // The definition's own rule, which the API server asks.
    if path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return Err(unusable(&format!(
            "spec.git.path: \"{path}\" is not a folder below the repository's root"
        )));
    }
    // Whether file: is allowed is the process's to say, not this file's.
    Settings::from_spec(&source.spec, &UrlRules::default().with_files(true)).map_err(|error| unusable(&error))
}

/// The one `PolicySource` of a file, among whatever else it holds.
fn find(file: &Path) -> Result<Value, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"))?;
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).map_err(|error| format!("is not YAML: {error}"))?;
    let is_source = |document: &Value| {
        let group = document["apiVersion"].as_str().and_then(|text| text.split('/').next());
        document["kind"] == "PolicySource" && group == Some("headgate.dev")
    };
    let mut sources = documents.into_iter().filter(is_source);
    let source = match (sources.next(), sources.next()) {
        (Some(source), None) => source,
        (Some(_), Some(_)) => return Err("holds several PolicySources: name a file with one".to_owned()),
        (None, _) => return Err("holds no PolicySource of headgate.dev".to_owned()),
    };
    let served = PolicySource::api_version(&());
    match source.get("apiVersion").and_then(Value::as_str) {
        Some(written) if written != served => Err(format!("holds a PolicySource of {written}: write {served}")),
        _ => Ok(source),
    }
}

/// A field that the definition of the resource does not have: the API server would drop it, and warn at most. What is
/// outside `spec` is Kubernetes' own, or the status.
fn unknown_field(source: &Value) -> Option<String> {
    let definition = serde_json::to_value(PolicySource::crd()).unwrap_or_default();
    let schema = definition.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec")?;
    let outside = ["apiVersion", "kind", "metadata", "spec", "status"];
    let mut members = source.as_object()?.keys();
    let unknown = members.find(|name| !outside.contains(&name.as_str())).cloned();
    unknown.or_else(|| unknown_below(source.get("spec")?, schema, "spec"))
}

fn unknown_below(value: &Value, schema: &Value, path: &str) -> Option<String> {
    match value {
        Value::Object(members) => {
            let known = schema.get("properties")?.as_object()?;
            members.iter().find_map(|(name, value)| {
                let path = format!("{path}.{name}");
                match known.get(name) {
                    Some(schema) => unknown_below(value, schema, &path),
                    None => Some(path),
                }
            })
        }
        Value::Array(items) => {
            let schema = schema.get("items")?;
            let mut items = items.iter().enumerate();
            items.find_map(|(at, item)| unknown_below(item, schema, &format!("{path}[{at}]")))
        }
        _ => None,
    }
}
