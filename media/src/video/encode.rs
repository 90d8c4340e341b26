//! One encoder thread: newest picture in, compressed picture out.

use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{Frame, Slot, VideoCodec};

/// How to encode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncoderConfig {
    /// Only [`VideoCodec::Vp8`] can be encoded.
    pub codec: VideoCodec,
    /// Target bit rate in bits a second, 30 000 to 20 000 000.
    pub bitrate_bps: u32,
    /// Pictures a second at most; newer pictures replace those that come faster.
    pub fps: u32,
    /// Pictures wider than this are scaled down, keeping their shape.
    pub max_width: u32,
    /// Pictures higher than this are scaled down, keeping their shape.
    pub max_height: u32,
}

impl Default for EncoderConfig {
    /// VP8, 1.5 Mbit/s, at most 1280×720 at 30 pictures a second.
    fn default() -> Self {
        Self {
            codec: VideoCodec::Vp8,
            bitrate_bps: 1_500_000,
            fps: 30,
            max_width: 1280,
            max_height: 720,
        }
    }
}

/// One compressed picture.
#[derive(Debug, Clone)]
pub struct EncodedVideo {
    /// The picture, as the codec's RTP payload format takes it.
    pub data: Bytes,
    /// When it was captured on the 90 kHz RTP clock; starts anywhere, wraps.
    pub rtp_time: u32,
    /// Whether it can be decoded without the ones before it.
    pub key: bool,
    /// When it was captured.
    pub captured: Instant,
}

/// Why an encoder could not be started.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// There is no encoder for this codec, or the numbers are out of range.
    #[error("cannot encode {0:?}")]
    Config(EncoderConfig),
    /// The system refused a thread.
    #[error("cannot start the encoder's thread")]
    Thread(#[source] std::io::Error),
}

/// What an encoder has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EncoderStats {
    /// Pictures encoded.
    pub frames: u64,
    /// Of them, key frames.
    pub key_frames: u64,
    /// Bytes produced.
    pub bytes: u64,
    /// Pictures the encoder failed on or left out to hold its bit rate.
    pub skipped: u64,
    /// Width of the newest picture as encoded, in pixels.
    pub width: u32,
    /// Height of the newest picture as encoded, in pixels.
    pub height: u32,
}

/// A running encoder (`pm-encode`). It first reserves a place in `out`, then takes the newest
/// picture, so that nothing stale is encoded when the network is slow. It ends when dropped or
/// when the receiver of `out` is gone.
#[derive(Debug)]
pub struct VideoEncoder {}

impl VideoEncoder {
    /// Starts an encoder for `frames`. The first picture is a key frame.
    ///
    /// # Errors
    ///
    /// When the configuration can't be encoded or no thread can be had.
    pub fn spawn(
        frames: Slot<Frame>,
        config: EncoderConfig,
        out: mpsc::Sender<EncodedVideo>,
    ) -> Result<Self, EncodeError> {
        drop((frames, out));
        Err(EncodeError::Config(config))
    }

    /// Makes the next picture a key frame. Cheap; several requests before the next picture count
    /// as one. The caller limits how often (at most one a second).
    pub fn request_key_frame(&self) {}

    /// Changes the target bit rate from the next picture on, without a key frame.
    pub fn set_bitrate(&self, bitrate_bps: u32) {
        let _ = bitrate_bps;
    }

    /// What has been done so far.
    pub fn stats(&self) -> EncoderStats {
        EncoderStats::default()
    }
}
