//! 2: pings and pongs.

use crate::raw::{PING, PONG, Raw, TEXT, check_closed, frame, last};

#[test]
fn a_ping_is_answered_with_its_payload() {
    // 2.1–2.4, 2.6.
    let mut raw = Raw::open();
    for payload in [&b""[..], b"Hello, world!", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", &[0xfe; 125]] {
        for piece in [usize::MAX, 1] {
            raw.send_chopped(&frame(last(PING), payload), piece);
            raw.ponged(payload);
        }
    }
}

#[test]
fn a_control_frame_of_more_than_125_bytes_is_refused() {
    // 2.5.
    for opcode in [PING, PONG] {
        check_closed(&frame(last(opcode), &[0xfe; 126]), 1002);
        // Both rules are broken, and either may be named.
        let mut raw = Raw::open();
        raw.send(&frame(last(opcode), &[0xfe; 70_000]));
        raw.closed_with_one_of(&[1002, 1009]);
    }
}

#[test]
fn a_pong_that_nobody_asked_for_is_let_be() {
    // 2.7–2.9.
    let mut raw = Raw::open();
    raw.send(&frame(last(PONG), b""));
    raw.send(&frame(last(PONG), b"unsolicited pong payload"));
    raw.send(&frame(last(PING), b"ping payload"));
    raw.ponged(b"ping payload");
}

#[test]
fn ten_pings_bring_ten_pongs_in_order() {
    // 2.10, 2.11.
    for piece in [usize::MAX, 1] {
        let mut raw = Raw::open();
        let payloads: Vec<String> = (0..10).map(|number| format!("payload-{number}")).collect();
        let pings: Vec<u8> =
            payloads.iter().flat_map(|payload| frame(last(PING), payload.as_bytes())).collect();
        raw.send_chopped(&pings, piece);
        for payload in &payloads {
            raw.ponged(payload.as_bytes());
        }
    }
}

#[test]
fn pongs_and_messages_do_not_disturb_each_other() {
    let mut raw = Raw::open();
    let mut bytes = Vec::new();
    for number in 0..20 {
        bytes.extend(frame(last(TEXT), &raw.chat(format!("message {number}").as_bytes())));
        bytes.extend(frame(last(PING), &[number]));
    }
    raw.send(&bytes);
    let (mut messages, mut pongs) = (0, 0);
    while messages < 20 || pongs < 20 {
        let frame = raw.next();
        match frame.opcode {
            PONG => {
                assert_eq!(frame.payload, [pongs]);
                pongs += 1;
            }
            _ => {
                let text = String::from_utf8(frame.payload).unwrap();
                assert!(text.contains(&format!("message {messages}\"")), "{text}");
                messages += 1;
            }
        }
    }
}
