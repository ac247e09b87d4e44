//! What files say, by blob id: a commit costs what it changed, since a blob never changes.

use std::sync::{Arc, Mutex, PoisonError};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::limits::Limits;
use super::reader::{ReadError, Reader};
use super::redact::bounded;
use super::snapshot::BlobId;
use crate::policy::{Digest, Key, Manifest, Marked, Parsed, Problem, Severity, manifest};

/// Weight of the summaries that are kept beside those the heads use, in bytes.
const SUMMARIES: u64 = 32 << 20;
/// Weight of the manifests that are kept for who reads many objects of one file, in bytes of their text. One file that
/// weighs more is kept, too, alone: to read and parse it for each of its objects would take far longer.
const MANIFESTS: u64 = 4 << 20;
/// Problems of one file that are worth keeping.
const MAX_PROBLEMS: usize = 5;
/// Beyond so many bytes a file is parsed only while no other one of that size is: parsed, it takes many times as much.
const LARGE: usize = 1 << 20;
/// Held while a large file is parsed.
static PARSING: Mutex<()> = Mutex::new(());

/// One object of a file, without its content.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) key: Key,
    pub(super) digest: Digest,
    pub(super) marked: Option<Arc<Marked>>,
    pub(super) tier: Option<Box<str>>,
    pub(super) line: usize,
}

/// An error in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) message: Box<str>,
}

/// What a file says, without its objects' content.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) objects: Vec<Object>,
    /// How many documents are of no guarded kind.
    pub(super) ignored: usize,
    /// The first errors.
    pub(super) faults: Vec<Fault>,
    /// How many errors there are.
    pub(super) errors: usize,
    /// The file's bytes; nothing where it is too large to be read.
    pub(super) bytes: u64,
}

/// Summaries and manifests by blob id. Cheap to clone.
#[derive(Clone)]
pub(super) struct Blobs {
    summaries: Cache<BlobId, Arc<Summary>>,
    manifests: Cache<BlobId, Arc<Vec<Arc<Manifest>>>>,
    limits: Arc<Limits>,
}

impl Blobs {
    pub(super) fn new(limits: Limits) -> Self {
        let weight = |_: &BlobId, summary: &Arc<Summary>| u32::try_from(summary.weight()).unwrap_or(u32::MAX);
        let manifests = Cache::builder()
            .max_capacity(MANIFESTS)
            // The file that is being read counts, however often others were.
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(std::time::Duration::from_secs(30))
            .weigher(|_, manifests: &Arc<Vec<Arc<Manifest>>>| {
                let bytes = manifests
                    .iter()
                    .map(|manifest| 2 * manifest.object.to_string().len())
                    .sum::<usize>();
                // What weighs more than all that may be kept would never be.
                u32::try_from(MANIFESTS.min(bytes as u64)).unwrap_or(u32::MAX)
            });
        Self {
            summaries: Cache::builder().max_capacity(SUMMARIES).weigher(weight).build(),
            manifests: manifests.build(),
            limits: Arc::new(limits),
        }
    }

    /// The bounds under which files are read.
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The summary, where it is known.
    pub(super) fn known(&self, blob: BlobId) -> Option<Arc<Summary>> {
        self.summaries.get(&blob)
    }

    /// Reads a file and keeps its summary.
    pub(super) fn read(&self, reader: &Reader, blob: BlobId) -> Result<Arc<Summary>, ReadError> {
        let summary = Arc::new(match reader.blob(blob, self.limits.file_size)? {
            Some(text) => Summary::of(parse(&text), text.len()),
            None => Summary::too_large(&self.limits),
        });
        self.summaries.insert(blob, Arc::clone(&summary));
        Ok(summary)
    }

    /// Lets go of what was not read for long: the cache itself does so only when it is used.
    pub(super) fn tidy(&self) {
        self.manifests.run_pending_tasks();
    }

    /// A file's manifests; none where the file is too large. `open` is asked for a reader only where they are not known.
    pub(super) fn manifests(
        &self,
        open: impl FnOnce() -> Result<Reader, ReadError>,
        blob: BlobId,
    ) -> Result<Option<Arc<Vec<Arc<Manifest>>>>, ReadError> {
        if let Some(known) = self.manifests.get(&blob) {
            return Ok(Some(known));
        }
        let Some(text) = open()?.blob(blob, self.limits.file_size)? else {
            return Ok(None);
        };
        let manifests: Vec<_> = parse(&text).manifests.into_iter().map(Arc::new).collect();
        let manifests = Arc::new(manifests);
        // A file of one object is read once, and what it says takes many times the room of its text.
        if manifests.len() > 1 {
            self.manifests.insert(blob, Arc::clone(&manifests));
        }
        Ok(Some(manifests))
    }
}

fn parse(text: &[u8]) -> Parsed {
    let _alone = (text.len() > LARGE).then(|| PARSING.lock().unwrap_or_else(PoisonError::into_inner));
    manifest::parse(text)
}

/// The problem without its place.
fn told(problem: &Problem) -> Box<str> {
    let text = match problem.field.as_str() {
        "" => problem.message.clone(),
        field => format!("{field}: {}", problem.message),
    };
    bounded(text, 300).into_boxed_str()
}

impl Summary {
    fn of(parsed: Parsed, bytes: usize) -> Self {
        let errors = || {
            parsed
                .problems
                .iter()
                .filter(|problem| problem.severity == Severity::Error)
        };
        Self {
            bytes: bytes as u64,
            errors: errors().count(),
            faults: errors()
                .take(MAX_PROBLEMS)
                .map(|problem| Fault {
                    line: problem.line,
                    column: problem.column,
                    message: told(problem),
                })
                .collect(),
            ignored: parsed.ignored.len(),
            objects: parsed
                .manifests
                .into_iter()
                .map(|manifest| Object {
                    key: manifest.key,
                    digest: manifest.digest,
                    marked: manifest.marked,
                    tier: manifest.tier.map(String::into_boxed_str),
                    line: manifest.line,
                })
                .collect(),
        }
    }

    fn too_large(limits: &Limits) -> Self {
        Self {
            errors: 1,
            faults: vec![Fault {
                line: 1,
                column: 1,
                message: limits.too_large().into_boxed_str(),
            }],
            ..Self::default()
        }
    }

    /// Roughly the bytes it takes.
    fn weight(&self) -> usize {
        let texts = |object: &Object| object.key.name().len() + object.key.namespace().map_or(0, str::len);
        let objects: usize = self.objects.iter().map(|object| 160 + texts(object)).sum();
        let faults: usize = self.faults.iter().map(|fault| 48 + fault.message.len()).sum();
        200 + objects + faults
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn policy(number: usize) -> String {
        let note = "x".repeat(1000);
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p{number}, namespace: a, \
             annotations: {{note: {note}}}}}\nspec: {{podSelector: {{}}, policyTypes: [Ingress]}}\n"
        )
    }

    #[test]
    fn a_file_that_outweighs_the_others_together_is_read_once_for_all_its_objects() -> TestResult {
        let folder = tempfile::tempdir()?;
        let git = |arguments: &[&str]| Command::new("git").args(arguments).current_dir(folder.path()).output();
        git(&["init", "--quiet", "--bare", "."])?;
        let objects: Vec<String> = (0..2500).map(policy).collect();
        std::fs::write(folder.path().join("large.yaml"), objects.join("---\n"))?;
        let blob = String::from_utf8(git(&["hash-object", "-w", "large.yaml"])?.stdout)?;
        let blob: gix::ObjectId = blob.trim().parse()?;
        let blob = BlobId(blob.as_slice().try_into()?);
        let blobs = Blobs::new(Limits::default());
        let first = blobs.manifests(|| Reader::open(folder.path()), blob)?;
        assert_eq!(first.map(|manifests| manifests.len()), Some(2500));
        blobs.tidy();
        let again = blobs.manifests(|| Err(ReadError::interrupted()), blob)?;
        assert_eq!(again.map(|manifests| manifests.len()), Some(2500));
        Ok(())
    }
}
