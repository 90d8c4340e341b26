//! A media file that plays for ever: the packets of one of its streams, from the start again
//! after the end.

use std::path::{Path, PathBuf};

use ffmpeg_next::format::context::Input;
use ffmpeg_next::{Error, Packet, Rational, codec, format, media};

/// One stream of a file.
pub(crate) struct LoopedFile {
    path: PathBuf,
    kind: media::Type,
    input: Input,
    stream: usize,
    /// Packets since the start of the file.
    packets: u64,
}

impl LoopedFile {
    /// Opens the best stream of this kind.
    pub fn open(path: &Path, kind: media::Type) -> Result<Self, Error> {
        crate::video::quiet_ffmpeg();
        // The prefix keeps FFmpeg from taking a strange name for a network address.
        let mut name = std::ffi::OsString::from("file:");
        name.push(path);
        let input = format::input(&name)?;
        let stream = input.streams().best(kind).ok_or(Error::StreamNotFound)?.index();
        Ok(Self { path: path.to_owned(), kind, input, stream, packets: 0 })
    }

    /// What a decoder for the stream has to know.
    pub fn parameters(&self) -> Result<codec::Context, Error> {
        let stream = self.input.stream(self.stream).ok_or(Error::StreamNotFound)?;
        codec::Context::from_parameters(stream.parameters())
    }

    /// The unit of the stream's times, in seconds.
    pub fn time_base(&self) -> Rational {
        self.input.stream(self.stream).map_or(Rational(1, 90_000), |stream| stream.time_base())
    }

    /// The next packet; `None` at the end, after which the file starts again.
    pub fn next(&mut self) -> Result<Option<Packet>, Error> {
        loop {
            let mut packet = Packet::empty();
            match packet.read(&mut self.input) {
                Ok(()) if packet.stream() == self.stream => {
                    self.packets += 1;
                    return Ok(Some(packet));
                }
                Ok(()) => {}
                // A file that ends in rubbish ends there.
                Err(Error::Eof | Error::InvalidData) if self.packets > 0 => {
                    *self = Self::open(&self.path, self.kind)?;
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    }
}
