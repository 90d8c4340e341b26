//! Thins out the requests for key frames: one a second for each source. A late one is not lost.

use std::time::{Duration, Instant};

use crate::media::Source;

/// Pause between two key frames of one source: a large picture's takes 40 KB.
const PAUSE: Duration = Duration::from_secs(1);

/// What was requested and granted.
#[derive(Debug, Default)]
pub(super) struct KeyFrames {
    granted_at: [Option<Instant>; 4],
    waiting: [bool; 4],
}

impl KeyFrames {
    /// Somebody can't decode.
    pub(super) fn request(&mut self, source: Source) {
        self.waiting[source as usize] = true;
    }

    /// When [`Self::grant`] is due.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let due = |source: Source| {
            let place = source as usize;
            let granted_at = self.granted_at[place];
            self.waiting[place].then(|| granted_at.map_or(now, |granted| granted + PAUSE))
        };
        Source::ALL.into_iter().filter_map(due).min()
    }

    /// The sources that get one now.
    pub(super) fn grant(&mut self, now: Instant) -> Vec<Source> {
        let mut granted = Vec::new();
        for source in Source::ALL {
            let place = source as usize;
            let rested = self.granted_at[place].is_none_or(|at| now >= at + PAUSE);
            if self.waiting[place] && rested {
                self.waiting[place] = false;
                self.granted_at[place] = Some(now);
                granted.push(source);
            }
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_becomes_one_a_second_and_the_last_is_kept() {
        let (mut frames, start) = (KeyFrames::default(), Instant::now());
        let (mut granted, mut now) = (0, start);
        for millis in (0..3_000).step_by(10) {
            now = start + Duration::from_millis(millis);
            frames.request(Source::Camera);
            granted += frames.grant(now).len();
        }
        assert_eq!(granted, 3);
        let due = frames.deadline(now).unwrap();
        assert_eq!(due, start + Duration::from_secs(3));
        assert_eq!(frames.grant(due), [Source::Camera]);
        assert_eq!(frames.deadline(due), None);
    }

    #[test]
    fn sources_do_not_wait_for_each_other() {
        let (mut frames, now) = (KeyFrames::default(), Instant::now());
        frames.request(Source::Camera);
        frames.grant(now);
        frames.request(Source::Screen);
        assert_eq!(frames.grant(now), [Source::Screen]);
    }
}
