//! Stays below the rate at which servers refuse messages: ours and the original's.

use std::time::{Duration, Instant};

/// Messages that may leave at once; the original allows 60.
const BURST: u32 = 50;
/// One more each so often; the original allows 40 a second.
const ONE_EVERY: Duration = Duration::from_millis(28);

/// A bucket of permissions.
#[derive(Debug)]
pub(super) struct Pace {
    /// When the bucket is full again.
    full_at: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// How long to wait before the next message, which is counted.
    pub(super) fn take(&mut self, now: Instant) -> Duration {
        self.full_at = self.full_at.max(now) + ONE_EVERY;
        let missing = self.full_at.saturating_duration_since(now);
        missing.saturating_sub(ONE_EVERY * BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_it_is_one_by_one() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for _ in 0..BURST {
            assert_eq!(pace.take(start), Duration::ZERO);
        }
        assert_eq!(pace.take(start), ONE_EVERY);
        assert_eq!(pace.take(start + ONE_EVERY * 2), Duration::ZERO);
        let later = start + Duration::from_secs(60);
        for _ in 0..BURST {
            assert_eq!(pace.take(later), Duration::ZERO);
        }
        assert!(pace.take(later) > Duration::ZERO);
    }
}
