//! What a connection says to the server, a message a line, in a room with somebody else: nothing
//! of it may panic, and whoever reads gets the protocol.
#![no_main]

use std::sync::Arc;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use server::Metrics;
use server::auth::User;
use server::client::{Client, Desk};
use server::line::Line;
use server::relay::{Relay, Settings};
use wire::{Envelope, IceServers, MessageType, SessionLimits, UserId};

#[derive(Debug)]
struct OpenDoor;

impl Desk for OpenDoor {
    fn check(&self, token: &str) -> Option<User> {
        (token == "good").then(|| user("ann"))
    }

    fn ice_servers(&self, _: &UserId, _: Option<&str>) -> IceServers {
        IceServers::default()
    }

    fn limits(&self) -> SessionLimits {
        SessionLimits::default()
    }
}

fn user(name: &str) -> User {
    User { id: UserId::new(name).expect("an id"), name: name.to_uppercase() }
}

fn client(relay: &Arc<Relay>, name: Option<&str>, now: Instant) -> Client {
    let parts = (relay.clone(), Line::new(None, now));
    Client::new(name.map(user), parts, (Arc::new(OpenDoor), None), None, now)
}

/// Whatever waits for `client` is an envelope of a known type from a known sender.
fn check(client: &Client) {
    for frame in client.session().outbox.drain() {
        if frame.bytes().first() != Some(&0x81) {
            continue;
        }
        let envelope = Envelope::parse(frame.json().as_bytes()).expect("an envelope");
        assert!(MessageType::from_name(&envelope.kind).is_some());
        assert!(matches!(envelope.from.as_deref(), Some("ann" | "bob" | "system")));
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let mut now = Instant::now();
    let relay = Arc::new(Relay::new(&Settings::default(), Arc::new(Metrics::default()), now));
    let mut bob = client(&relay, Some("bob"), now);
    if first & 2 != 0 {
        let _ = bob.receive(br#"{"type":"session.hello","data":{"v":2}}"#, now);
    }
    let _ = bob.receive(br#"{"type":"chat.join","room":"r"}"#, now);
    let mut ann = client(&relay, (first & 1 == 0).then_some("ann"), now);
    for line in rest.split(|byte| *byte == b'\n') {
        now += Duration::from_millis(25);
        let goes_on = ann.receive(line, now).is_ok();
        check(&ann);
        check(&bob);
        if !goes_on {
            break;
        }
    }
    drop(ann);
    check(&bob);
});
