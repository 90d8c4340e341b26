//! What rooms say, as frames: the JSON of the protocol, written once for all recipients.

use std::sync::Arc;

use serde::Serialize;
use uuid::Uuid;
use wire::{LeftReason, MessageType, UserId};

use super::Said;
use crate::auth::User;
use crate::frame::{Class, Frame};

/// Bytes of an envelope without its payload, about.
const ENVELOPE_BYTES: usize = 160;

/// Writes `{"type":…,"room":…,"data":…,"from":…}`, in the order in which servers always wrote it.
fn envelope(
    class: Class,
    (kind, room, from): (MessageType, &str, &str),
    seq: Option<u64>,
    expected: usize,
    data: impl FnOnce(&mut Vec<u8>),
) -> Frame {
    Frame::write(class, ENVELOPE_BYTES + expected, |bytes| {
        bytes.extend_from_slice(br#"{"type":""#);
        bytes.extend_from_slice(kind.name().as_bytes());
        bytes.extend_from_slice(br#"","room":"#);
        json(bytes, room);
        bytes.extend_from_slice(br#","data":"#);
        data(bytes);
        bytes.extend_from_slice(br#","from":"#);
        json(bytes, from);
        if let Some(seq) = seq {
            bytes.extend_from_slice(br#","seq":"#);
            json(bytes, &seq);
        }
        bytes.push(b'}');
    })
}

fn json(bytes: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(bytes, value).expect("memory takes any text");
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(rename = "userID")]
    id: &'a str,
    username: &'a str,
}

impl<'a> From<&'a User> for Line<'a> {
    fn from(user: &'a User) -> Self {
        Self { id: user.id.as_str(), username: &user.name }
    }
}

pub(super) fn snapshot<'a>(room: &Arc<str>, users: impl Iterator<Item = &'a User>) -> Frame {
    // The name's place in memory stands for the room: it is the same as long as the room exists.
    let class = Class::Roster(room.as_ptr().addr());
    let (low, _) = users.size_hint();
    let head = (MessageType::RoomUsers, &**room, UserId::SYSTEM);
    envelope(class, head, None, low * 80, |bytes| {
        bytes.extend_from_slice(br#"{"users":["#);
        for (index, user) in users.enumerate() {
            if index > 0 {
                bytes.push(b',');
            }
            json(bytes, &Line::from(user));
        }
        bytes.extend_from_slice(b"]}");
    })
}

pub(super) fn joined(room: &str, user: &User) -> Frame {
    #[derive(Serialize)]
    struct Joined<'a> {
        user: Line<'a>,
    }
    let head = (MessageType::RoomJoined, room, UserId::SYSTEM);
    envelope(Class::Kept, head, None, 100, |bytes| json(bytes, &Joined { user: user.into() }))
}

pub(super) fn left(room: &str, user: &UserId, reason: LeftReason) -> Frame {
    #[derive(Serialize)]
    struct Left<'a> {
        #[serde(rename = "userID")]
        id: &'a str,
        reason: LeftReason,
    }
    let head = (MessageType::RoomLeft, room, UserId::SYSTEM);
    envelope(Class::Kept, head, None, 100, |bytes| {
        json(bytes, &Left { id: user.as_str(), reason });
    })
}

pub(super) fn ack(room: &str, id: Uuid, seq: u64) -> Frame {
    #[derive(Serialize)]
    struct Ack<'a> {
        id: &'a str,
        seq: u64,
    }
    let mut text = Uuid::encode_buffer();
    let id = &*id.hyphenated().encode_lower(&mut text);
    let head = (MessageType::ChatAck, room, UserId::SYSTEM);
    envelope(Class::Kept, head, None, 64, |bytes| json(bytes, &Ack { id, seq }))
}

pub(super) fn said(room: &str, said: &Said<'_>, seq: Option<u64>) -> Frame {
    let class = if said.kind == MessageType::Typing { Class::Typing } else { Class::Kept };
    let head = (said.kind, room, said.from.as_str());
    envelope(class, head, seq, said.data.len(), |bytes| {
        bytes.extend_from_slice(said.data.as_bytes());
    })
}
