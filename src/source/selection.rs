//! What of a commit counts by its spec, beside what a key says.

use serde::{Deserialize, Serialize};

use super::settings::{Settings, SettingsError, globs};

/// Which files count, and which Calico tiers. Read under another one a commit may declare less of what the source goes
/// on speaking for, which a key does not tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Selection {
    path: String,
    ignore: Vec<String>,
    tiers: Option<Vec<String>>,
}

impl Selection {
    /// That of these settings.
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            path: settings.path.clone(),
            ignore: settings.ignore_patterns.clone(),
            tiers: settings.coverage.tiers().map(<[String]>::to_vec),
        }
    }

    /// The settings with this one in the place of theirs.
    ///
    /// # Errors
    /// When a pattern is no glob.
    pub(super) fn within(self, settings: &Settings) -> Result<Settings, SettingsError> {
        Ok(Settings {
            path: self.path,
            ignore: globs("spec.git.ignore", &self.ignore, true)?,
            ignore_patterns: self.ignore,
            coverage: settings.coverage.clone().with_tiers(self.tiers),
            ..settings.clone()
        })
    }
}
