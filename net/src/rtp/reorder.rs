//! Puts video packets back into order, so that a retransmission fills its gap, and gives a gap up
//! when it has waited long enough.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Packet;

/// Packets held behind a gap; at 2 Mbit/s that is more than two seconds. When it is full, the gap
/// is given up.
const HELD_PACKETS: usize = 512;
/// How long a gap may hold up what is behind it: one retransmission over a slow path.
const PATIENCE: Duration = Duration::from_millis(250);
/// A sequence number this far away is not late or early, but of a sender that began anew.
const JUMP: u64 = 3_000;

/// What comes out, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ordered {
    /// The next packet.
    Packet(Packet),
    /// This many packets will not come.
    Gap(u64),
}

/// The buffer of one stream.
#[derive(Debug, Default)]
pub(crate) struct Reorder {
    /// The next number to hand out, unwrapped.
    next: Option<u64>,
    held: BTreeMap<u64, Packet>,
    /// When the first of `held` began to wait.
    waiting_since: Option<Instant>,
}

impl Reorder {
    /// Takes a packet and appends what can go on to `out`.
    pub(crate) fn push(&mut self, packet: Packet, now: Instant, out: &mut Vec<Ordered>) {
        let Some(next) = self.next else {
            // Unwrapped numbers begin one round up, so that an earlier packet has a place below.
            self.next = Some(u64::from(packet.sequence) + (1 << 16) + 1);
            out.push(Ordered::Packet(packet));
            return;
        };
        let number = unwrap(packet.sequence, next);
        if number.abs_diff(next) > JUMP {
            self.give_up(out);
            self.next = Some(number + 1);
            out.push(Ordered::Gap(0));
            out.push(Ordered::Packet(packet));
        } else if number >= next {
            self.held.entry(number).or_insert(packet);
            self.release(now, out);
            while self.held.len() > HELD_PACKETS {
                self.skip(now, out);
            }
        }
    }

    /// When [`Self::expire`] wants to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.waiting_since.map(|since| since + PATIENCE)
    }

    /// Gives up a gap that has waited too long.
    pub(crate) fn expire(&mut self, now: Instant, out: &mut Vec<Ordered>) {
        if self.deadline().is_some_and(|deadline| now >= deadline) {
            self.skip(now, out);
        }
    }

    fn release(&mut self, now: Instant, out: &mut Vec<Ordered>) {
        let Some(next) = &mut self.next else { return };
        let mut moved = false;
        while let Some(packet) = self.held.remove(next) {
            out.push(Ordered::Packet(packet));
            *next += 1;
            moved = true;
        }
        if self.held.is_empty() {
            self.waiting_since = None;
        } else if moved || self.waiting_since.is_none() {
            self.waiting_since = Some(now);
        }
    }

    fn skip(&mut self, now: Instant, out: &mut Vec<Ordered>) {
        let (Some(next), Some((&first, _))) = (&mut self.next, self.held.first_key_value()) else {
            return;
        };
        out.push(Ordered::Gap(first - *next));
        *next = first;
        self.release(now, out);
    }

    fn give_up(&mut self, out: &mut Vec<Ordered>) {
        out.push(Ordered::Gap(self.held.len() as u64));
        self.held.clear();
        self.waiting_since = None;
    }
}

/// The unwrapped number nearest to `near` that ends in `sequence`.
fn unwrap(sequence: u16, near: u64) -> u64 {
    // Truncation is the point: the distance on the circle of 2^16, signed.
    let distance = sequence.wrapping_sub(near as u16) as i16;
    near.saturating_add_signed(i64::from(distance))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn packet(sequence: u16) -> Packet {
        Packet { sequence, timestamp: 0, marker: false, payload: Bytes::new() }
    }

    /// Pushes the numbers one millisecond apart; a gap is written as `None`.
    fn check(input: &[u16], expected: &[Option<u16>]) {
        let (mut reorder, mut out, start) = (Reorder::default(), Vec::new(), Instant::now());
        for (at, sequence) in input.iter().enumerate() {
            let now = start + Duration::from_millis(at as u64);
            reorder.push(packet(*sequence), now, &mut out);
        }
        let found: Vec<_> = out
            .iter()
            .map(|item| match item {
                Ordered::Packet(packet) => Some(packet.sequence),
                Ordered::Gap(_) => None,
            })
            .collect();
        assert_eq!(found, expected, "{input:?}");
    }

    #[test]
    fn packets_come_out_in_order_and_once() {
        check(&[5, 6, 7], &[Some(5), Some(6), Some(7)]);
        check(&[5, 7, 8, 6, 9], &[Some(5), Some(6), Some(7), Some(8), Some(9)]);
        check(&[5, 5, 6, 5, 6], &[Some(5), Some(6)]);
        check(&[65_534, 0, 65_535, 1], &[Some(65_534), Some(65_535), Some(0), Some(1)]);
        check(&[0, 65_535, 1], &[Some(0), Some(1)]);
    }

    #[test]
    fn a_sender_that_begins_anew_is_followed() {
        check(
            &[100, 101, 40_000, 40_001],
            &[Some(100), Some(101), None, None, Some(40_000), Some(40_001)],
        );
    }

    #[test]
    fn a_gap_is_given_up_after_a_while() {
        let (mut reorder, mut out, start) = (Reorder::default(), Vec::new(), Instant::now());
        reorder.push(packet(1), start, &mut out);
        reorder.push(packet(4), start, &mut out);
        assert_eq!(reorder.deadline(), Some(start + PATIENCE));
        reorder.expire(start + PATIENCE / 2, &mut out);
        assert_eq!(out.len(), 1);
        reorder.expire(start + PATIENCE, &mut out);
        assert_eq!(out[1..], [Ordered::Gap(2), Ordered::Packet(packet(4))]);
        assert_eq!(reorder.deadline(), None);
    }

    #[test]
    fn what_is_held_is_bounded() {
        let (mut reorder, mut out, now) = (Reorder::default(), Vec::new(), Instant::now());
        reorder.push(packet(0), now, &mut out);
        for sequence in 0..1_400 {
            reorder.push(packet(2 + 2 * sequence), now, &mut out);
            assert!(reorder.held.len() <= HELD_PACKETS);
        }
    }

    proptest! {
        #[test]
        fn any_numbers_come_out_rising_between_gaps(numbers in prop::collection::vec(any::<u16>(), 0..200)) {
            let (mut reorder, mut out, now) = (Reorder::default(), Vec::new(), Instant::now());
            for number in &numbers {
                reorder.push(packet(*number), now, &mut out);
            }
            let mut last: Option<u16> = None;
            for item in out {
                match item {
                    Ordered::Gap(_) => last = None,
                    Ordered::Packet(packet) => {
                        if let Some(last) = last {
                            prop_assert_eq!(packet.sequence, last.wrapping_add(1));
                        }
                        last = Some(packet.sequence);
                    }
                }
            }
        }
    }
}
