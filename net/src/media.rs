//! Encoded pictures and sound on their way between the codecs and the peers.

pub(crate) mod out;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use wire::UserId;

use out::Router;

/// What a track shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A person's voice.
    Microphone,
    /// A person's picture.
    Camera,
    /// A screen or window.
    Screen,
    /// The sound of what is shared.
    ScreenAudio,
}

impl Source {
    /// All of them, in the order in which their m-lines are created.
    pub const ALL: [Self; 4] = [Self::Microphone, Self::Camera, Self::Screen, Self::ScreenAudio];

    /// Whether it is a picture.
    #[must_use]
    pub fn is_video(self) -> bool {
        matches!(self, Self::Camera | Self::Screen)
    }

    /// `microphone`, `camera`, `screen`, `screen-audio`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Microphone => "microphone",
            Self::Camera => "camera",
            Self::Screen => "screen",
            Self::ScreenAudio => "screen-audio",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a track is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// Sound, 48 kHz (RFC 7587).
    Opus,
    /// What we send.
    Vp8,
    /// Constrained baseline, Annex B (start codes) on both sides of this crate's edge.
    H264,
    /// Not negotiated yet.
    Vp9,
    /// Not negotiated yet.
    Av1,
}

impl Codec {
    /// Ticks a second of `rtp_time`.
    #[must_use]
    pub fn clock_rate(self) -> u32 {
        if self == Self::Opus { 48_000 } else { 90_000 }
    }
}

/// Names one track of a peer: its source, with a number behind where there are several
/// (`camera`, `camera-2`). A track that ends and begins again may have the same id again.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrackId(String);

impl TrackId {
    /// The id with this text.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrackId({})", self.0)
    }
}

/// One frame of ours, encoded once for the whole mesh.
#[derive(Debug, Clone)]
pub struct EncodedFrame {
    /// Video: one whole frame (VP8). Audio: one Opus packet.
    pub data: Bytes,
    /// When it was taken: 90 kHz for video, 48 kHz for audio; wraps.
    pub rtp_time: u32,
    /// Whether it can be decoded alone. Always true for audio.
    pub key: bool,
    /// When it was taken, by this computer's clock.
    pub captured: Instant,
}

/// One frame of a peer's.
#[derive(Debug, Clone)]
pub struct RemoteFrame {
    /// Video: one whole frame (VP8) or access unit (H.264, with start codes). Audio: one Opus
    /// packet.
    pub data: Bytes,
    /// The sender's clock; 90 kHz for video, 48 kHz for audio; wraps.
    pub rtp_time: u32,
    /// The RTP sequence number of its first packet; wraps. Sound needs it to see losses.
    pub sequence: u16,
    /// Whether it can be decoded alone. Always true for audio.
    pub key: bool,
    /// When its last packet arrived.
    pub received: Instant,
}

/// A peer's microphone, camera or screen.
#[derive(Debug)]
pub struct RemoteTrack {
    /// Whose.
    pub peer: UserId,
    /// Unique among the peer's tracks of this moment.
    pub id: TrackId,
    /// What it shows.
    pub source: Source,
    /// How it is encoded.
    pub codec: Codec,
    /// The frames, in order. Video: begins with a key frame, and after a loss or when the reader
    /// was too slow goes on with a key frame. Audio: as it arrives, in order of arrival; when the
    /// reader is too slow, the newest are lost. Closed when the track ends.
    pub frames: mpsc::Receiver<RemoteFrame>,
}

/// The way out for encoded frames; cheap to clone.
#[derive(Debug, Clone)]
pub struct MediaOut {
    router: Arc<Router>,
}

impl MediaOut {
    pub(crate) fn new(router: Arc<Router>) -> Self {
        Self { router }
    }

    /// Hands over one frame for all peers.
    ///
    /// Video waits, a tenth of a second at most, when no peer's queue has a place, so that an
    /// encoder that is too fast is held up; a peer whose queue is full while others have room
    /// loses the frame. Audio never waits: when a peer's queue is full the oldest packet is lost.
    /// Both are counted. Frames of a source that nobody wants, and all frames after the session's
    /// end, are dropped silently.
    pub async fn send(&self, source: Source, frame: EncodedFrame) {
        self.router.send(source, frame).await;
    }

    /// Whether there is anybody to encode this source for: it is published and a peer is
    /// connected. Encoders pause while it is false.
    #[must_use]
    pub fn wanted(&self, source: Source) -> bool {
        self.router.wanted(source)
    }
}
