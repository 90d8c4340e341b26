//! One connection of a client, over any stream of bytes: reads with a buffer lent by the thread,
//! hands messages to its [`Client`], writes what the session's outbox holds.
//!
//! An idle connection is a small future and nothing else: no buffer, no timer, no lock held.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::{Instant, timeout};
use wire::limits::{FRAME_BYTES, PING_EVERY, SILENCE_BEFORE_CLOSE};

use crate::client::{Client, Closing};
use crate::codec::{Broken, Decoder, Event};
use crate::frame::Frame;
use crate::outbox::Flushed;

/// Bytes of the buffer that a thread lends to whichever connection it reads from.
const READ_BYTES: usize = 16 * 1024;
/// Reads in one go; then others get their turn.
const READS_IN_A_ROW: usize = 4;
/// How much of what a client still sends is read and dropped after the farewell. Closing at once
/// would reset the connection, and the client might never see why it was closed.
const LINGER_BYTES: usize = 1024 * 1024;

/// How long the server waits for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between two pings.
    pub ping: Duration,
    /// Without any sign of life, until the connection is closed.
    pub silence: Duration,
    /// Until those who are not signed in have said hello.
    pub hello: Duration,
    /// Without a byte that could be written, until the client counts as too slow.
    pub write: Duration,
    /// For the last words.
    pub farewell: Duration,
    /// For the client to end the connection after them.
    pub linger: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ping: PING_EVERY,
            silence: SILENCE_BEFORE_CLOSE,
            hello: wire::limits::HELLO_WITHIN,
            write: SILENCE_BEFORE_CLOSE,
            farewell: Duration::from_millis(1_500),
            linger: Duration::from_secs(1),
        }
    }
}

/// What others may do with a connection: write to it, wake it, end it.
#[derive(Debug)]
pub struct Line {
    /// The socket, where anybody may write; otherwise only the connection's own task does.
    direct: Option<OwnedWriteHalf>,
    task: AtomicWaker,
    ending: OnceLock<Closing>,
    /// It is time for a ping.
    ping: AtomicBool,
    /// How many frames of the session were written, while some of them are not confirmed;
    /// otherwise 0.
    unconfirmed: AtomicU64,
    /// When something came last, in milliseconds after `since`.
    heard: AtomicU64,
    since: std::time::Instant,
    /// The client need not say hello any more.
    greeted: AtomicBool,
    /// Half a frame was written when the session moved on: nothing may follow it.
    cut: AtomicBool,
}

impl Line {
    /// A connection that begins now.
    #[must_use]
    pub fn new(direct: Option<OwnedWriteHalf>, now: std::time::Instant) -> Arc<Self> {
        Arc::new(Self {
            direct,
            task: AtomicWaker::new(),
            ending: OnceLock::new(),
            ping: AtomicBool::new(false),
            unconfirmed: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            since: now,
            greeted: AtomicBool::new(false),
            cut: AtomicBool::new(false),
        })
    }

    /// Asks the connection to end; the first reason stands.
    pub fn end(&self, closing: Closing) {
        if self.ending.set(closing).is_ok() {
            self.task.wake();
        }
    }

    /// Why it has to end, if it has.
    #[must_use]
    pub fn ending(&self) -> Option<Closing> {
        self.ending.get().copied()
    }

    /// Lets the connection's task look after its socket.
    pub fn wake(&self) {
        self.task.wake();
    }

    /// Sends a ping soon.
    pub fn ping(&self) {
        self.ping.store(true, Ordering::Relaxed);
        self.task.wake();
    }

    /// Frames were written that the client has not confirmed, so many with those before; or 0.
    pub fn set_unconfirmed(&self, written: u64) {
        self.unconfirmed.store(written, Ordering::Relaxed);
    }

    /// How many frames were written, if the last ones are not confirmed.
    #[must_use]
    pub fn unconfirmed(&self) -> u64 {
        self.unconfirmed.load(Ordering::Relaxed)
    }

    /// Nothing more may be written to it.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    /// When something came last.
    #[must_use]
    pub fn heard(&self) -> std::time::Instant {
        self.since + Duration::from_millis(self.heard.load(Ordering::Relaxed))
    }

    /// The socket, if anybody may write to it.
    #[must_use]
    pub fn direct(&self) -> Option<&OwnedWriteHalf> {
        self.direct.as_ref()
    }

    /// The client has said who it is.
    pub fn greet(&self) {
        self.greeted.store(true, Ordering::Relaxed);
    }

    /// Whether it has.
    #[must_use]
    pub fn is_greeted(&self) -> bool {
        self.greeted.load(Ordering::Relaxed)
    }

    /// Something came from the client.
    pub fn hear(&self, now: std::time::Instant) {
        let since = now.saturating_duration_since(self.since).as_millis();
        self.heard.store(since as u64, Ordering::Relaxed);
    }
}

/// How a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The connection is gone without a word; the session may go on over another.
    Gone,
    /// The client closed it, with this code.
    Goodbye(Option<u16>),
    /// The server closes it.
    Close(Closing),
}

impl From<Closing> for End {
    fn from(closing: Closing) -> Self {
        Self::Close(closing)
    }
}

impl From<Broken> for End {
    fn from(broken: Broken) -> Self {
        Self::Close(match broken {
            Broken::Protocol => Closing::BROKEN,
            Broken::NotUtf8 => Closing::NOT_JSON,
            Broken::TooBig => Closing::TOO_BIG,
        })
    }
}

/// A connection with what surrounds it. It is made before its task, which is little more than a
/// pointer to it: what an async function is given it holds twice.
pub struct Talk<IO> {
    io: IO,
    client: Client,
    line: Arc<Line>,
    /// Where a read has cut a message in two.
    decoder: Option<Box<Decoder>>,
    /// What was read and not looked at.
    rest: Vec<u8>,
}

thread_local! {
    static LENT: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

impl<IO> Talk<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    /// A connection that begins; `first` is what was read already.
    #[must_use]
    pub fn new(io: IO, first: &[u8], line: Arc<Line>, client: Client) -> Box<Self> {
        Box::new(Self { io, client, line, decoder: None, rest: first.to_vec() })
    }

    /// Serves the client until either side ends it. When this returns, the client is in no room,
    /// or its session waits for it to come back. Says how it ended.
    pub async fn run(mut self: Box<Self>) -> End {
        let end = match self.feed_rest() {
            Ok(()) => poll_fn(|cx| self.poll(cx)).await,
            Err(end) => end,
        };
        // Few connections say farewell at a time, and the memory for it need not be in all of
        // them.
        Box::pin(self.farewell(end)).await;
        end
    }

    fn feed_rest(&mut self) -> Result<(), End> {
        let mut rest = std::mem::take(&mut self.rest);
        if rest.is_empty() { Ok(()) } else { self.feed(&mut rest) }
    }

    /// Does what there is to do, until there is a reason to stop.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.line.task.register(cx.waker());
        for _ in 0..READS_IN_A_ROW {
            if let Some(closing) = self.line.ending() {
                return Poll::Ready(End::Close(closing));
            }
            if self.line.ping.swap(false, Ordering::Relaxed)
                && let Err(end) = self.beat()
            {
                return Poll::Ready(end);
            }
            if self.client.is_waiting() {
                let now = Instant::now().into_std();
                match self.client.poll_waiting(cx, now) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(()) => {}
                }
                if let Err(end) = self.feed_rest() {
                    return Poll::Ready(end);
                }
            }
            let outbox = &self.client.session().outbox;
            if outbox.wants_own_flush() && self.poll_flush(cx) == Flushed::Broken {
                return Poll::Ready(End::Gone);
            }
            match self.poll_read(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(end)) => return Poll::Ready(end),
                Poll::Ready(Ok(READ_BYTES)) => break,
                Poll::Ready(Ok(_)) => {}
            }
        }
        // There may be more; the others come first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once, and acts on what came; how many bytes.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, End>> {
        LENT.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(Err(End::Gone)),
                Poll::Ready(Ok(())) => {}
            }
            let bytes = buffer.filled_mut();
            if bytes.is_empty() {
                return Poll::Ready(Err(End::Gone));
            }
            let read = bytes.len();
            Poll::Ready(self.feed(bytes).map(|()| read))
        })
    }

    /// Acts on what came.
    fn feed(&mut self, mut bytes: &mut [u8]) -> Result<(), End> {
        let now = Instant::now().into_std();
        self.line.hear(now);
        let mut decoder =
            self.decoder.take().map_or_else(|| Decoder::new(FRAME_BYTES), |decoder| *decoder);
        while let Some(event) = decoder.next(&mut bytes)? {
            match event {
                Event::Message(message) => self.client.receive(message, now)?,
                Event::Ping(payload) => {
                    if self.client.receive_ping(now)? {
                        self.client.session().outbox.push_own(Frame::pong(payload));
                    }
                }
                Event::Pong(payload) => self.client.session().outbox.confirm(payload),
                Event::Close(code) => return Err(End::Goodbye(code)),
            }
            if self.client.is_waiting() {
                // What comes behind the hello waits for the answer of another server.
                self.rest = std::mem::take(&mut bytes).to_vec();
            }
        }
        if !decoder.is_idle() {
            self.decoder = Some(Box::new(decoder));
        }
        Ok(())
    }

    /// Sends a ping, unless the client takes nothing any more.
    fn beat(&mut self) -> Result<(), End> {
        let outbox = &self.client.session().outbox;
        if outbox.blocked_for(Instant::now().into_std()) >= self.client.timing().write {
            return Err(End::Close(Closing::TOO_SLOW));
        }
        let mark = outbox.mark();
        outbox.push_own(Frame::ping(mark.as_ref().map_or(&[], |mark| &mark[..])));
        Ok(())
    }

    /// Writes what waits; when the system takes no more, the task is woken when it does.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Flushed {
        let outbox = &self.client.session().outbox;
        let now = Instant::now().into_std();
        let (io, line) = (&mut self.io, &self.line);
        if line.cut.load(Ordering::Relaxed) {
            return Flushed::Broken;
        }
        let flushed =
            outbox.flush(now, |slices| match Pin::new(&mut *io).poll_write_vectored(cx, slices) {
                Poll::Ready(written) => written,
                Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            });
        // Encrypted, it may still wait in the layer below.
        if flushed == Flushed::Idle
            && let Poll::Ready(Err(_)) = Pin::new(io).poll_flush(cx)
        {
            return Flushed::Broken;
        }
        flushed
    }

    /// Says the last words and why, and lets the client end the connection.
    async fn farewell(mut self: Box<Self>, end: End) {
        let timing = self.client.timing();
        let ours = self.client.end(end, Instant::now().into_std());
        let last = match end {
            End::Gone => return,
            End::Goodbye(code) => Frame::close(code, ""),
            End::Close(closing) => Frame::close(Some(closing.code), closing.reason),
        };
        let said = timeout(timing.farewell, async {
            if ours {
                self.client.session().outbox.close(last);
                poll_fn(|cx| self.poll_out(cx)).await?;
            } else if !self.line.cut.load(Ordering::Relaxed) {
                self.io.write_all(last.bytes()).await?;
            }
            self.io.shutdown().await
        });
        match said.await {
            Ok(Ok(())) => {
                let _ = timeout(timing.linger, self.linger()).await;
            }
            Ok(Err(_)) => tracing::trace!("the connection broke during the farewell"),
            Err(_) => tracing::debug!("the client did not take its leave in time"),
        }
    }

    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line.task.register(cx.waker());
        match self.poll_flush(cx) {
            Flushed::Broken => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Flushed::Idle if self.client.session().outbox.is_empty() => {
                Pin::new(&mut self.io).poll_flush(cx)
            }
            Flushed::Idle => {
                // Somebody else writes, for microseconds.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Flushed::Blocked => Poll::Pending,
        }
    }

    /// Reads and drops what still comes.
    async fn linger(&mut self) -> io::Result<()> {
        let mut dropped = 0;
        let mut buffer = [0; 1024];
        while dropped < LINGER_BYTES {
            match self.io.read(&mut buffer).await? {
                0 => break,
                bytes => dropped += bytes,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
