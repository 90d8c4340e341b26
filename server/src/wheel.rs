//! One timer for all connections: whoever has something to do later waits in a slot of a wheel.
//! Sans-IO: time is an argument.
//!
//! A timer of the runtime for each connection would cost each of them a hundred bytes and a place
//! in a tree; here it is a word in a list. Nothing is ever taken out: who has gone by the time its
//! slot comes is dropped then.

use std::time::{Duration, Instant};

/// Slots of the wheel; what is due later than a turn is put off and looked at once a turn.
const SLOTS: usize = 256;

/// Things that are due at some time, to the precision of a tick.
#[derive(Debug)]
pub struct Wheel<T> {
    slots: Box<[Vec<(Instant, T)>]>,
    tick: Duration,
    start: Instant,
    /// Ticks that have passed since the start.
    passed: u64,
}

impl<T> Wheel<T> {
    /// An empty wheel that moves on every `tick`.
    ///
    /// # Panics
    /// If `tick` is zero.
    #[must_use]
    pub fn new(tick: Duration, now: Instant) -> Self {
        assert!(!tick.is_zero(), "a wheel has to turn");
        let slots = (0..SLOTS).map(|_| Vec::new()).collect();
        Self { slots, tick, start: now, passed: 0 }
    }

    /// Remembers `item` until `due`.
    pub fn insert(&mut self, due: Instant, item: T) {
        let ticks = self.ticks_until(due) + 1;
        let last = self.passed + SLOTS as u64 - 1;
        let slot = ticks.clamp(self.passed + 1, last) as usize % SLOTS;
        self.slots[slot].push((due, item));
    }

    /// Takes out what is due at `now`.
    pub fn advance(&mut self, now: Instant) -> Vec<T> {
        let (target, mut due) = (self.ticks_until(now), Vec::new());
        // After a long sleep one turn sees everything.
        self.passed = self.passed.max(target.saturating_sub(SLOTS as u64));
        while self.passed < target {
            self.passed += 1;
            let slot = self.passed as usize % SLOTS;
            for (when, item) in std::mem::take(&mut self.slots[slot]) {
                if when <= now { due.push(item) } else { self.insert(when, item) }
            }
        }
        due
    }

    /// Everything that waits, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten().map(|(_, item)| item)
    }

    fn ticks_until(&self, when: Instant) -> u64 {
        let since = when.saturating_duration_since(self.start).as_nanos();
        u64::try_from(since / self.tick.as_nanos()).unwrap_or(u64::MAX - SLOTS as u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TICK: Duration = Duration::from_millis(250);

    proptest! {
        #[test]
        fn everything_comes_once_not_before_its_time_and_at_most_a_tick_and_a_step_late(
            dues in prop::collection::vec(0..200_000u64, 1..60),
            steps in prop::collection::vec(1..90_000u64, 1..40),
        ) {
            let start = Instant::now();
            let at = |millis: u64| start + Duration::from_millis(millis);
            let mut wheel = Wheel::new(TICK, start);
            for due in &dues {
                wheel.insert(at(*due), *due);
            }
            let (mut now, mut seen) = (0, Vec::new());
            for step in steps.into_iter().chain([300_000]) {
                let before = now;
                now += step;
                for due in wheel.advance(at(now)) {
                    prop_assert!(due <= now);
                    prop_assert!(due + 2 * 250 >= before, "{due} comes only at {now}");
                    seen.push(due);
                }
            }
            let mut dues = dues;
            dues.sort_unstable();
            seen.sort_unstable();
            prop_assert_eq!(seen, dues);
            prop_assert_eq!(wheel.iter().count(), 0);
        }
    }

    #[test]
    fn what_is_put_back_comes_again() {
        let start = Instant::now();
        let mut wheel = Wheel::new(TICK, start);
        wheel.insert(start, 'a');
        let mut came = 0;
        for second in 1..=600 {
            let now = start + Duration::from_secs(second);
            for item in wheel.advance(now) {
                came += 1;
                wheel.insert(now + Duration::from_secs(54), item);
            }
        }
        assert_eq!(came, 11);
    }
}
