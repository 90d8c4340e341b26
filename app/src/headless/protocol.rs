//! The lines of the headless peer: [`Event`] out, [`Command`] in, one JSON object a line.
//!
//! `docs/headless.md` says the same in prose. Fields may be added, none is renamed or removed:
//! the samples in `testdata/` parse for ever.

use std::path::PathBuf;

use net::{MessageId, PeerState, Protection, RawRoomId, TrackId, TransferId};
use net::{UnreadableReason, UserId};
use serde::{Deserialize, Serialize};

/// A command line above this is refused and skipped; the longest chat text fits several times.
pub const COMMAND_BYTES: usize = 64 * 1024;

/// What the headless peer prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// We are in the room; printed again after a reconnect under a new id.
    Joined {
        /// Our id.
        user: UserId,
        /// The room, without the deployment's prefix.
        room: RawRoomId,
        /// Our name as the server keeps it.
        name: String,
    },
    /// Who is in the room, ourselves included.
    Roster {
        /// Everybody, without duplicates.
        users: Vec<User>,
    },
    /// A peer's connection changed.
    Peer {
        /// Whose.
        id: UserId,
        /// To what.
        state: PeerState,
    },
    /// The connection to the server changed; the call goes on without it.
    Server {
        /// How it stands.
        state: ServerState,
        /// Attempts that failed, while reconnecting.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempt: Option<u32>,
        /// Milliseconds until the next attempt, while reconnecting.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_in_ms: Option<u64>,
    },
    /// Somebody else said something.
    Chat {
        /// Who.
        from: UserId,
        /// The sender's name at this moment; empty if unknown.
        name: String,
        /// What.
        text: String,
        /// How well it was protected.
        protection: Protection,
        /// The sender's id of it, where the sender gave one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<MessageId>,
    },
    /// Somebody else said something that can't be read.
    Unreadable {
        /// Who.
        from: UserId,
        /// Why not.
        why: UnreadableReason,
    },
    /// Messages of somebody else did not reach us.
    Missed {
        /// Who said them.
        from: UserId,
        /// How many.
        count: u64,
    },
    /// Our message is in the room.
    Sent {
        /// Which.
        id: MessageId,
    },
    /// Our message is not in the room.
    NotSent {
        /// Which.
        id: MessageId,
        /// A sentence.
        why: String,
    },
    /// Somebody else types, or stopped.
    Typing {
        /// Who.
        from: UserId,
        /// Whether they type now.
        typing: bool,
    },
    /// A peer's picture begins.
    TrackAdded {
        /// Whose.
        from: UserId,
        /// Which of its tracks.
        track: TrackId,
    },
    /// A peer's picture ended.
    TrackRemoved {
        /// Whose.
        from: UserId,
        /// Which of its tracks.
        track: TrackId,
    },
    /// The first picture of a track was decoded.
    FirstFrame {
        /// Whose.
        from: UserId,
        /// Which of its tracks.
        track: TrackId,
        /// Milliseconds since `joined`.
        since_joined_ms: u64,
        /// Milliseconds since we began to sign in.
        since_start_ms: u64,
    },
    /// A received picture, once a second.
    Video {
        /// Whose.
        from: UserId,
        /// Which of its tracks.
        track: TrackId,
        /// Pixels of the newest decoded picture; 0 before the first.
        width: u32,
        /// Pixels of the newest decoded picture; 0 before the first.
        height: u32,
        /// Pictures decoded since the track began.
        frames: u64,
        /// Pictures decoded a second, over the time since the last such line.
        fps: f64,
        /// The frame counter read from the newest decoded picture, if it is a synthetic one.
        counter: Option<u32>,
    },
    /// A received sound, once a second.
    Audio {
        /// Whose.
        from: UserId,
        /// Which of its tracks.
        track: TrackId,
        /// The loudness of the decoded sound; silence is -120.
        level_dbfs: f64,
        /// The pitch of the decoded sound, if it has one.
        pitch_hz: Option<f64>,
    },
    /// A peer says what its devices do.
    Devices {
        /// Whose.
        from: UserId,
        /// Whether its microphone is on, where it says so.
        microphone: Option<bool>,
        /// Whether its camera is on, where it says so.
        camera: Option<bool>,
        /// Whether it shares a screen, where it says so.
        screen: Option<bool>,
    },
    /// A peer begins to send an image.
    ImageIncoming {
        /// Who.
        from: UserId,
        /// Named by the sender.
        id: TransferId,
        /// The file's name, without a path.
        name: String,
        /// As announced.
        bytes: u64,
    },
    /// An image moves on, ours or a peer's.
    ImageProgress {
        /// Which.
        id: TransferId,
        /// The other side, if it is one.
        peer: Option<UserId>,
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A peer's image is complete and saved.
    Image {
        /// Who.
        from: UserId,
        /// The file's name as the sender gave it.
        name: String,
        /// Its size.
        bytes: u64,
        /// Of the bytes, lower-case hex.
        sha256: String,
        /// Where it was saved.
        path: PathBuf,
        /// What it really is.
        mime: String,
        /// Named by the sender.
        id: TransferId,
    },
    /// Our image was handed over to a peer completely.
    ImageSent {
        /// Which.
        id: TransferId,
        /// To whom.
        to: UserId,
    },
    /// An image did not arrive, ours or a peer's.
    ImageFailed {
        /// Which.
        id: TransferId,
        /// The other side, if it concerns one.
        peer: Option<UserId>,
        /// A sentence.
        why: String,
    },
    /// One of our sources went on or off.
    Source {
        /// `camera`, `microphone`, `screen` or `screen-audio`.
        source: net::Source,
        /// On or off.
        on: bool,
    },
    /// The picture asked for was written.
    Snapshot {
        /// Whose.
        from: UserId,
        /// Which of its tracks.
        track: TrackId,
        /// The PNG file.
        path: PathBuf,
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// Counters, as asked for.
    Stats {
        /// See `docs/headless.md`.
        #[serde(flatten)]
        counters: serde_json::Map<String, serde_json::Value>,
    },
    /// Something is missing, but the call goes on: a camera, a microphone, a passphrase.
    Problem {
        /// A sentence.
        message: String,
    },
    /// Something was refused or failed.
    Error {
        /// Stable, for programs.
        code: String,
        /// A sentence.
        message: String,
    },
    /// The call is over; the last line.
    Left,
}

impl Event {
    /// An [`Event::Error`].
    #[must_use]
    pub fn error(code: &str, message: impl Into<String>) -> Self {
        Self::Error { code: code.to_owned(), message: message.into() }
    }
}

/// One line of a roster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// Their name.
    pub name: String,
}

/// How the connection to the server stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerState {
    /// In the room.
    Connected,
    /// Lost; it is tried again by itself.
    Reconnecting,
}

/// What the headless peer reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// Say something; `sent` or `not-sent` follows.
    Chat {
        /// What.
        text: String,
        /// Names it in the answer; one is made up when it is missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<MessageId>,
    },
    /// The typing indicator.
    Typing {
        /// On or off.
        typing: bool,
    },
    /// Send an image file to everybody connected.
    Image {
        /// The file.
        path: PathBuf,
    },
    /// Stop sending, or refuse, an image.
    CancelImage {
        /// Which.
        id: TransferId,
    },
    /// The camera.
    Camera {
        /// On or off.
        on: bool,
    },
    /// The microphone.
    Microphone {
        /// On or off.
        on: bool,
    },
    /// Sharing the screen.
    Screen {
        /// On or off.
        on: bool,
    },
    /// Write the newest decoded picture of a track as PNG.
    Snapshot {
        /// Whose; our own id for the self-view.
        from: UserId,
        /// Which of its tracks, as in `video`.
        track: TrackId,
        /// The file to write; it is replaced if it exists.
        path: PathBuf,
    },
    /// Ask for counters.
    Stats,
    /// Leave the call and end.
    Leave,
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: &str = include_str!("../../testdata/headless-events-0.1.jsonl");
    const COMMANDS: &str = include_str!("../../testdata/headless-commands-0.1.jsonl");

    #[test]
    fn old_events_parse_for_ever_and_are_written_the_same_way() {
        let mut kinds = std::collections::BTreeSet::new();
        for line in EVENTS.lines() {
            let event: Event = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
            let written = serde_json::to_string(&event).unwrap();
            assert!(written.starts_with("{\"event\":\""), "{written}");
            assert_eq!(written, line);
            kinds.insert(written.split('"').nth(3).unwrap().to_owned());
        }
        assert_eq!(kinds.len(), 25, "every kind of event has a sample");
    }

    #[test]
    fn old_commands_parse_for_ever() {
        for line in COMMANDS.lines() {
            let command: Command =
                serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
            let written = serde_json::to_string(&command).unwrap();
            assert!(written.starts_with("{\"command\":\""), "{written}");
            assert_eq!(serde_json::from_str::<Command>(&written).unwrap(), command);
        }
    }

    #[test]
    fn malformed_commands_are_refused() {
        for line in [
            "",
            "7",
            "[]",
            "{}",
            "{\"command\":\"dance\"}",
            "{\"command\":\"chat\"}",
            "{\"command\":\"chat\",\"text\":7}",
            "{\"command\":\"camera\",\"on\":\"yes\"}",
            "{\"command\":\"camera\"}",
            "{\"command\":\"chat\",\"text\":\"a\"} {\"command\":\"leave\"}",
            "{\"text\":\"a\"}",
        ] {
            assert!(serde_json::from_str::<Command>(line).is_err(), "{line}");
        }
    }
}
