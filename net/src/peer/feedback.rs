//! Overhears the requests for a key frame (PLI and FIR) among the feedback of a peer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rtc::interceptor::{Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::sansio::Protocol;
use rtc::shared::error::Error;

use crate::media::Source;
use crate::media::out::Router;

/// Knows which of our streams shows what, and tells the router when one needs a key frame.
#[derive(Clone)]
pub(super) struct KeyFrameRequests {
    router: Arc<Router>,
    streams: Arc<Mutex<Vec<(u32, Source)>>>,
}

impl KeyFrameRequests {
    pub(super) fn new(router: Arc<Router>) -> Self {
        Self { router, streams: Arc::default() }
    }

    /// From now on this stream shows this source.
    pub(super) fn learn(&self, ssrc: u32, source: Source) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.retain(|(_, known)| *known != source);
        streams.push((ssrc, source));
    }

    pub(super) fn interceptor(self) -> Overhear {
        Overhear { requests: self, read: VecDeque::new(), write: VecDeque::new() }
    }

    fn requested(&self, ssrc: u32) {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let source = streams.iter().find(|(known, _)| *known == ssrc).map(|(_, source)| *source);
        if let Some(source) = source.filter(|source| source.is_video()) {
            self.router.request_key_frame(source);
        }
    }
}

/// Lets everything pass.
pub(super) struct Overhear {
    requests: KeyFrameRequests,
    /// Emptied by the chain right after each packet.
    read: VecDeque<TaggedPacket>,
    /// Emptied by the chain right after each packet.
    write: VecDeque<TaggedPacket>,
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Overhear {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(feedback) = &packet.message.packet {
            for feedback in feedback.iter().map(|feedback| feedback.as_any()) {
                if let Some(loss) = feedback.downcast_ref::<PictureLossIndication>() {
                    self.requests.requested(loss.media_ssrc);
                } else if let Some(request) = feedback.downcast_ref::<FullIntraRequest>() {
                    request.fir.iter().for_each(|entry| self.requests.requested(entry.ssrc));
                }
            }
        }
        self.read.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.read.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.write.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.write.pop_front()
    }
}

impl Interceptor for Overhear {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}
