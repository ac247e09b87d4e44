//! What the file says of the cost of a repository.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::source::Limits;
use crate::source::reading::MAX_ALLOCATION;

/// The longest that a fetch may take: those who wait for it are long gone.
const LONGEST_FETCH: Duration = Duration::from_hours(1);
/// The largest size that is taken for meant.
const LARGEST: u64 = 1 << 40;
/// A commit and its tree: less than this and nothing could be read.
const SMALLEST: u64 = 1 << 10;
/// The most that anything is counted to: what is known of each takes memory.
const MOST: usize = 5_000_000;

/// What a repository may cost. Sizes are written as `16Mi`, with `Ki`, `Mi` or `Gi`, or as bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LimitsSection {
    /// After this long a fetch is cut off.
    pub fetch_timeout: String,
    /// What one fetch may bring.
    pub received: String,
    /// Commits, trees, blobs and tags that one fetch may bring.
    pub git_objects: u32,
    /// The size of any one of them, unpacked.
    pub git_object_size: String,
    /// Manifests of a source.
    pub files: usize,
    /// The size of a manifest.
    pub file_size: String,
    /// The size of all manifests of a source together.
    pub total_size: String,
    /// Objects that a source may declare.
    pub objects: usize,
}

impl Default for LimitsSection {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            fetch_timeout: "60s".to_owned(),
            received: written(limits.received),
            git_objects: limits.git_objects,
            git_object_size: written(limits.git_object_size),
            files: limits.files,
            file_size: written(limits.file_size),
            total_size: written(limits.total_size),
            objects: limits.objects,
        }
    }
}

impl LimitsSection {
    /// The time for a fetch, and the other bounds.
    pub(super) fn limits(&self) -> Result<(Duration, Limits), ConfigError> {
        let wrong = |field, value: &str, expected| ConfigError::Limit {
            field,
            value: value.to_owned(),
            expected,
        };
        let fetch_timeout = match humantime::parse_duration(&self.fetch_timeout) {
            Ok(time) if time >= Duration::from_secs(1) && time <= LONGEST_FETCH => time,
            _ => {
                return Err(wrong(
                    "fetchTimeout",
                    &self.fetch_timeout,
                    "a duration from 1s to 1h, such as 60s",
                ));
            }
        };
        let size = |field, value: &str| match bytes(value) {
            Some(bytes) if (SMALLEST..=LARGEST).contains(&bytes) => Ok(bytes),
            _ => Err(wrong(field, value, "a size from 1Ki to 1024Gi, such as 16Mi")),
        };
        let count = |field, value: usize| match value {
            1..=MOST => Ok(value),
            _ => Err(wrong(field, &value.to_string(), "a number from 1 to 5000000")),
        };
        count("gitObjects", self.git_objects as usize)?;
        let limits = Limits {
            received: size("received", &self.received)?,
            git_objects: self.git_objects,
            git_object_size: size("gitObjectSize", &self.git_object_size)?,
            files: count("files", self.files)?,
            file_size: size("fileSize", &self.file_size)?,
            total_size: size("totalSize", &self.total_size)?,
            objects: count("objects", self.objects)?,
        };
        if limits.git_object_size > MAX_ALLOCATION {
            return Err(wrong("gitObjectSize", &self.git_object_size, "a size of at most 256Mi"));
        }
        if limits.file_size > limits.git_object_size {
            return Err(wrong(
                "fileSize",
                &self.file_size,
                "no more than git.limits.gitObjectSize",
            ));
        }
        Ok((fetch_timeout, limits))
    }
}

fn written(bytes: u64) -> String {
    let units = [(30, "Gi"), (20, "Mi"), (10, "Ki")];
    let unit = units
        .iter()
        .find(|(shift, _)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    unit.map_or_else(
        || bytes.to_string(),
        |(shift, unit)| format!("{}{unit}", bytes >> shift),
    )
}

fn bytes(text: &str) -> Option<u64> {
    let units = [("Gi", 30), ("Mi", 20), ("Ki", 10)];
    let unit = units
        .iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)));
    let (number, shift) = unit.unwrap_or((text, 0));
    if !number.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_as_it_always_was() -> Result<(), ConfigError> {
        let (timeout, limits) = LimitsSection::default().limits()?;
        assert_eq!((timeout, limits), (Duration::from_mins(1), Limits::default()));
        Ok(())
    }

    #[test]
    fn sizes_have_units_or_none() {
        assert_eq!(
            (bytes("16Mi"), bytes("1Gi"), bytes("4Ki")),
            (Some(16 << 20), Some(1 << 30), Some(4096))
        );
        assert_eq!(bytes("1000"), Some(1000));
        for text in [
            "",
            "Mi",
            "-1",
            "+1",
            "1M",
            "1 Mi",
            "1.5Gi",
            "99999999999999999999",
            "18014398509481984Ki",
        ] {
            assert_eq!(bytes(text), None, "{text}");
        }
        assert_eq!(written(1536 << 10), "1536Ki");
    }

    #[test]
    fn a_limit_that_lets_nothing_through_or_everything_is_refused_by_its_name() {
        let refused = |change: fn(&mut LimitsSection)| {
            let mut section = LimitsSection::default();
            change(&mut section);
            section
                .limits()
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default()
        };
        let cases: [(&str, fn(&mut LimitsSection)); 9] = [
            ("fetchTimeout", |limits| limits.fetch_timeout = "0s".to_owned()),
            ("fetchTimeout", |limits| limits.fetch_timeout = "2h".to_owned()),
            ("received", |limits| limits.received = "1".to_owned()),
            ("received", |limits| limits.received = "2048Gi".to_owned()),
            ("gitObjects", |limits| limits.git_objects = 0),
            ("gitObjectSize", |limits| limits.git_object_size = "257Mi".to_owned()),
            ("files", |limits| limits.files = 0),
            ("objects", |limits| limits.objects = usize::MAX),
            ("fileSize", |limits| limits.file_size = "65Mi".to_owned()),
        ];
        for (field, change) in cases {
            let why = refused(change);
            assert!(why.starts_with(&format!("git.limits.{field}: ")), "{field}: {why}");
        }
    }
}
