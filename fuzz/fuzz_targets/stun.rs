//! STUN, TURN and channel data: whatever comes to an open UDP port.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use server::turn::message::{
    CHANNELS, Class, Frame, Key, Kind, Message, Writer, channel_data, frame,
};

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new(b"user", "realm", "password"));

const KINDS: [Kind; 8] = [
    Kind::USERNAME,
    Kind::ERROR_CODE,
    Kind::CHANNEL_NUMBER,
    Kind::LIFETIME,
    Kind::XOR_PEER_ADDRESS,
    Kind::DATA,
    Kind::XOR_MAPPED_ADDRESS,
    Kind::REQUESTED_TRANSPORT,
];

fuzz_target!(|packet: &[u8]| {
    if let Some((number, data)) = channel_data(packet) {
        assert!(CHANNELS.contains(&number) && data.len() + 4 <= packet.len());
    }
    let framed = packet.first_chunk().and_then(|head| frame(*head));
    let Some(message) = Message::parse(packet) else { return };
    // A stream cuts a message where it ends.
    assert_eq!(framed, Some((Frame::Message, packet.len())));
    assert!(!message.is_signed_with(&KEY), "nobody guesses a signature");
    let _ = (message.error(), message.not_understood());

    // Written anew and signed, it says the same.
    let mut writer = Writer::answer(Class::Request, &message);
    for kind in KINDS {
        let _ = (message.address(kind), message.addresses(kind), message.number(kind));
        for value in message.values(kind) {
            writer = writer.with(kind, value);
        }
    }
    // Near the limit of a message values are cut.
    if packet.len() > 60_000 {
        return;
    }
    let again = writer.finish_with_sum(Some(&KEY));
    let again = Message::parse(&again).expect("what we write is a message");
    assert!(again.is_signed_with(&KEY));
    assert_eq!((again.method, again.transaction), (message.method, message.transaction));
    for kind in KINDS {
        assert!(again.values(kind).eq(message.values(kind)));
        assert_eq!(again.addresses(kind), message.addresses(kind));
    }
});
