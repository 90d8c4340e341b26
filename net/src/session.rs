//! One meeting that we are in.

mod actor;
mod chat;
mod devices;
mod hearing;
mod images;
mod key_frames;

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wire::{InvalidId, RawRoomId, UserId, limits};

use crate::address::{Fingerprint, ServerUrl};
use crate::event::{Command, Event, ServerLink};
use crate::ice::Ice;
use crate::media::out::Router;
use crate::media::{MediaOut, Source};
use crate::passphrase::Passphrase;
use crate::peer::Streams;
use crate::seal::ChatSeal;
use crate::signal::Signal;
use crate::signal::enter::{Entered, Standing};
use crate::signal::http::Server;
use actor::{Actor, Ears, Parts};

/// Commands that wait for the session; more are [`Busy`]. The session takes them at once, so a
/// full queue means that the computer stands still.
const COMMANDS: usize = 64;
/// Events that wait for the caller. When it is full, the session stops reading the socket.
const EVENTS: usize = 256;
/// What the peers' connections tell and the session has not read yet. When it is full, they wait;
/// media flows on.
const FROM_PEERS: usize = 256;
/// Wishes for key frames that were not read yet. When it is full, further ones are lost; peers
/// repeat theirs.
const KEY_FRAMES: usize = 16;
/// How long leaving may take.
const LEAVING: Duration = Duration::from_secs(3);

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
        /// HTTP status or close code; 0 where it was said on the socket.
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
/// seconds, in the background; [`Event::Left`] follows. [`Session::leave`] does the same and waits.
#[derive(Debug)]
pub struct Session {
    user: UserId,
    name: String,
    room: RawRoomId,
    commands: mpsc::Sender<Command>,
    media: MediaOut,
    closing: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Session {
    /// The id we joined with; [`Event::Joined`] tells a later one.
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

    /// Leaves and waits until the server was told and the peers are closed, three seconds at most.
    pub async fn leave(mut self) {
        self.closing.cancel();
        if let Some(task) = self.task.take() {
            tokio::time::timeout(LEAVING, task).await.ok();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

/// Signs in, joins the room and starts the session on the runtime that calls this. The first
/// event is [`Event::Joined`].
///
/// # Errors
/// [`JoinError`]; nothing is left running then.
pub async fn join(config: JoinConfig) -> Result<(Session, mpsc::Receiver<Event>), JoinError> {
    let JoinConfig { server, fingerprint, room: raw_room, name, passphrase, publish } = config;
    let name = name.trim().to_owned();
    if name.chars().count() > limits::USERNAME_CHARS {
        return Err(JoinError::NameTooLong);
    }
    let server = Server::new(server, fingerprint)?;
    let (deployment, account) =
        futures_util::try_join!(server.client_config(), server.sign_in(&name))?;
    let room = raw_room.on_the_wire(&deployment.room_prefix)?;

    // The key takes a while and nobody needs it yet: it is derived while we connect.
    let key = {
        let (raw_room, room, prefix) = (raw_room.clone(), room.clone(), deployment.wire_prefix);
        let derive = move || ChatSeal::derive(&raw_room, room, prefix, &passphrase);
        tokio::task::spawn_blocking(derive)
    };
    let mut standing = Standing::new(account, deployment.protocol);
    let entered = standing.enter(&server, &room).await.map_err(|setback| setback.error)?;
    let Entered { socket, said, v2, ice: told, .. } = entered;
    let ice = Ice::new();
    if let Some(told) = told {
        ice.learn(told);
    }
    let loopback = server.is_loopback();
    let account = &standing.account;
    let (user, shown_name) = (account.user_id.clone(), account.username.clone());
    let signal = Signal::start(server, socket, standing, name, room, ice.clone());

    let (commands, command_inbox) = mpsc::channel(COMMANDS);
    let (events, event_inbox) = mpsc::channel(EVENTS);
    let (to_session, from_peers) = mpsc::channel(FROM_PEERS);
    let (wishes, key_frames) = mpsc::channel(KEY_FRAMES);
    let closing = CancellationToken::new();
    let router = Arc::new(Router::new(wishes));
    router.publish(Source::Microphone, publish.microphone);
    router.publish(Source::Camera, publish.camera);
    let joined =
        Event::Joined { user: user.clone(), name: shown_name.clone(), room: raw_room.clone() };
    for event in [joined, Event::Server(ServerLink::Connected)] {
        events.try_send(event).expect("a new queue has room for two");
    }
    let actor = Actor::new(Parts {
        user: user.clone(),
        room: raw_room.clone(),
        signal,
        v2,
        ice,
        router: Arc::clone(&router),
        events,
        to_session,
        label: deployment.file_channel_label,
        loopback,
        streams: Streams { camera: stream_name(), screen: stream_name() },
        closing: closing.clone(),
    });
    let ears =
        Ears { commands: command_inbox, from_peers, key_frames, closing: closing.clone(), key };
    let task = Some(tokio::spawn(actor.run(ears, said)));
    let media = MediaOut::new(router);
    let session =
        Session { user, name: shown_name, room: raw_room, commands, media, closing, task };
    Ok((session, event_inbox))
}

fn stream_name() -> String {
    Uuid::new_v4().to_string()
}
