//! The rooms behind their locks: a room lives in one shard, and whatever happens in it happens
//! under that shard's lock, from the look-up to the last outbox.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use wire::RoomId;

use crate::outbox::Outbox;
use crate::rooms::{Action, NotAMember, Rooms, SocketId};

/// All rooms of the server.
#[derive(Debug)]
pub struct Relay {
    shards: Box<[Mutex<Rooms<Arc<Outbox>>>]>,
    hasher: RandomState,
    next_socket: AtomicU64,
}

impl Relay {
    /// Rooms spread over `shards` locks, at least one.
    #[must_use]
    pub fn new(shards: usize) -> Self {
        Self {
            shards: (0..shards.max(1)).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            next_socket: AtomicU64::new(1),
        }
    }

    /// A number that no other connection has.
    pub fn new_socket(&self) -> SocketId {
        SocketId(self.next_socket.fetch_add(1, Ordering::Relaxed))
    }

    /// Does one thing in one room and fills the outboxes of all whom it concerns.
    ///
    /// # Errors
    /// [`NotAMember`] when someone speaks in a room without being in it.
    pub fn handle(&self, room: &RoomId, action: Action<Arc<Outbox>>) -> Result<(), NotAMember> {
        let hash = self.hasher.hash_one(room.as_str());
        let shard = &self.shards[hash as usize % self.shards.len()];
        let mut rooms = shard.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.handle(room, action, |outbox, frame| outbox.push(frame.clone()))
    }
}
