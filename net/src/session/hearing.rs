//! What others have said so far, as far as it takes to notice what comes twice and what is
//! missing.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use wire::UserId;

/// Messages that are remembered; one that comes again after so many others is taken for new.
const REMEMBERED: usize = 512;
/// Senders whose numbers are remembered; gaps of further ones are not seen.
const SENDERS: usize = 2_000;

/// The memory.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    known: HashSet<(UserId, String)>,
    /// The same, the oldest first.
    order: VecDeque<(UserId, String)>,
    numbers: BTreeMap<UserId, u64>,
}

impl Hearing {
    /// Whether the message is new.
    pub(super) fn is_new(&mut self, from: &UserId, id: Option<&String>) -> bool {
        let Some(id) = id else { return true };
        let key = (from.clone(), id.clone());
        if !self.known.insert(key.clone()) {
            return false;
        }
        self.order.push_back(key);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }

    /// How many messages of that sender are missing before this one.
    pub(super) fn missing(&mut self, from: &UserId, number: Option<u64>) -> u64 {
        let Some(number) = number else { return 0 };
        if self.numbers.len() >= SENDERS && !self.numbers.contains_key(from) {
            return 0;
        }
        let last = self.numbers.insert(from.clone(), number);
        // A number that is not greater begins a new count.
        last.map_or(0, |last| number.saturating_sub(last).saturating_sub(1))
    }

    /// Only these are in the room.
    pub(super) fn keep(&mut self, members: &BTreeSet<UserId>) {
        self.numbers.retain(|sender, _| members.contains(sender));
    }

    /// A new session: what was said meanwhile is not known, and numbers may begin anew.
    pub(super) fn forget_numbers(&mut self) {
        self.numbers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    #[test]
    fn what_comes_twice_is_known_by_sender_and_id() {
        let (mut hearing, id) = (Hearing::default(), "1".to_owned());
        assert!(hearing.is_new(&user("a"), Some(&id)));
        assert!(!hearing.is_new(&user("a"), Some(&id)));
        assert!(hearing.is_new(&user("b"), Some(&id)));
        assert!(hearing.is_new(&user("a"), None) && hearing.is_new(&user("a"), None));
        for other in 0..REMEMBERED {
            assert!(hearing.is_new(&user("c"), Some(&other.to_string())));
        }
        assert!(hearing.is_new(&user("a"), Some(&id)), "it is long ago");
        assert!(hearing.known.len() <= REMEMBERED && hearing.order.len() <= REMEMBERED);
    }

    #[test]
    fn gaps_are_counted_for_each_sender() {
        let mut hearing = Hearing::default();
        let cases = [
            ("a", Some(5), 0), // The first: we came later.
            ("a", Some(6), 0),
            ("b", Some(1), 0),
            ("a", Some(9), 2),
            ("a", Some(9), 0),
            ("a", Some(1), 0), // A new count.
            ("a", Some(2), 0),
            ("a", None, 0),
            ("b", Some(u64::MAX), u64::MAX - 2),
        ];
        for (from, number, missing) in cases {
            assert_eq!(hearing.missing(&user(from), number), missing, "{from} {number:?}");
        }
        hearing.keep(&BTreeSet::from([user("b")]));
        assert_eq!(hearing.missing(&user("a"), Some(7)), 0);
        hearing.forget_numbers();
        assert_eq!(hearing.missing(&user("b"), Some(7)), 0);
    }
}
