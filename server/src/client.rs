//! What one client may do: every message is checked here before anybody else sees it. No socket
//! and no clock, so that every rule is tested by a call.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use uuid::Uuid;
use wire::{Envelope, InvalidId, MessageType, Outgoing, Refusal, RoomId, UserId, limits};

use crate::auth::User;
use crate::limits::{Bucket, Rate};
use crate::outbox::{Frame, Outbox};
use crate::relay::Relay;
use crate::rooms::{Action, Seat, SocketId};

/// Rooms that one connection may be in at once; the next one is refused as busy. People are in
/// one or two.
pub const ROOMS_PER_SOCKET: usize = 32;

/// Why the server ends a connection: the code and the reason of the close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    /// RFC 6455 §7.4.
    pub code: CloseCode,
    /// A sentence for people.
    pub reason: &'static str,
}

impl Closing {
    /// The server stops.
    pub const GOING_AWAY: Self = Self { code: CloseCode::Away, reason: "the server is stopping" };
    /// A message above the limit.
    pub const TOO_BIG: Self =
        Self { code: CloseCode::Size, reason: "a message has more than 65536 bytes" };
    /// Not UTF-8, or not a JSON object.
    pub const NOT_JSON: Self =
        Self { code: CloseCode::Invalid, reason: "a message is not a JSON object" };
    /// Not WebSocket as RFC 6455 has it.
    pub const BROKEN: Self =
        Self { code: CloseCode::Protocol, reason: "a frame breaks the WebSocket protocol" };
    /// The last counted refusal.
    pub const REFUSED_TOO_OFTEN: Self =
        Self { code: CloseCode::Policy, reason: "too many messages were refused" };
    /// Nothing came for too long.
    pub const SILENT: Self =
        Self { code: CloseCode::Policy, reason: "no sign of life for 60 seconds" };
    /// The outbox is full, or nothing could be written for too long.
    pub const TOO_SLOW: Self =
        Self { code: CloseCode::Again, reason: "too slow: messages come faster than you read" };
}

/// One connection's standing: its rooms, its rate, its refusals. Dropping it leaves all rooms.
#[derive(Debug)]
pub struct Client {
    socket: SocketId,
    user: Arc<User>,
    relay: Arc<Relay>,
    outbox: Arc<Outbox>,
    rooms: Vec<RoomId>,
    bucket: Bucket,
    refusals: u32,
}

impl Drop for Client {
    fn drop(&mut self) {
        for room in std::mem::take(&mut self.rooms) {
            // Leaving can't be refused.
            let _ = self.relay.handle(&room, Action::Leave(self.socket));
        }
    }
}

impl Client {
    /// A newcomer, in no room yet.
    #[must_use]
    pub fn new(user: Arc<User>, relay: Arc<Relay>, now: Instant) -> Self {
        Self {
            socket: relay.new_socket(),
            user,
            relay,
            outbox: Arc::default(),
            rooms: Vec::new(),
            bucket: Bucket::full(now),
            refusals: 0,
        }
    }

    /// Where the client's messages wait.
    #[must_use]
    pub fn outbox(&self) -> Arc<Outbox> {
        self.outbox.clone()
    }

    /// Acts on one message, text or binary.
    ///
    /// # Errors
    /// [`Closing`] when the connection must end now.
    pub fn receive(&mut self, bytes: &[u8], now: Instant) -> Result<(), Closing> {
        if self.may_speak(now)? { self.read(bytes) } else { Ok(()) }
    }

    /// Counts a ping, so that nobody keeps the server busy with them.
    ///
    /// # Errors
    /// [`Closing`] when the connection must end now.
    pub fn receive_ping(&mut self, now: Instant) -> Result<(), Closing> {
        self.may_speak(now).map(|_| ())
    }

    /// Takes a token; where there is none, the client has been told.
    fn may_speak(&mut self, now: Instant) -> Result<bool, Closing> {
        match self.bucket.take(Rate::SOCKET, now) {
            Ok(()) => Ok(true),
            Err(_) => self.refuse(None, Refusal::RateLimited).map(|()| false),
        }
    }

    fn read(&mut self, bytes: &[u8]) -> Result<(), Closing> {
        let Ok(envelope) = Envelope::parse(bytes) else {
            let is_object = serde_json::from_slice::<Map<String, Value>>(bytes).is_ok();
            if is_object {
                return self.refuse(None, Refusal::InvalidType);
            }
            return Err(Closing::NOT_JSON);
        };
        let room = RoomId::new(&envelope.room);
        match self.act(&envelope, room.as_ref()) {
            Ok(()) => Ok(()),
            Err(refusal) => self.refuse(room.as_ref().ok(), refusal),
        }
    }

    fn act(
        &mut self,
        envelope: &Envelope<'_>,
        room: Result<&RoomId, &InvalidId>,
    ) -> Result<(), Refusal> {
        let kind = MessageType::from_name(&envelope.kind).ok_or(Refusal::InvalidType)?;
        let data = envelope.data_json();
        let room = match room {
            Ok(room) => room,
            Err(InvalidId::TooLong(_)) => return Err(Refusal::RoomTooLong),
            Err(InvalidId::Empty) if kind == MessageType::GenerateRoomId => {
                self.generate_room_id("");
                return Ok(());
            }
            Err(InvalidId::Empty) if is_from_clients(kind) => return Err(Refusal::RoomRequired),
            Err(InvalidId::Empty) => return Err(Refusal::InvalidType),
        };
        let is_member = self.rooms.contains(room);
        match kind {
            MessageType::Join => self.join(room),
            MessageType::Leave => {
                self.leave(room);
                Ok(())
            }
            MessageType::GenerateRoomId => {
                self.generate_room_id(room.as_str());
                Ok(())
            }
            MessageType::Chat if is_member => {
                check_chat(data)?;
                self.relay(room, Frame::new(self.stamped(kind, room, envelope.data)))
            }
            MessageType::Chat => Err(Refusal::ChatNotAllowed),
            MessageType::Typing if is_member => {
                check_typing(data)?;
                self.relay(room, Frame::typing(self.stamped(kind, room, envelope.data)))
            }
            MessageType::Typing => Err(Refusal::TypingNotAllowed),
            MessageType::Offer | MessageType::Answer | MessageType::IceCandidate => {
                if !is_member {
                    return Err(Refusal::SignalNotAllowed);
                }
                let to = check_signal(kind, data)?;
                let frame = Frame::new(self.stamped(kind, room, envelope.data));
                self.relay
                    .handle(room, Action::Signal { from: self.socket, to, frame })
                    .map_err(|_| Refusal::SignalNotAllowed)
            }
            MessageType::RoomUsers | MessageType::Error => Err(Refusal::InvalidType),
        }
    }

    fn join(&mut self, room: &RoomId) -> Result<(), Refusal> {
        if !self.rooms.contains(room) {
            if self.rooms.len() >= ROOMS_PER_SOCKET {
                return Err(Refusal::Busy);
            }
            self.rooms.push(room.clone());
        }
        let seat =
            Seat { socket: self.socket, user: self.user.clone(), handle: self.outbox.clone() };
        self.relay.handle(room, Action::Join(seat)).map_err(|_| Refusal::Busy)
    }

    fn leave(&mut self, room: &RoomId) {
        self.rooms.retain(|other| other != room);
        // Leaving can't be refused.
        let _ = self.relay.handle(room, Action::Leave(self.socket));
    }

    fn relay(&self, room: &RoomId, frame: Frame) -> Result<(), Refusal> {
        self.relay
            .handle(room, Action::Relay { from: self.socket, frame })
            .map_err(|_| Refusal::ChatNotAllowed)
    }

    fn generate_room_id(&self, room: &str) {
        #[derive(Serialize)]
        struct Generated {
            #[serde(rename = "roomID")]
            room_id: String,
        }
        let data = Generated { room_id: Uuid::new_v4().to_string() };
        self.answer(MessageType::GenerateRoomId, room, data);
    }

    /// Tells the client what was refused, and counts it where it counts.
    fn refuse(&mut self, room: Option<&RoomId>, refusal: Refusal) -> Result<(), Closing> {
        #[derive(Serialize)]
        struct Refused {
            error: &'static str,
        }
        let room = room.map_or("", RoomId::as_str);
        self.answer(MessageType::Error, room, Refused { error: refusal.text() });
        if refusal.is_counted() {
            self.refusals += 1;
            if self.refusals >= limits::REFUSALS_BEFORE_CLOSE {
                return Err(Closing::REFUSED_TOO_OFTEN);
            }
        }
        Ok(())
    }

    fn answer(&self, kind: MessageType, room: &str, data: impl Serialize) {
        let answer = Outgoing { kind: kind.name(), room, data, from: Some(UserId::SYSTEM) };
        self.outbox.push(Frame::new(answer.to_json()));
    }

    /// What the others get: the same data byte for byte, and who sent it.
    fn stamped(&self, kind: MessageType, room: &RoomId, data: Option<&RawValue>) -> String {
        let from = Some(self.user.id.as_str());
        Outgoing { kind: kind.name(), room: room.as_str(), data, from }.to_json()
    }
}

fn is_from_clients(kind: MessageType) -> bool {
    !matches!(kind, MessageType::RoomUsers | MessageType::Error)
}

/// Reads an object; serde would take an array for a struct, too.
fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    if json.starts_with('{') { serde_json::from_str(json).ok() } else { None }
}

fn check_chat(data: &str) -> Result<(), Refusal> {
    #[derive(Deserialize)]
    struct Chat<'a> {
        #[serde(borrow)]
        message: Cow<'a, str>,
    }
    let chat: Chat<'_> = object(data).ok_or(Refusal::InvalidChat)?;
    if chat.message.trim().is_empty() {
        return Err(Refusal::ChatEmpty);
    }
    if chat.message.chars().count() > limits::MESSAGE_CHARS {
        return Err(Refusal::ChatTooLong);
    }
    Ok(())
}

fn check_typing(data: &str) -> Result<(), Refusal> {
    #[derive(Deserialize)]
    struct Typing {
        #[serde(rename = "typing")]
        _typing: bool,
    }
    object::<Typing>(data).map(|_| ()).ok_or(Refusal::InvalidTyping)
}

/// Whom the signal is for.
fn check_signal(kind: MessageType, data: &str) -> Result<UserId, Refusal> {
    #[derive(Deserialize)]
    struct Sdp<'a> {
        #[serde(borrow, rename = "sdp")]
        _sdp: Cow<'a, str>,
        #[serde(borrow, default)]
        to: Option<Cow<'a, str>>,
    }
    #[derive(Deserialize)]
    struct Candidate<'a> {
        #[serde(borrow, rename = "candidate")]
        _candidate: Cow<'a, str>,
        #[serde(borrow, default)]
        to: Option<Cow<'a, str>>,
    }
    let to = match kind {
        MessageType::IceCandidate => {
            object::<Candidate<'_>>(data).ok_or(Refusal::InvalidCandidate)?.to
        }
        MessageType::Answer => object::<Sdp<'_>>(data).ok_or(Refusal::InvalidAnswer)?.to,
        _ => object::<Sdp<'_>>(data).ok_or(Refusal::InvalidOffer)?.to,
    };
    let to = to.as_deref().map(str::trim).unwrap_or_default();
    UserId::new(to).map_err(|_| Refusal::MissingRecipient)
}
