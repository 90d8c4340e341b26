//! 1: messages of all lengths. 3: reserved bits. 4: opcodes. 9: limits, in short.

use crate::raw::{BINARY, CLOSE, CONTINUATION, PING, Raw, TEXT, check_closed, frame, last};

/// Lengths at which the encoding of a length changes, and the largest message.
const LENGTHS: [usize; 7] = [125, 126, 127, 128, 65_534, 65_535, 65_536];

#[test]
fn messages_of_all_lengths_are_read_as_text_and_as_binary() {
    // 1.1.2–1.1.8, 1.2.2–1.2.8, in one piece and chopped.
    for opcode in [TEXT, BINARY] {
        let mut raw = Raw::open();
        for length in LENGTHS {
            for piece in [usize::MAX, 997] {
                let message = format!("{opcode}/{length}/{piece}");
                let chat = raw.chat_of(message.as_bytes(), length);
                raw.send_chopped(&frame(last(opcode), &chat), piece);
                raw.echoed(message.as_bytes());
            }
        }
    }
}

#[test]
fn an_empty_message_is_no_message_of_the_protocol() {
    // 1.1.1, 1.2.1.
    check_closed(&frame(last(TEXT), b""), 1007);
    check_closed(&frame(last(BINARY), b""), 1007);
}

#[test]
fn a_message_that_comes_byte_by_byte_is_read() {
    // 9.5, 9.6 in short.
    let mut raw = Raw::open();
    let chat = raw.chat(b"drop by drop");
    raw.send_chopped(&frame(last(TEXT), &chat), 1);
    raw.echoed(b"drop by drop");
}

#[test]
fn a_message_above_the_limit_is_too_big_however_it_comes() {
    // 9.1, 9.2 end at this server's limit of 65,536 bytes.
    let big = vec![b' '; 65_537];
    check_closed(&frame(last(BINARY), &big), 1009);
    check_closed(&[frame(BINARY, &big[..65_536]), frame(last(CONTINUATION), b" ")].concat(), 1009);
    // The head alone is enough: nobody waits for a gigabyte.
    for length in [65_537, 1 << 30, (1 << 63) - 1] {
        let mut head = vec![last(BINARY), 0xff];
        head.extend(u64::to_be_bytes(length));
        head.extend([0; 4]);
        check_closed(&head, 1009);
    }
}

#[test]
fn a_length_of_more_than_63_bits_is_refused() {
    let mut head = vec![last(BINARY), 0xff];
    head.extend(u64::MAX.to_be_bytes());
    head.extend([0; 4]);
    let mut raw = Raw::open();
    raw.send(&head);
    // RFC 6455 §5.2: the most significant bit must be 0; too big it is in any case.
    raw.closed_with_one_of(&[1002, 1009]);
}

#[test]
fn frames_without_a_mask_are_refused() {
    // RFC 6455 §5.1; the suite can't send them.
    check_closed(&[last(TEXT), 2, b'{', b'}'], 1002);
    check_closed(&[last(PING), 0], 1002);
    check_closed(&[last(CLOSE), 0], 1002);
}

#[test]
fn reserved_bits_are_refused() {
    // 3.1–3.7.
    for bits in 1..8 {
        for opcode in [TEXT, BINARY, PING, CLOSE] {
            check_closed(&frame(last(opcode) | bits << 4, b""), 1002);
        }
        // Behind a good message, and chopped.
        let mut raw = Raw::open();
        let good = frame(last(TEXT), &raw.chat(b"good"));
        let bad = frame(last(TEXT) | bits << 4, &raw.chat(b"bad"));
        let after = frame(last(PING), b"after");
        raw.send_chopped(&[good, bad, after].concat(), 7);
        let before = raw.closed(1002);
        assert!(before.len() <= 1, "{before:?}");
    }
}

#[test]
fn unknown_opcodes_are_refused() {
    // 4.1.1–4.1.5, 4.2.1–4.2.5.
    for opcode in (3..8).chain(11..16) {
        check_closed(&frame(last(opcode), b""), 1002);
        check_closed(&frame(last(opcode), b"reserved"), 1002);
        let mut raw = Raw::open();
        let good = frame(last(TEXT), &raw.chat(b"good"));
        raw.send(&[good, frame(last(opcode), b"bad"), frame(last(PING), b"")].concat());
        let before = raw.closed(1002);
        assert!(before.len() <= 1, "{before:?}");
    }
}

#[test]
fn many_messages_in_a_row_come_back_in_order() {
    // 9.7, 9.8 in short: as many as the rate allows at once.
    let mut raw = Raw::open();
    let names: Vec<String> = (0..150).map(|number| format!("number {number}")).collect();
    for (number, name) in names.iter().enumerate() {
        let chat = raw.chat_of(name.as_bytes(), 128 + number * 8);
        raw.send(&frame(last([TEXT, BINARY][number % 2]), &chat));
    }
    for name in &names {
        raw.echoed(name.as_bytes());
    }
}
