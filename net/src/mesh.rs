//! Who is in the call, and how the connection to each of them is negotiated. No sockets, no
//! clock, no WebRTC: inputs come in with the time, outputs go out.
//!
//! The rules are those of `PROTOCOL.md`, "Mesh": the lower id is impolite, offers at once and
//! creates the data channel; the higher id is polite and waits for the first offer. One peer's
//! signals are handled strictly one after another.

mod peer;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use wire::{ClientMessage, Member, UserId, limits};

use crate::event::PeerState;
use peer::Peer;

/// After the server was away, members that have not found back yet are not taken for gone: their
/// connections carry on without it.
pub(crate) const RECOVERY: Duration = Duration::from_secs(30);
/// Members that a roster may list; more are cut off. A snapshot of 64 KiB holds fewer.
const ROSTER_MEMBERS: usize = 2_000;

/// A step of negotiation, carried out by the peer's connection. Each but `Candidate` ends in
/// [`Input::Done`], and the next begins only then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    /// Make an offer and apply it; result: its SDP.
    Offer {
        /// First take back the one before, which nobody answered.
        rollback: bool,
        /// Look for new paths.
        restart: bool,
    },
    /// Apply a peer's offer, make the answer and apply it; result: its SDP.
    AcceptOffer {
        /// From the peer.
        sdp: String,
        /// First take back our own offer.
        rollback: bool,
    },
    /// Apply a peer's answer; no SDP results.
    AcceptAnswer {
        /// From the peer.
        sdp: String,
    },
    /// Add a peer's candidate, the JSON text. Never reported back.
    Candidate(String),
}

/// How a step of negotiation went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described {
    /// To be sent; empty where there is nothing to send.
    pub(crate) sdp: String,
    /// Something of ours is not negotiated yet and needs an offer.
    pub(crate) incomplete: bool,
}

/// How a connection stands, as the connection itself says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// Not yet.
    Connecting,
    /// Up.
    Connected,
    /// Nothing was heard for some seconds.
    Disconnected,
    /// No path works.
    Failed,
    /// The connection broke down and is of no use any more.
    Gone,
}

/// What the mesh is told.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    /// Everybody in the room, in the server's order.
    Roster(Vec<Member>),
    /// A member's way to the server is broken, as the server says; the next roster lacks it.
    Lost(UserId),
    /// A peer's offer.
    Offer { from: UserId, sdp: String },
    /// A peer's answer.
    Answer { from: UserId, sdp: String },
    /// A peer's candidate.
    Candidate { from: UserId, candidate: String },
    /// A step that was asked for has ended; `Err` when what the peer sent makes no sense.
    Done { peer: UserId, generation: u64, result: Result<Described, ()> },
    /// Our own candidate for a peer.
    LocalCandidate { peer: UserId, generation: u64, candidate: String },
    /// A connection changed.
    Link { peer: UserId, generation: u64, link: Link },
    /// A connection got something new that has to be negotiated.
    Changed { peer: UserId, generation: u64 },
    /// The offer to be accepted begins a new connection: the peer gave the old one up.
    Replaced { peer: UserId, generation: u64, sdp: String },
    /// The server is there, or is not.
    Online(bool),
    /// Time has passed.
    Tick,
}

/// What the mesh wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    /// Create a connection.
    Open { peer: UserId, generation: u64, creates_channel: bool },
    /// Carry out a step.
    Run { peer: UserId, generation: u64, op: Op },
    /// Close a connection for good.
    Close { peer: UserId, generation: u64 },
    /// Tell the server.
    Send(ClientMessage),
    /// Tell the user.
    State { peer: UserId, state: PeerState },
    /// Tell the user that so many members are left out, because the call is full.
    Full { left_out: usize },
}

/// Everybody in the call.
#[derive(Debug)]
pub(crate) struct Mesh {
    own: UserId,
    roster: Vec<Member>,
    peers: BTreeMap<UserId, Peer>,
    online: bool,
    recovering_until: Option<Instant>,
    next_generation: u64,
    left_out: usize,
    /// Signals of strangers and rubbish.
    bad_signals: u64,
}

impl Mesh {
    pub(crate) fn new(own: UserId) -> Self {
        Self {
            own,
            roster: Vec::new(),
            peers: BTreeMap::new(),
            online: true,
            recovering_until: None,
            next_generation: 1,
            left_out: 0,
            bad_signals: 0,
        }
    }

    /// Closes everything and begins anew under another id.
    pub(crate) fn rename(&mut self, own: UserId, out: &mut Vec<Output>) {
        for (id, peer) in std::mem::take(&mut self.peers) {
            peer.close(&id, out);
        }
        let next_generation = self.next_generation;
        *self = Self { next_generation, bad_signals: self.bad_signals, ..Self::new(own) };
    }

    /// The name of a member; empty when unknown.
    pub(crate) fn name_of(&self, id: &UserId) -> &str {
        self.roster.iter().find(|member| member.id == *id).map_or("", |member| &member.username)
    }

    /// Everybody in the room, without duplicates.
    pub(crate) fn roster(&self) -> &[Member] {
        &self.roster
    }

    /// Signals that made no sense, and of one peer those.
    pub(crate) fn bad_signals(&self, id: Option<&UserId>) -> u64 {
        match id {
            Some(id) => self.peers.get(id).map_or(0, Peer::bad_signals),
            None => self.bad_signals,
        }
    }

    /// How the connection to a peer stands.
    pub(crate) fn state(&self, id: &UserId) -> PeerState {
        self.peers.get(id).map_or(PeerState::Closed, Peer::state)
    }

    /// When [`Input::Tick`] is due, at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let due = |peer: &Peer| peer.deadline(self.online, self.recovering_until);
        self.peers.values().filter_map(due).min()
    }

    /// Takes one input; appends to `out` what is to be done, in this order.
    pub(crate) fn handle(&mut self, input: Input, now: Instant, out: &mut Vec<Output>) {
        match input {
            Input::Roster(members) => self.roster_changed(members, now, out),
            Input::Lost(id) => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.set_lost();
                }
            }
            Input::Offer { from, sdp } => self.signal(&from, now, out, |peer| peer.on_offer(sdp)),
            Input::Answer { from, sdp } => self.signal(&from, now, out, |peer| peer.on_answer(sdp)),
            Input::Candidate { from, candidate } => {
                let Some(peer) = self.peers.get_mut(&from) else { return self.stranger() };
                peer.on_candidate(&from, candidate, out);
            }
            Input::Done { peer: id, generation, result } => {
                self.of(&id, generation, now, out, |peer, out| peer.on_done(&id, result, now, out));
            }
            Input::LocalCandidate { peer: id, generation, candidate } => {
                self.of(&id, generation, now, out, |_, out| {
                    out.push(Output::Send(ClientMessage::IceCandidate {
                        candidate,
                        to: id.clone(),
                    }));
                });
            }
            Input::Link { peer: id, generation, link } => {
                self.of(&id, generation, now, out, |peer, out| peer.on_link(&id, link, now, out));
            }
            Input::Changed { peer: id, generation } => {
                self.of(&id, generation, now, out, |peer, _| peer.wants_offer(now));
            }
            Input::Replaced { peer: id, generation, sdp } => {
                self.replaced(&id, generation, sdp, now, out);
            }
            Input::Online(online) => {
                if online && !self.online {
                    self.recovering_until = Some(now + RECOVERY);
                    self.peers.values_mut().for_each(|peer| peer.on_online(now));
                }
                self.online = online;
                self.tick(now, out);
            }
            Input::Tick => self.tick(now, out),
        }
    }

    fn stranger(&mut self) {
        self.bad_signals += 1;
    }

    /// An offer or answer: reopens a connection that was given up.
    fn signal(
        &mut self,
        from: &UserId,
        now: Instant,
        out: &mut Vec<Output>,
        queue: impl FnOnce(&mut Peer),
    ) {
        let online = self.online;
        let Some(peer) = self.peers.get_mut(from) else { return self.stranger() };
        if peer.is_gone() {
            peer.reopen(from, self.next_generation, &self.own, now, out);
            self.next_generation += 1;
        }
        queue(peer);
        peer.pump(from, online, now, out);
    }

    fn replaced(
        &mut self,
        id: &UserId,
        generation: u64,
        sdp: String,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        let known = |peer: &&mut Peer| peer.generation() == generation;
        let Some(peer) = self.peers.get_mut(id).filter(known) else { return };
        out.push(Output::Close { peer: id.clone(), generation });
        peer.reopen(id, self.next_generation, &self.own, now, out);
        self.next_generation += 1;
        peer.on_offer(sdp);
        peer.pump(id, self.online, now, out);
    }

    /// Something about a connection, unless it is of an older one.
    fn of(
        &mut self,
        id: &UserId,
        generation: u64,
        now: Instant,
        out: &mut Vec<Output>,
        what: impl FnOnce(&mut Peer, &mut Vec<Output>),
    ) {
        let online = self.online;
        if let Some(peer) = self.peers.get_mut(id).filter(|peer| peer.generation() == generation) {
            what(peer, out);
            peer.pump(id, online, now, out);
        }
    }

    fn roster_changed(&mut self, members: Vec<Member>, now: Instant, out: &mut Vec<Output>) {
        let mut seen = BTreeSet::new();
        self.roster = members;
        self.roster.truncate(ROSTER_MEMBERS);
        self.roster.retain(|member| seen.insert(member.id.clone()));
        for (id, peer) in &mut self.peers {
            peer.set_present(seen.contains(id), now);
        }
        self.fill(now, out);
    }

    /// Opens connections while there is room in the call.
    fn fill(&mut self, now: Instant, out: &mut Vec<Output>) {
        let mut left_out = 0;
        for member in &self.roster {
            if member.id == self.own || self.peers.contains_key(&member.id) {
                continue;
            }
            if self.peers.len() >= limits::PEERS {
                left_out += 1;
                continue;
            }
            let peer = Peer::open(&member.id, self.next_generation, &self.own, now, out);
            self.next_generation += 1;
            self.peers.insert(member.id.clone(), peer);
        }
        if left_out != self.left_out {
            self.left_out = left_out;
            if left_out > 0 {
                out.push(Output::Full { left_out });
            }
        }
        self.tick_peers(now, out);
    }

    fn tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        let left = |peer: &Peer| peer.left_at(self.online, self.recovering_until);
        let gone: Vec<UserId> = self
            .peers
            .iter()
            .filter(|(_, peer)| left(peer).is_some_and(|left| now >= left))
            .map(|(id, _)| id.clone())
            .collect();
        for id in &gone {
            if let Some(peer) = self.peers.remove(id) {
                peer.close(id, out);
            }
        }
        if gone.is_empty() { self.tick_peers(now, out) } else { self.fill(now, out) }
    }

    fn tick_peers(&mut self, now: Instant, out: &mut Vec<Output>) {
        for (id, peer) in &mut self.peers {
            peer.pump(id, self.online, now, out);
        }
    }
}
