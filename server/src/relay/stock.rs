//! What is counted when somebody asks, so that the hot path need not.

use std::collections::HashMap;

use super::Relay;
use crate::rooms::SeatId;

impl Relay {
    /// Brings the gauges up to date that nobody keeps: seats, and what lies in outboxes. Takes
    /// one shard's lock after another, for a look at each seat.
    pub(crate) fn take_stock(&self) {
        let mut seats = 0;
        // Somebody in two rooms has one outbox.
        let mut kept: HashMap<SeatId, usize> = HashMap::new();
        for shard in &self.shards {
            for seat in shard.lock().seats() {
                seats += 1;
                kept.insert(seat.id, seat.handle.outbox.bytes());
            }
        }
        let bytes: usize = kept.values().sum();
        self.metrics.relay.seats.set(seats);
        self.metrics.relay.outbox_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}
