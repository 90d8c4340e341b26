//! Where the rooms and the other servers meet.

use std::pin::Pin;
use std::sync::Arc;

use serde_json::value::RawValue;
use uuid::Uuid;
use wire::{LeftReason, RoomId, UserId, limits};

use super::{Backplane, Local, NodeId, Words};
use crate::auth::User;
use crate::relay::{self, Handover, Relay};
use crate::rooms::{News, Published, Said};
use crate::session::ROOMS_PER_SESSION;

/// What the rooms tell the others.
#[derive(Debug)]
pub(crate) struct Hook(pub(crate) Arc<Backplane>);

impl relay::Backplane for Hook {
    fn publish(&self, room: &Arc<str>, news: News<'_>) -> Published {
        match news {
            News::Joined(user) => self.0.joined(room, user),
            News::Left { user, reason } => self.0.left(room, &user.id, reason),
            News::Said(said) => {
                let words = Words {
                    kind: said.kind,
                    from: said.from.clone(),
                    to: said.to.cloned(),
                    data: said.data.into(),
                    id: said.id,
                    seq: said.seq,
                };
                return match self.0.said(room, words) {
                    Ok(()) if said.id.is_some() => Published::Later,
                    Ok(()) => Published::Now,
                    Err(_) => Published::Busy,
                };
            }
        }
        Published::Now
    }

    fn fetch_session(
        &self,
        node: NodeId,
        token: &str,
        received: Option<u64>,
    ) -> Pin<Box<dyn Future<Output = Option<Handover>> + Send>> {
        let (backplane, token) = (self.0.clone(), token.to_owned());
        Box::pin(async move {
            let session = backplane.claim(node, &token, received).await?;
            let handover = serde_json::from_slice(&session).ok();
            handover.filter(is_sound)
        })
    }
}

/// What a session of another server must be before a client here gets it.
fn is_sound(session: &Handover) -> bool {
    let is_json = |text: &String| {
        text.starts_with('{')
            && text.len() <= limits::FRAME_BYTES * 2
            && serde_json::from_str::<&RawValue>(text).is_ok()
    };
    !session.user_id.is_system()
        && session.username.chars().count() <= limits::USERNAME_CHARS
        && session.rooms.len() <= ROOMS_PER_SESSION
        && session.missed.iter().all(is_json)
}

/// What the others tell the rooms.
#[derive(Debug)]
pub(crate) struct OwnRooms(pub(crate) Arc<Relay>);

impl OwnRooms {
    fn in_room(&self, room: &str, act: impl FnOnce(&Relay, &RoomId)) {
        // It is the name of a room here, as the rooms gave it to us.
        if let Ok(room) = RoomId::new(room) {
            act(&self.0, &room);
        }
    }
}

impl Local for OwnRooms {
    fn members(&self, room: &str, node: NodeId, users: Vec<Arc<User>>) {
        self.in_room(room, |relay, room| relay.remote_set(room, node, users, LeftReason::Lost));
    }

    fn joined(&self, room: &str, node: NodeId, user: Arc<User>) {
        self.in_room(room, |relay, room| relay.remote_join(room, node, user));
    }

    fn left(&self, room: &str, node: NodeId, user: &UserId, why: LeftReason) {
        self.in_room(room, |relay, room| relay.remote_leave(room, node, user, why));
    }

    fn gone(&self, node: NodeId) {
        self.0.remote_gone(node);
    }

    fn said(&self, room: &str, words: &Words) {
        let Words { kind, from, to, data, id, seq } = words;
        let (to, id, seq) = (to.as_ref(), *id, *seq);
        let said = Said { kind: *kind, from, to, data, id, seq };
        self.in_room(room, |relay, room| relay.remote_said(room, &said));
    }

    fn confirmed(&self, room: &str, user: &UserId, id: Uuid) {
        self.in_room(room, |relay, room| relay.acknowledge(room, user, id));
    }

    fn surrender(&self, token: &str, received: Option<u64>) -> Option<Vec<u8>> {
        serde_json::to_vec(&self.0.surrender(token, received)?).ok()
    }
}
