//! The rooms behind their locks, and the sessions in them: a room lives in one shard, and whatever
//! happens in it happens under that shard's lock, from the look-up to the last outbox. The system
//! writes after that, without a lock.

mod clock;
mod flush;
mod resume;
mod servers;
mod stock;

use std::fmt::Debug;
use std::hash::{BuildHasher as _, RandomState};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use wire::{LeftReason, Refusal, RoomId};

use crate::auth::User;
use crate::client::Closing;
use crate::frame::Frame;
use crate::limits::SharedBuckets;
use crate::line::Timing;
use crate::metrics::{Dropped, Metrics};
use crate::outbox::Lost;
use crate::rooms::{
    Heard, News, NodeId, Outlet, Published, Rooms, Said, Seat, SeatId, Unheard, Version,
};
use crate::session::{Life, ROOMS_PER_SESSION, Session};

pub use clock::TICK;
pub use resume::Handover;

use clock::Clock;
use flush::Flusher;
use resume::Sessions;

/// The way to other servers, where there are some.
pub trait Backplane: Debug + Send + Sync {
    /// Called under the lock of the room's shard: may only encode, and put into a bounded queue.
    fn publish(&self, room: &Arc<str>, news: News<'_>) -> Published;

    /// Asks the server that gave it for a session, which is over there then.
    fn fetch_session(
        &self,
        node: NodeId,
        token: &str,
        received: Option<u64>,
    ) -> Pin<Box<dyn Future<Output = Option<Handover>> + Send>>;
}

/// How a [`Relay`] is to be.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Locks over which the rooms are spread, at least one.
    pub shards: usize,
    /// Whether what one address sends is counted over all its connections.
    pub count_addresses: bool,
    /// How long it waits for what.
    pub timing: Timing,
}

impl Default for Settings {
    fn default() -> Self {
        Self { shards: 1, count_addresses: false, timing: Timing::default() }
    }
}

/// All rooms and sessions of the server.
#[derive(Debug)]
pub struct Relay {
    shards: Box<[Shard]>,
    hasher: RandomState,
    next_seat: AtomicU64,
    node: NodeId,
    sessions: Sessions,
    clock: Clock,
    pub(crate) buckets: SharedBuckets,
    pub(crate) timing: Timing,
    pub(crate) metrics: Arc<Metrics>,
    backplane: OnceLock<Arc<dyn Backplane>>,
}

#[derive(Debug, Default)]
struct Shard {
    rooms: Mutex<Rooms<Arc<Session>>>,
    flusher: Arc<Flusher>,
}

impl Shard {
    fn lock(&self) -> MutexGuard<'_, Rooms<Arc<Session>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Relay {
    /// No rooms yet.
    #[must_use]
    pub fn new(settings: &Settings, metrics: Arc<Metrics>, now: Instant) -> Self {
        Self {
            shards: (0..settings.shards.max(1)).map(|_| Shard::default()).collect(),
            hasher: RandomState::new(),
            next_seat: AtomicU64::new(1),
            node: NodeId(RandomState::new().hash_one(())),
            sessions: Sessions::default(),
            clock: Clock::new(now),
            buckets: SharedBuckets::new(settings.count_addresses),
            timing: settings.timing,
            metrics,
            backplane: OnceLock::new(),
        }
    }

    /// Joins this server to others; once, before it serves.
    pub fn attach_backplane(&self, backplane: Arc<dyn Backplane>) {
        if self.backplane.set(backplane).is_err() {
            tracing::error!("there is a way to other servers already");
        }
    }

    /// The way to other servers, if there is one.
    #[must_use]
    pub fn backplane(&self) -> Option<&Arc<dyn Backplane>> {
        self.backplane.get()
    }

    /// The time as connections see it.
    pub(crate) fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    /// This server among others; random.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// A session of version 1, in no room, without a connection yet.
    #[must_use]
    pub fn begin_v1(&self, user: Arc<User>) -> Arc<Session> {
        Session::new(self.new_seat(), user, Version::V1, None)
    }

    fn new_seat(&self) -> SeatId {
        SeatId(self.next_seat.fetch_add(1, Ordering::Relaxed))
    }

    /// Takes a seat in a room; again, if it has one.
    ///
    /// # Errors
    /// [`Refusal::Busy`] when the session is in too many rooms, or over.
    pub fn join(&self, session: &Arc<Session>, room: &RoomId) -> Result<(), Refusal> {
        let mut standing = session.standing();
        let is_new = !standing.rooms.iter().any(|name| **name == *room.as_str());
        if standing.life == Life::Ended || (is_new && standing.rooms.len() >= ROOMS_PER_SESSION) {
            return Err(Refusal::Busy);
        }
        let seat = Seat {
            id: session.seat,
            user: session.user.clone(),
            version: session.version,
            handle: session.clone(),
        };
        let name = self.in_room(room.as_str(), |rooms, post| rooms.join(room.as_str(), seat, post));
        if is_new {
            // Most are in one room, and a list grows by four at once.
            standing.rooms.reserve_exact(1);
            standing.rooms.push(name);
            self.metrics.relay.seats.inc();
        }
        Ok(())
    }

    /// Gives up the seat in a room, if there is one.
    pub fn leave(&self, session: &Session, room: &RoomId) {
        let mut standing = session.standing();
        let before = standing.rooms.len();
        standing.rooms.retain(|name| **name != *room.as_str());
        self.metrics.relay.seats.dec_by((before - standing.rooms.len()) as i64);
        self.in_room(room.as_str(), |rooms, post| {
            rooms.leave(room.as_str(), session.seat, LeftReason::Left, post);
        });
    }

    /// Says something in a room, and fills the outboxes of all whom it concerns.
    ///
    /// # Errors
    /// [`Unheard`]; nobody got anything then.
    pub fn say(&self, session: &Session, room: &RoomId, said: Said<'_>) -> Result<Heard, Unheard> {
        let heard = self.in_room(room.as_str(), |rooms, post| {
            rooms.say(room.as_str(), session.seat, said, post)
        });
        if heard == Ok(Heard::Again) {
            self.metrics.relay.dropped.add(Dropped::Duplicate);
        }
        heard
    }

    /// Ends a session: it leaves all rooms, and can't be resumed.
    pub fn finish(&self, session: &Session, reason: LeftReason) {
        let mut standing = session.standing();
        self.finish_standing(session, &mut standing, reason);
    }

    /// Ends all connections, spread over a while.
    pub async fn close_all(&self, closing: Closing, over: Duration) {
        self.clock.close_all(closing, over).await;
    }

    /// Does one thing under the lock of the room's shard.
    fn in_room<T>(
        &self,
        room: &str,
        act: impl FnOnce(&mut Rooms<Arc<Session>>, &mut Post<'_>) -> T,
    ) -> T {
        let hash = self.hasher.hash_one(room);
        self.in_shard(&self.shards[hash as usize % self.shards.len()], act)
    }

    fn in_shard<T>(
        &self,
        shard: &Shard,
        act: impl FnOnce(&mut Rooms<Arc<Session>>, &mut Post<'_>) -> T,
    ) -> T {
        let mut post = Post {
            dirty: Vec::new(),
            backplane: self.backplane.get(),
            metrics: &self.metrics,
            frames: 0,
            bytes: 0,
        };
        let mut rooms = shard.lock();
        let before = rooms.len();
        let done = act(&mut rooms, &mut post);
        let after = rooms.len();
        drop(rooms);
        let counts = &self.metrics.relay;
        if before != after {
            counts.rooms.inc_by(after as i64 - before as i64);
        }
        if post.frames > 0 {
            counts.delivered.inc_by(post.frames);
            counts.delivered_bytes.inc_by(post.bytes);
        }
        if !post.dirty.is_empty() {
            shard.flusher.add(post.dirty);
        }
        done
    }
}

/// Puts frames into outboxes.
struct Post<'a> {
    /// Those whose outboxes have to be flushed.
    dirty: Vec<Arc<Session>>,
    backplane: Option<&'a Arc<dyn Backplane>>,
    metrics: &'a Metrics,
    frames: u64,
    bytes: u64,
}

impl Outlet<Arc<Session>> for Post<'_> {
    fn deliver(&mut self, to: &Arc<Session>, frame: &Frame) {
        let pushed = to.outbox.push(frame.clone());
        self.frames += 1;
        self.bytes += frame.bytes().len() as u64;
        if pushed.flush {
            self.dirty.push(to.clone());
        }
        if let Some(lost) = pushed.lost {
            let dropped = &self.metrics.relay.dropped;
            match lost {
                Lost::Typing(count) => dropped.add_many(Dropped::Typing, count as u64),
                Lost::Roster => dropped.add(Dropped::Roster),
                Lost::Slow => dropped.add(Dropped::Slow),
                Lost::Missed => dropped.add(Dropped::Missed),
            }
        }
    }

    fn publish(&mut self, room: &Arc<str>, news: News<'_>) -> Published {
        self.backplane.map_or(Published::Now, |backplane| backplane.publish(room, news))
    }
}
