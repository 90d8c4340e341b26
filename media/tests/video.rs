//! Pictures through the whole chain: camera, encoder, decoder, slot.

#![cfg(test)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use media::pattern::{Painter, read_counter};
use media::video::psnr;
use media::{
    Camera, DecoderStats, EncodedVideo, EncoderConfig, Frame, PictureFormat, Slot, VideoCodec,
    VideoDecoder, VideoEncoder, VideoPacket, VideoSource,
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
        Self::with(width, height, EncoderConfig { bitrate_bps, ..EncoderConfig::default() })
    }

    fn with(width: u32, height: u32, config: EncoderConfig) -> Self {
        let raw = Slot::new();
        let (sender, encoded) = mpsc::channel(QUEUE);
        // The rate limit is left out of the way: these tests feed faster than life.
        let config = EncoderConfig { fps: 60, ..config };
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

    /// Sends data that need not be a picture, and waits until the decoder is through with it.
    fn suffer(&self, data: Vec<u8>, key: bool) {
        let settled = |stats: DecoderStats| stats.frames + stats.dropped;
        let before = settled(self.decoder.stats());
        let data = data.into();
        self.packets.blocking_send(VideoPacket { data, rtp_time: 0, key }).unwrap();
        let deadline = Instant::now() + LONG;
        while settled(self.decoder.stats()) == before {
            // Some damage makes a decoder say nothing at all; an empty packet settles that.
            let probe = VideoPacket { data: Vec::new().into(), rtp_time: 0, key };
            self.packets.blocking_send(probe).unwrap();
            assert!(Instant::now() < deadline, "the decoder hangs");
        }
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

#[test]
fn a_key_frame_comes_on_demand_and_at_no_other_time() {
    let mut bench = Bench::new(640, 360, 500_000);
    let keys: Vec<bool> = (0..40).map(|_| bench.next().1.key).collect();
    assert!(keys[0] && !keys[1..].contains(&true), "{keys:?}");
    bench.encoder.request_key_frame();
    assert!(bench.next().1.key);
    assert!(!bench.next().1.key);
    // A screen that stands still has no new picture to offer: the newest one serves again.
    bench.encoder.request_key_frame();
    let deadline = Instant::now() + LONG;
    let again = loop {
        assert!(Instant::now() < deadline);
        match bench.encoded.try_recv() {
            Ok(encoded) => break encoded,
            Err(_) => std::thread::yield_now(),
        }
    };
    assert!(again.key);
    assert_eq!(read_counter(&Monitor::new(VideoCodec::Vp8).show(&again)), Some(bench.counter));
    assert_eq!(bench.encoder.stats().key_frames, 3);
}

#[test]
fn a_new_bit_rate_takes_effect_without_a_key_frame() {
    let mut bench = Bench::new(640, 360, 1_000_000);
    let rate = |bench: &mut Bench, pictures: u32| {
        let (start, mut bytes) = (bench.counter, 0);
        while bench.counter - start < pictures {
            let encoded = bench.next().1;
            assert!(!encoded.key || bench.counter == 1);
            bytes += encoded.data.len();
        }
        bytes as f64 * 8.0 * 30.0 / f64::from(bench.counter - start)
    };
    let before = rate(&mut bench, 90);
    bench.encoder.set_bitrate(100_000);
    rate(&mut bench, 60); // time to settle
    let low = rate(&mut bench, 90);
    bench.encoder.set_bitrate(1_000_000);
    rate(&mut bench, 60);
    let high = rate(&mut bench, 90);
    println!("{before:.0}, then {low:.0}, then {high:.0} bit/s");
    assert!(low < 130_000.0, "{low} bit/s");
    assert!(before > 2.0 * low && high > 2.0 * low, "{before}, {low}, {high}");
}

#[test]
fn large_pictures_are_scaled_down_and_the_size_may_change() {
    let config = EncoderConfig { max_width: 640, max_height: 360, ..EncoderConfig::default() };
    let mut bench = Bench::with(1280, 720, config);
    let monitor = Monitor::new(VideoCodec::Vp8);
    for (size, shown_size) in [
        ((1280, 720), (640, 360)),
        ((320, 180), (320, 180)),
        ((480, 640), (270, 360)),
        ((161, 99), (161, 99)),
    ] {
        bench.painter = Painter::new(size.0, size.1, "ada");
        for round in 0..3 {
            let (_, encoded) = bench.next();
            assert_eq!(encoded.key, round == 0);
            let shown = monitor.show(&encoded);
            assert_eq!((shown.width(), shown.height()), shown_size);
            assert_eq!(read_counter(&shown), Some(bench.counter), "{size:?}");
        }
    }
    assert_eq!(monitor.key_requests.load(Ordering::Relaxed), 0);
}

#[test]
fn stale_pictures_are_dropped_before_the_encoder() {
    let raw = Slot::new();
    let (sender, mut encoded) = mpsc::channel(1);
    let config = EncoderConfig { fps: 60, ..EncoderConfig::default() };
    let encoder = VideoEncoder::spawn(raw.clone(), config, sender).unwrap();
    let painter = Painter::new(320, 180, "");
    let put = |counter| raw.put(painter.draw(counter, Instant::now()));
    // Nobody takes packets: one waits in the queue, and no more are made.
    put(1);
    let deadline = Instant::now() + LONG;
    while encoder.stats().frames < 1 {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    (2..=9).for_each(put);
    let monitor = Monitor::new(VideoCodec::Vp8);
    let mut counters = Vec::new();
    while counters.last() != Some(&9) {
        let shown = monitor.show(&encoded.blocking_recv().unwrap());
        counters.push(read_counter(&shown).unwrap());
    }
    assert_eq!(counters, [1, 9], "what is old when there is room is not encoded");
    drop(encoded);
    drop(encoder); // ends although nobody listens
}

#[test]
fn impossible_encoders_are_refused() {
    let good = EncoderConfig::default();
    for config in [
        EncoderConfig { codec: VideoCodec::H264, ..good },
        EncoderConfig { bitrate_bps: 0, ..good },
        EncoderConfig { fps: 0, ..good },
        EncoderConfig { max_width: 0, ..good },
        EncoderConfig { max_height: 10_000, ..good },
    ] {
        let (sender, _encoded) = mpsc::channel(QUEUE);
        assert!(VideoEncoder::spawn(Slot::new(), config, sender).is_err(), "{config:?}");
    }
}

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata").join(name)
}

/// The access units of the H.264 clip: each begins with a delimiter.
fn h264_clip() -> Vec<EncodedVideo> {
    let clip = fs::read(testdata("pattern.h264")).unwrap();
    let is_delimiter = |at: &usize| clip[*at..].starts_with(&[0, 0, 0, 1, 9]);
    let mut starts: Vec<usize> = (0..clip.len()).filter(is_delimiter).collect();
    starts.push(clip.len());
    let unit = |bounds: &[usize]| EncodedVideo {
        data: clip[bounds[0]..bounds[1]].to_vec().into(),
        rtp_time: 0,
        key: false,
        captured: Instant::now(),
    };
    starts.windows(2).map(unit).collect()
}

#[test]
fn h264_is_decoded_without_delay() {
    let monitor = Monitor::new(VideoCodec::H264);
    let counters: Vec<Option<u32>> =
        h264_clip().iter().map(|unit| read_counter(&monitor.show(unit))).collect();
    assert_eq!(counters, (1..=25).map(Some).collect::<Vec<_>>());
    let stats = monitor.decoder.stats();
    assert_eq!((stats.width, stats.height, stats.dropped), (320, 180, 0));
}

#[test]
fn a_decoder_waits_for_a_key_frame_and_asks_once_a_second() {
    let mut bench = Bench::new(320, 180, 300_000);
    let key = bench.next().1;
    let others: Vec<EncodedVideo> = (0..30).map(|_| bench.next().1).collect();
    let monitor = Monitor::new(VideoCodec::Vp8);
    let started = Instant::now();
    for other in &others {
        monitor.suffer(other.data.to_vec(), true);
    }
    let most = started.elapsed().as_secs() as u32 + 1;
    let asked = monitor.key_requests.load(Ordering::Relaxed);
    assert!((1..=most).contains(&asked), "asked {asked} times");
    assert!(monitor.shown.latest().is_none());
    assert!(monitor.decoder.stats().dropped >= 30);
    assert_eq!(read_counter(&monitor.show(&key)), Some(1));
    assert_eq!(read_counter(&monitor.show(&others[0])), Some(2));
}

/// Feeds a decoder what the network, or somebody wicked, may make of good packets.
fn check_damage(codec: VideoCodec, good: &[EncodedVideo]) {
    let monitor = Monitor::new(codec);
    let mut seed = 7u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below.max(1)
    };
    for round in 0..600 {
        let mut data = good[random(good.len())].data.to_vec();
        match round % 4 {
            0 => data.truncate(random(data.len())),
            1 => (0..3).for_each(|_| data[random(20)] ^= 1 << random(8)),
            2 => (0..20).for_each(|_| {
                let at = random(data.len());
                data[at] = random(256) as u8;
            }),
            _ => data = (0..random(2000)).map(|_| random(256) as u8).collect(),
        }
        monitor.suffer(data, round % 2 == 0);
    }
    // And after all that good packets are pictures again, from the second key frame at the latest.
    for unit in good.iter().chain(good) {
        monitor.packets.blocking_send(packet(unit)).unwrap();
    }
    let last = Some(good.len() as u32);
    let deadline = Instant::now() + LONG;
    while monitor.decoder.stats().counter != last {
        assert!(Instant::now() < deadline, "{:?}", monitor.decoder.stats());
        std::thread::yield_now();
    }
}

#[test]
fn damaged_vp8_never_panics_and_is_recovered_from() {
    let mut bench = Bench::new(320, 180, 300_000);
    let good: Vec<EncodedVideo> = (0..20).map(|_| bench.next().1).collect();
    check_damage(VideoCodec::Vp8, &good);
}

#[test]
fn damaged_h264_never_panics_and_is_recovered_from() {
    check_damage(VideoCodec::H264, &h264_clip());
}

/// The camera shows the clip's counters in their order, again and again, at the clip's pace.
fn check_file(path: &Path) {
    let format = PictureFormat { width: 320, height: 240, fps: 30 };
    let source = VideoSource::File(path.to_owned());
    let camera = Camera::open(&source, format, "").unwrap();
    let frames = camera.frames();
    let (mut seen, mut counters) = (0, Vec::new());
    let mut started = None;
    while counters.len() < 40 {
        let newer = frames.wait_newer(seen, LONG);
        let (version, frame) = newer.unwrap_or_else(|| panic!("{:?}", camera.problem()));
        seen = version;
        started.get_or_insert_with(Instant::now);
        assert_eq!((frame.width(), frame.height()), (320, 180));
        counters.push(read_counter(&frame).unwrap());
    }
    let elapsed = started.unwrap().elapsed().as_secs_f64();
    let next = |pair: &[u32]| pair[1] > pair[0] || pair[1] < 5 && pair[0] > 20;
    assert!(counters.windows(2).all(next), "{counters:?}");
    assert!(counters.iter().filter(|counter| **counter < 3).count() >= 3, "{counters:?}");
    // 39 pictures at 25 a second; a busy computer may skip some, which makes it longer.
    assert!((1.4..10.0).contains(&elapsed), "{elapsed} s");
    assert_eq!(camera.problem(), None);
}

#[test]
fn a_film_is_a_camera() {
    check_file(&testdata("pattern.mp4"));
    check_file(&testdata("pattern.webm"));
}

#[test]
fn uncompressed_video_is_a_camera() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.y4m");
    let mut file = fs::File::create(&path).unwrap();
    writeln!(file, "YUV4MPEG2 W320 H180 F25:1 Ip A1:1 C420jpeg").unwrap();
    let painter = Painter::new(320, 180, "clip");
    for counter in 1..=25 {
        let frame = painter.draw(counter, Instant::now());
        writeln!(file, "FRAME").unwrap();
        for plane in [frame.y(), frame.u(), frame.v()] {
            plane.rows().for_each(|row| file.write_all(row).unwrap());
        }
    }
    drop(file);
    check_file(&path);
}

#[test]
fn a_missing_camera_or_file_is_told_in_a_sentence() {
    let text = testdata("README.md");
    for (source, part) in [
        (VideoSource::Named("no such camera".into()), "“no such camera” was not found."),
        (VideoSource::File("/no/such/film.mp4".into()), "film.mp4 can't be played."),
        (VideoSource::File(text), "README.md can't be played."),
    ] {
        let camera = Camera::open(&source, PictureFormat::default(), "").unwrap();
        let deadline = Instant::now() + LONG;
        while camera.problem().is_none() {
            assert!(Instant::now() < deadline, "{source}");
            std::thread::yield_now();
        }
        let problem = camera.problem().unwrap();
        assert!(problem.ends_with(part), "{problem}");
        assert!(camera.frames().latest().is_none());
    }
}
