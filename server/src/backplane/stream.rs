//! A numbered stream of entries over a carrier that loses, repeats and reorders: what the sender
//! keeps until it is acknowledged, and what the receiver puts in order. No clock, no I/O.

use std::collections::{BTreeMap, VecDeque};

/// What a sender still may have to repeat. Numbers go up by one for each entry.
#[derive(Debug)]
pub struct Outbound<T> {
    /// The number of the newest entry, or what the stream started from.
    last: u64,
    /// The newest entries, each with its size in bytes.
    kept: VecDeque<(T, usize)>,
    bytes: usize,
    /// Of `kept`; beyond it the oldest entries are forgotten.
    limit_bytes: usize,
}

impl<T> Outbound<T> {
    /// A stream whose first entry will have the number `start + 1`.
    #[must_use]
    pub fn new(start: u64, limit_bytes: usize) -> Self {
        Self { last: start, kept: VecDeque::new(), bytes: 0, limit_bytes }
    }

    /// The number of the newest entry.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The number before the oldest entry that is still kept.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.last - self.kept.len() as u64
    }

    /// Whether nothing waits for an acknowledgement.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.kept.is_empty()
    }

    /// Appends an entry of `bytes` and gives it its number.
    pub fn push(&mut self, entry: T, bytes: usize) -> u64 {
        self.last += 1;
        self.bytes += bytes;
        self.kept.push_back((entry, bytes));
        while self.bytes > self.limit_bytes && self.kept.len() > 1 {
            self.drop_oldest();
        }
        self.last
    }

    /// Forgets everything up to and including `number`.
    pub fn settle(&mut self, number: u64) {
        while self.base() < number && !self.kept.is_empty() {
            self.drop_oldest();
        }
    }

    /// The kept entries after `number`, with their numbers; `None` when some of them are
    /// forgotten already, or when `number` is from a stream that this is not.
    pub fn after(&self, number: u64) -> Option<impl Iterator<Item = (u64, &T)>> {
        if number < self.base() || number > self.last {
            return None;
        }
        let base = self.base();
        let skipped = (number - base) as usize;
        let entries = self.kept.iter().enumerate().skip(skipped);
        Some(entries.map(move |(index, (entry, _))| (base + 1 + index as u64, entry)))
    }

    fn drop_oldest(&mut self) {
        if let Some((_, bytes)) = self.kept.pop_front() {
            self.bytes -= bytes;
        }
    }
}

/// What a receiver has of somebody's stream. Each entry names the one before it that concerns
/// this receiver, so that numbers may be left out.
#[derive(Debug)]
pub struct Inbound<T> {
    /// Everything up to here was taken.
    taken: u64,
    /// Entries that came before their time, each with the number of the one before it.
    early: BTreeMap<u64, (u64, T)>,
}

/// Entries that may wait for an earlier one; further ones are dropped and asked for again.
const EARLY: usize = 256;

impl<T> Inbound<T> {
    /// Everything up to `taken` is known already.
    #[must_use]
    pub fn new(taken: u64) -> Self {
        Self { taken, early: BTreeMap::new() }
    }

    /// The number of the last entry in order.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Puts the entry that follows `previous` where it belongs; one that was taken before, or
    /// follows itself, is dropped.
    pub fn put(&mut self, number: u64, previous: u64, entry: T) {
        let is_next = previous <= self.taken;
        if number > self.taken && previous < number && (is_next || self.early.len() < EARLY) {
            self.early.entry(number).or_insert((previous, entry));
        }
    }

    /// The next entry in order, if it is there.
    pub fn take(&mut self) -> Option<T> {
        let next = self.early.first_entry()?;
        if next.get().0 > self.taken {
            return None;
        }
        let (number, (_, entry)) = next.remove_entry();
        self.taken = number;
        Some(entry)
    }

    /// Whether something waits for an entry that is missing.
    #[must_use]
    pub fn has_gap(&self) -> bool {
        !self.early.is_empty()
    }

    /// Gives up on what is missing before and including `number`.
    pub fn skip_to(&mut self, number: u64) {
        if number > self.taken {
            self.taken = number;
            self.early.retain(|early, _| *early > number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_acknowledged_is_kept_within_its_bound() {
        let mut stream = Outbound::new(7, 10);
        for entry in ["a", "b", "c"] {
            stream.push(entry, 4);
        }
        let after = |stream: &Outbound<&'static str>, number| {
            stream.after(number).map(|entries| entries.map(|(n, e)| (n, *e)).collect::<Vec<_>>())
        };
        assert_eq!((stream.last(), stream.base()), (10, 8));
        assert_eq!(after(&stream, 7), None);
        assert_eq!(after(&stream, 8), Some(vec![(9, "b"), (10, "c")]));
        assert_eq!(after(&stream, 10), Some(vec![]));
        assert_eq!(after(&stream, 11), None);
        stream.settle(9);
        assert_eq!(after(&stream, 9), Some(vec![(10, "c")]));
        stream.settle(99);
        assert!(stream.is_settled());
        assert_eq!((stream.last(), stream.base()), (10, 10));
    }

    #[test]
    fn one_entry_beyond_the_bound_is_kept_alone() {
        let mut stream = Outbound::new(0, 10);
        stream.push("small", 1);
        stream.push("big", 11);
        assert_eq!(stream.base(), 1);
    }

    #[test]
    fn entries_are_taken_once_and_in_order() {
        fn drain(stream: &mut Inbound<char>) -> String {
            std::iter::from_fn(|| stream.take()).collect()
        }
        let mut stream = Inbound::new(3);
        for (number, entry, expected) in
            [(5, 'b', ""), (3, 'x', ""), (4, 'a', "ab"), (4, 'y', ""), (7, 'd', ""), (6, 'c', "cd")]
        {
            stream.put(number, number - 1, entry);
            assert_eq!(drain(&mut stream), expected, "{entry}");
        }
        // 8 and 9 concern others.
        stream.put(12, 10, 'f');
        stream.put(10, 7, 'e');
        stream.put(10, 10, 'x');
        assert_eq!((drain(&mut stream).as_str(), stream.taken()), ("ef", 12));
        stream.put(14, 13, 'g');
        stream.put(16, 15, 'h');
        assert!(stream.has_gap());
        stream.skip_to(15);
        assert_eq!((drain(&mut stream).as_str(), stream.taken()), ("h", 16));
    }

    #[test]
    fn what_comes_early_is_bounded_and_the_missing_one_always_fits() {
        let mut stream = Inbound::new(0);
        for number in 2..2_000 {
            stream.put(number, number - 1, number);
        }
        assert_eq!(stream.early.len(), EARLY);
        stream.put(1, 0, 1);
        assert_eq!(std::iter::from_fn(|| stream.take()).count(), EARLY + 1);
    }
}
