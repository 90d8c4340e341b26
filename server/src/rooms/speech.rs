//! Numbers and ids of chat messages: each sender's in a room are counted, and an id that comes
//! again is known.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use uuid::Uuid;
use wire::UserId;
use wire::limits::CHAT_IDS;

/// Senders that are remembered after they left; more are forgotten, and their next message
/// begins a new count.
const STRANGERS: usize = 256;

/// Rooms without members whose senders are remembered, in each shard; the oldest is forgotten.
const EMPTY_ROOMS: usize = 64;
/// Ids that an empty room may have for that; one in which more was said is forgotten.
const EMPTY_ROOM_IDS: usize = 1_024;

/// Those who wrote something in a room.
#[derive(Debug, Default)]
pub(super) struct Senders {
    senders: HashMap<UserId, Sender>,
}

#[derive(Debug, Default)]
struct Sender {
    /// The number of the last message.
    last: u64,
    /// The newest messages with an id.
    recent: VecDeque<Known>,
}

/// A message that was taken before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) id: Uuid,
    pub(super) seq: u64,
    pub(super) acknowledged: bool,
}

impl Senders {
    /// The number that the next message will have.
    pub(super) fn next(&self, from: &UserId) -> u64 {
        self.senders.get(from).map_or(0, |sender| sender.last) + 1
    }

    /// The message of that id, if it came before.
    pub(super) fn known(&self, from: &UserId, id: Uuid) -> Option<Known> {
        let sender = self.senders.get(from)?;
        sender.recent.iter().rev().find(|known| known.id == id).copied()
    }

    /// Remembers a message.
    pub(super) fn remember(
        &mut self,
        from: &UserId,
        seq: u64,
        id: Option<Uuid>,
        acknowledged: bool,
    ) {
        let sender = match self.senders.get_mut(from) {
            Some(sender) => sender,
            None => self.senders.entry(from.clone()).or_default(),
        };
        sender.last = sender.last.max(seq);
        if let Some(id) = id {
            if sender.recent.len() >= CHAT_IDS {
                sender.recent.pop_front();
            }
            sender.recent.push_back(Known { id, seq, acknowledged });
        }
    }

    /// Marks a message as acknowledged.
    pub(super) fn acknowledge(&mut self, from: &UserId, id: Uuid) {
        let recent = self.senders.get_mut(from).map(|sender| &mut sender.recent);
        for known in recent.into_iter().flatten().filter(|known| known.id == id) {
            known.acknowledged = true;
        }
    }

    fn ids(&self) -> usize {
        self.senders.values().map(|sender| 1 + sender.recent.len()).sum()
    }

    /// Forgets those who are gone, when they are too many.
    pub(super) fn forget_strangers(&mut self, is_member: impl Fn(&UserId) -> bool) {
        // Looked at when the number has doubled, so that large rooms are not searched each time.
        if self.senders.len() > STRANGERS && self.senders.len().is_power_of_two() {
            self.senders.retain(|id, _| is_member(id));
        }
    }
}

/// What was said in rooms in which nobody is for now. Whoever comes back, and says again what was
/// not acknowledged, is still understood.
#[derive(Debug, Default)]
pub(super) struct Memory {
    rooms: VecDeque<(Arc<str>, Senders)>,
}

impl Memory {
    /// A room is empty.
    pub(super) fn keep(&mut self, room: &Arc<str>, senders: Senders) {
        if !senders.senders.is_empty() && senders.ids() <= EMPTY_ROOM_IDS {
            if self.rooms.len() >= EMPTY_ROOMS {
                self.rooms.pop_front();
            }
            self.rooms.push_back((room.clone(), senders));
        }
    }

    /// Somebody is in it again.
    pub(super) fn take(&mut self, room: &str) -> Senders {
        let index = self.rooms.iter().position(|(name, _)| **name == *room);
        let kept = index.and_then(|index| self.rooms.remove(index));
        kept.map(|(_, senders)| senders).unwrap_or_default()
    }
}
