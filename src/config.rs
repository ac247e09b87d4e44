//! The configuration file, the same for both halves.

mod limits;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::gate::exemption::ExemptionError;
use crate::gate::grant::LONGEST;
use crate::gate::preset::{self, PresetError};
use crate::gate::{DryRun, Exemption, ExemptionSpec, GrantRules, PresetChoice, Rules, Uncovered};
use crate::policy::kind::GenericKindError;
use crate::policy::{Family, GenericKind, Kind};
use crate::source::resource::Mode;
use crate::source::{Limits, SettingsError, UrlRules};

pub use limits::LimitsSection;

/// The configuration as its file has it. Everything may be left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Configuration {
    /// Whether the gate as a whole refuses or warns.
    pub mode: Mode,
    /// What becomes of objects that no source covers.
    pub uncovered: Uncovered,
    /// What becomes of dry runs that would be refused.
    pub dry_run: DryRun,
    /// The guarded kinds, as `networkpolicy.networking.k8s.io`; left out: Kubernetes' and Calico's.
    pub guarded_kinds: Option<Vec<String>>,
    /// Further kinds to guard, of which Headgate knows no structure.
    pub generic_kinds: Vec<GenericKind>,
    /// Who may write what without Git.
    pub exemptions: Vec<ExemptionSpec>,
    /// Lists of exemptions that Headgate brings along.
    pub exemption_presets: Vec<PresetChoice>,
    /// Whether a namespace in which Git declares objects may not be deleted.
    pub guard_namespaces: bool,
    /// Who may step around Git for how long.
    pub grants: GrantsSection,
    /// Where repositories may be.
    pub git: GitSection,
}

/// What the file says of repositories.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GitSection {
    /// Globs over the hosts that sources may name, as `git.example.com` or `*.example.com`; left out: every host.
    pub allowed_hosts: Option<Vec<String>>,
    /// What one repository may cost.
    pub limits: LimitsSection,
}

/// What the file says of grants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GrantsSection {
    /// Whether there are any; false: a grant covers nothing.
    pub enabled: bool,
    /// The longest that a grant is in force, as `4h`; at most a day.
    pub max_duration: String,
}

impl Default for GrantsSection {
    fn default() -> Self {
        let rules = GrantRules::default();
        Self {
            enabled: rules.enabled,
            max_duration: humantime::format_duration(rules.max_duration).to_string(),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration {path} cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("the configuration {path} cannot be used: {message}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// A kind that Headgate does not know.
    #[error("guardedKinds: \"{0}\" is not a kind that Headgate knows")]
    Kind(String),
    /// A generic kind that cannot be guarded.
    #[error(transparent)]
    GenericKind(#[from] GenericKindError),
    /// No kind would be guarded.
    #[error("guardedKinds is empty: Headgate would guard nothing")]
    NothingGuarded,
    /// An exemption cannot be used.
    #[error(transparent)]
    Exemption(#[from] ExemptionError),
    /// The bound of grants cannot be used.
    #[error("grants.maxDuration: \"{0}\" is not a duration such as 30m or 4h, longer than nothing and at most 24h")]
    MaxDuration(String),
    /// A preset cannot be used.
    #[error(transparent)]
    Preset(#[from] PresetError),
    /// The hosts cannot be used.
    #[error(transparent)]
    Hosts(#[from] SettingsError),
    /// A bound on repositories cannot be used.
    #[error("git.limits.{field}: \"{value}\" is not {expected}")]
    Limit {
        /// Which.
        field: &'static str,
        /// What it says.
        value: String,
        /// What it could say.
        expected: &'static str,
    },
}

/// The configuration, checked, with a hash by which replicas can be compared.
#[derive(Clone, Debug)]
pub struct Config {
    /// What it says to the gate and the loop.
    pub rules: Rules,
    /// What it says of grants.
    pub grants: GrantRules,
    /// Which URLs sources may name; without `file:` URLs.
    pub urls: UrlRules,
    /// After this long a fetch is cut off.
    pub fetch_timeout: Duration,
    /// What one repository may cost.
    pub limits: Limits,
    /// The first digits of the SHA-256 of the file's content.
    pub hash: String,
    /// What it says, with everything that it leaves out filled in.
    pub content: serde_json::Value,
}

impl Config {
    /// Reads the file; without one, the defaults hold.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn read(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else {
            return Self::from_text("", Path::new("(none)"));
        };
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::from_text(&text, path)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn from_text(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let parsed: Option<Configuration> = serde_saphyr::from_str(text).map_err(|error| ConfigError::Parse {
            path: path.to_owned(),
            message: error.to_string(),
        })?;
        let hash = Sha256::digest(text.as_bytes());
        let hash = hash
            .iter()
            .take(6)
            .fold(String::new(), |hash, byte| hash + &format!("{byte:02x}"));
        let configuration = parsed.unwrap_or_default();
        let (fetch_timeout, limits) = configuration.git.limits.limits()?;
        Ok(Self {
            content: serde_json::to_value(&configuration).unwrap_or_default(),
            fetch_timeout,
            limits,
            grants: configuration.grants.rules()?,
            urls: UrlRules::new(configuration.git.allowed_hosts.as_deref())?,
            rules: configuration.rules()?,
            hash,
        })
    }
}

impl GrantsSection {
    fn rules(&self) -> Result<GrantRules, ConfigError> {
        let parsed = humantime::parse_duration(&self.max_duration).ok();
        let max_duration = parsed
            .filter(|duration| !duration.is_zero() && *duration <= LONGEST)
            .ok_or_else(|| ConfigError::MaxDuration(self.max_duration.clone()))?;
        Ok(GrantRules {
            enabled: self.enabled,
            max_duration,
        })
    }
}

impl Configuration {
    fn rules(self) -> Result<Rules, ConfigError> {
        let to_kind = |name: &String| Kind::of_name(name).ok_or_else(|| ConfigError::Kind(name.clone()));
        // Before anything else: all that follows may name them.
        let generic: Vec<Kind> = self
            .generic_kinds
            .iter()
            .map(GenericKind::register)
            .collect::<Result<_, _>>()?;
        let mut guarded: Vec<Kind> = match &self.guarded_kinds {
            Some(names) => names.iter().map(to_kind).collect::<Result<_, _>>()?,
            None => default_kinds().collect(),
        };
        guarded.extend(
            generic
                .into_iter()
                .filter(|kind| !guarded.contains(kind))
                .collect::<Vec<_>>(),
        );
        if guarded.is_empty() {
            return Err(ConfigError::NothingGuarded);
        }
        let own = self.exemptions.into_iter().map(Exemption::new);
        let mut exemptions: Vec<Exemption> = own.collect::<Result<_, _>>()?;
        exemptions.extend(preset::expand(&self.exemption_presets)?);
        Ok(Rules {
            mode: self.mode,
            uncovered: self.uncovered,
            dry_run: self.dry_run,
            guarded,
            exemptions,
            guard_namespaces: self.guard_namespaces,
        })
    }
}

/// The kinds that are guarded where the configuration does not say: Kubernetes' own and Calico's.
pub fn default_kinds() -> impl Iterator<Item = Kind> {
    Kind::all().filter(|kind| matches!(kind.definition().family, Family::Kubernetes | Family::Calico))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        Config::from_text(text, Path::new("config.yaml"))
    }

    #[test]
    fn an_empty_configuration_enforces_kubernetes_and_calico() -> Result<(), ConfigError> {
        let rules = read("")?.rules;
        assert_eq!(rules.mode, Mode::Enforce);
        assert_eq!(rules.uncovered, Uncovered::Deny);
        assert_eq!(rules.dry_run, DryRun::Deny);
        assert_eq!(rules.guarded.len(), 10);
        Ok(())
    }

    #[test]
    fn grants_are_bounded_by_four_hours_unless_the_file_says_otherwise() -> Result<(), ConfigError> {
        let hours = |text: &str| read(text).map(|config| config.grants.max_duration.as_secs() / 3600);
        assert_eq!(hours("")?, 4);
        assert_eq!(hours("grants: {maxDuration: 12h}\n")?, 12);
        assert!(!read("grants: {enabled: false}\n")?.grants.enabled);
        for refused in ["0s", "25h", "soon", ""] {
            let text = format!("grants: {{maxDuration: \"{refused}\"}}\n");
            assert!(matches!(read(&text), Err(ConfigError::MaxDuration(_))), "{refused}");
        }
        Ok(())
    }

    #[test]
    fn hosts_are_a_list_with_something_in_it_or_left_out() {
        assert!(read("git: {allowedHosts: [git.example.com, \"*.corp.example\"]}\n").is_ok());
        for refused in ["[]", "[\"[\"]"] {
            let text = format!("git: {{allowedHosts: {refused}}}\n");
            assert!(matches!(read(&text), Err(ConfigError::Hosts(_))), "{refused}");
        }
    }

    #[test]
    fn what_a_repository_may_cost_is_read_beside_its_hosts() -> Result<(), ConfigError> {
        let config = read("git: {limits: {fetchTimeout: 5m, received: 256Mi, files: 500, fileSize: 1048576}}\n")?;
        assert_eq!(config.fetch_timeout, Duration::from_mins(5));
        let expected = Limits {
            received: 256 << 20,
            files: 500,
            file_size: 1 << 20,
            ..Limits::default()
        };
        assert_eq!(config.limits, expected);
        let refused = read("git: {limits: {fileSize: 1Gi}}\n");
        assert!(
            matches!(refused, Err(ConfigError::Limit { field: "fileSize", .. })),
            "{refused:?}"
        );
        assert!(read("git: {limits: {filesize: 1Mi}}\n").is_err());
        Ok(())
    }

    #[test]
    fn a_misspelt_key_or_kind_is_refused() {
        assert!(matches!(read("uncoverd: Allow\n"), Err(ConfigError::Parse { .. })));
        assert!(matches!(read("guardedKinds: [pods]\n"), Err(ConfigError::Kind(_))));
        assert!(matches!(read("guardedKinds: []\n"), Err(ConfigError::NothingGuarded)));
        assert!(read("exemptions: [{users: [a], kinds: [], reason: r}]\n").is_err());
        assert!(matches!(
            read("exemptionPresets: [{name: calico}]\n"),
            Err(ConfigError::Preset(_))
        ));
    }

    #[test]
    fn presets_come_after_the_configurations_own_exemptions() -> Result<(), ConfigError> {
        let text = "exemptions: [{users: [a], kinds: [tier.projectcalico.org], reason: r}]\n\
            exemptionPresets: [{name: calico-controllers}, {name: tigera-operator, until: 2030-01-31T18:00:00Z}]\n";
        let rules = read(text)?.rules;
        let presets: Vec<_> = rules.exemptions.iter().map(Exemption::preset).collect();
        assert_eq!(presets.first(), Some(&None));
        assert_eq!(presets.get(1), Some(&Some("calico-controllers")));
        assert!(rules.exemptions.last().is_some_and(|last| last.spec().until.is_some()));
        Ok(())
    }
}
