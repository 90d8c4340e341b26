//! What other servers say of rooms that have members here, too. None of it is published again.

use std::sync::Arc;

use uuid::Uuid;
use wire::{LeftReason, RoomId, UserId};

use super::Relay;
use crate::auth::User;
use crate::rooms::{NodeId, Said};

impl Relay {
    /// `users` are in the room on `node`, and nobody else there; who is missing left for `reason`.
    pub fn remote_set(
        &self,
        room: &RoomId,
        node: NodeId,
        users: Vec<Arc<User>>,
        reason: LeftReason,
    ) {
        let room = room.as_str();
        self.in_room(room, |rooms, post| rooms.remote_set(room, node, users, reason, post));
    }

    /// One more is in the room on `node`.
    pub fn remote_join(&self, room: &RoomId, node: NodeId, user: Arc<User>) {
        let room = room.as_str();
        self.in_room(room, |rooms, post| rooms.remote_join(room, node, user, post));
    }

    /// One is not in the room on `node` any more.
    pub fn remote_leave(&self, room: &RoomId, node: NodeId, user: &UserId, reason: LeftReason) {
        let room = room.as_str();
        self.in_room(room, |rooms, post| rooms.remote_leave(room, node, user, reason, post));
    }

    /// `node` is gone: who was in rooms there is lost.
    pub fn remote_gone(&self, node: NodeId) {
        for shard in &self.shards {
            self.in_shard(shard, |rooms, post| rooms.remote_gone(node, post));
        }
    }

    /// Somebody on another server said something; it goes to members here.
    pub fn remote_said(&self, room: &RoomId, said: &Said<'_>) {
        let room = room.as_str();
        self.in_room(room, |rooms, post| rooms.remote_said(room, said, post));
    }

    /// A message that was on its way to other servers has arrived there; its sender hears of it.
    pub fn acknowledge(&self, room: &RoomId, user: &UserId, id: Uuid) {
        let room = room.as_str();
        self.in_room(room, |rooms, post| rooms.acknowledge(room, user, id, post));
    }

    /// Who is in the room on this server, each user once.
    #[must_use]
    pub fn local_users(&self, room: &RoomId) -> Vec<Arc<User>> {
        let room = room.as_str();
        self.in_room(room, |rooms, _| rooms.local_users(room))
    }

    /// All rooms in which somebody has a seat on this server.
    #[must_use]
    pub fn local_rooms(&self) -> Vec<Arc<str>> {
        let all = self.shards.iter().map(|shard| shard.lock().names().cloned().collect::<Vec<_>>());
        all.flatten().collect()
    }
}
