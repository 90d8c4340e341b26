//! What is between two members: `peer.auth` and `peer.state`.

use serde_json::json;

use crate::house::House;
use crate::member::Member;

#[tokio::test]
async fn what_is_between_members_goes_to_those_who_understand_it() {
    let house = House::open().await;
    let mut ann = Member::enter(&house, "Ann").await;
    let mut bob = Member::enter(&house, "Bob").await;
    let mut old = house.enter("Old").await;
    ann.joined().await;
    bob.joined().await;
    old.joined("r").await;
    ann.expect("room.joined").await;
    ann.expect("room.joined").await;
    bob.expect("room.joined").await;

    let auth = json!({"to": bob.guest.id, "m": {"t": "hello", "v": 1}});
    ann.say("peer.auth", &auth).await;
    let heard = bob.next().await;
    assert_eq!((&heard["data"], &heard["from"]), (&auth, &json!(ann.guest.id)));
    let state = json!({"microphone": true, "camera": false, "later": 1});
    ann.say("peer.state", &state).await;
    assert_eq!(bob.expect("peer.state").await, state);
    let tracks = json!({"to": bob.guest.id, "tracks": {"0": "microphone"}});
    ann.say("peer.state", &tracks).await;
    assert_eq!(bob.expect("peer.state").await, tracks);
    ann.say("peer.auth", &json!({"to": old.id, "m": {}})).await;
    ann.expect_nothing().await;
    old.expect_nothing().await;

    ann.say("peer.auth", &json!({"to": bob.guest.id})).await;
    let refused = json!({"error": "Invalid peer authentication payload"});
    assert_eq!(ann.expect("general.error").await, refused);
    ann.say("chat.leave", &json!({})).await;
    ann.say("peer.auth", &auth).await;
    let refused = json!({"error": "You can't send peer authentication to this room"});
    assert_eq!(ann.expect("general.error").await, refused);
    old.send(&json!({"type": "peer.state", "room": "r", "data": {"camera": true}})).await;
    old.next().await;
    old.refused("r", "Invalid message type").await;
}

#[tokio::test]
async fn authentication_has_a_rate_of_its_own() {
    let house = House::open().await;
    let mut ann = Member::enter(&house, "Ann").await;
    ann.joined().await;
    for _ in 0..62 {
        ann.say("peer.auth", &json!({"to": "nobody", "m": {}})).await;
    }
    assert_eq!(ann.expect("general.error").await, json!({"error": "Rate limit exceeded"}));
    ann.say("chat.message", &json!({"message": "still here"})).await;
    while ann.next().await["type"] != "chat.message" {}
}
