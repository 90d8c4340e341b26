//! One decoder thread for each remote track.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ffmpeg_next::codec::{self, Flags, threading};
use ffmpeg_next::format::Pixel;
use ffmpeg_next::frame::Video as AvFrame;
use ffmpeg_next::{Dictionary, Packet, color, decoder};
use tokio::sync::mpsc;

use crate::pattern::read_counter;
use crate::video::convert::{Converter, is_full_range};
use crate::video::{MAX_SIDE, VideoCodec};
use crate::worker::{Stop, Worker};
use crate::{Frame, Slot};

/// How long at least between two requests for a key frame: every sender has to make a large one.
const KEY_REQUEST_INTERVAL: Duration = Duration::from_secs(1);
/// Packets in a row that may pass without a picture. A sender in a call never reorders pictures, so
/// a decoder that stays silent was led astray by damage.
const MAX_SILENT: u32 = 8;
/// Larger packets are refused: nothing a call sends is as large.
const MAX_PACKET_BYTES: usize = 4 << 20;

/// One whole compressed picture (access unit) from the network.
#[derive(Debug, Clone)]
pub struct VideoPacket {
    /// The picture, depacketised. H.264 comes as a byte stream with start codes (Annex B).
    pub data: Bytes,
    /// The 90 kHz RTP timestamp.
    pub rtp_time: u32,
    /// Whether the sender calls it a key frame. VP8 and H.264 are not believed but looked at.
    pub key: bool,
}

/// Why a decoder could not be started.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The system's FFmpeg has no decoder for this codec.
    #[error("this computer has no decoder for {0:?}")]
    Codec(VideoCodec),
    /// FFmpeg has the decoder but can't open it.
    #[error("cannot open the decoder for {codec:?}")]
    Open {
        /// The codec.
        codec: VideoCodec,
        /// What FFmpeg says.
        #[source]
        source: ffmpeg_next::Error,
    },
    /// The system refused a thread.
    #[error("cannot start the decoder's thread")]
    Thread(#[source] std::io::Error),
}

/// What a decoder has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DecoderStats {
    /// Pictures decoded.
    pub frames: u64,
    /// Packets that could not be decoded or were dropped while waiting for a key frame.
    pub dropped: u64,
    /// Width of the newest picture in pixels, 0 before the first.
    pub width: u32,
    /// Height of the newest picture in pixels, 0 before the first.
    pub height: u32,
    /// The frame counter read from the newest picture, if it shows one
    /// ([`pattern::read_counter`](crate::pattern::read_counter)).
    pub counter: Option<u32>,
}

/// A running decoder (`pm-decode-<name>`). It ends when dropped or when the sender of its packets
/// is gone; then its slot is cleared.
#[derive(Debug)]
pub struct VideoDecoder {
    out: Slot<Frame>,
    shared: Arc<Shared>,
    _worker: Worker,
}

/// What the thread counts.
#[derive(Debug, Default)]
struct Shared {
    frames: AtomicU64,
    dropped: AtomicU64,
    size: Mutex<(u32, u32)>,
    wants_key: AtomicBool,
}

impl VideoDecoder {
    /// Starts a decoder that puts pictures into `out`. After an error, and before the first key
    /// frame, packets are dropped and `need_key` is called, at most once a second, on the
    /// decoder's thread; it must not block.
    ///
    /// Frames count as captured when they were decoded.
    ///
    /// # Errors
    ///
    /// When there is no such decoder or no thread can be had.
    pub fn spawn(
        name: &str,
        codec: VideoCodec,
        packets: mpsc::Receiver<VideoPacket>,
        out: Slot<Frame>,
        need_key: impl Fn() + Send + 'static,
    ) -> Result<Self, DecodeError> {
        let decoder = open(codec)?;
        let shared = Arc::new(Shared::default());
        let decoding = Decoding {
            codec,
            decoder,
            converter: Converter::default(),
            out: out.clone(),
            shared: Arc::clone(&shared),
            need_key,
            key_requested: None,
            astray: false,
            silent: 0,
        };
        shared.wants_key.store(true, Ordering::Relaxed);
        let worker = Worker::spawn(&format!("pm-decode-{name}"), move |stop| {
            decoding.run(&stop, packets);
        });
        Ok(Self { out, shared, _worker: worker.map_err(DecodeError::Thread)? })
    }

    /// What has been done so far. Reads the counter from the newest picture, so call it once a
    /// second rather than once a picture.
    pub fn stats(&self) -> DecoderStats {
        let (width, height) = *self.shared.size.lock().unwrap_or_else(PoisonError::into_inner);
        DecoderStats {
            frames: self.shared.frames.load(Ordering::Relaxed),
            dropped: self.shared.dropped.load(Ordering::Relaxed),
            width,
            height,
            counter: self.out.latest().and_then(|frame| read_counter(&frame)),
        }
    }
}

/// Whether this computer can decode `codec`.
pub fn can_decode(codec: VideoCodec) -> bool {
    open(codec).is_ok()
}

fn open(codec: VideoCodec) -> Result<decoder::Video, DecodeError> {
    crate::video::quiet_ffmpeg();
    let id = match codec {
        VideoCodec::Vp8 => codec::Id::VP8,
        VideoCodec::H264 => codec::Id::H264,
        VideoCodec::Vp9 => codec::Id::VP9,
        VideoCodec::Av1 => codec::Id::AV1,
    };
    let found = decoder::find(id).ok_or(DecodeError::Codec(codec))?;
    let mut context = codec::Context::new_with_codec(found);
    context.set_flags(Flags::LOW_DELAY);
    // More threads would each hold back a picture.
    context.set_threading(threading::Config::count(1));
    let mut options = Dictionary::new();
    options.set("max_pixels", &(u64::from(MAX_SIDE) * u64::from(MAX_SIDE)).to_string());
    let opened = context.decoder().open_as_with(found, options);
    opened.and_then(|opened| opened.video()).map_err(|source| DecodeError::Open { codec, source })
}

/// The thread's own state.
struct Decoding<F> {
    codec: VideoCodec,
    decoder: decoder::Video,
    converter: Converter,
    out: Slot<Frame>,
    shared: Arc<Shared>,
    need_key: F,
    key_requested: Option<Instant>,
    /// The decoder met an error: its state is not to be trusted any more.
    astray: bool,
    /// Packets in a row without a picture.
    silent: u32,
}

impl<F: Fn()> Decoding<F> {
    fn run(mut self, stop: &Stop, mut packets: mpsc::Receiver<VideoPacket>) {
        while let Some(Some(packet)) = stop.block_on(packets.recv()) {
            self.packet(&packet);
        }
        self.out.clear();
    }

    fn packet(&mut self, packet: &VideoPacket) {
        if packet.data.is_empty() || packet.data.len() > MAX_PACKET_BYTES {
            return self.failed("its size");
        }
        if self.shared.wants_key.load(Ordering::Relaxed) {
            if !is_key(self.codec, packet) {
                return self.failed("no key frame yet");
            }
            self.restart();
            self.shared.wants_key.store(false, Ordering::Relaxed);
        }
        if let Err(error) = self.decoder.send_packet(&Packet::copy(&packet.data)) {
            tracing::debug!(codec = ?self.codec, %error, "a picture could not be decoded");
            return self.went_astray("an error");
        }
        self.silent += 1;
        loop {
            let mut picture = AvFrame::empty();
            match self.decoder.receive_frame(&mut picture) {
                Ok(()) => self.picture(picture),
                Err(ffmpeg_next::Error::Other { errno: ffmpeg_next::error::EAGAIN }) => break,
                Err(error) => {
                    tracing::debug!(codec = ?self.codec, %error, "a picture got lost");
                    return self.went_astray("an error");
                }
            }
        }
        if self.silent > MAX_SILENT {
            self.went_astray("silence");
        }
    }

    /// Prepares for a key frame.
    fn restart(&mut self) {
        self.silent = 0;
        if std::mem::take(&mut self.astray)
            && let Ok(decoder) = open(self.codec)
        {
            self.decoder = decoder;
        } else {
            self.decoder.flush();
        }
    }

    fn went_astray(&mut self, why: &'static str) {
        self.astray = true;
        self.failed(why);
    }

    fn picture(&mut self, picture: AvFrame) {
        self.silent = 0;
        let (width, height) = (picture.width(), picture.height());
        if picture.is_corrupt() || picture.has_decode_errors() {
            return self.failed("a hole in it");
        }
        if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
            return self.failed("its sides");
        }
        // What FFmpeg reads as VP8's range is its clamping flag: VP8 is always limited BT.601.
        let plain = picture.format() == Pixel::YUV420P
            && (self.codec == VideoCodec::Vp8
                || (!is_full_range(&picture) && picture.color_space() != color::Space::BT709));
        let now = Instant::now();
        let frame = if plain {
            Frame::from_decoded(picture, now)
        } else {
            self.converter.decoded(&picture, width, height, now)
        };
        let Some(frame) = frame else { return self.failed("its pixel format") };
        *self.shared.size.lock().unwrap_or_else(PoisonError::into_inner) = (width, height);
        self.shared.frames.fetch_add(1, Ordering::Relaxed);
        self.out.put(frame);
    }

    /// Gives up until the next key frame, and asks for one.
    fn failed(&mut self, why: &'static str) {
        self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        self.shared.wants_key.store(true, Ordering::Relaxed);
        let now = Instant::now();
        if self.key_requested.is_none_or(|last| now - last >= KEY_REQUEST_INTERVAL) {
            self.key_requested = Some(now);
            tracing::debug!(codec = ?self.codec, why, "needs a key frame");
            (self.need_key)();
        }
    }
}

/// Whether decoding may begin with this packet.
fn is_key(codec: VideoCodec, packet: &VideoPacket) -> bool {
    match codec {
        // RFC 6386 §9.1: the lowest bit of the frame tag is 0 in key frames.
        VideoCodec::Vp8 => packet.data[0] & 1 == 0,
        // A NAL unit of type 5 is a slice of an IDR picture (H.264 table 7-1).
        VideoCodec::H264 => nal_types(&packet.data).any(|kind| kind == 5),
        VideoCodec::Vp9 | VideoCodec::Av1 => packet.key,
    }
}

/// The types of the NAL units of an H.264 byte stream.
fn nal_types(data: &[u8]) -> impl Iterator<Item = u8> {
    data.windows(4).filter(|bytes| bytes[..3] == [0, 0, 1]).map(|bytes| bytes[3] & 0x1F)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(data: &'static [u8], key: bool) -> VideoPacket {
        VideoPacket { data: Bytes::from_static(data), rtp_time: 0, key }
    }

    #[test]
    fn key_frames_are_known_by_their_bytes() {
        assert!(is_key(VideoCodec::Vp8, &packet(&[0x10, 0, 0], false)));
        assert!(!is_key(VideoCodec::Vp8, &packet(&[0x11, 0, 0], true)));
        let idr = &[0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x68, 3, 0, 0, 1, 0x65, 9];
        assert!(is_key(VideoCodec::H264, &packet(idr, false)));
        assert!(!is_key(VideoCodec::H264, &packet(&[0, 0, 0, 1, 0x41, 9], true)));
        assert!(is_key(VideoCodec::Vp9, &packet(&[0], true)));
    }

    #[test]
    fn the_codecs_that_a_call_needs_can_be_decoded() {
        for codec in [VideoCodec::Vp8, VideoCodec::H264, VideoCodec::Vp9] {
            assert!(can_decode(codec), "{codec:?}");
        }
    }
}
