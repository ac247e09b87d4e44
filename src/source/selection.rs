//! What of a commit counts by its spec, beside what a key says.

use super::settings::Settings;

/// Which files count, and which Calico tiers. Read under another one a commit may declare less of what the source goes
/// on speaking for, which a key does not tell.
#[derive(Clone, Debug, PartialEq, Eq)]
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
}
