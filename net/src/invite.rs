//! Invite links.
//!
//! ```text
//! https://host:port/#/room/<room>&k=<passphrase>&fp=<certificate>
//! privatemeet://host:port/room/<room>#k=<passphrase>&fp=<certificate>
//! ```
//!
//! The secret stands behind `#`, so it never reaches the server. `k` and `fp` are optional.

use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use thiserror::Error;
use uuid::Uuid;
use wire::{InvalidId, RawRoomId};

use crate::address::{Fingerprint, InvalidAddress, InvalidFingerprint, ServerUrl};
use crate::passphrase::Passphrase;

/// What `encodeURIComponent` leaves alone.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// Bytes in a link; a room of 128 code points and a long passphrase fit many times over.
const LINK_BYTES: usize = 8 * 1024;

/// The scheme that opens the desktop app.
const APP_SCHEME: &str = "privatemeet://";

/// A link, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// Where.
    pub server: ServerUrl,
    /// Which room.
    pub room: RawRoomId,
    /// The secret, if the inviter chose to include it.
    pub passphrase: Option<Passphrase>,
    /// The server's certificate, if it made its own.
    pub fingerprint: Option<Fingerprint>,
}

/// Why a text is not an invite link.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidInvite {
    /// Not of either form.
    #[error("this is not an invite link; it looks like https://host/#/room/name")]
    Form,
    /// The server's part.
    #[error(transparent)]
    Server(#[from] InvalidAddress),
    /// The room's part.
    #[error("the link's room is not usable: {0}")]
    Room(#[from] InvalidId),
    /// The certificate's part.
    #[error(transparent)]
    Fingerprint(#[from] InvalidFingerprint),
    /// `%` without two hexadecimal digits behind it, or not UTF-8.
    #[error("the link is damaged")]
    Encoding,
}

impl Invite {
    /// The link for browsers and the app alike.
    #[must_use]
    pub fn to_link(&self, include_passphrase: bool) -> String {
        let room = utf8_percent_encode(self.room.as_str(), COMPONENT);
        let mut link = format!("{}/#/room/{room}", self.server.origin());
        if let Some(passphrase) = self.passphrase.as_ref().filter(|p| !p.is_empty())
            && include_passphrase
        {
            link.push_str("&k=");
            link.extend(utf8_percent_encode(passphrase.expose(), COMPONENT));
        }
        if let Some(fingerprint) = &self.fingerprint {
            link.push_str("&fp=");
            link.push_str(&fingerprint.to_string());
        }
        link
    }
}

impl FromStr for Invite {
    type Err = InvalidInvite;

    fn from_str(link: &str) -> Result<Self, InvalidInvite> {
        let link = link.trim();
        if link.len() > LINK_BYTES {
            return Err(InvalidInvite::Form);
        }
        let (server, room, options) = if let Some(rest) = link.strip_prefix(APP_SCHEME) {
            let (host, rest) = rest.split_once("/room/").ok_or(InvalidInvite::Form)?;
            let (room, options) = rest.split_once('#').unwrap_or((rest, ""));
            (host.parse()?, room, options)
        } else {
            let (server, rest) = link.split_once("/#/room/").ok_or(InvalidInvite::Form)?;
            let (room, options) = rest.split_once('&').unwrap_or((rest, ""));
            (server.parse()?, room, options)
        };
        let mut invite = Self {
            server,
            room: RawRoomId::new(&decode(room)?)?,
            passphrase: None,
            fingerprint: None,
        };
        // Options that this version does not know are left to newer ones.
        for option in options.split('&') {
            match option.split_once('=') {
                Some(("k", value)) if !value.is_empty() => {
                    invite.passphrase = Some(Passphrase::new(decode(value)?));
                }
                Some(("fp", value)) => invite.fingerprint = Some(decode(value)?.parse()?),
                _ => {}
            }
        }
        Ok(invite)
    }
}

fn decode(text: &str) -> Result<String, InvalidInvite> {
    let digits = |at: usize| {
        let pair = text.as_bytes().get(at + 1..at + 3);
        pair.is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit))
    };
    if !text.match_indices('%').all(|(at, _)| digits(at)) {
        return Err(InvalidInvite::Encoding);
    }
    let text = percent_decode_str(text).decode_utf8().map_err(|_| InvalidInvite::Encoding)?;
    Ok(text.into_owned())
}

/// A room that nobody guesses: a random UUID.
#[must_use]
pub fn new_room_id() -> RawRoomId {
    RawRoomId::new(&Uuid::new_v4().to_string()).expect("a UUID is a short text")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FINGERPRINT: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn both_forms_of_a_link_are_read() {
        for link in [
            format!("https://h:8443/#/room/R%C3%A4um%201&k=a%26b%20c&fp={FINGERPRINT}"),
            format!("privatemeet://h:8443/room/R%C3%A4um%201#k=a%26b%20c&fp={FINGERPRINT}"),
            format!(" https://h:8443/#/room/Räum 1&x=1&fp={FINGERPRINT}&k=a%26b c "),
        ] {
            let invite: Invite = link.parse().unwrap();
            assert_eq!(invite.server.origin(), "https://h:8443");
            assert_eq!(invite.room.as_str(), "Räum 1");
            assert_eq!(invite.passphrase.unwrap().expose(), "a&b c");
            assert_eq!(invite.fingerprint.unwrap().to_string(), FINGERPRINT);
        }
    }

    #[test]
    fn the_passphrase_stands_in_a_link_only_when_asked_for() {
        let link = "https://h/#/room/demo&k=secret&fp=".to_owned() + FINGERPRINT;
        let invite: Invite = link.parse().unwrap();
        assert_eq!(invite.to_link(true), link);
        assert_eq!(invite.to_link(false), format!("https://h/#/room/demo&fp={FINGERPRINT}"));
        assert!(!format!("{invite:?}").contains("secret"));
    }

    #[test]
    fn what_is_no_link_says_why() {
        for (link, error) in [
            ("", InvalidInvite::Form),
            ("https://h/", InvalidInvite::Form),
            ("https://h/#/room/", InvalidInvite::Room(InvalidId::Empty)),
            ("https://h/#/room/%zz", InvalidInvite::Encoding),
            ("https://h/#/room/%ff", InvalidInvite::Encoding),
            ("https://h/#/room/a&fp=12", InvalidInvite::Fingerprint(InvalidFingerprint)),
            ("https:///#/room/a", InvalidInvite::Server(InvalidAddress::Empty)),
        ] {
            let found = link.parse::<Invite>().expect_err(link);
            assert_eq!(
                std::mem::discriminant(&found),
                std::mem::discriminant(&error),
                "{link}: {found}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_room_and_passphrase_survive_a_link(room in "\\PC{1,40}", secret in "\\PC{0,40}") {
            let Ok(room) = RawRoomId::new(&room) else { return Ok(()) };
            let passphrase = (!secret.is_empty()).then(|| Passphrase::new(secret));
            let server = "https://h".parse().unwrap();
            let invite = Invite { server, room, passphrase, fingerprint: None };
            prop_assert_eq!(invite.to_link(true).parse::<Invite>().unwrap(), invite);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "(https|privatemeet)?(://)?[a-z%/#&=:.]{0,40}") {
            let _ = text.parse::<Invite>();
        }
    }
}
