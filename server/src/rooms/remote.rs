//! Members of a room whose connections are with other servers.

use std::sync::Arc;

use wire::{LeftReason, UserId};

use super::{NodeId, Outlet, Room, Rooms, Said};
use crate::auth::User;

/// The members of one room on other servers.
#[derive(Debug, Default)]
pub(super) struct Remote {
    nodes: Vec<(NodeId, Vec<Arc<User>>)>,
}

impl Remote {
    pub(super) fn has(&self, user: &UserId) -> bool {
        self.users().any(|member| member.id == *user)
    }

    pub(super) fn users(&self) -> impl Iterator<Item = &User> {
        self.nodes.iter().flat_map(|(_, users)| users.iter().map(|user| &**user))
    }

    fn of(&self, node: NodeId) -> &[Arc<User>] {
        self.nodes.iter().find(|(id, _)| *id == node).map_or(&[], |(_, users)| users)
    }

    fn set(&mut self, node: NodeId, users: Vec<Arc<User>>) {
        self.nodes.retain(|(id, _)| *id != node);
        if !users.is_empty() {
            self.nodes.push((node, users));
        }
    }
}

impl<H> Rooms<H> {
    /// `users` are in the room on another server, and nobody else there. A room in which nobody
    /// here has a seat takes no notice.
    pub fn remote_set(
        &mut self,
        room: &str,
        node: NodeId,
        users: Vec<Arc<User>>,
        reason: LeftReason,
        out: &mut impl Outlet<H>,
    ) {
        let Some((name, _)) = self.rooms.get_key_value(room) else { return };
        let name = name.clone();
        if let Some(room) = self.rooms.get_mut(&name) {
            room.set_remote(&name, node, users, reason, out);
        }
    }

    /// One more is in the room on another server.
    pub fn remote_join(
        &mut self,
        room: &str,
        node: NodeId,
        user: Arc<User>,
        out: &mut impl Outlet<H>,
    ) {
        let Some(known) = self.rooms.get(room) else { return };
        let mut users = known.remote.of(node).to_vec();
        users.retain(|member| member.id != user.id);
        users.push(user);
        self.remote_set(room, node, users, LeftReason::Left, out);
    }

    /// One is not in the room on another server any more.
    pub fn remote_leave(
        &mut self,
        room: &str,
        node: NodeId,
        user: &UserId,
        reason: LeftReason,
        out: &mut impl Outlet<H>,
    ) {
        let Some(known) = self.rooms.get(room) else { return };
        let mut users = known.remote.of(node).to_vec();
        users.retain(|member| member.id != *user);
        self.remote_set(room, node, users, reason, out);
    }

    /// Another server is gone, and all who were on it.
    pub fn remote_gone(&mut self, node: NodeId, out: &mut impl Outlet<H>) {
        for (name, room) in &mut self.rooms {
            if !room.remote.of(node).is_empty() {
                room.set_remote(name, node, Vec::new(), LeftReason::Lost, out);
            }
        }
    }

    /// Somebody on another server said something.
    pub fn remote_said(&mut self, room: &str, said: &Said<'_>, out: &mut impl Outlet<H>) {
        let Some((name, _)) = self.rooms.get_key_value(room) else { return };
        let name = name.clone();
        let Some(room) = self.rooms.get_mut(&name) else { return };
        if let Some(seq) = said.seq {
            if said.id.is_some_and(|id| room.senders.known(said.from, id).is_some()) {
                return;
            }
            room.senders.remember(said.from, seq, said.id, true);
        }
        room.deliver(&name, said, None, out);
    }

    /// Who is in the room here, each user once.
    #[must_use]
    pub fn local_users(&self, room: &str) -> Vec<Arc<User>> {
        let mut users: Vec<Arc<User>> = Vec::new();
        let Some(room) = self.rooms.get(room) else { return users };
        let mut seen = std::collections::HashSet::new();
        for taken in room.seats.iter().filter(|taken| taken.shown) {
            if seen.insert(taken.seat.user.id.as_str()) {
                users.push(taken.seat.user.clone());
            }
        }
        users
    }

    /// All rooms in which somebody here has a seat.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.rooms.keys()
    }
}

impl<H> Room<H> {
    fn set_remote(
        &mut self,
        name: &Arc<str>,
        node: NodeId,
        users: Vec<Arc<User>>,
        reason: LeftReason,
        out: &mut impl Outlet<H>,
    ) {
        let before = self.remote.of(node).to_vec();
        let came: Vec<Arc<User>> =
            users.iter().filter(|user| !self.is_present(&user.id)).cloned().collect();
        self.remote.set(node, users);
        let mut went: Vec<Arc<User>> = before;
        went.retain(|user| !self.is_present(&user.id));
        if came.is_empty() && went.is_empty() {
            return;
        }
        if self.has_v1() {
            self.deliver_v1(&self.snapshot(name), out);
        }
        for user in &came {
            self.deliver_v2_but(&user.id, out, || super::encode::joined(name, user));
        }
        for user in &went {
            self.deliver_v2_but(&user.id, out, || super::encode::left(name, &user.id, reason));
        }
    }
}
