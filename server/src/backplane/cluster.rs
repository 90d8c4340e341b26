//! The cluster as one server sees it, as a value: who lives, what is in which room elsewhere, what
//! must be said again. [`Cluster::handle`] takes an input and the time, and appends what must be
//! done; the carrier may lose, repeat, delay and reorder what it carries.
//!
//! A server that is heard for the first time, or again after a silence, is asked to show that it
//! lives ([`Packet::Hello`]) before anything it says counts, so that old packets can't be played
//! again. From then on every room's entries are numbered; beats name the newest numbers, and who
//! misses something asks for it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use wire::{LeftReason, UserId};

use super::NodeId;
use super::packet::{Asked, Listed, NODES, Packet, ROOMS, RoomKey, Words};
use super::room::{Room, State, Ticket};
use super::seal::Topic;
use crate::auth::User;

/// Between two beats.
pub const BEAT: Duration = Duration::from_secs(2);
/// A server that was not heard for so long is gone, with its members. Together with a tick it is
/// less than the six seconds that the documents promise.
pub const SILENCE: Duration = Duration::from_millis(5_300);
/// How often [`Input::Tick`] must come.
pub const TICK: Duration = Duration::from_millis(100);
/// Between two questions whether somebody lives.
const HELLO_AGAIN: Duration = Duration::from_millis(300);
/// Between two answers to it; whoever asks more often is not answered.
const WELCOME_AGAIN: Duration = Duration::from_millis(100);

/// What happens to a server of a cluster.
#[derive(Debug)]
pub enum Input {
    /// A user's first seat in a room on this server.
    Joined(Arc<str>, RoomKey, Arc<User>),
    /// A user's last seat in a room on this server is gone.
    Left(RoomKey, UserId, LeftReason),
    /// Somebody here said something.
    Said(RoomKey, Words),
    /// Ask a server for a session: its token, and what its client has read.
    Claim(NodeId, u64, String, Option<u64>),
    /// The session that a server asked for, or that there is none.
    Session(NodeId, u64, Option<Vec<u8>>),
    /// A packet came; the number is its sender's.
    Packet(NodeId, u64, Packet),
    /// The broker is there, for the first time or again.
    Connected,
    /// A moment has passed.
    Tick,
    /// This server stops.
    Stop,
}

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Seal and send.
    Publish(Topic, Packet),
    /// A question for one server; the cluster collects them into packets.
    Ask(NodeId, Asked),
    /// Hear what is said about a room.
    Subscribe(RoomKey),
    /// Stop hearing it.
    Unsubscribe(RoomKey),
    /// These are that server's members of the room.
    Members {
        /// Which room.
        room: Arc<str>,
        /// Whose members.
        node: NodeId,
        /// All of them.
        users: Vec<Arc<User>>,
    },
    /// That server has one more.
    Joined {
        /// Which room.
        room: Arc<str>,
        /// Whose member.
        node: NodeId,
        /// Who.
        user: Arc<User>,
    },
    /// That server has one less.
    Left {
        /// Which room.
        room: Arc<str>,
        /// Whose member.
        node: NodeId,
        /// Who.
        user: UserId,
        /// Why.
        why: LeftReason,
    },
    /// Somebody elsewhere said something to the members here, or to one of them.
    Said {
        /// Which room.
        room: Arc<str>,
        /// What.
        words: Words,
    },
    /// Every server that must have a message has it.
    Confirmed {
        /// Which room.
        room: Arc<str>,
        /// Whose message.
        ticket: Ticket,
    },
    /// So many messages will not be confirmed: somebody could not be reached in time.
    GaveUp(usize),
    /// A server is there.
    Met(NodeId),
    /// It is gone, and its members left all rooms.
    Gone(NodeId),
    /// A server asks for a session of ours.
    Surrender(NodeId, u64, String, Option<u64>),
    /// The answer to a claim of ours.
    Session(u64, Option<Vec<u8>>),
}

/// One server among others.
#[derive(Debug)]
pub struct Cluster {
    me: NodeId,
    random: Random,
    peers: HashMap<NodeId, Peer>,
    rooms: HashMap<RoomKey, Room>,
    /// Counts the streams of rooms, so that no two share numbers.
    epoch: u32,
    beat: u64,
    next_beat: Option<Instant>,
    acks: BTreeMap<NodeId, BTreeMap<RoomKey, u64>>,
    asks: BTreeMap<NodeId, Vec<Asked>>,
}

/// Another server.
#[derive(Debug)]
struct Peer {
    /// Whether it has shown that it lives.
    known: bool,
    nonce: u64,
    heard: Instant,
    /// When it last said that it hears us.
    hears_us: Instant,
    hello: Instant,
    welcomed: Option<Instant>,
    /// The number of its welcome; what it sent before does not count.
    since: u64,
    claim: u64,
    beat: Beat,
}

/// A beat, as far as its parts have come.
#[derive(Debug, Default)]
struct Beat {
    number: u64,
    /// The lowest number of its packets.
    sent: u64,
    came: HashSet<u16>,
    rooms: HashSet<RoomKey>,
}

impl Peer {
    fn new(nonce: u64, now: Instant) -> Self {
        Self {
            known: false,
            nonce,
            heard: now,
            hears_us: now,
            hello: now,
            welcomed: None,
            since: 0,
            claim: 0,
            beat: Beat::default(),
        }
    }
}

impl Cluster {
    /// A server that knows nobody yet. `seed` must be random: it makes the questions that old
    /// packets can't answer.
    #[must_use]
    pub fn new(me: NodeId, seed: u64) -> Self {
        Self {
            me,
            random: Random(seed),
            peers: HashMap::new(),
            rooms: HashMap::new(),
            epoch: 0,
            beat: 0,
            next_beat: None,
            acks: BTreeMap::new(),
            asks: BTreeMap::new(),
        }
    }

    /// The servers that live, as far as this one knows.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.peers.iter().filter(|(_, peer)| peer.known).map(|(node, _)| *node)
    }

    /// Whether nobody has to confirm anything any more.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.rooms.values().all(|room| !room.waits())
    }

    /// Takes one thing in and appends what follows from it.
    pub fn handle(&mut self, input: Input, now: Instant, out: &mut Vec<Output>) {
        let before = out.len();
        match input {
            Input::Joined(id, key, user) => self.join(id, key, user, out),
            Input::Left(key, user, why) => {
                self.in_room(key, |room| room.leave(&user, why, now, out));
                self.tidy(key, now);
            }
            Input::Said(key, words) => self.in_room(key, |room| match &words.to {
                Some(to) => room.tell(&to.clone(), words, out),
                None if words.is_fleeting() => room.say_fleeting(words, out),
                None => room.say(words, now, out),
            }),
            Input::Claim(node, nonce, ..)
                if !self.peers.get(&node).is_some_and(|peer| peer.known) =>
            {
                out.push(Output::Session(nonce, None));
            }
            Input::Claim(node, nonce, token, received) => {
                let packet = Packet::Claim { nonce, token, received };
                out.push(Output::Publish(Topic::Node(node), packet));
            }
            Input::Session(node, nonce, session) => {
                let packet = Packet::Session { nonce, session };
                out.push(Output::Publish(Topic::Node(node), packet));
            }
            Input::Packet(from, number, packet) => self.packet(from, number, packet, now, out),
            Input::Connected => self.connected(now, out),
            Input::Tick => self.tick(now, out),
            Input::Stop => out.push(Output::Publish(Topic::All, Packet::Bye)),
        }
        self.collect_asks(before, out);
    }

    /// Sends what was collected: acknowledgements and questions. Called after each burst.
    pub fn flush(&mut self, out: &mut Vec<Output>) {
        for (node, rooms) in std::mem::take(&mut self.acks) {
            let rooms: Vec<_> = rooms.into_iter().collect();
            for rooms in rooms.chunks(ROOMS) {
                out.push(Output::Publish(Topic::Node(node), Packet::Ack(rooms.to_vec())));
            }
        }
        for (node, asked) in std::mem::take(&mut self.asks) {
            for asked in asked.chunks(ROOMS) {
                out.push(Output::Publish(Topic::Node(node), Packet::Ask(asked.to_vec())));
            }
        }
    }

    fn join(&mut self, id: Arc<str>, key: RoomKey, user: Arc<User>, out: &mut Vec<Output>) {
        let nonce = self.random.next();
        let nodes = self.peers.iter().filter(|(_, peer)| peer.known).map(|(node, _)| *node);
        let epoch = &mut self.epoch;
        let room = self.rooms.entry(key).or_insert_with(|| {
            *epoch += 1;
            Room::new(key, id, u64::from(*epoch) << 32)
        });
        room.join(user, nonce, nodes, out);
    }

    fn in_room(&mut self, key: RoomKey, act: impl FnOnce(&mut Room)) {
        if let Some(room) = self.rooms.get_mut(&key) {
            act(room);
        }
    }

    fn tidy(&mut self, key: RoomKey, now: Instant) {
        if self.rooms.get(&key).is_some_and(|room| room.is_over(now)) {
            self.rooms.remove(&key);
        }
    }

    /// Questions leave the rooms one by one and the server in packets.
    fn collect_asks(&mut self, from: usize, out: &mut Vec<Output>) {
        let asks = &mut self.asks;
        let mut index = 0;
        out.retain(|output| {
            index += 1;
            match output {
                Output::Ask(node, asked) if index > from => {
                    asks.entry(*node).or_default().push(*asked);
                    false
                }
                _ => true,
            }
        });
    }

    fn packet(
        &mut self,
        from: NodeId,
        number: u64,
        packet: Packet,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        if from == self.me || (!self.peers.contains_key(&from) && self.peers.len() >= NODES) {
            return;
        }
        let nonce = self.random.next();
        let mut is_new = false;
        let peer = self.peers.entry(from).or_insert_with(|| {
            is_new = true;
            Peer::new(nonce, now)
        });
        if is_new {
            out.push(Output::Publish(Topic::Node(from), Packet::Hello { nonce }));
        }
        match packet {
            Packet::Hello { nonce } => {
                if peer.welcomed.is_none_or(|welcomed| now >= welcomed + WELCOME_AGAIN) {
                    peer.welcomed = Some(now);
                    out.push(Output::Publish(Topic::Node(from), Packet::Welcome { nonce }));
                    self.tell_beat(Topic::Node(from), out);
                }
                if let Some(peer) = self.peers.get_mut(&from).filter(|peer| !peer.known) {
                    peer.heard = now;
                }
            }
            Packet::Welcome { nonce } if nonce == peer.nonce && !peer.known => {
                peer.known = true;
                (peer.heard, peer.hears_us, peer.since) = (now, now, number);
                out.push(Output::Met(from));
            }
            _ if !peer.known => peer.heard = now,
            _ if number <= peer.since => {}
            packet => {
                peer.heard = now;
                self.known_packet(from, number, packet, now, out);
            }
        }
    }

    /// A packet of a server that has shown that it lives.
    fn known_packet(
        &mut self,
        from: NodeId,
        number: u64,
        packet: Packet,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        match packet {
            Packet::Hello { .. } | Packet::Welcome { .. } => {}
            Packet::Bye => self.lose(from, out),
            Packet::Beat { number: beat, part, parts, hears, rooms } => {
                self.beat_came(from, number, (beat, part, parts), &hears, rooms, now, out);
            }
            Packet::Open(asked) => {
                self.in_room(asked.room, |room| room.opened(from, asked, number, out));
            }
            Packet::Ask(asked) => {
                for asked in asked {
                    self.in_room(asked.room, |room| room.answer(from, asked, number, out));
                }
            }
            Packet::State { room, nonce, version, part, parts, members } => {
                let state = State { nonce, version, part, parts, members };
                let room_state = self.rooms.get_mut(&room);
                let taken = room_state.and_then(|room| room.state(from, state, number, now, out));
                self.acknowledge(from, room, taken);
            }
            Packet::Entry { room, version, previous, except, entry } => {
                let excepted = except.iter().find(|(node, _)| *node == self.me);
                let previous = excepted.map_or(previous, |(_, previous)| *previous);
                let at = (version, previous);
                let taken = self
                    .rooms
                    .get_mut(&room)
                    .and_then(|room| room.entry(from, at, entry, number, now, out));
                self.acknowledge(from, room, taken);
            }
            Packet::Fleeting { room, words } => self.in_room(room, |room| {
                room.heard_fleeting(from, words, out);
            }),
            Packet::Ack(rooms) => {
                for (key, version) in rooms {
                    self.in_room(key, |room| room.acknowledged(from, version, out));
                    self.tidy(key, now);
                }
            }
            Packet::Claim { nonce, token, received } => {
                // Numbers go up, so that an old claim takes no session away.
                if let Some(peer) = self.peers.get_mut(&from).filter(|peer| nonce > peer.claim) {
                    peer.claim = nonce;
                    out.push(Output::Surrender(from, nonce, token, received));
                }
            }
            Packet::Session { nonce, session } => out.push(Output::Session(nonce, session)),
        }
    }

    fn acknowledge(&mut self, to: NodeId, room: RoomKey, taken: Option<u64>) {
        if let Some(taken) = taken {
            self.acks.entry(to).or_default().insert(room, taken);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one packet")]
    fn beat_came(
        &mut self,
        from: NodeId,
        number: u64,
        (beat, part, parts): (u64, u16, u16),
        hears: &[NodeId],
        rooms: Vec<Listed>,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if beat < peer.beat.number {
            return;
        }
        if hears.contains(&self.me) {
            peer.hears_us = now;
        }
        if beat > peer.beat.number {
            peer.beat = Beat { number: beat, sent: number, ..Beat::default() };
        }
        peer.beat.sent = peer.beat.sent.min(number);
        peer.beat.came.insert(part);
        peer.beat.rooms.extend(rooms.iter().map(|listed| listed.room));
        let complete = peer.beat.came.len() >= usize::from(parts);
        let (sent, listed) =
            (peer.beat.sent, complete.then(|| std::mem::take(&mut peer.beat.rooms)));
        for Listed { room: key, version, waits } in rooms {
            let Some(room) = self.rooms.get_mut(&key) else { continue };
            let taken = room.listed(from, version, now, out);
            // An acknowledgement may have been lost.
            self.acknowledge(from, key, taken.filter(|_| waits));
        }
        let Some(listed) = listed else { return };
        for (_, room) in self.rooms.iter_mut().filter(|(key, _)| !listed.contains(key)) {
            room.unlisted(from, sent, out);
        }
    }

    fn connected(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.tell_beat(Topic::All, out);
        self.next_beat = Some(now + BEAT);
        for (node, peer) in &mut self.peers {
            // The answer brings a beat, and that what was missed.
            peer.hello = now;
            out.push(Output::Publish(Topic::Node(*node), Packet::Hello { nonce: peer.nonce }));
        }
    }

    fn tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.next_beat.is_none_or(|due| now >= due) {
            self.next_beat = Some(now + BEAT);
            self.tell_beat(Topic::All, out);
        }
        let silent = |peer: &Peer| {
            now >= peer.heard + SILENCE || (peer.known && now >= peer.hears_us + SILENCE)
        };
        let gone: Vec<_> =
            self.peers.iter().filter(|(_, peer)| silent(peer)).map(|(node, _)| *node).collect();
        for node in gone {
            self.lose(node, out);
        }
        for (node, peer) in self.peers.iter_mut().filter(|(_, peer)| !peer.known) {
            if now >= peer.hello + HELLO_AGAIN {
                peer.hello = now;
                out.push(Output::Publish(Topic::Node(*node), Packet::Hello { nonce: peer.nonce }));
            }
        }
        for room in self.rooms.values_mut().filter(|room| room.is_busy()) {
            room.tick(now, out);
        }
        self.rooms.retain(|_, room| !room.is_over(now));
    }

    fn lose(&mut self, node: NodeId, out: &mut Vec<Output>) {
        let known = self.peers.remove(&node).is_some_and(|peer| peer.known);
        self.acks.remove(&node);
        self.asks.remove(&node);
        if known {
            out.push(Output::Gone(node));
            for room in self.rooms.values_mut() {
                room.gone(node, out);
            }
        }
    }

    fn tell_beat(&mut self, to: Topic, out: &mut Vec<Output>) {
        self.beat += 1;
        let listed = |(key, room): (&RoomKey, &Room)| Listed {
            room: *key,
            version: room.version(),
            waits: room.waits(),
        };
        let rooms: Vec<_> = self.rooms.iter().map(listed).collect();
        let chunks: Vec<_> = rooms.chunks(ROOMS).collect();
        let count = chunks.len().max(1);
        let parts = u16::try_from(count).unwrap_or(u16::MAX);
        for part in 0..parts {
            let hears = if part == 0 { self.peers.keys().copied().collect() } else { Vec::new() };
            let rooms = chunks.get(usize::from(part)).map(|chunk| chunk.to_vec());
            let rooms = rooms.unwrap_or_default();
            let packet = Packet::Beat { number: self.beat, part, parts, hears, rooms };
            out.push(Output::Publish(to, packet));
        }
    }
}

/// Numbers for questions. Their only use is that nobody knows them before they are asked; the
/// seed comes from the system, and packets are sealed.
#[derive(Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    /// SplitMix64 (Steele, Lea, Flood 2014).
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
