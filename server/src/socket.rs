//! One client's connection, over any `Stream` and `Sink` of WebSocket messages.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message, error::ProtocolError};
use tokio_util::sync::CancellationToken;
use wire::limits::{PING_EVERY, SILENCE_BEFORE_CLOSE};

use crate::client::{Client, Closing};
use crate::outbox::{Batch, Outbox, TooSlow};

/// How long the server waits for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between two pings.
    pub ping: Duration,
    /// Without any sign of life, until the connection is closed.
    pub silence: Duration,
    /// For one write, until the client counts as too slow.
    pub write: Duration,
    /// For what is being written when the server stops, and then for the last words and the
    /// answer to the close frame.
    pub farewell: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ping: PING_EVERY,
            silence: SILENCE_BEFORE_CLOSE,
            write: SILENCE_BEFORE_CLOSE,
            farewell: Duration::from_millis(1_500),
        }
    }
}

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
/// the client is in no room; the socket comes back for whatever is left to do below it.
pub async fn serve<S>(
    mut socket: S,
    client: Client,
    timing: Timing,
    stopping: &CancellationToken,
) -> S
where
    S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
{
    let outbox = client.outbox();
    let mut line = Line { socket: &mut socket, outbox: &outbox, timing, stopping };
    let end = line.converse(client).await;
    let farewell = async {
        match end {
            // Flushing sends the answer to the client's close frame.
            End::Gone => line.socket.flush().await,
            End::Close(closing) => line.close(closing).await,
        }
    };
    match timeout(timing.farewell, farewell).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => tracing::trace!("the connection broke during the farewell"),
        Err(_) => tracing::debug!("the client did not take its leave in time"),
    }
    socket
}

/// A connection with what surrounds it.
struct Line<'a, S> {
    socket: &'a mut S,
    outbox: &'a Outbox,
    timing: Timing,
    stopping: &'a CancellationToken,
}

impl<S> Line<'_, S>
where
    S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
{
    /// Talks until there is a reason to stop. Takes the client, so that it leaves its rooms
    /// before the farewell, which may take a while.
    async fn converse(&mut self, mut client: Client) -> End {
        let mut pulse = Pulse::new(self.timing, Instant::now());
        let timer = sleep_until(pulse.next());
        tokio::pin!(timer);
        loop {
            let written = tokio::select! {
                () = self.stopping.cancelled() => return Closing::GOING_AWAY.into(),
                message = self.socket.next() => {
                    let now = Instant::now();
                    pulse.heard(now);
                    match message {
                        Some(Ok(message)) => receive(&mut client, &message, now),
                        Some(Err(error)) => return error.into(),
                        None => return End::Gone,
                    }
                }
                batch = self.outbox.batch() => match batch {
                    Ok(batch) => self.write_batch(batch).await,
                    Err(too_slow) => return too_slow.into(),
                },
                () = &mut timer => {
                    let beat = pulse.beat(Instant::now());
                    timer.as_mut().reset(pulse.next());
                    match beat {
                        Beat::Early => Ok(()),
                        Beat::Ping => self.write([Message::Ping(Bytes::new())]).await,
                        Beat::Silent => return Closing::SILENT.into(),
                    }
                }
            };
            if let Err(end) = written {
                return end;
            }
        }
    }

    async fn write_batch(&mut self, batch: Batch) -> Result<(), End> {
        self.write(batch.frames.into_iter().map(|frame| Message::Text(frame.text))).await?;
        self.outbox.written(batch.bytes);
        Ok(())
    }

    async fn write(&mut self, messages: impl IntoIterator<Item = Message>) -> Result<(), End> {
        let writing = async {
            for message in messages {
                self.socket.feed(message).await?;
            }
            self.socket.flush().await
        };
        let stopped = async {
            self.stopping.cancelled().await;
            sleep(self.timing.farewell).await;
        };
        tokio::select! {
            biased;
            written = timeout(self.timing.write, writing) => match written {
                Ok(written) => Ok(written?),
                Err(_) => Err(Closing::TOO_SLOW.into()),
            },
            too_slow = self.outbox.overflow() => Err(too_slow.into()),
            () = stopped => Err(Closing::GOING_AWAY.into()),
        }
    }

    /// Says the last words, says why, and waits for the client to answer in kind.
    async fn close(&mut self, closing: Closing) -> Result<(), Error> {
        if let Ok(Some(batch)) = self.outbox.take() {
            for frame in batch.frames {
                self.socket.feed(Message::Text(frame.text)).await?;
            }
        }
        let frame = CloseFrame { code: closing.code, reason: closing.reason.into() };
        self.socket.send(Message::Close(Some(frame))).await?;
        while let Some(message) = self.socket.next().await {
            message?;
        }
        Ok(())
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

/// When to ping, and when to give up. Knows no clock.
#[derive(Debug)]
struct Pulse {
    timing: Timing,
    heard: Instant,
    ping_at: Instant,
}

#[derive(Debug, PartialEq, Eq)]
enum Beat {
    /// It is time to ask for a sign of life.
    Ping,
    /// There was none for too long.
    Silent,
    /// Neither.
    Early,
}

impl Pulse {
    fn new(timing: Timing, now: Instant) -> Self {
        Self { timing, heard: now, ping_at: now + timing.ping }
    }

    fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// When to ask for a beat.
    fn next(&self) -> Instant {
        self.ping_at.min(self.heard + self.timing.silence)
    }

    fn beat(&mut self, now: Instant) -> Beat {
        if now >= self.heard + self.timing.silence {
            Beat::Silent
        } else if now >= self.ping_at {
            self.ping_at = now + self.timing.ping;
            Beat::Ping
        } else {
            Beat::Early
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::task::JoinHandle;
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
    use wire::UserId;
    use wire::limits::FRAME_BYTES;

    use super::*;
    use crate::auth::User;
    use crate::outbox::{Frame, OUTBOX_BYTES};
    use crate::relay::Relay;

    const DEADLINE: Duration = Duration::from_secs(10);

    /// A served connection without a socket: the far end, and what surrounds the near one.
    struct Served {
        far: DuplexStream,
        outbox: Arc<Outbox>,
        stopping: CancellationToken,
        task: JoinHandle<()>,
    }

    impl Served {
        async fn new(timing: Timing, pipe_bytes: usize) -> Self {
            let (near, far) = duplex(pipe_bytes);
            let config = WebSocketConfig::default()
                .max_message_size(Some(FRAME_BYTES))
                .max_frame_size(Some(FRAME_BYTES));
            let socket = WebSocketStream::from_raw_socket(near, Role::Server, Some(config)).await;
            let user = User { id: UserId::new("ann").unwrap(), name: "Ann".to_owned() };
            let relay = Arc::new(Relay::new(1));
            let client = Client::new(Arc::new(user), relay, Instant::now().into_std());
            let (outbox, stopping) = (client.outbox(), CancellationToken::new());
            let task = tokio::spawn({
                let stopping = stopping.clone();
                async move { drop(serve(socket, client, timing, &stopping).await) }
            });
            Self { far, outbox, stopping, task }
        }

        async fn browser(self) -> WebSocketStream<DuplexStream> {
            WebSocketStream::from_raw_socket(self.far, Role::Client, None).await
        }
    }

    /// Reads until the close frame; the messages before it come back, too.
    async fn until_closed(socket: &mut WebSocketStream<DuplexStream>) -> (Vec<Message>, u16) {
        let mut messages = Vec::new();
        let closed = timeout(DEADLINE, async {
            loop {
                match socket.next().await.expect("a close frame before the end").unwrap() {
                    Message::Close(frame) => return frame.unwrap().code.into(),
                    message => messages.push(message),
                }
            }
        });
        let code = closed.await.unwrap();
        (messages, code)
    }

    #[test]
    fn pings_come_in_time_and_silence_has_an_end() {
        let (timing, start) = (Timing::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pulse = Pulse::new(timing, start);
        assert_eq!((pulse.next(), pulse.beat(at(53))), (at(54), Beat::Early));
        assert_eq!((pulse.beat(at(54)), pulse.next()), (Beat::Ping, at(60)));
        pulse.heard(at(55));
        assert_eq!((pulse.beat(at(60)), pulse.next()), (Beat::Early, at(108)));
        assert_eq!((pulse.beat(at(108)), pulse.next()), (Beat::Ping, at(115)));
        assert_eq!(pulse.beat(at(115)), Beat::Silent);
        assert!(timing.ping <= Duration::from_secs(54));
        assert_eq!(timing.silence, Duration::from_secs(60));
    }

    #[tokio::test]
    async fn a_client_that_answers_pings_stays_and_a_silent_one_is_closed() {
        let (ping, silence) = (Duration::from_millis(100), Duration::from_secs(2));
        let timing = Timing { ping, silence, ..Timing::default() };
        let mut browser = Served::new(timing, 1 << 16).await.browser().await;
        // Reading answers each ping, for longer than silence would be borne.
        for _ in 0..25 {
            let message = timeout(DEADLINE, browser.next()).await.unwrap().unwrap().unwrap();
            assert!(message.is_ping(), "{message:?}");
        }
        let mut raw = browser.into_inner();
        let mut bytes = Vec::new();
        timeout(DEADLINE, async {
            while !bytes.windows(2).any(|pair| pair == 1008_u16.to_be_bytes()) {
                assert_ne!(raw.read_buf(&mut bytes).await.unwrap(), 0, "no close frame");
            }
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn frames_reach_the_client_as_text_in_order() {
        let served = Served::new(Timing::default(), 1 << 16).await;
        for text in ["one", "two"] {
            served.outbox.push(Frame::new(text.to_owned()));
        }
        let mut browser = served.browser().await;
        for text in ["one", "two"] {
            let message = timeout(DEADLINE, browser.next()).await.unwrap().unwrap().unwrap();
            assert_eq!(message, Message::text(text));
        }
    }

    #[tokio::test]
    async fn a_slow_reader_is_closed_with_a_code_that_says_so() {
        let served = Served::new(Timing::default(), 1_024).await;
        let outbox = served.outbox.clone();
        outbox.push(Frame::new("a".repeat(OUTBOX_BYTES / 2)));
        outbox.push(Frame::new("b".repeat(OUTBOX_BYTES / 2)));
        outbox.push(Frame::new("c".repeat(OUTBOX_BYTES / 2)));
        let (_, code) = until_closed(&mut served.browser().await).await;
        assert_eq!(code, 1013);
    }

    #[tokio::test]
    async fn a_write_that_hangs_is_given_up() {
        let timing = Timing {
            write: Duration::from_millis(20),
            farewell: Duration::from_millis(20),
            ..Timing::default()
        };
        let served = Served::new(timing, 1_024).await;
        served.outbox.push(Frame::new("a".repeat(OUTBOX_BYTES)));
        timeout(DEADLINE, served.task).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_stopping_server_says_goodbye_after_its_last_words() {
        let served = Served::new(Timing::default(), 1 << 16).await;
        served.stopping.cancel();
        served.outbox.push(Frame::new("last".to_owned()));
        let (messages, code) = until_closed(&mut served.browser().await).await;
        assert_eq!((messages, code), (vec![Message::text("last")], 1001));
    }

    #[tokio::test]
    async fn messages_that_break_the_rules_close_with_the_codes_of_the_rules() {
        async fn check(bytes: &[u8], expected: u16) {
            let mut served = Served::new(Timing::default(), 1 << 20).await;
            served.far.write_all(bytes).await.unwrap();
            let (_, code) = until_closed(&mut served.browser().await).await;
            assert_eq!(code, expected, "{:?}", &bytes[..8.min(bytes.len())]);
        }
        /// A final frame with a mask of zeros.
        fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
            let mut frame = vec![0x80 | opcode, 0x80 | 127];
            frame.extend((payload.len() as u64).to_be_bytes());
            frame.extend([0; 4]);
            frame.extend(payload);
            frame
        }
        check(&frame(1, b"hello"), 1007).await;
        check(&frame(2, b"\xff"), 1007).await;
        check(&frame(1, b"\"\xff\""), 1007).await;
        check(&frame(2, &[b' '; FRAME_BYTES]), 1007).await;
        check(&frame(2, &[b' '; FRAME_BYTES + 1]), 1009).await;
        // A fragment, then the rest of a message that is too big as a whole.
        let mut fragments = frame(2, &[b' '; FRAME_BYTES]);
        fragments[0] = 2;
        fragments.extend(frame(0, b" "));
        check(&fragments, 1009).await;
        check(&[0x81, 0x02, b'{', b'}'], 1002).await;
        check(&frame(3, b""), 1002).await;
    }

    #[tokio::test]
    async fn a_client_that_closes_gets_its_answer() {
        let served = Served::new(Timing::default(), 1 << 16).await;
        let mut browser = served.browser().await;
        browser.close(None).await.unwrap();
        let answer = timeout(DEADLINE, browser.next()).await.unwrap().unwrap().unwrap();
        assert!(answer.is_close());
        assert!(timeout(DEADLINE, browser.next()).await.unwrap().is_none());
    }
}
