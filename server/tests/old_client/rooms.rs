//! What members of a room see of one another.

use serde_json::{Value, json};
use server::Config;
use tokio_tungstenite::tungstenite::Message;

use crate::house::{DEADLINE, Guest, House, listed, soon};

async fn pair(house: &House) -> (Guest, Guest) {
    let (mut ann, mut bob) = (house.enter("Ann").await, house.enter("Bob").await);
    assert_eq!(ann.joined("pm_room:demo").await, [ann.id.clone()]);
    bob.joined("pm_room:demo").await;
    assert_eq!(listed(&ann.next().await), [ann.id.clone(), bob.id.clone()]);
    (ann, bob)
}

#[tokio::test]
async fn a_snapshot_goes_to_everybody_at_each_join_leave_and_close() {
    let house = House::open().await;
    let (mut ann, mut bob) = pair(&house).await;
    let mut cem = house.enter("Cem").await;
    cem.join("  pm_room:demo\u{a0}").await;
    let snapshot = json!({
        "type": "room.users",
        "room": "pm_room:demo",
        "data": {"users": [
            {"userID": ann.id, "username": "Ann"},
            {"userID": bob.id, "username": "Bob"},
            {"userID": cem.id, "username": "Cem"},
        ]},
        "from": "system",
    });
    for guest in [&mut ann, &mut bob, &mut cem] {
        assert_eq!(guest.next().await, snapshot);
    }
    ann.send(&json!({"type": "chat.leave", "room": "pm_room:demo", "data": {}})).await;
    for guest in [&mut bob, &mut cem] {
        assert_eq!(listed(&guest.next().await).len(), 2);
    }
    ann.expect_nothing().await;
    bob.socket.close(None).await.unwrap();
    assert_eq!(listed(&cem.next().await), [cem.id.clone()]);
    ann.joined("pm_room:demo").await;
    assert_eq!(listed(&cem.next().await), [cem.id.clone(), ann.id.clone()]);
    drop(ann);
    assert_eq!(listed(&cem.next().await), [cem.id.clone()]);
}

#[tokio::test]
async fn joining_twice_changes_nothing_and_leaving_elsewhere_does_nothing() {
    let house = House::open().await;
    let (mut ann, mut bob) = pair(&house).await;
    let both = ann.joined("pm_room:demo").await;
    assert_eq!((both.len(), listed(&bob.next().await)), (2, both));
    ann.send(&json!({"type": "chat.leave", "room": "pm_room:other"})).await;
    ann.expect_nothing().await;
    bob.expect_nothing().await;
}

#[tokio::test]
async fn chat_and_typing_come_back_to_their_sender_and_stay_in_their_room() {
    let house = House::open().await;
    let (mut ann, mut bob) = pair(&house).await;
    let mut stranger = house.enter("Cem").await;
    stranger.joined("pm_room:Demo").await;
    for (kind, data) in [
        ("chat.message", json!({"message": "hi 👋", "extra": {"kept": [1, null]}})),
        ("chat.typing", json!({"typing": true})),
        ("chat.typing", json!({"typing": false})),
    ] {
        let (room, from) = (" pm_room:demo ", "somebody else");
        ann.send(&json!({"type": kind, "room": room, "data": data, "from": from, "x": 1})).await;
        let relayed = json!({"type": kind, "room": "pm_room:demo", "data": data, "from": ann.id});
        assert_eq!(ann.next().await, relayed);
        assert_eq!(bob.next().await, relayed);
    }
    stranger.expect_nothing().await;
}

#[tokio::test]
async fn text_and_binary_frames_are_both_understood() {
    let house = House::open().await;
    let (mut ann, mut bob) = pair(&house).await;
    let message = r#"{"type":"chat.message","room":"pm_room:demo","data":{"message":"x"}}"#;
    for frame in [Message::text(message), Message::binary(message)] {
        ann.say(frame).await;
        for guest in [&mut ann, &mut bob] {
            assert_eq!(guest.next().await["data"]["message"], "x");
        }
    }
}

#[tokio::test]
async fn data_is_relayed_byte_for_byte() {
    let house = House::open().await;
    let (mut ann, mut bob) = pair(&house).await;
    let data = r#"{ "message" : "\u00e1\/",  "big": 12345678901234567890.10, "message2":"á" }"#;
    let sent = format!(r#"{{"type":"chat.message","room":"pm_room:demo","data":{data}}}"#);
    ann.say(Message::text(sent)).await;
    let expected = format!(
        r#"{{"type":"chat.message","room":"pm_room:demo","data":{data},"from":"{}"}}"#,
        ann.id
    );
    assert_eq!(bob.text().await, expected);
}

#[tokio::test]
async fn signals_reach_the_named_peer_only() {
    let house = House::open().await;
    let (mut ann, mut bob) = pair(&house).await;
    let mut cem = house.enter("Cem").await;
    cem.joined("pm_room:demo").await;
    for guest in [&mut ann, &mut bob] {
        listed(&guest.next().await);
    }
    let candidate = json!({"candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host", "sdpMid": "0"});
    for (kind, data) in [
        ("webrtc.offer", json!({"sdp": "v=0\r\n", "to": bob.id, "more": true})),
        ("webrtc.answer", json!({"sdp": "v=0\r\n", "to": bob.id})),
        ("webrtc.iceCandidate", json!({"candidate": candidate.to_string(), "to": bob.id})),
        ("webrtc.iceCandidate", json!({"candidate": "", "to": bob.id})),
    ] {
        ann.send(&json!({"type": kind, "room": "pm_room:demo", "data": data})).await;
        let relayed = json!({"type": kind, "room": "pm_room:demo", "data": data, "from": ann.id});
        assert_eq!(bob.next().await, relayed);
    }
    let nobody = json!({"sdp": "v=0", "to": "nobody"});
    ann.send(&json!({"type": "webrtc.offer", "room": "pm_room:demo", "data": nobody})).await;
    for guest in [&mut ann, &mut bob, &mut cem] {
        guest.expect_nothing().await;
    }
}

#[tokio::test]
async fn a_snapshot_with_a_newcomer_comes_before_its_first_signal() {
    let house = House::open().await;
    let mut ann = house.enter("Ann").await;
    ann.joined("r").await;
    for round in 0..20 {
        let mut bob = house.enter(&format!("Bob {round}")).await;
        let data = json!({"sdp": "v=0", "to": ann.id});
        bob.join("r").await;
        bob.send(&json!({"type": "webrtc.offer", "room": "r", "data": data})).await;
        let mut known = Vec::new();
        loop {
            let message = ann.next().await;
            if message["type"] == "room.users" {
                known = listed(&message);
            } else if message["from"] == json!(bob.id) {
                break;
            }
        }
        assert!(known.contains(&bob.id), "round {round}");
    }
}

#[tokio::test]
async fn messages_of_one_sender_stay_in_order() {
    let house = House::open().await;
    let (mut ann, mut bob) = pair(&house).await;
    for n in 0..100 {
        let data = json!({"message": n.to_string()});
        ann.send(&json!({"type": "chat.message", "room": "pm_room:demo", "data": data})).await;
    }
    for n in 0..100 {
        assert_eq!(bob.next().await["data"]["message"], json!(n.to_string()));
    }
}

#[tokio::test]
async fn a_room_id_is_made_for_the_asker() {
    let house = House::open().await;
    let (mut ann, mut bob) = pair(&house).await;
    let mut seen: Vec<Value> = Vec::new();
    for room in [None, Some(""), Some("pm_room:demo")] {
        ann.send(&json!({"type": "utils.generateRoomID", "room": room, "data": {}})).await;
        let answer = ann.next().await;
        assert_eq!(
            (&answer["type"], &answer["from"]),
            (&json!("utils.generateRoomID"), &json!("system"))
        );
        let id = uuid::Uuid::parse_str(answer["data"]["roomID"].as_str().unwrap()).unwrap();
        assert_eq!(id.get_version_num(), 4);
        assert!(!seen.contains(&answer["data"]["roomID"]));
        seen.push(answer["data"]["roomID"].clone());
    }
    bob.expect_nothing().await;
}

#[tokio::test]
async fn a_stopping_server_closes_with_1012_and_ends_soon() {
    let house = House::open_with(Config::default()).await;
    let (mut ann, mut bob) = pair(&house).await;
    // Connected, but in no room, and reading nothing.
    let _mute = house.enter("Cem").await;
    let started = std::time::Instant::now();
    house.stop.cancel();
    for guest in [&mut ann, &mut bob] {
        assert_eq!(guest.closed().await, 1012);
    }
    soon(house.task).await.unwrap();
    assert!(started.elapsed() < std::time::Duration::from_secs(5).min(DEADLINE));
}

#[tokio::test]
async fn a_server_that_is_dropped_takes_its_connections_along() {
    let house = House::open().await;
    let (mut ann, _bob) = pair(&house).await;
    house.task.abort();
    assert_eq!(ann.closed().await, 1001);
}
