//! One room as this server shares it: its own members as a numbered stream of entries, who reads
//! that stream, and the streams of the other servers that have members there.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;
use wire::{LeftReason, UserId, limits};

use super::NodeId;
use super::cluster::Output;
use super::packet::{Asked, Entry, MEMBERS, PARTS, Packet, RoomKey, Words};
use super::seal::Topic;
use super::stream::{Inbound, Outbound};
use crate::auth::User;

/// Bytes of entries that a room keeps until all readers have them; beyond that the oldest are
/// forgotten, their senders get no acknowledgement, and readers get the members anew.
const KEPT_BYTES: usize = 1024 * 1024;
/// Entries that one answer repeats at most; the reader asks again for the rest.
const REPEATED: usize = 256;
/// How long an acknowledgement is waited for before it is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a room without members is kept for readers who miss its last words.
const LINGER: Duration = Duration::from_secs(10);
/// Between two questions about the same stream.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// A message that its sender wants acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The sender.
    pub user: UserId,
    /// The sender's id of the message.
    pub id: Uuid,
}

#[derive(Debug)]
pub(super) struct Room {
    key: RoomKey,
    id: Arc<str>,
    /// In every question of ours; an answer without it is an old one.
    nonce: u64,
    members: HashMap<UserId, Arc<User>>,
    stream: Outbound<Kept>,
    /// The last entry that went to all.
    last_to_all: u64,
    /// The last one since then that went to one server only.
    last_to: HashMap<NodeId, u64>,
    readers: HashMap<NodeId, Reader>,
    remotes: HashMap<NodeId, Remote>,
    /// How far the stream of a server was that has nobody here now.
    former: HashMap<NodeId, u64>,
    parts: HashMap<NodeId, Parts>,
    asked: HashMap<NodeId, Instant>,
    /// Own messages that somebody has not confirmed, by their numbers.
    tickets: VecDeque<(u64, Ticket, Instant)>,
    /// Since when nobody is here.
    empty_since: Option<Instant>,
    /// Until when somebody who lost the connection may come back and want what was said.
    missed_until: Option<Instant>,
    is_open: bool,
}

/// An entry of our own, and for whom it is.
#[derive(Debug)]
struct Kept {
    entry: Entry,
    /// The servers of the user that it is for; `None` is for all.
    only: Option<Vec<NodeId>>,
}

impl Kept {
    fn concerns(&self, node: NodeId) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&node))
    }
}

/// A server that must have everything we say here.
#[derive(Debug)]
struct Reader {
    /// The last entry that it said it has.
    acked: u64,
    /// The last entry that it has or that does not concern it.
    settled: u64,
    /// The number of the packet that made it one.
    touched: u64,
    /// Whether it has members here, who must get everything; otherwise it only listens for some
    /// who may come back.
    counts: bool,
}

/// Another server's members and how far we know its stream.
#[derive(Debug)]
struct Remote {
    stream: Inbound<Entry>,
    members: HashMap<UserId, Arc<User>>,
    /// The number of the newest packet that concerned it.
    touched: u64,
}

/// The members of another server, as far as they have come.
#[derive(Debug)]
struct Parts {
    version: u64,
    parts: u16,
    came: BTreeMap<u16, Vec<Arc<User>>>,
}

/// Members of another server, as a packet brings them.
#[derive(Debug)]
pub(super) struct State {
    pub(super) nonce: u64,
    pub(super) version: u64,
    pub(super) part: u16,
    pub(super) parts: u16,
    pub(super) members: Vec<Arc<User>>,
}

impl Reader {
    fn new(has: u64, touched: u64) -> Self {
        Self { acked: has, settled: has, touched, counts: true }
    }
}

impl Room {
    /// A room whose stream starts at `start`, a number that no stream of ours had before.
    pub(super) fn new(key: RoomKey, id: Arc<str>, start: u64) -> Self {
        Self {
            key,
            id,
            nonce: 0,
            members: HashMap::new(),
            stream: Outbound::new(start, KEPT_BYTES),
            last_to_all: start,
            last_to: HashMap::new(),
            readers: HashMap::new(),
            remotes: HashMap::new(),
            former: HashMap::new(),
            parts: HashMap::new(),
            asked: HashMap::new(),
            tickets: VecDeque::new(),
            empty_since: None,
            missed_until: None,
            is_open: false,
        }
    }

    pub(super) fn version(&self) -> u64 {
        self.stream.last()
    }

    /// Whether somebody has to confirm something.
    pub(super) fn waits(&self) -> bool {
        !self.stream.is_settled()
    }

    /// Whether anybody of this server is here, or may be back soon; otherwise the room only waits
    /// for its readers.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether nobody needs it any more.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let lingered = self.empty_since.is_some_and(|since| now >= since + LINGER);
        !self.is_open() && (self.stream.is_settled() || lingered)
    }

    /// A user's first seat on this server. `nonce` is fresh, `nodes` are the servers we know.
    pub(super) fn join(
        &mut self,
        user: Arc<User>,
        nonce: u64,
        nodes: impl Iterator<Item = NodeId>,
        out: &mut Vec<Output>,
    ) {
        let opens = !self.is_open;
        if opens {
            (self.is_open, self.nonce) = (true, nonce);
            self.asked.clear();
            out.push(Output::Subscribe(self.key));
            let asked = Asked { room: self.key, nonce, after: None };
            out.push(Output::Publish(Topic::Room(self.key), Packet::Open(asked)));
        }
        if self.members.is_empty() {
            // Whatever the relay was told of a room of this name that has ended meanwhile is void.
            for node in nodes {
                let remote = self.remotes.get(&node);
                let users = remote.into_iter().flat_map(|remote| remote.members.values().cloned());
                let users = users.collect();
                out.push(Output::Members { room: self.id.clone(), node, users });
            }
        }
        self.empty_since = None;
        self.members.insert(user.id.clone(), user.clone());
        self.append(Entry::Joined(user), opens, out);
    }

    /// A user's last seat on this server is gone, or its connection is lost for a while.
    pub(super) fn leave(
        &mut self,
        user: &UserId,
        why: LeftReason,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        if self.members.remove(user).is_none() {
            return;
        }
        self.append(Entry::Left(user.clone(), why), false, out);
        if why == LeftReason::Lost {
            self.missed_until = Some(now + limits::RESUME_WITHIN);
        }
        if self.members.is_empty() {
            self.empty_since = Some(now);
            self.close_in_time(now, out);
        }
    }

    fn close_in_time(&mut self, now: Instant, out: &mut Vec<Output>) {
        let is_wanted = self.missed_until.is_some_and(|until| now < until);
        if self.is_open && self.members.is_empty() && !is_wanted {
            self.is_open = false;
            self.remotes.clear();
            self.former.clear();
            self.parts.clear();
            out.push(Output::Unsubscribe(self.key));
        }
    }

    /// Something for all.
    pub(super) fn say(&mut self, words: Words, now: Instant, out: &mut Vec<Output>) {
        let ticket = words.id.map(|id| Ticket { user: words.from.clone(), id });
        let number = self.append(Entry::Said(words), false, out);
        if let Some(ticket) = ticket {
            self.tickets.push_back((number, ticket, now + PATIENCE));
            self.settle(out);
        }
    }

    /// Something that may be lost.
    pub(super) fn say_fleeting(&self, words: Words, out: &mut Vec<Output>) {
        if !self.readers.is_empty() {
            let packet = Packet::Fleeting { room: self.key, words };
            out.push(Output::Publish(Topic::Room(self.key), packet));
        }
    }

    /// Something for one user, wherever that user is.
    pub(super) fn tell(&mut self, to: &UserId, words: Words, out: &mut Vec<Output>) {
        let remotes = self.remotes.iter().filter(|(_, remote)| remote.members.contains_key(to));
        let nodes: Vec<_> = remotes.map(|(node, _)| *node).collect();
        if nodes.is_empty() {
            return;
        }
        let entry = Entry::Said(words);
        let kept = Kept { entry: entry.clone(), only: Some(nodes.clone()) };
        let version = self.keep(kept, out);
        for node in nodes {
            let before = self.last_to.insert(node, version);
            let previous = before.unwrap_or(self.last_to_all);
            let (entry, except) = (entry.clone(), Vec::new());
            let packet = Packet::Entry { room: self.key, version, previous, except, entry };
            out.push(Output::Publish(Topic::Node(node), packet));
        }
        // Those whom it does not concern have it by not needing it.
        self.pass_over();
        self.settle(out);
    }

    fn append(&mut self, entry: Entry, first: bool, out: &mut Vec<Output>) -> u64 {
        let version = self.keep(Kept { entry: entry.clone(), only: None }, out);
        let previous = std::mem::replace(&mut self.last_to_all, version);
        let except = self.last_to.drain().collect();
        if !self.readers.values().any(|reader| reader.counts) {
            self.stream.settle(version);
        }
        if first || !self.readers.is_empty() {
            let packet = Packet::Entry { room: self.key, version, previous, except, entry };
            out.push(Output::Publish(Topic::Room(self.key), packet));
        }
        version
    }

    fn keep(&mut self, kept: Kept, out: &mut Vec<Output>) -> u64 {
        let bytes = kept.entry.bytes();
        let version = self.stream.push(kept, bytes);
        let base = self.stream.base();
        // What was forgotten before all had it is never acknowledged.
        if self.readers.values().any(|reader| reader.counts && reader.settled < base) {
            let before = self.tickets.len();
            self.tickets.retain(|(number, ..)| *number > base);
            let lost = before - self.tickets.len();
            out.extend((lost > 0).then_some(Output::GaveUp(lost)));
        }
        version
    }

    /// Moves readers over the entries that concern others only.
    fn pass_over(&mut self) {
        for (node, reader) in &mut self.readers {
            let Some(entries) = self.stream.after(reader.settled) else { continue };
            let passed = entries.take_while(|(_, kept)| !kept.concerns(*node)).last();
            reader.settled = passed.map_or(reader.settled, |(number, _)| number);
        }
    }

    /// Forgets what all readers have, and acknowledges what they have.
    fn settle(&mut self, out: &mut Vec<Output>) {
        let readers = self.readers.values().filter(|reader| reader.counts);
        let settled = readers.map(|reader| reader.settled).min();
        let settled = settled.unwrap_or(self.stream.last());
        self.stream.settle(settled);
        while self.tickets.front().is_some_and(|(number, ..)| *number <= settled) {
            if let Some((_, ticket, _)) = self.tickets.pop_front() {
                out.push(Output::Confirmed { room: self.id.clone(), ticket });
            }
        }
    }

    /// A server has a first member here, or missed our answer when it had.
    pub(super) fn opened(
        &mut self,
        node: NodeId,
        asked: Asked,
        number: u64,
        out: &mut Vec<Output>,
    ) {
        if !self.is_open() {
            return;
        }
        // What was said before is not meant for members who come now.
        self.readers.insert(node, Reader::new(self.stream.last(), number));
        self.settle(out);
        self.tell_members(node, asked.nonce, out);
    }

    /// A server asks for what it missed.
    pub(super) fn answer(
        &mut self,
        node: NodeId,
        asked: Asked,
        number: u64,
        out: &mut Vec<Output>,
    ) {
        if !self.is_open() && !self.readers.contains_key(&node) {
            return;
        }
        let last = self.stream.last();
        let reader = self.readers.entry(node).or_insert(Reader::new(last, number));
        reader.touched = reader.touched.max(number);
        let (acked, settled) = (reader.acked, reader.settled);
        if let Some(after) = asked.after {
            // Between the two is only what concerns others.
            let has = if after >= acked { after.max(settled) } else { after };
            if self.stream.after(has).is_some() {
                self.repeat(node, after, has, out);
                return;
            }
        }
        self.tell_members(node, asked.nonce, out);
        let version = settled.max(self.stream.base());
        self.repeat(node, version, version, out);
    }

    fn tell_members(&self, node: NodeId, nonce: u64, out: &mut Vec<Output>) {
        let settled = self.readers.get(&node).map_or(self.stream.last(), |reader| reader.settled);
        let version = settled.max(self.stream.base());
        let members: Vec<_> = self.members.values().cloned().collect();
        let chunks: Vec<_> = members.chunks(MEMBERS).collect();
        let parts = u16::try_from(chunks.len().max(1)).unwrap_or(PARTS).min(PARTS);
        for part in 0..parts {
            let members = chunks.get(usize::from(part)).map(|chunk| chunk.to_vec());
            let members = members.unwrap_or_default();
            let packet = Packet::State { room: self.key, nonce, version, part, parts, members };
            out.push(Output::Publish(Topic::Node(node), packet));
        }
    }

    /// Says everything after `after` again; the reader itself has `previous`.
    fn repeat(&self, node: NodeId, mut previous: u64, after: u64, out: &mut Vec<Output>) {
        let Some(entries) = self.stream.after(after) else { return };
        let mut repeat = |version, previous, entry| {
            let (room, except) = (self.key, Vec::new());
            let packet = Packet::Entry { room, version, previous, except, entry };
            out.push(Output::Publish(Topic::Node(node), packet));
        };
        let mut repeated = 0;
        for (version, kept) in entries.filter(|(_, kept)| kept.concerns(node)).take(REPEATED) {
            repeat(version, previous, kept.entry.clone());
            (previous, repeated) = (version, repeated + 1);
        }
        if repeated < REPEATED && previous < self.stream.last() {
            repeat(self.stream.last(), previous, Entry::Nothing);
        }
    }

    /// A reader has everything up to `version`.
    pub(super) fn acknowledged(&mut self, node: NodeId, version: u64, out: &mut Vec<Output>) {
        let last = self.stream.last();
        if let Some(reader) = self.readers.get_mut(&node)
            && version <= last
        {
            reader.acked = reader.acked.max(version);
            reader.settled = reader.settled.max(version);
            self.pass_over();
            self.settle(out);
        }
    }

    /// One entry of another server's stream. Returns how far we have it now, if we follow it.
    pub(super) fn entry(
        &mut self,
        node: NodeId,
        (version, previous): (u64, u64),
        entry: Entry,
        number: u64,
        now: Instant,
        out: &mut Vec<Output>,
    ) -> Option<u64> {
        if !self.is_open() {
            return None;
        }
        if !self.remotes.contains_key(&node) {
            // Before the first entry of a stream there is nothing to know.
            let is_first = version & u64::from(u32::MAX) == 1 && !self.former.contains_key(&node);
            if !is_first {
                self.ask(node, now, out);
                return None;
            }
            let stream = Inbound::new(version - 1);
            let remote = Remote { stream, members: HashMap::new(), touched: number };
            self.remotes.insert(node, remote);
        }
        let remote = self.remotes.get_mut(&node)?;
        remote.touched = remote.touched.max(number);
        remote.stream.put(version, previous, entry);
        self.follow(node, number, now, out)
    }

    /// The members of another server. Returns how far we have its stream now, if we follow it.
    pub(super) fn state(
        &mut self,
        node: NodeId,
        state: State,
        number: u64,
        now: Instant,
        out: &mut Vec<Output>,
    ) -> Option<u64> {
        if !self.is_open() || state.nonce != self.nonce {
            return None;
        }
        let known = self.remotes.get(&node).map(|remote| remote.stream.taken());
        if known.is_some_and(|taken| state.version <= taken) {
            return known;
        }
        let (version, expected) = (state.version, state.parts);
        let fresh = || Parts { version, parts: expected, came: BTreeMap::new() };
        let parts = self.parts.entry(node).or_insert_with(fresh);
        if (parts.version, parts.parts) != (version, expected) {
            *parts = fresh();
        }
        parts.came.insert(state.part, state.members);
        if parts.came.len() < usize::from(expected) {
            return None;
        }
        let parts = self.parts.remove(&node)?;
        let users: Vec<_> = parts.came.into_values().flatten().collect();
        let members: HashMap<_, _> =
            users.iter().map(|user| (user.id.clone(), user.clone())).collect();
        out.push(Output::Members { room: self.id.clone(), node, users });

        // What was taken before it went away is not taken again.
        let former = self.former.remove(&node).unwrap_or(0);
        let remote = self.remotes.entry(node).or_insert_with(|| Remote {
            stream: Inbound::new(version.max(former)),
            members: HashMap::new(),
            touched: number,
        });
        remote.stream.skip_to(version);
        remote.touched = remote.touched.max(number);
        remote.members = members;
        self.asked.remove(&node);
        self.follow(node, number, now, out)
    }

    /// Takes what is in order from a stream and asks for what is missing.
    fn follow(
        &mut self,
        node: NodeId,
        number: u64,
        now: Instant,
        out: &mut Vec<Output>,
    ) -> Option<u64> {
        let remote = self.remotes.get_mut(&node)?;
        let room = &self.id;
        while let Some(entry) = remote.stream.take() {
            match entry {
                Entry::Nothing => {}
                Entry::Joined(user) => {
                    remote.members.insert(user.id.clone(), user.clone());
                    out.push(Output::Joined { room: room.clone(), node, user });
                }
                Entry::Left(user, why) => {
                    remote.members.remove(&user);
                    out.push(Output::Left { room: room.clone(), node, user, why });
                }
                Entry::Said(words) => out.push(Output::Said { room: room.clone(), words }),
            }
        }
        let (taken, has_gap) = (remote.stream.taken(), remote.stream.has_gap());
        let (counts, last) = (!remote.members.is_empty(), self.stream.last());
        match self.readers.get_mut(&node) {
            Some(reader) if reader.counts == counts => {}
            Some(reader) => {
                // For members who come now, what was said before does not count.
                *reader = Reader { counts, ..Reader::new(last, reader.touched) };
                self.settle(out);
            }
            None => {
                self.readers.insert(node, Reader { counts, ..Reader::new(last, number) });
            }
        }
        if has_gap {
            self.ask(node, now, out);
        }
        Some(taken)
    }

    /// Something that may be lost, from a server whose members we know.
    pub(super) fn heard_fleeting(&self, from: NodeId, words: Words, out: &mut Vec<Output>) {
        if self.is_open() && self.remotes.contains_key(&from) {
            out.push(Output::Said { room: self.id.clone(), words });
        }
    }

    /// A beat says how far another server's stream is. Returns how far we have it.
    pub(super) fn listed(
        &mut self,
        node: NodeId,
        version: u64,
        now: Instant,
        out: &mut Vec<Output>,
    ) -> Option<u64> {
        if !self.is_open() {
            return None;
        }
        let taken = self.remotes.get(&node).map(|remote| remote.stream.taken());
        if taken.is_none_or(|taken| taken < version) {
            self.ask(node, now, out);
        }
        taken
    }

    /// A complete beat that was sent before packet `number` does not list this room.
    pub(super) fn unlisted(&mut self, node: NodeId, number: u64, out: &mut Vec<Output>) {
        if self.remotes.get(&node).is_some_and(|remote| remote.touched < number) {
            self.forget(node);
            out.push(Output::Members { room: self.id.clone(), node, users: Vec::new() });
        }
        if self.readers.get(&node).is_some_and(|reader| reader.touched < number) {
            self.readers.remove(&node);
            self.settle(out);
        }
    }

    /// A server is gone; the rooms above are told once for all rooms.
    pub(super) fn gone(&mut self, node: NodeId, out: &mut Vec<Output>) {
        self.forget(node);
        if self.readers.remove(&node).is_some() {
            self.settle(out);
        }
    }

    fn forget(&mut self, node: NodeId) {
        if let Some(remote) = self.remotes.remove(&node) {
            self.former.insert(node, remote.stream.taken());
        }
        self.parts.remove(&node);
        self.asked.remove(&node);
    }

    /// What is due by the clock.
    pub(super) fn tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.close_in_time(now, out);
        let late = self.tickets.iter().take_while(|(_, _, until)| now >= *until).count();
        if late > 0 {
            self.tickets.drain(..late);
            out.push(Output::GaveUp(late));
        }
    }

    /// Whether [`Room::tick`] has anything to do.
    pub(super) fn is_busy(&self) -> bool {
        !self.tickets.is_empty() || self.members.is_empty()
    }

    fn ask(&mut self, node: NodeId, now: Instant, out: &mut Vec<Output>) {
        if self.asked.get(&node).is_some_and(|asked| now < *asked + ASK_AGAIN) {
            return;
        }
        self.asked.insert(node, now);
        let after = self.remotes.get(&node).map(|remote| remote.stream.taken());
        out.push(Output::Ask(node, Asked { room: self.key, nonce: self.nonce, after }));
    }
}
