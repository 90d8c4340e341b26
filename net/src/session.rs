//! One meeting that we are in.

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::mpsc;
use wire::{InvalidId, RawRoomId, UserId};

use crate::address::{Fingerprint, ServerUrl};
use crate::event::{Command, Event};
use crate::media::MediaOut;
use crate::passphrase::Passphrase;

/// Commands that wait for the session; more are [`Busy`]. The session takes them at once, so a
/// full queue means that the computer stands still.
const COMMANDS: usize = 64;
/// Events that wait for the caller. When it is full, the session stops reading the socket.
const EVENTS: usize = 256;

/// What it takes to join.
#[derive(Debug, Clone)]
pub struct JoinConfig {
    /// Where.
    pub server: ServerUrl,
    /// The certificate to accept, and no other; `None` trusts what the system trusts.
    pub fingerprint: Option<Fingerprint>,
    /// Which room.
    pub room: RawRoomId,
    /// How we are called; blank becomes the server's name for guests.
    pub name: String,
    /// The secret that protects the chat; empty for none.
    pub passphrase: Passphrase,
    /// What we show from the start.
    pub publish: Publish,
}

/// What we show from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Publish {
    /// Send sound.
    pub microphone: bool,
    /// Send a picture.
    pub camera: bool,
}

/// Why we are not in the room.
#[derive(Debug, Error)]
pub enum JoinError {
    /// The name has more than [`wire::limits::USERNAME_CHARS`] code points.
    #[error("the name is too long (maximum is {} characters)", wire::limits::USERNAME_CHARS)]
    NameTooLong,
    /// The room's id does not fit the protocol together with the deployment's prefix.
    #[error("the room's name is not usable: {0}")]
    Room(#[from] InvalidId),
    /// The system does not trust the certificate. Show the fingerprint, ask once, and try again
    /// with [`JoinConfig::fingerprint`].
    #[error("the server's certificate is not known to this computer")]
    UnknownCertificate {
        /// Of the certificate that the server showed.
        fingerprint: Fingerprint,
    },
    /// The server shows another certificate than the one that was asked for.
    #[error("the server shows another certificate than the invitation says")]
    OtherCertificate {
        /// Of the certificate that the server showed.
        found: Fingerprint,
    },
    /// Nobody answers there.
    #[error("cannot reach {server}: {reason}")]
    Unreachable {
        /// Where.
        server: String,
        /// What the system says.
        reason: String,
    },
    /// Somebody answers, but it is not a Private Meet server.
    #[error("{server} is not a Private Meet server ({reason})")]
    NotAServer {
        /// Where.
        server: String,
        /// What was odd.
        reason: String,
    },
    /// The server says no, in its own words.
    #[error("the server refused: {text}")]
    Refused {
        /// HTTP status, or 0 where it was said on the socket.
        status: u16,
        /// Its words, cut to a sensible length.
        text: String,
    },
    /// It took too long.
    #[error("the server did not answer in time")]
    Timeout,
}

/// The session has no room for another command now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the meeting is busy; try again")]
pub struct Busy;

/// A meeting that we are in. Dropping it leaves: goodbye to the server, peers closed within two
/// seconds, in the background. [`Session::leave`] does the same and waits.
#[derive(Debug)]
pub struct Session {
    user: UserId,
    name: String,
    room: RawRoomId,
    commands: mpsc::Sender<Command>,
    media: MediaOut,
}

impl Session {
    /// Our id.
    #[must_use]
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// Our name as the server keeps it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The room.
    #[must_use]
    pub fn room(&self) -> &RawRoomId {
        &self.room
    }

    /// Asks for something; never waits.
    ///
    /// # Errors
    /// [`Busy`] when too much waits already, or when the session is over.
    pub fn try_command(&self, command: Command) -> Result<(), Busy> {
        self.commands.try_send(command).map_err(|_| Busy)
    }

    /// The way out for encoded frames.
    #[must_use]
    pub fn media(&self) -> MediaOut {
        self.media.clone()
    }

    /// Leaves and waits until the server was told and the peers are closed, two seconds at most.
    pub async fn leave(self) {
        self.commands.send(Command::Leave).await.ok();
        self.commands.closed().await;
    }
}

/// Signs in, joins the room and starts the session on the runtime that calls this.
///
/// # Errors
/// [`JoinError`]; nothing is left running then.
pub async fn join(config: JoinConfig) -> Result<(Session, mpsc::Receiver<Event>), JoinError> {
    let server = config.server.origin();
    let _ = (COMMANDS, EVENTS, Arc::new(()));
    Err(JoinError::Unreachable { server, reason: "not wired up yet".to_owned() })
}
