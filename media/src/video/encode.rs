//! One encoder thread: newest picture in, compressed picture out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::video::convert::Converter;
use crate::video::vpx::{Vp8Encoder, VpxError};
use crate::video::{MAX_SIDE, VIDEO_CLOCK_HZ, fit};
use crate::worker::{Stop, Worker};
use crate::{Frame, Slot, VideoCodec};

/// The bit rates that [`EncoderConfig::bitrate_bps`] and [`VideoEncoder::set_bitrate`] allow.
pub const BITRATES_BPS: std::ops::RangeInclusive<u32> = 30_000..=20_000_000;

/// How to encode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncoderConfig {
    /// Only [`VideoCodec::Vp8`] can be encoded.
    pub codec: VideoCodec,
    /// Target bit rate in bits a second, within [`BITRATES_BPS`].
    pub bitrate_bps: u32,
    /// Pictures a second at most, 1 to 60; newer pictures replace those that come faster.
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
pub struct VideoEncoder {
    frames: Slot<Frame>,
    orders: Arc<Orders>,
    worker: Worker,
}

/// What the handle tells the thread, and the thread the handle.
#[derive(Debug)]
struct Orders {
    bitrate_bps: AtomicU32,
    key: AtomicBool,
    stats: Mutex<EncoderStats>,
}

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
        let sides = 16..=MAX_SIDE;
        if config.codec != VideoCodec::Vp8
            || !BITRATES_BPS.contains(&config.bitrate_bps)
            || !(1..=60).contains(&config.fps)
            || !sides.contains(&config.max_width)
            || !sides.contains(&config.max_height)
        {
            return Err(EncodeError::Config(config));
        }
        let orders = Arc::new(Orders {
            bitrate_bps: AtomicU32::new(config.bitrate_bps),
            key: AtomicBool::new(true),
            stats: Mutex::default(),
        });
        let worker = {
            let (frames, orders) = (frames.clone(), Arc::clone(&orders));
            Worker::spawn("pm-encode", move |stop| {
                Encoding::new(frames, config, orders).run(&stop, &out);
            })
        };
        Ok(Self { frames, orders, worker: worker.map_err(EncodeError::Thread)? })
    }

    /// Makes the next picture a key frame; when there is no new picture, the newest is encoded
    /// again. Cheap; several requests before the next picture count as one. The caller limits
    /// how often (at most one a second).
    pub fn request_key_frame(&self) {
        self.orders.key.store(true, Ordering::Release);
        self.frames.wake();
    }

    /// Changes the target bit rate (clamped to [`BITRATES_BPS`]) from the next picture on,
    /// without a key frame.
    pub fn set_bitrate(&self, bitrate_bps: u32) {
        let bitrate_bps = bitrate_bps.clamp(*BITRATES_BPS.start(), *BITRATES_BPS.end());
        self.orders.bitrate_bps.store(bitrate_bps, Ordering::Relaxed);
    }

    /// What has been done so far.
    pub fn stats(&self) -> EncoderStats {
        *self.orders.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for VideoEncoder {
    fn drop(&mut self) {
        self.worker.stop();
        self.frames.wake();
    }
}

/// The thread's own state.
struct Encoding {
    frames: Slot<Frame>,
    config: EncoderConfig,
    orders: Arc<Orders>,
    started: Instant,
    /// Version of the newest picture taken.
    seen: u64,
    /// Whether that one can be encoded again.
    again: bool,
    /// When the next picture may be taken.
    due: Instant,
    /// Time of the newest picture on the 90 kHz clock, which never stands still.
    time: i64,
    scaler: Converter,
    encoder: Option<(Vp8Encoder, (u32, u32), u32)>,
}

impl Encoding {
    fn new(frames: Slot<Frame>, config: EncoderConfig, orders: Arc<Orders>) -> Self {
        let now = Instant::now();
        Self {
            frames,
            config,
            orders,
            started: now,
            seen: 0,
            again: false,
            due: now,
            time: 0,
            scaler: Converter::default(),
            encoder: None,
        }
    }

    fn run(mut self, stop: &Stop, out: &mpsc::Sender<EncodedVideo>) {
        while let Some(Ok(place)) = stop.block_on(out.reserve()) {
            // Without pictures nobody would notice that the receiver has gone.
            let Some(frame) = self.next_frame(stop) else {
                if stop.is_set() {
                    return;
                }
                continue;
            };
            let key = self.orders.key.swap(false, Ordering::AcqRel);
            match self.encode(&frame, key) {
                Ok(Some(encoded)) => place.send(encoded),
                Ok(None) => self.missed(key),
                Err(error) => {
                    tracing::warn!(%error, "a picture could not be encoded");
                    self.encoder = None;
                    self.missed(true);
                }
            }
        }
    }

    /// The newest picture that was not encoded yet, no sooner than the frame rate allows; `None`
    /// now and then while there is none, and when the thread should end.
    fn next_frame(&mut self, stop: &Stop) -> Option<Arc<Frame>> {
        const LOOK_AROUND: Duration = Duration::from_secs(1);
        let key = || self.orders.key.load(Ordering::Acquire);
        let early = || stop.is_set() || (key() && self.again);
        let newer = self.frames.wait_newer_until(self.seen, Some(LOOK_AROUND), early);
        if !stop.sleep_until(self.due) || (newer.is_none() && !key()) {
            return None;
        }
        let interval = Duration::from_secs(1) / self.config.fps;
        // A camera that ticks at our own rate must not be thinned out for a little jitter.
        self.due = (self.due + interval).max(Instant::now() + interval / 2);
        self.seen = self.frames.version();
        let newest = self.frames.latest();
        self.again = newest.is_some();
        newest
    }

    fn encode(&mut self, frame: &Frame, key: bool) -> Result<Option<EncodedVideo>, VpxError> {
        let (max_width, max_height) = (self.config.max_width, self.config.max_height);
        let size = fit(frame.width(), frame.height(), max_width, max_height);
        let scaled;
        let picture = if size == (frame.width(), frame.height()) {
            frame
        } else {
            scaled = self.scaler.scaled(frame, size.0, size.1);
            &scaled
        };
        let bitrate_bps = self.orders.bitrate_bps.load(Ordering::Relaxed);
        if self.encoder.as_ref().is_none_or(|(_, old, _)| *old != size) {
            let encoder = Vp8Encoder::new(size.0, size.1, self.config.fps, bitrate_bps)?;
            self.encoder = Some((encoder, size, bitrate_bps));
        }
        let (encoder, _, rate) = self.encoder.as_mut().expect("it was opened just now");
        if *rate != bitrate_bps {
            encoder.set_bitrate(bitrate_bps)?;
            *rate = bitrate_bps;
        }

        let elapsed = frame.captured().saturating_duration_since(self.started);
        let ticks = elapsed.as_micros() * u128::from(VIDEO_CLOCK_HZ) / 1_000_000;
        let last = self.time;
        let shortest = i64::from(VIDEO_CLOCK_HZ / 1000);
        self.time = i64::try_from(ticks).unwrap_or(i64::MAX).max(last + shortest);
        let longest = i64::from(VIDEO_CLOCK_HZ);
        let duration = (self.time - last).min(longest) as u32;
        let Some(encoded) = encoder.encode(picture, self.time, duration, key)? else {
            return Ok(None);
        };
        let mut stats = self.orders.stats.lock().unwrap_or_else(PoisonError::into_inner);
        stats.frames += 1;
        stats.key_frames += u64::from(encoded.key);
        stats.bytes += encoded.data.len() as u64;
        (stats.width, stats.height) = size;
        let (data, rtp_time) = (encoded.data, self.time as u32);
        Ok(Some(EncodedVideo { data, rtp_time, key: encoded.key, captured: frame.captured() }))
    }

    /// A picture did not become a packet: the request for a key frame still stands.
    fn missed(&self, key: bool) {
        if key {
            self.orders.key.store(true, Ordering::Release);
        }
        self.orders.stats.lock().unwrap_or_else(PoisonError::into_inner).skipped += 1;
    }
}
