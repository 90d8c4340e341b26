//! Who is in which room, and who gets what. Sans-IO: it knows no socket and no clock; it calls
//! [`Outlet::deliver`] for each recipient, in the order in which the recipients must see the
//! frames, and [`Outlet::publish`] for what other servers must hear.
//!
//! A *seat* is a place in a room: of a connection of version 1, or of a session of version 2, which
//! may outlive its connection. Presence is of users, who may have several seats, on several
//! servers.

mod encode;
mod remote;
mod speech;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use uuid::Uuid;
use wire::{LeftReason, MessageType, UserId};

use crate::auth::User;
use crate::frame::Frame;

use remote::Remote;
use speech::{Memory, Senders};

/// One place in rooms; a user may have several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SeatId(pub u64);

/// Another server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// Which protocol a seat understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Snapshots only.
    V1,
    /// Deltas, numbers, acknowledgements.
    V2,
}

/// A place in a room. `H` is how frames reach it.
#[derive(Debug, Clone)]
pub struct Seat<H> {
    /// Which one.
    pub id: SeatId,
    /// Whose it is.
    pub user: Arc<User>,
    /// What it understands.
    pub version: Version,
    /// Passed back to [`Outlet::deliver`].
    pub handle: H,
}

/// One message on its way to members, apart from any connection: what travels between servers.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// Chat, typing, signals, or what is between two members.
    pub kind: MessageType,
    /// Who says it.
    pub from: &'a UserId,
    /// The only user who gets it; `None` for all.
    pub to: Option<&'a UserId>,
    /// The payload, byte for byte as it was sent.
    pub data: &'a str,
    /// The sender's id of a chat message that is to be acknowledged.
    pub id: Option<Uuid>,
    /// The number of a chat message among its sender's in the room; set by the sender's server.
    pub seq: Option<u64>,
}

/// What other servers must hear of a room.
#[derive(Debug, Clone, Copy)]
pub enum News<'a> {
    /// A user took the first seat here.
    Joined(&'a Arc<User>),
    /// A user gave up the last seat here.
    Left {
        /// Who.
        user: &'a Arc<User>,
        /// Why.
        reason: LeftReason,
    },
    /// Somebody here said something, to all or to one. It comes before the local delivery.
    Said(&'a Said<'a>),
}

/// What became of news for other servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// There is nobody to wait for: what was said is acknowledged now.
    Now,
    /// It is on its way; [`Rooms::acknowledge`] comes later.
    Later,
    /// There is no room for it. Only for [`News::Said`], which nobody gets then.
    Busy,
}

/// Where frames and news go.
pub trait Outlet<H> {
    /// `frame` goes to a seat here.
    fn deliver(&mut self, to: &H, frame: &Frame);

    /// `news` go to the other servers.
    fn publish(&mut self, room: &Arc<str>, news: News<'_>) -> Published {
        let _ = (room, news);
        Published::Now
    }
}

/// Why nobody got what was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unheard {
    /// The speaker is not in the room.
    NotAMember,
    /// The way to the other servers is full.
    Busy,
}

/// What became of something said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Everybody whom it concerns has it in the outbox.
    Delivered,
    /// It was delivered before.
    Again,
}

/// Rooms with their members. A room exists while somebody here has a seat in it.
#[derive(Debug)]
pub struct Rooms<H> {
    rooms: HashMap<Arc<str>, Room<H>>,
    memory: Memory,
}

impl<H> Default for Rooms<H> {
    fn default() -> Self {
        Self { rooms: HashMap::new(), memory: Memory::default() }
    }
}

/// One room.
#[derive(Debug)]
struct Room<H> {
    /// In the order of joining.
    seats: Vec<Taken<H>>,
    remote: Remote,
    senders: Senders,
}

/// A seat that is taken.
#[derive(Debug)]
struct Taken<H> {
    seat: Seat<H>,
    /// Whether the others see it: one whose connection is lost for a while is not shown.
    shown: bool,
}

impl<H> Rooms<H> {
    /// Takes a seat and tells everybody. Because presence is told in the same step, nobody ever
    /// gets a signal from a member of whom they have not heard. Returns the room's name to keep.
    pub fn join(&mut self, room: &str, seat: Seat<H>, out: &mut impl Outlet<H>) -> Arc<str> {
        let (name, room) = self.open(room);
        if let Some(index) = room.seats.iter().position(|taken| taken.seat.id == seat.id) {
            room.tell_again(&name, index, out);
            return name;
        }
        let was_present = room.is_present(&seat.user.id);
        let was_here = room.is_here(&seat.user.id);
        let user = seat.user.clone();
        room.seats.push(Taken { seat, shown: true });
        if !was_here {
            out.publish(&name, News::Joined(&user));
        }
        room.tell_joined(&name, &user, was_present, out);
        let last = &room.seats[room.seats.len() - 1];
        if last.seat.version == Version::V2 {
            out.deliver(&last.seat.handle, &room.snapshot(&name));
        }
        name
    }

    /// All seats that are taken, in no order; one for each room that somebody is in.
    pub fn seats(&self) -> impl Iterator<Item = &Seat<H>> {
        self.rooms.values().flat_map(|room| room.seats.iter().map(|taken| &taken.seat))
    }

    /// Gives up a seat, if it is taken, and tells those who stay.
    pub fn leave(
        &mut self,
        room: &str,
        seat: SeatId,
        reason: LeftReason,
        out: &mut impl Outlet<H>,
    ) {
        let Some((name, _)) = self.rooms.get_key_value(room) else { return };
        let name = name.clone();
        let Some(room) = self.rooms.get_mut(&name) else { return };
        let Some(index) = room.seats.iter().position(|taken| taken.seat.id == seat) else { return };
        let taken = room.seats.remove(index);
        if taken.shown {
            room.tell_left(&name, &taken.seat.user, reason, out);
        }
        if room.seats.is_empty() {
            if let Some(room) = self.rooms.remove(&name) {
                self.memory.keep(&name, room.senders);
            }
        } else if room.seats.len() * 4 < room.seats.capacity() {
            room.seats.shrink_to_fit();
        }
    }

    /// The connection behind a seat is lost for a while: the others are told that its user left,
    /// and it still gets what is said.
    pub fn hide(&mut self, room: &str, seat: SeatId, out: &mut impl Outlet<H>) {
        if let Some((name, room, index)) = self.find(room, seat)
            && std::mem::replace(&mut room.seats[index].shown, false)
        {
            let user = room.seats[index].seat.user.clone();
            room.tell_left(&name, &user, LeftReason::Lost, out);
        }
    }

    /// It is back.
    pub fn show(&mut self, room: &str, seat: SeatId, out: &mut impl Outlet<H>) {
        let Some((name, room, index)) = self.find(room, seat) else { return };
        let user = room.seats[index].seat.user.clone();
        let (was_present, was_here) = (room.is_present(&user.id), room.is_here(&user.id));
        if !std::mem::replace(&mut room.seats[index].shown, true) {
            if !was_here {
                out.publish(&name, News::Joined(&user));
            }
            room.tell_joined(&name, &user, was_present, out);
        }
    }

    /// Says something to everybody whom it concerns.
    ///
    /// # Errors
    /// [`Unheard`]; nobody got anything then.
    pub fn say(
        &mut self,
        room: &str,
        from: SeatId,
        mut said: Said<'_>,
        out: &mut impl Outlet<H>,
    ) -> Result<Heard, Unheard> {
        let (name, room, index) = self.find(room, from).ok_or(Unheard::NotAMember)?;
        if said.kind == MessageType::Chat {
            if let Some(known) = said.id.and_then(|id| room.senders.known(said.from, id)) {
                if known.acknowledged {
                    out.deliver(
                        &room.seats[index].seat.handle,
                        &encode::ack(&name, known.id, known.seq),
                    );
                }
                return Ok(Heard::Again);
            }
            said.seq = Some(room.senders.next(said.from));
        }
        let published = out.publish(&name, News::Said(&said));
        if published == Published::Busy {
            return Err(Unheard::Busy);
        }
        room.deliver(&name, &said, Some(from), out);
        if let Some(seq) = said.seq {
            let acknowledged = published == Published::Now;
            room.senders.remember(said.from, seq, said.id, acknowledged);
            if let Some(id) = said.id.filter(|_| acknowledged) {
                out.deliver(&room.seats[index].seat.handle, &encode::ack(&name, id, seq));
            }
            let Room { seats, remote, senders } = room;
            senders.forget_strangers(|id| {
                seats.iter().any(|taken| taken.seat.user.id == *id) || remote.has(id)
            });
        }
        Ok(Heard::Delivered)
    }

    /// A message that was [`Published::Later`] has reached the other servers.
    pub fn acknowledge(&mut self, room: &str, user: &UserId, id: Uuid, out: &mut impl Outlet<H>) {
        let Some((name, room)) = self.rooms.get_key_value(room) else { return };
        let Some(seq) = room.senders.known(user, id).map(|known| known.seq) else { return };
        let frame = encode::ack(name, id, seq);
        for Taken { seat, .. } in &room.seats {
            if seat.user.id == *user && seat.version == Version::V2 {
                out.deliver(&seat.handle, &frame);
            }
        }
        if let Some(room) = self.rooms.get_mut(&name.clone()) {
            room.senders.acknowledge(user, id);
        }
    }

    /// How many rooms there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// The room, which exists from now on.
    fn open(&mut self, room: &str) -> (Arc<str>, &mut Room<H>) {
        let name = match self.rooms.get_key_value(room) {
            Some((name, _)) => name.clone(),
            None => Arc::from(room),
        };
        let memory = &mut self.memory;
        let room = self.rooms.entry(name.clone()).or_insert_with(|| Room {
            seats: Vec::new(),
            remote: Remote::default(),
            senders: memory.take(&name),
        });
        (name, room)
    }

    fn find(&mut self, room: &str, seat: SeatId) -> Option<(Arc<str>, &mut Room<H>, usize)> {
        let name = self.rooms.get_key_value(room)?.0.clone();
        let room = self.rooms.get_mut(&name)?;
        let index = room.seats.iter().position(|taken| taken.seat.id == seat)?;
        Some((name, room, index))
    }
}

impl<H> Room<H> {
    /// Whether a shown seat here is the user's.
    fn is_here(&self, user: &UserId) -> bool {
        self.seats.iter().any(|taken| taken.shown && taken.seat.user.id == *user)
    }

    /// Whether the user is in the room, on whichever server.
    fn is_present(&self, user: &UserId) -> bool {
        self.is_here(user) || self.remote.has(user)
    }

    /// Each user once, those here first, in the order of joining.
    fn snapshot(&self, name: &Arc<str>) -> Frame {
        let here = self.seats.iter().filter(|taken| taken.shown).map(|taken| &*taken.seat.user);
        let mut seen = HashSet::new();
        let users = here.chain(self.remote.users()).filter(|user| seen.insert(user.id.as_str()));
        encode::snapshot(name, users)
    }

    /// A join of one who is in the room already.
    fn tell_again(&self, name: &Arc<str>, asker: usize, out: &mut impl Outlet<H>) {
        let frame = self.snapshot(name);
        match self.seats[asker].seat.version {
            // In version 1 every join is followed by a snapshot for everybody.
            Version::V1 => self.deliver_v1(&frame, out),
            Version::V2 => out.deliver(&self.seats[asker].seat.handle, &frame),
        }
    }

    /// A seat of `user` was shown; `was_present` before, elsewhere.
    fn tell_joined(
        &self,
        name: &Arc<str>,
        user: &User,
        was_present: bool,
        out: &mut impl Outlet<H>,
    ) {
        if self.has_v1() {
            self.deliver_v1(&self.snapshot(name), out);
        }
        if !was_present {
            self.deliver_v2_but(&user.id, out, || encode::joined(name, user));
        }
    }

    /// A seat of `user` is gone.
    fn tell_left(
        &self,
        name: &Arc<str>,
        user: &Arc<User>,
        reason: LeftReason,
        out: &mut impl Outlet<H>,
    ) {
        if !self.is_here(&user.id) {
            out.publish(name, News::Left { user, reason });
        }
        if self.has_v1() {
            self.deliver_v1(&self.snapshot(name), out);
        }
        if !self.is_present(&user.id) {
            self.deliver_v2_but(&user.id, out, || encode::left(name, &user.id, reason));
        }
    }

    fn has_v1(&self) -> bool {
        self.seats.iter().any(|taken| taken.seat.version == Version::V1)
    }

    fn deliver_v1(&self, frame: &Frame, out: &mut impl Outlet<H>) {
        for Taken { seat, .. } in &self.seats {
            if seat.version == Version::V1 {
                out.deliver(&seat.handle, frame);
            }
        }
    }

    /// Presence of `user` is nothing to tell `user`.
    fn deliver_v2_but(
        &self,
        user: &UserId,
        out: &mut impl Outlet<H>,
        frame: impl FnOnce() -> Frame,
    ) {
        let told =
            |taken: &&Taken<H>| taken.seat.version == Version::V2 && taken.seat.user.id != *user;
        let mut told = self.seats.iter().filter(told).peekable();
        if told.peek().is_some() {
            let frame = frame();
            for taken in told {
                out.deliver(&taken.seat.handle, &frame);
            }
        }
    }

    /// Gives what was said to all here whom it concerns, in the form that each understands.
    fn deliver(
        &self,
        name: &Arc<str>,
        said: &Said<'_>,
        from: Option<SeatId>,
        out: &mut impl Outlet<H>,
    ) {
        let (mut plain, mut numbered) = (None, None);
        for Taken { seat, .. } in &self.seats {
            let is_concerned = match said.to {
                Some(to) => seat.user.id == *to,
                None => said.kind != MessageType::PeerState || Some(seat.id) != from,
            };
            let understands = seat.version == Version::V2 || !said.kind.is_v2();
            if !(is_concerned && understands) {
                continue;
            }
            let frame = if seat.version == Version::V2 && said.seq.is_some() {
                numbered.get_or_insert_with(|| encode::said(name, said, said.seq))
            } else {
                plain.get_or_insert_with(|| encode::said(name, said, None))
            };
            out.deliver(&seat.handle, frame);
        }
    }
}

#[cfg(test)]
mod tests;
