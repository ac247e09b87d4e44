//! Presets: named lists of exemptions for the controllers of well-known projects, each a file beside this one, to be
//! read before it is switched on.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::exemption::{Exemption, ExemptionError, ExemptionSpec};

/// The presets there are, by name, as their files have them.
const PRESETS: [(&str, &str); 7] = [
    ("calico-controllers", include_str!("presets/calico-controllers.yaml")),
    ("tigera-operator", include_str!("presets/tigera-operator.yaml")),
    (
        "tigera-operator-cleanup",
        include_str!("presets/tigera-operator-cleanup.yaml"),
    ),
    (
        "calico-policy-name-migration",
        include_str!("presets/calico-policy-name-migration.yaml"),
    ),
    (
        "calico-datastore-migration",
        include_str!("presets/calico-datastore-migration.yaml"),
    ),
    ("cilium-derivatives", include_str!("presets/cilium-derivatives.yaml")),
    (
        "kubernetes-controllers",
        include_str!("presets/kubernetes-controllers.yaml"),
    ),
];

/// A preset that the configuration switches on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PresetChoice {
    /// Its name.
    pub name: String,
    /// The time from which it holds no longer; some presets need one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// A preset as its file has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Preset {
    /// What it is for, in a few words.
    pub description: String,
    /// Whether it may only be switched on with an end.
    #[serde(default)]
    pub needs_end: bool,
    /// Its exemptions.
    pub exemptions: Vec<ExemptionSpec>,
}

/// Why a preset cannot be switched on.
#[derive(Debug, thiserror::Error)]
pub enum PresetError {
    /// A name that Headgate does not know.
    #[error("exemptionPresets: there is no preset \"{name}\"; there are {}", names().collect::<Vec<_>>().join(", "))]
    Unknown {
        /// The name.
        name: String,
    },
    /// It is open-ended, and must not be.
    #[error("exemptionPresets: {name} lets so much pass that it needs an end: until: 2030-01-31T18:00:00Z")]
    NeedsEnd {
        /// The preset.
        name: String,
    },
    /// It is there twice, perhaps with two ends.
    #[error("exemptionPresets: {name} is there twice")]
    Twice {
        /// The preset.
        name: String,
    },
    /// Its file cannot be read; a mistake in Headgate.
    #[error("the preset {name} is broken: {message}")]
    Broken {
        /// The preset.
        name: String,
        /// Where and why.
        message: String,
    },
    /// One of its exemptions cannot be used; a mistake in Headgate.
    #[error(transparent)]
    Exemption(#[from] ExemptionError),
}

/// The names of all presets.
pub fn names() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|(name, _)| *name)
}

impl Preset {
    /// The preset of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn of_name(name: &str) -> Result<Self, PresetError> {
        let unknown = || PresetError::Unknown { name: name.to_owned() };
        let (_, text) = PRESETS.iter().find(|(own, _)| *own == name).ok_or_else(unknown)?;
        serde_saphyr::from_str(text).map_err(|error| PresetError::Broken {
            name: name.to_owned(),
            message: error.to_string(),
        })
    }
}

/// The exemptions of the presets that are switched on, in order; each ends with its preset.
///
/// # Errors
/// When one cannot be switched on so.
pub fn expand(choices: &[PresetChoice]) -> Result<Vec<Exemption>, PresetError> {
    let mut exemptions = Vec::new();
    for (index, choice) in choices.iter().enumerate() {
        let name = choice.name.clone();
        if choices.iter().take(index).any(|before| before.name == name) {
            return Err(PresetError::Twice { name });
        }
        let preset = Preset::of_name(&name)?;
        if preset.needs_end && choice.until.is_none() {
            return Err(PresetError::NeedsEnd { name });
        }
        let name: Arc<str> = name.into();
        for spec in preset.exemptions {
            let until = choice.until;
            exemptions.push(Exemption::new(ExemptionSpec { until, ..spec })?.of_preset(Arc::clone(&name)));
        }
    }
    Ok(exemptions)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    fn choice(name: &str, until: Option<&str>) -> Result<PresetChoice, Box<dyn std::error::Error>> {
        Ok(PresetChoice {
            name: name.to_owned(),
            until: until.map(str::parse).transpose()?,
        })
    }

    #[test]
    fn every_preset_can_be_read_and_names_users_and_objects() -> Outcome {
        for name in names() {
            let end = choice(name, Some("2030-01-31T18:00:00Z"))?;
            let exemptions = expand(std::slice::from_ref(&end))?;
            assert!(!exemptions.is_empty(), "{name}");
            for exemption in exemptions {
                assert_eq!((exemption.preset(), exemption.spec().until), (Some(name), end.until));
                assert!(exemption.spec().groups.is_empty(), "{name}: a group is too many");
            }
        }
        Ok(())
    }

    #[test]
    fn a_preset_without_an_end_names_objects_and_no_identity_that_deletes_for_others() -> Outcome {
        for name in names() {
            let preset = Preset::of_name(name)?;
            for spec in preset.exemptions.iter().filter(|_| !preset.needs_end) {
                let has_objects =
                    !spec.names.is_empty() || !spec.stored_names.is_empty() || !spec.owner_kinds.is_empty();
                assert!(has_objects, "{name}: {}", spec.reason);
                assert!(
                    !spec.users.iter().any(|user| user.ends_with(":calico-apiserver")),
                    "{name}"
                );
            }
        }
        Ok(())
    }

    #[test]
    fn a_migration_is_switched_on_once_and_with_an_end() -> Outcome {
        let migration = |until| choice("calico-datastore-migration", until);
        assert!(matches!(expand(&[migration(None)?]), Err(PresetError::NeedsEnd { .. })));
        let end = migration(Some("2030-01-31T18:00:00Z"))?;
        assert!(matches!(expand(&[end.clone(), end]), Err(PresetError::Twice { .. })));
        let unknown = expand(&[choice("calico", None)?]).err().map(|error| error.to_string());
        assert!(unknown.is_some_and(|error| error.contains("calico-controllers")));
        Ok(())
    }
}
