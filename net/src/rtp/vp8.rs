//! VP8 in RTP (RFC 7741).

use bytes::{BufMut, Bytes, BytesMut};

use super::PAYLOAD_BYTES;

/// X, I and a picture id of 15 bits.
const DESCRIPTOR_BYTES: usize = 4;
/// Extended control bits follow.
const X: u8 = 0x80;
/// A partition begins here.
const S: u8 = 0x10;
/// The partition's number.
const PID: u8 = 0x0F;

/// What stands in front of a slice of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descriptor {
    /// The frame begins in this packet.
    pub(crate) starts_frame: bool,
    /// Where the slice begins in the payload.
    pub(crate) length: usize,
}

/// Cuts a frame into payloads of about equal size. `picture_id` grows by one with each frame.
pub(crate) fn packetize(frame: &Bytes, picture_id: u16) -> Vec<Bytes> {
    if frame.is_empty() {
        return Vec::new();
    }
    let count = frame.len().div_ceil(PAYLOAD_BYTES - DESCRIPTOR_BYTES);
    let size = frame.len().div_ceil(count);
    let slices = frame.chunks(size).enumerate();
    slices
        .map(|(index, slice)| {
            let mut payload = BytesMut::with_capacity(DESCRIPTOR_BYTES + slice.len());
            payload.put_u8(if index == 0 { X | S } else { X });
            payload.put_u8(0x80);
            payload.put_u16(picture_id | 0x8000);
            payload.put_slice(slice);
            payload.freeze()
        })
        .collect()
}

/// Reads a payload's descriptor; `None` when it is cut off.
pub(crate) fn descriptor(payload: &[u8]) -> Option<Descriptor> {
    let first = *payload.first()?;
    let mut length = 1;
    if first & X != 0 {
        let extended = *payload.get(length)?;
        length += 1;
        if extended & 0x80 != 0 {
            length += if payload.get(length)? & 0x80 != 0 { 2 } else { 1 };
        }
        if extended & 0x40 != 0 {
            length += 1;
        }
        if extended & 0x30 != 0 {
            length += 1;
        }
    }
    let starts_frame = first & S != 0 && first & PID == 0;
    (length < payload.len()).then_some(Descriptor { starts_frame, length })
}

/// Whether a frame can be decoded alone (RFC 6386 §9.1): the lowest bit is clear and the start
/// code is there.
pub(crate) fn is_key(frame: &[u8]) -> bool {
    frame.len() >= 10 && frame[0] & 1 == 0 && frame[3..6] == [0x9D, 0x01, 0x2A]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_cut_into_slices_of_about_equal_size() {
        let frame = Bytes::from(vec![7; 3 * PAYLOAD_BYTES]);
        let payloads = packetize(&frame, 0x1234);
        assert_eq!(payloads.len(), 4);
        let mut joined = Vec::new();
        for (index, payload) in payloads.iter().enumerate() {
            assert!(payload.len() <= PAYLOAD_BYTES && payload.len() > PAYLOAD_BYTES / 2);
            let descriptor = descriptor(payload).unwrap();
            assert_eq!(descriptor.starts_frame, index == 0);
            assert_eq!(payload[2..4], [0x92, 0x34]);
            joined.extend_from_slice(&payload[descriptor.length..]);
        }
        assert_eq!(joined, frame);
        assert!(packetize(&Bytes::new(), 0).is_empty());
    }

    #[test]
    fn every_optional_field_of_the_descriptor_is_skipped() {
        for (bytes, length) in [
            (&[0x10][..], 1),
            (&[0x90, 0x00], 2),
            (&[0x90, 0x80, 0x11], 3),
            (&[0x90, 0x80, 0x91, 0x11], 4),
            (&[0x90, 0xC0, 0x11, 0x22], 4),
            (&[0x90, 0xF0, 0x91, 0x11, 0x22, 0x33], 6),
        ] {
            let mut payload = bytes.to_vec();
            assert_eq!(descriptor(&payload), None, "nothing behind {bytes:02x?}");
            payload.push(0xAA);
            assert_eq!(descriptor(&payload), Some(Descriptor { starts_frame: true, length }));
        }
        assert!(!descriptor(&[0x11, 0xAA]).unwrap().starts_frame, "a later partition");
    }
}
