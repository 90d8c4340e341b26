//! Invite links, which come from anybody. Their rooms of `net` are compiled right here: the whole
//! crate would bring WebRTC along.
#![no_main]
#![allow(dead_code)]

use libfuzzer_sys::fuzz_target;

#[path = "../../net/src/address.rs"]
mod address;
#[path = "../../net/src/invite.rs"]
mod invite;
#[path = "../../net/src/passphrase.rs"]
mod passphrase;

fuzz_target!(|text: &str| {
    if let Ok(invite) = text.parse::<invite::Invite>() {
        let again: invite::Invite = invite.to_link(true).parse().expect("our own links are links");
        assert_eq!(again, invite);
        let link = invite.to_link(false);
        let (_, room) = link.split_once("/#/room/").expect("the form of a link");
        assert!(!room.contains("&k="));
    }
});
