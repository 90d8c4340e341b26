//! `GET /client-config`: what a client must know of a deployment, so that none is built for one.

use serde::{Deserialize, Serialize};

use crate::{limits, session};

/// The answer of `GET /client-config`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientConfig {
    /// In front of every room on the wire, colon included: `pm_room:`.
    pub room_prefix: String,
    /// In front of every encrypted message, colon included: `pm_e2ee:`.
    pub wire_prefix: String,
    /// The label of the data channel, colon included: `pm_file:`.
    pub file_channel_label: String,
    /// What the server accepts.
    pub limits: Limits,
    /// The server's version.
    pub version: String,
    /// The oldest client of ours that this server serves.
    pub min_client: String,
    /// The newest version of the protocol that the server speaks; one that does not say speaks
    /// [`session::FIRST_VERSION`]. From [`session::VERSION`] on, `session.hello` authenticates.
    #[serde(default = "first_version", skip_serializing_if = "is_first_version")]
    pub protocol: u32,
}

fn first_version() -> u32 {
    session::FIRST_VERSION
}

fn is_first_version(version: &u32) -> bool {
    *version == session::FIRST_VERSION
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            room_prefix: "pm_room:".to_owned(),
            wire_prefix: "pm_e2ee:".to_owned(),
            file_channel_label: "pm_file:".to_owned(),
            limits: Limits::default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            min_client: "0.1.0".to_owned(),
            protocol: session::FIRST_VERSION,
        }
    }
}

/// The limits that a server tells its clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// [`limits::FRAME_BYTES`]
    pub frame_bytes: usize,
    /// [`limits::ROOM_ID_CHARS`]
    pub room_id_chars: usize,
    /// [`limits::USERNAME_CHARS`]
    pub username_chars: usize,
    /// [`limits::MESSAGE_CHARS`]
    pub message_chars: usize,
    /// [`limits::PEERS`]
    pub peers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes: limits::FRAME_BYTES,
            room_id_chars: limits::ROOM_ID_CHARS,
            username_chars: limits::USERNAME_CHARS,
            message_chars: limits::MESSAGE_CHARS,
            peers: limits::PEERS,
        }
    }
}
