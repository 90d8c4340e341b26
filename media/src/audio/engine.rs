//! The audio thread: one loop that captures, encodes, decodes, mixes and plays.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use opus::{Application, Bitrate, Channels, Encoder};
use tokio::sync::{mpsc, watch};

use super::device::{DeviceMicrophone, DeviceSpeaker};
use super::fake::{NullSpeaker, Tone};
use super::file::{FileMicrophone, WavSpeaker};
use super::meter::{BLOCK, Meter};
use super::mix::Limiter;
use super::process::{Processing, Processor};
use super::recovery::{News, Recovery};
use super::{AudioConfig, EncodedAudio, PACKET, Shared};
use crate::worker::Stop;
use crate::{SoundSink, SoundSource};

/// Opus's target, in bits a second.
const BITRATE_BPS: i32 = 32_000;
/// The loss that the in-band error correction is made for, in percent.
const EXPECTED_LOSS_PERCENT: i32 = 10;
/// The largest packet at [`BITRATE_BPS`] is a few hundred bytes; Opus's own limit is 1275.
const MAX_PACKET_BYTES: usize = 1275;
/// How long the thread sleeps at most when only devices could wake it: a device that died without
/// a word is found out then.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);

/// Where our sound comes from. Lives on the audio thread.
pub(super) trait Microphone {
    /// Appends what was captured since the last call, mono at 48 kHz.
    ///
    /// # Errors
    ///
    /// A plain sentence when the device is gone; it is not asked again.
    fn read(&mut self, now: Instant, sound: &mut Vec<f32>) -> Result<(), String>;

    /// When to ask again; `None` when the device wakes the thread itself.
    fn due(&self) -> Option<Instant>;
}

/// Where the others' sound goes. Lives on the audio thread.
pub(super) trait Speaker {
    /// How many samples at 48 kHz it wants now; it gets as many, rounded up to whole blocks.
    ///
    /// # Errors
    ///
    /// A plain sentence when the device is gone; it is not asked again.
    fn wants(&mut self, now: Instant) -> Result<usize, String>;

    /// Plays mono at 48 kHz.
    ///
    /// # Errors
    ///
    /// As for [`Speaker::wants`].
    fn play(&mut self, sound: &[f32]) -> Result<(), String>;

    /// When to ask again; `None` when the device wakes the thread itself.
    fn due(&self) -> Option<Instant>;
}

/// The thread's own state.
pub(super) struct Engine {
    config: AudioConfig,
    shared: Arc<Shared>,
    report: watch::Sender<Vec<String>>,
    out: mpsc::Sender<EncodedAudio>,
    microphone: Option<Box<dyn Microphone>>,
    microphone_recovery: Recovery,
    speaker: Box<dyn Speaker>,
    speaker_recovery: Recovery,
    encoder: Option<Encoder>,
    /// Captured and not yet encoded.
    captured: Vec<f32>,
    own: Meter,
    rtp_time: u32,
    limiter: Limiter,
    processor: Processor,
}

impl Engine {
    /// Opens the devices, which may take a while, and runs until told to stop.
    pub fn run(
        config: AudioConfig,
        shared: Arc<Shared>,
        report: watch::Sender<Vec<String>>,
        out: mpsc::Sender<EncodedAudio>,
        stop: &Stop,
    ) {
        crate::video::quiet_ffmpeg();
        let mut engine = Self {
            config,
            shared,
            report,
            out,
            microphone: None,
            microphone_recovery: Recovery::default(),
            speaker: Box::new(NullSpeaker::new()),
            speaker_recovery: Recovery::default(),
            encoder: None,
            captured: Vec::new(),
            own: Meter::default(),
            rtp_time: 0,
            limiter: Limiter::default(),
            processor: Processor::default(),
        };
        match encoder() {
            Ok(encoder) => engine.encoder = Some(encoder),
            Err(error) => {
                tracing::error!(%error, "no sound encoder");
                engine.report("Your sound can't be sent: the Opus encoder did not start.".into());
            }
        }
        match open_microphone(&engine.config.microphone) {
            Ok(microphone) => engine.microphone = microphone,
            Err(problem) => engine.report(problem),
        }
        match open_speaker(&engine.config.speaker) {
            Ok(speaker) => engine.speaker = speaker,
            Err(problem) => engine.report(problem),
        }
        while !stop.is_set() {
            let now = Instant::now();
            engine.capture(now);
            engine.play(now);
            engine.recover(now);
            let deadline = engine.due().unwrap_or(now + LONGEST_SLEEP).min(now + LONGEST_SLEEP);
            let now = Instant::now();
            if deadline > now {
                std::thread::park_timeout(deadline - now);
            }
        }
    }

    fn capture(&mut self, now: Instant) {
        let Some(microphone) = &mut self.microphone else { return };
        if let Err(problem) = microphone.read(now, &mut self.captured) {
            self.microphone = None;
            self.shared.set_microphone_level(&Meter::default());
            return match self.config.microphone {
                SoundSource::Default | SoundSource::Named(_) => {
                    self.microphone_recovery.lost(problem, now);
                }
                _ => self.report(problem),
            };
        }
        let wanted = self.shared.processing.load(Ordering::Relaxed);
        self.processor.configure(Processing::from_bits(wanted));
        let mut packets = self.captured.chunks_exact_mut(PACKET);
        for sound in &mut packets {
            for block in sound.chunks_exact_mut(BLOCK) {
                self.processor.clean(block);
                self.own.write(block);
            }
            if self.shared.muted.load(Ordering::Relaxed) {
                sound.fill(0.0);
            }
            let rtp_time = self.rtp_time;
            self.rtp_time = rtp_time.wrapping_add(PACKET as u32);
            let Some(encoder) = &mut self.encoder else { continue };
            let mut packet = [0; MAX_PACKET_BYTES];
            match encoder.encode_float(sound, &mut packet) {
                Ok(len) => {
                    let data = Bytes::copy_from_slice(&packet[..len]);
                    let encoded = EncodedAudio { data, rtp_time, captured: now };
                    if self.out.try_send(encoded).is_err() {
                        self.shared.unsent.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Err(error) => tracing::warn!(%error, "sound could not be encoded"),
            }
        }
        let rest = packets.into_remainder().len();
        if rest != self.captured.len() {
            self.shared.set_microphone_level(&self.own);
        }
        self.captured.drain(..self.captured.len() - rest);
    }

    fn play(&mut self, now: Instant) {
        let played = self.speaker.wants(now).and_then(|wanted| {
            for _ in 0..wanted.div_ceil(BLOCK) {
                let mut mix = [0.0; BLOCK];
                for peer in self.shared.voices().iter() {
                    peer.voice().mix(&mut mix, now);
                }
                self.limiter.run(&mut mix);
                self.processor.hear(&mix);
                self.speaker.play(&mix)?;
            }
            Ok(())
        });
        if let Err(problem) = played {
            self.speaker = Box::new(NullSpeaker::new());
            match self.config.speaker {
                SoundSink::Default | SoundSink::Named(_) => {
                    self.speaker_recovery.lost(problem, now);
                }
                _ => self.report(problem),
            }
        }
    }

    /// Tries devices again that have worked and then stopped. One that was missing from the start
    /// is not tried again: opening it costs time, and some sound systems remark on it every time.
    fn recover(&mut self, now: Instant) {
        if self.microphone_recovery.is_due(now) {
            let opened = open_microphone(&self.config.microphone);
            let news = self.microphone_recovery.tried(opened.is_ok(), Instant::now());
            self.microphone = opened.unwrap_or_default();
            self.tell(news);
        }
        if self.speaker_recovery.is_due(now) {
            let opened = open_speaker(&self.config.speaker);
            let news = self.speaker_recovery.tried(opened.is_ok(), Instant::now());
            if let Ok(speaker) = opened {
                self.speaker = speaker;
            }
            self.tell(news);
        }
    }

    fn due(&self) -> Option<Instant> {
        let microphone = self.microphone.as_ref().and_then(|microphone| microphone.due());
        let recoveries = [self.microphone_recovery.next(), self.speaker_recovery.next()];
        recoveries.into_iter().chain([microphone, self.speaker.due()]).flatten().min()
    }

    fn tell(&self, news: Option<News>) {
        match news {
            None => {}
            Some(News::Problem(problem)) => self.report(problem),
            Some(News::Solved(problem)) => {
                self.report.send_modify(|problems| problems.retain(|known| *known != problem));
            }
        }
    }

    fn report(&self, problem: String) {
        tracing::info!("an audio device or file is missing");
        self.report.send_modify(|problems| problems.push(problem));
    }
}

fn encoder() -> Result<Encoder, opus::Error> {
    let mut encoder = Encoder::new(super::SAMPLE_RATE, Channels::Mono, Application::Voip)?;
    encoder.set_bitrate(Bitrate::Bits(BITRATE_BPS))?;
    encoder.set_inband_fec(true)?;
    encoder.set_packet_loss_perc(EXPECTED_LOSS_PERCENT)?;
    Ok(encoder)
}

fn open_microphone(source: &SoundSource) -> Result<Option<Box<dyn Microphone>>, String> {
    Ok(Some(match source {
        SoundSource::None => return Ok(None),
        SoundSource::Tone(hz) => Box::new(Tone::new(*hz)),
        SoundSource::File(path) => Box::new(FileMicrophone::open(path)?),
        SoundSource::Default => Box::new(DeviceMicrophone::open(None)?),
        SoundSource::Named(name) => Box::new(DeviceMicrophone::open(Some(name))?),
    }))
}

fn open_speaker(sink: &SoundSink) -> Result<Box<dyn Speaker>, String> {
    Ok(match sink {
        SoundSink::None => Box::new(NullSpeaker::new()),
        SoundSink::File(path) => Box::new(WavSpeaker::create(path)?),
        SoundSink::Default => Box::new(DeviceSpeaker::open(None)?),
        SoundSink::Named(name) => Box::new(DeviceSpeaker::open(Some(name))?),
    })
}
