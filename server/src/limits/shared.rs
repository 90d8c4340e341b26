//! Buckets that several connections share: those of one user, and those of one address.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use wire::UserId;

use super::{Bucket, Rate, network};

/// A bucket of several connections; it lives as long as one of them.
#[derive(Debug)]
pub struct Shared {
    bucket: Mutex<Bucket>,
    rate: Rate,
}

impl Shared {
    /// Whether there was a token to take.
    pub fn take(&self, now: Instant) -> bool {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.take(self.rate, now).is_ok()
    }
}

/// The shared buckets of all connections. Those who share are found by a keyed hash: a collision,
/// which nobody can bring about, would only make two share who need not.
#[derive(Debug)]
pub struct SharedBuckets {
    counts_addresses: bool,
    hasher: RandomState,
    buckets: Mutex<HashMap<u64, Weak<Shared>>>,
}

impl SharedBuckets {
    /// None yet; `counts_addresses` unless each user counts alone.
    #[must_use]
    pub fn new(counts_addresses: bool) -> Self {
        Self { counts_addresses, hasher: RandomState::new(), buckets: Mutex::default() }
    }

    /// The bucket of a user.
    pub fn of_user(&self, user: &UserId, now: Instant) -> Arc<Shared> {
        self.get(("user", user.as_str()), Rate::USER, now)
    }

    /// The bucket of an address, if addresses are counted.
    pub fn of_address(&self, address: IpAddr, now: Instant) -> Option<Arc<Shared>> {
        let rate = Rate::ADDRESS;
        self.counts_addresses.then(|| self.get(("address", network(address)), rate, now))
    }

    fn get(&self, key: impl Hash, rate: Rate, now: Instant) -> Arc<Shared> {
        let key = self.hasher.hash_one(key);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = buckets.get(&key).and_then(Weak::upgrade) {
            return shared;
        }
        if buckets.len() == buckets.capacity() {
            // Before the table grows, those go whose connections are gone.
            buckets.retain(|_, shared| shared.strong_count() > 0);
        }
        let shared = Arc::new(Shared { bucket: Mutex::new(Bucket::full(now)), rate });
        buckets.insert(key, Arc::downgrade(&shared));
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(shared: &Shared, now: Instant) -> u32 {
        (0..100_000).take_while(|_| shared.take(now)).count() as u32
    }

    #[test]
    fn connections_of_one_user_share_a_bucket_and_those_of_two_do_not() {
        let (buckets, now) = (SharedBuckets::new(false), Instant::now());
        let (ann, bob) = (UserId::new("ann").unwrap(), UserId::new("bob").unwrap());
        let (first, second) = (buckets.of_user(&ann, now), buckets.of_user(&ann, now));
        assert_eq!(taken(&first, now), Rate::USER.burst);
        assert_eq!(taken(&second, now), 0);
        assert_eq!(taken(&buckets.of_user(&bob, now), now), Rate::USER.burst);
        assert!(buckets.of_address("192.0.2.1".parse().unwrap(), now).is_none());
    }

    #[test]
    fn addresses_share_by_network_and_the_table_forgets_who_is_gone() {
        let (buckets, now) = (SharedBuckets::new(true), Instant::now());
        let of = |text: &str| buckets.of_address(text.parse().unwrap(), now).unwrap();
        let (one, neighbour) = (of("2001:db8::1"), of("2001:db8::2"));
        assert!(Arc::ptr_eq(&one, &neighbour));
        assert_eq!(taken(&one, now), Rate::ADDRESS.burst);
        for n in 0..10_000_u32 {
            drop(buckets.of_address(IpAddr::V4(n.into()), now));
        }
        assert!(buckets.buckets.lock().unwrap().len() < 100);
        assert!(Arc::ptr_eq(&one, &of("2001:db8::3")));
    }
}
