//! The beginning of a connection: the hello, the join, and which version is spoken.

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;
use wire::session::{FIRST_VERSION, VERSION};
use wire::{
    ClientMessage, Hello, IceServers, Refusal, RoomId, ServerMessage, SignInResponse, Welcome,
    limits,
};

use super::comeback::Setback;
use super::http::{STEP, Server, Socket, refused};
use crate::session::JoinError;

/// Messages of the server before the roster that are kept; further ones are lost. There are none
/// but in a room where much is said while we enter.
const SAID: usize = 256;

/// What we have with the server, over all connections.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) account: SignInResponse,
    /// The newest version that the server says it speaks.
    protocol: u32,
    /// The token for going on with the session, as long as version 2 is spoken.
    resume: Option<String>,
    /// Messages of this session so far.
    pub(crate) received: u64,
}

/// We are in the room.
pub(crate) struct Entered {
    pub(crate) socket: Socket,
    /// Version 2 is spoken.
    pub(crate) v2: bool,
    /// The old session goes on; what we missed, and the roster, come over the socket.
    pub(crate) resumed: bool,
    /// The STUN and TURN servers of the welcome.
    pub(crate) ice: Option<IceServers>,
    /// What the server has said about the room; the roster comes last.
    pub(crate) said: Vec<ServerMessage>,
}

impl Standing {
    pub(crate) fn new(account: SignInResponse, protocol: u32) -> Self {
        Self { account, protocol, resume: None, received: 0 }
    }

    /// From now on we are somebody else.
    pub(crate) fn rename(&mut self, account: SignInResponse) {
        *self = Self::new(account, self.protocol);
    }

    /// Opens a connection and enters the room, or goes on being in it.
    pub(crate) async fn enter(
        &mut self,
        server: &Server,
        room: &RoomId,
    ) -> Result<Entered, Setback> {
        // A server of version 2 is told the token in the hello, where no log sees it.
        let mut by_hello = self.protocol >= VERSION;
        let token = &self.account.access_token;
        let mut opened = server.connect((!by_hello).then_some(token)).await;
        if by_hello && matches!(&opened, Err(setback) if setback.code == 401) {
            // It was replaced by an older one.
            (self.protocol, by_hello) = (FIRST_VERSION, false);
            opened = server.connect(Some(&self.account.access_token)).await;
        }
        let socket = opened?;
        let entering = self.greet(socket, by_hello, server, room);
        let entered = tokio::time::timeout(STEP, entering).await;
        entered.unwrap_or_else(|_| Err(JoinError::Timeout.into()))
    }

    /// Hello and join in one flight; an old server refuses the one and answers the other.
    async fn greet(
        &mut self,
        mut socket: Socket,
        by_hello: bool,
        server: &Server,
        room: &RoomId,
    ) -> Result<Entered, Setback> {
        let hello = Hello {
            token: by_hello.then(|| self.account.access_token.clone()),
            resume: self.resume.clone(),
            received: self.resume.as_ref().map(|_| self.received),
            ..Hello::new()
        };
        for message in [ClientMessage::Hello(Box::new(hello)), ClientMessage::Join] {
            let message = Message::text(message.to_json(room));
            socket.feed(message).await.map_err(|error| server.unreachable(&error))?;
        }
        socket.flush().await.map_err(|error| server.unreachable(&error))?;

        let mut welcome: Option<Welcome> = None;
        let mut said = Vec::new();
        while let Some(message) = socket.next().await {
            let message = message.map_err(|error| server.unreachable(&error))?;
            let bytes = match &message {
                Message::Text(text) => text.as_bytes(),
                Message::Binary(bytes) => bytes,
                Message::Close(Some(frame)) => {
                    return Err(Setback::closed(frame.code.into(), &frame.reason));
                }
                _ => continue,
            };
            self.received += u64::from(welcome.is_some());
            let Ok((of, message)) = ServerMessage::parse(bytes) else { continue };
            match message {
                ServerMessage::Welcome(new) if welcome.is_none() => {
                    self.welcomed(&new);
                    let resumed = new.resumed;
                    welcome = Some(*new);
                    if resumed {
                        return Ok(entered(socket, welcome, said));
                    }
                }
                ServerMessage::Error { error, .. }
                    if welcome.is_none() && error == Refusal::InvalidType.text() => {}
                ServerMessage::Error { error, .. } => return Err(refused(0, &error).into()),
                ServerMessage::RoomUsers { .. } if of == room.as_str() => {
                    if welcome.is_none() {
                        self.resume = None;
                    }
                    said.push(message);
                    return Ok(entered(socket, welcome, said));
                }
                other if of == room.as_str() && said.len() < SAID => said.push(other),
                _ => {}
            }
        }
        Err(server.not_a_server("it hung up").into())
    }

    fn welcomed(&mut self, welcome: &Welcome) {
        if !welcome.resumed {
            self.received = 0;
        }
        self.account.user_id.clone_from(&welcome.user_id);
        self.resume = Some(&welcome.resume)
            .filter(|resume| resume.len() <= limits::RESUME_TOKEN_BYTES)
            .cloned();
    }
}

fn entered(socket: Socket, welcome: Option<Welcome>, said: Vec<ServerMessage>) -> Entered {
    let (v2, resumed) = (welcome.is_some(), welcome.as_ref().is_some_and(|w| w.resumed));
    let ice = welcome
        .map(|welcome| IceServers { ice_servers: welcome.ice_servers, ttl: welcome.ice_ttl });
    Entered { socket, v2, resumed, ice, said }
}

#[cfg(test)]
mod tests;
