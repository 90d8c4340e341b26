//! The others' pictures and sound on their way in: from the session to the decoders.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use media::{AudioInput, AudioPacket, DecodeError, Frame, Slot};
use media::{VideoCodec, VideoDecoder, VideoPacket};
use net::{Codec, RemoteFrame, RemoteTrack, TrackId, UserId};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::TileInfo;
use super::event::Notice;
use super::off_thread::OffThread;
use super::shared::Tile;

/// Compressed pictures between session and decoder. When it is full the pump waits, the
/// session's own queue fills, and the session goes on with a key frame.
const COMPRESSED_PICTURES: usize = 8;
/// How often to look whether the first picture is there, while it is awaited.
const FIRST_PICTURE_LOOK: Duration = Duration::from_millis(4);
/// Pause between two wishes for a key frame while a tile shown again waits for one.
const BETWEEN_WISHES: Duration = Duration::from_secs(1);

/// Starts the decoder of a peer's picture and the pump that feeds it. The pump ends by itself
/// when the track or the decoder does.
///
/// # Errors
/// When there is no decoder for the track's codec.
pub(super) fn start_video(
    track: RemoteTrack,
    notices: &mpsc::Sender<Notice>,
) -> Result<Tile, DecodeError> {
    let RemoteTrack { peer, id, source, codec, frames } = track;
    let (packets, packets_in) = mpsc::channel(COMPRESSED_PICTURES);
    let slot = Slot::new();
    let need_key = need_key(peer.clone(), id.clone(), notices.clone());
    // Thread names hold 15 bytes; the beginning of an id tells peers apart.
    let name: String = peer.as_str().chars().filter(char::is_ascii_alphanumeric).take(5).collect();
    let decoder =
        VideoDecoder::spawn(&name, video_codec(codec), packets_in, slot.clone(), need_key)?;
    let shown = Arc::new(AtomicBool::new(true));
    let pump = VideoPump {
        peer: peer.clone(),
        track: id.clone(),
        slot: slot.clone(),
        shown: Arc::clone(&shown),
        notices: notices.clone(),
    };
    tokio::spawn(pump.run(frames, packets));
    let info = TileInfo { peer: Some(peer), track: id, source, frames: slot };
    Ok(Tile { info, decoder: Some(OffThread::new(decoder)), shown })
}

/// Feeds a peer's sound to the mixer until the track ends.
pub(super) async fn pump_sound(mut frames: mpsc::Receiver<RemoteFrame>, input: Arc<AudioInput>) {
    while let Some(RemoteFrame { data, rtp_time, sequence, .. }) = frames.recv().await {
        input.push(AudioPacket { data, rtp_time, sequence });
    }
}

/// Runs on the decoder's thread. When the queue of notices is full this one is lost; the decoder
/// asks again.
fn need_key(peer: UserId, track: TrackId, notices: mpsc::Sender<Notice>) -> impl Fn() + Send {
    move || {
        let notice = Notice::NeedKey { peer: peer.clone(), track: track.clone() };
        if notices.try_send(notice).is_err() {
            tracing::debug!("a wish for a key frame was lost");
        }
    }
}

fn video_codec(codec: Codec) -> VideoCodec {
    match codec {
        Codec::H264 => VideoCodec::H264,
        Codec::Vp9 => VideoCodec::Vp9,
        Codec::Av1 => VideoCodec::Av1,
        // The session never calls sound a picture; a decoder would find nothing in it.
        Codec::Vp8 | Codec::Opus => VideoCodec::Vp8,
    }
}

struct VideoPump {
    peer: UserId,
    track: TrackId,
    slot: Slot<Frame>,
    shown: Arc<AtomicBool>,
    notices: mpsc::Sender<Notice>,
}

impl VideoPump {
    async fn run(
        self,
        mut frames: mpsc::Receiver<RemoteFrame>,
        packets: mpsc::Sender<VideoPacket>,
    ) {
        let mut look = tokio::time::interval(FIRST_PICTURE_LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut fed, mut seen) = (false, false);
        let mut gap = Gap::default();
        loop {
            let frame = tokio::select! {
                frame = frames.recv() => frame,
                _ = look.tick(), if fed && !seen => {
                    seen = self.slot.version() > 0;
                    if seen {
                        self.tell_first_picture().await;
                    }
                    continue;
                }
            };
            let Some(RemoteFrame { data, rtp_time, key, received, .. }) = frame else { return };
            match gap.judge(self.shown.load(Ordering::Relaxed), key, received) {
                Verdict::Feed => {
                    if packets.send(VideoPacket { data, rtp_time, key }).await.is_err() {
                        return;
                    }
                    fed = true;
                }
                Verdict::LeaveOut => {}
                Verdict::AskForKeyFrame => {
                    need_key(self.peer.clone(), self.track.clone(), self.notices.clone())();
                }
            }
        }
    }

    async fn tell_first_picture(&self) {
        let notice = Notice::FirstPicture { peer: self.peer.clone(), track: self.track.clone() };
        // Nobody listens only when the call ends.
        let _ = self.notices.send(notice).await;
    }
}

/// Leaves out the pictures of a hidden tile, and goes on with a key frame when it is shown again.
#[derive(Debug, Default)]
struct Gap {
    open: bool,
    asked: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Feed,
    LeaveOut,
    AskForKeyFrame,
}

impl Gap {
    fn judge(&mut self, shown: bool, key: bool, now: Instant) -> Verdict {
        if !shown {
            *self = Self { open: true, asked: None };
            return Verdict::LeaveOut;
        }
        if !self.open || key {
            *self = Self::default();
            return Verdict::Feed;
        }
        if self.asked.is_some_and(|asked| now < asked + BETWEEN_WISHES) {
            return Verdict::LeaveOut;
        }
        self.asked = Some(now);
        Verdict::AskForKeyFrame
    }
}

#[cfg(test)]
mod tests {
    use media::{Camera, EncoderConfig, PictureFormat, VideoEncoder, VideoSource};
    use net::Source;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    #[tokio::test(flavor = "multi_thread")]
    async fn a_picture_goes_from_the_camera_through_both_codecs_into_its_tile() {
        let format = PictureFormat { width: 640, height: 360, fps: 30 };
        let camera = Camera::open(&VideoSource::Pattern, format, "Ana").unwrap();
        let (out, mut encoded) = mpsc::channel(1);
        let config = EncoderConfig { bitrate_bps: 800_000, ..EncoderConfig::default() };
        let _encoder = VideoEncoder::spawn(camera.frames(), config, out).unwrap();
        let (frames, frames_in) = mpsc::channel(4);
        tokio::spawn(async move {
            let mut sequence = 0;
            while let Some(picture) = encoded.recv().await {
                sequence += 1;
                let frame = RemoteFrame {
                    data: picture.data,
                    rtp_time: picture.rtp_time,
                    sequence,
                    key: picture.key,
                    received: Instant::now(),
                };
                if frames.send(frame).await.is_err() {
                    return;
                }
            }
        });
        let peer = UserId::new("ana").unwrap();
        let track = RemoteTrack {
            peer: peer.clone(),
            id: TrackId::new("camera"),
            source: Source::Camera,
            codec: Codec::Vp8,
            frames: frames_in,
        };
        let (notices, mut notices_in) = mpsc::channel(8);
        let tile = start_video(track, &notices).unwrap();
        let notice = tokio::time::timeout(DEADLINE, notices_in.recv()).await.unwrap();
        assert!(matches!(notice, Some(Notice::FirstPicture { peer: who, .. }) if who == peer));

        let decoder = tile.decoder.as_ref().unwrap();
        let first = decoder.stats();
        assert_eq!((first.width, first.height), (640, 360));
        let mut seen = tile.info.frames.version();
        let newest = tokio::task::spawn_blocking({
            let frames = tile.info.frames.clone();
            move || {
                for _ in 0..5 {
                    (seen, _) = frames.wait_newer(seen, DEADLINE).unwrap();
                }
                media::pattern::read_counter(&frames.latest().unwrap())
            }
        });
        assert!(newest.await.unwrap().unwrap() > first.counter.unwrap());
    }

    #[test]
    fn a_tile_shown_again_goes_on_with_a_key_frame_and_asks_for_it_once_a_second() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut gap = Gap::default();
        assert_eq!(gap.judge(true, false, at(0)), Verdict::Feed);
        assert_eq!(gap.judge(false, true, at(33)), Verdict::LeaveOut);
        assert_eq!(gap.judge(true, false, at(66)), Verdict::AskForKeyFrame);
        assert_eq!(gap.judge(true, false, at(100)), Verdict::LeaveOut);
        assert_eq!(gap.judge(true, false, at(1_066)), Verdict::AskForKeyFrame);
        assert_eq!(gap.judge(true, true, at(1_100)), Verdict::Feed);
        assert_eq!(gap.judge(true, false, at(1_133)), Verdict::Feed);
    }
}
