//! The messages of version 2 as `testdata/messages-v2.json` has them; the web client's tests read
//! the same file.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use wire::{
    ClientMessage, Hello, MediaState, RoomId, ServerMessage, UserId, close, session::VERSION,
};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../testdata/messages-v2.json")).expect("the file is JSON")
}

fn list(name: &str) -> Vec<Value> {
    let list = vectors()[name].as_array().expect(name).clone();
    assert!(!list.is_empty());
    list
}

fn text<'a>(vector: &'a Value, field: &str) -> &'a str {
    vector[field].as_str().expect(field)
}

/// What a client understands, flat.
fn means(room: &str, message: &ServerMessage) -> Value {
    let (kind, parts) = match message {
        ServerMessage::Welcome(welcome) => (
            "session.welcome",
            json!({
                "v": welcome.v, "userID": welcome.user_id, "resume": welcome.resume,
                "resumeSeconds": welcome.limits.resume_seconds, "iceServers": welcome.ice_servers,
                "iceTtl": welcome.ice_ttl, "resumed": welcome.resumed, "rooms": welcome.rooms,
            }),
        ),
        ServerMessage::Joined { user } => ("room.joined", json!({ "user": user })),
        ServerMessage::Left { user, reason } => {
            ("room.left", json!({ "userID": user, "reason": reason }))
        }
        ServerMessage::Ack { id, seq } => ("chat.ack", json!({ "id": id, "seq": seq })),
        ServerMessage::Chat { from, message, id, seq } => {
            ("chat.message", json!({ "from": from, "message": message, "id": id, "seq": seq }))
        }
        ServerMessage::Error { error, id } => {
            ("general.error", json!({ "error": error, "id": id }))
        }
        ServerMessage::PeerAuth { from, m } => ("peer.auth", json!({ "from": from, "m": m })),
        ServerMessage::PeerState { from, state } => {
            let mut parts = serde_json::to_value(state).expect("a state is JSON");
            parts["from"] = json!(from);
            ("peer.state", parts)
        }
        other => panic!("no vector is about {other:?}"),
    };
    let mut flat = Map::from_iter([("type".into(), kind.into()), ("room".into(), room.into())]);
    let Value::Object(parts) = parts else { unreachable!("each of them is an object") };
    flat.extend(parts.into_iter().filter(|(_, value)| !value.is_null()));
    Value::Object(flat)
}

#[test]
fn what_a_server_says_is_understood_as_written() {
    for vector in list("server") {
        let (room, message) = ServerMessage::parse(text(&vector, "text").as_bytes())
            .unwrap_or_else(|error| panic!("{}: {error}", vector["name"]));
        assert_eq!(means(&room, &message), vector["means"], "{}", vector["name"]);
    }
}

#[test]
fn what_makes_no_sense_is_told_apart() {
    for text in list("ignored") {
        let text = text.as_str().expect("a text");
        assert!(ServerMessage::parse(text.as_bytes()).is_err(), "{text}");
    }
}

/// The message of a vector.
fn message(means: &Value) -> ClientMessage {
    let string = |name: &str| means.get(name).and_then(Value::as_str).map(str::to_owned);
    match text(means, "type") {
        "session.hello" => {
            let mut hello = Hello::new();
            assert_eq!(means["v"], VERSION);
            (hello.token, hello.resume) = (string("token"), string("resume"));
            hello.received = means.get("received").and_then(Value::as_u64);
            ClientMessage::Hello(Box::new(hello))
        }
        "chat.message" => {
            ClientMessage::Chat { message: string("message").expect("a message"), id: string("id") }
        }
        "peer.state" => {
            let device = |name: &str| means.get(name).and_then(Value::as_bool);
            let tracks = means.get("tracks").map(|tracks| {
                let tracks: BTreeMap<_, _> = serde_json::from_value(tracks.clone()).expect("uses");
                tracks
            });
            let state = MediaState {
                microphone: device("microphone"),
                camera: device("camera"),
                screen: device("screen"),
                tracks,
            };
            let to = string("to").map(|to| UserId::new(to).expect("an id"));
            ClientMessage::PeerState { to, state }
        }
        other => panic!("no vector is about {other}"),
    }
}

#[test]
fn what_a_client_says_is_written_as_documented() {
    for vector in list("client") {
        let means = &vector["means"];
        let room = means.get("room").and_then(Value::as_str).unwrap_or("unused");
        let room = RoomId::new(room).expect("a room");
        assert_eq!(message(means).to_json(&room), text(&vector, "text"), "{}", vector["name"]);
    }
}

#[test]
fn a_reason_tells_how_long_to_wait() {
    for vector in list("waits") {
        let wait = close::wait_in(text(&vector, "reason")).map(|wait| wait.as_secs());
        assert_eq!(wait, vector["seconds"].as_u64(), "{}", vector["reason"]);
    }
}
