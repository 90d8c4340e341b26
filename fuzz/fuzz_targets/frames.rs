//! WebSocket frames of a client, as one stream and cut in two at any place: both must bring the
//! same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use server::codec::{Broken, Decoder, Event};

/// The limit of messages here; the server's own is larger than inputs usually get.
const LIMIT: usize = 1_024;

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Message(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
    Broken(Broken),
}

/// Reads what `bytes` hold; whether the connection goes on.
fn read(decoder: &mut Decoder, bytes: &[u8], seen: &mut Vec<Seen>) -> bool {
    let mut bytes = bytes.to_vec();
    let mut input = &mut bytes[..];
    loop {
        match decoder.next(&mut input) {
            Ok(Some(Event::Message(message))) => {
                assert!(message.len() <= LIMIT);
                seen.push(Seen::Message(message.to_vec()));
            }
            Ok(Some(Event::Ping(payload))) => {
                assert!(payload.len() <= 125);
                seen.push(Seen::Ping(payload.to_vec()));
            }
            Ok(Some(Event::Pong(payload))) => {
                assert!(payload.len() <= 125);
                seen.push(Seen::Pong(payload.to_vec()));
            }
            Ok(Some(Event::Close(code))) => {
                seen.push(Seen::Close(code));
                return false;
            }
            Ok(None) => {
                assert!(input.is_empty(), "what is not asked for was read");
                return true;
            }
            Err(broken) => {
                seen.push(Seen::Broken(broken));
                return false;
            }
        }
    }
}

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, bytes) = input;
    let (mut whole, mut halves) = (Vec::new(), Vec::new());
    let mut decoder = Decoder::new(LIMIT);
    read(&mut decoder, bytes, &mut whole);
    let (head, tail) = bytes.split_at(usize::from(cut) % (bytes.len() + 1));
    let mut decoder = Decoder::new(LIMIT);
    let _ = read(&mut decoder, head, &mut halves) && read(&mut decoder, tail, &mut halves);
    assert_eq!(whole, halves);
});
