//! What the source speaks for, and which files count: by arguments, or by the manifest of a `PolicySource`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use crate::cli::Failure;
use crate::source::resource::Scope;
use crate::source::{Coverage, PolicySource};

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
    /// Below the folder that is checked; empty for all of it.
    pub(super) path: String,
    pub(super) ignore: globset::GlobSet,
}

impl ScopeArguments {
    pub(super) fn source(&self) -> Result<Source, Failure> {
        let Some(file) = &self.scope else {
            return Ok(Source {
                coverage: Coverage::from_scope(self.scope().as_ref())?,
                path: String::new(),
                ignore: globs(&self.ignore)?,
            });
        };
        let spec = read(file)?.spec;
        let ignore: Vec<String> = spec.git.ignore.iter().chain(&self.ignore).cloned().collect();
        Ok(Source {
            coverage: Coverage::from_scope(spec.scope.as_ref())?,
            path: spec.git.path.trim_matches('/').to_owned(),
            ignore: globs(&ignore)?,
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

fn globs(patterns: &[String]) -> Result<globset::GlobSet, Failure> {
    let mut set = globset::GlobSetBuilder::new();
    for pattern in patterns {
        set.add(globset::GlobBuilder::new(pattern).literal_separator(true).build()?);
    }
    Ok(set.build()?)
}

/// The one `PolicySource` of a file, among whatever else it holds.
fn read(file: &Path) -> Result<PolicySource, Failure> {
    let refuse = |why: &str| format!("--scope: {} {why}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| refuse(&format!("cannot be read: {error}")))?;
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(&text).map_err(|error| refuse(&format!("is not YAML: {error}")))?;
    let is_source = |document: &&Value| {
        let group = document["apiVersion"].as_str().and_then(|text| text.split('/').next());
        document["kind"] == "PolicySource" && group == Some("headgate.dev")
    };
    let mut sources = documents.iter().filter(is_source);
    match (sources.next(), sources.next()) {
        (Some(source), None) => serde_json::from_value(source.clone())
            .map_err(|error| refuse(&format!("holds no PolicySource that can be used: {error}")).into()),
        (Some(_), Some(_)) => Err(refuse("holds several PolicySources: name a file with one").into()),
        (None, _) => Err(refuse("holds no PolicySource of headgate.dev").into()),
    }
}
