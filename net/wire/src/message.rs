//! The messages inside the envelopes, typed, as a client sees them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::envelope::{Envelope, MalformedEnvelope, Outgoing};
use crate::id::{RoomId, UserId};
use crate::limits;
use crate::session::{Hello, LeftReason, Welcome};
use crate::state::MediaState;

macro_rules! message_types {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// Every `type` of the protocol.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum MessageType { $($(#[$doc])* $variant,)+ }

        impl MessageType {
            /// All of them, in the order of `PROTOCOL.md`.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The `type` as it crosses the wire.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The type of that name, if the protocol has one.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

message_types! {
    /// Adds the connection to a room.
    Join = "chat.join",
    /// Removes it.
    Leave = "chat.leave",
    /// Chat, encrypted or not.
    Chat = "chat.message",
    /// Somebody types, or stopped.
    Typing = "chat.typing",
    /// Who is in the room.
    RoomUsers = "room.users",
    /// Asks for, or carries, a new room id.
    GenerateRoomId = "utils.generateRoomID",
    /// An SDP offer for one peer.
    Offer = "webrtc.offer",
    /// An SDP answer for one peer.
    Answer = "webrtc.answer",
    /// A trickled ICE candidate for one peer.
    IceCandidate = "webrtc.iceCandidate",
    /// The server's refusal.
    Error = "general.error",
    /// Version 2: begins a session, or goes on with one.
    Hello = "session.hello",
    /// Version 2: the server's answer to it.
    Welcome = "session.welcome",
    /// Version 2: somebody came.
    RoomJoined = "room.joined",
    /// Version 2: somebody went.
    RoomLeft = "room.left",
    /// Version 2: the server has taken a chat message.
    ChatAck = "chat.ack",
    /// Version 2: a step of proving who one is, for one peer.
    PeerAuth = "peer.auth",
    /// Version 2: what somebody's devices do.
    PeerState = "peer.state",
}

impl MessageType {
    /// Whether only clients and servers of version 2 know it.
    #[must_use]
    pub fn is_v2(self) -> bool {
        use MessageType::{ChatAck, Hello, PeerAuth, PeerState, RoomJoined, RoomLeft, Welcome};
        matches!(self, Hello | Welcome | RoomJoined | RoomLeft | ChatAck | PeerAuth | PeerState)
    }
}

/// One line of a roster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The member's id. Mind the spelling on the wire: `userID`.
    #[serde(rename = "userID")]
    pub id: UserId,
    /// The display name.
    pub username: String,
}

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientMessage {
    /// Enter the room.
    Join,
    /// Leave the room.
    Leave,
    /// Chat text as it crosses the wire, sealed or plain.
    Chat {
        /// At most [`crate::limits::MESSAGE_CHARS`] code points.
        message: String,
        /// Version 2: a UUID, so that the server acknowledges it and takes it only once.
        id: Option<String>,
    },
    /// The typing indicator.
    Typing {
        /// Whether the user types now.
        typing: bool,
    },
    /// Asks for a new room id; needs no room.
    GenerateRoomId,
    /// An SDP offer.
    Offer {
        /// The SDP text.
        sdp: String,
        /// The peer.
        to: UserId,
    },
    /// An SDP answer.
    Answer {
        /// The SDP text.
        sdp: String,
        /// The peer.
        to: UserId,
    },
    /// An ICE candidate.
    IceCandidate {
        /// The JSON text of an `RTCIceCandidateInit`.
        candidate: String,
        /// The peer.
        to: UserId,
    },
    /// The first message of a connection; needs no room.
    Hello(Box<Hello>),
    /// A step of proving who one is; at most [`crate::limits::PEER_AUTH_BYTES`].
    PeerAuth {
        /// The peer.
        to: UserId,
        /// Between the two.
        m: Map<String, Value>,
    },
    /// What our devices do.
    PeerState {
        /// The peer; `None` for everybody in the room who speaks version 2.
        to: Option<UserId>,
        /// What is new.
        state: MediaState,
    },
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize, Deserialize)]
struct ChatData {
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "chat_id")]
    id: Option<String>,
}

/// What is no id for us is none: it is of a client that puts something else there.
fn chat_id<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let fits = |id: &String| (1..=limits::CHAT_ID_BYTES).contains(&id.len());
    Ok(match Value::deserialize(from)? {
        Value::String(id) => Some(id).filter(fits),
        _ => None,
    })
}

#[derive(Serialize, Deserialize)]
struct AckData {
    id: String,
    seq: u64,
}

#[derive(Deserialize)]
struct JoinedData {
    user: Member,
}

#[derive(Deserialize)]
struct LeftData {
    #[serde(rename = "userID")]
    id: UserId,
    reason: LeftReason,
}

#[derive(Serialize, Deserialize)]
struct AuthData {
    #[serde(default)]
    to: String,
    m: Map<String, Value>,
}

#[derive(Serialize)]
struct StateData {
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<UserId>,
    #[serde(flatten)]
    state: MediaState,
}

#[derive(Serialize, Deserialize)]
struct TypingData {
    typing: bool,
}

#[derive(Serialize, Deserialize)]
struct SdpData {
    sdp: String,
    #[serde(default)]
    to: String,
}

#[derive(Serialize, Deserialize)]
struct CandidateData {
    candidate: String,
    #[serde(default)]
    to: String,
}

#[derive(Serialize, Deserialize)]
struct UsersData {
    users: Vec<Member>,
}

#[derive(Serialize, Deserialize)]
struct RoomIdData {
    #[serde(rename = "roomID")]
    room_id: String,
}

#[derive(Serialize, Deserialize)]
struct ErrorData {
    error: String,
    #[serde(default)]
    id: Option<String>,
}

impl ClientMessage {
    /// The type on the wire.
    #[must_use]
    pub fn kind(&self) -> MessageType {
        match self {
            Self::Join => MessageType::Join,
            Self::Leave => MessageType::Leave,
            Self::Chat { .. } => MessageType::Chat,
            Self::Typing { .. } => MessageType::Typing,
            Self::GenerateRoomId => MessageType::GenerateRoomId,
            Self::Offer { .. } => MessageType::Offer,
            Self::Answer { .. } => MessageType::Answer,
            Self::IceCandidate { .. } => MessageType::IceCandidate,
            Self::Hello(_) => MessageType::Hello,
            Self::PeerAuth { .. } => MessageType::PeerAuth,
            Self::PeerState { .. } => MessageType::PeerState,
        }
    }

    /// The JSON text to send.
    #[must_use]
    pub fn to_json(&self, room: &RoomId) -> String {
        fn json(kind: MessageType, room: &str, data: impl Serialize) -> String {
            Outgoing { kind: kind.name(), room, data, from: None }.to_json()
        }
        let (kind, room) = (self.kind(), room.as_str());
        match self {
            Self::Join | Self::Leave => json(kind, room, Empty {}),
            Self::GenerateRoomId => json(kind, "", Empty {}),
            Self::Chat { message, id } => {
                json(kind, room, ChatData { message: message.clone(), id: id.clone() })
            }
            Self::Typing { typing } => json(kind, room, TypingData { typing: *typing }),
            Self::Offer { sdp, to } | Self::Answer { sdp, to } => {
                json(kind, room, SdpData { sdp: sdp.clone(), to: to.to_string() })
            }
            Self::IceCandidate { candidate, to } => {
                let data = CandidateData { candidate: candidate.clone(), to: to.to_string() };
                json(kind, room, data)
            }
            Self::Hello(hello) => json(kind, "", hello),
            Self::PeerAuth { to, m } => {
                json(kind, room, AuthData { to: to.to_string(), m: m.clone() })
            }
            Self::PeerState { to, state } => {
                json(kind, room, StateData { to: to.clone(), state: state.clone() })
            }
        }
    }
}

/// What a client receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerMessage {
    /// Chat text as it crosses the wire; one's own comes back, too.
    Chat {
        /// Who wrote it.
        from: UserId,
        /// Sealed or plain.
        message: String,
        /// The sender's id of it, where the sender gave one.
        id: Option<String>,
        /// Version 2: its number among that sender's in this room.
        seq: Option<u64>,
    },
    /// Somebody's typing indicator.
    Typing {
        /// Who.
        from: UserId,
        /// Whether they type now.
        typing: bool,
    },
    /// Everybody in the room, oneself included; an id may stand there more than once.
    RoomUsers {
        /// In the server's order.
        users: Vec<Member>,
    },
    /// The answer to [`ClientMessage::GenerateRoomId`].
    RoomId {
        /// A fresh id, without prefix.
        room_id: String,
    },
    /// A peer's SDP offer.
    Offer {
        /// Who.
        from: UserId,
        /// Not checked yet.
        sdp: String,
    },
    /// A peer's SDP answer.
    Answer {
        /// Who.
        from: UserId,
        /// Not checked yet.
        sdp: String,
    },
    /// A peer's ICE candidate.
    IceCandidate {
        /// Who.
        from: UserId,
        /// JSON text, not checked yet; may be empty.
        candidate: String,
    },
    /// The server refused something.
    Error {
        /// One of [`crate::Refusal::text`], or a newer one.
        error: String,
        /// Version 2: the id of the refused chat message.
        id: Option<String>,
    },
    /// The session has begun, or goes on.
    Welcome(Box<Welcome>),
    /// Somebody came; sent once for each user.
    Joined {
        /// Who.
        user: Member,
    },
    /// Somebody went.
    Left {
        /// Who.
        user: UserId,
        /// Why.
        reason: LeftReason,
    },
    /// The server has taken our message and given it to the room.
    Ack {
        /// Ours.
        id: String,
        /// Its number among ours in this room.
        seq: u64,
    },
    /// A peer's step of proving who it is.
    PeerAuth {
        /// Who.
        from: UserId,
        /// Between the two.
        m: Map<String, Value>,
    },
    /// What a peer's devices do.
    PeerState {
        /// Who.
        from: UserId,
        /// What is new.
        state: MediaState,
    },
}

/// Why a client can't use a message.
#[derive(Debug, Error)]
pub enum Unexpected {
    /// Not an envelope at all.
    #[error(transparent)]
    Envelope(#[from] MalformedEnvelope),
    /// A type that this client does not know; newer servers may send some.
    #[error("unknown message type")]
    Type,
    /// The payload is not what the type asks for.
    #[error("malformed payload of {kind}: {source}")]
    Data {
        /// The message's type.
        kind: &'static str,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A message that needs a sender has none, or an impossible one.
    #[error("{0} without a valid sender")]
    From(&'static str),
}

impl ServerMessage {
    /// Reads one WebSocket message; the room comes back beside it (empty where there is none).
    ///
    /// # Errors
    /// [`Unexpected`]; the caller drops the message and counts it.
    pub fn parse(bytes: &[u8]) -> Result<(String, Self), Unexpected> {
        let envelope = Envelope::parse(bytes)?;
        let kind = MessageType::from_name(&envelope.kind).ok_or(Unexpected::Type)?;
        let name = kind.name();
        let json = envelope.data_json();
        let from = || {
            let from = envelope.from.as_deref().unwrap_or_default();
            UserId::new(from).map_err(|_| Unexpected::From(name))
        };
        fn data<'a, T: Deserialize<'a>>(
            kind: &'static str,
            json: &'a str,
        ) -> Result<T, Unexpected> {
            serde_json::from_str(json).map_err(|source| Unexpected::Data { kind, source })
        }
        let message = match kind {
            MessageType::Join | MessageType::Leave | MessageType::Hello => {
                return Err(Unexpected::Type);
            }
            MessageType::Chat => {
                let ChatData { message, id } = data(name, json)?;
                Self::Chat { from: from()?, message, id, seq: envelope.seq }
            }
            MessageType::Typing => {
                Self::Typing { from: from()?, typing: data::<TypingData>(name, json)?.typing }
            }
            MessageType::RoomUsers => {
                Self::RoomUsers { users: data::<UsersData>(name, json)?.users }
            }
            MessageType::GenerateRoomId => {
                Self::RoomId { room_id: data::<RoomIdData>(name, json)?.room_id }
            }
            MessageType::Offer => {
                Self::Offer { from: from()?, sdp: data::<SdpData>(name, json)?.sdp }
            }
            MessageType::Answer => {
                Self::Answer { from: from()?, sdp: data::<SdpData>(name, json)?.sdp }
            }
            MessageType::IceCandidate => {
                let candidate = data::<CandidateData>(name, json)?.candidate;
                Self::IceCandidate { from: from()?, candidate }
            }
            MessageType::Error => {
                let ErrorData { error, id } = data(name, json)?;
                Self::Error { error, id }
            }
            MessageType::Welcome => Self::Welcome(Box::new(data(name, json)?)),
            MessageType::RoomJoined => Self::Joined { user: data::<JoinedData>(name, json)?.user },
            MessageType::RoomLeft => {
                let LeftData { id, reason } = data(name, json)?;
                Self::Left { user: id, reason }
            }
            MessageType::ChatAck => {
                let AckData { id, seq } = data(name, json)?;
                Self::Ack { id, seq }
            }
            MessageType::PeerAuth => {
                Self::PeerAuth { from: from()?, m: data::<AuthData>(name, json)?.m }
            }
            MessageType::PeerState => {
                let mut state: MediaState = data(name, json)?;
                if state.tracks.as_ref().is_some_and(|t| t.len() > limits::PEER_STATE_TRACKS) {
                    state.tracks = None;
                }
                Self::PeerState { from: from()?, state }
            }
        };
        Ok((envelope.room.into_owned(), message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    #[test]
    fn a_client_message_has_the_documented_shape() {
        let room = RoomId::new("pm_room:demo").unwrap();
        let check = |message: ClientMessage, json: &str| {
            assert_eq!(message.to_json(&room), json);
        };
        check(ClientMessage::Join, r#"{"type":"chat.join","room":"pm_room:demo","data":{}}"#);
        check(
            ClientMessage::Offer { sdp: "v=0\r\n".into(), to: user("b") },
            r#"{"type":"webrtc.offer","room":"pm_room:demo","data":{"sdp":"v=0\r\n","to":"b"}}"#,
        );
        check(
            ClientMessage::GenerateRoomId,
            r#"{"type":"utils.generateRoomID","room":"","data":{}}"#,
        );
    }

    #[test]
    fn a_snapshot_is_read_with_its_spelling() {
        let text = r#"{"type":"room.users","room":"r","data":{"users":[{"userID":"a","username":"A","x":1}]},"from":"system"}"#;
        let (room, message) = ServerMessage::parse(text.as_bytes()).unwrap();
        assert_eq!(room, "r");
        let users = vec![Member { id: user("a"), username: "A".into() }];
        assert_eq!(message, ServerMessage::RoomUsers { users });
    }

    #[test]
    fn a_signal_without_a_sender_is_refused() {
        let text = br#"{"type":"webrtc.offer","room":"r","data":{"sdp":"x"}}"#;
        assert!(matches!(ServerMessage::parse(text), Err(Unexpected::From("webrtc.offer"))));
    }

    #[test]
    fn types_of_the_future_are_told_apart_from_rubbish() {
        let future = br#"{"type":"room.sung","room":"r","data":{}}"#;
        assert!(matches!(ServerMessage::parse(future), Err(Unexpected::Type)));
        assert!(matches!(ServerMessage::parse(b"{"), Err(Unexpected::Envelope(_))));
    }

    #[test]
    fn names_and_types_match_both_ways() {
        for kind in MessageType::ALL {
            assert_eq!(MessageType::from_name(kind.name()), Some(*kind));
        }
    }
}
