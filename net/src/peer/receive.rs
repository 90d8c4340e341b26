//! A peer's tracks: from RTP packets to whole frames, and the wish for key frames.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};

use super::counters::Counters;
use super::sdp::{Description, Media};
use super::{Lines, Outbox, What, at};
use crate::event::Event;
use crate::media::{Codec, RemoteFrame, RemoteTrack, Source, TrackId};
use crate::rtp::assemble::{Assembler, Format};
use crate::rtp::reorder::{Ordered, Reorder};
use crate::rtp::{Frame, Packet};
use crate::stats::TrackStats;

/// Whole pictures that wait for a decoder, half a second of them. When it is full, pictures are
/// lost up to the next key frame, which is asked for.
const VIDEO_FRAMES: usize = 15;
/// Packets of sound that wait, a second of them. When it is full, the newest are lost.
const AUDIO_PACKETS: usize = 50;
/// Tracks of one peer; more are ignored.
const TRACKS: usize = 8;
/// A picture without packets for so long has ended: an old client's way to say "off".
const IDLE: Duration = Duration::from_secs(3);
/// Pause between two requests for a key frame.
const KEY_FRAME_PAUSE: Duration = Duration::from_secs(1);
/// A sender sends a key frame of its own when it begins; give it this long.
const FIRST_KEY_FRAME: Duration = Duration::from_millis(300);

/// All tracks of one peer.
pub(super) struct Tracks {
    outbox: Outbox,
    counters: Arc<Counters>,
    /// What the peer itself says that its m-lines carry.
    lines: Lines,
    live: Vec<Live>,
}

/// One of them.
struct Live {
    /// The library's name, from the peer's description.
    name: String,
    track: Arc<dyn TrackRemote>,
    shared: Arc<Shared>,
    ended: CancellationToken,
    _task: AbortOnDropHandle<()>,
}

/// What the track's task and the connection's task both see.
struct Shared {
    id: TrackId,
    source: Source,
    key_frame: Notify,
    codec: Mutex<Codec>,
    packets: AtomicU64,
    lost: AtomicU64,
    frames: AtomicU64,
    dropped: AtomicU64,
    key_frame_requests: AtomicU64,
}

impl Tracks {
    pub(super) fn new(outbox: Outbox, counters: Arc<Counters>) -> Self {
        Self { outbox, counters, lines: Lines::new(), live: Vec::new() }
    }

    /// The peer says what its m-lines carry; what it says goes before what we guessed.
    pub(super) async fn learn(&mut self, lines: Lines, local: &Description, remote: &Description) {
        self.lines = lines;
        for track in self.settle(remote) {
            self.begin(track, local, remote).await;
        }
    }

    fn source_of(&self, remote: &Description, media: &Media) -> Source {
        let said = self.lines.get(&media.mid).copied();
        said.filter(|said| said.is_video() == media.video)
            .unwrap_or_else(|| remote.source_of(media))
    }

    /// The first packet of a track has come.
    pub(super) async fn begin(
        &mut self,
        track: Arc<dyn TrackRemote>,
        local: &Description,
        remote: &Description,
    ) {
        self.live.retain(|live| !live._task.is_finished());
        let name = track.track_id().await;
        let known = remote.media.iter().find(|media| media.sends && media.track == name);
        let Some(media) = known.filter(|_| self.live.len() < TRACKS) else {
            return tracing::debug!("a track that the peer did not announce, or one too many");
        };
        // What we offered or answered decides what a payload type means to us.
        let codecs = local.by_mid(&media.mid).unwrap_or(media).codecs.clone();
        let source = self.source_of(remote, media);
        let shared = Arc::new(Shared {
            id: self.free_id(source),
            source,
            key_frame: Notify::new(),
            codec: Mutex::new(if source.is_video() { Codec::Vp8 } else { Codec::Opus }),
            packets: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            frames: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            key_frame_requests: AtomicU64::new(0),
        });
        let ended = CancellationToken::new();
        let reader = Reader {
            track: Arc::clone(&track),
            codecs,
            shared: Arc::clone(&shared),
            outbox: self.outbox.clone(),
            counters: Arc::clone(&self.counters),
            ended: ended.clone(),
            frames: None,
            reorder: Reorder::default(),
            assembler: Assembler::new(Format::Vp8),
            ssrc: 0,
            heard_at: Instant::now(),
            key_frame_at: Instant::now() + FIRST_KEY_FRAME,
        };
        let _task = AbortOnDropHandle::new(tokio::spawn(reader.run()));
        self.live.push(Live { name, track, shared, ended, _task });
    }

    fn free_id(&self, source: Source) -> TrackId {
        let taken = |id: &TrackId| self.live.iter().any(|live| live.shared.id == *id);
        let ids = (2..).map(|number| TrackId::new(format!("{source}-{number}")));
        std::iter::once(TrackId::new(source.name()))
            .chain(ids)
            .find(|id| !taken(id))
            .expect("numbers do not end")
    }

    /// Tracks that the peer does not send any more have ended. Those that turn out to be something
    /// else have, too; they come back, to begin anew.
    pub(super) fn settle(&mut self, remote: &Description) -> Vec<Arc<dyn TrackRemote>> {
        self.live.retain(|live| !live._task.is_finished());
        let mut others = Vec::new();
        for live in self.live.iter().filter(|live| !live.ended.is_cancelled()) {
            let sent = remote.sending(&live.name);
            if sent.is_some_and(|media| self.source_of(remote, media) == live.shared.source) {
                continue;
            }
            live.ended.cancel();
            if sent.is_some() {
                others.push(Arc::clone(&live.track));
            }
        }
        others
    }

    pub(super) fn request_key_frame(&self, id: &TrackId) {
        for live in self.live.iter().filter(|live| live.shared.id == *id) {
            live.shared.key_frame.notify_one();
        }
    }

    pub(super) fn stats(&self) -> Vec<TrackStats> {
        self.live.iter().map(|live| live.shared.stats()).collect()
    }
}

impl Shared {
    fn stats(&self) -> TrackStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TrackStats {
            track: self.id.clone(),
            source: self.source,
            codec: *self.codec.lock().unwrap_or_else(PoisonError::into_inner),
            packets: get(&self.packets),
            lost: get(&self.lost),
            frames: get(&self.frames),
            dropped: get(&self.dropped),
            key_frame_requests: get(&self.key_frame_requests),
        }
    }
}

/// One track's task.
struct Reader {
    track: Arc<dyn TrackRemote>,
    codecs: Vec<(u8, Codec)>,
    shared: Arc<Shared>,
    outbox: Outbox,
    counters: Arc<Counters>,
    ended: CancellationToken,
    /// Where frames go, while the track is announced.
    frames: Option<(Codec, mpsc::Sender<RemoteFrame>)>,
    reorder: Reorder,
    assembler: Assembler,
    ssrc: u32,
    heard_at: Instant,
    /// No request for a key frame before.
    key_frame_at: Instant,
}

impl Reader {
    async fn run(mut self) {
        loop {
            let deadline = self.deadline();
            tokio::select! {
                biased;
                () = self.ended.cancelled() => break,
                () = self.shared.key_frame.notified() => self.assembler.reset(),
                event = self.track.poll() => match event {
                    Some(TrackRemoteEvent::OnRtpPacket(packet)) => self.packet(packet).await,
                    None | Some(TrackRemoteEvent::OnEnded | TrackRemoteEvent::OnError) => break,
                    Some(_) => {}
                },
                () = at(deadline) => self.expire().await,
            }
            self.request_key_frame().await;
        }
        self.end().await;
    }

    fn deadline(&self) -> Option<Instant> {
        let video = self.shared.source.is_video() && self.frames.is_some();
        let idle = video.then(|| self.heard_at + IDLE);
        [self.reorder.deadline(), idle].into_iter().flatten().min()
    }

    async fn packet(&mut self, packet: rtc::rtp::Packet) {
        let Some(codec) = self.codec_of(packet.header.payload_type) else { return };
        let now = Instant::now();
        self.heard_at = now;
        self.ssrc = packet.header.ssrc;
        self.shared.packets.fetch_add(1, Ordering::Relaxed);
        self.counters.received(packet.payload.len());
        if self.frames.as_ref().is_none_or(|(known, frames)| *known != codec || frames.is_closed())
        {
            self.announce(codec).await;
        }
        let packet = Packet {
            sequence: packet.header.sequence_number,
            timestamp: packet.header.timestamp,
            marker: packet.header.marker,
            payload: packet.payload,
        };
        if codec == Codec::Opus {
            return self.audio(packet, now);
        }
        let mut ordered = Vec::new();
        self.reorder.push(packet, now, &mut ordered);
        self.assemble(ordered, now);
    }

    fn codec_of(&self, payload_type: u8) -> Option<Codec> {
        self.codecs.iter().find(|(number, _)| *number == payload_type).map(|(_, codec)| *codec)
    }

    /// The track begins, begins again, or goes on in another codec.
    async fn announce(&mut self, codec: Codec) {
        self.end().await;
        let capacity = if codec == Codec::Opus { AUDIO_PACKETS } else { VIDEO_FRAMES };
        let (sender, frames) = mpsc::channel(capacity);
        let format = if codec == Codec::H264 { Format::H264 } else { Format::Vp8 };
        self.assembler = Assembler::new(format);
        *self.shared.codec.lock().unwrap_or_else(PoisonError::into_inner) = codec;
        self.frames = Some((codec, sender));
        let peer = self.outbox.peer.clone();
        let (id, source) = (self.shared.id.clone(), self.shared.source);
        self.outbox.event(Event::Track(RemoteTrack { peer, id, source, codec, frames })).await;
    }

    async fn end(&mut self) {
        if self.frames.take().is_some() {
            let (peer, track) = (self.outbox.peer.clone(), self.shared.id.clone());
            self.outbox.send(What::Event(Event::TrackEnded { peer, track })).await;
        }
    }

    fn audio(&mut self, packet: Packet, received: Instant) {
        if packet.payload.is_empty() {
            return;
        }
        self.hand_on(RemoteFrame {
            data: packet.payload,
            rtp_time: packet.timestamp,
            sequence: packet.sequence,
            key: true,
            received,
        });
    }

    fn assemble(&mut self, ordered: Vec<Ordered>, now: Instant) {
        for next in ordered {
            if let Ordered::Gap(lost) = next {
                self.shared.lost.fetch_add(lost, Ordering::Relaxed);
            }
            let before = self.assembler.dropped();
            let frame = self.assembler.push(next);
            let dropped = self.assembler.dropped() - before;
            self.shared.dropped.fetch_add(dropped, Ordering::Relaxed);
            if let Some(Frame { data, timestamp, sequence, key }) = frame {
                let rtp_time = timestamp;
                self.hand_on(RemoteFrame { data, rtp_time, sequence, key, received: now });
            }
        }
    }

    fn hand_on(&mut self, frame: RemoteFrame) {
        let Some((_, frames)) = &self.frames else { return };
        match frames.try_send(frame) {
            Ok(()) => self.shared.frames.fetch_add(1, Ordering::Relaxed),
            Err(_) => {
                self.assembler.reset();
                self.shared.dropped.fetch_add(1, Ordering::Relaxed)
            }
        };
    }

    async fn expire(&mut self) {
        let now = Instant::now();
        let mut ordered = Vec::new();
        self.reorder.expire(now, &mut ordered);
        self.assemble(ordered, now);
        if self.shared.source.is_video() && now >= self.heard_at + IDLE {
            self.end().await;
        }
    }

    /// Asks the peer, if the decoder is stuck and the peer was not asked just now.
    async fn request_key_frame(&mut self) {
        let now = Instant::now();
        let stuck = self.frames.as_ref().is_some_and(|(codec, _)| *codec != Codec::Opus)
            && self.assembler.needs_key();
        if !stuck || now < self.key_frame_at || now >= self.heard_at + IDLE {
            return;
        }
        self.key_frame_at = now + KEY_FRAME_PAUSE;
        self.shared.key_frame_requests.fetch_add(1, Ordering::Relaxed);
        let request = PictureLossIndication { sender_ssrc: 0, media_ssrc: self.ssrc };
        self.track.write_rtcp(vec![Box::new(request)]).await.ok();
    }
}
