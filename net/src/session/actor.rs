//! The session's loop: one task that owns everything and hears everything.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wire::{ClientMessage, LeftReason, MediaState, Member, RawRoomId, ServerMessage, UserId};

use super::chat::{Chat, Heard, Say};
use super::devices::{self, Devices};
use super::images::Images;
use super::key_frames::KeyFrames;
use crate::event::{Command, Event, PeerState, ServerLink, TransferId};
use crate::ice::Ice;
use crate::media::out::Router;
use crate::media::{Source, TrackId};
use crate::mesh::{Input, Link, Mesh, Output};
use crate::peer::{FromPeer, Lines, PeerConfig, PeerHandle, Streams, ToPeer, What};
use crate::seal::ChatSeal;
use crate::signal::{FromServer, Signal};
use crate::stats::Stats;
use crate::transfer::Outgoing;

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_millis(700);
/// How long the caller may take to read the last event.
const LAST_EVENT: Duration = Duration::from_millis(500);
/// How long a peer may take to count.
const COUNTING: Duration = Duration::from_millis(500);
/// The typing indicator is repeated at most so often.
const TYPING_EVERY: Duration = Duration::from_secs(2);

/// Everything a session hears.
pub(super) struct Ears {
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) from_peers: mpsc::Receiver<FromPeer>,
    pub(super) key_frames: mpsc::Receiver<Source>,
    /// The caller does not want the session any more.
    pub(super) closing: CancellationToken,
    /// The chat's key, as soon as it is derived.
    pub(super) key: JoinHandle<ChatSeal>,
}

/// What a session is made from.
pub(super) struct Parts {
    pub(super) user: UserId,
    pub(super) room: RawRoomId,
    pub(super) signal: Signal,
    /// Version 2 is spoken with the server.
    pub(super) v2: bool,
    pub(super) ice: Ice,
    pub(super) router: Arc<Router>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) to_session: mpsc::Sender<FromPeer>,
    pub(super) label: String,
    pub(super) loopback: bool,
    pub(super) streams: Streams,
    pub(super) closing: CancellationToken,
}

/// One peer, as the session sees it.
struct PeerEntry {
    generation: u64,
    handle: PeerHandle,
    opened_at: Instant,
    connect_ms: Option<f64>,
    tracks: BTreeSet<TrackId>,
}

pub(super) struct Actor {
    parts: Parts,
    mesh: Mesh,
    chat: Chat,
    peers: BTreeMap<UserId, PeerEntry>,
    images: Images,
    key_frames: KeyFrames,
    /// Who types.
    typing: BTreeSet<UserId>,
    /// What we said last about our own typing.
    said_typing: Option<(bool, Instant)>,
    started_at: Instant,
    server_reconnects: u64,
    bad_messages: u64,
    /// Whoever waits for us to be back sees it by a roster, the same one or another.
    roster_due: bool,
    /// What the members say about their devices.
    devices: Devices,
}

impl Actor {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            mesh: Mesh::new(parts.user.clone()),
            chat: Chat::new(parts.user.clone(), parts.v2),
            peers: BTreeMap::new(),
            images: Images::default(),
            key_frames: KeyFrames::default(),
            typing: BTreeSet::new(),
            said_typing: None,
            started_at: Instant::now(),
            server_reconnects: 0,
            bad_messages: 0,
            roster_due: true,
            devices: Devices::default(),
            parts,
        }
    }

    /// Runs until the session ends. `said` is what the server has said already.
    pub(super) async fn run(mut self, mut ears: Ears, said: Vec<ServerMessage>) {
        for message in said {
            self.server_said(message).await;
        }
        let mut key = Some(ears.key);
        loop {
            let deadline = self.deadline();
            tokio::select! {
                biased;
                () = ears.closing.cancelled() => break,
                command = ears.commands.recv() => match command {
                    Some(Command::Leave) | None => break,
                    Some(command) => self.command(command).await,
                },
                Some(source) = ears.key_frames.recv() => self.key_frames.request(source),
                Some(message) = ears.from_peers.recv() => self.peer_said(message).await,
                message = self.parts.signal.incoming.recv() => match message {
                    Some(FromServer::Over { code, why }) => {
                        self.tell(Event::Error { code, message: why }).await;
                        break;
                    }
                    Some(message) => self.heard(message).await,
                    None => break,
                },
                derived = async { key.as_mut().expect("checked").await }, if key.is_some() => {
                    key = None;
                    self.key_derived(derived).await;
                }
                () = at(deadline), if deadline.is_some() => {}
            }
            self.expire().await;
        }
        self.leave().await;
    }

    fn deadline(&self) -> Option<Instant> {
        let now = Instant::now();
        let deadlines = [self.mesh.deadline(), self.chat.deadline(), self.key_frames.deadline(now)];
        deadlines.into_iter().flatten().min()
    }

    async fn expire(&mut self) {
        let now = Instant::now();
        if self.mesh.deadline().is_some_and(|deadline| now >= deadline) {
            self.mesh(Input::Tick).await;
        }
        let mut say = Vec::new();
        self.chat.expire(now, &mut say);
        self.say(say).await;
        for source in self.key_frames.grant(now) {
            if self.parts.router.wanted(source) {
                self.tell(Event::KeyFrameWanted { source }).await;
            }
        }
    }

    /// Tells the caller; gives up when the caller does not want the session any more.
    async fn tell(&self, event: Event) {
        tokio::select! {
            biased;
            () = self.parts.closing.cancelled() => {}
            // It fails when nobody reads events; the call goes on all the same.
            _ = self.parts.events.send(event) => {}
        }
    }

    async fn key_derived(&mut self, derived: Result<ChatSeal, tokio::task::JoinError>) {
        let mut say = Vec::new();
        match derived {
            Ok(seal) => self.chat.set_seal(seal, Instant::now(), &mut say),
            Err(error) => tracing::error!(%error, "the chat's key could not be derived"),
        }
        self.say(say).await;
    }

    async fn say(&mut self, say: Vec<Say>) {
        for say in say {
            match say {
                Say::Tell(event) => self.tell(event).await,
                Say::Send(message) => {
                    let ClientMessage::Chat { message: text, .. } = &message else { continue };
                    let text = text.clone();
                    if self.parts.signal.send(message).is_err() {
                        let mut failed = Vec::new();
                        self.chat.unsendable(&text, &mut failed);
                        for say in failed {
                            if let Say::Tell(event) = say {
                                self.tell(event).await;
                            }
                        }
                    }
                }
            }
        }
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Chat { id, text } => {
                let mut say = Vec::new();
                self.chat.say(id, text, Instant::now(), &mut say);
                self.say(say).await;
            }
            Command::Typing(typing) => self.say_typing(typing),
            Command::SendImage { id, name, bytes, .. } => {
                self.send_image(id, &name, bytes).await;
            }
            Command::CancelImage { id } => {
                if !self.images.cancel(&id) {
                    self.for_all(|| ToPeer::RefuseImage(id.clone()));
                }
            }
            Command::Publish { source, on } => {
                self.parts.router.publish(source, on);
                self.for_all(|| ToPeer::Show { source, on });
                self.say_devices(None, None);
            }
            Command::RequestKeyFrame { peer, track } => {
                if let Some(entry) = self.peers.get(&peer) {
                    entry.handle.send(ToPeer::KeyFrame(track)).ok();
                }
            }
            Command::Stats => self.count(),
            Command::Leave => unreachable!("the loop ends with it"),
        }
    }

    fn for_all(&self, command: impl Fn() -> ToPeer) {
        for entry in self.peers.values() {
            // A connection that does not keep up is noticed when it is negotiated with.
            entry.handle.send(command()).ok();
        }
    }

    fn say_typing(&mut self, typing: bool) {
        let now = Instant::now();
        let said = self
            .said_typing
            .is_some_and(|(said, at)| said == typing && (!typing || now < at + TYPING_EVERY));
        if !said && self.parts.signal.send(ClientMessage::Typing { typing }).is_ok() {
            self.said_typing = Some((typing, now));
        }
    }

    async fn send_image(&mut self, id: TransferId, name: &str, bytes: bytes::Bytes) {
        let failed = |id, peer, why: &str| Event::ImageFailed { id, peer, why: why.to_owned() };
        if !self.images.has_room_for(&id) {
            return self.tell(failed(id, None, "too many images are waiting already")).await;
        }
        let image = match Outgoing::new(id.clone(), name, bytes) {
            Ok(image) => Arc::new(image),
            Err(why) => return self.tell(failed(id, None, &why)).await,
        };
        let connected: BTreeSet<UserId> = self
            .peers
            .keys()
            .filter(|peer| self.mesh.state(peer) == PeerState::Connected)
            .cloned()
            .collect();
        if connected.is_empty() {
            return self.tell(failed(id, None, "nobody is connected")).await;
        }
        let mut sending = BTreeSet::new();
        for peer in connected {
            let sent = self.peers[&peer].handle.send(ToPeer::Image(Arc::clone(&image)));
            if sent.is_ok() {
                sending.insert(peer);
            } else {
                self.tell(failed(id.clone(), Some(peer), "the connection is too busy")).await;
            }
        }
        if !sending.is_empty() {
            self.images.add(image, sending);
        }
    }

    /// Asks every peer to count, and answers when all have.
    fn count(&self) {
        let mut stats = Stats {
            seconds: self.started_at.elapsed().as_secs_f64(),
            server_reconnects: self.server_reconnects,
            bad_messages: self.bad_messages + self.mesh.bad_signals(None),
            sources: self.parts.router.stats(),
            peers: Vec::new(),
        };
        let mut replies = Vec::new();
        for (id, entry) in &self.peers {
            let (reply, answer) = oneshot::channel();
            if entry.handle.send(ToPeer::Stats(reply)).is_ok() {
                let (state, connect_ms) = (self.mesh.state(id), entry.connect_ms);
                let bad_signals = self.mesh.bad_signals(Some(id));
                replies.push((state, connect_ms, bad_signals, answer));
            }
        }
        let (events, closing) = (self.parts.events.clone(), self.parts.closing.clone());
        tokio::spawn(async move {
            for (state, connect_ms, bad_signals, answer) in replies {
                if let Ok(Ok(mut peer)) = tokio::time::timeout(COUNTING, answer).await {
                    (peer.state, peer.connect_ms, peer.bad_signals) =
                        (state, connect_ms, bad_signals);
                    stats.peers.push(peer);
                }
            }
            tokio::select! {
                biased;
                () = closing.cancelled() => {}
                _ = events.send(Event::Stats(Box::new(stats))) => {}
            }
        });
    }

    async fn heard(&mut self, message: FromServer) {
        match message {
            FromServer::Message(message) => self.server_said(message).await,
            FromServer::Rubbish => self.bad_messages += 1,
            FromServer::Lost { attempt, retry_in } => {
                self.chat.lost(Instant::now());
                self.mesh(Input::Online(false)).await;
                self.tell(Event::Server(ServerLink::Reconnecting { attempt, retry_in })).await;
            }
            FromServer::Back { user, name, v2, resumed } => {
                self.back(user, name, v2, resumed).await;
            }
            FromServer::Obstacle { code, why } | FromServer::Over { code, why } => {
                self.tell(Event::Error { code, message: why }).await;
            }
        }
    }

    async fn back(&mut self, user: UserId, name: String, v2: bool, resumed: bool) {
        self.server_reconnects += 1;
        self.said_typing = None;
        self.roster_due = true;
        let mut say = Vec::new();
        if user != self.parts.user {
            self.parts.user = user.clone();
            self.chat.rename(user.clone(), &mut say);
            let mut out = Vec::new();
            self.mesh.rename(user.clone(), &mut out);
            self.obey(out).await;
            let room = self.parts.room.clone();
            self.tell(Event::Joined { user, name, room }).await;
        }
        let known = self.mesh.roster().iter().map(|member| member.id.clone()).collect();
        self.chat.back(v2, resumed, known, Instant::now(), &mut say);
        self.mesh(Input::Online(true)).await;
        self.tell(Event::Server(ServerLink::Connected)).await;
        self.say(say).await;
    }

    async fn server_said(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::RoomUsers { users } => self.roster(users).await,
            ServerMessage::Joined { user } => self.joined(user).await,
            ServerMessage::Left { user, reason } => self.left(&user, reason).await,
            ServerMessage::Chat { from, message, id, seq: number } => {
                if self.typing.remove(&from) {
                    self.tell(Event::Typing { from: from.clone(), typing: false }).await;
                }
                let name = self.mesh.name_of(&from).to_owned();
                let mut say = Vec::new();
                self.chat.heard(Heard { from, name, message, id, number }, &mut say);
                self.say(say).await;
            }
            ServerMessage::PeerState { from, state } => self.peer_state(from, state).await,
            ServerMessage::Ack { id, .. } => {
                let mut say = Vec::new();
                self.chat.acknowledged(&id, &mut say);
                self.say(say).await;
            }
            ServerMessage::Typing { from, typing } => self.typing(from, typing).await,
            ServerMessage::Offer { from, sdp } => self.mesh(Input::Offer { from, sdp }).await,
            ServerMessage::Answer { from, sdp } => self.mesh(Input::Answer { from, sdp }).await,
            ServerMessage::IceCandidate { from, candidate } => {
                self.mesh(Input::Candidate { from, candidate }).await;
            }
            ServerMessage::Error { error, id } => {
                let mut say = Vec::new();
                if !self.chat.refused(&error, id.as_deref(), &mut say) {
                    let code = "server-refused";
                    say.push(Say::Tell(Event::Error { code, message: error }));
                }
                self.say(say).await;
            }
            _ => {}
        }
    }

    async fn typing(&mut self, from: UserId, typing: bool) {
        let known = self.mesh.roster().iter().any(|member| member.id == from);
        if from == self.parts.user || !known {
            return;
        }
        let changed =
            if typing { self.typing.insert(from.clone()) } else { self.typing.remove(&from) };
        if changed {
            self.tell(Event::Typing { from, typing }).await;
        }
    }

    /// Says what our devices do, to one peer or to all who want to know.
    fn say_devices(&self, to: Option<UserId>, lines: Option<Lines>) {
        if !self.chat.is_v2() {
            return;
        }
        let on = |source| Some(self.parts.router.is_published(source));
        let state = MediaState {
            microphone: on(Source::Microphone),
            camera: on(Source::Camera),
            screen: on(Source::Screen),
            tracks: lines.map(devices::to_wire),
        };
        if self.parts.signal.send(ClientMessage::PeerState { to, state }).is_err() {
            tracing::debug!("too much to say at once; a state of our devices is lost");
        }
    }

    async fn peer_state(&mut self, from: UserId, mut state: MediaState) {
        let known = self.mesh.roster().iter().any(|member| member.id == from);
        if !known || from == self.parts.user {
            return;
        }
        if let Some(lines) = state.tracks.take()
            && let Some(entry) = self.peers.get(&from)
        {
            entry.handle.send(ToPeer::Lines(devices::from_wire(lines))).ok();
        }
        if let Some(event) = self.devices.learn(from, state) {
            self.tell(event).await;
        }
    }

    async fn joined(&mut self, user: Member) {
        let mut users = self.mesh.roster().to_vec();
        match users.iter_mut().find(|member| member.id == user.id) {
            Some(known) => *known = user,
            None => users.push(user),
        }
        self.roster(users).await;
    }

    async fn left(&mut self, user: &UserId, reason: LeftReason) {
        if matches!(reason, LeftReason::Lost | LeftReason::Slow) {
            self.mesh(Input::Lost(user.clone())).await;
        }
        let users = self.mesh.roster().iter().filter(|member| member.id != *user);
        let users = users.cloned().collect();
        self.roster(users).await;
    }

    async fn roster(&mut self, users: Vec<Member>) {
        let before = self.mesh.roster().to_vec();
        self.mesh(Input::Roster(users)).await;
        let here: BTreeSet<UserId> =
            self.mesh.roster().iter().map(|member| member.id.clone()).collect();
        self.typing.retain(|user| here.contains(user));
        self.devices.keep(&here);
        if std::mem::take(&mut self.roster_due) || self.mesh.roster() != before {
            self.tell(Event::Roster(self.mesh.roster().to_vec())).await;
        }
        let mut say = Vec::new();
        self.chat.members(&here, Instant::now(), &mut say);
        self.say(say).await;
    }

    async fn peer_said(&mut self, message: FromPeer) {
        let FromPeer { peer, generation, what } = message;
        let Some(entry) = self.peers.get_mut(&peer).filter(|e| e.generation == generation) else {
            return;
        };
        match what {
            What::Done(result) => self.mesh(Input::Done { peer, generation, result }).await,
            What::Lines(lines) => self.say_devices(Some(peer), Some(lines)),
            What::Candidate(candidate) => {
                self.mesh(Input::LocalCandidate { peer, generation, candidate }).await;
            }
            What::Link(link) => {
                if link == Link::Connected && entry.connect_ms.is_none() {
                    entry.connect_ms = Some(entry.opened_at.elapsed().as_secs_f64() * 1_000.0);
                }
                self.mesh(Input::Link { peer: peer.clone(), generation, link }).await;
                if link == Link::Gone {
                    self.close(&peer, generation).await;
                }
            }
            What::Changed => self.mesh(Input::Changed { peer, generation }).await,
            What::Replaced(sdp) => self.mesh(Input::Replaced { peer, generation, sdp }).await,
            What::Event(event) => {
                match &event {
                    Event::Track(track) => {
                        entry.tracks.insert(track.id.clone());
                    }
                    Event::TrackEnded { track, .. } => {
                        entry.tracks.remove(track);
                    }
                    Event::ImageSent { id, .. } | Event::ImageFailed { id, .. } => {
                        self.images.settled(id, &peer);
                    }
                    _ => {}
                }
                self.tell(event).await;
            }
        }
    }

    async fn mesh(&mut self, input: Input) {
        let mut out = Vec::new();
        self.mesh.handle(input, Instant::now(), &mut out);
        self.obey(out).await;
    }

    async fn obey(&mut self, out: Vec<Output>) {
        let mut out = VecDeque::from(out);
        while let Some(output) = out.pop_front() {
            match output {
                Output::Open { peer, generation, creates_channel } => {
                    self.open(peer, generation, creates_channel);
                }
                Output::Run { peer, generation, op } => {
                    let Some(entry) = self.peers.get(&peer) else { continue };
                    if entry.handle.send(ToPeer::Run(op)).is_err() {
                        tracing::warn!("a peer's connection is stuck");
                        let link = Link::Gone;
                        let input = Input::Link { peer: peer.clone(), generation, link };
                        let mut more = Vec::new();
                        self.mesh.handle(input, Instant::now(), &mut more);
                        out.extend(more);
                        self.close(&peer, generation).await;
                    }
                }
                Output::Close { peer, generation } => self.close(&peer, generation).await,
                Output::Send(message) => {
                    if self.parts.signal.send(message).is_err() {
                        tracing::warn!("too many signals at once; one is lost");
                    }
                }
                Output::State { peer, state } => self.tell(Event::Peer { peer, state }).await,
                Output::Full { left_out } => {
                    let message = format!(
                        "the call has room for {} connections; {left_out} more are in the room",
                        wire::limits::PEERS
                    );
                    self.tell(Event::Error { code: "too-many-peers", message }).await;
                }
            }
        }
    }

    fn open(&mut self, peer: UserId, generation: u64, creates_channel: bool) {
        let router = &self.parts.router;
        let config = PeerConfig {
            peer: peer.clone(),
            generation,
            creates_channel,
            label: self.parts.label.clone(),
            loopback: self.parts.loopback,
            ice: self.parts.ice.clone(),
            streams: self.parts.streams.clone(),
            shows: Source::ALL.into_iter().filter(|source| router.is_published(*source)).collect(),
            router: Arc::clone(router),
            out: self.parts.to_session.clone(),
        };
        let entry = PeerEntry {
            generation,
            handle: crate::peer::open(config),
            opened_at: Instant::now(),
            connect_ms: None,
            tracks: BTreeSet::new(),
        };
        self.peers.insert(peer, entry);
    }

    /// Closes a connection in the background, and tells what ends with it.
    async fn close(&mut self, id: &UserId, generation: u64) {
        if self.peers.get(id).is_none_or(|entry| entry.generation != generation) {
            return;
        }
        let Some(entry) = self.peers.remove(id) else { return };
        drop(entry.handle);
        for track in entry.tracks {
            self.tell(Event::TrackEnded { peer: id.clone(), track }).await;
        }
        for image in self.images.lost(id) {
            let why = "the connection was lost".to_owned();
            self.tell(Event::ImageFailed { id: image, peer: Some(id.clone()), why }).await;
        }
    }

    async fn leave(self) {
        let peers = self.peers.into_values().map(|entry| entry.handle.close());
        tokio::join!(self.parts.signal.leave(GOODBYE), join_all(peers));
        let last = self.parts.events.send(Event::Left);
        tokio::time::timeout(LAST_EVENT, last).await.ok();
    }
}

async fn at(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        tokio::time::sleep_until(deadline.into()).await;
    }
}
