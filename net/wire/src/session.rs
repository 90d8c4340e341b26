//! Version 2: how a session begins and goes on after a broken connection.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::Limits;
use crate::ice::IceServer;
use crate::id::{RoomId, UserId};

/// The version that `session.hello` and `session.welcome` speak of.
pub const VERSION: u32 = 2;
/// What a server without `protocol` in its `/client-config` speaks.
pub const FIRST_VERSION: u32 = 1;

/// `session.hello`: the first message of a connection. Its `Debug` hides the secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`]; a server speaks the lower of both sides' versions.
    pub v: u32,
    /// The token of the sign-in, where the address of the connection did not carry it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// From the last welcome, to go on with that session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<String>,
    /// With `resume`: how many messages the client has had in this session since its first
    /// welcome, over all its connections; welcomes don't count, and of a message that the server
    /// repeats only the repetition that arrives. The server goes on with the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<u64>,
    /// Words for what else the client can do; unknown ones are ignored.
    #[serde(default)]
    pub caps: Vec<String>,
}

impl Hello {
    /// The hello of a new session without a token.
    #[must_use]
    pub fn new() -> Self {
        Self { v: VERSION, token: None, resume: None, received: None, caps: Vec::new() }
    }
}

impl Default for Hello {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello")
            .field("v", &self.v)
            .field("resumes", &self.resume.is_some())
            .finish_non_exhaustive()
    }
}

/// `session.welcome`: the server's answer. Its `Debug` hides the secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Welcome {
    /// The version that is spoken from here on.
    pub v: u32,
    /// Who the client is.
    #[serde(rename = "userID")]
    pub user_id: UserId,
    /// For later hellos; opaque, at most [`crate::limits::RESUME_TOKEN_BYTES`].
    pub resume: String,
    /// What this server accepts.
    #[serde(default)]
    pub limits: SessionLimits,
    /// As in the answer of `GET /ice-servers`.
    #[serde(default)]
    pub ice_servers: Vec<IceServer>,
    /// Seconds until the credentials among them end; 0 where they don't.
    #[serde(default)]
    pub ice_ttl: u64,
    /// Whether the old session goes on.
    pub resumed: bool,
    /// The rooms that a resumed session is still in.
    #[serde(default)]
    pub rooms: Vec<RoomId>,
}

impl fmt::Debug for Welcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Welcome")
            .field("v", &self.v)
            .field("user_id", &self.user_id)
            .field("resumed", &self.resumed)
            .field("rooms", &self.rooms.len())
            .finish_non_exhaustive()
    }
}

/// The limits in a welcome: those of `/client-config` and what concerns sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionLimits {
    /// As in `/client-config`.
    #[serde(flatten)]
    pub base: Limits,
    /// Seconds after the end of a connection during which its session can be resumed.
    pub resume_seconds: u64,
}

impl Default for SessionLimits {
    fn default() -> Self {
        let resume_seconds = crate::limits::RESUME_WITHIN.as_secs();
        Self { base: Limits::default(), resume_seconds }
    }
}

/// Why somebody is not in the room any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeftReason {
    /// They said goodbye, or their connection was closed in an orderly way.
    Left,
    /// Their connection was lost; they may come back, and a call with them may still be alive.
    Lost,
    /// They did not read fast enough; the same goes for them.
    Slow,
    /// One of the future.
    #[serde(other)]
    Other,
}
