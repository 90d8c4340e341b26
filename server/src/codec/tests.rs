use proptest::prelude::*;

use super::*;

const LIMIT: usize = 65_536;

/// What a client sent, kept.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Message(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
}

/// Feeds pieces to one decoder, as reads would bring them.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Seen>, Option<Broken>) {
    let (mut decoder, mut seen) = (Decoder::new(LIMIT), Vec::new());
    for piece in pieces {
        let mut bytes = piece.to_vec();
        let mut input = &mut bytes[..];
        loop {
            match decoder.next(&mut input) {
                Ok(Some(event)) => seen.push(match event {
                    Event::Message(bytes) => Seen::Message(bytes.to_vec()),
                    Event::Ping(bytes) => Seen::Ping(bytes.to_vec()),
                    Event::Pong(bytes) => Seen::Pong(bytes.to_vec()),
                    Event::Close(code) => Seen::Close(code),
                }),
                Ok(None) => break,
                Err(broken) => return (seen, Some(broken)),
            }
        }
        assert!(input.is_empty(), "all of it is read");
    }
    (seen, None)
}

/// A client's frame with the first byte given whole.
fn raw(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | short as u8),
        long @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((long as u16).to_be_bytes());
        }
        huge => {
            frame.push(0x80 | 127);
            frame.extend((huge as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    let start = frame.len();
    frame.extend(payload);
    unmask(&mut frame[start..], mask, 0);
    frame
}

fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    raw(0x80 | opcode, payload, [7, 0, 255, 90])
}

fn fragment(opcode: u8, payload: &[u8]) -> Vec<u8> {
    raw(opcode, payload, [1, 2, 3, 4])
}

fn whole(bytes: &[u8]) -> (Vec<Seen>, Option<Broken>) {
    let at_once = decode([bytes]);
    let one_by_one = decode(bytes.chunks(1));
    assert_eq!(at_once.1, one_by_one.1);
    assert_eq!(at_once.0, one_by_one.0);
    at_once
}

#[test]
fn frames_of_all_lengths_come_out_as_they_went_in() {
    for length in [0, 1, 125, 126, 127, 65_535, 65_536] {
        let payload: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        assert_eq!(whole(&frame(2, &payload)), (vec![Seen::Message(payload)], None));
    }
}

#[test]
fn a_message_in_fragments_lets_control_frames_through() {
    let bytes = [
        fragment(1, b"He"),
        frame(9, b"are you there"),
        fragment(0, b""),
        frame(10, b""),
        frame(0, b"llo"),
        frame(1, b"next"),
    ]
    .concat();
    let expected = vec![
        Seen::Ping(b"are you there".to_vec()),
        Seen::Pong(vec![]),
        Seen::Message(b"Hello".to_vec()),
        Seen::Message(b"next".to_vec()),
    ];
    assert_eq!(whole(&bytes), (expected, None));
}

#[test]
fn what_the_rules_forbid_is_refused_at_once() {
    let protocol = |bytes: Vec<u8>| assert_eq!(whole(&bytes).1, Some(Broken::Protocol));
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        protocol(vec![0x80 | opcode]);
    }
    for reserved in [0x40, 0x20, 0x10, 0x70] {
        protocol(vec![0x81 | reserved]);
        protocol(vec![0x89 | reserved]);
    }
    // Not masked; a control frame in fragments or too long; fragments out of order.
    protocol(vec![0x81, 0x02]);
    protocol(vec![0x09]);
    protocol(vec![0x89, 0x80 | 126]);
    protocol(frame(0, b"x"));
    protocol(fragment(0, b"x"));
    protocol([fragment(1, b"x"), frame(1, b"y")].concat());
    protocol([fragment(2, b"x"), frame(2, b"y")].concat());
    // Lengths in a longer form than needed, and beyond all measure.
    protocol(vec![0x82, 0x80 | 126, 0, 125]);
    protocol(vec![0x82, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
    protocol(vec![0x82, 0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn a_message_that_is_too_big_is_refused_by_its_header() {
    let header = |first: u8, length: u64| {
        let mut bytes = vec![first, 0x80 | 127];
        bytes.extend(length.to_be_bytes());
        bytes
    };
    assert_eq!(whole(&header(0x82, LIMIT as u64 + 1)).1, Some(Broken::TooBig));
    assert_eq!(whole(&header(0x82, u64::MAX >> 1)).1, Some(Broken::TooBig));
    let fragments = [fragment(2, &vec![0; LIMIT]), frame(0, b"")].concat();
    assert_eq!(decode([&fragments[..]]).1, None);
    let fragments = [fragment(2, &vec![0; LIMIT]), frame(0, b"x")].concat();
    assert_eq!(decode([&fragments[..]]).1, Some(Broken::TooBig));
    // A ping between full fragments is none of it.
    let fragments = [fragment(2, &vec![0; LIMIT]), frame(9, b"x"), frame(0, b"")].concat();
    assert_eq!(decode([&fragments[..]]).0.len(), 2);
}

#[test]
fn close_frames_say_a_code_that_may_be_sent_or_none() {
    let close = |payload: &[u8]| whole(&frame(8, payload));
    assert_eq!(close(b""), (vec![Seen::Close(None)], None));
    assert_eq!(close(b"\x03").1, Some(Broken::Protocol));
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014] {
        assert_eq!(close(&u16::to_be_bytes(code)).0, [Seen::Close(Some(code))]);
    }
    for code in [3000, 3999, 4000, 4999] {
        assert_eq!(close(&u16::to_be_bytes(code)).0, [Seen::Close(Some(code))]);
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        assert_eq!(close(&u16::to_be_bytes(code)).1, Some(Broken::Protocol), "{code}");
    }
    assert_eq!(close(b"\x03\xe8bye").0, [Seen::Close(Some(1000))]);
    assert_eq!(close(b"\x03\xe8\xff").1, Some(Broken::NotUtf8));
}

#[test]
fn texts_that_are_not_utf8_are_refused_where_they_break() {
    let text = |pieces: &[&[u8]]| {
        let last = pieces.len() - 1;
        let frames = pieces.iter().enumerate().map(|(n, piece)| {
            let first = if n == 0 { 1 } else { 0 } | if n == last { 0x80 } else { 0 };
            raw(first, piece, [9, 8, 7, 6])
        });
        whole(&frames.collect::<Vec<_>>().concat()).1
    };
    assert_eq!(text(&["κόσμε".as_bytes()]), None);
    assert_eq!(text(&["🔐".as_bytes()[..1].as_ref(), &"🔐".as_bytes()[1..]]), None);
    let bytes = "Γ🔐é".as_bytes();
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(text(&single), None);
    for bad in [
        &b"\xff"[..],
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xce\xba\xe1\xbd",
        b"\x80",
    ] {
        assert_eq!(text(&[bad]), Some(Broken::NotUtf8), "{bad:?}");
    }
    // It breaks in the first fragment; the second one never comes.
    assert_eq!(whole(&fragment(1, b"ok\xf4\x90")).1, Some(Broken::NotUtf8));
    // The same bytes are fine when they are not said to be text.
    assert_eq!(whole(&frame(2, b"\xff")).1, None);
}

#[test]
fn between_frames_nothing_is_held() {
    let mut decoder = Decoder::new(LIMIT);
    let bytes = [fragment(1, b"ab"), frame(9, b"x"), frame(0, b"cd")].concat();
    for byte in &bytes[..bytes.len() - 1] {
        assert!(decoder.next(&mut &mut [*byte][..]).is_ok());
        assert!(!decoder.is_idle());
    }
    let mut last = [bytes[bytes.len() - 1]];
    let mut input = &mut last[..];
    assert_eq!(decoder.next(&mut input), Ok(Some(Event::Message(b"abcd"))));
    assert!(decoder.is_idle());
    assert_eq!(decoder.next(&mut &mut [][..]), Ok(None));
    assert_eq!((decoder.message.capacity(), decoder.control.capacity()), (0, 0));
}

#[test]
fn headers_of_the_server_are_the_shortest() {
    let check = |length: usize, expected: &[u8]| {
        let (header, bytes) = server_header(Opcode::Text, length);
        assert_eq!(&header[SERVER_HEADER_BYTES - bytes..], expected);
    };
    check(0, &[0x81, 0]);
    check(125, &[0x81, 125]);
    check(126, &[0x81, 126, 0, 126]);
    check(65_535, &[0x81, 126, 255, 255]);
    check(65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
}

proptest! {
    #[test]
    fn however_the_bytes_are_cut_the_messages_are_the_same(
        messages in prop::collection::vec(
            (prop::collection::vec(prop::collection::vec(0..128u8, 0..300), 1..4), any::<bool>()),
            1..6
        ),
        cuts in prop::collection::vec(1..400usize, 1..40),
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for (fragments, is_text) in &messages {
            let last = fragments.len() - 1;
            for (n, payload) in fragments.iter().enumerate() {
                let opcode = if n > 0 { 0 } else if *is_text { 1 } else { 2 };
                let first = opcode | if n == last { 0x80 } else { 0 };
                bytes.extend(raw(first, payload, [n as u8, 17, 34, 51]));
                if n < last {
                    bytes.extend(frame(9, &payload[..payload.len().min(125)]));
                    expected.push(Seen::Ping(payload[..payload.len().min(125)].to_vec()));
                }
            }
            expected.push(Seen::Message(fragments.concat()));
        }
        let (mut rest, mut pieces) = (&bytes[..], Vec::new());
        for cut in cuts.iter().cycle() {
            if rest.is_empty() { break; }
            let (piece, more) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = more;
        }
        prop_assert_eq!(decode(pieces), (expected, None));
    }

    #[test]
    fn junk_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (at_once, one_by_one) = (decode([&bytes[..]]), decode(bytes.chunks(1)));
        prop_assert_eq!(at_once, one_by_one);
    }
}
