//! How a session begins, and who is in the room.

use std::time::Duration;

use serde_json::json;
use server::Config;

use crate::house::House;
use crate::member::{Member, knock};

#[tokio::test]
async fn a_hello_brings_a_welcome_with_all_a_client_needs() {
    let house = House::open().await;
    let who = house.sign_in("Ann").await;
    let ann = Member::with_token(&house, &who).await;
    let welcome = &ann.welcome;
    assert_eq!((&welcome["v"], &welcome["userID"]), (&json!(2), &json!(who.id)));
    assert_eq!((&welcome["resumed"], &welcome["rooms"]), (&json!(false), &json!([])));
    assert!(welcome["resume"].as_str().is_some_and(|token| token.len() > 40));
    assert_eq!(welcome["limits"]["frameBytes"], json!(65_536));
    assert_eq!(welcome["limits"]["resumeSeconds"], json!(60));
    assert!(welcome["iceServers"].is_array() && welcome["iceTtl"].is_u64());
}

#[tokio::test]
async fn the_token_may_still_stand_in_the_address() {
    let house = House::open().await;
    let mut ann = house.enter("Ann").await;
    // Hello and join in one flight.
    ann.send(&json!({"type": "session.hello", "data": {"v": 2}})).await;
    ann.join("r").await;
    assert_eq!(ann.next().await["data"]["userID"], json!(ann.id));
    assert_eq!(ann.next().await["type"], "room.users");
    // Once only.
    ann.send(&json!({"type": "session.hello", "data": {"v": 2}})).await;
    ann.refused("", "Invalid message type").await;
}

#[tokio::test]
async fn who_does_not_say_who_it_is_may_not_stay() {
    let house = House::open().await;
    let hello = |data| json!({"type": "session.hello", "data": data});
    let closed = async |first| {
        let mut guest = knock(&house).await;
        guest.send(&first).await;
        guest.closed().await
    };
    assert_eq!(closed(hello(json!({"v": 2, "token": "a.b.c"}))).await, 4002);
    assert_eq!(closed(hello(json!({"v": 2}))).await, 1008);
    assert_eq!(closed(hello(json!([]))).await, 1008);
    assert_eq!(closed(hello(json!({"v": 2, "resume": "x"}))).await, 4002);
    assert_eq!(closed(json!({"type": "chat.join", "room": "r"})).await, 1008);
    let caps = "x".repeat(9_000);
    assert_eq!(closed(hello(json!({"v": 2, "caps": [caps]}))).await, 1009);
    let start = std::time::Instant::now();
    assert_eq!(knock(&house).await.closed().await, 1008);
    assert!((5..8).contains(&start.elapsed().as_secs()));
}

#[tokio::test]
async fn new_clients_hear_of_changes_and_old_ones_get_snapshots() {
    let house = House::open().await;
    let mut ann = Member::enter(&house, "Ann").await;
    assert_eq!(ann.joined().await, [ann.guest.id.clone()]);
    let mut old = house.enter("Old").await;
    assert_eq!(old.joined("r").await.len(), 2);
    let joined = ann.expect("room.joined").await;
    assert_eq!(joined, json!({"user": {"userID": old.id, "username": "Old"}}));
    let mut bob = Member::enter(&house, "Bob").await;
    assert_eq!(bob.joined().await.len(), 3);
    ann.expect("room.joined").await;
    assert_eq!(old.next().await["data"]["users"].as_array().unwrap().len(), 3);
    // Again: for the asker alone.
    assert_eq!(bob.joined().await.len(), 3);
    old.expect_nothing().await;
    ann.expect_nothing().await;
    bob.say("chat.leave", &json!({})).await;
    let left = json!({"userID": bob.guest.id, "reason": "left"});
    assert_eq!(ann.expect("room.left").await, left);
    assert_eq!(old.next().await["data"]["users"].as_array().unwrap().len(), 2);
    // An old client that vanishes is lost at once.
    drop(old);
    assert_eq!(ann.expect("room.left").await["reason"], json!("lost"));
}

#[tokio::test]
async fn a_goodbye_ends_the_session() {
    let house = House::open().await;
    let (mut ann, mut bob) =
        (Member::enter(&house, "Ann").await, Member::enter(&house, "Bob").await);
    ann.joined().await;
    bob.joined().await;
    ann.expect("room.joined").await;
    bob.guest.socket.close(None).await.unwrap();
    assert_eq!(ann.expect("room.left").await["reason"], json!("left"));
    let back = knock(&house).await;
    drop(back);
    let data = json!({"v": 2, "resume": bob.welcome["resume"]});
    let mut guest = knock(&house).await;
    guest.send(&json!({"type": "session.hello", "data": data})).await;
    assert_eq!(guest.closed().await, 4002);
}

#[tokio::test]
async fn a_lost_member_is_shown_for_a_moment() {
    let house = House::open_with(Config { http_rate_limit: false, ..Config::default() }).await;
    let (mut ann, mut bob) =
        (Member::enter(&house, "Ann").await, Member::enter(&house, "Bob").await);
    ann.joined().await;
    bob.joined().await;
    ann.expect("room.joined").await;
    let start = std::time::Instant::now();
    bob.break_off().await;
    ann.expect_nothing().await;
    assert_eq!(ann.expect("room.left").await["reason"], json!("lost"));
    assert!(start.elapsed() >= Duration::from_secs(4), "{:?}", start.elapsed());
    // It can still come back, and has missed nothing.
    ann.chat("while you were away", crate::member::IDS[0]).await;
    ann.expect("chat.message").await;
    ann.expect("chat.ack").await;
    let mut back = bob.back(&house).await;
    assert_eq!((&back.welcome["resumed"], &back.welcome["rooms"]), (&json!(true), &json!(["r"])));
    assert_eq!(back.expect("chat.message").await["message"], json!("while you were away"));
    ann.expect("room.joined").await;
}
