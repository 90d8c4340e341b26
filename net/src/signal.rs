//! The way to the server: sign-in, the WebSocket, and finding back when it is lost.

pub(crate) mod http;
pub(crate) mod pace;
pub(crate) mod socket;

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wire::{ClientMessage, RoomId, ServerMessage, SignInResponse, UserId};

use crate::session::JoinError;
use http::{Server, Socket};
use socket::{Ended, Patience, pump};

/// Messages that wait for the socket. When it is full, signals are lost (they are made again), and
/// chat is reported as not sent.
const OUTGOING: usize = 256;
/// The server's messages that wait for the session. When it is full, the socket is not read.
const INCOMING: usize = 64;
/// The first pause before a new attempt; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(300);
/// The longest it grows.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What the session hears.
#[derive(Debug)]
pub(crate) enum FromServer {
    /// The server says something about our room, or about nothing in particular.
    Message(ServerMessage),
    /// The server says something that makes no sense.
    Rubbish,
    /// The connection was lost; the next attempt starts after the pause.
    Lost { attempt: u32, retry_in: Duration },
    /// The connection is back, under this id.
    Back { user: UserId, name: String },
    /// Looking for the server meets an obstacle that will not go away by itself.
    Obstacle { code: &'static str, why: String },
}

/// The running connection; dropping it breaks it off.
#[derive(Debug)]
pub(crate) struct Signal {
    outgoing: mpsc::Sender<ClientMessage>,
    pub(crate) incoming: mpsc::Receiver<FromServer>,
    closing: CancellationToken,
    task: Option<JoinHandle<()>>,
}

/// There is no room for another message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

impl Signal {
    /// Takes over a socket that has joined already.
    pub(crate) fn start(
        server: Server,
        socket: Socket,
        account: SignInResponse,
        asked_name: String,
        room: RoomId,
    ) -> Self {
        let (outgoing, to_send) = mpsc::channel(OUTGOING);
        let (received, incoming) = mpsc::channel(INCOMING);
        let closing = CancellationToken::new();
        let keeper = Keeper {
            server,
            account,
            asked_name,
            room,
            to_send,
            received,
            closing: closing.clone(),
        };
        let task = Some(tokio::spawn(keeper.run(socket)));
        Self { outgoing, incoming, closing, task }
    }

    /// Never waits.
    pub(crate) fn send(&self, message: ClientMessage) -> Result<(), Full> {
        self.outgoing.try_send(message).map_err(|_| Full)
    }

    /// Says goodbye, and waits for it at most so long.
    pub(crate) async fn leave(mut self, patience: Duration) {
        self.outgoing.try_send(ClientMessage::Leave).ok();
        self.incoming.close();
        if let Some(task) = self.task.take() {
            tokio::time::timeout(patience, task).await.ok();
        }
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

/// Keeps the connection.
struct Keeper {
    server: Server,
    account: SignInResponse,
    asked_name: String,
    room: RoomId,
    to_send: mpsc::Receiver<ClientMessage>,
    received: mpsc::Sender<FromServer>,
    closing: CancellationToken,
}

impl Keeper {
    async fn run(mut self, mut socket: Socket) {
        let closing = self.closing.clone();
        loop {
            let ended = tokio::select! {
                biased;
                () = closing.cancelled() => return,
                ended = pump(
                    socket,
                    &self.room,
                    &mut self.to_send,
                    &self.received,
                    Patience::default(),
                ) => ended,
            };
            if ended == Ended::Left {
                return;
            }
            tracing::info!(?ended, "the connection to the server was lost");
            socket = tokio::select! {
                biased;
                () = closing.cancelled() => return,
                socket = self.find_back() => match socket {
                    Some(socket) => socket,
                    None => return,
                },
            };
        }
    }

    /// `None` when nobody listens any more.
    async fn find_back(&mut self) -> Option<Socket> {
        let mut told = "";
        for attempt in 0.. {
            let retry_in = pause(attempt, fraction());
            self.received.send(FromServer::Lost { attempt, retry_in }).await.ok()?;
            tokio::time::sleep(retry_in).await;
            match self.connect().await {
                Ok((socket, said)) => {
                    let (user, name) =
                        (self.account.user_id.clone(), self.account.username.clone());
                    self.received.send(FromServer::Back { user, name }).await.ok()?;
                    for message in said {
                        self.received.send(FromServer::Message(message)).await.ok()?;
                    }
                    return Some(socket);
                }
                Err(error) => {
                    tracing::debug!(%error, attempt, "the server is not back yet");
                    let code = obstacle(&error);
                    if !code.is_empty() && told != code {
                        told = code;
                        let why = error.to_string();
                        self.received.send(FromServer::Obstacle { code, why }).await.ok()?;
                    }
                }
            }
        }
        None
    }

    /// Under the old id while the server knows it, so that the peers' connections live on.
    async fn connect(&mut self) -> Result<(Socket, Vec<ServerMessage>), JoinError> {
        match self.server.connect(&self.account.access_token).await {
            Ok(socket) => return self.server.join(socket, &self.room).await,
            Err(JoinError::Refused { status: 401, .. }) => {}
            Err(error) => return Err(error),
        }
        self.account = self.server.sign_in(&self.asked_name).await?;
        let socket = self.server.connect(&self.account.access_token).await?;
        self.server.join(socket, &self.room).await
    }
}

/// Errors that waiting does not heal.
fn obstacle(error: &JoinError) -> &'static str {
    match error {
        JoinError::UnknownCertificate { .. } | JoinError::OtherCertificate { .. } => "certificate",
        JoinError::Refused { .. } => "server-refused",
        JoinError::NotAServer { .. } => "not-a-server",
        _ => "",
    }
}

/// Grows with each attempt; between half of it and all of it is random, so that a room full of
/// clients does not come back at once.
fn pause(attempt: u32, fraction: f64) -> Duration {
    let longest = FIRST_PAUSE * 2_u32.saturating_pow(attempt.min(10));
    longest.min(LONGEST_PAUSE).mul_f64(0.5 + fraction / 2.0)
}

/// Between 0 and 1.
fn fraction() -> f64 {
    f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_never_vanish() {
        assert_eq!(pause(0, 1.0), FIRST_PAUSE);
        assert_eq!(pause(1, 1.0), FIRST_PAUSE * 2);
        assert_eq!(pause(1, 0.0), FIRST_PAUSE);
        for attempt in 6..100 {
            assert_eq!(pause(attempt, 1.0), LONGEST_PAUSE);
        }
        assert!((0.0..=1.0).contains(&fraction()));
    }
}
