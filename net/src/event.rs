//! What a session is told and what it tells: [`Command`] in, [`Event`] out.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wire::{Member, RawRoomId, UserId};

use crate::media::{RemoteTrack, Source, TrackId};
use crate::stats::Stats;

/// Bytes in a [`TransferId`]; a peer chooses the id of what it sends.
const TRANSFER_ID_BYTES: usize = 64;

/// Names one chat message of ours, from [`Command::Chat`] to [`Event::Sent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(pub Uuid);

impl MessageId {
    /// A fresh one.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one image on its way. Ours are UUIDs; those of others are any short text, so it means
/// something only together with the peer that sent it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TransferId(String);

impl TransferId {
    /// A fresh one.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4().to_string())
    }

    /// The id that a peer chose; `None` when it is empty or unreasonably long.
    #[must_use]
    pub fn from_peer(id: &str) -> Option<Self> {
        (!id.is_empty() && id.len() <= TRANSFER_ID_BYTES).then(|| Self(id.to_owned()))
    }

    /// The id as it crosses the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a session is asked to do; see [`crate::Session::try_command`].
#[derive(Debug, Clone)]
pub enum Command {
    /// Say something to the room. Ends in [`Event::Sent`] or [`Event::NotSent`].
    Chat {
        /// Chosen by the caller.
        id: MessageId,
        /// At most [`wire::limits::CHAT_TEXT_UNITS`] UTF-16 units.
        text: String,
    },
    /// The typing indicator.
    Typing(bool),
    /// Send an image to every connected peer. For each of them comes [`Event::ImageSent`] or
    /// [`Event::ImageFailed`]; with no peer at all, one `ImageFailed` without a peer.
    SendImage {
        /// Chosen by the caller.
        id: TransferId,
        /// The file's name; a path in front of it is removed.
        name: String,
        /// `image/png`, `image/jpeg`, `image/gif` or `image/webp`.
        mime: String,
        /// The file, at most [`wire::limits::IMAGE_BYTES`].
        bytes: Bytes,
    },
    /// Stop sending, or refuse, an image.
    CancelImage {
        /// Which.
        id: TransferId,
    },
    /// Show or hide one of our sources. Hidden sources send nothing; the peers see the track end
    /// or pause.
    Publish {
        /// Which.
        source: Source,
        /// Shown or hidden.
        on: bool,
    },
    /// The decoder of a peer's track can't go on without a key frame.
    RequestKeyFrame {
        /// Whose.
        peer: UserId,
        /// Which of its tracks.
        track: TrackId,
    },
    /// Asks for one [`Event::Stats`].
    Stats,
    /// Leave the meeting; [`Event::Left`] is the last event.
    Leave,
}

/// How the connection to a peer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerState {
    /// Negotiating for the first time.
    Connecting,
    /// Media and data can flow.
    Connected,
    /// It was connected and looks for a new path.
    Reconnecting,
    /// No path was found; it is tried again when the peer says something.
    Failed,
    /// The peer left, or we did.
    Closed,
}

impl PeerState {
    /// `connecting`, `connected`, `reconnecting`, `failed`, `closed`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Reconnecting => "reconnecting",
            Self::Failed => "failed",
            Self::Closed => "closed",
        }
    }
}

/// How the connection to the server stands. The call goes on without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerLink {
    /// In the room.
    Connected,
    /// Lost; it is tried again by itself.
    Reconnecting {
        /// How many attempts have failed.
        attempt: u32,
        /// When the next one starts.
        retry_in: Duration,
    },
}

/// How a chat message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protection {
    /// Encrypted with the passphrase.
    Sealed,
    /// Encrypted with the room id, which the server knows: not private from the server.
    RoomKeyOnly,
    /// Not encrypted.
    Plain,
}

/// Why a chat message can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnreadableReason {
    /// Well-formed, but sealed with another passphrase (or by somebody else, or damaged).
    WrongKey,
    /// Sealed in a way that this version does not know.
    UnknownVersion,
    /// It has the mark of an encrypted message, but is none.
    Malformed,
}

/// What happens in a meeting.
#[derive(Debug)]
pub enum Event {
    /// We are in the room: the first event, and again after a reconnect under a new id.
    Joined {
        /// Our id.
        user: UserId,
        /// Our name as the server keeps it.
        name: String,
        /// The room.
        room: RawRoomId,
    },
    /// The connection to the server was lost or is back.
    Server(ServerLink),
    /// Who is in the room, ourselves included, without duplicates.
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
        /// Who, as vouched for by the server.
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
    /// The server has given our message to the room. May follow [`Event::NotSent`], if it took the
    /// message later than one could wait for.
    Sent {
        /// Which.
        id: MessageId,
    },
    /// Our message did not reach the room.
    NotSent {
        /// Which.
        id: MessageId,
        /// A sentence for people.
        why: String,
    },
    /// Somebody else types, or stopped. It ends by itself with their next message.
    Typing {
        /// Who.
        from: UserId,
        /// Whether they type now.
        typing: bool,
    },
    /// A peer's microphone, camera or screen begins.
    Track(RemoteTrack),
    /// It ended; its `frames` are closed, too.
    TrackEnded {
        /// Whose.
        peer: UserId,
        /// Which.
        track: TrackId,
    },
    /// A peer says what its devices do; `None` where it has not said. Peers of version 1 never do.
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
    /// Somebody can't decode without a key frame of our source. At most once a second for each.
    KeyFrameWanted {
        /// Which.
        source: Source,
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
    /// An image moves on, ours or a peer's. A few a second at most.
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
    /// A peer's image is complete. Its type was recognised from its content; its dimensions are
    /// within [`wire::limits::IMAGE_SIDE_PIXELS`] and [`wire::limits::IMAGE_PIXELS`].
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
    /// The answer to [`Command::Stats`].
    Stats(Box<Stats>),
    /// Something went wrong that the user should know; the session goes on unless `Left` follows.
    Error {
        /// Stable, for programs.
        code: &'static str,
        /// A sentence for people.
        message: String,
    },
    /// The session is over; the last event.
    Left,
}
