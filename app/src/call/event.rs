//! What a call tells, and what it is asked inside.

use std::time::Duration;

use bytes::Bytes;
use media::ScreenTarget;
use net::{
    Command, Event, Member, MessageId, PeerState, Protection, RawRoomId, ServerLink, Source,
};
use net::{Stats, TrackId, TransferId, UnreadableReason, UserId};

/// What happens in a call. Pictures and sound are not in here: see [`super::Call::tiles`].
#[derive(Debug)]
pub enum CallEvent {
    /// We are in the room: the first event, and again after a reconnect under a new id.
    Joined {
        /// Our id.
        user: UserId,
        /// Our name as the server keeps it.
        name: String,
        /// The room.
        room: RawRoomId,
    },
    /// The connection to the server was lost or is back; the call goes on without it.
    Server(ServerLink),
    /// Who is in the room, ourselves included.
    Roster(Vec<Member>),
    /// A peer's connection changed.
    Peer {
        /// Whose.
        peer: UserId,
        /// To what.
        state: PeerState,
    },
    /// Somebody else said something.
    Chat {
        /// The sender's id of it, where the sender gave one.
        id: Option<MessageId>,
        /// Who.
        from: UserId,
        /// The sender's name at this moment; empty if unknown.
        name: String,
        /// What.
        text: String,
        /// How well it was protected.
        protection: Protection,
    },
    /// Somebody else said something that can't be read.
    Unreadable {
        /// Who.
        from: UserId,
        /// Why.
        why: UnreadableReason,
    },
    /// Messages of somebody else were said and did not reach us.
    Missed {
        /// Who said them.
        from: UserId,
        /// The sender's name at this moment; empty if unknown.
        name: String,
        /// How many.
        count: u64,
    },
    /// Our message is in the room; may follow [`CallEvent::NotSent`].
    Sent {
        /// Which.
        id: MessageId,
    },
    /// Our message is not in the room.
    NotSent {
        /// Which.
        id: MessageId,
        /// A sentence for people.
        why: String,
    },
    /// Somebody else types, or stopped.
    Typing {
        /// Who.
        from: UserId,
        /// Whether they type now.
        typing: bool,
    },
    /// [`super::Call::tiles`] has one more; its picture may still have to come.
    TileAdded {
        /// Whose; `None` for our own.
        peer: Option<UserId>,
        /// Which of the peer's.
        track: TrackId,
        /// What it shows.
        source: Source,
    },
    /// The first picture of a peer's tile was decoded.
    FirstPicture {
        /// Whose.
        peer: UserId,
        /// Which of the peer's.
        track: TrackId,
        /// Since [`super::start`] was called.
        since_start: Duration,
    },
    /// [`super::Call::tiles`] has one less.
    TileRemoved {
        /// Whose; `None` for our own.
        peer: Option<UserId>,
        /// Which of the peer's.
        track: TrackId,
        /// What it showed.
        source: Source,
    },
    /// One of our sources is on or off now; also said when it was so already, so that every
    /// request to switch is answered.
    Source {
        /// Which.
        source: Source,
        /// On or off.
        on: bool,
    },
    /// A peer says what its devices do; `None` where it has not said.
    Devices {
        /// Whose.
        peer: UserId,
        /// Whether its microphone is on.
        microphone: Option<bool>,
        /// Whether its camera is on.
        camera: Option<bool>,
        /// Whether it shares a screen.
        screen: Option<bool>,
    },
    /// A peer begins to send an image.
    ImageIncoming {
        /// Who.
        from: UserId,
        /// Named by the sender.
        id: TransferId,
        /// The file's name, without a path.
        name: String,
        /// Bytes, as announced.
        size: u64,
    },
    /// An image moves on, ours or a peer's.
    ImageProgress {
        /// Which.
        id: TransferId,
        /// The other side; `None` for the whole of a transfer to many.
        peer: Option<UserId>,
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A peer's image is complete; its type and dimensions were checked.
    Image {
        /// Who.
        from: UserId,
        /// Named by the sender.
        id: TransferId,
        /// The file's name, without a path.
        name: String,
        /// What it really is.
        mime: &'static str,
        /// The file.
        bytes: Bytes,
        /// Of `bytes`.
        sha256: [u8; 32],
    },
    /// Our image was handed over to a peer completely.
    ImageSent {
        /// Which.
        id: TransferId,
        /// To whom.
        peer: UserId,
    },
    /// An image did not arrive, ours or a peer's.
    ImageFailed {
        /// Which.
        id: TransferId,
        /// The other side; `None` when it concerns nobody in particular.
        peer: Option<UserId>,
        /// A sentence for people.
        why: String,
    },
    /// The answer to [`super::Call::request_stats`].
    Stats(Box<Stats>),
    /// Something is missing, but the call goes on.
    Problem {
        /// A plain sentence for people.
        what: String,
    },
    /// Something went wrong; the call goes on unless [`CallEvent::Left`] follows.
    Error {
        /// Stable, for programs.
        code: &'static str,
        /// A sentence for people.
        message: String,
    },
    /// The call is over; the last event.
    Left,
}

impl CallEvent {
    /// The events that the call passes on as they are; the others are for the call itself.
    pub(super) fn from_net(event: Event) -> Option<Self> {
        Some(match event {
            Event::Server(link) => CallEvent::Server(link),
            Event::Roster(members) => CallEvent::Roster(members),
            Event::Peer { peer, state } => CallEvent::Peer { peer, state },
            Event::Chat { id, from, name, text, protection } => {
                CallEvent::Chat { id, from, name, text, protection }
            }
            Event::Unreadable { from, why } => CallEvent::Unreadable { from, why },
            Event::Missed { from, name, count } => CallEvent::Missed { from, name, count },
            Event::Sent { id } => CallEvent::Sent { id },
            Event::NotSent { id, why } => CallEvent::NotSent { id, why },
            Event::Devices { peer, microphone, camera, screen } => {
                CallEvent::Devices { peer, microphone, camera, screen }
            }
            Event::Typing { from, typing } => CallEvent::Typing { from, typing },
            Event::ImageIncoming { from, id, name, size } => {
                CallEvent::ImageIncoming { from, id, name, size }
            }
            Event::ImageProgress { id, peer, done, total } => {
                CallEvent::ImageProgress { id, peer, done, total }
            }
            Event::Image { from, id, name, mime, bytes, sha256 } => {
                CallEvent::Image { from, id, name, mime, bytes, sha256 }
            }
            Event::ImageSent { id, peer } => CallEvent::ImageSent { id, peer },
            Event::ImageFailed { id, peer, why } => CallEvent::ImageFailed { id, peer, why },
            Event::Stats(stats) => CallEvent::Stats(stats),
            Event::Error { code, message } => CallEvent::Error { code, message },
            Event::Joined { .. }
            | Event::Track(_)
            | Event::TrackEnded { .. }
            | Event::KeyFrameWanted { .. }
            | Event::Left => {
                return None;
            }
        })
    }
}

/// What the handle asks of the call's task.
#[derive(Debug)]
pub(super) enum Request {
    /// Passed on to the session as it is.
    Net(Command),
    /// The camera, on or off.
    Camera(bool),
    /// The microphone, on or off.
    Microphone(bool),
    /// Share this screen, or stop.
    Screen(Option<ScreenTarget>),
}

/// What the pumps tell the call's task.
#[derive(Debug)]
pub(super) enum Notice {
    /// A decoder can't go on.
    NeedKey {
        /// Whose track.
        peer: UserId,
        /// Which.
        track: TrackId,
    },
    /// The first picture of a track was decoded.
    FirstPicture {
        /// Whose track.
        peer: UserId,
        /// Which.
        track: TrackId,
    },
    /// What the camera or the screen capture lacks now; `None` when all is well again.
    Picture {
        /// Which.
        source: Source,
        /// A plain sentence.
        problem: Option<String>,
    },
    /// What the sound devices lack now.
    Sound(Vec<String>),
}
