//! Frames to RTP payloads and back, without sockets and clocks: [`vp8`], [`h264`], and
//! [`reorder`] in front of them. Nothing here trusts a byte of what comes in.

pub(crate) mod assemble;
pub(crate) mod h264;
pub(crate) mod reorder;
pub(crate) mod vp8;

use bytes::Bytes;

/// Bytes of payload in one packet that we send; with headers, encryption and a relay's framing
/// it stays below 1,280 bytes, which every path carries.
pub(crate) const PAYLOAD_BYTES: usize = 1_160;
/// Bytes in one video frame that we put together; a sender of more is not a camera.
pub(crate) const FRAME_BYTES: usize = 4 * 1024 * 1024;

/// What of an RTP packet matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) payload: Bytes,
}

/// A whole video frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) data: Bytes,
    pub(crate) timestamp: u32,
    /// Of its first packet.
    pub(crate) sequence: u16,
    pub(crate) key: bool,
}
