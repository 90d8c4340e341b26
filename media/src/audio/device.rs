//! Real microphones and speakers, by cpal.
//!
//! The callbacks run on the system's real-time threads: they copy to and from a lock-free ring
//! and wake the audio thread, and do nothing else.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{
    BufferSize, ErrorKind, FromSample, Sample, SampleFormat, SizedSample, Stream, StreamConfig,
    SupportedStreamConfig, SupportedStreamConfigRange,
};
use rtrb::{Consumer, Producer, RingBuffer};

use super::SAMPLE_RATE;
use super::engine::{Microphone, Speaker};
use super::resample::Resampler;
use crate::device::Device;

/// The callbacks that we ask for come every 10 ms; the system may decide otherwise.
const PERIODS_PER_SECOND: u32 = 100;
/// Sound that the rings hold at most, in parts of a second: half a second. What a microphone
/// delivers beyond it is lost and counted; a speaker's ring is never filled as far.
const RING: u32 = 2;
/// Sound that the speaker's ring holds beyond what a callback takes at once.
const SPEAKER_MARGIN: Duration = Duration::from_millis(20);
/// A device that does nothing for so long is taken for dead.
const DEAD_AFTER: Duration = Duration::from_secs(3);
/// How long closing a device may take before it is left alone.
const CLOSE_PATIENCE: Duration = Duration::from_millis(500);
/// So many over- and underruns reported in a row mean that the device died in a loop.
const MAX_XRUNS: u32 = 500;

/// What the callbacks tell the audio thread.
struct Link {
    /// The thread to wake.
    thread: Thread,
    /// Why the device failed, if it has.
    failed: OnceLock<ErrorKind>,
    /// Over- and underruns since the last callback that went well.
    xruns: AtomicU32,
    /// Samples that found no place in the ring, or were missing from it.
    lost: AtomicU64,
    /// The most frames a callback asked for.
    period: AtomicU32,
}

impl Link {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            thread: thread::current(),
            failed: OnceLock::new(),
            xruns: AtomicU32::new(0),
            lost: AtomicU64::new(0),
            period: AtomicU32::new(0),
        })
    }

    /// A callback went well.
    fn alive(&self, frames: usize) {
        self.xruns.store(0, Ordering::Relaxed);
        self.period.fetch_max(frames as u32, Ordering::Relaxed);
        self.thread.unpark();
    }

    /// Whether the device still works.
    fn check(&self, device: Kind) -> Result<(), String> {
        let Some(kind) = self.failed.get() else { return Ok(()) };
        tracing::info!(device = device.word(), ?kind, "an audio device stopped");
        Err(device.gone())
    }

    /// The device's error callback. A device that died calls it in a tight loop: the first fatal
    /// error makes the audio thread close the stream.
    fn error(&self, kind: ErrorKind) {
        match kind {
            ErrorKind::DeviceChanged | ErrorKind::RealtimeDenied => return,
            ErrorKind::Xrun if self.xruns.fetch_add(1, Ordering::Relaxed) < MAX_XRUNS => return,
            _ => {}
        }
        if self.failed.set(kind).is_ok() {
            self.thread.unpark();
        }
    }
}

/// A stream that is closed on a thread of its own, for which nobody waits for long: when a
/// PulseAudio dies, its client library may deadlock in closing, and must not take the audio
/// thread or the end of the program with it.
struct OpenStream(Option<Stream>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        let stream = self.0.take();
        let (done, closed) = std::sync::mpsc::sync_channel(1);
        let close = move || {
            drop(stream);
            let _ = done.send(());
        };
        let thread = thread::Builder::new().name("pm-close".into()).spawn(close);
        if thread.is_ok() && closed.recv_timeout(CLOSE_PATIENCE).is_err() {
            tracing::warn!("an audio device can't be closed and is left alone");
        }
    }
}

/// A microphone.
pub(super) struct DeviceMicrophone {
    _stream: OpenStream,
    link: Arc<Link>,
    ring: Consumer<f32>,
    raw: Vec<f32>,
    resampler: Resampler,
    heard: Instant,
}

impl DeviceMicrophone {
    /// Opens the default microphone or one by name.
    pub fn open(name: Option<&str>) -> Result<Self, String> {
        let device = find(Kind::Microphone, name)?;
        let sentence = |error: &cpal::Error| Kind::Microphone.sentence(error);
        let ranges = device.supported_input_configs().map_err(|error| sentence(&error))?;
        let default = device.default_input_config().map_err(|error| sentence(&error))?;
        let (config, format) = choose(ranges, &default);
        let link = Link::new();
        let capacity = (config.sample_rate / RING) as usize;
        let mut opened = Err(cpal::Error::new(ErrorKind::UnsupportedConfig));
        for buffer_size in buffer_sizes(config.sample_rate) {
            let (producer, ring) = RingBuffer::new(capacity);
            let config = StreamConfig { buffer_size, ..config };
            opened = input(&device, config, format, producer, &link).map(|stream| (stream, ring));
            if opened.is_ok() {
                break;
            }
        }
        let (stream, ring) = opened.map_err(|error| sentence(&error))?;
        stream.play().map_err(|error| sentence(&error))?;
        let resampler = Resampler::new(config.sample_rate, SAMPLE_RATE);
        let resampler = resampler.map_err(|_| Kind::Microphone.unusable())?;
        tracing::info!(rate = config.sample_rate, channels = config.channels, "microphone open");
        let (stream, raw, heard) = (OpenStream(Some(stream)), Vec::new(), Instant::now());
        Ok(Self { _stream: stream, link, ring, raw, resampler, heard })
    }
}

impl Microphone for DeviceMicrophone {
    fn read(&mut self, now: Instant, sound: &mut Vec<f32>) -> Result<(), String> {
        self.link.check(Kind::Microphone)?;
        let count = self.ring.slots();
        if count > 0 {
            self.heard = now;
        } else if now.saturating_duration_since(self.heard) > DEAD_AFTER {
            return Err(Kind::Microphone.gone());
        }
        self.raw.resize(count, 0.0);
        let (filled, _) = self.ring.pop_partial_slice(&mut self.raw);
        self.resampler.run(filled, sound);
        let lost = self.link.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::debug!(lost, "the microphone's ring was full");
        }
        Ok(())
    }

    fn due(&self) -> Option<Instant> {
        None
    }
}

/// A speaker.
pub(super) struct DeviceSpeaker {
    _stream: OpenStream,
    link: Arc<Link>,
    ring: Producer<f32>,
    rate: u32,
    resampler: Resampler,
    raw: Vec<f32>,
    /// Fill of the ring when the thread last looked, and when that was not what it left.
    left: usize,
    played: Instant,
}

impl DeviceSpeaker {
    /// Opens the default speaker or one by name.
    pub fn open(name: Option<&str>) -> Result<Self, String> {
        let device = find(Kind::Speaker, name)?;
        let sentence = |error: &cpal::Error| Kind::Speaker.sentence(error);
        let ranges = device.supported_output_configs().map_err(|error| sentence(&error))?;
        let default = device.default_output_config().map_err(|error| sentence(&error))?;
        let (config, format) = choose(ranges, &default);
        let link = Link::new();
        let capacity = (config.sample_rate / RING) as usize;
        let mut opened = Err(cpal::Error::new(ErrorKind::UnsupportedConfig));
        for buffer_size in buffer_sizes(config.sample_rate) {
            let (ring, consumer) = RingBuffer::new(capacity);
            let config = StreamConfig { buffer_size, ..config };
            opened = output(&device, config, format, consumer, &link).map(|stream| (stream, ring));
            if opened.is_ok() {
                break;
            }
        }
        let (stream, ring) = opened.map_err(|error| sentence(&error))?;
        stream.play().map_err(|error| sentence(&error))?;
        let resampler = Resampler::new(SAMPLE_RATE, config.sample_rate);
        let resampler = resampler.map_err(|_| Kind::Speaker.unusable())?;
        tracing::info!(rate = config.sample_rate, channels = config.channels, "speaker open");
        Ok(Self {
            _stream: OpenStream(Some(stream)),
            link,
            ring,
            rate: config.sample_rate,
            resampler,
            raw: Vec::new(),
            left: 0,
            played: Instant::now(),
        })
    }

    fn filled(&self) -> usize {
        self.ring.buffer().capacity() - self.ring.slots()
    }
}

impl Speaker for DeviceSpeaker {
    fn wants(&mut self, now: Instant) -> Result<usize, String> {
        self.link.check(Kind::Speaker)?;
        let filled = self.filled();
        if filled < self.left {
            self.played = now;
        } else if now.saturating_duration_since(self.played) > DEAD_AFTER {
            return Err(Kind::Speaker.gone());
        }
        self.left = filled;
        let margin = (SPEAKER_MARGIN * self.rate).as_secs() as usize;
        let period = self.link.period.load(Ordering::Relaxed) as usize;
        let target = (period + margin).min(self.ring.buffer().capacity() / 2);
        let missing = target.saturating_sub(filled) as u64;
        Ok((missing * u64::from(SAMPLE_RATE)).div_ceil(u64::from(self.rate)) as usize)
    }

    fn play(&mut self, sound: &[f32]) -> Result<(), String> {
        self.raw.clear();
        self.resampler.run(sound, &mut self.raw);
        let (_, lost) = self.ring.push_partial_slice(&self.raw);
        if !lost.is_empty() {
            tracing::debug!(lost = lost.len(), "the speaker's ring was full");
        }
        self.left = self.filled();
        Ok(())
    }

    fn due(&self) -> Option<Instant> {
        None
    }
}

/// The microphones or speakers of this computer.
pub(crate) fn list(kind: Kind) -> Vec<Device> {
    let host = cpal::default_host();
    let default = kind.default(&host).and_then(|device| device.id().ok());
    let Ok(devices) = host.devices() else { return Vec::new() };
    let mut found: Vec<Device> = Vec::new();
    for device in devices.filter(|device| kind.fits(device)) {
        let (Ok(id), Ok(description)) = (device.id(), device.description()) else { continue };
        if is_plumbing(id.id()) || found.iter().any(|known| known.name == description.name()) {
            continue;
        }
        let is_default = default.as_ref() == Some(&id);
        found.push(Device { name: description.name().to_owned(), is_default });
    }
    found
}

/// Which way the sound goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Microphone,
    Speaker,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Microphone => "microphone",
            Self::Speaker => "speaker",
        }
    }

    fn default(self, host: &cpal::Host) -> Option<cpal::Device> {
        match self {
            Self::Microphone => host.default_input_device(),
            Self::Speaker => host.default_output_device(),
        }
    }

    fn fits(self, device: &cpal::Device) -> bool {
        match self {
            Self::Microphone => device.supports_input(),
            Self::Speaker => device.supports_output(),
        }
    }

    /// Why a device could not be opened, in plain words.
    fn sentence(self, error: &cpal::Error) -> String {
        tracing::info!(%error, device = self.word(), "an audio device can't be opened");
        let word = self.word();
        match error.kind() {
            ErrorKind::DeviceBusy => format!("The {word} is in use by another program."),
            ErrorKind::PermissionDenied => format!("This program may not use the {word}."),
            ErrorKind::UnsupportedConfig => self.unusable(),
            _ => format!("No {word} was found: none is connected, or the sound system is off."),
        }
    }

    fn unusable(self) -> String {
        format!("The {} offers no kind of sound that this program knows.", self.word())
    }

    fn gone(self) -> String {
        format!("The {} stopped: it was unplugged, or the sound system ended.", self.word())
    }
}

/// ALSA lists every way to reach a device; these are of no use to people.
fn is_plumbing(id: &str) -> bool {
    const PLUMBING: [&str; 17] = [
        "null",
        "hw:",
        "plughw:",
        "dmix",
        "dsnoop",
        "surround",
        "front:",
        "rear:",
        "iec958",
        "lavrate",
        "samplerate",
        "speexrate",
        "speex",
        "upmix",
        "vdownmix",
        "jack",
        "oss",
    ];
    PLUMBING.iter().any(|prefix| id.starts_with(prefix))
}

fn find(kind: Kind, name: Option<&str>) -> Result<cpal::Device, String> {
    let host = cpal::default_host();
    let word = kind.word();
    let Some(name) = name else {
        return kind.default(&host).ok_or_else(|| format!("No {word} was found."));
    };
    let devices = host.devices().map_err(|error| kind.sentence(&error))?;
    let mut near = None;
    for device in devices.filter(|device| kind.fits(device)) {
        let id = device.id().map(|id| id.id().to_owned()).unwrap_or_default();
        let known = device.description().map(|d| d.name().to_owned()).unwrap_or_default();
        if id == name || known == name {
            return Ok(device);
        }
        if near.is_none() && known.to_lowercase().contains(&name.to_lowercase()) {
            near = Some(device);
        }
    }
    near.ok_or_else(|| format!("The {word} “{name}” was not found."))
}

/// The configuration that costs least: 48 kHz if there is, in a format of ours.
fn choose(
    ranges: impl Iterator<Item = SupportedStreamConfigRange>,
    default: &SupportedStreamConfig,
) -> (StreamConfig, SampleFormat) {
    const FORMATS: [SampleFormat; 3] = [SampleFormat::F32, SampleFormat::I16, SampleFormat::I32];
    let rank = |range: &SupportedStreamConfigRange| {
        let format = FORMATS.iter().position(|format| *format == range.sample_format())?;
        let rates = range.min_sample_rate()..=range.max_sample_rate();
        let channels = range.channels().abs_diff(default.channels());
        Some((!rates.contains(&SAMPLE_RATE), channels, format))
    };
    let best =
        ranges.filter_map(|range| Some((rank(&range)?, range))).min_by_key(|(rank, _)| *rank);
    let chosen = match best {
        Some((_, range)) => {
            let rate = SAMPLE_RATE.clamp(range.min_sample_rate(), range.max_sample_rate());
            range.with_sample_rate(rate)
        }
        None => *default,
    };
    (chosen.config(), chosen.sample_format())
}

/// Small buffers first; some devices only take their own.
fn buffer_sizes(rate: u32) -> [BufferSize; 3] {
    let frames = rate / PERIODS_PER_SECOND;
    [BufferSize::Fixed(frames), BufferSize::Fixed(2 * frames), BufferSize::Default]
}

fn input(
    device: &cpal::Device,
    config: StreamConfig,
    format: SampleFormat,
    ring: Producer<f32>,
    link: &Arc<Link>,
) -> Result<Stream, cpal::Error> {
    match format {
        SampleFormat::F32 => input_of::<f32>(device, config, ring, link),
        SampleFormat::I16 => input_of::<i16>(device, config, ring, link),
        SampleFormat::I32 => input_of::<i32>(device, config, ring, link),
        SampleFormat::U8 => input_of::<u8>(device, config, ring, link),
        _ => Err(cpal::Error::new(ErrorKind::UnsupportedConfig)),
    }
}

fn input_of<T>(
    device: &cpal::Device,
    config: StreamConfig,
    mut ring: Producer<f32>,
    link: &Arc<Link>,
) -> Result<Stream, cpal::Error>
where
    T: SizedSample,
    f32: FromSample<T>,
{
    let channels = usize::from(config.channels.max(1));
    let share = 1.0 / channels as f32;
    let mono = move |frame: &[T]| frame.iter().map(|s| f32::from_sample(*s)).sum::<f32>() * share;
    let (heard, failed) = (Arc::clone(link), Arc::clone(link));
    let callback = move |data: &[T], _: &cpal::InputCallbackInfo| {
        let frames = data.len() / channels;
        let room = frames.min(ring.slots());
        if let Ok(chunk) = ring.write_chunk_uninit(room) {
            chunk.fill_from_iter(data.chunks_exact(channels).map(mono));
        }
        heard.lost.fetch_add((frames - room) as u64, Ordering::Relaxed);
        heard.alive(frames);
    };
    device.build_input_stream(config, callback, move |error| failed.error(error.kind()), None)
}

fn output(
    device: &cpal::Device,
    config: StreamConfig,
    format: SampleFormat,
    ring: Consumer<f32>,
    link: &Arc<Link>,
) -> Result<Stream, cpal::Error> {
    match format {
        SampleFormat::F32 => output_of::<f32>(device, config, ring, link),
        SampleFormat::I16 => output_of::<i16>(device, config, ring, link),
        SampleFormat::I32 => output_of::<i32>(device, config, ring, link),
        SampleFormat::U8 => output_of::<u8>(device, config, ring, link),
        _ => Err(cpal::Error::new(ErrorKind::UnsupportedConfig)),
    }
}

fn output_of<T>(
    device: &cpal::Device,
    config: StreamConfig,
    mut ring: Consumer<f32>,
    link: &Arc<Link>,
) -> Result<Stream, cpal::Error>
where
    T: SizedSample + FromSample<f32>,
{
    let channels = usize::from(config.channels.max(1));
    let (played, failed) = (Arc::clone(link), Arc::clone(link));
    let callback = move |data: &mut [T], _: &cpal::OutputCallbackInfo| {
        let frames = data.len() / channels;
        let ready = frames.min(ring.slots());
        // What is missing stays the silence that cpal has put there.
        if let Ok(chunk) = ring.read_chunk(ready) {
            for (frame, sample) in data.chunks_exact_mut(channels).zip(chunk) {
                frame.fill(T::from_sample(sample));
            }
        }
        played.lost.fetch_add((frames - ready) as u64, Ordering::Relaxed);
        played.alive(frames);
    };
    device.build_output_stream(config, callback, move |error| failed.error(error.kind()), None)
}
