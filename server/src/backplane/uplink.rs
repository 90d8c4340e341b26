//! What waits for the task that talks to the other servers: filled under the rooms' locks, never
//! waiting, bounded in bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use wire::{LeftReason, UserId};

use super::NodeId;
use super::packet::Words;
use crate::auth::User;

/// Bytes that may wait. When it is full, messages are refused as `Server busy`; joins and leaves
/// still fit, and there are no more of them than seats.
pub(super) const QUEUED_BYTES: usize = 32 * 1024 * 1024;

/// One thing that other servers must hear, or a question for one.
#[derive(Debug)]
pub(super) enum Item {
    Joined(Arc<str>, Arc<User>),
    Left(Arc<str>, UserId, LeftReason),
    Said(Arc<str>, Words),
    Claim { node: NodeId, nonce: u64, token: String, received: Option<u64> },
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Self::Said(_, words) => words.bytes(),
            _ => 256,
        }
    }
}

/// The queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

#[derive(Debug, Default)]
pub(super) struct Uplink {
    queue: Mutex<Queue>,
    /// Wakes the one task that empties the queue; a push before it waits is not lost.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
}

impl Uplink {
    /// Appends; only messages can be refused.
    pub(super) fn push(&self, item: Item) -> Result<(), Full> {
        let bytes = item.bytes();
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(item, Item::Said(..)) && queue.bytes + bytes > QUEUED_BYTES {
            return Err(Full);
        }
        queue.bytes += bytes;
        queue.items.push_back(item);
        drop(queue);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits until there is something, and takes all of it.
    pub(super) async fn take(&self) -> VecDeque<Item> {
        loop {
            let taken = {
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                queue.bytes = 0;
                std::mem::take(&mut queue.items)
            };
            if !taken.is_empty() {
                return taken;
            }
            self.changed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use wire::MessageType;

    use super::*;

    fn said(bytes: usize) -> Item {
        let from = UserId::new("a").unwrap();
        let data = "x".repeat(bytes).into();
        let kind = MessageType::Chat;
        Item::Said("r".into(), Words { kind, from, to: None, data, id: None, seq: None })
    }

    #[tokio::test]
    async fn messages_are_refused_when_it_is_full_and_leaves_never() {
        let uplink = Uplink::default();
        assert_eq!(uplink.push(said(QUEUED_BYTES / 2)), Ok(()));
        assert_eq!(uplink.push(said(QUEUED_BYTES / 2)), Err(Full));
        let left = Item::Left("r".into(), UserId::new("a").unwrap(), LeftReason::Lost);
        assert_eq!(uplink.push(left), Ok(()));
        assert_eq!(uplink.take().await.len(), 2);
        assert_eq!(uplink.push(said(QUEUED_BYTES / 2)), Ok(()));
    }
}
