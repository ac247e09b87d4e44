//! The bare mirror of a source's repository: fetched into, never checked out.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{io, path::Path};

use gix::ObjectId;
use gix::protocol::transport::Protocol;
use gix::protocol::transport::client::blocking_io::{Transport, file};
use gix::remote::{Connection, Direction, fetch::Tags};
use gix::url::Scheme;
use gix::{Remote, Url};
use tokio::sync::oneshot;

use super::access::Access;
use super::hearsay::{HttpError, on_this_side};
use super::home::{Home, Store};
use super::limits::{Limits, Size};
use super::reader::{self, ReadError, Reader};
use super::receiving::{Guard, Guarded};
use super::redact::explained;
use super::ssh::{self, SshError};
use super::transport::{Limit, connect};

/// Beyond so many packs the mirror is cloned anew.
const MAX_PACKS: usize = 50;
/// So much may be added to a mirror beyond its size when it was cloned before it is cloned anew.
const ROOM: u64 = 64 << 20;
/// Every so many failures in a row the mirror is cloned anew, if the commit in force is still to be had: damage on disk
/// may be what they have in common.
const SUSPICIOUS_FAILURES: usize = 3;
/// Attempts that were given up and still hang; beyond, no further one is started.
const MAX_HANGING: usize = 4;
/// How long a fetch that was told to stop may take to do so.
const GRACE: Duration = Duration::from_millis(500);

/// Why a repository could not be read. Phrased for who owns the source.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// It took too long as a whole.
    #[error("cut off after {}", humantime::format_duration(*.0))]
    CutOff(Duration),
    /// Earlier attempts were given up and have not ended.
    #[error("{0} earlier attempts still hang; the next one is made when one of them ends")]
    Hanging(usize),
    /// It wants credentials, or other ones.
    #[error("the repository refuses access: {0}")]
    Refused(&'static str),
    /// What it wants cannot be given.
    #[error("the Secret {0} cannot be used: {1}")]
    Credentials(String, String),
    /// The mirror's folder cannot be used.
    #[error("failed to write the mirror: {0}")]
    Disk(#[from] io::Error),
    /// What was fetched cannot be read back.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It cannot be read over ssh.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// There is no key for ssh.
    #[error("ssh needs a key: name a Secret with identity and known_hosts in spec.git.credentialsSecretRef")]
    NoKey,
    /// Its history is cut off: nothing could tell whether a commit follows on the one in force.
    #[error(
        "the repository at spec.git.url is a shallow one, without its whole history: let the server have all of it"
    )]
    Shallow,
    /// It cannot be read over http, or from a folder.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The history that the commit in force is in was taken away.
    #[error("the commit in force is not in the repository any more")]
    Lost,
    /// What was fetched and is not in the branch any more takes too much, and cannot be let go.
    #[error(
        "the mirror has grown beyond {0}: the branch was rewritten, and the commit in force is not in it any more; bring it back, or set spec.allowRewind"
    )]
    Outgrown(Size),
    /// Everything else that can be told, in words of this side.
    #[error("{0}")]
    Git(String),
}

/// What a fetch brought.
#[derive(Clone)]
pub(super) struct Fetched {
    /// Where it is.
    pub(super) store: Arc<Store>,
    /// The commit that the ref names; none where the repository has no such ref.
    pub(super) tip: Option<ObjectId>,
    /// The annotated tag by which it names it.
    pub(super) tag: Option<ObjectId>,
}

/// What to fetch, and how.
pub(super) struct Wish {
    /// The full name of the ref.
    pub(super) reference: String,
    pub(super) access: Access,
    pub(super) timeout: Duration,
    /// A commit that must not be lost by cloning anew.
    pub(super) keep: Option<ObjectId>,
    /// Whether that commit may go once there is no room for it.
    pub(super) may_rewind: bool,
    /// What it may cost.
    pub(super) limits: Limits,
}

/// The mirror of one repository.
pub(super) struct Mirror {
    url: String,
    home: Arc<Home>,
    store: Mutex<Option<Arc<Store>>>,
    /// Set where a fetch was given up that may still write, or where the store turned out damaged.
    suspect: AtomicBool,
    max_packs: AtomicUsize,
    room: AtomicU64,
    /// Bytes of the mirror when it was cloned, or found; nothing before it was looked at.
    cloned_bytes: AtomicU64,
    /// Fetches that failed in a row.
    failures: AtomicUsize,
    /// One clone of it is held by every attempt that has not ended.
    attempts: Arc<()>,
}

impl Mirror {
    /// Finds or makes the mirror's folder. Touches the disk.
    pub(super) fn open(state_dir: &Path, source: &str, url: &str) -> io::Result<Self> {
        let (home, store) = Home::claim(state_dir, source, url)?;
        Ok(Self {
            url: url.to_owned(),
            home,
            store: Mutex::new(store),
            suspect: AtomicBool::new(false),
            max_packs: AtomicUsize::new(MAX_PACKS),
            room: AtomicU64::new(ROOM),
            cloned_bytes: AtomicU64::new(0),
            failures: AtomicUsize::new(0),
            attempts: Arc::default(),
        })
    }

    /// What was fetched last; none before the first fetch.
    pub(super) fn store(&self) -> Option<Arc<Store>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has the next fetch start from nothing: what is on disk cannot be read.
    pub(super) fn distrust(&self) {
        self.suspect.store(true, Ordering::Relaxed);
    }

    /// Lets the folder go once nothing in it is in use.
    pub(super) fn abandon(&self) {
        self.home.abandon();
    }

    /// Fetches the ref with its whole history. When this future is dropped, the fetch is given up.
    pub(super) async fn fetch(self: Arc<Self>, wish: Wish) -> Result<Fetched, FetchError> {
        let hanging = Arc::strong_count(&self.attempts) - 1;
        if hanging >= MAX_HANGING {
            return Err(FetchError::Hanging(hanging));
        }
        let timeout = wish.timeout;
        let limit = Limit::new(timeout, wish.limits.received);
        let mut attempt = Attempt {
            mirror: Arc::clone(&self),
            limit: limit.clone(),
            ended: false,
        };
        let ticket = Arc::clone(&self.attempts);
        let (answer, mut result) = oneshot::channel();
        let span = tracing::Span::current();
        // Not a blocking task of the runtime: one that hangs would keep the process from ending.
        std::thread::Builder::new()
            .name("git-fetch".to_owned())
            .spawn(move || {
                let _entered = span.enter();
                let outcome = self.fetch_now(&wish, &limit);
                self.count(outcome.is_ok());
                drop(ticket);
                // Nobody listens any more where the attempt was given up.
                let _ = answer.send(outcome);
            })?;
        let Ok(ended) = tokio::time::timeout(timeout, &mut result).await else {
            attempt.limit.stop();
            attempt.ended = tokio::time::timeout(GRACE, result).await.is_ok();
            return Err(FetchError::CutOff(timeout));
        };
        attempt.ended = true;
        if attempt.limit.check().is_err() && !matches!(ended, Ok(Ok(_))) {
            return Err(FetchError::CutOff(timeout));
        }
        ended.unwrap_or_else(|_| Err(FetchError::Git("the fetch ended unexpectedly".to_owned())))
    }

    fn count(&self, succeeded: bool) {
        if succeeded {
            self.failures.store(0, Ordering::Relaxed);
        } else {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn fetch_now(&self, wish: &Wish, limit: &Limit) -> Result<Fetched, FetchError> {
        let is_suspect = self.suspect.load(Ordering::Relaxed);
        let Some(store) = self.store().filter(|_| !is_suspect) else {
            return self.clone_anew(wish, None, limit);
        };
        if (self.failures.load(Ordering::Relaxed) + 1).is_multiple_of(SUSPICIOUS_FAILURES) {
            match self.clone_anew(wish, wish.keep, limit) {
                // Nothing says that the old mirror is damaged, and it may be the last that has the commit.
                Err(FetchError::Lost) => tracing::debug!("the commit in force is in the old mirror only"),
                outcome => return outcome,
            }
        }
        let bytes = store.bytes();
        let is_full = bytes > wish.limits.received.saturating_mul(2);
        if is_full || self.has_grown(bytes) || store.packs() > self.max_packs.load(Ordering::Relaxed) {
            let keep = wish.keep.filter(|_| !(is_full && wish.may_rewind));
            match self.clone_anew(wish, keep, limit) {
                Ok(fetched) => return Ok(fetched),
                Err(FetchError::Lost) if is_full => return Err(FetchError::Outgrown(Size(wish.limits.received))),
                Err(error) if is_full => return Err(error),
                // Being tidy can wait: the old mirror is whole.
                Err(error) => tracing::debug!(%error, "failed to clone the mirror anew"),
            }
            self.max_packs.fetch_add(MAX_PACKS, Ordering::Relaxed);
            self.cloned_bytes.store(bytes, Ordering::Relaxed);
        }
        let repository = reader::open(store.dir())?;
        let tip = self.pull(&repository, wish, limit)?;
        let tag = Reader::new(repository).tag(&wish.reference)?.filter(|_| tip.is_some());
        Ok(Fetched { store, tip, tag })
    }

    /// Whether the mirror has doubled since it was cloned: what is not in the branch any more never goes otherwise.
    fn has_grown(&self, bytes: u64) -> bool {
        match self.cloned_bytes.load(Ordering::Relaxed) {
            0 => {
                self.cloned_bytes.store(bytes, Ordering::Relaxed);
                false
            }
            cloned => bytes > cloned.saturating_mul(2) + self.room.load(Ordering::Relaxed),
        }
    }

    /// Clones beside what is there, and takes its place only when whole and, where asked, with that commit in it.
    fn clone_anew(&self, wish: &Wish, keep: Option<ObjectId>, limit: &Limit) -> Result<Fetched, FetchError> {
        let partial = self.home.start_clone()?;
        let cloned = self.clone_into(&partial, wish, keep, limit).and_then(|tip| {
            let store = self.home.finish_clone(&partial)?;
            let tag = Reader::open(store.dir())?.tag(&wish.reference)?;
            Ok(Fetched { store, tip, tag })
        });
        match &cloned {
            Ok(fetched) => self.install(&fetched.store),
            Err(_) => {
                // What cannot be removed now is removed at the next start.
                let _ = std::fs::remove_dir_all(&partial);
            }
        }
        cloned
    }

    fn clone_into(
        &self,
        dir: &Path,
        wish: &Wish,
        keep: Option<ObjectId>,
        limit: &Limit,
    ) -> Result<Option<ObjectId>, FetchError> {
        let repository = reader::init(dir)?;
        let tip = self.pull(&repository, wish, limit)?;
        if keep.is_some_and(|commit| !repository.has_object(commit)) {
            return Err(FetchError::Lost);
        }
        limit.check().map_err(|error| FetchError::Git(error.to_string()))?;
        Ok(tip)
    }

    fn install(&self, store: &Arc<Store>) {
        let mut slot = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = slot.replace(Arc::clone(store)) {
            old.supersede();
        }
        self.suspect.store(false, Ordering::Relaxed);
        self.cloned_bytes.store(0, Ordering::Relaxed);
    }

    /// Fetches the one ref; the commit it names now, or none where the repository does not have it.
    fn pull(&self, repository: &gix::Repository, wish: &Wish, limit: &Limit) -> Result<Option<ObjectId>, FetchError> {
        let refspec = format!("+{0}:{0}", wish.reference);
        let git = |error: gix::Error| FetchError::Git(explained(&error));
        let remote = repository
            .remote_at(self.url.as_str())
            .map_err(git)?
            .with_fetch_tags(Tags::None)
            .with_refspecs(Some(refspec.as_str()), Direction::Fetch)
            .map_err(git)?;
        let (url, _) = remote.sanitized_url_and_version(Direction::Fetch).map_err(git)?;
        let guard = Guard {
            limits: &wish.limits,
            limit,
            dir: self.home.dir(),
            repository,
        };
        let found = match url.scheme {
            Scheme::Http | Scheme::Https => pull_over_http(&remote, url, &wish.access, guard)?,
            Scheme::Ssh => {
                let key = wish.access.key.as_ref().ok_or(FetchError::NoKey)?;
                let (transport, client) = ssh::connect(&url, key, &self.home, limit)?;
                let guarded = Guarded {
                    inner: transport,
                    guard,
                };
                receive(remote.to_connection_with_transport(guarded), limit)
                    .map_err(|error| over_ssh(&error, client))?
            }
            _ => {
                let Ok(transport) = file::connect(url.path, Protocol::V2, false);
                let guarded = Guarded {
                    inner: transport,
                    guard,
                };
                receive(remote.to_connection_with_transport(guarded), limit).map_err(|error| {
                    tracing::debug!(
                        detail = explained(&error),
                        "the repository cannot be read from its folder"
                    );
                    HttpError::of(&error)
                })?
            }
        };
        if repository.is_shallow().map_err(git)? {
            // What was cut off here would stay so, whatever the server has later.
            self.distrust();
            return Err(FetchError::Shallow);
        }
        Ok(if found {
            Reader::new(repository.clone()).tip(&wish.reference)?
        } else {
            None
        })
    }
}

/// What went wrong on this side is said; what the server says is not.
fn over_ssh(error: &gix::Error, client: ssh::Client) -> FetchError {
    tracing::debug!(detail = explained(error), "the repository cannot be read over ssh");
    match on_this_side(error) {
        Some(why) => FetchError::Git(why),
        None => client.cause().into(),
    }
}

fn pull_over_http(remote: &Remote<'_>, url: Url, access: &Access, guard: Guard<'_>) -> Result<bool, FetchError> {
    let refused = Arc::new(AtomicBool::new(false));
    let limit = guard.limit;
    let outcome = connect(url, access, limit).and_then(|(transport, options)| {
        let refused = Arc::clone(&refused);
        let guarded = Guarded {
            inner: transport,
            guard,
        };
        let connection = remote
            .to_connection_with_transport(guarded)
            .with_transport_options(options)
            .with_credentials(move |_| {
                // Called only after a 401: what we have was sent already.
                refused.store(true, Ordering::Relaxed);
                Ok(None)
            });
        receive(connection, limit)
    });
    outcome.map_err(|error| {
        if !refused.load(Ordering::Relaxed) {
            tracing::debug!(detail = explained(&error), "the repository cannot be read over http");
            return HttpError::of(&error).into();
        }
        FetchError::Refused(if access.is_anonymous() {
            "it asks for credentials; name a Secret in spec.git.credentialsSecretRef"
        } else {
            "it does not take the credentials of spec.git.credentialsSecretRef"
        })
    })
}

/// Receives what the connection's refspec names; false where the repository has nothing of that name.
fn receive<T: Transport>(connection: Connection<'_, '_, '_, T>, limit: &Limit) -> gix::Result<bool> {
    let prepared = connection.prepare_fetch(gix::progress::Discard, gix::remote::ref_map::Options::default())?;
    if prepared.ref_map().mappings.is_empty() {
        return Ok(false);
    }
    prepared.receive(gix::progress::Discard, limit.flag())?;
    Ok(true)
}

/// A fetch under way. Dropped before its end, it tells the fetch to stop, and has the next one use a fresh folder:
/// the thread may still write into this one.
struct Attempt {
    mirror: Arc<Mirror>,
    limit: Limit,
    ended: bool,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.ended {
            self.limit.stop();
            self.mirror.distrust();
        }
    }
}

#[cfg(test)]
#[path = "mirror_tests.rs"]
mod tests;
