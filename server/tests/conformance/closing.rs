//! 7: how connections end.

use crate::raw::{CLOSE, CONTINUATION, PING, Raw, TEXT, check_closed, close_payload, frame, last};

#[test]
fn a_close_frame_is_answered_and_the_connection_ends() {
    // 7.1.1, 7.3.1, 7.3.3–7.3.5.
    let mut raw = Raw::open();
    let chat = raw.chat(b"before");
    raw.send(&frame(last(TEXT), &chat));
    raw.echoed(b"before");
    raw.send(&frame(last(CLOSE), b""));
    raw.closed_without_code();
    for reason in [&b""[..], b"Hello World!", &[b'*'; 123]] {
        check_closed(&frame(last(CLOSE), &close_payload(1000, reason)), 1000);
    }
}

#[test]
fn nothing_behind_a_close_frame_counts() {
    // 7.1.2–7.1.6.
    for behind in [
        frame(last(CLOSE), &close_payload(1000, b"")),
        frame(last(PING), b""),
        frame(last(TEXT), b"{}"),
        frame(CONTINUATION, b"x"),
    ] {
        check_closed(&[frame(last(CLOSE), &close_payload(1000, b"")), behind].concat(), 1000);
    }
    let mut raw = Raw::open();
    let chat = raw.chat(b"too late");
    raw.send(&[frame(last(CLOSE), &close_payload(1000, b"")), frame(last(TEXT), &chat)].concat());
    assert_eq!(raw.closed(1000), []);
    // 7.1.5: in the middle of a message.
    check_closed(
        &[frame(TEXT, b"fragment"), frame(last(CLOSE), &close_payload(1000, b""))].concat(),
        1000,
    );
    // 7.1.6: behind a large message.
    let mut raw = Raw::open();
    let chat = raw.chat_of(b"large", 65_536);
    raw.send(&[frame(last(TEXT), &chat), frame(last(CLOSE), &close_payload(1000, b""))].concat());
    assert!(raw.closed(1000).len() <= 1);
}

#[test]
fn malformed_close_frames_are_refused() {
    // 7.3.2, 7.3.6, 7.5.1.
    check_closed(&frame(last(CLOSE), b"\x03"), 1002);
    check_closed(&frame(last(CLOSE), &close_payload(1000, &[b'*'; 124])), 1002);
    let mut raw = Raw::open();
    raw.send(&frame(last(CLOSE), &close_payload(1000, b"\xce\xba\xed\xa0\x80")));
    raw.closed_with_one_of(&[1002, 1007]);
}

#[test]
fn every_valid_close_code_comes_back() {
    // 7.7.1–7.7.13.
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        check_closed(&frame(last(CLOSE), &close_payload(code, b"")), code);
    }
}

#[test]
fn close_codes_that_nobody_may_send_are_refused() {
    // 7.9.1–7.9.9; 7.13 (5000 and 65535) leaves the server free, and it refuses them, too.
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        check_closed(&frame(last(CLOSE), &close_payload(code, b"")), 1002);
    }
}
