//! The latest-frame mailbox: newest wins, drops are counted.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A mailbox for one value: whoever puts a newer one replaces the older, readers take what is
/// newest. Clones share the mailbox; any number of readers and writers may hold one.
///
/// No call holds the inner lock longer than it takes to swap a pointer, so the window's thread
/// may read a slot that a decoder writes.
pub struct Slot<T> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    value: Option<Arc<T>>,
    version: u64,
    seen: bool,
    dropped: u64,
}

impl<T> Slot<T> {
    /// An empty slot, version 0.
    pub fn new() -> Self {
        let state = State { value: None, version: 0, seen: false, dropped: 0 };
        Self { inner: Arc::new(Inner { state: Mutex::new(state), changed: Condvar::new() }) }
    }

    /// Puts `value` in the place of the one before and wakes those who wait. A value that is
    /// replaced before anybody looked at it counts as dropped.
    pub fn put(&self, value: T) {
        self.put_shared(Arc::new(value));
    }

    /// Like [`Slot::put`] for a value that is already shared.
    pub fn put_shared(&self, value: Arc<T>) {
        let old = {
            let mut state = self.lock();
            if state.value.is_some() && !state.seen {
                state.dropped += 1;
            }
            state.version += 1;
            state.seen = false;
            state.value.replace(value)
        };
        self.inner.changed.notify_all();
        drop(old); // outside the lock: freeing a picture takes time
    }

    /// The newest value, if there ever was one. Does not remove it.
    pub fn latest(&self) -> Option<Arc<T>> {
        let mut state = self.lock();
        state.seen = true;
        state.value.clone()
    }

    /// How often a value was put or the slot was cleared: a reader that remembers this number
    /// knows whether there is something new.
    pub fn version(&self) -> u64 {
        self.lock().version
    }

    /// How many values were replaced before anybody looked at them.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Empties the slot (the version grows): the picture ended and must not stay on the screen.
    pub fn clear(&self) {
        let old = {
            let mut state = self.lock();
            state.version += 1;
            state.value.take()
        };
        self.inner.changed.notify_all();
        drop(old);
    }

    /// Blocks until the version is greater than `seen` and a value is there, and returns both;
    /// `None` after `timeout`.
    pub fn wait_newer(&self, seen: u64, timeout: Duration) -> Option<(u64, Arc<T>)> {
        self.wait_newer_until(seen, Some(timeout), || false)
    }

    /// Like [`Slot::wait_newer`]; returns `None` as soon as `stop` holds. Whoever makes `stop`
    /// true calls [`Slot::wake`] afterwards.
    pub(crate) fn wait_newer_until(
        &self,
        seen: u64,
        timeout: Option<Duration>,
        stop: impl Fn() -> bool,
    ) -> Option<(u64, Arc<T>)> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut state = self.lock();
        loop {
            if stop() {
                return None;
            }
            if state.version > seen
                && let Some(value) = state.value.clone()
            {
                state.seen = true;
                return Some((state.version, value));
            }
            state = match deadline {
                None => self.inner.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.checked_duration_since(Instant::now())?;
                    let waited = self.inner.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Makes every waiter look at its stop condition again.
    pub(crate) fn wake(&self) {
        // Taking the lock closes the gap between a waiter's check and its sleep.
        drop(self.lock());
        self.inner.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // The state is consistent after every statement, so a panic elsewhere can't spoil it.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> std::fmt::Debug for Slot<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("version", &self.version()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn the_newest_value_wins_and_unseen_ones_count_as_dropped() {
        let slot = Slot::new();
        assert!(slot.latest().is_none());
        slot.put(1);
        slot.put(2);
        slot.put(3);
        assert_eq!(slot.latest().as_deref(), Some(&3));
        assert_eq!((slot.version(), slot.dropped()), (3, 2));
        slot.put(4);
        assert_eq!(slot.dropped(), 2);
    }

    #[test]
    fn every_reader_sees_the_same_value() {
        let slot = Slot::new();
        let other = slot.clone();
        slot.put("picture");
        let (one, two) = (slot.latest().unwrap(), other.latest().unwrap());
        assert!(Arc::ptr_eq(&one, &two));
    }

    #[test]
    fn waiting_ends_with_a_newer_value() {
        let slot = Slot::new();
        slot.put(1);
        let writer = slot.clone();
        let thread = thread::spawn(move || writer.put(2));
        let mut seen = 1;
        while let Some((version, value)) = slot.wait_newer(seen, LONG) {
            seen = version;
            if *value == 2 {
                break;
            }
        }
        assert_eq!(seen, 2);
        thread.join().unwrap();
    }

    #[test]
    fn waiting_ends_after_the_timeout() {
        let slot = Slot::<u8>::new();
        assert!(slot.wait_newer(0, Duration::from_millis(1)).is_none());
    }

    #[test]
    fn clearing_empties_the_slot_and_is_seen_as_a_change() {
        let slot = Slot::new();
        slot.put(1);
        slot.clear();
        assert!(slot.latest().is_none());
        assert_eq!(slot.version(), 2);
        assert!(slot.wait_newer(1, Duration::ZERO).is_none());
    }

    #[test]
    fn a_waiter_is_woken_to_stop() {
        let slot = Slot::<u8>::new();
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (slot, stop) = (slot.clone(), Arc::clone(&stop));
            thread::spawn(move || {
                slot.wait_newer_until(0, None, || stop.load(Ordering::Acquire)).is_none()
            })
        };
        stop.store(true, Ordering::Release);
        slot.wake();
        assert!(thread.join().unwrap());
    }
}
