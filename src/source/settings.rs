//! A source's spec, checked once and ready for use.

use std::time::Duration;

use globset::{Glob, GlobSet, GlobSetBuilder};

use super::address::UrlRules;
use super::resource::{DenialDetail, Mode, OnRemoval, PolicySourceSpec, Prune, VerifyMode, WhenStale, WhenUnverified};

pub use super::coverage::Coverage;
use crate::policy::Deployer;

/// Objects that one commit may always remove, whatever `maxRemovals` says.
const ALWAYS_REMOVABLE: usize = 5;

/// Why a spec cannot be used. The API server's schema refuses most of these before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The URL has a scheme that this process may not use.
    #[error("spec.git.url: {0}")]
    Url(String),
    /// A field's text cannot be read.
    #[error("{field}: \"{value}\" is not {expected}")]
    Field {
        /// The field, as in `spec.git.interval`.
        field: &'static str,
        /// What it says.
        value: String,
        /// What belongs there.
        expected: &'static str,
    },
}

/// How many objects one commit may remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxRemovals {
    /// A number of objects.
    Objects(usize),
    /// A share of what was declared, in percent.
    Percent(usize),
}

/// Which commit of the repository counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The full name of the ref, as in `refs/heads/main`.
    pub name: String,
    /// A commit that it is pinned to, by its full id.
    pub commit: Option<String>,
}

/// Whose signatures a commit needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Which commits have to be signed.
    pub mode: VerifyMode,
    /// A commit that is trusted with all before it, by its full id.
    pub from: Option<String>,
    /// The Secret with the keys; given unless the mode is `None`.
    pub keys: Option<String>,
    /// What becomes of a head whose signature no longer counts.
    pub when_unverified: WhenUnverified,
}

/// A source's spec, checked and ready for use.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The repository's address, without user information.
    pub url: String,
    /// Which commit counts.
    pub reference: Reference,
    /// The folder that counts, without slashes at its ends; empty for the whole tree.
    pub path: String,
    /// Files that do not count, as paths from the repository's root.
    pub ignore: GlobSet,
    /// The same patterns as they were written.
    pub ignore_patterns: Vec<String>,
    /// Time between two looks at the repository.
    pub interval: Duration,
    /// The Secret with the credentials.
    pub credentials: Option<String>,
    /// The Secret whose token authenticates pushes.
    pub push_secret: Option<String>,
    /// Which objects the source speaks for.
    pub coverage: Coverage,
    /// Among sources that declare an object, the highest wins.
    pub priority: i32,
    /// Whether the gate refuses or warns.
    pub mode: Mode,
    /// No fetches and no writes.
    pub suspend: bool,
    /// Whose signatures a commit needs.
    pub verification: Verification,
    /// Whether rewritten history is accepted.
    pub allow_rewind: bool,
    /// How much one commit may remove.
    pub max_removals: MaxRemovals,
    /// A commit that may remove more.
    pub accept: Option<String>,
    /// Whether the loop writes.
    pub sync: bool,
    /// Which undeclared objects the loop removes.
    pub prune: Prune,
    /// What becomes of the objects when the source goes.
    pub on_removal: OnRemoval,
    /// Whose tracking marks do not count.
    pub deployer: Option<Deployer>,
    /// When a head that was not confirmed becomes stale.
    pub stale_after: Duration,
    /// What a stale head means for requests.
    pub when_stale: WhenStale,
    /// How much of Git a denial shows.
    pub denial: DenialDetail,
    /// Where to propose a change, with placeholders; empty to derive it.
    pub web_edit_url: String,
}

impl Settings {
    /// Checks a spec.
    ///
    /// # Errors
    /// Names the first field that cannot be used.
    pub fn from_spec(spec: &PolicySourceSpec, urls: &UrlRules) -> Result<Self, SettingsError> {
        let git = &spec.git;
        Ok(Self {
            url: urls.checked(&git.url).map_err(SettingsError::Url)?,
            reference: checked(reference(spec))?,
            path: folder(&git.path),
            ignore: globs("spec.git.ignore", &git.ignore, true)?,
            ignore_patterns: git.ignore.clone(),
            interval: duration("spec.git.interval", &git.interval)?,
            credentials: git.credentials_secret_ref.as_ref().map(|secret| secret.name.clone()),
            push_secret: git.push_secret_ref.as_ref().map(|secret| secret.name.clone()),
            coverage: Coverage::from_scope(spec.scope.as_ref())?,
            priority: spec.priority,
            mode: spec.mode,
            suspend: spec.suspend,
            verification: verification(spec)?,
            allow_rewind: spec.allow_rewind,
            max_removals: max_removals(&spec.max_removals)?,
            accept: Some(spec.accept.clone()).filter(|commit| !commit.is_empty()),
            sync: spec.sync.enabled,
            prune: spec.sync.prune,
            on_removal: spec.sync.on_removal,
            deployer: spec.deployer.known(),
            stale_after: duration("spec.staleAfter", &spec.stale_after)?,
            when_stale: spec.when_stale,
            denial: spec.denial,
            web_edit_url: spec.web_edit_url.clone(),
        })
    }

    /// What stands in for a spec that cannot be used, so that its source goes on being counted: it speaks for what its
    /// scope says, for everything where the scope itself cannot be read, and never gets a head. What it covers is
    /// then refused as unknown instead of being decided as if nobody covered it.
    pub fn unusable(spec: &PolicySourceSpec) -> Self {
        Self {
            url: String::new(),
            reference: reference(spec),
            path: String::new(),
            ignore: GlobSet::empty(),
            ignore_patterns: Vec::new(),
            interval: Duration::from_secs(30),
            credentials: None,
            push_secret: None,
            coverage: Coverage::from_scope(spec.scope.as_ref()).unwrap_or_else(|_| Coverage::everything()),
            priority: spec.priority,
            mode: spec.mode,
            suspend: true,
            verification: verification(spec).unwrap_or_default(),
            allow_rewind: false,
            max_removals: MaxRemovals::Objects(0),
            accept: None,
            sync: false,
            prune: Prune::Never,
            on_removal: OnRemoval::Release,
            deployer: spec.deployer.known(),
            stale_after: Duration::from_mins(10),
            when_stale: WhenStale::Deny,
            denial: spec.denial,
            web_edit_url: String::new(),
        }
    }
}

impl MaxRemovals {
    /// How many of so many declared objects one commit may remove; never less than five.
    pub fn of(self, declared: usize) -> usize {
        let allowed = match self {
            Self::Objects(objects) => objects,
            Self::Percent(percent) => declared.saturating_mul(percent) / 100,
        };
        allowed.max(ALWAYS_REMOVABLE)
    }
}

impl Reference {
    /// The branch or tag without its prefix, for people.
    pub fn short(&self) -> &str {
        self.name
            .strip_prefix("refs/heads/")
            .or_else(|| self.name.strip_prefix("refs/tags/"))
            .unwrap_or(&self.name)
    }
}

fn reference(spec: &PolicySourceSpec) -> Reference {
    let git_ref = &spec.git.r#ref;
    let name = match (&git_ref.tag, &git_ref.branch) {
        (Some(tag), _) => format!("refs/tags/{tag}"),
        (None, branch) => format!("refs/heads/{}", branch.as_deref().unwrap_or("main")),
    };
    Reference {
        name,
        commit: git_ref.commit.clone(),
    }
}

/// Refuses names that are none, patterns above all: those would fetch, and follow, many refs.
fn checked(reference: Reference) -> Result<Reference, SettingsError> {
    match gix::refs::FullName::try_from(reference.name.as_str()) {
        Ok(_) => Ok(reference),
        Err(_) => Err(SettingsError::Field {
            field: "spec.git.ref",
            value: reference.short().to_owned(),
            expected: "the name of a branch or tag",
        }),
    }
}

fn verification(spec: &PolicySourceSpec) -> Result<Verification, SettingsError> {
    let verify = &spec.verify;
    let keys = verify.keys_secret_ref.as_ref().map(|secret| secret.name.clone());
    if verify.mode != VerifyMode::None && keys.is_none() {
        return Err(SettingsError::Field {
            field: "spec.verify.keysSecretRef",
            value: String::new(),
            expected: "the name of the Secret with the keys that may sign",
        });
    }
    Ok(Verification {
        mode: verify.mode,
        from: verify.from.clone(),
        keys: keys.filter(|_| verify.mode != VerifyMode::None),
        when_unverified: verify.when_unverified,
    })
}

/// A folder from the repository's root, however many slashes and dots it was written with.
fn folder(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    parts.join("/")
}

pub(super) fn globs(field: &'static str, patterns: &[String], paths: bool) -> Result<GlobSet, SettingsError> {
    let refuse = |value: &String| SettingsError::Field {
        field,
        value: value.clone(),
        expected: "a glob",
    };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = if paths {
            globset::GlobBuilder::new(pattern).literal_separator(true).build()
        } else {
            Glob::new(pattern)
        };
        set.add(glob.map_err(|_| refuse(pattern))?);
    }
    set.build().map_err(|_| refuse(&patterns.join(" ")))
}

fn duration(field: &'static str, text: &str) -> Result<Duration, SettingsError> {
    humantime::parse_duration(text).map_err(|_| SettingsError::Field {
        field,
        value: text.to_owned(),
        expected: "a duration such as 30s or 10m",
    })
}

fn max_removals(text: &str) -> Result<MaxRemovals, SettingsError> {
    let refuse = || SettingsError::Field {
        field: "spec.maxRemovals",
        value: text.to_owned(),
        expected: "a number of objects, or a percentage such as 20%",
    };
    match text.strip_suffix('%') {
        Some(percent) => percent.parse().ok().filter(|p| *p <= 100).map(MaxRemovals::Percent),
        None => text.parse().ok().map(MaxRemovals::Objects),
    }
    .ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::resource::Scope;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn scope(namespaces: &[&str]) -> Scope {
        Scope {
            namespaces: Some(namespaces.iter().map(ToString::to_string).collect()),
            ..Scope::default()
        }
    }

    #[test]
    fn a_spec_that_cannot_be_used_still_speaks_for_its_scope() -> TestResult {
        let mut spec = PolicySourceSpec {
            scope: Some(scope(&["payments"])),
            ..PolicySourceSpec::default()
        };
        spec.stale_after = "soon".to_owned();
        assert!(Settings::from_spec(&spec, &UrlRules::default()).is_err());
        let settings = Settings::unusable(&spec);
        assert!(
            settings
                .coverage
                .covers(&"networkpolicy.networking.k8s.io/payments/a".parse()?)
        );
        assert!(
            !settings
                .coverage
                .covers(&"networkpolicy.networking.k8s.io/web/a".parse()?)
        );
        spec.scope = Some(scope(&["["]));
        let settings = Settings::unusable(&spec);
        assert!(
            settings
                .coverage
                .covers(&"networkpolicy.networking.k8s.io/web/a".parse()?)
        );
        Ok(())
    }

    #[test]
    fn five_objects_may_always_go() -> Result<(), SettingsError> {
        assert_eq!(max_removals("20%")?.of(10), 5);
        assert_eq!(max_removals("20%")?.of(100), 20);
        assert_eq!(max_removals("0")?.of(100), 5);
        assert!(max_removals("101%").is_err());
        Ok(())
    }

    #[test]
    fn a_ref_is_one_ref() {
        let named = |branch: &str| {
            let mut spec = PolicySourceSpec::default();
            spec.git.r#ref.branch = Some(branch.to_owned());
            checked(reference(&spec)).map(|reference| reference.name)
        };
        assert_eq!(named("release/1.2"), Ok("refs/heads/release/1.2".to_owned()));
        for branch in ["*", "a:b", "", "a..b", "main\n"] {
            assert!(named(branch).is_err(), "{branch:?}");
        }
    }

    #[test]
    fn a_folder_may_be_written_as_people_do() {
        for path in ["clusters/prod", "./clusters/prod/", "/clusters//./prod"] {
            assert_eq!(folder(path), "clusters/prod");
        }
        assert_eq!(folder("./"), "");
    }
}
