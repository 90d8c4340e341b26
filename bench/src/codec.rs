//! What a picture costs on its way through the media crate, by thread.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use media::{
    Camera, EncodedVideo, EncoderConfig, PictureFormat, Slot, VideoCodec, VideoDecoder,
    VideoEncoder, VideoPacket, VideoSource,
};
use tokio::sync::mpsc;

use crate::cpu;

/// Pictures between encoder and decoder; the encoder waits when the decoder is behind.
const PICTURES_IN_FLIGHT: usize = 4;

/// The picture to measure.
#[derive(Debug, Args)]
pub struct Picture {
    /// Pixels across.
    #[arg(long, default_value_t = 1280)]
    width: u32,
    /// Pixels down.
    #[arg(long, default_value_t = 720)]
    height: u32,
    /// Pictures a second.
    #[arg(long, default_value_t = 30)]
    fps: u32,
    /// Bits a second.
    #[arg(long, default_value_t = 1_500_000)]
    bitrate: u32,
    /// How long to measure, after one second of warm-up.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

/// Runs the measurement and writes its table.
///
/// # Errors
/// When the encoder or decoder can't be started, or no picture comes through.
pub fn run(picture: &Picture, mut out: impl Write) -> anyhow::Result<()> {
    let &Picture { width, height, fps, bitrate, seconds } = picture;
    let camera =
        Camera::open(&VideoSource::Pattern, PictureFormat { width, height, fps }, "bench")?;
    let config = EncoderConfig {
        codec: VideoCodec::Vp8,
        bitrate_bps: bitrate,
        fps,
        max_width: width,
        max_height: height,
    };
    let (encoded, mut pictures) = mpsc::channel::<EncodedVideo>(PICTURES_IN_FLIGHT);
    let (packets, incoming) = mpsc::channel(PICTURES_IN_FLIGHT);
    let encoder = VideoEncoder::spawn(camera.frames(), config, encoded)?;
    let decoder = VideoDecoder::spawn("bench", VideoCodec::Vp8, incoming, Slot::new(), || {})?;
    let pump = thread::Builder::new().name("bench-pump".to_owned()).spawn(move || {
        while let Some(EncodedVideo { data, rtp_time, key, .. }) = pictures.blocking_recv() {
            if packets.blocking_send(VideoPacket { data, rtp_time, key }).is_err() {
                break;
            }
        }
    })?;

    thread::sleep(Duration::from_secs(1));
    let (before, started) = (cpu::by_thread()?, Instant::now());
    let (sent, shown) = (encoder.stats(), decoder.stats());
    thread::sleep(Duration::from_secs(seconds));
    let (after, wall) = (cpu::by_thread()?, started.elapsed());
    let (sent, shown) =
        (encoder.stats().frames - sent.frames, decoder.stats().frames - shown.frames);
    anyhow::ensure!(shown > 0, "no picture came through");

    writeln!(
        out,
        "VP8 {width}×{height}, {fps} pictures/s, {bitrate} bit/s, {:.1} s",
        wall.as_secs_f64()
    )?;
    writeln!(
        out,
        "encoded {sent}, decoded {shown}, bytes/picture {}",
        encoder.stats().bytes / encoder.stats().frames.max(1)
    )?;
    writeln!(out, "thread,core_percent,ms_per_picture")?;
    for (name, time) in after {
        let time = time.saturating_sub(before.get(&name).copied().unwrap_or_default());
        let share = 100.0 * time.as_secs_f64() / wall.as_secs_f64();
        let each = 1_000.0 * time.as_secs_f64() / shown as f64;
        writeln!(out, "{name},{share:.1},{each:.2}")?;
    }
    drop((encoder, camera));
    pump.join().ok().context("the pump panicked")?;
    Ok(())
}
