//! The way to the server: sign-in, the WebSocket, and finding back when it is lost.

pub(crate) mod comeback;
pub(crate) mod enter;
pub(crate) mod http;
pub(crate) mod pace;
pub(crate) mod socket;

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use wire::{ClientMessage, RoomId, ServerMessage, UserId};

use crate::ice::Ice;
use comeback::{Comeback, Next, Setback, fraction};
use enter::{Entered, Standing};
use http::{Server, Socket};
use socket::{Ended, Patience, pump};

/// Messages that wait for the socket. When it is full, signals are lost (they are made again), and
/// chat is reported as not sent.
const OUTGOING: usize = 256;
/// The server's messages that wait for the session. When it is full, the socket is not read.
const INCOMING: usize = 64;

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
    Back {
        user: UserId,
        name: String,
        /// Version 2 is spoken.
        v2: bool,
        /// The session goes on: the server says what we missed, and knows what we said.
        resumed: bool,
    },
    /// Looking for the server meets an obstacle that will not go away by itself.
    Obstacle { code: &'static str, why: String },
    /// The server does not want this session any more, and there is no use in asking again.
    Over { code: &'static str, why: String },
}

/// The running connection; dropping it breaks it off.
#[derive(Debug)]
pub(crate) struct Signal {
    outgoing: mpsc::Sender<ClientMessage>,
    pub(crate) incoming: mpsc::Receiver<FromServer>,
    closing: CancellationToken,
    task: Option<JoinHandle<()>>,
    _renewal: AbortOnDropHandle<()>,
}

/// There is no room for another message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

impl Signal {
    /// Takes over a socket that has joined already.
    pub(crate) fn start(
        server: Server,
        socket: Socket,
        standing: Standing,
        asked_name: String,
        room: RoomId,
        ice: Ice,
    ) -> Self {
        let (outgoing, to_send) = mpsc::channel(OUTGOING);
        let (received, incoming) = mpsc::channel(INCOMING);
        let closing = CancellationToken::new();
        let token = watch::Sender::new(standing.account.access_token.clone());
        let renewal = {
            let (server, token, ice) = (server.clone(), token.subscribe(), ice.clone());
            tokio::spawn(async move {
                let ask = || {
                    let (server, token) = (server.clone(), token.borrow().clone());
                    async move { server.ice_servers(&token).await }
                };
                ice.renew(ask, fraction).await;
            })
        };
        let keeper = Keeper {
            server,
            standing,
            token,
            asked_name,
            room,
            ice,
            to_send,
            received,
            closing: closing.clone(),
            comeback: Comeback::default(),
        };
        let task = Some(tokio::spawn(keeper.run(socket)));
        Self { outgoing, incoming, closing, task, _renewal: AbortOnDropHandle::new(renewal) }
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
    standing: Standing,
    /// For whoever asks the server besides.
    token: watch::Sender<String>,
    asked_name: String,
    room: RoomId,
    ice: Ice,
    to_send: mpsc::Receiver<ClientMessage>,
    received: mpsc::Sender<FromServer>,
    closing: CancellationToken,
    comeback: Comeback,
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
                    &mut self.standing.received,
                    Patience::default(),
                ) => ended,
            };
            let setback = match ended {
                Ended::Left => return,
                Ended::Closed(code, reason) => Setback::closed(code, &reason),
                Ended::Silent | Ended::Broken => Setback::closed(0, ""),
            };
            tracing::info!(code = setback.code, "the connection to the server was lost");
            socket = tokio::select! {
                biased;
                () = closing.cancelled() => return,
                socket = self.find_back(setback) => match socket {
                    Some(socket) => socket,
                    None => return,
                },
            };
        }
    }

    /// `None` when nobody listens any more, or when it is over.
    async fn find_back(&mut self, mut setback: Setback) -> Option<Socket> {
        let mut told = "";
        loop {
            let code = comeback::obstacle(&setback);
            if !code.is_empty() && told != code {
                told = code;
                let why = setback.error.to_string();
                self.received.send(FromServer::Obstacle { code, why }).await.ok()?;
            }
            let next = self.comeback.after(&setback, Instant::now(), fraction());
            let (retry_in, sign_in) = match next {
                Next::Retry(pause) => (pause, false),
                Next::SignIn(pause) => (pause, true),
                Next::Stop { code, why } => {
                    self.received.send(FromServer::Over { code, why }).await.ok();
                    return None;
                }
            };
            let attempt = self.comeback.attempt();
            self.received.send(FromServer::Lost { attempt, retry_in }).await.ok()?;
            tokio::time::sleep(retry_in).await;
            self.comeback.begins();
            match self.connect(sign_in).await {
                Ok(entered) => return self.back(entered).await,
                Err(error) => {
                    tracing::debug!(error = %error.error, attempt, "the server is not back yet");
                    setback = error;
                }
            }
        }
    }

    async fn back(&mut self, entered: Entered) -> Option<Socket> {
        self.comeback.succeeded();
        if let Some(ice) = entered.ice {
            self.ice.learn(ice);
        }
        let account = &self.standing.account;
        let (user, name) = (account.user_id.clone(), account.username.clone());
        let Entered { v2, resumed, said, socket, .. } = entered;
        self.received.send(FromServer::Back { user, name, v2, resumed }).await.ok()?;
        for message in said {
            self.received.send(FromServer::Message(message)).await.ok()?;
        }
        Some(socket)
    }

    /// Under the old id while the server knows it, so that the peers' connections live on.
    async fn connect(&mut self, sign_in: bool) -> Result<Entered, Setback> {
        if sign_in {
            self.standing.rename(self.server.sign_in(&self.asked_name).await?);
            self.token.send_replace(self.standing.account.access_token.clone());
        }
        self.standing.enter(&self.server, &self.room).await
    }
}
