//! 6: UTF-8, in text and, because messages are JSON, in binary frames just as well.

use crate::raw::{BINARY, CONTINUATION, Raw, TEXT, frame, last};

/// 6.2, 6.5, 6.7, 6.9, 6.11, 6.13, 6.17, 6.22, 6.23: valid texts, the borders of every length of
/// encoding and the code points that are no characters among them. Control characters do not
/// stand in JSON as they are.
const VALID: [&[u8]; 19] = [
    "Hello-µ@ßöäüàá-UTF-8!!".as_bytes(),
    "κόσμε".as_bytes(),
    b" ~\x7f",
    b"\xc2\x80",
    b"\xdf\xbf",
    b"\xe0\xa0\x80",
    b"\xef\xbf\xbf",
    b"\xf0\x90\x80\x80",
    b"\xf4\x8f\xbf\xbf",
    b"\xed\x9f\xbf",
    b"\xee\x80\x80",
    b"\xef\xbf\xbd",
    b"\xef\xbf\xbe",
    b"\xf0\x9f\xbf\xbe",
    b"\xf0\x9f\xbf\xbf",
    b"\xf3\xbf\xbf\xbe",
    b"\xf4\x8f\xbf\xbe",
    b"\xef\xb7\x90\xef\xb7\xaf",
    b"\xe2\x80\x8b\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x9a\x80",
];

/// 6.3, 6.6, 6.8, 6.10, 6.12, 6.14–6.16, 6.18–6.21: stray and missing continuation bytes, bytes
/// that never occur, overlong forms, surrogates, beyond U+10FFFF.
const INVALID: [&[u8]; 42] = [
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80\x65\x64\x69\x74\x65\x64",
    b"\xce",
    b"\xce\xba\xe1",
    b"\xce\xba\xe1\xbd",
    b"\x80",
    b"\xbf",
    b"\x80\xbf",
    b"\x80\xbf\x80\xbf\x80\xbf",
    b"\xc0 \xc1 \xc2 ",
    b"\xe0 \xe1 \xe2 ",
    b"\xf0 \xf1 \xf2 ",
    b"\xf8 \xf9 \xfa ",
    b"\xfc \xfd ",
    b"\xc0",
    b"\xe0\x80",
    b"\xf0\x80\x80",
    b"\xf8\x80\x80\x80",
    b"\xfc\x80\x80\x80\x80",
    b"\xdf",
    b"\xef\xbf",
    b"\xf7\xbf\xbf",
    b"\xfb\xbf\xbf\xbf",
    b"\xfd\xbf\xbf\xbf\xbf",
    b"\xfe",
    b"\xff",
    b"\xfe\xfe\xff\xff",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xf8\x80\x80\x80\xaf",
    b"\xfc\x80\x80\x80\x80\xaf",
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xc0\x80",
    b"\xe0\x80\x80",
    b"\xf0\x80\x80\x80",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
    b"\xf4\x90\x80\x80",
    b"\xf7\xbf\xbf\xbf",
];

#[test]
fn valid_text_comes_back_byte_for_byte() {
    for opcode in [TEXT, BINARY] {
        let mut raw = Raw::open();
        for text in VALID {
            let chat = raw.chat(text);
            raw.send(&frame(last(opcode), &chat));
            raw.echoed(text);
            // 6.2.2–6.2.4: cut inside of characters.
            let at = chat.len() - b"\"}}".len() - 1;
            let (head, tail) = chat.split_at(at);
            raw.send(&[frame(opcode, head), frame(last(CONTINUATION), tail)].concat());
            raw.echoed(text);
        }
    }
}

#[test]
fn invalid_text_is_refused_whole_and_in_fragments() {
    for text in INVALID {
        for opcode in [TEXT, BINARY] {
            let mut raw = Raw::open();
            let chat = raw.chat(text);
            raw.send(&frame(last(opcode), &chat));
            assert_eq!(raw.closed(1007), [], "{text:x?}");
        }
        // 6.3.2: each octet in a fragment of its own.
        let mut raw = Raw::open();
        let chat = raw.chat(text);
        let mut bytes = frame(TEXT, b"");
        bytes.extend(chat.iter().flat_map(|byte| frame(CONTINUATION, &[*byte])));
        bytes.extend(frame(last(CONTINUATION), b""));
        raw.send(&bytes);
        assert_eq!(raw.closed(1007), [], "{text:x?}");
    }
}
