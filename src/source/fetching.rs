//! A fetch under way beside its task, which goes on following the spec meanwhile.

use std::future::pending;
use std::sync::Arc;
use std::time::Instant;

use gix::ObjectId;
use jiff::Timestamp;
use tokio::task::JoinHandle;
use tracing::Instrument;

use super::access::Access;
use super::keeper::Shared;
use super::keys::{Looked, look};
use super::mirror::{FetchError, Fetched, Mirror, Wish};
use super::reader::ReadError;
use super::settings::Settings;
use super::wanted::Wanted;

/// What a fetch came to, and what the Secret with the source's keys held meanwhile.
pub(super) struct Landed {
    pub(super) fetched: Result<Fetched, FetchError>,
    pub(super) keys: Option<Looked>,
}

/// A fetch under way.
pub(super) struct Fetching {
    pub(super) started: Instant,
    pub(super) started_at: Timestamp,
    /// What it was started for.
    pub(super) wanted: Arc<Wanted>,
    result: JoinHandle<Landed>,
}

impl Fetching {
    /// Starts one. `keep` is a commit that must not be lost by cloning anew.
    pub(super) fn start(
        shared: &Arc<Shared>,
        mirror: Arc<Mirror>,
        wanted: &Arc<Wanted>,
        keep: Option<ObjectId>,
    ) -> Self {
        let (shared, settings) = (Arc::clone(shared), Arc::clone(&wanted.settings));
        let fetch = async move {
            let looking = look(&shared, &settings);
            let fetching = fetch(Arc::clone(&shared), mirror, Arc::clone(&settings), keep);
            let (fetched, keys) = tokio::join!(fetching, looking);
            Landed { fetched, keys }
        };
        Self {
            started: Instant::now(),
            started_at: Timestamp::now(),
            wanted: Arc::clone(wanted),
            result: tokio::spawn(fetch.in_current_span()),
        }
    }

    /// Gives it up, and waits until the mirror knows of it.
    pub(super) async fn abort(self) {
        self.result.abort();
        // Cancelled, or ended at the last moment: nothing of it is used.
        let _ = self.result.await;
    }
}

/// The end of the fetch under way; never, where none is.
pub(super) async fn landed(fetching: Option<&mut Fetching>) -> Landed {
    let Some(fetching) = fetching else {
        return pending().await;
    };
    let interrupted = |_| Landed {
        fetched: Err(FetchError::Read(ReadError::interrupted())),
        keys: None,
    };
    (&mut fetching.result).await.unwrap_or_else(interrupted)
}

/// Fetches under the given settings, once there is a place for it.
async fn fetch(
    shared: Arc<Shared>,
    mirror: Arc<Mirror>,
    settings: Arc<Settings>,
    keep: Option<ObjectId>,
) -> Result<Fetched, FetchError> {
    let _place = Arc::clone(&shared.fetches).acquire_owned().await;
    let timeout = shared.options.fetch_timeout;
    let access = match &settings.credentials {
        Some(name) => {
            let loading = tokio::time::timeout(timeout, shared.options.credentials.load(name)).await;
            let secret = loading.unwrap_or_else(|_| Err("no answer".to_owned()));
            let refuse = |why| FetchError::Credentials(name.clone(), why);
            Access::from_secret(&secret.map_err(refuse)?, &settings.url).map_err(|error| refuse(error.to_string()))?
        }
        None => Access::default(),
    };
    let wish = Wish {
        reference: settings.reference.name.clone(),
        access,
        timeout,
        keep,
        may_rewind: settings.allow_rewind,
        limits: shared.options.limits.clone(),
    };
    mirror.fetch(wish).await
}
