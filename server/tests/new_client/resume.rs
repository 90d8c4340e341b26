//! Coming back, and chat that is delivered once.

use serde_json::{Value, json};

use crate::house::House;
use crate::member::{IDS, Member};

async fn pair(house: &House) -> (Member, Member) {
    let (mut ann, mut bob) = (Member::enter(house, "Ann").await, Member::enter(house, "Bob").await);
    ann.joined().await;
    bob.joined().await;
    ann.expect("room.joined").await;
    (ann, bob)
}

fn text(message: &Value) -> &str {
    message["data"]["message"].as_str().unwrap()
}

#[tokio::test]
async fn messages_are_numbered_and_acknowledged() {
    let house = House::open().await;
    let (mut ann, mut bob) = pair(&house).await;
    let mut old = house.enter("Old").await;
    old.joined("r").await;
    ann.expect("room.joined").await;
    bob.expect("room.joined").await;
    for (number, id) in (1..).zip(IDS) {
        ann.chat("hi", id).await;
        for member in [&mut ann, &mut bob] {
            let message = member.next().await;
            assert_eq!((&message["data"]["id"], &message["seq"]), (&json!(id), &json!(number)));
        }
        assert_eq!(ann.expect("chat.ack").await, json!({"id": id, "seq": number}));
        let expected = format!(
            r#"{{"type":"chat.message","room":"r","data":{{"id":"{id}","message":"hi"}},"from":"{}"}}"#,
            ann.guest.id
        );
        assert_eq!(old.text().await, expected);
    }
    // An old client's messages are numbered, too, and its ids are its own affair.
    old.send(&json!({"type": "chat.message", "room": "r", "data": {"message": "hi", "id": 7}}))
        .await;
    assert_eq!(bob.next().await["seq"], json!(1));
    assert!(!old.text().await.contains("seq"));
    bob.chat(" ", IDS[0]).await;
    let refused = json!({"error": "Message cannot be empty", "id": IDS[0]});
    assert_eq!(bob.expect("general.error").await, refused);
    bob.chat("hi", "no uuid").await;
    assert_eq!(bob.expect("general.error").await, json!({"error": "Invalid chat message payload"}));
}

#[tokio::test]
async fn what_was_missed_comes_behind_the_welcome_each_once() {
    let house = House::open().await;
    let (mut ann, mut bob) = pair(&house).await;
    for id in IDS {
        ann.chat(id, id).await;
        ann.expect("chat.message").await;
        ann.expect("chat.ack").await;
    }
    // Bob has read the first, and has the others on the way when the connection breaks.
    assert_eq!(text(&bob.next().await), IDS[0]);
    let mut back = bob.back(&house).await;
    assert_eq!(
        (&back.welcome["resumed"], &back.welcome["userID"]),
        (&json!(true), &json!(bob.guest.id))
    );
    for id in &IDS[1..] {
        assert_eq!(text(&back.next().await), *id);
    }
    back.expect_nothing().await;
    // The connection of before is told, and nobody else heard of it.
    assert_eq!(bob.guest.closed().await, 4001);
    ann.expect_nothing().await;
    back.chat("back", IDS[0]).await;
    assert_eq!(text(&ann.next().await), "back");
}

#[tokio::test]
async fn an_id_that_comes_again_is_delivered_once_also_after_a_reconnect() {
    let house = House::open().await;
    let who = house.sign_in("Ann").await;
    let mut ann = Member::with_token(&house, &who).await;
    let mut bob = Member::enter(&house, "Bob").await;
    bob.joined().await;
    ann.joined().await;
    bob.expect("room.joined").await;
    for _ in 0..2 {
        ann.chat("once", IDS[0]).await;
    }
    ann.expect("chat.message").await;
    for _ in 0..2 {
        assert_eq!(ann.expect("chat.ack").await, json!({"id": IDS[0], "seq": 1}));
    }
    // Resumed, and then in a session of its own by the same token.
    let mut back = ann.back(&house).await;
    back.chat("once", IDS[0]).await;
    assert_eq!(back.expect("chat.ack").await["seq"], json!(1));
    let mut anew = Member::with_token(&house, &who).await;
    assert_eq!(anew.joined().await.len(), 2);
    anew.chat("once", IDS[0]).await;
    assert_eq!(anew.expect("chat.ack").await["seq"], json!(1));
    bob.expect("chat.message").await;
    bob.expect_nothing().await;
}

#[tokio::test]
async fn what_can_not_be_resumed_begins_anew() {
    let house = House::open().await;
    let who = house.sign_in("Ann").await;
    let ann = Member::with_token(&house, &who).await;
    let hello = async |resume: &str, received: u64, token: &str| {
        let data = json!({"v": 2, "resume": resume, "received": received, "token": token});
        Member::hello(&house, &data).await.welcome
    };
    let resume = ann.welcome["resume"].as_str().unwrap().to_owned();
    // Of somebody else; of nobody; from further on than anything was sent.
    let other = house.sign_in("Other").await;
    let welcome = hello(&resume, 0, &other.token).await;
    assert_eq!((&welcome["resumed"], &welcome["userID"]), (&json!(false), &json!(other.id)));
    let wrong = format!("{}A", &resume[..resume.len() - 1]);
    assert_eq!(hello(&wrong, 0, &who.token).await["resumed"], json!(false));
    assert_eq!(hello("junk", 0, &who.token).await["resumed"], json!(false));
    assert_eq!(hello(&resume, 7, &who.token).await["resumed"], json!(false));
    // And with that the session is over.
    assert_eq!(hello(&resume, 0, &who.token).await["resumed"], json!(false));
}
