//! Identifiers with their limits.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits;

/// Why a text is not an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidId {
    /// Nothing is left after trimming.
    #[error("the id is empty")]
    Empty,
    /// More than the protocol allows.
    #[error("the id is longer than {0}")]
    TooLong(usize),
}

/// The id that the server gave to a member at sign-in; opaque, compared bytewise.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserId(String);

impl UserId {
    /// The `from` of the server's own messages.
    pub const SYSTEM: &'static str = "system";

    /// Accepts any non-empty text of at most [`limits::USER_ID_BYTES`].
    ///
    /// # Errors
    /// [`InvalidId`] when the text is empty or too long.
    pub fn new(id: impl Into<String>) -> Result<Self, InvalidId> {
        let id = id.into();
        if id.is_empty() {
            return Err(InvalidId::Empty);
        }
        if id.len() > limits::USER_ID_BYTES {
            return Err(InvalidId::TooLong(limits::USER_ID_BYTES));
        }
        Ok(Self(id))
    }

    /// The id as it crosses the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the server itself.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.0 == Self::SYSTEM
    }
}

/// A room as it crosses the wire: trimmed, opaque, case-sensitive, usually with the deployment's
/// prefix in front.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoomId(String);

impl RoomId {
    /// Trims Unicode white space and checks the length in code points.
    ///
    /// # Errors
    /// [`InvalidId`] when nothing is left, or more than [`limits::ROOM_ID_CHARS`].
    pub fn new(id: &str) -> Result<Self, InvalidId> {
        let id = id.trim();
        if id.is_empty() {
            return Err(InvalidId::Empty);
        }
        if id.chars().count() > limits::ROOM_ID_CHARS {
            return Err(InvalidId::TooLong(limits::ROOM_ID_CHARS));
        }
        Ok(Self(id.to_owned()))
    }

    /// The id as it crosses the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A room as people know it: what stands in an invite link, without the deployment's prefix.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RawRoomId(String);

impl RawRoomId {
    /// Trims Unicode white space and checks the length in code points.
    ///
    /// # Errors
    /// [`InvalidId`] when nothing is left, or more than [`limits::ROOM_ID_CHARS`].
    pub fn new(id: &str) -> Result<Self, InvalidId> {
        RoomId::new(id).map(|room| Self(room.0))
    }

    /// The id as people know it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The room as it crosses the wire of a deployment whose prefix is `prefix` (`pm_room:`).
    ///
    /// # Errors
    /// [`InvalidId::TooLong`] when prefix and id together exceed [`limits::ROOM_ID_CHARS`].
    pub fn on_the_wire(&self, prefix: &str) -> Result<RoomId, InvalidId> {
        RoomId::new(&format!("{prefix}{}", self.0))
    }
}

macro_rules! text_id {
    ($name:ident, $new:expr) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(id: String) -> Result<Self, InvalidId> {
                $new(id)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

text_id!(UserId, UserId::new);
text_id!(RoomId, |id: String| RoomId::new(&id));
text_id!(RawRoomId, |id: String| RawRoomId::new(&id));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_trimmed_and_keeps_its_case() {
        assert_eq!(RoomId::new("\u{2003} Demo \n").unwrap().as_str(), "Demo");
    }

    #[test]
    fn a_room_is_counted_in_code_points() {
        let longest = "🔐".repeat(limits::ROOM_ID_CHARS);
        assert!(RoomId::new(&longest).is_ok());
        assert_eq!(
            RoomId::new(&format!("{longest}x")),
            Err(InvalidId::TooLong(limits::ROOM_ID_CHARS))
        );
        assert_eq!(RoomId::new(" \t"), Err(InvalidId::Empty));
    }

    #[test]
    fn the_prefix_counts_towards_the_limit() {
        let raw = RawRoomId::new(&"a".repeat(limits::ROOM_ID_CHARS)).unwrap();
        assert!(raw.on_the_wire("").is_ok());
        assert!(raw.on_the_wire("pm_room:").is_err());
    }

    #[test]
    fn user_ids_compare_bytewise() {
        let (low, high) = (UserId::new("Z").unwrap(), UserId::new("a").unwrap());
        assert!(low < high);
    }
}
