//! Bad input gets a clear answer and harms nobody else.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::net::TcpSocket;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use crate::house::{Guest, House, soon};

async fn joined(house: &House, name: &str) -> Guest {
    let mut guest = house.enter(name).await;
    guest.joined("r").await;
    guest
}

#[tokio::test]
async fn refused_messages_bring_their_exact_text() {
    let house = House::open().await;
    let mut ann = joined(&house, "Ann").await;
    let long = "x".repeat(129);
    let too_long = "Room ID too long (maximum is 128 characters)";
    for (kind, room, data, answered, text) in [
        ("nonsense", "r", json!({}), "r", "Invalid message type"),
        ("chat.join", " ", json!({}), "", "Room ID is required"),
        ("chat.join", &long, json!({}), "", too_long),
        (
            "chat.message",
            "q",
            json!({"message": "x"}),
            "q",
            "You can't send a message to this room",
        ),
        ("chat.message", "r", json!({"message": 1}), "r", "Invalid chat message payload"),
        ("chat.message", "r", json!({"message": " \n"}), "r", "Message cannot be empty"),
        ("chat.message", "r", json!({"message": "é".repeat(5_001)}), "r", "Message is too long"),
        (
            "chat.typing",
            "q",
            json!({"typing": true}),
            "q",
            "You can't send typing notifications to this room",
        ),
        ("chat.typing", "r", json!({"typing": "true"}), "r", "Invalid typing payload"),
        (
            "webrtc.offer",
            "q",
            json!({"sdp": "", "to": "x"}),
            "q",
            "You can't send WebRTC messages to this room",
        ),
        ("webrtc.offer", "r", json!({"to": "x"}), "r", "Invalid WebRTC offer payload"),
        ("webrtc.answer", "r", json!({"sdp": {}, "to": "x"}), "r", "Invalid WebRTC answer payload"),
        (
            "webrtc.iceCandidate",
            "r",
            json!({"candidate": {}, "to": "x"}),
            "r",
            "Invalid WebRTC ICE candidate payload",
        ),
        ("webrtc.answer", "r", json!({"sdp": "v=0"}), "r", "Missing WebRTC recipient"),
    ] {
        ann.send(&json!({"type": kind, "room": room, "data": data})).await;
        ann.refused(answered, text).await;
    }
    let longest = json!({"message": "é".repeat(5_000)});
    ann.send(&json!({"type": "chat.message", "room": "r", "data": longest})).await;
    assert_eq!(ann.next().await["data"], longest);
}

#[tokio::test]
async fn the_tenth_counted_refusal_closes_and_tells_the_others() {
    let house = House::open().await;
    let (mut ann, mut bob) = (joined(&house, "Ann").await, joined(&house, "Bob").await);
    ann.next().await;
    for _ in 0..10 {
        ann.send(&json!({"type": "nonsense", "room": "r"})).await;
        ann.refused("r", "Invalid message type").await;
    }
    assert_eq!(ann.closed().await, 1008);
    assert_eq!(bob.next().await["data"]["users"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_flood_is_refused_then_closed_and_others_are_still_served() {
    let house = House::open().await;
    let (mut ann, mut bob) = (joined(&house, "Ann").await, joined(&house, "Bob").await);
    let typing = json!({"type": "chat.typing", "room": "r", "data": {"typing": true}}).to_string();
    // The server may close before all of it is sent.
    for _ in 0..2_000 {
        if ann.socket.send(Message::text(typing.clone())).await.is_err() {
            break;
        }
    }
    let (mut relayed, mut refused) = (0, 0);
    let code = loop {
        match soon(ann.socket.next()).await.unwrap().unwrap() {
            Message::Text(text) if text.contains("Rate limit exceeded") => refused += 1,
            Message::Text(text) if text.contains("chat.typing") => relayed += 1,
            Message::Text(_) | Message::Ping(_) => {}
            Message::Close(frame) => break u16::from(frame.unwrap().code),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((code, refused), (1008, 10));
    assert!(relayed >= 199, "only {relayed} were relayed");
    bob.send(&json!({"type": "chat.message", "room": "r", "data": {"message": "still here"}}))
        .await;
    while bob.next().await["data"]["message"] != "still here" {}
}

#[tokio::test]
async fn a_frame_may_have_65536_bytes_and_not_one_more() {
    let house = House::open().await;
    let (mut ann, mut bob) = (joined(&house, "Ann").await, joined(&house, "Bob").await);
    ann.next().await;
    let to = bob.id.clone();
    let padded = |bytes: usize| {
        let mut message = json!({"type": "webrtc.offer", "room": "r",
            "data": {"sdp": "", "to": to}});
        let padding = bytes - message.to_string().len();
        message["data"]["sdp"] = json!("x".repeat(padding));
        assert_eq!(message.to_string().len(), bytes);
        Message::text(message.to_string())
    };
    let (largest, too_large, huge) = (padded(65_536), padded(65_537), padded(70 * 1_024));
    ann.say(largest).await;
    assert_eq!(bob.next().await["type"], "webrtc.offer");
    ann.say(too_large).await;
    assert_eq!(ann.closed().await, 1009);
    let mut cem = joined(&house, "Cem").await;
    cem.say(huge).await;
    assert_eq!(cem.closed().await, 1009);
}

#[tokio::test]
async fn what_is_no_json_object_closes() {
    let house = House::open().await;
    for frame in [
        Message::text("hello"),
        Message::text("{\"type\":\"chat.join\""),
        Message::text("[]"),
        Message::binary(vec![0xff, 0xfe]),
        Message::text(""),
    ] {
        let mut ann = joined(&house, "Ann").await;
        ann.say(frame).await;
        assert_eq!(ann.closed().await, 1007);
    }
}

#[tokio::test]
async fn deep_nesting_is_relayed_or_refused_and_never_a_crash() {
    let house = House::open().await;
    let mut ann = joined(&house, "Ann").await;
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    let message =
        format!(r#"{{"type":"chat.message","room":"r","data":{{"message":"x","y":{deep}}}}}"#);
    ann.say(Message::text(message)).await;
    let answer = ann.text().await;
    assert!(answer.contains("Invalid chat message payload") || answer.contains("[[[["), "{answer}");
    ann.expect_nothing().await;
}

/// A client that asks the system for the smallest receive buffer and then reads nothing.
async fn sleeper(house: &House) -> Guest {
    let who = house.sign_in("Sleeper").await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1_024).unwrap();
    let tcp = socket.connect(house.address).await.unwrap();
    let (socket, _) = client_async(house.knock(&who.token), tcp).await.unwrap();
    let mut guest = Guest { id: who.id, socket };
    guest.joined("r").await;
    guest
}

#[tokio::test]
async fn a_slow_reader_is_closed_and_holds_nobody_up() {
    let house = House::open().await;
    let mut sleeper = sleeper(&house).await;
    let mut reader = joined(&house, "Reader").await;
    let mut senders = Vec::new();
    for n in 0..3 {
        senders.push(joined(&house, &format!("Sender {n}")).await);
    }
    let sdp = "x".repeat(60_000);
    'outer: for round in 0.. {
        assert!(round < 190, "the slow reader is still in the room");
        for sender in &mut senders {
            let data = json!({"sdp": sdp, "to": sleeper.id});
            sender.send(&json!({"type": "webrtc.offer", "room": "r", "data": data})).await;
        }
        // The reader's own echo proves that it is served, and brings the news if there are any.
        let data = json!({"message": round.to_string()});
        reader.send(&json!({"type": "chat.message", "room": "r", "data": data})).await;
        loop {
            let message = reader.next().await;
            if message["type"] == "room.users" {
                let users = message["data"]["users"].as_array().unwrap();
                if !users.iter().any(|user| user["userID"] == json!(sleeper.id)) && round > 0 {
                    break 'outer;
                }
            } else if message["data"]["message"] == json!(round.to_string()) {
                break;
            }
        }
    }
    // Whoever wakes up in time is told why.
    let told = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            match sleeper.socket.next().await {
                Some(Ok(Message::Close(Some(frame)))) => return Some(u16::from(frame.code)),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    });
    assert_eq!(told.await.unwrap(), Some(1013));
}
