//! From the encoders to the peers: each frame is cut into payloads once, and every peer that wants
//! it gets the same bytes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use super::{EncodedFrame, Source};
use crate::rtp::vp8;
use crate::stats::SourceStats;

/// Frames that wait for one peer's connection. When it is full, that peer loses the frame and goes
/// on with the next key frame; the encoder asked for one meanwhile.
const VIDEO_FRAMES: usize = 4;
/// Packets of sound that wait for one peer's connection, 20 ms each. When it is full, the oldest is
/// lost.
const AUDIO_PACKETS: usize = 15;
/// How long an encoder is held up when every peer's queue is full.
const HOLD_UP: Duration = Duration::from_millis(100);

/// A frame, ready to be sent.
#[derive(Debug)]
pub(crate) struct Payloads {
    pub(crate) payloads: Vec<Bytes>,
    pub(crate) rtp_time: u32,
    pub(crate) key: bool,
}

/// One peer's way out for one source.
#[derive(Debug, Clone)]
enum Outlet {
    Video(mpsc::Sender<Arc<Payloads>>),
    Audio(Arc<AudioQueue>),
}

#[derive(Debug)]
struct Entry {
    id: u64,
    outlet: Outlet,
    /// Video: the peer lacks what the next frame builds on.
    needs_key: bool,
}

/// What belongs to one of our sources.
#[derive(Debug, Default)]
struct Lane {
    published: AtomicBool,
    frames: AtomicU64,
    dropped: AtomicU64,
    key_frame_requests: AtomicU64,
    picture_id: AtomicU16,
    outlets: Mutex<Vec<Entry>>,
}

/// Who gets what. Shared by [`super::MediaOut`] and the peers.
#[derive(Debug)]
pub(crate) struct Router {
    lanes: [Lane; 4],
    next_id: AtomicU64,
    /// A place for one wish is enough: the session reads which lanes wish by itself.
    key_frames: mpsc::Sender<Source>,
}

impl Router {
    /// `key_frames` hears of each source that somebody can't decode.
    pub(crate) fn new(key_frames: mpsc::Sender<Source>) -> Self {
        Self { lanes: Default::default(), next_id: AtomicU64::new(0), key_frames }
    }

    fn lane(&self, source: Source) -> &Lane {
        &self.lanes[source as usize]
    }

    /// Shows or hides a source.
    pub(crate) fn publish(&self, source: Source, on: bool) {
        self.lane(source).published.store(on, Ordering::Relaxed);
        if on && source.is_video() {
            self.lane(source).outlets().iter_mut().for_each(|entry| entry.needs_key = true);
            self.request_key_frame(source);
        }
    }

    pub(crate) fn is_published(&self, source: Source) -> bool {
        self.lane(source).published.load(Ordering::Relaxed)
    }

    /// Whether anybody is there to see it.
    pub(crate) fn wanted(&self, source: Source) -> bool {
        self.is_published(source) && !self.lane(source).outlets().is_empty()
    }

    /// Somebody can't decode.
    pub(crate) fn request_key_frame(&self, source: Source) {
        self.lane(source).key_frame_requests.fetch_add(1, Ordering::Relaxed);
        // Full: the session has wishes enough to work on, and peers repeat theirs.
        self.key_frames.try_send(source).ok();
    }

    /// Adds a peer's way out for pictures; it begins with a key frame.
    pub(crate) fn add_video(
        self: &Arc<Self>,
        source: Source,
    ) -> (Registration, mpsc::Receiver<Arc<Payloads>>) {
        let (sender, receiver) = mpsc::channel(VIDEO_FRAMES);
        let registration = self.add(source, Outlet::Video(sender));
        if self.is_published(source) {
            self.request_key_frame(source);
        }
        (registration, receiver)
    }

    /// Adds a peer's way out for sound.
    pub(crate) fn add_audio(self: &Arc<Self>, source: Source) -> (Registration, Arc<AudioQueue>) {
        let queue = Arc::new(AudioQueue::default());
        (self.add(source, Outlet::Audio(Arc::clone(&queue))), queue)
    }

    fn add(self: &Arc<Self>, source: Source, outlet: Outlet) -> Registration {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.lane(source).outlets().push(Entry { id, outlet, needs_key: true });
        Registration { router: Arc::clone(self), source, id }
    }

    /// Gives one frame to everybody.
    pub(crate) async fn send(&self, source: Source, frame: EncodedFrame) {
        if !self.wanted(source) {
            return;
        }
        let lane = self.lane(source);
        lane.frames.fetch_add(1, Ordering::Relaxed);
        if !source.is_video() {
            return lane.send_audio(&frame);
        }
        if let Some(full) = lane.all_full() {
            // Whoever gets a place first, or nobody for a while: then the frame is lost to all.
            tokio::time::timeout(HOLD_UP, full.reserve()).await.ok();
        }
        let picture_id = lane.picture_id.fetch_add(1, Ordering::Relaxed);
        let payloads = vp8::packetize(&frame.data, picture_id);
        let payloads = Payloads { payloads, rtp_time: frame.rtp_time, key: frame.key };
        if lane.send_video(&Arc::new(payloads)) {
            self.request_key_frame(source);
        }
    }

    /// The counters of all sources.
    pub(crate) fn stats(&self) -> Vec<SourceStats> {
        let stats = |source| {
            let lane = self.lane(source);
            SourceStats {
                source,
                published: self.is_published(source),
                frames: lane.frames.load(Ordering::Relaxed),
                dropped: lane.dropped.load(Ordering::Relaxed),
                key_frame_requests: lane.key_frame_requests.load(Ordering::Relaxed),
            }
        };
        Source::ALL.map(stats).into()
    }
}

impl Lane {
    fn outlets(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.outlets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of the full queues, if there is no other kind.
    fn all_full(&self) -> Option<mpsc::Sender<Arc<Payloads>>> {
        let outlets = self.outlets();
        let mut full = None;
        for entry in outlets.iter() {
            match &entry.outlet {
                Outlet::Video(sender) if sender.capacity() == 0 => full = Some(sender.clone()),
                _ => return None,
            }
        }
        full
    }

    /// Whether somebody lost the frame.
    fn send_video(&self, frame: &Arc<Payloads>) -> bool {
        let mut lost = false;
        for entry in self.outlets().iter_mut() {
            let Outlet::Video(sender) = &entry.outlet else { continue };
            if entry.needs_key && !frame.key {
                continue;
            }
            entry.needs_key = sender.try_send(Arc::clone(frame)).is_err();
            if entry.needs_key {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                lost = true;
            }
        }
        lost
    }

    fn send_audio(&self, frame: &EncodedFrame) {
        for entry in self.outlets().iter() {
            if let Outlet::Audio(queue) = &entry.outlet
                && queue.push(frame.clone())
            {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// A peer's place in the router; dropping it gives it up.
#[derive(Debug)]
pub(crate) struct Registration {
    router: Arc<Router>,
    source: Source,
    id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.router.lane(self.source).outlets().retain(|entry| entry.id != self.id);
    }
}

/// Packets of sound for one peer, where the oldest makes room for the newest.
#[derive(Debug, Default)]
pub(crate) struct AudioQueue {
    packets: Mutex<VecDeque<EncodedFrame>>,
    filled: Notify,
}

impl AudioQueue {
    /// Whether a packet was lost.
    fn push(&self, packet: EncodedFrame) -> bool {
        let mut packets = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
        let full = packets.len() >= AUDIO_PACKETS;
        if full {
            packets.pop_front();
        }
        packets.push_back(packet);
        drop(packets);
        self.filled.notify_one();
        full
    }

    /// The next packet; for a single reader.
    pub(crate) async fn next(&self) -> EncodedFrame {
        loop {
            let packet = self.packets.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            if let Some(packet) = packet {
                return packet;
            }
            self.filled.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn frame(key: bool, rtp_time: u32) -> EncodedFrame {
        let data = Bytes::from_static(b"frame");
        EncodedFrame { data, rtp_time, key, captured: Instant::now() }
    }

    fn router() -> (Arc<Router>, mpsc::Receiver<Source>) {
        let (sender, receiver) = mpsc::channel(8);
        (Arc::new(Router::new(sender)), receiver)
    }

    #[tokio::test]
    async fn a_source_is_wanted_when_it_is_shown_and_somebody_is_there() {
        let (router, _wishes) = router();
        assert!(!router.wanted(Source::Camera));
        router.publish(Source::Camera, true);
        assert!(!router.wanted(Source::Camera));
        let (registration, _frames) = router.add_video(Source::Camera);
        assert!(router.wanted(Source::Camera) && !router.wanted(Source::Screen));
        drop(registration);
        assert!(!router.wanted(Source::Camera));
    }

    #[tokio::test]
    async fn a_peer_begins_with_a_key_frame_and_so_it_does_after_a_loss() {
        let (router, mut wishes) = router();
        router.publish(Source::Camera, true);
        let (_registration, mut frames) = router.add_video(Source::Camera);
        wishes.recv().await.unwrap();
        router.send(Source::Camera, frame(false, 0)).await;
        router.send(Source::Camera, frame(true, 1)).await;
        assert_eq!(frames.recv().await.unwrap().rtp_time, 1);
        for time in 2..8 {
            router.send(Source::Camera, frame(false, time)).await;
        }
        assert_eq!(router.stats()[Source::Camera as usize].dropped, 1);
        while frames.try_recv().is_ok() {}
        router.send(Source::Camera, frame(false, 8)).await;
        router.send(Source::Camera, frame(true, 9)).await;
        assert_eq!(frames.recv().await.unwrap().rtp_time, 9);
    }

    #[tokio::test]
    async fn sound_never_waits_and_loses_the_oldest() {
        let (router, _wishes) = router();
        router.publish(Source::Microphone, true);
        let (_registration, queue) = router.add_audio(Source::Microphone);
        for time in 0..20 {
            router.send(Source::Microphone, frame(true, time)).await;
        }
        assert_eq!(queue.next().await.rtp_time, 5);
        assert_eq!(router.stats()[Source::Microphone as usize].dropped, 5);
    }
}
