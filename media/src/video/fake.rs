//! The synthetic camera, always built: a computer without a camera runs too.

use std::time::{Duration, Instant};

use crate::Frame;
use crate::pattern::Painter;
use crate::video::camera::{PictureFormat, Pictures, Problem};
use crate::worker::Stop;

/// Draws [`pattern`](crate::pattern)s at a steady rate.
pub(crate) struct PatternCamera {
    painter: Painter,
    pace: Pace,
    counter: u32,
}

impl PatternCamera {
    pub fn new(format: PictureFormat, label: &str) -> Self {
        let painter = Painter::new(format.width, format.height, label);
        Self { painter, pace: Pace::new(format.fps), counter: 0 }
    }
}

impl Pictures for PatternCamera {
    fn next(&mut self, stop: &Stop) -> Result<Option<Frame>, Problem> {
        if !self.pace.wait(stop) {
            return Ok(None);
        }
        self.counter = self.counter.wrapping_add(1);
        Ok(Some(self.painter.draw(self.counter, Instant::now())))
    }
}

/// A steady clock that never tries to catch up.
#[derive(Debug)]
pub(crate) struct Pace {
    interval: Duration,
    next: Instant,
}

impl Pace {
    /// Ticks `fps` times a second, from now on.
    pub fn new(fps: u32) -> Self {
        Self { interval: Duration::from_secs(1) / fps, next: Instant::now() }
    }

    /// Waits for the next tick; `false` when the thread should end.
    pub fn wait(&mut self, stop: &Stop) -> bool {
        let go_on = stop.sleep_until(self.next);
        self.next = (self.next + self.interval).max(Instant::now());
        go_on
    }
}
