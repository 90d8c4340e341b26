//! A session: who a client is, where it sits, what waits for it. In version 1 it ends with its
//! connection; in version 2 it may go on over another one.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;
use wire::RoomId;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::auth::User;
use crate::outbox::Outbox;
use crate::rooms::{NodeId, SeatId, Version};

/// Rooms that one session may be in at once; the next one is refused as busy. People are in one
/// or two.
pub const ROOMS_PER_SESSION: usize = 32;

/// A client's place on this server.
#[derive(Debug)]
pub struct Session {
    /// Its seat in every room that it is in.
    pub seat: SeatId,
    /// Whose it is.
    pub user: Arc<User>,
    /// What it understands.
    pub version: Version,
    /// What waits for it.
    pub outbox: Outbox,
    /// With it a client comes back; sessions of version 1 have none.
    pub(crate) token: Option<Box<Token>>,
    standing: Mutex<Standing>,
}

/// Where a session stands. Whoever changes it and the rooms holds its lock meanwhile; the order
/// of locks is: standing, room, outbox.
#[derive(Debug)]
pub(crate) struct Standing {
    /// The rooms it is in.
    pub(crate) rooms: Vec<Arc<str>>,
    /// Whether it has a connection.
    pub(crate) life: Life,
}

/// Whether a session has a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// It has one.
    Here,
    /// It has none.
    Away {
        /// Since then.
        since: Instant,
        /// Whether the others were told.
        hidden: bool,
    },
    /// It is over, and in no room.
    Ended,
}

impl Session {
    pub(crate) fn new(
        seat: SeatId,
        user: Arc<User>,
        version: Version,
        token: Option<Token>,
    ) -> Arc<Self> {
        Arc::new(Self {
            seat,
            user,
            version,
            outbox: Outbox::new(version == Version::V2),
            token: token.map(Box::new),
            standing: Mutex::new(Standing { rooms: Vec::new(), life: Life::Here }),
        })
    }

    pub(crate) fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it sits in the room.
    #[must_use]
    pub fn is_in(&self, room: &RoomId) -> bool {
        self.standing().rooms.iter().any(|name| **name == *room.as_str())
    }
}

/// Bytes of a token that find a session, and bytes that prove it.
const HALF: usize = 16;

/// The secret with which a client comes back to its session.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Token {
    node: u64,
    finds: [u8; HALF],
    proves: [u8; HALF],
}

impl Token {
    /// A new one.
    ///
    /// # Panics
    /// If the system has no randomness; nothing could be kept secret then.
    #[must_use]
    pub fn random(node: NodeId) -> Self {
        let (mut finds, mut proves) = ([0; HALF], [0; HALF]);
        getrandom::fill(&mut finds).expect("the system has randomness");
        getrandom::fill(&mut proves).expect("the system has randomness");
        Self { node: node.0, finds, proves }
    }

    /// The token as a client has it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (node, secret) = text.split_once('.')?;
        let is_plain = node.len() == 16 && node.bytes().all(|b| b.is_ascii_hexdigit());
        let node = u64::from_str_radix(node, 16).ok().filter(|_| is_plain)?;
        let secret = BASE64_URL_SAFE_NO_PAD.decode(secret).ok()?;
        let (finds, proves) = secret.split_at_checked(HALF)?;
        Some(Self { node, finds: finds.try_into().ok()?, proves: proves.try_into().ok()? })
    }

    /// What a client keeps.
    #[must_use]
    pub fn text(&self) -> String {
        let secret = [self.finds, self.proves].concat();
        format!("{:016x}.{}", self.node, BASE64_URL_SAFE_NO_PAD.encode(secret))
    }

    /// The server that gave it.
    #[must_use]
    pub fn node(&self) -> NodeId {
        NodeId(self.node)
    }

    /// Where the session is found.
    #[must_use]
    pub(crate) fn key(&self) -> [u8; HALF] {
        self.finds
    }

    /// Whether it is the very same, in a time that tells nothing.
    #[must_use]
    pub(crate) fn proves(&self, other: &Self) -> bool {
        self.finds.ct_eq(&other.finds).into() && self.proves.ct_eq(&other.proves).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_its_text_and_shows_nothing() {
        let token = Token::random(NodeId(0xabc));
        let text = token.text();
        assert!(text.len() <= wire::limits::RESUME_TOKEN_BYTES);
        let read = Token::parse(&text).unwrap();
        assert!(read.proves(&token) && read.node() == NodeId(0xabc));
        assert!(!Token::random(NodeId(0xabc)).proves(&token));
        assert_eq!(format!("{token:?}"), "Token(***)");
    }

    #[test]
    fn what_is_no_token_is_none() {
        let good = Token::random(NodeId(1)).text();
        for bad in ["", ".", "a.b", "+000000000000001.AAAA", &good[1..], &good[..58], "x"] {
            assert!(Token::parse(bad).is_none(), "{bad}");
        }
        assert!(Token::parse(&format!("{good}A")).is_none());
    }
}
