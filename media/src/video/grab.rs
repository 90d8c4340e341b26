//! FFmpeg's `x11grab`: pictures of an X11 screen, pointer included, at under 1 % of a core.
//!
//! The only module that opens FFmpeg's devices.

use std::ffi::CStr;
use std::time::Instant;

use ffmpeg_next::format::{self, context::Input};
use ffmpeg_next::frame::Video as AvFrame;
use ffmpeg_next::{Dictionary, Error, Format, Packet, decoder, ffi, media};

use crate::Frame;
use crate::video::camera::{Pictures, Problem};
use crate::video::convert::Converter;
use crate::video::{MAX_SIDE, fit};
use crate::worker::Stop;

const X11GRAB: &CStr = c"x11grab";

/// A part of the X11 desktop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub x: i32,
    pub y: i32,
    pub width: u32,
    pub height: u32,
}

/// Pictures of a part of the X11 desktop.
pub(super) struct Grabber {
    input: Input,
    decoder: decoder::Video,
    converter: Converter,
}

impl Grabber {
    /// Grabs an area of the display that `DISPLAY` names; FFmpeg paces the pictures.
    pub fn open(area: Area, fps: u32) -> Result<Self, Error> {
        crate::video::quiet_ffmpeg();
        // SAFETY: the name is a C string; the answer is null or a static description.
        let found = unsafe { ffi::av_find_input_format(X11GRAB.as_ptr()) };
        if found.is_null() {
            return Err(Error::DemuxerNotFound);
        }
        // SAFETY: not null, and valid for ever.
        let x11grab = Format::Input(unsafe { format::Input::wrap(found.cast_mut()) });
        let mut options = Dictionary::new();
        options.set("video_size", &format!("{}x{}", area.width, area.height));
        options.set("framerate", &fps.to_string());
        options.set("draw_mouse", "1");
        let display = std::env::var("DISPLAY").unwrap_or_default();
        let place = format!("{display}+{},{}", area.x.max(0), area.y.max(0));
        let format::context::Context::Input(input) = format::open_with(&place, &x11grab, options)?
        else {
            return Err(Error::DemuxerNotFound);
        };
        let stream = input.streams().best(media::Type::Video).ok_or(Error::StreamNotFound)?;
        let context = ffmpeg_next::codec::Context::from_parameters(stream.parameters())?;
        let decoder = context.decoder().video()?;
        Ok(Self { input, decoder, converter: Converter::default() })
    }

    fn grab(&mut self) -> Result<AvFrame, Error> {
        let mut packet = Packet::empty();
        packet.read(&mut self.input)?;
        self.decoder.send_packet(&packet)?;
        let mut picture = AvFrame::empty();
        self.decoder.receive_frame(&mut picture)?;
        Ok(picture)
    }
}

impl Pictures for Grabber {
    fn next(&mut self, _: &Stop) -> Result<Option<Frame>, Problem> {
        let problem = |error: Error| {
            tracing::debug!(%error, "the screen can't be grabbed");
            Problem("The screen can't be shared any more.".into())
        };
        let picture = self.grab().map_err(problem)?;
        let (width, height) = fit(picture.width(), picture.height(), MAX_SIDE, MAX_SIDE);
        Ok(self.converter.decoded(&picture, width, height, Instant::now()))
    }
}
