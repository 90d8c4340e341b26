//! Cameras: real ones, video files and the synthetic one.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::video::MAX_SIDE;
use crate::video::device::DeviceCamera;
use crate::video::fake::PatternCamera;
use crate::video::file::FileCamera;
use crate::worker::{Stop, Worker};
use crate::{Frame, Slot, VideoSource};

/// How long a missing or broken device is left alone before it is tried again.
const RETRY: Duration = Duration::from_secs(5);

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

/// A running camera (`pm-camera`). Dropping it stops the device and joins its thread.
#[derive(Debug)]
pub struct Camera {
    capture: Capture,
}

impl Camera {
    /// Starts a camera on its own thread and returns at once; pictures appear in
    /// [`Camera::frames`] when the device delivers them. `label` is drawn into the synthetic
    /// picture and used for nothing else. A device that is missing or fails is tried again every
    /// few seconds.
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
        let sides = 16..=MAX_SIDE;
        if !sides.contains(&format.width)
            || !sides.contains(&format.height)
            || !(1..=60).contains(&format.fps)
        {
            return Err(CameraError::Format(format));
        }
        let (source, label) = (source.clone(), label.to_owned());
        let open = match source {
            VideoSource::None => None,
            source => Some(move || open(&source, format, &label)),
        };
        let capture = Capture::start("pm-camera", open).map_err(CameraError::Thread)?;
        Ok(Self { capture })
    }

    /// The newest picture. Cleared when the camera fails or is dropped.
    pub fn frames(&self) -> Slot<Frame> {
        self.capture.frames.clone()
    }

    /// What is missing, as a plain sentence for the user; `None` while all is well.
    pub fn problem(&self) -> Option<String> {
        self.capture.problem.borrow().clone()
    }

    /// Follows [`Camera::problem`] as it changes.
    pub fn problems(&self) -> watch::Receiver<Option<String>> {
        self.capture.problem.clone()
    }
}

/// Whatever delivers pictures: a camera, a file, a screen, the synthetic camera. Lives on the
/// thread that opened it.
pub(crate) trait Pictures {
    /// Waits for the next picture, at most about a second; `None` when there was none in that
    /// time or the thread should end.
    fn next(&mut self, stop: &Stop) -> Result<Option<Frame>, Problem>;
}

/// Why there are no pictures, as a plain sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem(pub String);

/// A capture thread, its slot and what it lacks.
#[derive(Debug)]
pub(crate) struct Capture {
    pub frames: Slot<Frame>,
    pub problem: watch::Receiver<Option<String>>,
    worker: Option<Worker>,
}

impl Capture {
    /// Starts the thread that opens the source and runs it; without a source there is no thread.
    pub fn start<F>(name: &str, open: Option<F>) -> std::io::Result<Self>
    where
        F: Fn() -> Result<Box<dyn Pictures>, Problem> + Send + 'static,
    {
        let frames = Slot::new();
        let (report, problem) = watch::channel(None);
        let worker = match open {
            None => None,
            Some(open) => {
                let frames = frames.clone();
                let run = move |stop: Stop| capture(&stop, open, &frames, &report);
                Some(Worker::spawn(name, run)?)
            }
        };
        Ok(Self { frames, problem, worker })
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        drop(self.worker.take());
        self.frames.clear();
    }
}

fn capture(
    stop: &Stop,
    open: impl Fn() -> Result<Box<dyn Pictures>, Problem>,
    frames: &Slot<Frame>,
    report: &watch::Sender<Option<String>>,
) {
    while !stop.is_set() {
        let Problem(sentence) = match open() {
            Ok(pictures) => {
                set(report, None);
                match run(stop, pictures, frames) {
                    Ok(()) => return,
                    Err(problem) => problem,
                }
            }
            Err(problem) => problem,
        };
        frames.clear();
        set(report, Some(sentence));
        if !stop.sleep_until(Instant::now() + RETRY) {
            return;
        }
    }
}

/// Runs a source until it fails or the thread should end.
fn run(stop: &Stop, mut pictures: Box<dyn Pictures>, frames: &Slot<Frame>) -> Result<(), Problem> {
    while !stop.is_set() {
        if let Some(frame) = pictures.next(stop)? {
            frames.put(frame);
        }
    }
    Ok(())
}

/// Reports a problem once, however often it is met.
fn set(report: &watch::Sender<Option<String>>, problem: Option<String>) {
    report.send_if_modified(|old| {
        let changed = *old != problem;
        if changed {
            let missing = problem.is_some();
            tracing::info!(missing, "a picture source changed its state");
            *old = problem;
        }
        changed
    });
}

fn open(
    source: &VideoSource,
    format: PictureFormat,
    label: &str,
) -> Result<Box<dyn Pictures>, Problem> {
    match source {
        VideoSource::Pattern => Ok(Box::new(PatternCamera::new(format, label))),
        VideoSource::None => Err(Problem("There is no camera.".into())),
        VideoSource::File(path) => Ok(Box::new(FileCamera::open(path, format)?)),
        VideoSource::Default => Ok(Box::new(DeviceCamera::open(None, format)?)),
        VideoSource::Named(name) => Ok(Box::new(DeviceCamera::open(Some(name), format)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::read_counter;

    const SMALL: PictureFormat = PictureFormat { width: 320, height: 180, fps: 60 };
    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn the_synthetic_camera_counts_its_pictures() {
        let camera = Camera::open(&VideoSource::Pattern, SMALL, "ada").unwrap();
        let frames = camera.frames();
        let (version, first) = frames.wait_newer(0, LONG).unwrap();
        let (_, second) = frames.wait_newer(version, LONG).unwrap();
        assert!(read_counter(&first).unwrap() < read_counter(&second).unwrap());
        assert_eq!((first.width(), first.height()), (320, 180));
        assert_eq!(camera.problem(), None);
        drop(camera);
        assert!(frames.latest().is_none(), "a closed camera shows nothing");
    }

    #[test]
    fn no_camera_is_no_problem() {
        let camera = Camera::open(&VideoSource::None, SMALL, "").unwrap();
        assert!(camera.frames().latest().is_none());
        assert_eq!(camera.problem(), None);
    }

    #[test]
    fn impossible_formats_are_refused() {
        for (width, height, fps) in
            [(0, 720, 30), (1280, 5000, 30), (1280, 720, 0), (1280, 720, 61)]
        {
            let format = PictureFormat { width, height, fps };
            let refused = Camera::open(&VideoSource::Pattern, format, "");
            assert!(matches!(refused, Err(CameraError::Format(_))));
        }
    }
}
