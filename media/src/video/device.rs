//! Real cameras, by nokhwa.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use ffmpeg_next::frame::Video as AvFrame;
use ffmpeg_next::{Packet, codec, decoder};
use nokhwa::Camera;
use nokhwa::utils::{
    ApiBackend, CameraFormat, CameraIndex, CameraInfo, FrameFormat, RequestedFormat,
    RequestedFormatType, Resolution,
};

use crate::Frame;
use crate::device::Device;
use crate::video::camera::{PictureFormat, Pictures, Problem};
use crate::video::convert::{Converter, Packed, PackedFormat};
use crate::video::{MAX_SIDE, fit};
use crate::worker::Stop;

/// What a camera may deliver; what we would rather have comes first.
const FORMATS: [FrameFormat; 6] = [
    FrameFormat::NV12,
    FrameFormat::YUYV,
    FrameFormat::MJPEG,
    FrameFormat::RAWRGB,
    FrameFormat::RAWBGR,
    FrameFormat::GRAY,
];
/// Pictures in a row that can't be read before the camera is taken for broken.
const MAX_BROKEN: u32 = 100;

/// The cameras of this computer.
pub(crate) fn list() -> Vec<Device> {
    let mut found: Vec<Device> = Vec::new();
    for info in query() {
        let name = info.human_name();
        // A webcam shows up once for its pictures and once more for its remarks about them.
        if !found.iter().any(|known| known.name == name) {
            found.push(Device { name, is_default: found.is_empty() });
        }
    }
    found
}

/// A camera that delivers.
pub(crate) struct DeviceCamera {
    name: String,
    camera: Camera,
    format: PictureFormat,
    converter: Converter,
    jpeg: Option<decoder::Video>,
    broken: u32,
}

impl DeviceCamera {
    /// Opens the first camera that works, or one by name or number.
    pub fn open(name: Option<&str>, format: PictureFormat) -> Result<Self, Problem> {
        let all = query();
        let wanted: Vec<CameraInfo> = match name {
            None => all,
            Some(name) => choose_by_name(all, name),
        };
        let mut problem = match name {
            None => Problem("No camera was found.".into()),
            Some(name) => Problem(format!("The camera “{name}” was not found.")),
        };
        let mut first = true;
        for info in wanted {
            match Self::start(&info, format) {
                Ok(camera) => return Ok(camera),
                // The second node of a webcam never works; the first one's trouble is the true one.
                Err(trouble) if first => (problem, first) = (trouble, false),
                Err(_) => {}
            }
        }
        Err(problem)
    }

    fn start(info: &CameraInfo, format: PictureFormat) -> Result<Self, Problem> {
        let name = info.human_name();
        let open = || {
            let any = RequestedFormat::with_formats(RequestedFormatType::None, &FORMATS);
            let mut camera = Camera::new(info.index().clone(), any)?;
            let formats = camera.compatible_camera_formats().unwrap_or_default();
            if let Some(best) = choose(&formats, format) {
                let exact = RequestedFormatType::Exact(best);
                camera.set_camera_requset(RequestedFormat::with_formats(exact, &FORMATS))?;
            }
            camera.open_stream()?;
            Ok(camera)
        };
        let camera = guarded(&name, open)?;
        tracing::info!(format = %camera.camera_format(), "camera open");
        let converter = Converter::default();
        Ok(Self { name, camera, format, converter, jpeg: None, broken: 0 })
    }

    fn jpeg(&mut self, data: &[u8]) -> Option<AvFrame> {
        if self.jpeg.is_none() {
            let found = decoder::find(codec::Id::MJPEG)?;
            let context = codec::Context::new_with_codec(found);
            self.jpeg = context.decoder().video().ok();
        }
        let decoder = self.jpeg.as_mut()?;
        decoder.send_packet(&Packet::copy(data)).ok()?;
        let mut picture = AvFrame::empty();
        decoder.receive_frame(&mut picture).ok()?;
        Some(picture)
    }

    fn convert(&mut self, buffer: &nokhwa::Buffer, captured: Instant) -> Option<Frame> {
        let size = (buffer.resolution().width(), buffer.resolution().height());
        let fitted = |(width, height): (u32, u32), format: PictureFormat| {
            let sides = 1..=4 * MAX_SIDE;
            (sides.contains(&width) && sides.contains(&height))
                .then(|| fit(width, height, format.width, format.height))
        };
        let format = match buffer.source_frame_format() {
            FrameFormat::MJPEG => {
                let picture = self.jpeg(buffer.buffer())?;
                let (width, height) = fitted((picture.width(), picture.height()), self.format)?;
                return self.converter.decoded(&picture, width, height, captured);
            }
            FrameFormat::YUYV => PackedFormat::Yuyv,
            FrameFormat::NV12 => PackedFormat::Nv12,
            FrameFormat::GRAY => PackedFormat::Grey,
            FrameFormat::RAWRGB => PackedFormat::Rgb,
            FrameFormat::RAWBGR => PackedFormat::Bgr,
        };
        let (width, height) = fitted(size, self.format)?;
        let packed = Packed { format, width: size.0, height: size.1, data: buffer.buffer() };
        self.converter.packed(packed, width, height, captured)
    }
}

impl Pictures for DeviceCamera {
    fn next(&mut self, _: &Stop) -> Result<Option<Frame>, Problem> {
        let buffer = guarded(&self.name, || self.camera.frame())?;
        let frame = self.convert(&buffer, Instant::now());
        self.broken = if frame.is_some() { 0 } else { self.broken + 1 };
        if self.broken > MAX_BROKEN {
            return Err(Problem(format!("The camera “{}” delivers no pictures.", self.name)));
        }
        Ok(frame)
    }
}

fn query() -> Vec<CameraInfo> {
    guarded("", || nokhwa::query(ApiBackend::Auto)).unwrap_or_default()
}

/// Runs a call into nokhwa, whose drivers may fail in many ways, some of them by panicking.
fn guarded<T>(
    name: &str,
    call: impl FnOnce() -> Result<T, nokhwa::NokhwaError>,
) -> Result<T, Problem> {
    let why = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "its driver panicked".to_owned(),
    };
    tracing::debug!(why, "a camera can't be used");
    Err(Problem(sentence(name, &why)))
}

/// Why a camera can't be used, in plain words.
fn sentence(name: &str, why: &str) -> String {
    let why = why.to_lowercase();
    if why.contains("busy") {
        format!("The camera “{name}” is in use by another program.")
    } else if why.contains("permission") || why.contains("denied") {
        format!("This program may not use the camera “{name}”.")
    } else if why.contains("no such device") || why.contains("no such file") {
        format!("The camera “{name}” was unplugged.")
    } else {
        format!("The camera “{name}” can't be used.")
    }
}

/// The cameras whose name is, or holds, `name`, or whose number it is; the best match first.
fn choose_by_name(all: Vec<CameraInfo>, name: &str) -> Vec<CameraInfo> {
    let rank = |info: &CameraInfo| {
        let known = info.human_name();
        let index = match info.index() {
            CameraIndex::Index(index) => index.to_string(),
            CameraIndex::String(text) => text.clone(),
        };
        if known == name {
            Some(0)
        } else if index == name {
            Some(1)
        } else {
            known.to_lowercase().contains(&name.to_lowercase()).then_some(2)
        }
    };
    let mut ranked: Vec<(u8, CameraInfo)> =
        all.into_iter().filter_map(|info| Some((rank(&info)?, info))).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, info)| info).collect()
}

/// The format nearest to the wanted one: never fewer pixels or pictures when more can be had, but
/// not more than needed either.
fn choose(formats: &[CameraFormat], wanted: PictureFormat) -> Option<CameraFormat> {
    let rank = |format: &CameraFormat| {
        let kind = FORMATS.iter().position(|known| *known == format.format())?;
        let Resolution { width_x, height_y } = format.resolution();
        let (width, height) = (u64::from(width_x), u64::from(height_y));
        let pixels = u64::from(wanted.width) * u64::from(wanted.height);
        let slow = wanted.fps.saturating_sub(format.frame_rate());
        Some((
            // A picture at half the rate is worse than one at half the size.
            slow * 2 > wanted.fps,
            (width * height).abs_diff(pixels),
            slow,
            format.frame_rate().saturating_sub(wanted.fps),
            kind,
        ))
    };
    let ranked = formats.iter().filter_map(|format| Some((rank(format)?, *format)));
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, format)| format)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera(name: &str, index: u32) -> CameraInfo {
        CameraInfo::new(name, "", "", CameraIndex::Index(index))
    }

    fn format(width: u32, height: u32, format: FrameFormat, fps: u32) -> CameraFormat {
        CameraFormat::new(Resolution::new(width, height), format, fps)
    }

    #[test]
    fn cameras_are_found_by_name_part_of_it_or_number() {
        let all = || vec![camera("HD Webcam", 0), camera("Webcam", 2), camera("Capture Card", 4)];
        let check = |name: &str, indices: &[u32]| {
            let found = choose_by_name(all(), name);
            let found: Vec<u32> =
                found.iter().map(|info| info.index().as_index().unwrap()).collect();
            assert_eq!(found, indices, "{name}");
        };
        check("Webcam", &[2, 0]);
        check("card", &[4]);
        check("4", &[4]);
        check("nothing", &[]);
    }

    #[test]
    fn the_format_nearest_to_the_wanted_one_is_chosen() {
        let webcam = [
            format(640, 480, FrameFormat::YUYV, 30),
            format(1280, 720, FrameFormat::YUYV, 10),
            format(1280, 720, FrameFormat::MJPEG, 30),
            format(1920, 1080, FrameFormat::MJPEG, 30),
        ];
        let wanted = PictureFormat::default();
        assert_eq!(choose(&webcam, wanted), Some(webcam[2]));
        assert_eq!(choose(&webcam[..2], wanted), Some(webcam[0]));
        assert_eq!(choose(&[], wanted), None);
    }

    #[test]
    fn troubles_are_told_in_sentences() {
        for (why, part) in [
            ("Could not open: Device or resource busy (os error 16)", "in use by another program"),
            ("Permission denied (os error 13)", "may not use"),
            ("ENODEV: No such device", "was unplugged"),
            ("what?", "can't be used"),
        ] {
            let sentence = sentence("HD Webcam", why);
            assert!(sentence.contains(part) && sentence.contains("HD Webcam"), "{sentence}");
        }
    }
}
