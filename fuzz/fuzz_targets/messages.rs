//! The messages of the protocol as either side reads them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::{
    Envelope, Hello, IceServers, MediaState, RoomId, ServerMessage, SignInRequest, TransferMessage,
};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(envelope) = Envelope::parse(bytes) {
        // What is relayed is what came, and is JSON; its numbers may be larger than anybody's.
        let data = envelope.data_json();
        serde_json::from_str::<&serde_json::value::RawValue>(data).expect("a payload is JSON");
        if let Ok(room) = RoomId::new(&envelope.room) {
            assert_eq!(RoomId::new(room.as_str()).as_ref(), Ok(&room));
        }
        let _ = serde_json::from_str::<Hello>(data);
        let _ = serde_json::from_str::<IceServers>(data);
        if let Ok(mut state) = serde_json::from_str::<MediaState>(data) {
            state.update(state.clone());
        }
    }
    let _ = ServerMessage::parse(bytes);
    let _ = serde_json::from_slice::<SignInRequest>(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = TransferMessage::parse(text);
        let _ = wire::close::wait_in(text);
    }
});
