use wire::ServerMessage;

use super::*;

/// Keeps what is delivered and published.
#[derive(Default)]
struct Seen {
    frames: Vec<(u64, String)>,
    news: Vec<String>,
    answer: Option<Published>,
}

impl Outlet<u64> for Seen {
    fn deliver(&mut self, to: &u64, frame: &Frame) {
        self.frames.push((*to, frame.json().to_owned()));
    }

    fn publish(&mut self, room: &Arc<str>, news: News<'_>) -> Published {
        self.news.push(match news {
            News::Joined(user) => format!("{room}: {} joined", user.id),
            News::Left { user, reason } => format!("{room}: {} left, {reason:?}", user.id),
            News::Said(said) => format!("{room}: {} said {}", said.from, said.data),
        });
        self.answer.unwrap_or(Published::Now)
    }
}

impl Seen {
    fn recipients(&self) -> Vec<u64> {
        self.frames.iter().map(|(to, _)| *to).collect()
    }

    fn texts_of(&self, to: u64) -> Vec<&str> {
        self.frames.iter().filter(|(t, _)| *t == to).map(|(_, text)| &**text).collect()
    }
}

fn user(name: &str) -> Arc<User> {
    Arc::new(User { id: UserId::new(name).unwrap(), name: name.to_uppercase() })
}

fn seat(id: u64, name: &str, version: Version) -> Seat<u64> {
    Seat { id: SeatId(id), user: user(name), version, handle: id }
}

fn old(id: u64, name: &str) -> Seat<u64> {
    seat(id, name, Version::V1)
}

fn new(id: u64, name: &str) -> Seat<u64> {
    seat(id, name, Version::V2)
}

fn did(act: impl FnOnce(&mut Seen)) -> Seen {
    let mut seen = Seen::default();
    act(&mut seen);
    seen
}

fn listed(json: &str) -> Vec<String> {
    match ServerMessage::parse(json.as_bytes()).unwrap().1 {
        ServerMessage::RoomUsers { users } => {
            users.into_iter().map(|member| member.id.to_string()).collect()
        }
        other => panic!("not a snapshot: {other:?}"),
    }
}

const DATA: &str = r#"{"message":"hi"}"#;

fn say(rooms: &mut Rooms<u64>, from: (u64, &str), kind: MessageType, to: Option<&str>) -> Seen {
    let (from_id, to) = (UserId::new(from.1).unwrap(), to.map(|to| UserId::new(to).unwrap()));
    let said = Said { kind, from: &from_id, to: to.as_ref(), data: DATA, id: None, seq: None };
    did(|seen| {
        rooms.say("r", SeatId(from.0), said, seen).unwrap();
    })
}

fn chat(
    rooms: &mut Rooms<u64>,
    from: (u64, &str),
    id: Uuid,
    answer: Published,
) -> (Result<Heard, Unheard>, Seen) {
    let from_id = UserId::new(from.1).unwrap();
    let kind = MessageType::Chat;
    let said = Said { kind, from: &from_id, to: None, data: DATA, id: Some(id), seq: None };
    let mut seen = Seen { answer: Some(answer), ..Seen::default() };
    (rooms.say("r", SeatId(from.0), said, &mut seen), seen)
}

#[test]
fn old_clients_get_a_snapshot_at_every_join_and_leave() {
    let mut rooms = Rooms::default();
    did(|seen| drop(rooms.join("r", old(1, "ann"), seen)));
    let joined = did(|seen| drop(rooms.join("r", old(2, "bob"), seen)));
    assert_eq!(joined.recipients(), [1, 2]);
    assert_eq!(
        joined.frames[0].1,
        r#"{"type":"room.users","room":"r","data":{"users":[{"userID":"ann","username":"ANN"},{"userID":"bob","username":"BOB"}]},"from":"system"}"#
    );
    let again = did(|seen| drop(rooms.join("r", old(1, "ann"), seen)));
    assert_eq!(again.recipients(), [1, 2]);
    // A second socket is no second user.
    let second = did(|seen| drop(rooms.join("r", old(3, "ann"), seen)));
    assert_eq!((second.recipients(), listed(&second.frames[0].1).len()), (vec![1, 2, 3], 2));
    let left = did(|seen| rooms.leave("r", SeatId(1), LeftReason::Left, seen));
    assert_eq!(left.recipients(), [2, 3]);
    assert_eq!(listed(&left.frames[0].1), ["bob", "ann"]);
}

#[test]
fn new_clients_get_one_snapshot_and_then_deltas() {
    let mut rooms = Rooms::default();
    did(|seen| drop(rooms.join("r", new(1, "ann"), seen)));
    let joined = did(|seen| drop(rooms.join("r", new(2, "bob"), seen)));
    assert_eq!(
        joined.texts_of(1),
        [
            r#"{"type":"room.joined","room":"r","data":{"user":{"userID":"bob","username":"BOB"}},"from":"system"}"#
        ]
    );
    assert_eq!(listed(joined.texts_of(2)[0]), ["ann", "bob"]);
    // An old one among them gets what it knows, and they get what they know.
    let third = did(|seen| drop(rooms.join("r", old(3, "cem"), seen)));
    assert_eq!((listed(third.texts_of(3)[0]).len(), third.frames.len()), (3, 3));
    assert!(third.texts_of(1)[0].contains("room.joined"));
    let again = did(|seen| drop(rooms.join("r", new(2, "bob"), seen)));
    assert_eq!(again.recipients(), [2]);
    let left = did(|seen| rooms.leave("r", SeatId(2), LeftReason::Slow, seen));
    assert_eq!(
        left.texts_of(1),
        [
            r#"{"type":"room.left","room":"r","data":{"userID":"bob","reason":"slow"},"from":"system"}"#
        ]
    );
    assert_eq!(listed(left.texts_of(3)[0]), ["ann", "cem"]);
}

#[test]
fn a_user_comes_and_goes_once_however_many_seats() {
    let mut rooms = Rooms::default();
    did(|seen| drop(rooms.join("r", new(1, "ann"), seen)));
    did(|seen| drop(rooms.join("r", new(2, "bob"), seen)));
    let second = did(|seen| drop(rooms.join("r", new(3, "bob"), seen)));
    assert_eq!((second.recipients(), second.news.len()), (vec![3], 0));
    let first_leaves = did(|seen| rooms.leave("r", SeatId(2), LeftReason::Left, seen));
    assert!(first_leaves.frames.is_empty() && first_leaves.news.is_empty());
    let last_leaves = did(|seen| rooms.leave("r", SeatId(3), LeftReason::Left, seen));
    assert_eq!(last_leaves.recipients(), [1]);
    assert_eq!(last_leaves.news, ["r: bob left, Left"]);
}

#[test]
fn a_hidden_seat_is_not_seen_and_still_hears() {
    let mut rooms = Rooms::default();
    for seat in [new(1, "ann"), new(2, "bob"), old(3, "cem")] {
        did(|seen| drop(rooms.join("r", seat, seen)));
    }
    let hidden = did(|seen| rooms.hide("r", SeatId(2), seen));
    assert_eq!(hidden.recipients(), [3, 1]);
    assert!(hidden.texts_of(1)[0].contains(r#""reason":"lost""#));
    assert_eq!(listed(hidden.texts_of(3)[0]), ["ann", "cem"]);
    assert!(did(|seen| rooms.hide("r", SeatId(2), seen)).frames.is_empty());
    assert_eq!(say(&mut rooms, (1, "ann"), MessageType::Chat, None).recipients(), [1, 2, 3]);
    let back = did(|seen| rooms.show("r", SeatId(2), seen));
    assert!(back.texts_of(1)[0].contains("room.joined") && back.texts_of(2).is_empty());
    assert!(did(|seen| rooms.show("r", SeatId(2), seen)).frames.is_empty());
    // Leaving while hidden is nothing new to anybody.
    did(|seen| rooms.hide("r", SeatId(2), seen));
    assert!(did(|seen| rooms.leave("r", SeatId(2), LeftReason::Lost, seen)).frames.is_empty());
}

#[test]
fn speech_reaches_whom_it_concerns_in_the_form_they_know() {
    let mut rooms = Rooms::default();
    for seat in [old(1, "ann"), new(2, "bob"), old(3, "bob"), new(4, "cem")] {
        did(|seen| drop(rooms.join("r", seat, seen)));
    }
    did(|seen| drop(rooms.join("other", new(5, "bob"), seen)));
    let chat = say(&mut rooms, (1, "ann"), MessageType::Chat, None);
    assert_eq!(chat.recipients(), [1, 2, 3, 4]);
    let plain = format!(r#"{{"type":"chat.message","room":"r","data":{DATA},"from":"ann"}}"#);
    assert_eq!(chat.texts_of(3), [&plain]);
    assert_eq!(chat.texts_of(4), [plain.replace(r#""ann"}"#, r#""ann","seq":1}"#)]);
    let mut to = |from, kind, to| say(&mut rooms, from, kind, to).recipients();
    assert_eq!(to((1, "ann"), MessageType::Typing, None), [1, 2, 3, 4]);
    assert_eq!(to((1, "ann"), MessageType::Offer, Some("bob")), [2, 3]);
    assert_eq!(to((4, "cem"), MessageType::PeerAuth, Some("bob")), [2]);
    assert_eq!(to((4, "cem"), MessageType::PeerState, Some("bob")), [2]);
    assert_eq!(to((4, "cem"), MessageType::PeerState, None), [2]);
    assert!(to((1, "ann"), MessageType::Offer, Some("nobody")).is_empty());
}

#[test]
fn strangers_are_not_heard_and_empty_rooms_forgotten() {
    let mut rooms = Rooms::default();
    let id = Uuid::from_u128(1);
    assert_eq!(chat(&mut rooms, (1, "ann"), id, Published::Now).0, Err(Unheard::NotAMember));
    did(|seen| drop(rooms.join("r", old(1, "ann"), seen)));
    assert_eq!(chat(&mut rooms, (2, "bob"), id, Published::Now).0, Err(Unheard::NotAMember));
    did(|seen| rooms.leave("r", SeatId(2), LeftReason::Left, seen));
    did(|seen| rooms.leave("r", SeatId(1), LeftReason::Left, seen));
    assert!(rooms.is_empty());
}

#[test]
fn an_id_is_delivered_once_and_acknowledged_as_often_as_it_comes() {
    let mut rooms = Rooms::default();
    for seat in [new(1, "ann"), new(2, "bob"), new(3, "ann")] {
        did(|seen| drop(rooms.join("r", seat, seen)));
    }
    let id = Uuid::from_u128(7);
    let ack = format!(
        r#"{{"type":"chat.ack","room":"r","data":{{"id":"{id}","seq":1}},"from":"system"}}"#
    );
    let (heard, seen) = chat(&mut rooms, (1, "ann"), id, Published::Now);
    assert_eq!((heard, seen.recipients()), (Ok(Heard::Delivered), vec![1, 2, 3, 1]));
    assert_eq!(seen.texts_of(1)[1], ack);
    // Again, over another connection of the same user.
    let (heard, seen) = chat(&mut rooms, (3, "ann"), id, Published::Now);
    assert_eq!((heard, seen.frames), (Ok(Heard::Again), vec![(3, ack)]));
    assert!(seen.news.is_empty());
    // The same id of somebody else is another message.
    assert_eq!(chat(&mut rooms, (2, "bob"), id, Published::Now).0, Ok(Heard::Delivered));
}

#[test]
fn what_other_servers_have_to_confirm_is_acknowledged_then() {
    let mut rooms = Rooms::default();
    for seat in [new(1, "ann"), new(2, "bob")] {
        did(|seen| drop(rooms.join("r", seat, seen)));
    }
    let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let (heard, seen) = chat(&mut rooms, (1, "ann"), first, Published::Later);
    assert_eq!((heard, seen.recipients()), (Ok(Heard::Delivered), vec![1, 2]));
    let (heard, seen) = chat(&mut rooms, (1, "ann"), first, Published::Later);
    assert_eq!((heard, seen.frames.len()), (Ok(Heard::Again), 0));
    let (heard, seen) = chat(&mut rooms, (1, "ann"), second, Published::Busy);
    assert_eq!((heard, seen.frames.len()), (Err(Unheard::Busy), 0));
    let ann = UserId::new("ann").unwrap();
    let seen = did(|seen| rooms.acknowledge("r", &ann, first, seen));
    assert_eq!(seen.recipients(), [1]);
    assert!(did(|seen| rooms.acknowledge("r", &ann, second, seen)).frames.is_empty());
    let (_, seen) = chat(&mut rooms, (1, "ann"), first, Published::Later);
    assert!(seen.frames[0].1.contains(r#""seq":1"#));
    let (_, seen) = chat(&mut rooms, (1, "ann"), second, Published::Now);
    assert!(seen.frames[0].1.ends_with(r#""seq":2}"#));
}

#[test]
fn members_elsewhere_are_members() {
    let mut rooms = Rooms::default();
    let node = NodeId(9);
    did(|seen| rooms.remote_join("r", node, user("far"), seen));
    assert!(rooms.is_empty());
    for seat in [new(1, "ann"), old(2, "bob")] {
        did(|seen| drop(rooms.join("r", seat, seen)));
    }
    let came = did(|seen| rooms.remote_join("r", node, user("far"), seen));
    assert_eq!((came.recipients(), came.news.len()), (vec![2, 1], 0));
    assert_eq!(listed(came.texts_of(2)[0]), ["ann", "bob", "far"]);
    // One who is here, too, is nothing new; nor is the same set again.
    let both = vec![user("far"), user("ann")];
    let set = |rooms: &mut Rooms<u64>, users: Vec<Arc<User>>| {
        did(|seen| rooms.remote_set("r", node, users, LeftReason::Left, seen))
    };
    assert!(set(&mut rooms, both.clone()).frames.is_empty());
    assert!(set(&mut rooms, both).frames.is_empty());
    let left = did(|seen| rooms.leave("r", SeatId(1), LeftReason::Left, seen));
    assert_eq!(left.news, ["r: ann left, Left"]);
    did(|seen| drop(rooms.join("r", new(1, "ann"), seen)));
    let gone = did(|seen| rooms.remote_gone(node, seen));
    assert!(gone.texts_of(1)[0].contains(r#""userID":"far","reason":"lost""#));
    assert_eq!(gone.frames.len(), 2);
    assert_eq!(rooms.local_users("r").len(), 2);
}

#[test]
fn speech_from_elsewhere_keeps_its_number_and_comes_once() {
    let mut rooms = Rooms::default();
    did(|seen| drop(rooms.join("r", new(1, "ann"), seen)));
    did(|seen| drop(rooms.join("r", new(2, "far"), seen)));
    let far = UserId::new("far").unwrap();
    let said = |seq, id| Said {
        kind: MessageType::Chat,
        from: &far,
        to: None,
        data: DATA,
        id: Some(Uuid::from_u128(id)),
        seq: Some(seq),
    };
    let seen = did(|seen| rooms.remote_said("r", &said(5, 1), seen));
    assert_eq!((seen.recipients(), seen.news.len()), (vec![1, 2], 0));
    assert!(seen.frames[0].1.ends_with(r#""seq":5}"#));
    assert!(did(|seen| rooms.remote_said("r", &said(5, 1), seen)).frames.is_empty());
    // The same user goes on here.
    let seen = say(&mut rooms, (2, "far"), MessageType::Chat, None);
    assert!(seen.frames[0].1.ends_with(r#""seq":6}"#));
}
