//! The recordings: where they are, and one line of them.

use std::path::{Path, PathBuf};

use headgate::policy::{Canonical, CanonicalError, canonicalize};
use serde_json::Value;

/// A folder of the shared recordings, if they are here. In CI they have to be.
pub fn shared(name: &str) -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let path = std::env::var_os("HEADGATE_SHARED")
        .map_or_else(beside, PathBuf::from)
        .join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "{} is missing", path.display());
    eprintln!("skipped: {} is not there", path.display());
    None
}

/// What is in a folder, in order.
pub fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// One line of a recording: one operation on a real server.
pub struct Line {
    pub folder: String,
    pub case: String,
    pub value: Value,
}

/// Every line of every recording.
pub fn lines() -> Vec<Line> {
    let Some(root) = shared("reviews") else {
        return Vec::new();
    };
    let folders = entries(&root).into_iter().filter(|path| path.is_dir());
    let files = folders.flat_map(|folder| entries(&folder));
    files.flat_map(|file| read(&file)).collect()
}

fn read(file: &Path) -> Vec<Line> {
    let folder = file
        .parent()
        .and_then(Path::file_name)
        .unwrap()
        .to_string_lossy()
        .into_owned();
    let text = std::fs::read_to_string(file).unwrap();
    let line = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        Line {
            folder: folder.clone(),
            case: value["case"].as_str().unwrap().to_owned(),
            value,
        }
    };
    text.lines().map(line).collect()
}

/// One review, as far as it matters here.
pub struct Review<'a> {
    pub operation: &'a str,
    pub group: &'a str,
    pub object: Option<Canonical>,
    pub old: Option<Canonical>,
}

impl Line {
    /// `calico-aggregated-v3.32.1 create/order/int`.
    pub fn label(&self) -> String {
        format!("{} {}", self.folder, self.case)
    }

    /// Whether the server did what was asked.
    pub fn is_accepted(&self) -> bool {
        let response = &self.value["response"];
        matches!(response["code"].as_u64(), Some(200 | 201)) || response["exit"] == 0
    }

    /// The reviews, in order; not those of a mutating webhook, which see an object before it is finished.
    pub fn reviews(&self) -> Vec<Review<'_>> {
        let all = self.value["reviews"].as_array().unwrap();
        let mutating = usize::from(self.case.starts_with("hooks/mutating-create"));
        let requests = all.iter().skip(mutating).map(|review| &review["request"]);
        requests
            .map(|request| Review {
                operation: request["operation"].as_str().unwrap(),
                group: request["kind"]["group"].as_str().unwrap(),
                object: canonical(&request["object"]),
                old: canonical(&request["oldObject"]),
            })
            .collect()
    }

    /// What was read back, with the word for where.
    pub fn stored(&self) -> Vec<(&'static str, Canonical)> {
        let places = ["stored", "stored_v3", "stored_crd_v1"];
        let found = |place| canonical(&self.value[place]).map(|object| (place, object));
        places.into_iter().filter_map(found).collect()
    }
}

/// The canonical form of an object of a guarded kind; none of what is no object.
pub fn canonical(object: &Value) -> Option<Canonical> {
    if !object.is_object() {
        return None;
    }
    match canonicalize(object.clone()) {
        Err(CanonicalError::NotGuarded { .. }) => None,
        made => Some(made.unwrap_or_else(|error| panic!("{error}: {object}"))),
    }
}
