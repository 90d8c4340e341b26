//! Token buckets: how often a connection may speak and how often an address may ask.

mod shared;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use wire::limits::{PEER_AUTH_BURST, PEER_AUTH_PER_SECOND, SOCKET_BURST, SOCKET_RATE_PER_SECOND};

pub use shared::{Shared, SharedBuckets};

/// How fast a bucket fills and how much it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Tokens that come back each second; at least 1.
    pub per_second: u32,
    /// Tokens in a full bucket.
    pub burst: u32,
}

impl Rate {
    /// WebSocket messages of one connection.
    pub const SOCKET: Self = Self { per_second: SOCKET_RATE_PER_SECOND, burst: SOCKET_BURST };
    /// WebSocket messages of one user over all connections: as many as two of them may send.
    pub const USER: Self = Self { per_second: 2 * SOCKET_RATE_PER_SECOND, burst: 2 * SOCKET_BURST };
    /// WebSocket messages of one address: an office may sit behind it, or a flood.
    pub const ADDRESS: Self =
        Self { per_second: 25 * SOCKET_RATE_PER_SECOND, burst: 50 * SOCKET_BURST };
    /// `peer.auth` messages of one connection, which count among its messages, too.
    pub const PEER_AUTH: Self = Self { per_second: PEER_AUTH_PER_SECOND, burst: PEER_AUTH_BURST };
    /// `GET` and `HEAD` requests of one address.
    pub const GET: Self = Self { per_second: 5, burst: 10 };
    /// `POST` requests of one address.
    pub const POST: Self = Self { per_second: 2, burst: 5 };

    fn interval(self) -> Duration {
        Duration::from_secs(1) / self.per_second.max(1)
    }
}

/// A token bucket of one word: the moment at which it will be full again.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    full_at: Instant,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn full(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes one token.
    ///
    /// # Errors
    /// How long to wait until there is one.
    pub fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let full_at = self.full_at.max(now) + rate.interval();
        let missing = full_at.duration_since(now);
        let capacity = rate.interval() * rate.burst;
        if missing > capacity {
            return Err(missing - capacity);
        }
        self.full_at = full_at;
        Ok(())
    }

    fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

/// What an HTTP request is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `GET` and `HEAD`.
    Get,
    /// `POST`.
    Post,
}

impl Kind {
    fn rate(self) -> Rate {
        match self {
            Self::Get => Rate::GET,
            Self::Post => Rate::POST,
        }
    }
}

/// Addresses remembered at once. When so many are busy that none can be forgotten, all newcomers
/// share one bucket, and some of them wait without need.
const ADDRESSES: usize = 65_536;

/// The HTTP buckets, one for each address and method.
#[derive(Debug, Default)]
pub struct HttpLimits {
    buckets: Mutex<HashMap<(Option<IpAddr>, Kind), Bucket>>,
}

impl HttpLimits {
    /// Counts one request.
    ///
    /// # Errors
    /// How long the address should wait.
    pub fn take(&self, address: IpAddr, kind: Kind, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = (Some(network(address)), kind);
        if !buckets.contains_key(&key) && buckets.len() >= ADDRESSES {
            buckets.retain(|_, bucket| !bucket.is_full(now));
            if buckets.len() >= ADDRESSES {
                key.0 = None;
            }
        }
        buckets.entry(key).or_insert_with(|| Bucket::full(now)).take(kind.rate(), now)
    }
}

/// One person commands a whole IPv6 /64, so that is what counts as one address.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let bits = v6.to_bits() & (u128::MAX << 64);
            IpAddr::V6(bits.into())
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken_at_once(bucket: &mut Bucket, rate: Rate, now: Instant) -> usize {
        (0..1_000).take_while(|_| bucket.take(rate, now).is_ok()).count()
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start);
        assert_eq!(taken_at_once(&mut bucket, Rate::SOCKET, start), 200);
        let later = start + Duration::from_secs(1);
        assert_eq!(taken_at_once(&mut bucket, Rate::SOCKET, later), 40);
        let much_later = later + Duration::from_secs(3_600);
        assert_eq!(taken_at_once(&mut bucket, Rate::SOCKET, much_later), 200);
    }

    #[test]
    fn a_refused_try_costs_nothing_and_says_how_long_to_wait() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start);
        taken_at_once(&mut bucket, Rate::POST, start);
        let wait = bucket.take(Rate::POST, start).unwrap_err();
        assert_eq!(wait, Duration::from_millis(500));
        assert_eq!(bucket.take(Rate::POST, start), Err(wait));
        assert_eq!(bucket.take(Rate::POST, start + wait), Ok(()));
    }

    #[test]
    fn methods_and_addresses_have_buckets_of_their_own() {
        let (limits, now) = (HttpLimits::default(), Instant::now());
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        let other: IpAddr = "192.0.2.2".parse().unwrap();
        while limits.take(one, Kind::Post, now).is_ok() {}
        assert!(limits.take(one, Kind::Get, now).is_ok());
        assert!(limits.take(other, Kind::Post, now).is_ok());
    }

    #[test]
    fn neighbours_in_one_ipv6_network_share_a_bucket() {
        let (limits, now) = (HttpLimits::default(), Instant::now());
        while limits.take("2001:db8::1".parse().unwrap(), Kind::Get, now).is_ok() {}
        assert!(limits.take("2001:db8::2".parse().unwrap(), Kind::Get, now).is_err());
        assert!(limits.take("2001:db8:0:1::1".parse().unwrap(), Kind::Get, now).is_ok());
    }

    #[test]
    fn a_table_full_of_busy_addresses_still_answers() {
        let (limits, now) = (HttpLimits::default(), Instant::now());
        for number in 0..ADDRESSES as u32 {
            limits.take(IpAddr::V4(number.into()), Kind::Get, now).unwrap();
        }
        let newcomer = |n: u32| limits.take(IpAddr::V4((0xff00_0000 + n).into()), Kind::Get, now);
        let served = (0..100).take_while(|n| newcomer(*n).is_ok()).count();
        assert_eq!(served, Rate::GET.burst as usize);
        let later = now + Duration::from_secs(10);
        assert!(limits.take("203.0.113.9".parse().unwrap(), Kind::Get, later).is_ok());
        assert_eq!(limits.buckets.lock().unwrap().len(), 1);
    }
}
