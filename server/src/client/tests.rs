use std::time::Duration;

use wire::{ServerMessage, SessionLimits};

use super::*;
use crate::metrics::Metrics;
use crate::relay::Settings;
use crate::session::ROOMS_PER_SESSION;

/// Lets everybody in who says a name.
#[derive(Debug)]
struct OpenDoor;

impl Desk for OpenDoor {
    fn check(&self, token: &str) -> Option<User> {
        (token != "forged").then(|| user(token))
    }

    fn ice_servers(&self, _: &UserId, _: Option<&str>) -> wire::IceServers {
        wire::IceServers::default()
    }

    fn limits(&self) -> SessionLimits {
        SessionLimits::default()
    }
}

fn user(name: &str) -> User {
    User { id: UserId::new(name).unwrap(), name: name.to_uppercase() }
}

fn relay() -> Arc<Relay> {
    let settings = Settings { shards: 2, ..Settings::default() };
    Arc::new(Relay::new(&settings, Arc::new(Metrics::default()), Instant::now()))
}

/// A client in a test, with a clock that the test moves.
struct Guest {
    client: Client,
    now: Instant,
}

impl Guest {
    fn new(relay: &Arc<Relay>, name: &str) -> Self {
        Self::connect(relay, Some(user(name)))
    }

    fn connect(relay: &Arc<Relay>, user: Option<User>) -> Self {
        let now = Instant::now();
        let parts = (relay.clone(), Line::new(None, now));
        Self { client: Client::new(user, parts, (Arc::new(OpenDoor), None), None, now), now }
    }

    /// Sends, not too fast.
    fn send(&mut self, json: &str) -> Result<(), Closing> {
        self.now += Duration::from_secs(1);
        self.client.receive(json.as_bytes(), self.now)
    }

    fn received(&self) -> Vec<String> {
        let frames = self.client.session.outbox.drain();
        frames.iter().map(|frame| frame.json().to_owned()).collect()
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
    let relay = relay();
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
        let sent =
            format!(r#" {{"from":"bob","x":1,"room":" r\u00a0","type":"{kind}","data": {data} }}"#);
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
    let chat = format!(r#"{{"type":"chat.message","room":"r","data":{{"message":"{longest}"}}}}"#);
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
    for bytes in ["hello", "", "[]", r#"["chat.join","r"]"#, "7", r#"{"type":"chat.join""#, "{}{}"]
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
            ann.client.receive_ping(now).map(|_| ())
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
    let relay = relay();
    let mut ann = Guest::new(&relay, "ann");
    let join = |room: usize| format!(r#"{{"type":"chat.join","room":"{room}"}}"#);
    for room in 0..ROOMS_PER_SESSION {
        ann.send(&join(room)).unwrap();
    }
    ann.received();
    assert_eq!(ann.refusal(&join(ROOMS_PER_SESSION)), "Server busy");
    ann.send(&join(0)).unwrap();
    ann.send(r#"{"type":"chat.leave","room":"5"}"#).unwrap();
    ann.send(&join(ROOMS_PER_SESSION)).unwrap();
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
