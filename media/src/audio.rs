//! The audio engine: one thread that captures, encodes, decodes, mixes and plays.

pub(crate) mod device;
mod engine;
mod fake;
mod file;
mod jitter;
mod meter;
mod mix;
mod process;
mod recovery;
mod resample;
mod voice;

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use crate::worker::Worker;
use crate::{SoundSink, SoundSource};

use self::engine::Engine;
use self::meter::{Meter, pitch_hz};
pub use self::process::Processing;
use self::voice::Voice;

/// Opus's RTP clock, whatever it carries (RFC 7587 §4.1), in hertz; also the rate of all sound
/// inside this crate.
pub const SAMPLE_RATE: u32 = 48_000;
/// What is reported for silence, in dBFS: the floor of every level.
pub const SILENCE_DBFS: f32 = -120.0;
/// Samples in a packet of ours: 20 ms.
const PACKET: usize = SAMPLE_RATE as usize / 50;
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
    /// What is done to our sound. `None` lets the source decide: everything to a real microphone,
    /// nothing to a file or a tone, which are what they are.
    pub processing: Option<Processing>,
}

impl AudioConfig {
    /// What is done to our sound at first.
    fn initial_processing(&self) -> Processing {
        let real = matches!(self.microphone, SoundSource::Default | SoundSource::Named(_));
        self.processing.unwrap_or(if real { Processing::ALL } else { Processing::NONE })
    }
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

/// How loud one peer is, measured from decoded sound. As in AES17, a sine of full scale has
/// 0 dBFS; the synthetic tone has −12 dBFS.
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
    shared: Arc<Shared>,
    problems: watch::Receiver<Vec<String>>,
    _worker: Option<Worker>,
}

/// What the thread and the handles share. Locks are held for the time of decoding a packet at
/// most, and never by a device's callback.
#[derive(Debug)]
struct Shared {
    muted: AtomicBool,
    /// Bits of an `f32`, in dBFS.
    microphone_dbfs: AtomicU32,
    /// Bits of a [`Processing`].
    processing: AtomicU8,
    /// Packets that found no place in the queue to the network.
    unsent: AtomicU64,
    voices: Mutex<Vec<Arc<Peer>>>,
}

#[derive(Debug)]
struct Peer {
    id: String,
    voice: Mutex<Voice>,
}

impl Peer {
    fn voice(&self) -> MutexGuard<'_, Voice> {
        self.voice.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn voices(&self) -> MutexGuard<'_, Vec<Arc<Peer>>> {
        self.voices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_microphone_level(&self, meter: &Meter) {
        self.microphone_dbfs.store(meter.level_dbfs().to_bits(), Ordering::Relaxed);
    }
}

impl AudioEngine {
    /// Starts the engine and returns at once; devices open on its thread. Packets of our own
    /// sound come out of the receiver, every 20 ms, also while muted (then they carry silence).
    /// With [`SoundSource::None`], and where the microphone can't be opened, there are none.
    pub fn open(config: AudioConfig) -> (Self, mpsc::Receiver<EncodedAudio>) {
        let (report, problems) = watch::channel(Vec::new());
        let (out, packets) = mpsc::channel(ENCODED_QUEUE);
        let shared = Arc::new(Shared {
            muted: AtomicBool::new(false),
            microphone_dbfs: AtomicU32::new(SILENCE_DBFS.to_bits()),
            processing: AtomicU8::new(config.initial_processing().to_bits()),
            unsent: AtomicU64::new(0),
            voices: Mutex::default(),
        });
        let worker = {
            let (shared, report) = (Arc::clone(&shared), report.clone());
            Worker::spawn("pm-audio", move |stop| {
                Engine::run(config, shared, report, out, &stop);
            })
        };
        let worker = worker.map_err(|error| {
            tracing::error!(%error, "no thread for the sound");
            let problem = "There is no sound: the system is short of threads.";
            report.send_modify(|problems| problems.push(problem.into()));
        });
        (Self { shared, problems, _worker: worker.ok() }, packets)
    }

    /// What is missing, in plain sentences for the user; empty while all is well. A device that
    /// stops is tried again, and its sentence disappears when it is back. Devices are
    /// opened after [`AudioEngine::open`] has returned, so follow
    /// [`AudioEngine::watch_problems`], too.
    pub fn problems(&self) -> Vec<String> {
        self.problems.borrow().clone()
    }

    /// Follows [`AudioEngine::problems`] as they change.
    pub fn watch_problems(&self) -> watch::Receiver<Vec<String>> {
        self.problems.clone()
    }

    /// Silences our sound, or lets it be heard again.
    pub fn set_muted(&self, muted: bool) {
        self.shared.muted.store(muted, Ordering::Relaxed);
    }

    /// Whether our sound is silenced.
    pub fn is_muted(&self) -> bool {
        self.shared.muted.load(Ordering::Relaxed)
    }

    /// Switches what is done to our sound, from the next 10 ms on.
    pub fn set_processing(&self, processing: Processing) {
        self.shared.processing.store(processing.to_bits(), Ordering::Relaxed);
    }

    /// What is done to our sound.
    pub fn processing(&self) -> Processing {
        Processing::from_bits(self.shared.processing.load(Ordering::Relaxed))
    }

    /// Packets of ours that were dropped because nobody took them from the receiver in time.
    pub fn unsent(&self) -> u64 {
        self.shared.unsent.load(Ordering::Relaxed)
    }

    /// Lets a peer be heard until the returned handle is dropped. The same id may be added twice
    /// (a peer that reconnects); each handle is a stream of its own.
    pub fn add_peer(&self, id: impl Into<String>) -> AudioInput {
        let voice = Voice::new().expect("the Opus decoder needs a few kilobytes of memory");
        let peer = Arc::new(Peer { id: id.into(), voice: Mutex::new(voice) });
        self.shared.voices().push(Arc::clone(&peer));
        AudioInput { peer, shared: Arc::clone(&self.shared) }
    }

    /// How loud everybody is now. Cheap enough for every redraw.
    pub fn levels(&self) -> Levels {
        let voices = self.shared.voices();
        let level = |peer: &Arc<Peer>| {
            let level_dbfs = peer.voice().meter.level_dbfs();
            PeerLevel { id: peer.id.clone(), level_dbfs }
        };
        let microphone = self.shared.microphone_dbfs.load(Ordering::Relaxed);
        Levels {
            microphone_dbfs: f32::from_bits(microphone),
            peers: voices.iter().map(level).collect(),
        }
    }
}

/// One peer's way into the mixer. Dropping it removes the peer. May outlive the engine.
#[derive(Debug)]
pub struct AudioInput {
    peer: Arc<Peer>,
    shared: Arc<Shared>,
}

impl AudioInput {
    /// The id given to [`AudioEngine::add_peer`].
    pub fn id(&self) -> &str {
        &self.peer.id
    }

    /// Hands over a packet as it comes from the network, in any order. Never blocks for long and
    /// never fails; rubbish is counted and concealed.
    pub fn push(&self, packet: AudioPacket) {
        self.peer.voice().push(packet, Instant::now());
    }

    /// Level of the newest 100 ms of decoded sound, RMS, in dBFS: for a meter.
    pub fn level_dbfs(&self) -> f32 {
        self.peer.voice().meter.level_dbfs()
    }

    /// Level of the loudest 100 ms within the newest second of decoded sound, RMS, in dBFS: for
    /// a report once a second.
    pub fn loudest_dbfs(&self) -> f32 {
        self.peer.voice().meter.loudest_dbfs()
    }

    /// The pitch of the loudest 100 ms within the newest second of decoded sound in hertz, 50 to
    /// 4000; `None` when it is silent or not periodic. Computed when called, in about a
    /// millisecond: ask once a second.
    pub fn pitch_hz(&self) -> Option<f32> {
        let sound = self.peer.voice().meter.loudest_sound();
        pitch_hz(&sound) // outside the lock: the audio thread must not wait for it
    }

    /// What has happened to this peer's sound.
    pub fn stats(&self) -> AudioInputStats {
        self.peer.voice().stats()
    }
}

impl Drop for AudioInput {
    fn drop(&mut self) {
        self.shared.voices().retain(|peer| !Arc::ptr_eq(peer, &self.peer));
    }
}
