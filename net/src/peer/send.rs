//! Our sources towards one peer: their m-lines, and their packets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rtc::media_stream::MediaStreamTrack;
use rtc::rtp::Packet;
use rtc::rtp::header::Header;
use rtc::rtp_transceiver::RTCRtpTransceiverId;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;
use webrtc::error::Result;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::PeerConnection;
use webrtc::rtp_transceiver::RtpSender;

use super::connect;
use super::counters::Counters;
use super::feedback::KeyFrameRequests;
use super::sdp::Description;
use super::{Lines, Streams};
use crate::media::out::{AudioQueue, Payloads, Registration, Router};
use crate::media::{Codec, Source};

/// Packets of one frame that leave together; then comes a pause, so that a key frame does not
/// overflow a queue on its way.
const BURST_PACKETS: usize = 12;
/// The pause. A key frame of 40 KB takes 6 ms.
const BURST_PAUSE: Duration = Duration::from_millis(2);

/// Everything that we send to one peer.
pub(super) struct Senders {
    connection: Arc<dyn PeerConnection>,
    router: Arc<Router>,
    key_frames: KeyFrameRequests,
    streams: Streams,
    counters: Arc<Counters>,
    locals: Vec<Local>,
    /// A negotiation has ended; from then on the peer decides about payload types.
    payload_types: Option<(u8, Option<u8>)>,
}

/// One source with an m-line, or on its way to one.
struct Local {
    source: Source,
    track: Arc<TrackLocalStaticRTP>,
    sender: Arc<dyn RtpSender>,
    track_id: String,
    ssrc: u32,
    sequence: Arc<AtomicU16>,
    flow: Option<Flow>,
}

/// Packets that flow.
struct Flow {
    payload_type: u8,
    _registration: Registration,
    _task: AbortOnDropHandle<()>,
}

impl Senders {
    pub(super) fn new(
        connection: Arc<dyn PeerConnection>,
        router: Arc<Router>,
        key_frames: KeyFrameRequests,
        streams: Streams,
        counters: Arc<Counters>,
    ) -> Self {
        let locals = Vec::new();
        Self { connection, router, key_frames, streams, counters, locals, payload_types: None }
    }

    /// The m-lines of a first offer: sound always, and a picture at least to receive.
    pub(super) async fn begin(&mut self, shows: &[Source]) -> Result<()> {
        self.add(Source::Microphone).await?;
        if !shows.contains(&Source::Camera) {
            self.connection.add_transceiver_from_kind(RtpCodecKind::Video, None).await?;
        }
        for source in Source::ALL {
            if source != Source::Microphone && shows.contains(&source) {
                self.add(source).await?;
            }
        }
        Ok(())
    }

    /// Shows or hides a source; whether that has to be negotiated. Microphone and camera keep
    /// their m-line when they are hidden, and send nothing.
    pub(super) async fn show(&mut self, source: Source, on: bool) -> Result<bool> {
        let place = self.locals.iter().position(|local| local.source == source);
        match (place, on) {
            (None, true) => {
                self.add(source).await?;
                Ok(true)
            }
            (Some(place), false) if matches!(source, Source::Screen | Source::ScreenAudio) => {
                let local = self.locals.swap_remove(place);
                self.connection.remove_track(&local.sender).await?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    async fn add(&mut self, source: Source) -> Result<()> {
        let codecs = self.codecs(source);
        let (ssrc, track_id) = (random_u32(), Uuid::new_v4().to_string());
        let stream = match source {
            Source::Microphone | Source::Camera => self.streams.camera.clone(),
            Source::Screen | Source::ScreenAudio => self.streams.screen.clone(),
        };
        let kind = if source.is_video() { RtpCodecKind::Video } else { RtpCodecKind::Audio };
        let encoding = RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters {
                ssrc: Some(ssrc),
                ..RTCRtpCodingParameters::default()
            },
            codec: codecs[0].rtp_codec.clone(),
            ..RTCRtpEncodingParameters::default()
        };
        let track = MediaStreamTrack::new(
            stream,
            track_id.clone(),
            source.name().to_owned(),
            kind,
            vec![encoding],
        );
        let track = Arc::new(TrackLocalStaticRTP::new(track));
        let sender = self.connection.add_track(Arc::clone(&track) as Arc<dyn TrackLocal>).await?;
        self.prefer(&sender, codecs).await?;
        self.key_frames.learn(ssrc, source);
        let sequence = Arc::new(AtomicU16::new(random_u32() as u16));
        self.locals.push(Local { source, track, sender, track_id, ssrc, sequence, flow: None });
        Ok(())
    }

    /// The codecs of a new m-line, ours first.
    fn codecs(&self, source: Source) -> Vec<RTCRtpCodecParameters> {
        match (source.is_video(), self.payload_types) {
            (false, _) => vec![connect::opus()],
            (true, None) => connect::video_codecs(),
            (true, known) => connect::vp8(known),
        }
    }

    /// The library would offer the one codec that the track has; a picture may come in others,
    /// and retransmissions need theirs. An m-line that exists already keeps what was agreed on.
    async fn prefer(
        &self,
        sender: &Arc<dyn RtpSender>,
        codecs: Vec<RTCRtpCodecParameters>,
    ) -> Result<()> {
        let id: RTCRtpTransceiverId = sender.id().into();
        for transceiver in self.connection.get_transceivers().await {
            if transceiver.id() == id && transceiver.mid().await?.is_none() {
                transceiver.set_codec_preferences(codecs).await?;
                break;
            }
        }
        Ok(())
    }

    /// Whether something of ours is not in our last description, or should not be any more.
    pub(super) fn is_incomplete(&self, local: &Description) -> bool {
        let missing = self.locals.iter().any(|ours| local.sending(&ours.track_id).is_none());
        let stale = local.media.iter().any(|media| {
            let ours = media.stream == self.streams.camera || media.stream == self.streams.screen;
            let known = self.locals.iter().any(|ours| ours.track_id == media.track);
            media.sends && ours && !known
        });
        missing || stale
    }

    /// Which of our m-lines carries what.
    pub(super) fn lines(&self, local: &Description) -> Lines {
        let line = |ours: &Local| Some((local.sending(&ours.track_id)?.mid.clone(), ours.source));
        self.locals.iter().filter_map(line).collect()
    }

    /// Lets packets flow where both sides have agreed, and nowhere else.
    pub(super) fn flow(&mut self, connected: bool, local: &Description, remote: &Description) {
        if let Some(media) = remote.media.iter().find(|media| media.video)
            && let Some(vp8) = media.payload_type(Codec::Vp8)
        {
            self.payload_types = Some((vp8, media.retransmission_of(vp8)));
        }
        for ours in &mut self.locals {
            let codec = if ours.source.is_video() { Codec::Vp8 } else { Codec::Opus };
            let payload_type = local
                .sending(&ours.track_id)
                .filter(|_| connected)
                .and_then(|media| remote.by_mid(&media.mid))
                .filter(|media| media.receives)
                .and_then(|media| media.payload_type(codec));
            if ours.flow.as_ref().map(|flow| flow.payload_type) != payload_type {
                ours.flow = None;
                ours.flow =
                    payload_type.map(|number| ours.start(number, &self.router, &self.counters));
            }
        }
    }
}

impl Local {
    fn start(&self, payload_type: u8, router: &Arc<Router>, counters: &Arc<Counters>) -> Flow {
        let writer = Writer {
            track: Arc::clone(&self.track),
            payload_type,
            ssrc: self.ssrc,
            sequence: Arc::clone(&self.sequence),
            counters: Arc::clone(counters),
        };
        let (registration, task) = if self.source.is_video() {
            let (registration, frames) = router.add_video(self.source);
            (registration, tokio::spawn(writer.video(frames)))
        } else {
            let (registration, packets) = router.add_audio(self.source);
            (registration, tokio::spawn(writer.audio(packets)))
        };
        let task = AbortOnDropHandle::new(task);
        Flow { payload_type, _registration: registration, _task: task }
    }
}

/// Puts headers on payloads and hands them to the library.
struct Writer {
    track: Arc<TrackLocalStaticRTP>,
    payload_type: u8,
    ssrc: u32,
    sequence: Arc<AtomicU16>,
    counters: Arc<Counters>,
}

impl Writer {
    async fn video(self, mut frames: mpsc::Receiver<Arc<Payloads>>) {
        while let Some(frame) = frames.recv().await {
            let last = frame.payloads.len().saturating_sub(1);
            for (place, payload) in frame.payloads.iter().enumerate() {
                if place > 0 && place % BURST_PACKETS == 0 {
                    tokio::time::sleep(BURST_PAUSE).await;
                }
                self.write(payload.clone(), frame.rtp_time, place == last).await;
            }
        }
    }

    async fn audio(self, packets: Arc<AudioQueue>) {
        loop {
            let packet = packets.next().await;
            self.write(packet.data, packet.rtp_time, false).await;
        }
    }

    async fn write(&self, payload: Bytes, timestamp: u32, marker: bool) {
        let bytes = payload.len();
        let header = Header {
            version: 2,
            marker,
            payload_type: self.payload_type,
            sequence_number: self.sequence.fetch_add(1, Ordering::Relaxed),
            timestamp,
            ssrc: self.ssrc,
            ..Header::default()
        };
        // It fails only when the connection is gone, and then this task is as well.
        if self.track.write_rtp(Packet { header, payload }).await.is_ok() {
            self.counters.sent(bytes);
        }
    }
}

/// A random number for RTP; nothing secret.
fn random_u32() -> u32 {
    Uuid::new_v4().as_fields().0
}
