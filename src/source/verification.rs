//! Which commits have to be signed, and whether they are. Reads the mirror; what a signature is worth is decided in
//! `signature`.

use std::sync::Arc;

use gix::ObjectId;
use jiff::Timestamp;

use super::keys::Keys;
use super::reader::{ReadError, Reader};
use super::resource::VerifyMode;
use super::settings::{Reference, Verification};
use super::signature::{Fault, Keyring, SignatureFault, Signer, Verdict, signed_commit, signed_tag, tag_name, verify};

/// Bytes of a commit or tag that is verified.
const MAX_OBJECT: u64 = 1 << 20;
/// Commits that are verified at once.
const MAX_COMMITS: usize = 20_000;

/// What a commit is worth: who signed it, nobody where nobody has to, or why it does not count.
pub(super) type Standing = Result<Option<Signer>, Fault>;

/// Verifies what a source's settings ask for.
pub(super) struct Verifier<'a> {
    pub(super) reader: &'a Reader,
    pub(super) rules: &'a Verification,
    pub(super) reference: &'a Reference,
    pub(super) keys: &'a Keys,
}

impl Verifier<'_> {
    /// Whether the head in force still counts, by the last keys that could be read.
    pub(super) fn head(&self, commit: ObjectId, tag: Option<&[u8]>, at: Timestamp) -> Result<Standing, ReadError> {
        match self.keys.last() {
            _ if self.rules.mode == VerifyMode::None => Ok(Ok(None)),
            Ok(keyring) => Ok(self.tip(commit, tag, keyring, at)?.map(Some)),
            Err(problem) => Ok(Err(unavailable(problem))),
        }
    }

    /// Whether a commit may be put into force where those in `accepted` were.
    pub(super) fn candidate(
        &self,
        commit: ObjectId,
        tag: Option<&[u8]>,
        accepted: &[ObjectId],
        at: Timestamp,
    ) -> Result<Standing, ReadError> {
        if self.rules.mode == VerifyMode::None {
            return Ok(Ok(None));
        }
        let keyring = match self.keys.current() {
            Ok(keyring) => keyring,
            Err(problem) => return Ok(Err(unavailable(problem))),
        };
        let signer = match self.tip(commit, tag, keyring, at)? {
            Ok(signer) => signer,
            Err(fault) => return Ok(Err(fault)),
        };
        if self.rules.mode == VerifyMode::All
            && let Err(fault) = self.chain(commit, accepted, keyring, at)?
        {
            return Ok(Err(fault));
        }
        Ok(Ok(Some(signer)))
    }

    /// The annotated tag by which the ref leads to this commit. One that is too large to be one speaks for nothing.
    pub(super) fn tag_of(&self, commit: ObjectId) -> Result<Option<Arc<[u8]>>, ReadError> {
        if !self.reference.name.starts_with("refs/tags/") || self.reference.commit.is_some() {
            return Ok(None);
        }
        let Some(tag) = self.reader.tag(&self.reference.name)? else {
            return Ok(None);
        };
        if self.reader.tagged(tag)? != commit {
            return Ok(None);
        }
        Ok(self.reader.raw(tag, MAX_OBJECT)?.map(Arc::from))
    }

    /// An annotated tag speaks for the commit to which it leads; else the commit speaks for itself.
    fn tip(
        &self,
        commit: ObjectId,
        tag: Option<&[u8]>,
        keyring: &Keyring,
        at: Timestamp,
    ) -> Result<Verdict, ReadError> {
        let Some(raw) = tag else {
            return self.commit(commit, keyring, at);
        };
        let name = self.reference.short();
        let whose = |fault: Fault| Fault::new(fault.kind, format!("the tag {name}: {}", fault.message));
        // A signature on an older tag must not speak for a newer one.
        if tag_name(raw) != Some(name.as_bytes()) {
            let fault = Fault::new(SignatureFault::WrongTag, "it was made under another name");
            return Ok(Err(whose(fault)));
        }
        Ok(signed_tag(raw)
            .and_then(|signed| verify(&signed, keyring, at))
            .map_err(whose))
    }

    fn commit(&self, commit: ObjectId, keyring: &Keyring, at: Timestamp) -> Result<Verdict, ReadError> {
        let short = commit.to_hex_with_len(7);
        let whose = |fault: Fault| Fault::new(fault.kind, format!("commit {short}: {}", fault.message));
        let Some(raw) = self.reader.raw(commit, MAX_OBJECT)? else {
            return Ok(Err(whose(too_large())));
        };
        Ok(signed_commit(&raw)
            .and_then(|signed| verify(&signed, keyring, at))
            .map_err(whose))
    }

    /// Every commit that is new, on all sides of a merge.
    fn chain(
        &self,
        commit: ObjectId,
        accepted: &[ObjectId],
        keyring: &Keyring,
        at: Timestamp,
    ) -> Result<Result<(), Fault>, ReadError> {
        let mut known = accepted.to_vec();
        if let Some(from) = &self.rules.from {
            match from.parse::<ObjectId>() {
                Ok(start) if self.reader.descends(commit, start)? => known.push(start),
                // Whatever came before the head in force was verified, or trusted, then.
                _ if !accepted.is_empty() => {}
                _ => {
                    let message = format!(
                        "commit {} does not descend from {from}, with which spec.verify.from has the chain begin",
                        commit.to_hex_with_len(7)
                    );
                    return Ok(Err(Fault::new(SignatureFault::WrongStart, message)));
                }
            }
        }
        let Some(commits) = self.reader.range(commit, &known, MAX_COMMITS)? else {
            let message = format!(
                "there are more than {MAX_COMMITS} commits to verify, or too many to look at for them; set spec.verify.from to a later one"
            );
            return Ok(Err(Fault::new(SignatureFault::TooManyCommits, message)));
        };
        for commit in commits {
            if let Err(fault) = self.commit(commit, keyring, at)? {
                return Ok(Err(fault));
            }
        }
        Ok(Ok(()))
    }
}

fn too_large() -> Fault {
    let message = format!("it is larger than {} MiB", MAX_OBJECT >> 20);
    Fault::new(SignatureFault::SignatureUnreadable, message)
}

fn unavailable(problem: &str) -> Fault {
    Fault::new(SignatureFault::KeysUnavailable, problem)
}
