//! What reviews may cost: memory is bounded while they arrive, while they are judged, and while they wait for Git, and
//! nobody holds a place that he does not fill.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::handler::Gate;
use super::server::MAX_BODY;

/// The longest a review may take to arrive. The API server is near, and sends it whole.
const ARRIVAL_PATIENCE: Duration = Duration::from_secs(5);
/// What every review may hold while it arrives, in bytes: nearly all are smaller, and wait for nobody.
const FREE: usize = 16 * 1024;
/// Kilobytes that all reviews together may hold beyond that while they arrive.
const ARRIVING_KB: usize = 128 * 1024;
/// Kilobytes of reviews that are judged at once: parsed, a review takes many times its size.
const JUDGED_KB: usize = 16 * 1024;
/// Kilobytes of reviews that wait for Git at once. Where there are more, they are refused without waiting.
const WAITING_KB: usize = 16 * 1024;

/// The gate, and how much of reviews it holds at once.
pub(super) struct Desk {
    pub(super) gate: Arc<Gate>,
    arriving: Semaphore,
    room: Room,
}

/// Where reviews are judged, and where they wait for Git.
struct Room {
    judged: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// Where a review is while it is looked at. Its memory is accounted for until this is dropped.
pub(super) struct Place {
    kilobytes: u32,
    waiting: Arc<Semaphore>,
    permit: OwnedSemaphorePermit,
    is_aside: bool,
}

impl Desk {
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        Self {
            gate,
            arriving: Semaphore::new(ARRIVING_KB),
            room: Room::new(),
        }
    }

    /// Takes a review's body in, or says why not.
    pub(super) async fn receive(
        &self,
        request: Request<Body>,
        patience: Duration,
    ) -> Result<Vec<u8>, (StatusCode, &'static str)> {
        let told = request.headers().get(header::CONTENT_LENGTH);
        let told = told.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if told.is_some_and(|length| length > MAX_BODY) {
            return Err(too_large());
        }
        let receiving = self.collect(request.into_body());
        match tokio::time::timeout(patience.min(ARRIVAL_PATIENCE), receiving).await {
            Ok(received) => received,
            Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the review did not arrive in time")),
        }
    }

    /// What has arrived is paid for when it arrives: who announces much and sends little takes nothing from others.
    async fn collect(&self, mut body: Body) -> Result<Vec<u8>, (StatusCode, &'static str)> {
        let mut collected = Vec::new();
        let mut paid = Vec::new();
        let mut room = FREE;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| too_large())?;
            let Some(data) = frame.data_ref() else { continue };
            let length = collected.len() + data.len();
            if length > MAX_BODY {
                return Err(too_large());
            }
            if length > room {
                let permit = self.arriving.acquire_many(kilobytes(length - room)).await;
                paid.push(permit.map_err(|_| (StatusCode::SERVICE_UNAVAILABLE, "Headgate stops"))?);
                room += kilobytes(length - room) as usize * 1024;
            }
            collected.extend_from_slice(data);
        }
        Ok(collected)
    }

    /// A place in which a review of this size is judged; none if there is none in time.
    pub(super) async fn place(&self, size: usize, patience: Duration) -> Option<Place> {
        self.room.place(size, patience).await
    }
}

impl Room {
    fn new() -> Self {
        Self {
            judged: Arc::new(Semaphore::new(JUDGED_KB)),
            waiting: Arc::new(Semaphore::new(WAITING_KB)),
        }
    }

    async fn place(&self, size: usize, patience: Duration) -> Option<Place> {
        let kilobytes = kilobytes(size);
        let permit = Arc::clone(&self.judged).acquire_many_owned(kilobytes);
        Some(Place {
            kilobytes,
            waiting: Arc::clone(&self.waiting),
            permit: tokio::time::timeout(patience, permit).await.ok()?.ok()?,
            is_aside: false,
        })
    }
}

impl Place {
    /// Makes room for others before a wait; false if too many wait already. Who stands aside already stays there.
    pub(super) fn step_aside(&mut self) -> bool {
        if self.is_aside {
            return true;
        }
        match Arc::clone(&self.waiting).try_acquire_many_owned(self.kilobytes) {
            Ok(permit) => {
                self.permit = permit;
                self.is_aside = true;
                true
            }
            Err(_) => false,
        }
    }
}

fn too_large() -> (StatusCode, &'static str) {
    (StatusCode::PAYLOAD_TOO_LARGE, "the review exceeds 7 MiB, or broke off")
}

fn kilobytes(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: usize = JUDGED_KB * 512;
    const AT_ONCE: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn who_waits_for_git_makes_room_and_who_finds_none_to_wait_in_does_not_wait() {
        let room = Room::new();
        let judged = [room.place(HALF, AT_ONCE).await, room.place(HALF, AT_ONCE).await];
        assert!(judged.iter().all(Option::is_some));
        assert!(
            room.place(1, AT_ONCE).await.is_none(),
            "more is judged at once than there is room"
        );
        let mut waiting: Vec<Place> = judged.into_iter().flatten().collect();
        assert!(waiting.iter_mut().all(Place::step_aside));
        let more = room.place(2 * HALF, AT_ONCE).await;
        let mut more: Vec<Place> = more.into_iter().collect();
        assert_eq!(more.len(), 1, "those who wait hold up those who could be judged");
        assert!(
            !more.iter_mut().all(Place::step_aside),
            "more waits at once than there is room"
        );
        // Who goes makes room for the next to wait.
        waiting.clear();
        assert!(more.iter_mut().all(Place::step_aside));
    }
}
