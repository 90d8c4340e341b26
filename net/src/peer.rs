//! One peer's connection. The only room that knows the WebRTC library: what comes in and goes out
//! is plain data.

mod channel;
mod connect;
mod counters;
mod feedback;
mod receive;
mod role;
mod sdp;
mod send;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rtc::peer_connection::configuration::RTCOfferOptions;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use webrtc::data_channel::DataChannel;
use webrtc::media_stream::track_remote::TrackRemote;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionEventHandler, RTCIceCandidateInit, RTCPeerConnectionIceEvent,
    RTCPeerConnectionState, RTCSdpType, RTCSessionDescription,
};
use wire::UserId;

use crate::event::{Event, TransferId};
use crate::ice::Ice;
use crate::media::out::Router;
use crate::media::{Source, TrackId};
use crate::mesh::{Described, Link, Op};
use crate::stats::PeerStats;
use crate::transfer::Outgoing;
use crate::turn::Ways;
use channel::Channel;
use counters::Counters;
use feedback::KeyFrameRequests;
use receive::Tracks;
use role::DtlsRole;
use sdp::Description;
use send::Senders;

/// Commands that wait for a peer's task. When it is full, the connection counts as broken.
const COMMANDS: usize = 64;
/// What the library tells and the task has not read yet. When it is full, candidates and tracks
/// are lost; states are not.
const HAPPENINGS: usize = 256;
/// Remote candidates that one connection takes; more are ignored.
const CANDIDATES: usize = 128;
/// Images that wait for the data channel; a further one fails at once.
const EARLY_IMAGES: usize = 8;
/// How long they wait.
const OPENING: Duration = Duration::from_secs(20);
/// How long closing may take.
const CLOSING: Duration = Duration::from_secs(2);

/// What a connection needs to know.
pub(crate) struct PeerConfig {
    pub(crate) peer: UserId,
    pub(crate) generation: u64,
    /// We are the one of the two that creates the data channel.
    pub(crate) creates_channel: bool,
    /// The data channel's label.
    pub(crate) label: String,
    /// The server is on this computer, and so may be the peer.
    pub(crate) loopback: bool,
    /// The STUN and TURN servers of the moment.
    pub(crate) ice: Ice,
    /// The names of our two media streams.
    pub(crate) streams: Streams,
    /// Which of our sources have an m-line from the start.
    pub(crate) shows: Vec<Source>,
    pub(crate) router: Arc<Router>,
    pub(crate) out: mpsc::Sender<FromPeer>,
}

/// The names of our media streams: peers tell the camera from the screen by them.
#[derive(Debug, Clone)]
pub(crate) struct Streams {
    pub(crate) camera: String,
    pub(crate) screen: String,
}

/// `mid` → what the m-line carries in one direction.
pub(crate) type Lines = BTreeMap<String, Source>;

/// What a connection is asked to do.
pub(crate) enum ToPeer {
    /// A step of negotiation.
    Run(Op),
    /// The peer says what it sends on its m-lines.
    Lines(Lines),
    /// One of our sources is shown or hidden.
    Show { source: Source, on: bool },
    /// The reader of a track is stuck.
    KeyFrame(TrackId),
    /// Send an image.
    Image(Arc<Outgoing>),
    /// Refuse an image of the peer's.
    RefuseImage(TransferId),
    /// Count.
    Stats(oneshot::Sender<PeerStats>),
}

/// What a connection tells.
#[derive(Debug)]
pub(crate) struct FromPeer {
    pub(crate) peer: UserId,
    pub(crate) generation: u64,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    /// What we send on our m-lines, whenever that has changed.
    Lines(Lines),
    /// A step has ended.
    Done(Result<Described, ()>),
    /// Our own candidate, the JSON text.
    Candidate(String),
    /// The connection changed.
    Link(Link),
    /// There is something new to negotiate.
    Changed,
    /// The peer offers a connection that can't be a continuation of this one.
    Replaced(String),
    /// For the user as it is.
    Event(Event),
}

/// The way to the session, with the sender's address on each message.
#[derive(Debug, Clone)]
pub(super) struct Outbox {
    peer: UserId,
    generation: u64,
    out: mpsc::Sender<FromPeer>,
}

impl Outbox {
    async fn send(&self, what: What) {
        let message = FromPeer { peer: self.peer.clone(), generation: self.generation, what };
        // It fails when the session is over; then nobody needs to know.
        self.out.send(message).await.ok();
    }

    async fn event(&self, event: Event) {
        self.send(What::Event(event)).await;
    }
}

/// A running connection; dropping it closes it.
#[derive(Debug)]
pub(crate) struct PeerHandle {
    commands: mpsc::Sender<ToPeer>,
    closing: CancellationToken,
    task: Option<JoinHandle<()>>,
}

/// The connection does not keep up, or is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stuck;

impl PeerHandle {
    /// Never waits.
    pub(crate) fn send(&self, command: ToPeer) -> Result<(), Stuck> {
        self.commands.try_send(command).map_err(|_| Stuck)
    }

    /// Closes the connection; resolves when that is done.
    pub(crate) async fn close(mut self) {
        self.closing.cancel();
        if let Some(task) = self.task.take() {
            tokio::time::timeout(CLOSING, task).await.ok();
        }
    }
}

impl Drop for PeerHandle {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

/// Opens a connection, in the background.
pub(crate) fn open(config: PeerConfig) -> PeerHandle {
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let closing = CancellationToken::new();
    let outbox = Outbox {
        peer: config.peer.clone(),
        generation: config.generation,
        out: config.out.clone(),
    };
    let running = tokio::spawn(run(config, outbox.clone(), inbox, closing.clone()));
    let task = tokio::spawn(async move {
        // Whatever a peer sends, and whatever the library makes of it: it ends here.
        if let Err(error) = running.await {
            tracing::error!(%error, "a peer's connection broke down");
            outbox.send(What::Link(Link::Gone)).await;
        }
    });
    PeerHandle { commands, closing, task: Some(task) }
}

async fn run(
    config: PeerConfig,
    outbox: Outbox,
    inbox: mpsc::Receiver<ToPeer>,
    closing: CancellationToken,
) {
    let (happenings, happened) = mpsc::channel(HAPPENINGS);
    let (state_sender, states) = watch::channel(RTCPeerConnectionState::New);
    let handler = Arc::new(Handler { happenings, state: state_sender });
    let key_frames = KeyFrameRequests::new(Arc::clone(&config.router));
    let mut ways = Ways::default();
    let servers = ways.adapt(&config.ice.current()).await;
    let made = connect::connection(config.loopback, &servers, key_frames.clone(), handler).await;
    let connection = match made {
        Ok(connection) => connection,
        Err(error) => {
            tracing::error!(%error, "cannot set up a connection");
            return outbox.send(What::Link(Link::Gone)).await;
        }
    };
    let counters = Arc::new(Counters::default());
    let senders = Senders::new(
        Arc::clone(&connection),
        Arc::clone(&config.router),
        key_frames,
        config.streams.clone(),
        Arc::clone(&counters),
    );
    let mut task = Task {
        tracks: Tracks::new(outbox.clone(), Arc::clone(&counters)),
        connection,
        senders,
        outbox,
        counters,
        ice: config.ice,
        ways,
        label: config.label,
        creates_channel: config.creates_channel,
        channel: None,
        early_images: Vec::new(),
        local: Description::default(),
        remote: Description::default(),
        role: DtlsRole::default(),
        told_lines: Lines::new(),
        candidates: 0,
        connected: false,
        certificate: None,
    };
    if let Err(error) = task.begin(&config.shows).await {
        tracing::error!(%error, "cannot set up a connection");
        task.outbox.send(What::Link(Link::Gone)).await;
    } else {
        task.serve(inbox, happened, states, &closing).await;
    }
    let connection = Arc::clone(&task.connection);
    drop(task);
    if tokio::time::timeout(CLOSING, connection.close()).await.is_err() {
        tracing::warn!("a connection did not close in time");
    }
}

/// What the library's callbacks pass on. They run inside its own loop and never wait.
struct Handler {
    happenings: mpsc::Sender<Happening>,
    state: watch::Sender<RTCPeerConnectionState>,
}

enum Happening {
    Candidate(RTCPeerConnectionIceEvent),
    Track(Arc<dyn TrackRemote>),
    Channel(Arc<dyn DataChannel>),
}

impl Handler {
    fn tell(&self, happening: Happening) {
        if self.happenings.try_send(happening).is_err() {
            tracing::warn!("a peer's connection is too busy");
        }
    }
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        self.tell(Happening::Candidate(event));
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.state.send_replace(state);
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        self.tell(Happening::Channel(channel));
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        self.tell(Happening::Track(track));
    }
}

/// `RTCIceCandidateInit`, as it crosses the wire.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    #[serde(default)]
    candidate: String,
    #[serde(default)]
    sdp_mid: Option<String>,
    #[serde(default, rename = "sdpMLineIndex")]
    sdp_mline_index: Option<u16>,
    #[serde(default)]
    username_fragment: Option<String>,
}

struct Task {
    connection: Arc<dyn PeerConnection>,
    senders: Senders,
    tracks: Tracks,
    outbox: Outbox,
    counters: Arc<Counters>,
    ice: Ice,
    /// Relays that are reached by TCP and TLS; they end with the connection.
    ways: Ways,
    label: String,
    creates_channel: bool,
    channel: Option<Channel>,
    /// Images for a channel that is not there yet, and until when they wait.
    early_images: Vec<(Instant, Arc<Outgoing>)>,
    /// What we said last, and what the peer said last.
    local: Description,
    remote: Description,
    role: DtlsRole,
    /// What the peer was told about our m-lines.
    told_lines: Lines,
    /// Remote candidates so far.
    candidates: usize,
    connected: bool,
    /// The fingerprint of the peer's certificate, as soon as the first offer was answered.
    certificate: Option<String>,
}

impl Task {
    async fn begin(&mut self, shows: &[Source]) -> webrtc::error::Result<()> {
        if self.creates_channel {
            let channel = self.connection.create_data_channel(&self.label, None).await?;
            self.channel = Some(Channel::spawn(channel, self.outbox.clone()));
        }
        self.senders.begin(shows).await
    }

    async fn serve(
        &mut self,
        mut inbox: mpsc::Receiver<ToPeer>,
        mut happened: mpsc::Receiver<Happening>,
        mut states: watch::Receiver<RTCPeerConnectionState>,
        closing: &CancellationToken,
    ) {
        loop {
            tokio::select! {
                biased;
                () = closing.cancelled() => return,
                Ok(()) = states.changed() => {
                    let state = *states.borrow_and_update();
                    self.state_changed(state).await;
                }
                Some(happening) = happened.recv() => self.happening(happening).await,
                () = at(self.early_images.first().map(|(deadline, _)| *deadline)) => {
                    let (_, image) = self.early_images.remove(0);
                    channel::failed(&image, "there is no data channel", &self.outbox).await;
                }
                command = inbox.recv() => match command {
                    Some(command) => self.command(command).await,
                    None => return,
                },
            }
        }
    }

    async fn state_changed(&mut self, state: RTCPeerConnectionState) {
        let link = match state {
            RTCPeerConnectionState::Connected => Link::Connected,
            RTCPeerConnectionState::Disconnected => Link::Disconnected,
            RTCPeerConnectionState::Failed => Link::Failed,
            RTCPeerConnectionState::Closed => Link::Gone,
            _ => Link::Connecting,
        };
        // A search for new paths does not stop what flows on the old one.
        self.connected |= link == Link::Connected;
        self.senders.flow(self.connected, &self.local, &self.remote);
        self.outbox.send(What::Link(link)).await;
    }

    async fn happening(&mut self, happening: Happening) {
        match happening {
            Happening::Candidate(event) => {
                if let Some(json) = self.candidate_json(&event) {
                    self.outbox.send(What::Candidate(json)).await;
                }
            }
            Happening::Track(track) => {
                self.tracks.begin(track, &self.local, &self.remote).await;
            }
            Happening::Channel(channel) => {
                let label = channel.label().await.unwrap_or_default();
                if label == self.label && self.channel.is_none() {
                    let channel = Channel::spawn(channel, self.outbox.clone());
                    for (_, image) in std::mem::take(&mut self.early_images) {
                        channel.send(image, &self.outbox).await;
                    }
                    self.channel = Some(channel);
                } else {
                    channel.close().await.ok();
                }
            }
        }
    }

    /// The library leaves the m-line open; everything is bundled on the first.
    fn candidate_json(&self, event: &RTCPeerConnectionIceEvent) -> Option<String> {
        let candidate = event.candidate.to_json().ok()?.candidate;
        let candidate = Candidate {
            candidate,
            sdp_mid: Some(self.local.media.first()?.mid.clone()),
            sdp_mline_index: Some(0),
            username_fragment: Some(self.local.ufrag.clone()),
        };
        serde_json::to_string(&candidate).ok()
    }

    async fn command(&mut self, command: ToPeer) {
        match command {
            ToPeer::Run(Op::Candidate(json)) => self.add_candidate_json(&json).await,
            ToPeer::Run(Op::AcceptOffer { sdp, .. }) if self.is_foreign(&sdp) => {
                self.outbox.send(What::Replaced(sdp)).await;
            }
            ToPeer::Run(op) => {
                let result = self.negotiate(op).await;
                if let Err(error) = &result {
                    tracing::debug!(%error, "a step of negotiation failed");
                    if self.is_dead().await {
                        return self.outbox.send(What::Link(Link::Gone)).await;
                    }
                }
                self.outbox.send(What::Done(result.map_err(|_| ()))).await;
                let lines = self.senders.lines(&self.local);
                if lines != self.told_lines {
                    self.told_lines.clone_from(&lines);
                    self.outbox.send(What::Lines(lines)).await;
                }
            }
            ToPeer::Lines(lines) => {
                self.tracks.learn(lines, &self.local, &self.remote).await;
            }
            ToPeer::Show { source, on } => match self.senders.show(source, on).await {
                Ok(true) => self.outbox.send(What::Changed).await,
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, %source, "cannot show or hide a source"),
            },
            ToPeer::KeyFrame(track) => self.tracks.request_key_frame(&track),
            ToPeer::Image(image) => match &self.channel {
                Some(channel) => channel.send(image, &self.outbox).await,
                None if self.early_images.len() < EARLY_IMAGES => {
                    self.early_images.push((Instant::now() + OPENING, image));
                }
                None => channel::failed(&image, channel::TOO_MANY, &self.outbox).await,
            },
            ToPeer::RefuseImage(id) => {
                if let Some(channel) = &self.channel {
                    channel.refuse(id);
                }
            }
            ToPeer::Stats(reply) => {
                reply.send(self.stats().await).ok();
            }
        }
    }

    /// Whether an offer comes from a new connection of the peer's: it shows another certificate.
    fn is_foreign(&self, offer: &str) -> bool {
        let fingerprint = Description::parse(offer).fingerprint;
        let known = self.certificate.as_ref();
        known.is_some_and(|known| !fingerprint.is_empty() && *known != fingerprint)
    }

    /// Whether the library's own loop has ended, which it tells nobody: then it takes no
    /// configuration any more, not even the one it has.
    async fn is_dead(&self) -> bool {
        let configuration = self.connection.get_configuration().await;
        self.connection.set_configuration(configuration).await.is_err()
    }

    async fn negotiate(&mut self, op: Op) -> webrtc::error::Result<Described> {
        let (sdp, local) = match op {
            Op::Offer { rollback, restart } => {
                if rollback {
                    self.roll_back_local().await?;
                }
                if restart {
                    let servers = self.ways.adapt(&self.ice.current()).await;
                    connect::refresh(&*self.connection, &servers).await;
                }
                let options = RTCOfferOptions { ice_restart: restart };
                let offer = self.connection.create_offer(Some(options)).await?;
                let sdp = offer.sdp.clone();
                self.local = Description::parse(&sdp);
                self.connection.set_local_description(offer).await?;
                return Ok(Described { sdp, incomplete: false });
            }
            Op::AcceptOffer { sdp, rollback } => {
                if rollback {
                    self.roll_back_local().await?;
                }
                let answer = self.answer(&sdp).await?;
                let local = Description::parse(&answer);
                (sdp::prefer_vp8(&self.role.kept_in(&answer)), Some(local))
            }
            Op::AcceptAnswer { sdp } => {
                self.set_remote(RTCSessionDescription::answer, &sdp).await?;
                self.role.heard(&sdp);
                (String::new(), None)
            }
            Op::Candidate(_) => unreachable!("candidates are no step of negotiation"),
        };
        if let Some(local) = local {
            self.local = local;
        }
        self.certificate.get_or_insert_with(|| self.remote.fingerprint.clone());
        self.senders.flow(self.connected, &self.local, &self.remote);
        for track in self.tracks.settle(&self.remote) {
            self.tracks.begin(track, &self.local, &self.remote).await;
        }
        let incomplete = self.senders.is_incomplete(&self.local)
            || (self.creates_channel && !self.local.has_data);
        Ok(Described { sdp, incomplete })
    }

    async fn roll_back_local(&self) -> webrtc::error::Result<()> {
        let rollback = RTCSessionDescription::rollback(None)?;
        self.connection.set_local_description(rollback).await
    }

    async fn answer(&mut self, sdp: &str) -> webrtc::error::Result<String> {
        let answered = async {
            self.set_remote(RTCSessionDescription::offer, sdp).await?;
            let answer = self.connection.create_answer(None).await?;
            let sdp = answer.sdp.clone();
            self.connection.set_local_description(answer).await?;
            Ok(sdp)
        };
        let result: webrtc::error::Result<String> = answered.await;
        if result.is_err() {
            // Back to where we were, if the library got half-way.
            let mut rollback = RTCSessionDescription::default();
            rollback.sdp_type = RTCSdpType::Rollback;
            self.connection.set_remote_description(rollback).await.ok();
        }
        result
    }

    async fn set_remote(
        &mut self,
        kind: fn(String) -> webrtc::error::Result<RTCSessionDescription>,
        sdp: &str,
    ) -> webrtc::error::Result<()> {
        let (sdp, candidates) = sdp::without_candidates(sdp);
        let remote = Description::parse(&sdp);
        self.connection.set_remote_description(kind(sdp)?).await?;
        self.remote = remote;
        for candidate in candidates {
            self.add_candidate(candidate).await;
        }
        Ok(())
    }

    async fn add_candidate_json(&mut self, json: &str) {
        match serde_json::from_str::<Candidate>(json) {
            Ok(candidate) => self.add_candidate(candidate.candidate).await,
            Err(_) => tracing::debug!("a candidate is no JSON"),
        }
    }

    /// Only UDP: the library would connect to any TCP address that a peer names.
    async fn add_candidate(&mut self, candidate: String) {
        let udp = candidate
            .split_whitespace()
            .nth(2)
            .is_some_and(|protocol| protocol.eq_ignore_ascii_case("udp"));
        if !udp || self.candidates >= CANDIDATES {
            return;
        }
        self.candidates += 1;
        let init = RTCIceCandidateInit { candidate, ..RTCIceCandidateInit::default() };
        if let Err(error) = self.connection.add_ice_candidate(init).await {
            tracing::debug!(%error, "a candidate was not accepted");
        }
    }

    async fn stats(&self) -> PeerStats {
        let rtt_ms = counters::round_trip(&*self.connection).await;
        let data_buffered = match &self.channel {
            Some(channel) => channel.buffered().await,
            None => 0,
        };
        let tracks = self.tracks.stats();
        self.counters.stats(self.outbox.peer.clone(), rtt_ms, data_buffered, tracks)
    }
}

/// At that time, or never.
async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => future::pending().await,
    }
}
