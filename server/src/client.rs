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
        let kind = MessageType::from_name(&envelope.kind)
            .filter(|kind| !kind.is_v2())
            .ok_or(Refusal::InvalidType)?;
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
                let frame = Frame::new(self.stamped(kind, room, envelope.data));
                let action = Action::Relay { from: self.socket, frame };
                self.relay.handle(room, action).map_err(|_| Refusal::ChatNotAllowed)
            }
            MessageType::Chat => Err(Refusal::ChatNotAllowed),
            MessageType::Typing if is_member => {
                check_typing(data)?;
                let frame = Frame::typing(self.stamped(kind, room, envelope.data));
                let action = Action::Relay { from: self.socket, frame };
                self.relay.handle(room, action).map_err(|_| Refusal::TypingNotAllowed)
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
            _ => Err(Refusal::InvalidType),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wire::ServerMessage;

    use super::*;

    /// A client in a test, with a clock that the test moves.
    struct Guest {
        client: Client,
        now: Instant,
    }

    impl Guest {
        fn new(relay: &Arc<Relay>, name: &str) -> Self {
            let user = User { id: UserId::new(name).unwrap(), name: name.to_uppercase() };
            let now = Instant::now();
            Self { client: Client::new(Arc::new(user), relay.clone(), now), now }
        }

        /// Sends, not too fast.
        fn send(&mut self, json: &str) -> Result<(), Closing> {
            self.now += Duration::from_secs(1);
            self.client.receive(json.as_bytes(), self.now)
        }

        fn received(&self) -> Vec<String> {
            let batch = self.client.outbox.take().unwrap();
            let frames = batch.into_iter().flat_map(|batch| batch.frames);
            frames.map(|frame| frame.text.to_string()).collect()
        }

        fn refusal(&mut self, json: &str) -> String {
            self.send(json).unwrap();
            let received = self.received();
            assert_eq!(received.len(), 1, "{json} brought {received:?}");
            match ServerMessage::parse(received[0].as_bytes()).unwrap().1 {
                ServerMessage::Error { error, .. } => error,
                other => panic!("{json} brought {other:?}"),
            }
        }
    }

    fn pair() -> (Guest, Guest) {
        let relay = Arc::new(Relay::new(2));
        let (mut ann, mut bob) = (Guest::new(&relay, "ann"), Guest::new(&relay, "bob"));
        for guest in [&mut ann, &mut bob] {
            guest.send(r#"{"type":"chat.join","room":"r"}"#).unwrap();
        }
        ann.received();
        bob.received();
        (ann, bob)
    }

    #[test]
    fn messages_are_relayed_byte_for_byte_with_their_sender() {
        let (mut ann, bob) = pair();
        let check = |ann: &mut Guest, kind: &str, data: &str, to_ann: bool| {
            let sent = format!(
                r#" {{"from":"bob","x":1,"room":" r\u00a0","type":"{kind}","data": {data} }}"#
            );
            ann.send(&sent).unwrap();
            let relayed = format!(r#"{{"type":"{kind}","room":"r","data":{data},"from":"ann"}}"#);
            let relayed = vec![relayed];
            assert_eq!(bob.received(), relayed);
            assert_eq!(ann.received(), if to_ann { relayed } else { vec![] });
        };
        check(&mut ann, "chat.message", r#"{"message":"\u0068i ","id": 7 }"#, true);
        check(&mut ann, "chat.typing", r#"{"typing":true,"x":{"y":[1.0]}}"#, true);
        check(&mut ann, "webrtc.offer", r#"{"to":"bob","sdp":"v=0\r\n","x":null}"#, false);
        check(&mut ann, "webrtc.answer", r#"{"sdp":"","to":"bob"}"#, false);
        check(&mut ann, "webrtc.iceCandidate", r#"{"candidate":"","to":"bob"}"#, false);
    }

    #[test]
    fn every_refusal_has_its_text() {
        let (mut ann, _bob) = pair();
        let mut check = |json: &str, text: &str| assert_eq!(ann.refusal(json), text, "{json}");
        let long = "x".repeat(129);
        check(r#"{"type":"chat.sing","room":"r"}"#, "Invalid message type");
        check(&format!(r#"{{"type":"chat.join","room":"{long}"}}"#), LONG_ROOM);
        check(r#"{"type":"chat.join","room":" "}"#, "Room ID is required");

        check(r#"{"type":"chat.message","room":"R","data":{}}"#, NO_CHAT);
        check(r#"{"type":"chat.typing","room":"R","data":{}}"#, NO_TYPING);
        for kind in ["offer", "answer", "iceCandidate"] {
            check(&format!(r#"{{"type":"webrtc.{kind}","room":"R","data":{{}}}}"#), NO_SIGNALS);
        }
        let chat = |message: &str| {
            format!(r#"{{"type":"chat.message","room":"r","data":{{"message":"{message}"}}}}"#)
        };
        check(&chat(" \\u2003\\n"), "Message cannot be empty");
        check(&chat(""), "Message cannot be empty");
        check(&chat(&"🔐".repeat(5_001)), "Message is too long");
    }

    #[test]
    fn payloads_must_have_their_shape() {
        let (mut ann, _bob) = pair();
        let mut check = |kind: &str, data: &str, text: &str| {
            let json = format!(r#"{{"type":"{kind}","room":"r","data":{data}}}"#);
            assert_eq!(ann.refusal(&json), text, "{json}");
        };
        for data in [
            "null",
            "{}",
            r#""hi""#,
            r#"["hi"]"#,
            r#"{"message":1}"#,
            r#"{"message":"a","message":"b"}"#,
            r#"{"message":"\ud800"}"#,
        ] {
            check("chat.message", data, "Invalid chat message payload");
        }
        for data in ["null", "{}", "[true]", r#"{"typing":"yes"}"#] {
            check("chat.typing", data, "Invalid typing payload");
        }
        for (kind, field, text) in [
            ("webrtc.offer", "sdp", "Invalid WebRTC offer payload"),
            ("webrtc.answer", "sdp", "Invalid WebRTC answer payload"),
            ("webrtc.iceCandidate", "candidate", "Invalid WebRTC ICE candidate payload"),
        ] {
            check(kind, "null", text);
            check(kind, r#"{"to":"bob"}"#, text);
            check(kind, r#"["v=0","bob"]"#, text);
            check(kind, &format!(r#"{{"{field}":7,"to":"bob"}}"#), text);
            check(kind, &format!(r#"{{"{field}":"v=0","to":7}}"#), text);
            for to in ["", r#","to":"""#, r#","to":null"#, r#","to":" ""#] {
                check(kind, &format!(r#"{{"{field}":"v=0"{to}}}"#), "Missing WebRTC recipient");
            }
        }
    }

    #[test]
    fn limits_are_reached_before_they_are_passed() {
        let (mut ann, bob) = pair();
        let longest = "🔐".repeat(5_000);
        let chat =
            format!(r#"{{"type":"chat.message","room":"r","data":{{"message":"{longest}"}}}}"#);
        ann.send(&chat).unwrap();
        assert_eq!((ann.received().len(), bob.received().len()), (1, 1));
        let room = "🔐".repeat(128);
        ann.send(&format!(r#"{{"type":"chat.join","room":" {room} "}}"#)).unwrap();
        assert!(ann.received()[0].contains(&format!(r#""room":"{room}""#)));
    }

    #[test]
    fn the_tenth_counted_refusal_ends_it_and_others_do_not_count() {
        let (mut ann, _bob) = pair();
        for _ in 0..50 {
            ann.refusal(r#"{"type":"chat.message","room":"r"}"#);
        }
        for json in [
            r#"{"type":"room.users","room":"r"}"#,
            r#"{"type":"room.users"}"#,
            r#"{"type":"general.error","room":"r","data":{"error":"x"}}"#,
            r#"{"type":7}"#,
            "{}",
        ] {
            assert_eq!(ann.refusal(json), "Invalid message type", "{json}");
        }
        for json in [
            r#"{"type":"chat.join"}"#,
            r#"{"type":"chat.leave","room":null}"#,
            r#"{"type":"chat.leave","room":7}"#,
            r#"{"type":"webrtc.offer","room":""}"#,
        ] {
            assert_eq!(ann.refusal(json), "Room ID is required", "{json}");
        }
        assert_eq!(ann.send(r#"{"type":"x"}"#), Err(Closing::REFUSED_TOO_OFTEN));
        assert_eq!(ann.received().len(), 1);
    }

    #[test]
    fn what_is_no_object_ends_it_at_once() {
        for bytes in
            ["hello", "", "[]", r#"["chat.join","r"]"#, "7", r#"{"type":"chat.join""#, "{}{}"]
        {
            let (mut ann, _bob) = pair();
            assert_eq!(ann.send(bytes), Err(Closing::NOT_JSON), "{bytes}");
        }
        let (mut ann, _bob) = pair();
        let now = ann.now;
        assert_eq!(ann.client.receive(b"{\"type\":\"\xff\"}", now), Err(Closing::NOT_JSON));
    }

    #[test]
    fn a_flood_is_refused_and_then_ended() {
        let (mut ann, _bob) = pair();
        let (typing, now) = (br#"{"type":"chat.typing","room":"r"}"#, ann.now);
        let mut sent = 0;
        let end = loop {
            sent += 1;
            let done = if sent % 2 == 0 {
                ann.client.receive_ping(now)
            } else {
                ann.client.receive(typing, now)
            };
            if let Err(closing) = done {
                break closing;
            }
        };
        assert_eq!((end, sent), (Closing::REFUSED_TOO_OFTEN, 199 + 10));
        let limited = ann.received().into_iter().filter(|m| m.contains("Rate limit exceeded"));
        assert_eq!(limited.count(), 10);
    }

    #[test]
    fn a_room_id_is_given_to_the_asker_alone_and_needs_no_room() {
        let (mut ann, bob) = pair();
        for (asked, room) in [("", ""), (r#","room":null"#, ""), (r#","room":" q ""#, "q")] {
            ann.send(&format!(r#"{{"type":"utils.generateRoomID"{asked}}}"#)).unwrap();
            let received = ann.received();
            let (echoed, message) = ServerMessage::parse(received[0].as_bytes()).unwrap();
            let ServerMessage::RoomId { room_id } = message else { panic!("{received:?}") };
            assert_eq!((echoed.as_str(), received.len()), (room, 1));
            assert_eq!(Uuid::parse_str(&room_id).unwrap().get_version_num(), 4);
        }
        assert!(bob.received().is_empty());
    }

    #[test]
    fn nobody_sits_in_too_many_rooms() {
        let relay = Arc::new(Relay::new(1));
        let mut ann = Guest::new(&relay, "ann");
        let join = |room: usize| format!(r#"{{"type":"chat.join","room":"{room}"}}"#);
        for room in 0..ROOMS_PER_SOCKET {
            ann.send(&join(room)).unwrap();
        }
        ann.received();
        assert_eq!(ann.refusal(&join(ROOMS_PER_SOCKET)), "Server busy");
        ann.send(&join(0)).unwrap();
        ann.send(r#"{"type":"chat.leave","room":"5"}"#).unwrap();
        ann.send(&join(ROOMS_PER_SOCKET)).unwrap();
        assert!(ann.received().iter().all(|message| message.contains("room.users")));
    }

    #[test]
    fn leaving_and_being_dropped_tell_those_who_stay() {
        let (ann, mut bob) = pair();
        bob.send(r#"{"type":"chat.leave","room":"r"}"#).unwrap();
        assert!(bob.received().is_empty());
        assert!(!ann.received()[0].contains("bob"));
        assert_eq!(
            bob.refusal(r#"{"type":"chat.typing","room":"r","data":{"typing":true}}"#),
            NO_TYPING
        );
        bob.send(r#"{"type":"chat.join","room":"r"}"#).unwrap();
        ann.received();
        drop(bob);
        let received = ann.received();
        assert_eq!(received.len(), 1);
        assert!(received[0].contains("ann") && !received[0].contains("bob"));
    }

    const LONG_ROOM: &str = "Room ID too long (maximum is 128 characters)";
    const NO_CHAT: &str = "You can't send a message to this room";
    const NO_TYPING: &str = "You can't send typing notifications to this room";
    const NO_SIGNALS: &str = "You can't send WebRTC messages to this room";
}
