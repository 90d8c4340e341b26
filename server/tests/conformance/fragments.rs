//! 5: fragments. 9.3, 9.4, 10: many of them.

use crate::raw::{BINARY, CONTINUATION, PING, PONG, Raw, TEXT, check_closed, frame, last};

/// `message` in fragments of `bytes`, with `between` after each but the last.
fn fragments(opcode: u8, message: &[u8], bytes: usize, between: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    let count = message.len().div_ceil(bytes);
    for (number, part) in message.chunks(bytes).enumerate() {
        let kind = if number == 0 { opcode } else { CONTINUATION };
        let is_last = number + 1 == count;
        all.extend(frame(if is_last { last(kind) } else { kind }, part));
        if !is_last {
            all.extend(between);
        }
    }
    all
}

#[test]
fn control_frames_are_never_fragmented() {
    // 5.1, 5.2.
    for opcode in [PING, PONG] {
        let both = [frame(opcode, b"fragment1"), frame(last(CONTINUATION), b"fragment2")];
        check_closed(&both.concat(), 1002);
    }
}

#[test]
fn a_message_in_fragments_is_read_as_one() {
    // 5.3–5.5, 9.3, 9.4, 10.1.1.
    for opcode in [TEXT, BINARY] {
        let mut raw = Raw::open();
        for (bytes, length) in [(1, 200), (64, 4_096), (40, 200), (1_300, 65_536), (65_535, 65_536)]
        {
            for piece in [usize::MAX, 1_024] {
                let message = format!("{bytes}/{length}/{piece}");
                let chat = raw.chat_of(message.as_bytes(), length);
                raw.send_chopped(&fragments(opcode, &chat, bytes, b""), piece);
                raw.echoed(message.as_bytes());
            }
        }
        let chat = raw.chat(b"octet by octet");
        raw.send_chopped(&fragments(opcode, &chat, 30, b""), 1);
        raw.echoed(b"octet by octet");
    }
}

#[test]
fn a_ping_between_fragments_is_answered_at_once() {
    // 5.6–5.8, 5.19, 5.20.
    for piece in [usize::MAX, 1] {
        let mut raw = Raw::open();
        let chat = raw.chat(b"interrupted");
        let half = chat.len() / 2;
        raw.send_chopped(&[frame(TEXT, &chat[..half]), frame(last(PING), b"now")].concat(), piece);
        // The rest of the message comes only when the pong is here.
        raw.ponged(b"now");
        raw.send_chopped(&frame(last(CONTINUATION), &chat[half..]), piece);
        raw.echoed(b"interrupted");
    }
    let mut raw = Raw::open();
    let chat = raw.chat(b"often interrupted");
    let between = [frame(last(PING), b"1"), frame(last(PONG), b"x"), frame(last(PING), b"2")];
    raw.send(&fragments(BINARY, &chat, chat.len().div_ceil(5), &between.concat()));
    for _ in 0..4 {
        raw.ponged(b"1");
        raw.ponged(b"2");
    }
    raw.echoed(b"often interrupted");
}

#[test]
fn empty_fragments_are_fragments() {
    // 6.1.2, 6.1.3.
    let mut raw = Raw::open();
    let chat = raw.chat(b"between nothing");
    let parts = [
        frame(TEXT, b""),
        frame(CONTINUATION, &chat),
        frame(CONTINUATION, b""),
        frame(last(CONTINUATION), b""),
    ];
    raw.send(&parts.concat());
    raw.echoed(b"between nothing");
    check_closed(&[frame(TEXT, b""), frame(last(CONTINUATION), b"")].concat(), 1007);
}

#[test]
fn a_continuation_of_nothing_is_refused() {
    // 5.9–5.17.
    for head in [CONTINUATION, last(CONTINUATION)] {
        for piece in [usize::MAX, 1] {
            let mut raw = Raw::open();
            let chat = raw.chat(b"behind it");
            let bytes = [frame(head, b"nothing to continue"), frame(last(TEXT), &chat)].concat();
            raw.send_chopped(&bytes, piece);
            assert_eq!(raw.closed(1002), []);
        }
        // Behind a whole message.
        let mut raw = Raw::open();
        let chat = raw.chat(b"whole");
        let whole = fragments(TEXT, &chat, 40, b"");
        raw.send(&[whole, frame(head, b"nothing to continue")].concat());
        assert!(raw.closed(1002).len() <= 1);
    }
}

#[test]
fn a_new_message_inside_another_is_refused() {
    // 5.18.
    for opcode in [TEXT, BINARY] {
        let both = [frame(TEXT, b"fragment1"), frame(last(opcode), b"fragment2")];
        check_closed(&both.concat(), 1002);
    }
}
