//! Who is in which room, and who gets what. Sans-IO: it knows no socket and no clock; it calls
//! `deliver` for each recipient, in the order in which the recipients must see the frames.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::Serialize;
use wire::{MessageType, Outgoing, RoomId, UserId};

use crate::auth::User;
use crate::outbox::Frame;

/// One connection; a user may have several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SocketId(pub u64);

/// A connection's place in a room. `H` is how frames reach it.
#[derive(Debug, Clone)]
pub struct Seat<H> {
    /// The connection.
    pub socket: SocketId,
    /// Whose it is.
    pub user: Arc<User>,
    /// Passed back to `deliver`.
    pub handle: H,
}

/// What a connection does in a room.
#[derive(Debug)]
pub enum Action<H> {
    /// Takes a seat; nothing new if it has one. Everybody gets a snapshot.
    Join(Seat<H>),
    /// Gives up its seat, if it has one. Those who stay get a snapshot.
    Leave(SocketId),
    /// Says something to every member, itself included.
    Relay {
        /// The speaker.
        from: SocketId,
        /// What everybody gets.
        frame: Frame,
    },
    /// Says something to the connections of one user.
    Signal {
        /// The speaker.
        from: SocketId,
        /// The only user who gets it.
        to: UserId,
        /// What that user gets.
        frame: Frame,
    },
}

/// The speaker is not in the room, and nobody got anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAMember;

/// Rooms with their members. A room exists while somebody is in it.
#[derive(Debug)]
pub struct Rooms<H> {
    rooms: HashMap<Arc<str>, Vec<Seat<H>>>,
}

impl<H> Default for Rooms<H> {
    fn default() -> Self {
        Self { rooms: HashMap::new() }
    }
}

impl<H> Rooms<H> {
    /// Does one thing completely. Because a snapshot is delivered in the same step as the join
    /// that caused it, nobody ever gets a signal from a member whom no snapshot has listed.
    ///
    /// # Errors
    /// [`NotAMember`] when someone speaks in a room without being in it.
    pub fn handle(
        &mut self,
        room: &RoomId,
        action: Action<H>,
        mut deliver: impl FnMut(&H, &Frame),
    ) -> Result<(), NotAMember> {
        match action {
            Action::Join(seat) => {
                let key = match self.rooms.get_key_value(room.as_str()) {
                    Some((key, _)) => key.clone(),
                    None => Arc::from(room.as_str()),
                };
                let seats = self.rooms.entry(key.clone()).or_default();
                if !seats.iter().any(|other| other.socket == seat.socket) {
                    seats.push(seat);
                }
                announce(&key, seats, deliver);
            }
            Action::Leave(socket) => {
                let Some((key, _)) = self.rooms.get_key_value(room.as_str()) else {
                    return Ok(());
                };
                let key = key.clone();
                let seats = self.rooms.entry(key.clone()).or_default();
                let before = seats.len();
                seats.retain(|seat| seat.socket != socket);
                if seats.is_empty() {
                    self.rooms.remove(&key);
                } else if seats.len() < before {
                    announce(&key, seats, deliver);
                }
            }
            Action::Relay { from, frame } => {
                for seat in self.seats_around(room, from)? {
                    deliver(&seat.handle, &frame);
                }
            }
            Action::Signal { from, to, frame } => {
                let seats = self.seats_around(room, from)?;
                for seat in seats.iter().filter(|seat| seat.user.id == to) {
                    deliver(&seat.handle, &frame);
                }
            }
        }
        Ok(())
    }

    fn seats_around(&self, room: &RoomId, socket: SocketId) -> Result<&[Seat<H>], NotAMember> {
        let seats = self.rooms.get(room.as_str()).ok_or(NotAMember)?;
        let is_member = seats.iter().any(|seat| seat.socket == socket);
        if is_member { Ok(seats) } else { Err(NotAMember) }
    }
}

#[derive(Serialize)]
struct Snapshot<'a> {
    users: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(rename = "userID")]
    id: &'a str,
    username: &'a str,
}

/// Sends everybody the snapshot: each user once, in the order of joining.
fn announce<H>(room: &Arc<str>, seats: &[Seat<H>], mut deliver: impl FnMut(&H, &Frame)) {
    let mut seen = HashSet::new();
    let users = seats
        .iter()
        .filter(|seat| seen.insert(seat.user.id.as_str()))
        .map(|seat| Line { id: seat.user.id.as_str(), username: &seat.user.name })
        .collect();
    let snapshot = Outgoing {
        kind: MessageType::RoomUsers.name(),
        room,
        data: Snapshot { users },
        from: Some(UserId::SYSTEM),
    };
    let frame = Frame::roster(snapshot.to_json(), room.clone());
    for seat in seats {
        deliver(&seat.handle, &frame);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use wire::ServerMessage;

    use super::*;

    type Deliveries = Vec<(u64, String)>;

    fn room(name: &str) -> RoomId {
        RoomId::new(name).unwrap()
    }

    fn user(name: &str) -> Arc<User> {
        Arc::new(User { id: UserId::new(name).unwrap(), name: name.to_uppercase() })
    }

    fn seat(socket: u64, name: &str) -> Seat<u64> {
        Seat { socket: SocketId(socket), user: user(name), handle: socket }
    }

    fn say(from: u64, text: &str) -> Action<u64> {
        Action::Relay { from: SocketId(from), frame: Frame::new(text.to_owned()) }
    }

    fn signal(from: u64, to: &str) -> Action<u64> {
        let (to, frame) = (UserId::new(to).unwrap(), Frame::new("signal".to_owned()));
        Action::Signal { from: SocketId(from), to, frame }
    }

    fn act(rooms: &mut Rooms<u64>, name: &str, action: Action<u64>) -> Option<Deliveries> {
        let mut deliveries = Deliveries::new();
        let deliver = |to: &u64, frame: &Frame| deliveries.push((*to, frame.text.to_string()));
        rooms.handle(&room(name), action, deliver).ok().map(|()| deliveries)
    }

    fn recipients(deliveries: &Deliveries) -> Vec<u64> {
        deliveries.iter().map(|(to, _)| *to).collect()
    }

    fn listed(json: &str) -> Vec<String> {
        match ServerMessage::parse(json.as_bytes()).unwrap().1 {
            ServerMessage::RoomUsers { users } => {
                users.into_iter().map(|member| member.id.to_string()).collect()
            }
            other => panic!("not a snapshot: {other:?}"),
        }
    }

    #[test]
    fn a_join_is_announced_to_all_the_joiner_included() {
        let mut rooms = Rooms::default();
        act(&mut rooms, "r", Action::Join(seat(1, "ann"))).unwrap();
        let deliveries = act(&mut rooms, "r", Action::Join(seat(2, "bob"))).unwrap();
        assert_eq!(recipients(&deliveries), [1, 2]);
        assert_eq!(
            deliveries[0].1,
            r#"{"type":"room.users","room":"r","data":{"users":[{"userID":"ann","username":"ANN"},{"userID":"bob","username":"BOB"}]},"from":"system"}"#
        );
    }

    #[test]
    fn a_second_join_changes_nothing_and_a_second_socket_is_no_second_user() {
        let mut rooms = Rooms::default();
        act(&mut rooms, "r", Action::Join(seat(1, "ann"))).unwrap();
        let again = act(&mut rooms, "r", Action::Join(seat(1, "ann"))).unwrap();
        assert_eq!(recipients(&again), [1]);
        let second = act(&mut rooms, "r", Action::Join(seat(2, "ann"))).unwrap();
        assert_eq!((recipients(&second), listed(&second[0].1)), (vec![1, 2], vec!["ann".into()]));
        let first_leaves = act(&mut rooms, "r", Action::Leave(SocketId(1))).unwrap();
        assert_eq!(listed(&first_leaves[0].1), ["ann"]);
    }

    #[test]
    fn speech_reaches_everybody_and_signals_reach_only_their_user() {
        let mut rooms = Rooms::default();
        for seat in [seat(1, "ann"), seat(2, "bob"), seat(3, "bob"), seat(4, "cem")] {
            act(&mut rooms, "r", Action::Join(seat)).unwrap();
        }
        act(&mut rooms, "other", Action::Join(seat(5, "bob"))).unwrap();
        assert_eq!(recipients(&act(&mut rooms, "r", say(1, "hi")).unwrap()), [1, 2, 3, 4]);
        assert_eq!(recipients(&act(&mut rooms, "r", signal(1, "bob")).unwrap()), [2, 3]);
        assert!(act(&mut rooms, "r", signal(1, "nobody")).unwrap().is_empty());
    }

    #[test]
    fn strangers_are_not_heard() {
        let mut rooms = Rooms::default();
        assert!(act(&mut rooms, "r", say(1, "hi")).is_none());
        act(&mut rooms, "r", Action::Join(seat(1, "ann"))).unwrap();
        assert!(act(&mut rooms, "r", say(2, "hi")).is_none());
        assert!(act(&mut rooms, "R", signal(1, "ann")).is_none());
        assert_eq!(act(&mut rooms, "r", Action::Leave(SocketId(2))).unwrap(), []);
    }

    #[test]
    fn an_empty_room_is_forgotten() {
        let mut rooms = Rooms::default();
        act(&mut rooms, "r", Action::Join(seat(1, "ann"))).unwrap();
        assert_eq!(act(&mut rooms, "r", Action::Leave(SocketId(1))).unwrap(), []);
        assert!(rooms.rooms.is_empty());
    }

    const NAMES: [&str; 3] = ["ann", "bob", "cem"];
    const PLACES: [&str; 3] = ["r", "R", "s"];
    /// Sockets 0 … 5 belong to the three users in turn.
    const SOCKETS: u64 = 6;

    fn owner(socket: u64) -> &'static str {
        NAMES[socket as usize % NAMES.len()]
    }

    /// One line of the model: who sits where, in the order of joining.
    type Model = BTreeMap<&'static str, Vec<u64>>;

    fn expected_listing(sockets: &[u64]) -> Vec<String> {
        let mut names = Vec::new();
        for socket in sockets {
            let name = owner(*socket).to_owned();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    proptest! {
        #[test]
        fn rooms_agree_with_a_simple_model(
            steps in prop::collection::vec((0..4u8, 0..SOCKETS, 0..3usize, 0..3usize), 1..200)
        ) {
            let (mut rooms, mut model) = (Rooms::default(), Model::new());
            let mut knows: HashSet<(u64, &str, &str)> = HashSet::new();
            for (what, socket, place, target) in steps {
                let (place, target) = (PLACES[place], NAMES[target]);
                let sitting = model.get(place).is_some_and(|seats| seats.contains(&socket));
                match what {
                    0 => {
                        let done = act(&mut rooms, place, Action::Join(seat(socket, owner(socket))));
                        let seats = model.entry(place).or_default();
                        if !sitting { seats.push(socket); }
                        let done = done.unwrap();
                        prop_assert_eq!(recipients(&done), seats.clone());
                        for (to, text) in &done {
                            prop_assert_eq!(listed(text), expected_listing(seats));
                            knows.extend(seats.iter().map(|s| (*to, place, owner(*s))));
                        }
                    }
                    1 => {
                        let done = act(&mut rooms, place, Action::Leave(SocketId(socket))).unwrap();
                        let seats = model.entry(place).or_default();
                        seats.retain(|other| *other != socket);
                        let told = if sitting { seats.clone() } else { Vec::new() };
                        prop_assert_eq!(recipients(&done), told);
                        for (_, text) in &done {
                            prop_assert_eq!(listed(text), expected_listing(seats));
                        }
                        if seats.is_empty() { model.remove(place); }
                    }
                    2 => {
                        let done = act(&mut rooms, place, say(socket, "x"));
                        let heard = sitting.then(|| model[place].clone());
                        prop_assert_eq!(done.as_ref().map(recipients), heard);
                    }
                    _ => {
                        let done = act(&mut rooms, place, signal(socket, target));
                        let reached = sitting.then(|| {
                            let seats = model[place].iter().copied();
                            seats.filter(|s| owner(*s) == target).collect::<Vec<_>>()
                        });
                        prop_assert_eq!(done.as_ref().map(recipients), reached);
                        for to in done.iter().flat_map(recipients) {
                            prop_assert!(knows.contains(&(to, place, owner(socket))));
                        }
                    }
                }
                let kept: Vec<&str> = rooms.rooms.keys().map(|key| &**key).collect();
                prop_assert_eq!(kept.len(), model.len());
            }
        }
    }
}
