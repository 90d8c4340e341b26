//! When to try a device again that has stopped. Sans-IO.

use std::time::{Duration, Instant};

/// The wait before the second attempt; it doubles with every further one. The first attempt is
/// made at once: sound systems stumble and go on.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A device that has worked for so long has recovered.
const STABLE: Duration = Duration::from_secs(10);

/// What is known about one device's troubles.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// What the user is to be told, and whether it was told.
    problem: Option<(String, bool)>,
    attempts: u32,
    next: Option<Instant>,
    /// When the newest attempt succeeded.
    recovered: Option<Instant>,
}

/// What the user should see change.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// This problem is new.
    Problem(String),
    /// This problem is over.
    Solved(String),
}

impl Recovery {
    /// The device, which has worked, stopped.
    pub fn lost(&mut self, problem: String, now: Instant) {
        if self.recovered.is_none_or(|at| now.saturating_duration_since(at) >= STABLE) {
            self.attempts = 0;
        }
        self.problem = Some((problem, false));
        self.schedule(now);
    }

    /// Whether to try now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.next.is_some_and(|next| next <= now)
    }

    /// When to try next, if ever.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    /// The attempt has succeeded or failed.
    pub fn tried(&mut self, success: bool, now: Instant) -> Option<News> {
        if success {
            (self.next, self.recovered) = (None, Some(now));
            let (problem, told) = self.problem.take()?;
            return told.then_some(News::Solved(problem));
        }
        self.schedule(now);
        let (problem, told) = self.problem.as_mut()?;
        let news = (!*told).then(|| News::Problem(problem.clone()));
        *told = true;
        news
    }

    fn schedule(&mut self, now: Instant) {
        let wait = match self.attempts {
            0 => Duration::ZERO,
            attempts => (FIRST_WAIT * 2u32.pow((attempts - 1).min(10))).min(LONGEST_WAIT),
        };
        self.attempts += 1;
        self.next = Some(now + wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem() -> String {
        "The speaker stopped.".into()
    }

    #[test]
    fn a_stumble_is_nobodys_news() {
        let (mut recovery, now) = (Recovery::default(), Instant::now());
        assert_eq!(recovery.next(), None);
        recovery.lost(problem(), now);
        assert!(recovery.is_due(now));
        assert_eq!(recovery.tried(true, now), None);
        assert_eq!(recovery.next(), None);
    }

    #[test]
    fn a_failure_is_told_once_and_so_is_its_end() {
        let (mut recovery, mut now) = (Recovery::default(), Instant::now());
        recovery.lost(problem(), now);
        assert_eq!(recovery.tried(false, now), Some(News::Problem(problem())));
        let mut waits = Vec::new();
        for _ in 0..8 {
            assert!(!recovery.is_due(now));
            let next = recovery.next().unwrap();
            waits.push((next - now).as_secs());
            now = next;
            assert!(recovery.is_due(now));
            assert_eq!(recovery.tried(false, now), None);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(recovery.tried(true, now), Some(News::Solved(problem())));
    }

    #[test]
    fn a_device_that_keeps_stumbling_is_left_alone_longer_and_longer() {
        let (mut recovery, now) = (Recovery::default(), Instant::now());
        recovery.lost(problem(), now);
        recovery.tried(true, now);
        recovery.lost(problem(), now);
        assert_eq!(recovery.next(), Some(now + FIRST_WAIT));
        recovery.tried(true, now);
        recovery.lost(problem(), now + STABLE);
        assert_eq!(recovery.next(), Some(now + STABLE), "it had recovered in between");
    }
}
