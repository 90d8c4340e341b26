//! Our images on their way to the peers.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use wire::UserId;

use crate::event::TransferId;
use crate::transfer::Outgoing;

/// Images of ours under way at once; a further one fails.
const IMAGES: usize = 8;

/// Each image, and whom it has not reached yet.
#[derive(Debug, Default)]
pub(super) struct Images(HashMap<TransferId, (Arc<Outgoing>, BTreeSet<UserId>)>);

impl Images {
    /// Whether there is room for another one, under this id.
    pub(super) fn has_room_for(&self, id: &TransferId) -> bool {
        self.0.len() < IMAGES && !self.0.contains_key(id)
    }

    /// It goes to these peers.
    pub(super) fn add(&mut self, image: Arc<Outgoing>, peers: BTreeSet<UserId>) {
        self.0.insert(image.id.clone(), (image, peers));
    }

    /// A peer has it, or will not get it.
    pub(super) fn settled(&mut self, id: &TransferId, peer: &UserId) {
        if let Some((_, peers)) = self.0.get_mut(id) {
            peers.remove(peer);
            if peers.is_empty() {
                self.0.remove(id);
            }
        }
    }

    /// A peer is gone; which images it did not get.
    pub(super) fn lost(&mut self, peer: &UserId) -> Vec<TransferId> {
        let of_peer = |entry: (&TransferId, &(Arc<Outgoing>, BTreeSet<UserId>))| {
            entry.1.1.contains(peer).then(|| entry.0.clone())
        };
        let ids: Vec<TransferId> = self.0.iter().filter_map(of_peer).collect();
        ids.iter().for_each(|id| self.settled(id, peer));
        ids
    }

    /// Stops one; whether it was ours.
    pub(super) fn cancel(&self, id: &TransferId) -> bool {
        let image = self.0.get(id);
        if let Some((image, _)) = image {
            image.cancelled.cancel();
        }
        image.is_some()
    }
}
