//! Puts the packets of a video stream together to whole frames, and after a loss waits for a key
//! frame.

use bytes::{BufMut, BytesMut};

use super::reorder::Ordered;
use super::{FRAME_BYTES, Frame, Packet, h264, vp8};

/// Which payload format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Vp8,
    H264,
}

/// The frame that is being put together.
#[derive(Debug)]
struct Partial {
    timestamp: u32,
    sequence: u16,
    data: BytesMut,
    /// H.264 only.
    seen: h264::Seen,
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Assembler {
    format: Format,
    partial: Option<Partial>,
    /// Nothing can be decoded until a key frame comes. True at the beginning.
    needs_key: bool,
    /// Packets were lost since the last end of a frame.
    torn: bool,
    dropped: u64,
}

impl Assembler {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, partial: None, needs_key: true, torn: false, dropped: 0 }
    }

    /// Whether the decoder is stuck without a key frame.
    pub(crate) fn needs_key(&self) -> bool {
        self.needs_key
    }

    /// Frames thrown away: damaged, or without a key frame before them.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The reader lost a frame; goes on with a key frame.
    pub(crate) fn reset(&mut self) {
        self.needs_key = true;
    }

    /// Takes the next packet, or the news that some are lost.
    pub(crate) fn push(&mut self, next: Ordered) -> Option<Frame> {
        let packet = match next {
            Ordered::Gap(_) => {
                self.lose();
                self.needs_key = true;
                self.torn = true;
                return None;
            }
            Ordered::Packet(packet) => packet,
        };
        if packet.payload.is_empty() {
            return None; // Padding: it has a number, and nothing else.
        }
        if self.partial.as_ref().is_some_and(|partial| partial.timestamp != packet.timestamp) {
            // The last packet of the frame before had no marker; who knows what it lacks.
            self.lose();
            self.needs_key = true;
        }
        let fine = match self.format {
            Format::Vp8 => self.push_vp8(&packet),
            Format::H264 => self.push_h264(&packet),
        };
        if !fine {
            self.lose();
            self.needs_key = true;
            return None;
        }
        if packet.marker { self.finish() } else { None }
    }

    /// Whether the packet made sense.
    fn push_vp8(&mut self, packet: &Packet) -> bool {
        let Some(descriptor) = vp8::descriptor(&packet.payload) else { return false };
        if self.partial.is_none() {
            if !descriptor.starts_frame {
                // The rest of a frame that is lost already; news only if we thought all was well.
                return self.needs_key;
            }
            self.partial = Some(Partial::begin(packet));
        }
        self.append(|partial| {
            partial.data.put_slice(&packet.payload[descriptor.length..]);
            true
        })
    }

    fn push_h264(&mut self, packet: &Packet) -> bool {
        if self.partial.is_none() {
            self.partial = Some(Partial::begin(packet));
        }
        self.append(|partial| {
            h264::unpack(&packet.payload, &mut partial.data, &mut partial.seen).is_ok()
        })
    }

    fn append(&mut self, how: impl FnOnce(&mut Partial) -> bool) -> bool {
        self.partial
            .as_mut()
            .is_none_or(|partial| how(partial) && partial.data.len() <= FRAME_BYTES)
    }

    fn finish(&mut self) -> Option<Frame> {
        let partial = self.partial.take()?;
        let key = match self.format {
            Format::Vp8 => vp8::is_key(&partial.data),
            // Behind a gap only the parameter set proves that the unit's beginning is there.
            Format::H264 => partial.seen.idr && (partial.seen.sps || !self.torn),
        };
        self.torn = false;
        if partial.seen.fragment || (self.needs_key && !key) {
            self.needs_key = true;
            self.dropped += 1;
            return None;
        }
        self.needs_key = false;
        Some(Frame {
            data: partial.data.freeze(),
            timestamp: partial.timestamp,
            sequence: partial.sequence,
            key,
        })
    }

    fn lose(&mut self) {
        if self.partial.take().is_some() {
            self.dropped += 1;
        }
    }
}

impl Partial {
    fn begin(packet: &Packet) -> Self {
        Self {
            timestamp: packet.timestamp,
            sequence: packet.sequence,
            data: BytesMut::new(),
            seen: h264::Seen::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    /// A VP8 frame that is marked as key frame or not.
    fn vp8_frame(key: bool, size: usize) -> Bytes {
        let mut frame = vec![u8::from(!key), 0, 0, 0x9D, 0x01, 0x2A, 0, 0, 0, 0];
        frame.resize(size.max(10), 7);
        frame.into()
    }

    /// The packets of frames, with sequence numbers from 0 and timestamps 3,000 apart.
    fn packets(frames: &[Bytes]) -> Vec<Packet> {
        let mut sequence = 0_u16;
        let mut packets = Vec::new();
        for (index, frame) in frames.iter().enumerate() {
            let payloads = vp8::packetize(frame, index as u16);
            let last = payloads.len() - 1;
            for (place, payload) in payloads.into_iter().enumerate() {
                let timestamp = 3_000 * index as u32;
                packets.push(Packet { sequence, timestamp, marker: place == last, payload });
                sequence += 1;
            }
        }
        packets
    }

    fn run(packets: impl IntoIterator<Item = Ordered>) -> (Vec<Frame>, Assembler) {
        let mut assembler = Assembler::new(Format::Vp8);
        let frames = packets.into_iter().filter_map(|packet| assembler.push(packet)).collect();
        (frames, assembler)
    }

    #[test]
    fn frames_survive_the_journey() {
        let sent = [vp8_frame(true, 30_000), vp8_frame(false, 5_000), vp8_frame(false, 10)];
        let (frames, assembler) = run(packets(&sent).into_iter().map(Ordered::Packet));
        let data: Vec<_> = frames.iter().map(|frame| frame.data.clone()).collect();
        assert_eq!(data, sent);
        assert_eq!(frames.iter().map(|frame| frame.key).collect::<Vec<_>>(), [true, false, false]);
        assert!(!assembler.needs_key());
    }

    #[test]
    fn nothing_comes_before_a_key_frame() {
        let sent = [vp8_frame(false, 100), vp8_frame(true, 100), vp8_frame(false, 100)];
        let (frames, assembler) = run(packets(&sent).into_iter().map(Ordered::Packet));
        assert_eq!((frames.len(), assembler.dropped()), (2, 1));
    }

    #[test]
    fn after_a_loss_it_waits_for_a_key_frame() {
        let sent = [
            vp8_frame(true, 5_000),
            vp8_frame(false, 5_000),
            vp8_frame(false, 100),
            vp8_frame(true, 100),
        ];
        let mut input: Vec<_> = packets(&sent).into_iter().map(Ordered::Packet).collect();
        input[6] = Ordered::Gap(1);
        let (frames, assembler) = run(input.clone());
        assert_eq!(frames.iter().map(|frame| frame.timestamp).collect::<Vec<_>>(), [0, 9_000]);
        assert!(assembler.dropped() >= 2);
        input.truncate(8);
        assert!(run(input).1.needs_key());
    }

    #[test]
    fn padding_disturbs_nothing() {
        let mut input = packets(&[vp8_frame(true, 5_000)]);
        input.insert(2, Packet { sequence: 0, timestamp: 9, marker: false, payload: Bytes::new() });
        assert_eq!(run(input.into_iter().map(Ordered::Packet)).0.len(), 1);
    }

    proptest! {
        #[test]
        fn rubbish_never_panics(
            payloads in prop::collection::vec((any::<u32>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..30)), 0..50),
            h264 in any::<bool>(),
        ) {
            let mut assembler = Assembler::new(if h264 { Format::H264 } else { Format::Vp8 });
            for (timestamp, marker, payload) in payloads {
                let packet = Packet { sequence: 0, timestamp: timestamp % 4, marker, payload: payload.into() };
                assembler.push(Ordered::Packet(packet));
            }
        }
    }
}
