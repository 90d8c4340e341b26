//! Writing for others: whoever says something to a room fills outboxes, and one task of the room's
//! shard empties them, straight into the sockets. So a broadcast wakes one task and not one for
//! each recipient, and what is said meanwhile leaves in the same write.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;

use crate::outbox::Flushed;
use crate::session::Session;

/// Sockets that are written in one go; then readers get their turn.
const WRITES_IN_A_ROW: usize = 64;
/// Bytes that are written in one go: copying them takes a fraction of a millisecond.
const BYTES_IN_A_ROW: usize = 256 * 1024;

/// The outboxes of one shard that wait to be flushed. Each session is here at most once, so there
/// are never more than sessions.
#[derive(Debug, Default)]
pub(super) struct Flusher {
    dirty: Mutex<Vec<Arc<Session>>>,
    wake: Notify,
    /// Nobody runs it: each connection flushes for itself.
    off: AtomicBool,
}

impl Flusher {
    /// Flushes these soon.
    pub(super) fn add(&self, mut sessions: Vec<Arc<Session>>) {
        if self.off.load(Ordering::Acquire) {
            sessions.iter().for_each(|session| hand_over(session));
            return;
        }
        let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        if dirty.is_empty() {
            *dirty = sessions;
        } else {
            dirty.append(&mut sessions);
        }
        drop(dirty);
        self.wake.notify_one();
    }

    /// Flushes until the server stops.
    pub(super) async fn run(self: Arc<Self>, stopping: CancellationToken) {
        while stopping.run_until_cancelled(self.wake.notified()).await.is_some() {
            // What the others say in this turn of the runtime goes out together.
            yield_now().await;
            let now = tokio::time::Instant::now().into_std();
            let (mut writes, mut bytes) = (0, 0);
            for session in &self.take() {
                if writes >= WRITES_IN_A_ROW || bytes >= BYTES_IN_A_ROW {
                    yield_now().await;
                    (writes, bytes) = (0, 0);
                }
                writes += 1;
                bytes += flush(session, now);
            }
        }
        self.off.store(true, Ordering::Release);
        self.take().iter().for_each(|session| hand_over(session));
    }

    fn take(&self) -> Vec<Arc<Session>> {
        std::mem::take(&mut *self.dirty.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Writes what waits for a session, as far as its socket takes it; how many bytes that were.
fn flush(session: &Session, now: Instant) -> usize {
    let Some(line) = session.outbox.line() else { return 0 };
    let Some(socket) = line.direct() else {
        hand_over(session);
        return 0;
    };
    let mut bytes = 0;
    let flushed = session.outbox.flush(now, |slices| {
        let written = socket.try_write_vectored(slices)?;
        bytes += written;
        Ok(written)
    });
    if flushed != Flushed::Idle {
        // Its own task waits for the socket, or finds that it is broken.
        line.wake();
    }
    bytes
}

/// Lets the connection's own task do it.
fn hand_over(session: &Session) {
    if let Some(line) = session.outbox.release() {
        line.wake();
    }
}
