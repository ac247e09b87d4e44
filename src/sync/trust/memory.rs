//! What was told of what is trusted, kept in a Secret across restarts and changes of the leader.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use aws_lc_rs::{hmac, rand};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::sync::request::{CallError, within};

/// The Secret's name.
pub(super) const SECRET: &str = "headgate-trust";
/// Its entries.
const KEY: &str = "key";
const MEMORY: &str = "memory.json";
/// The manager of its fields.
const MANAGER: &str = "headgate-sync";
/// A spec that is longer, in bytes of JSON, is not remembered: its next change is told without what was before.
pub(super) const MAX_SPEC: usize = 16 * 1024;
/// More than this is not written, in bytes: the API server takes no Secret beyond a megabyte.
const MAX_MEMORY: usize = 900 * 1024;

/// What was told last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Memory {
    pub(super) configuration: Option<KnownConfiguration>,
    pub(super) sources: BTreeMap<String, KnownSource>,
    pub(super) secrets: BTreeMap<String, KnownSecret>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct KnownConfiguration {
    pub(super) hash: String,
    pub(super) content: Value,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct KnownSource {
    pub(super) uid: String,
    pub(super) generation: Option<i64>,
    /// As it is shown; null where it is too long to be remembered.
    pub(super) spec: Value,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct KnownSecret {
    pub(super) uid: String,
    /// As they are shown.
    pub(super) entries: Value,
}

/// A memory with the key of its marks.
pub(super) struct Notebook {
    pub(super) memory: Memory,
    /// None where the machine gave no random bytes: then nothing stands for a secret, and nothing can be tried out.
    key: Option<[u8; 32]>,
    pub(super) version: Option<String>,
    pub(super) is_stored: bool,
}

impl Notebook {
    pub(super) fn new() -> Self {
        let mut key = [0; 32];
        let key = rand::fill(&mut key).is_ok().then_some(key);
        if key.is_none() {
            tracing::error!("the machine gives no random bytes: a change of a secret cannot be told from none");
        }
        Self {
            memory: Memory::default(),
            key,
            version: None,
            is_stored: false,
        }
    }

    /// What stands for a secret in records: equal for equal content of entries of one name, and nothing by which a guess
    /// could be tried out without the key.
    pub(super) fn mark(&self, name: &str, hash: &[u8; 32]) -> String {
        let Some(key) = &self.key else {
            return "mark:none".to_owned();
        };
        let mut mark = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
        mark.update(hash);
        mark.update(name.as_bytes());
        mark.sign()
            .as_ref()
            .iter()
            .take(6)
            .fold("mark:".to_owned(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            })
    }
}

/// Where the memory is kept.
pub(super) struct Store {
    api: Api<Secret>,
    patience: Duration,
}

impl Store {
    pub(super) fn new(client: Client, namespace: &str, patience: Duration) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            patience,
        }
    }

    /// What was told last; nothing where nobody told anything yet.
    pub(super) async fn load(&self) -> Result<Notebook, CallError> {
        let stored = within(self.patience, self.api.get_opt(SECRET)).await?;
        let mut notes = Notebook::new();
        let Some(secret) = stored else {
            return Ok(notes);
        };
        notes.version = secret.resource_version();
        let content = |name: &str| secret.data.as_ref()?.get(name).map(|bytes| bytes.0.as_slice());
        let key = content(KEY).and_then(|key| <[u8; 32]>::try_from(key).ok());
        let memory = content(MEMORY).and_then(|text| serde_json::from_slice::<Memory>(text).ok());
        if let (Some(key), Some(memory)) = (key, memory) {
            notes.key = Some(key);
            notes.memory = memory;
            notes.is_stored = true;
        } else {
            tracing::warn!(
                secret = SECRET,
                "the Secret cannot be read as what was trusted; all of it is told anew"
            );
        }
        Ok(notes)
    }

    /// Writes it, unless somebody else did since it was loaded; the version of what was written.
    pub(super) async fn save(&self, notes: &Notebook) -> Result<String, CallError> {
        let as_json = |memory: &Memory| serde_json::to_vec(memory).unwrap_or_default();
        let mut text = as_json(&notes.memory);
        if text.len() > MAX_MEMORY {
            let mut short = notes.memory.clone();
            short.sources.values_mut().for_each(|source| source.spec = Value::Null);
            text = as_json(&short);
        }
        let data = BTreeMap::from([
            (KEY, ByteString(notes.key.map_or_else(Vec::new, Vec::from))),
            (MEMORY, ByteString(text)),
        ]);
        let patch = Patch::Apply(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "Opaque",
            "metadata": {"name": SECRET, "resourceVersion": notes.version},
            "data": data,
        }));
        let params = PatchParams::apply(MANAGER).force();
        let written = within(self.patience, self.api.patch(SECRET, &params, &patch)).await?;
        Ok(written.resource_version().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn a_mark_says_whether_two_secrets_are_one_and_nothing_else() {
        let (notes, others) = (Notebook::new(), Notebook::new());
        let hash: [u8; 32] = Sha256::digest("s3cret").into();
        let other: [u8; 32] = Sha256::digest("other").into();
        assert_eq!(notes.mark("password", &hash), notes.mark("password", &hash));
        assert_ne!(notes.mark("password", &hash), notes.mark("password", &other));
        assert_ne!(notes.mark("password", &hash), notes.mark("bearerToken", &hash));
        assert_ne!(notes.mark("password", &hash), others.mark("password", &hash));
    }
}
