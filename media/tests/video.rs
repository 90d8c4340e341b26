//! Pictures through the whole chain: camera, encoder, decoder, slot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use media::pattern::{Painter, read_counter};
use media::video::psnr;
use media::{
    Camera, EncodedVideo, EncoderConfig, Frame, PictureFormat, Slot, VideoCodec, VideoDecoder,
    VideoEncoder, VideoPacket, VideoSource,
};
use tokio::sync::mpsc;

const LONG: Duration = Duration::from_secs(20);
/// Packets between encoder and decoder in these tests; the encoder waits when it is full.
const QUEUE: usize = 4;

fn packet(encoded: &EncodedVideo) -> VideoPacket {
    let (data, rtp_time, key) = (encoded.data.clone(), encoded.rtp_time, encoded.key);
    VideoPacket { data, rtp_time, key }
}

/// An encoder that is fed by hand.
struct Bench {
    raw: Slot<Frame>,
    encoder: VideoEncoder,
    encoded: mpsc::Receiver<EncodedVideo>,
    painter: Painter,
    counter: u32,
    interval: Duration,
    clock: Instant,
}

impl Bench {
    fn new(width: u32, height: u32, bitrate_bps: u32) -> Self {
        let raw = Slot::new();
        let (sender, encoded) = mpsc::channel(QUEUE);
        // The rate limit is left out of the way: these tests feed faster than life.
        let config = EncoderConfig { bitrate_bps, fps: 60, ..EncoderConfig::default() };
        let encoder = VideoEncoder::spawn(raw.clone(), config, sender).unwrap();
        let painter = Painter::new(width, height, "ada");
        let interval = Duration::from_secs(1) / 30;
        Self { raw, encoder, encoded, painter, counter: 0, interval, clock: Instant::now() }
    }

    /// Draws and encodes the next picture.
    fn next(&mut self) -> (Frame, EncodedVideo) {
        loop {
            self.counter += 1;
            self.clock += self.interval;
            let skipped = self.encoder.stats().skipped;
            self.raw.put(self.painter.draw(self.counter, self.clock));
            let deadline = Instant::now() + LONG;
            while Instant::now() < deadline && self.encoder.stats().skipped == skipped {
                if let Ok(encoded) = self.encoded.try_recv() {
                    return (self.painter.draw(self.counter, self.clock), encoded);
                }
                std::thread::yield_now();
            }
            assert!(Instant::now() < deadline, "the encoder delivers nothing");
        }
    }
}

/// A decoder that is fed by hand.
struct Monitor {
    packets: mpsc::Sender<VideoPacket>,
    shown: Slot<Frame>,
    decoder: VideoDecoder,
    key_requests: Arc<AtomicU32>,
}

impl Monitor {
    fn new(codec: VideoCodec) -> Self {
        let (packets, receiver) = mpsc::channel(QUEUE);
        let (shown, key_requests) = (Slot::new(), Arc::new(AtomicU32::new(0)));
        let counter = Arc::clone(&key_requests);
        let need_key = move || {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        let decoder =
            VideoDecoder::spawn("test", codec, receiver, shown.clone(), need_key).unwrap();
        Self { packets, shown, decoder, key_requests }
    }

    fn show(&self, encoded: &EncodedVideo) -> Arc<Frame> {
        let seen = self.shown.version();
        self.packets.blocking_send(packet(encoded)).unwrap();
        self.shown.wait_newer(seen, LONG).expect("the picture is decoded").1
    }
}

#[test]
fn the_synthetic_camera_reaches_the_other_side() {
    let format = PictureFormat { width: 640, height: 360, fps: 30 };
    let camera = Camera::open(&VideoSource::Pattern, format, "ada").unwrap();
    let (sender, mut encoded) = mpsc::channel(QUEUE);
    let _encoder = VideoEncoder::spawn(camera.frames(), EncoderConfig::default(), sender).unwrap();
    let monitor = Monitor::new(VideoCodec::Vp8);
    let mut counters = Vec::new();
    let mut last_time = None;
    while counters.len() < 20 {
        let picture = encoded.blocking_recv().unwrap();
        if let Some(last) = last_time {
            let step = picture.rtp_time.wrapping_sub(last);
            assert!((1..90_000).contains(&step), "the clock jumps by {step}");
        }
        last_time = Some(picture.rtp_time);
        let frame = monitor.show(&picture);
        assert_eq!((frame.width(), frame.height()), (640, 360));
        counters.push(read_counter(&frame).expect("the counter can be read"));
    }
    assert!(counters.windows(2).all(|pair| pair[0] < pair[1]), "{counters:?}");
    assert_eq!(monitor.key_requests.load(Ordering::Relaxed), 0);
    let stats = monitor.decoder.stats();
    assert_eq!((stats.frames, stats.dropped, stats.width, stats.height), (20, 0, 640, 360));
    assert_eq!(stats.counter, counters.last().copied());
}

fn check_quality(width: u32, height: u32, bitrate_bps: u32, least_db: f64) {
    let mut bench = Bench::new(width, height, bitrate_bps);
    let monitor = Monitor::new(VideoCodec::Vp8);
    let (mut bytes, mut qualities) = (0, Vec::new());
    for _ in 0..60 {
        let (raw, encoded) = bench.next();
        bytes += encoded.data.len();
        let shown = monitor.show(&encoded);
        assert_eq!(read_counter(&shown), Some(bench.counter));
        qualities.push(psnr(&raw, &shown));
    }
    let worst = qualities.iter().copied().fold(f64::INFINITY, f64::min);
    let seconds = f64::from(bench.counter) / 30.0;
    let rate = bytes as f64 * 8.0 / seconds / 1000.0;
    println!("{width}×{height}: worst {worst:.1} dB, {rate:.0} kbit/s");
    assert!(rate < f64::from(bitrate_bps) / 1000.0 * 1.2, "{rate} kbit/s");
    assert!(worst >= least_db, "{worst} dB");
}

#[test]
fn vp8_at_720p_keeps_the_picture_and_the_counter() {
    check_quality(1280, 720, 1_500_000, 30.0);
}

#[test]
fn vp8_at_180p_and_150_kbits_keeps_the_picture_and_the_counter() {
    check_quality(320, 180, 150_000, 28.0);
}
