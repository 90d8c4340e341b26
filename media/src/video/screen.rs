//! Sharing a screen: `x11grab` on X11, xcap's single pictures elsewhere.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use tokio::sync::watch;
use xcap::{Monitor, XCapError};

use crate::device::Device;
use crate::video::camera::{CameraError, Capture, PictureFormat, Pictures, Problem};
use crate::video::convert::{Converter, Packed, PackedFormat};
use crate::video::fake::Pace;
use crate::video::grab::{Area, Grabber};
use crate::video::{MAX_SIDE, fit};
use crate::worker::Stop;
use crate::{Frame, Slot};

/// Pictures a second at most, where each is a single screenshot: more would cost half a core.
const MAX_SCREENSHOTS: u32 = 10;

/// What to share.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ScreenTarget {
    /// The system's primary screen.
    #[default]
    Primary,
    /// A screen by the name that [`device::screens`](crate::device::screens) lists.
    Named(String),
}

/// A running screen capture (`pm-screen`). Dropping it stops and joins.
#[derive(Debug)]
pub struct Screen {
    capture: Capture,
}

impl Screen {
    /// Starts capturing on its own thread, `fps` (1 to 30) pictures a second, and returns at
    /// once. A screen that can't be captured is a [`Screen::problem`], not an error.
    ///
    /// # Errors
    ///
    /// Only when `fps` is out of range or no thread can be had.
    pub fn open(target: &ScreenTarget, fps: u32) -> Result<Self, CameraError> {
        if !(1..=30).contains(&fps) {
            let format = PictureFormat { width: MAX_SIDE, height: MAX_SIDE, fps };
            return Err(CameraError::Format(format));
        }
        let target = target.clone();
        let open = Some(move || open(&target, fps));
        let capture = Capture::start("pm-screen", open).map_err(CameraError::Thread)?;
        Ok(Self { capture })
    }

    /// The newest picture, in the screen's own size (at most 4096 a side). Cleared at the end.
    pub fn frames(&self) -> Slot<Frame> {
        self.capture.frames.clone()
    }

    /// What is missing, as a plain sentence for the user; `None` while all is well.
    pub fn problem(&self) -> Option<String> {
        self.capture.problem.borrow().clone()
    }

    /// Follows [`Screen::problem`] as it changes.
    pub fn problems(&self) -> watch::Receiver<Option<String>> {
        self.capture.problem.clone()
    }
}

/// The screens of this computer.
pub(crate) fn list() -> Vec<Device> {
    let Ok(monitors) = monitors() else { return Vec::new() };
    let device = |monitor: &Monitor| {
        let name = monitor.name().ok()?;
        Some(Device { name, is_default: monitor.is_primary().unwrap_or(false) })
    };
    monitors.iter().filter_map(device).collect()
}

fn open(target: &ScreenTarget, fps: u32) -> Result<Box<dyn Pictures>, Problem> {
    let monitor = find(target)?;
    if is_x11() {
        let area = guarded(|| {
            let (x, y) = (monitor.x()?, monitor.y()?);
            Ok(Area { x, y, width: monitor.width()?, height: monitor.height()? })
        })?;
        match Grabber::open(area, fps) {
            Ok(grabber) => return Ok(Box::new(grabber)),
            Err(error) => tracing::info!(%error, "x11grab can't be used, taking screenshots"),
        }
    }
    let pace = Pace::new(fps.min(MAX_SCREENSHOTS));
    Ok(Box::new(Screenshots { monitor, pace, converter: Converter::default() }))
}

/// Whether the desktop is X11 itself, not Wayland with an X11 inside that shows nothing.
fn is_x11() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    cfg!(target_os = "linux") && is_set("DISPLAY") && !is_set("WAYLAND_DISPLAY")
}

fn find(target: &ScreenTarget) -> Result<Monitor, Problem> {
    let mut monitors = monitors()?;
    let wanted = match target {
        ScreenTarget::Primary => {
            let primary = |monitor: &Monitor| monitor.is_primary().unwrap_or(false);
            monitors.iter().position(primary).unwrap_or(0)
        }
        ScreenTarget::Named(name) => {
            let named = |monitor: &Monitor| monitor.name().is_ok_and(|known| known == *name);
            let missing = || Problem(format!("The screen “{name}” was not found."));
            monitors.iter().position(named).ok_or_else(missing)?
        }
    };
    if wanted >= monitors.len() {
        return Err(Problem("There is no screen that could be shared.".into()));
    }
    Ok(monitors.swap_remove(wanted))
}

fn monitors() -> Result<Vec<Monitor>, Problem> {
    guarded(Monitor::all)
}

/// Runs a call into xcap; a missing display makes it fail in several ways.
fn guarded<T>(call: impl FnOnce() -> Result<T, XCapError>) -> Result<T, Problem> {
    let why = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it panicked".to_owned(),
    };
    tracing::debug!(why, "the screen can't be captured");
    Err(Problem("There is no screen that could be shared.".into()))
}

/// One screenshot after the other.
struct Screenshots {
    monitor: Monitor,
    pace: Pace,
    converter: Converter,
}

impl Pictures for Screenshots {
    fn next(&mut self, stop: &Stop) -> Result<Option<Frame>, Problem> {
        if !self.pace.wait(stop) {
            return Ok(None);
        }
        let picture = guarded(|| self.monitor.capture_image())?;
        let (width, height) = picture.dimensions();
        if width == 0 || height == 0 {
            return Ok(None);
        }
        let format = PackedFormat::Rgba;
        let packed = Packed { format, width, height, data: picture.as_raw() };
        let (width, height) = fit(width, height, MAX_SIDE, MAX_SIDE);
        Ok(self.converter.packed(packed, width, height, Instant::now()))
    }
}
