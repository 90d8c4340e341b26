//! H.264 in RTP (RFC 6184), receiving only: single units, STAP-A and FU-A; what comes out has
//! start codes (Annex B).

use bytes::{BufMut, BytesMut};

const START_CODE: [u8; 4] = [0, 0, 0, 1];
const TYPE: u8 = 0x1F;
const IDR: u8 = 5;
const SPS: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;

/// What is known of an access unit under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// A fragmented unit is not complete yet.
    pub(crate) fragment: bool,
    /// An instantaneous decoder refresh: it can be decoded alone.
    pub(crate) idr: bool,
    /// A sequence parameter set; senders put it in front of a refresh.
    pub(crate) sps: bool,
}

/// A payload that makes no sense at its place; the access unit is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Damaged;

/// Appends what a payload carries to the access unit.
pub(crate) fn unpack(payload: &[u8], unit: &mut BytesMut, seen: &mut Seen) -> Result<(), Damaged> {
    let (&header, body) = payload.split_first().ok_or(Damaged)?;
    let kind = header & TYPE;
    if seen.fragment && kind != FU_A {
        return Err(Damaged);
    }
    match kind {
        1..STAP_A => {
            append(payload, unit, seen);
            Ok(())
        }
        STAP_A => aggregate(body, unit, seen),
        FU_A => part(header, body, unit, seen),
        _ => Err(Damaged),
    }
}

fn append(nal: &[u8], unit: &mut BytesMut, seen: &mut Seen) {
    unit.put_slice(&START_CODE);
    unit.put_slice(nal);
    seen.note(nal[0] & TYPE);
}

impl Seen {
    fn note(&mut self, kind: u8) {
        self.idr |= kind == IDR;
        self.sps |= kind == SPS;
    }
}

fn aggregate(mut body: &[u8], unit: &mut BytesMut, seen: &mut Seen) -> Result<(), Damaged> {
    if body.is_empty() {
        return Err(Damaged);
    }
    while !body.is_empty() {
        let (length, rest) = body.split_first_chunk::<2>().ok_or(Damaged)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (nal, rest) = rest.split_at_checked(length).ok_or(Damaged)?;
        if nal.is_empty() {
            return Err(Damaged);
        }
        append(nal, unit, seen);
        body = rest;
    }
    Ok(())
}

fn part(indicator: u8, body: &[u8], unit: &mut BytesMut, seen: &mut Seen) -> Result<(), Damaged> {
    let (&header, slice) = body.split_first().ok_or(Damaged)?;
    let starts = header & FU_START != 0;
    if starts == seen.fragment {
        return Err(Damaged);
    }
    if starts {
        unit.put_slice(&START_CODE);
        unit.put_u8(indicator & !TYPE | header & TYPE);
        seen.note(header & TYPE);
    }
    unit.put_slice(slice);
    seen.fragment = header & FU_END == 0;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(payloads: &[&[u8]], expected: &[u8], key: bool) {
        let (mut unit, mut seen) = (BytesMut::new(), Seen::default());
        for payload in payloads {
            assert_eq!(unpack(payload, &mut unit, &mut seen), Ok(()), "{payload:02x?}");
        }
        assert_eq!((&unit[..], seen.fragment, seen.idr), (expected, false, key));
    }

    #[test]
    fn single_units_aggregates_and_fragments_become_one_byte_stream() {
        check(&[&[0x41, 1, 2]], &[0, 0, 0, 1, 0x41, 1, 2], false);
        check(
            &[&[0x78, 0, 2, 0x67, 9, 0, 1, 0x68]],
            &[0, 0, 0, 1, 0x67, 9, 0, 0, 0, 1, 0x68],
            false,
        );
        check(
            &[&[0x7C, 0x85, 1], &[0x7C, 0x05, 2], &[0x7C, 0x45, 3]],
            &[0, 0, 0, 1, 0x65, 1, 2, 3],
            true,
        );
    }

    #[test]
    fn what_makes_no_sense_is_damage() {
        for payload in [
            &[][..],
            &[0x00, 1],
            &[0x7F, 1],
            &[0x78],
            &[0x78, 0],
            &[0x78, 0, 0],
            &[0x78, 0, 9, 1],
            &[0x78, 0, 1, 0x67, 0],
            &[0x7C],
            &[0x7C, 0x05, 1],
        ] {
            let (mut unit, mut seen) = (BytesMut::new(), Seen::default());
            assert_eq!(unpack(payload, &mut unit, &mut seen), Err(Damaged), "{payload:02x?}");
        }
    }

    proptest! {
        #[test]
        fn no_payload_makes_it_panic(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
            let (mut unit, mut seen) = (BytesMut::new(), Seen::default());
            for payload in &payloads {
                unpack(payload, &mut unit, &mut seen).ok();
            }
        }
    }
}
