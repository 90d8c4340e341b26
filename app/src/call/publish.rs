//! Our own pictures and sound on their way out: capture, one encoder for the whole mesh, and the
//! hand-over to the session.

use media::{AudioConfig, AudioEngine, Camera, EncodedAudio, EncodedVideo, EncoderConfig};
use media::{Frame, Screen, ScreenTarget, Slot, VideoEncoder, VideoSource};
use net::{EncodedFrame, MediaOut, Source};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::CallConfig;
use super::event::Notice;
use super::off_thread::OffThread;

/// Encoded pictures between encoder and session. The encoder waits for a free place before it
/// takes a picture, so one is enough and nothing gets old here.
const ENCODED_PICTURES: usize = 1;
/// Pictures a second of a shared screen.
const SCREEN_FPS: u32 = 15;
/// Text must stay readable, so a screen gets more than a camera.
const SCREEN_BITRATE_BPS: u32 = 2_500_000;
/// A shared screen is scaled down to this.
const SCREEN_SIZE: (u32, u32) = (1920, 1080);

/// Starts the audio engine; its devices open on its own thread.
pub(super) fn open_audio(
    config: &CallConfig,
) -> (OffThread<AudioEngine>, mpsc::Receiver<EncodedAudio>) {
    let (engine, packets) = AudioEngine::open(AudioConfig {
        microphone: config.sources.microphone.clone(),
        speaker: config.sources.speaker.clone(),
        processing: config.sources.processing,
    });
    engine.set_muted(!config.microphone_on);
    (OffThread::new(engine), packets)
}

/// Starts the camera, if it is to be on and there is one; the device opens on its own thread.
pub(super) fn open_camera(config: &CallConfig, on: bool) -> Option<Capture> {
    if !on || config.sources.camera == VideoSource::None {
        return None;
    }
    match Camera::open(&config.sources.camera, config.sources.picture, &config.name) {
        Ok(camera) => Some(Capture::Camera(OffThread::new(camera))),
        Err(error) => {
            tracing::warn!(%error, "the camera cannot be started");
            None
        }
    }
}

/// Starts capturing a screen.
pub(super) fn open_screen(target: &ScreenTarget) -> Option<Capture> {
    match Screen::open(target, SCREEN_FPS) {
        Ok(screen) => Some(Capture::Screen(OffThread::new(screen))),
        Err(error) => {
            tracing::warn!(%error, "the screen capture cannot be started");
            None
        }
    }
}

/// Something that delivers pictures.
#[derive(Debug)]
pub(super) enum Capture {
    Camera(OffThread<Camera>),
    Screen(OffThread<Screen>),
}

impl Capture {
    pub(super) fn frames(&self) -> Slot<Frame> {
        match self {
            Self::Camera(camera) => camera.frames(),
            Self::Screen(screen) => screen.frames(),
        }
    }

    fn problems(&self) -> watch::Receiver<Option<String>> {
        match self {
            Self::Camera(camera) => camera.problems(),
            Self::Screen(screen) => screen.problems(),
        }
    }

    fn source(&self) -> Source {
        match self {
            Self::Camera(_) => Source::Camera,
            Self::Screen(_) => Source::Screen,
        }
    }

    fn encoder_config(&self) -> EncoderConfig {
        match self {
            Self::Camera(_) => EncoderConfig::default(),
            Self::Screen(_) => EncoderConfig {
                bitrate_bps: SCREEN_BITRATE_BPS,
                fps: SCREEN_FPS,
                max_width: SCREEN_SIZE.0,
                max_height: SCREEN_SIZE.1,
                ..EncoderConfig::default()
            },
        }
    }

    fn close(self) -> Option<JoinHandle<()>> {
        match self {
            Self::Camera(camera) => camera.close(),
            Self::Screen(screen) => screen.close(),
        }
    }
}

/// One picture source of ours while it is on.
#[derive(Debug)]
pub(super) struct Outgoing {
    capture: Capture,
    media: MediaOut,
    encoder: Option<Encoding>,
}

/// An encoder at work, and the task that hands its pictures to the session.
#[derive(Debug)]
struct Encoding {
    encoder: OffThread<VideoEncoder>,
    hand_over: JoinHandle<()>,
}

impl Outgoing {
    /// Takes over `capture`; what it lacks is told as [`Notice::Picture`].
    pub(super) fn new(capture: Capture, media: MediaOut, notices: mpsc::Sender<Notice>) -> Self {
        tokio::spawn(tell_picture_problems(capture.source(), capture.problems(), notices));
        Self { capture, media, encoder: None }
    }

    pub(super) fn frames(&self) -> Slot<Frame> {
        self.capture.frames()
    }

    /// Runs the encoder exactly while somebody is there to receive. Called when something changed,
    /// and now and then.
    pub(super) fn tend(&mut self) {
        let wanted = self.media.wanted(self.capture.source());
        match &self.encoder {
            None if wanted => self.encoder = self.start_encoder(),
            Some(_) if !wanted => self.stop_encoder(),
            _ => {}
        }
    }

    /// Somebody can't decode without a key frame. The session says so once a second at most.
    pub(super) fn make_key_frame(&mut self) {
        match &self.encoder {
            Some(Encoding { encoder, .. }) => encoder.request_key_frame(),
            // A new encoder begins with one.
            None => self.tend(),
        }
    }

    /// Stops everything; the results say when the threads have ended.
    pub(super) fn close(mut self) -> Vec<JoinHandle<()>> {
        let encoder = self.encoder.take().and_then(Encoding::close);
        encoder.into_iter().chain(self.capture.close()).collect()
    }

    fn start_encoder(&self) -> Option<Encoding> {
        let (out, pictures) = mpsc::channel(ENCODED_PICTURES);
        let source = self.capture.source();
        match VideoEncoder::spawn(self.capture.frames(), self.capture.encoder_config(), out) {
            Ok(encoder) => {
                tracing::debug!(%source, "somebody is there: encoding");
                let hand_over = hand_over_pictures(source, pictures, self.media.clone());
                Some(Encoding {
                    encoder: OffThread::new(encoder),
                    hand_over: tokio::spawn(hand_over),
                })
            }
            Err(error) => {
                tracing::error!(%error, %source, "the encoder cannot be started");
                None
            }
        }
    }

    fn stop_encoder(&mut self) {
        if let Some(encoding) = self.encoder.take() {
            tracing::debug!(source = %self.capture.source(), "nobody is there: not encoding");
            encoding.close();
        }
    }
}

impl Encoding {
    fn close(self) -> Option<JoinHandle<()>> {
        // Without its receiver the encoder does not wait for a place in the queue.
        self.hand_over.abort();
        self.encoder.close()
    }
}

async fn hand_over_pictures(
    source: Source,
    mut pictures: mpsc::Receiver<EncodedVideo>,
    media: MediaOut,
) {
    while let Some(EncodedVideo { data, rtp_time, key, captured }) = pictures.recv().await {
        media.send(source, EncodedFrame { data, rtp_time, key, captured }).await;
    }
}

/// Hands our sound to the session while it is wanted, beginning with what is said now.
pub(super) async fn hand_over_sound(mut packets: mpsc::Receiver<EncodedAudio>, media: MediaOut) {
    // What was said while we were still joining is old.
    while packets.try_recv().is_ok() {}
    while let Some(EncodedAudio { data, rtp_time, captured }) = packets.recv().await {
        if media.wanted(Source::Microphone) {
            let frame = EncodedFrame { data, rtp_time, key: true, captured };
            media.send(Source::Microphone, frame).await;
        }
    }
}

async fn tell_picture_problems(
    source: Source,
    mut problems: watch::Receiver<Option<String>>,
    notices: mpsc::Sender<Notice>,
) {
    let mut told = None;
    loop {
        let problem = problems.borrow_and_update().clone();
        if problem != told {
            told.clone_from(&problem);
            if notices.send(Notice::Picture { source, problem }).await.is_err() {
                return;
            }
        }
        if problems.changed().await.is_err() {
            return;
        }
    }
}

/// Tells what the sound devices lack, as it changes.
pub(super) async fn tell_sound_problems(
    mut problems: watch::Receiver<Vec<String>>,
    notices: mpsc::Sender<Notice>,
) {
    loop {
        let now = problems.borrow_and_update().clone();
        if !now.is_empty() && notices.send(Notice::Sound(now)).await.is_err() {
            return;
        }
        if problems.changed().await.is_err() {
            return;
        }
    }
}
