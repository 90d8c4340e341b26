//! One client's connection, over any `Stream` and `Sink` of WebSocket messages.

use std::time::Duration;

use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message, error::ProtocolError};
use tokio_util::sync::CancellationToken;
use wire::limits::{PING_EVERY, SILENCE_BEFORE_CLOSE};

use crate::client::{Client, Closing};
use crate::outbox::{Batch, Outbox, TooSlow};

/// How long the last words and the answer to a close frame may take.
pub const FAREWELL: Duration = Duration::from_secs(2);

/// How long one write may take before the client counts as too slow.
pub const WRITE_STALL: Duration = SILENCE_BEFORE_CLOSE;

/// How a conversation ended.
enum End {
    /// The connection is gone, or the client closed it.
    Gone,
    /// The server closes it.
    Close(Closing),
}

impl From<Closing> for End {
    fn from(closing: Closing) -> Self {
        Self::Close(closing)
    }
}

impl From<TooSlow> for End {
    fn from(_: TooSlow) -> Self {
        Closing::TOO_SLOW.into()
    }
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        match error {
            Error::Capacity(_) => Closing::TOO_BIG.into(),
            Error::Utf8(_) => Closing::NOT_JSON.into(),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::Gone,
            Error::Protocol(_) => Closing::BROKEN.into(),
            _ => Self::Gone,
        }
    }
}

/// Serves one client until either side ends it or `stopping` is cancelled. When this returns,
/// the client is in no room; the socket comes back for whatever is left to do below.
pub async fn serve<S>(mut socket: S, client: Client, stopping: &CancellationToken) -> S
where
    S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
{
    let outbox = client.outbox();
    let end = converse(&mut socket, client, &outbox, stopping).await;
    let farewell = async {
        match end {
            // Flushing sends the answer to the client's close frame.
            End::Gone => socket.flush().await,
            End::Close(closing) => close(&mut socket, &outbox, closing).await,
        }
    };
    match timeout(FAREWELL, farewell).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => tracing::trace!("the connection broke during the farewell"),
        Err(_) => tracing::debug!("the client did not take its leave in time"),
    }
    socket
}

/// Talks until there is a reason to stop. Takes the client, so that it leaves its rooms before
/// the farewell, which may take a while.
async fn converse<S>(
    socket: &mut S,
    mut client: Client,
    outbox: &Outbox,
    stopping: &CancellationToken,
) -> End
where
    S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
{
    let mut heard = Instant::now();
    let mut ping_at = heard + PING_EVERY;
    let timer = sleep_until(ping_at);
    tokio::pin!(timer);
    loop {
        let writing = tokio::select! {
            () = stopping.cancelled() => return Closing::GOING_AWAY.into(),
            message = socket.next() => {
                heard = Instant::now();
                match message {
                    Some(Ok(message)) => match receive(&mut client, &message, heard) {
                        Ok(()) => continue,
                        Err(end) => return end,
                    },
                    Some(Err(error)) => return error.into(),
                    None => return End::Gone,
                }
            }
            batch = outbox.batch() => match batch {
                Ok(batch) => write_batch(socket, outbox, batch, stopping).await,
                Err(too_slow) => return too_slow.into(),
            },
            () = &mut timer => {
                let now = Instant::now();
                if now >= heard + SILENCE_BEFORE_CLOSE {
                    return Closing::SILENT.into();
                }
                let ping = now >= ping_at;
                if ping {
                    ping_at = now + PING_EVERY;
                }
                timer.as_mut().reset(ping_at.min(heard + SILENCE_BEFORE_CLOSE));
                if !ping {
                    continue;
                }
                write(socket, outbox, [Message::Ping(Default::default())], stopping).await
            }
        };
        if let Err(end) = writing {
            return end;
        }
    }
}

fn receive(client: &mut Client, message: &Message, now: Instant) -> Result<(), End> {
    let now = now.into_std();
    match message {
        Message::Text(text) => Ok(client.receive(text.as_bytes(), now)?),
        Message::Binary(bytes) => Ok(client.receive(bytes, now)?),
        Message::Ping(_) => Ok(client.receive_ping(now)?),
        Message::Pong(_) | Message::Frame(_) => Ok(()),
        Message::Close(_) => Err(End::Gone),
    }
}

async fn write_batch<S>(
    socket: &mut S,
    outbox: &Outbox,
    batch: Batch,
    stopping: &CancellationToken,
) -> Result<(), End>
where
    S: Sink<Message, Error = Error> + Unpin,
{
    let frames = batch.frames.into_iter().map(|frame| Message::Text(frame.text));
    write(socket, outbox, frames, stopping).await?;
    outbox.written(batch.bytes);
    Ok(())
}

async fn write<S>(
    socket: &mut S,
    outbox: &Outbox,
    messages: impl IntoIterator<Item = Message>,
    stopping: &CancellationToken,
) -> Result<(), End>
where
    S: Sink<Message, Error = Error> + Unpin,
{
    let writing = async {
        for message in messages {
            socket.feed(message).await?;
        }
        socket.flush().await
    };
    tokio::select! {
        written = timeout(WRITE_STALL, writing) => match written {
            Ok(written) => Ok(written?),
            Err(_) => Err(Closing::TOO_SLOW.into()),
        },
        too_slow = outbox.overflow() => Err(too_slow.into()),
        () = stopping.cancelled() => Err(Closing::GOING_AWAY.into()),
    }
}

/// Says the last words, says why, and waits for the client to answer in kind.
async fn close<S>(socket: &mut S, outbox: &Outbox, closing: Closing) -> Result<(), Error>
where
    S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
{
    if let Ok(Some(batch)) = outbox.take() {
        for frame in batch.frames {
            socket.feed(Message::Text(frame.text)).await?;
        }
    }
    let frame = CloseFrame { code: closing.code, reason: closing.reason.into() };
    socket.send(Message::Close(Some(frame))).await?;
    while let Some(message) = socket.next().await {
        message?;
    }
    Ok(())
}
