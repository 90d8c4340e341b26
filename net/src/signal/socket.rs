//! One WebSocket, from its beginning to its end, whatever carries it.

use std::time::{Duration, Instant};

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_tungstenite::tungstenite::Message;
use wire::{ClientMessage, RoomId, ServerMessage, Unexpected};

use super::FromServer;
use super::pace::Pace;

/// How a dead server is noticed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// How often we ask whether it is still there.
    pub(crate) ping_every: Duration,
    /// How long it may stay silent, pings or not.
    pub(crate) silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { ping_every: Duration::from_secs(10), silence: Duration::from_secs(25) }
    }
}

/// How long one message may take to be handed to the system.
const SENDING: Duration = Duration::from_secs(10);

/// Why a socket ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// We said goodbye, or nobody listens to it any more.
    Left,
    /// The server closed it, with this code (0 where there is none) and this reason.
    Closed(u16, String),
    /// Nothing was heard for too long.
    Silent,
    /// It broke.
    Broken,
}

/// Carries messages both ways until the socket ends; counts those that came.
pub(crate) async fn pump<S, E>(
    mut socket: S,
    room: &RoomId,
    to_send: &mut mpsc::Receiver<ClientMessage>,
    received: &mpsc::Sender<FromServer>,
    count: &mut u64,
    patience: Patience,
) -> Ended
where
    S: Stream<Item = Result<Message, E>> + Sink<Message, Error = E> + Unpin,
{
    let mut heard_at = Instant::now();
    let mut pace = Pace::new(heard_at);
    let mut pings = interval(patience.ping_every);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = socket.next() => {
                heard_at = Instant::now();
                match message {
                    Some(Ok(Message::Close(frame))) => {
                        let (code, reason) = frame.map_or_else(Default::default, |frame| {
                            (frame.code.into(), frame.reason.as_str().to_owned())
                        });
                        return Ended::Closed(code, reason);
                    }
                    Some(Ok(message)) => {
                        *count += u64::from(message.is_text() || message.is_binary());
                        let Some(message) = read(&message, room) else { continue };
                        if received.send(message).await.is_err() {
                            return Ended::Left;
                        }
                    }
                    Some(Err(_)) => return Ended::Broken,
                    None => return Ended::Closed(0, String::new()),
                }
            }
            message = to_send.recv() => {
                let Some(message) = message else { return Ended::Left };
                sleep(pace.take(Instant::now())).await;
                let leaving = message == ClientMessage::Leave;
                if !send(&mut socket, Message::text(message.to_json(room))).await {
                    return Ended::Broken;
                }
                if leaving {
                    send(&mut socket, Message::Close(None)).await;
                    return Ended::Left;
                }
            }
            _ = pings.tick() => {
                if heard_at.elapsed() > patience.silence {
                    return Ended::Silent;
                }
                if !send(&mut socket, Message::Ping(Vec::new().into())).await {
                    return Ended::Broken;
                }
            }
        }
    }
}

async fn send<S, E>(socket: &mut S, message: Message) -> bool
where
    S: Sink<Message, Error = E> + Unpin,
{
    matches!(tokio::time::timeout(SENDING, socket.send(message)).await, Ok(Ok(())))
}

/// What a frame says, if it is for us.
fn read(message: &Message, room: &RoomId) -> Option<FromServer> {
    let bytes = match message {
        Message::Text(text) => text.as_bytes(),
        Message::Binary(bytes) => bytes,
        _ => return None,
    };
    match ServerMessage::parse(bytes) {
        Ok((of, message)) if of.is_empty() || of == room.as_str() => {
            Some(FromServer::Message(message))
        }
        Ok(_) => None,
        Err(Unexpected::Type) => None, // Newer servers may say more.
        Err(_) => Some(FromServer::Rubbish),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use futures_util::stream;
    use tokio_tungstenite::tungstenite::protocol::CloseFrame;
    use wire::UserId;

    use super::*;

    /// A socket that is a script: it says its lines, then stays open or ends.
    struct Script {
        lines: stream::BoxStream<'static, Result<Message, Infallible>>,
        said: mpsc::Sender<Message>,
    }

    impl Script {
        fn new(lines: Vec<Message>, ends: bool) -> (Self, mpsc::Receiver<Message>) {
            let lines = stream::iter(lines.into_iter().map(Ok));
            let lines = if ends { lines.boxed() } else { lines.chain(stream::pending()).boxed() };
            let (said, heard) = mpsc::channel(100);
            (Self { lines, said }, heard)
        }
    }

    impl Stream for Script {
        type Item = Result<Message, Infallible>;

        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            self.lines.poll_next_unpin(cx)
        }
    }

    impl Sink<Message> for Script {
        type Error = Infallible;

        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Infallible> {
            self.said.try_send(message).ok();
            Ok(())
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }
    }

    fn room() -> RoomId {
        RoomId::new("r").unwrap()
    }

    async fn run(lines: Vec<Message>) -> (Ended, u64, Vec<FromServer>) {
        let (script, _said) = Script::new(lines, true);
        let (_sender, mut to_send) = mpsc::channel(1);
        let (received, mut heard) = mpsc::channel(100);
        let mut count = 0;
        let ended =
            pump(script, &room(), &mut to_send, &received, &mut count, Patience::default()).await;
        drop(received);
        let mut messages = Vec::new();
        while let Some(message) = heard.recv().await {
            messages.push(message);
        }
        (ended, count, messages)
    }

    #[tokio::test]
    async fn text_and_binary_frames_are_read_alike_and_other_rooms_are_not() {
        let typing = r#"{"type":"chat.typing","room":"r","data":{"typing":true},"from":"a"}"#;
        let (ended, count, messages) = run(vec![
            Message::Ping(Vec::new().into()),
            Message::text(typing),
            Message::binary(typing.as_bytes().to_vec()),
            Message::text(typing.replace("\"r\"", "\"other\"")),
            Message::text(typing.replace("chat.typing", "chat.singing")),
            Message::text("rubbish"),
        ])
        .await;
        // Whatever was said counts, understood or not.
        assert_eq!((ended, count), (Ended::Closed(0, String::new()), 5));
        let from = UserId::new("a").unwrap();
        let typing = ServerMessage::Typing { from, typing: true };
        assert!(matches!(&messages[..],
            [FromServer::Message(one), FromServer::Message(two), FromServer::Rubbish]
                if *one == typing && *two == typing));
    }

    #[tokio::test]
    async fn the_words_of_a_close_are_kept() {
        let frame = CloseFrame { code: 1013.into(), reason: "too slow; retry-after=5".into() };
        let (ended, ..) = run(vec![Message::Close(Some(frame))]).await;
        assert_eq!(ended, Ended::Closed(1013, "too slow; retry-after=5".to_owned()));
    }

    #[tokio::test]
    async fn a_goodbye_ends_it() {
        let (script, mut said) = Script::new(vec![], false);
        let (sender, mut to_send) = mpsc::channel(4);
        let (received, _heard) = mpsc::channel(1);
        sender.send(ClientMessage::Typing { typing: true }).await.unwrap();
        sender.send(ClientMessage::Leave).await.unwrap();
        assert_eq!(
            pump(script, &room(), &mut to_send, &received, &mut 0, Patience::default()).await,
            Ended::Left
        );
        let mut kinds = Vec::new();
        while let Some(message) = said.recv().await {
            kinds.push(match message {
                Message::Text(text) => text.as_str()[9..18].to_owned(),
                Message::Close(_) => "close".to_owned(),
                _ => continue,
            });
        }
        assert_eq!(kinds, ["chat.typi", "chat.leav", "close"]);
    }

    #[tokio::test]
    async fn a_server_that_keeps_silent_is_given_up() {
        let (script, _said) = Script::new(vec![], false);
        let (_sender, mut to_send) = mpsc::channel(1);
        let (received, _heard) = mpsc::channel(1);
        let (ping_every, silence) = (Duration::from_millis(5), Duration::from_millis(20));
        let patience = Patience { ping_every, silence };
        let ended = pump(script, &room(), &mut to_send, &received, &mut 0, patience).await;
        assert_eq!(ended, Ended::Silent);
    }
}
