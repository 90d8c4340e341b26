//! How much of the relay somebody may hold at once, and how often strangers get an answer.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::limits::{Bucket, Rate};

/// Answers to requests without a good credential, for one network address. Each client asks once
/// before it shows its credential, and calls begin in bursts, often behind one address.
const STRANGER: Rate = Rate { per_second: 50, burst: 400 };
/// Buckets that addresses share; two of them meet in one now and then, and share its rate.
const BUCKETS: usize = 8_192;

/// How many things there are, for each holder and in all.
#[derive(Debug)]
pub struct Quota<K> {
    each: usize,
    total: usize,
    held: Mutex<HashMap<K, usize>>,
}

/// Why somebody gets no more.
#[derive(Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// This holder has enough.
    Each,
    /// All have enough.
    Total,
}

impl<K: Hash + Eq + Clone> Quota<K> {
    /// `each` for one holder, `total` for all.
    #[must_use]
    pub fn new(each: usize, total: usize) -> Arc<Self> {
        Arc::new(Self { each, total, held: Mutex::default() })
    }

    /// One more for `holder`, until the share is dropped.
    ///
    /// # Errors
    /// [`Exceeded`].
    pub fn take(self: &Arc<Self>, holder: K) -> Result<Share<K>, Exceeded> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.values().sum::<usize>() >= self.total {
            return Err(Exceeded::Total);
        }
        let count = held.entry(holder.clone()).or_default();
        if *count >= self.each {
            return Err(Exceeded::Each);
        }
        *count += 1;
        Ok(Share { quota: self.clone(), holder })
    }
}

/// One thing that somebody holds.
#[derive(Debug)]
pub struct Share<K: Hash + Eq> {
    quota: Arc<Quota<K>>,
    holder: K,
}

impl<K: Hash + Eq> Drop for Share<K> {
    fn drop(&mut self) {
        let mut held = self.quota.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.holder) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.holder);
            }
        }
    }
}

/// The network that an address counts for: its own, for IPv6 the /64.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & (u128::MAX << 64)).into()),
        v4 => v4,
    }
}

/// Counts answers to strangers, whose addresses may be forged: what they ask is answered so
/// seldom that nobody is flooded through us. Takes the same memory whoever comes.
#[derive(Debug)]
pub struct Strangers {
    hasher: RandomState,
    buckets: Mutex<Vec<Bucket>>,
}

impl Strangers {
    /// Nobody has come yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { hasher: RandomState::new(), buckets: Mutex::new(vec![Bucket::full(now); BUCKETS]) }
    }

    /// Whether one more answer may go there.
    pub fn may_answer(&self, address: IpAddr, now: Instant) -> bool {
        let place = self.hasher.hash_one(network(address)) as usize % BUCKETS;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets[place].take(STRANGER, now).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_back() {
        let quota = Quota::new(2, 3);
        let (a, b) = (quota.take("a").unwrap(), quota.take("a").unwrap());
        assert_eq!(quota.take("a").unwrap_err(), Exceeded::Each);
        let c = quota.take("b").unwrap();
        assert_eq!(quota.take("c").unwrap_err(), Exceeded::Total);
        drop((a, c));
        let _a = quota.take("a").unwrap();
        assert_eq!(quota.take("a").unwrap_err(), Exceeded::Each);
        drop(b);
        assert_eq!(quota.held.lock().unwrap().len(), 1);
    }

    #[test]
    fn strangers_get_few_answers() {
        let now = Instant::now();
        let strangers = Strangers::new(now);
        let address: IpAddr = "203.0.113.1".parse().unwrap();
        let answers = (0..10_000).filter(|_| strangers.may_answer(address, now)).count();
        assert_eq!(answers, STRANGER.burst as usize);
        let others = (0..100).filter(|n| {
            let other = IpAddr::from([198, 51, 100, *n]);
            strangers.may_answer(other, now)
        });
        assert!(others.count() >= 95, "others hardly notice");
    }
}
