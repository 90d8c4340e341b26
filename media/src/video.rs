//! Pictures: capture, encoding and decoding, each on its own thread.

pub mod camera;
pub(crate) mod convert;
pub mod decode;
pub mod encode;
pub mod screen;

/// The RTP clock of every video codec (RFC 7741 §4.2, RFC 6184 §8.2.1), in hertz.
pub const VIDEO_CLOCK_HZ: u32 = 90_000;
/// The largest picture side that is decoded or captured, in pixels; larger pictures are refused.
pub const MAX_SIDE: u32 = 4096;

/// The video codecs this crate knows by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// VP8, encoded and decoded.
    Vp8,
    /// H.264, decoded only.
    H264,
    /// VP9, decoded only.
    Vp9,
    /// AV1, decoded only, and only where the system's FFmpeg has a decoder.
    Av1,
}
