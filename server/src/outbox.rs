//! What waits to be written to one session's connection, bounded in bytes, and what was written
//! but perhaps not read.
//!
//! Frames are put in under a room's lock and leave in batches by [`Outbox::flush`], which whoever
//! has time calls: the shard's flusher, or the connection's own task. Nobody holds a lock while
//! the system writes.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wire::limits::MISSED_BYTES;

use crate::client::Closing;
use crate::frame::{Class, Frame};
use crate::line::Line;

/// Bytes that may wait for one client, those being written and those kept for a resumption
/// included. When it is full, typing indicators are lost first; then the client is closed as too
/// slow. A single larger frame passes when nothing else waits. Together with what the system
/// holds for the connection ([`crate::upgrade::SEND_BUFFER_BYTES`]) that is 256 KiB.
pub const OUTBOX_BYTES: usize = 192 * 1024;
/// Bytes of written frames that are kept because the client may not have read them when its
/// connection breaks. The oldest are let go; then the session can't be resumed from there.
const SENT_BYTES: usize = MISSED_BYTES;
/// From here on a snapshot replaces the one of the same room that waits right before it.
const ROSTER_BYTES: usize = 16 * 1024;
/// Frames that are written by one call to the system at most.
const BATCH: usize = 64;

/// The frames of one session, in order.
#[derive(Debug, Default)]
pub struct Outbox {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Frame>,
    /// Of all that is held.
    bytes: usize,
    /// Bytes of the first waiting frame that are written already.
    begun: usize,
    /// The connection; none while the session is away.
    line: Option<Arc<Line>>,
    /// Somebody has promised to flush.
    promised: bool,
    /// Somebody is writing.
    writing: bool,
    /// The system takes no more, since then; the connection's task waits until it does.
    blocked: Option<Instant>,
    /// Nothing more is taken.
    closed: bool,
    /// Too much came in while somebody was writing, who drops what has not begun.
    overflowed: bool,
    /// What a resumption needs; only for sessions that can be resumed.
    sent: Option<Box<Sent>>,
}

/// What was written last.
#[derive(Debug, Default)]
struct Sent {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// Number of the first of them; the session's first frame has number 0.
    first: u64,
}

/// What a frame was lost for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// Typing indicators, so many.
    Typing(usize),
    /// A snapshot that a newer one replaced.
    Roster,
    /// The outbox overflowed and is closed; the connection is told.
    Slow,
    /// The outbox overflowed while its session was away, which has ended with that.
    Missed,
}

/// What [`Outbox::push`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pushed {
    /// The caller must see to it that somebody flushes.
    pub flush: bool,
    /// What was dropped on the way.
    pub lost: Option<Lost>,
}

/// How far [`Outbox::flush`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// Everything is written, or somebody else is writing it.
    Idle,
    /// The system takes no more for now.
    Blocked,
    /// The connection is broken.
    Broken,
}

/// What the session missed can't be told any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap;

impl Outbox {
    /// An empty one; `resumable` keeps what may have to be sent again.
    #[must_use]
    pub fn new(resumable: bool) -> Self {
        let sent = resumable.then(Box::default);
        Self { state: Mutex::new(State { sent, ..State::default() }) }
    }

    /// Appends a frame; never waits. What it can't take, it drops, and then it closes.
    pub fn push(&self, frame: Frame) -> Pushed {
        let mut state = self.lock();
        if state.closed {
            return Pushed { flush: false, lost: None };
        }
        let lost = state.take_in(frame);
        let flush = !state.closed && state.wants_flush();
        state.promised |= flush;
        Pushed { flush, lost }
    }

    /// The same by the connection's own task, which flushes afterwards by itself.
    pub fn push_own(&self, frame: Frame) {
        let mut state = self.lock();
        if !state.closed {
            state.take_in(frame);
        }
    }

    /// Writes what waits with `write`, which must not block: `WouldBlock` ends it for now. Whoever
    /// gets [`Flushed::Blocked`] must see to it that the connection's task waits for the socket.
    pub fn flush(
        &self,
        now: Instant,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> Flushed {
        let mut state = self.lock();
        state.promised = false;
        if state.writing {
            return Flushed::Idle;
        }
        state.writing = true;
        loop {
            let (mut batch, mut begun) = (std::mem::take(&mut state.waiting), state.begun);
            if batch.is_empty() {
                state.writing = false;
                state.blocked = None;
                return Flushed::Idle;
            }
            drop(state);
            let mut written = Written { frames: VecDeque::new() };
            let ended = written.write(&mut batch, &mut begun, &mut write);
            state = self.lock();
            state.begun = begun;
            state.settle(written);
            if ended.is_none() {
                state.overflowed = false;
                continue;
            }
            if std::mem::take(&mut state.overflowed) {
                batch.truncate(usize::from(begun > 0));
            }
            // What is left stands before what came meanwhile.
            batch.append(&mut state.waiting);
            state.waiting = batch;
            state.writing = false;
            if ended == Some(Flushed::Blocked) {
                state.blocked.get_or_insert(now);
            }
            return ended.unwrap_or(Flushed::Broken);
        }
    }

    /// Whether the connection's own task has something to write.
    #[must_use]
    pub fn wants_own_flush(&self) -> bool {
        let state = self.lock();
        !state.waiting.is_empty() && !state.writing && (state.blocked.is_some() || !state.promised)
    }

    /// Whether nothing waits to be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let state = self.lock();
        state.waiting.is_empty() && !state.writing
    }

    /// How long nothing more could be written.
    #[must_use]
    pub fn blocked_for(&self, now: Instant) -> Duration {
        self.lock().blocked.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// The connection that the frames go to now.
    #[must_use]
    pub fn line(&self) -> Option<Arc<Line>> {
        self.lock().line.clone()
    }

    /// Whether it has overflowed or was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Bytes that are held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Begins: from now on frames go to `line`, `first` before all others.
    pub fn attach(&self, line: Arc<Line>, first: Option<Frame>) {
        let mut state = self.idle();
        state.line = Some(line);
        if let Some(first) = first {
            state.bytes += first.cost();
            state.waiting.push_front(first);
        }
    }

    /// Goes on over another connection: `welcome` first, then again what the client has not
    /// received, then what came meanwhile. The old connection comes back.
    ///
    /// `received` is how many frames the client has had; `None` trusts the old connection with
    /// all that was written to it.
    ///
    /// # Errors
    /// [`Gap`] when some of it is gone; the outbox stays as it was.
    pub fn resume(
        &self,
        line: Arc<Line>,
        welcome: Frame,
        received: Option<u64>,
    ) -> Result<Option<Arc<Line>>, Gap> {
        let mut state = self.idle();
        if state.closed || !state.rewind(received) {
            return Err(Gap);
        }
        if state.begun > 0
            && let Some(old) = &state.line
        {
            old.cut();
        }
        state.begun = 0;
        state.bytes += welcome.cost();
        state.waiting.push_front(welcome);
        state.blocked = None;
        state.promised = false;
        Ok(state.line.replace(line))
    }

    /// What the client has not received, for a server that takes the session over; the outbox is
    /// closed. Also the number of frames before them.
    ///
    /// # Errors
    /// [`Gap`] when some of it is gone.
    pub fn surrender(&self, received: Option<u64>) -> Result<(Vec<Frame>, u64), Gap> {
        let mut state = self.idle();
        if state.closed || !state.rewind(received) {
            return Err(Gap);
        }
        state.closed = true;
        let seen = state.sent.as_ref().map_or(0, |sent| sent.first);
        let missed = std::mem::take(&mut state.waiting);
        state.bytes = 0;
        Ok((missed.into_iter().filter(|f| f.class() != Class::Control).collect(), seen))
    }

    /// Begins with a session of another server: the client has had `seen` frames.
    pub fn adopt(&self, seen: u64) {
        if let Some(sent) = &mut self.lock().sent {
            sent.first = seen;
        }
    }

    /// The connection `line` is gone. Whether it was this session's last.
    pub fn detach(&self, line: &Arc<Line>) -> bool {
        let mut state = self.lock();
        let is_mine = state.line.as_ref().is_some_and(|mine| Arc::ptr_eq(mine, line));
        if is_mine {
            if state.begun > 0 || state.writing {
                line.cut();
            }
            state.line = None;
            state.blocked = None;
            state.promised = false;
        }
        is_mine
    }

    /// Whether `line` is where the frames go.
    #[must_use]
    pub fn is_at(&self, line: &Arc<Line>) -> bool {
        self.lock().line.as_ref().is_some_and(|mine| Arc::ptr_eq(mine, line))
    }

    /// Nobody will flush who has promised to; the connection that has to do it itself.
    pub fn release(&self) -> Option<Arc<Line>> {
        let mut state = self.lock();
        state.promised = false;
        state.line.clone()
    }

    /// Ends it: what waits and then `last` are the last frames. After an overflow there is only
    /// what had begun, and `last`.
    pub fn close(&self, last: Frame) {
        let mut state = self.lock();
        state.closed = true;
        state.sent = None;
        state.bytes += last.cost();
        state.waiting.push_back(last);
    }

    /// The payload of a ping: how many frames were written before it, for [`Outbox::confirm`].
    #[must_use]
    pub fn mark(&self) -> Option<[u8; 8]> {
        let state = self.lock();
        state.sent.as_ref().map(|sent| sent.next().to_be_bytes())
    }

    /// The client has received what was written before the ping with this payload.
    pub fn confirm(&self, mark: &[u8]) {
        let mut state = self.lock();
        let Ok(mark) = mark.try_into() else { return };
        let freed = match &mut state.sent {
            Some(sent) => sent.forget_before(u64::from_be_bytes(mark)),
            None => 0,
        };
        state.bytes -= freed;
        state.tell_unconfirmed();
    }

    /// Takes all frames that wait, for tests.
    #[must_use]
    pub fn drain(&self) -> Vec<Frame> {
        let mut state = self.lock();
        state.promised = false;
        let frames = std::mem::take(&mut state.waiting);
        state.settle(Written { frames: frames.clone() });
        frames.into()
    }

    /// Waits, for microseconds, until nobody writes: writing never blocks.
    fn idle(&self) -> MutexGuard<'_, State> {
        loop {
            let state = self.lock();
            if !state.writing {
                return state;
            }
            drop(state);
            std::thread::yield_now();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wants_flush(&self) -> bool {
        self.line.is_some() && !self.promised && self.blocked.is_none()
    }

    fn is_away(&self) -> bool {
        self.line.is_none() && self.sent.is_some()
    }

    fn take_in(&mut self, frame: Frame) -> Option<Lost> {
        let is_away = self.is_away();
        if is_away && frame.class() == Class::Typing {
            return Some(Lost::Typing(1));
        }
        let mut lost = None;
        if !is_away
            && !self.fits(&frame)
            && let Some(sent) = &mut self.sent
        {
            // What was written most likely arrived.
            self.bytes -= sent.forget_before(sent.next());
        }
        if !self.fits(&frame) {
            lost = self.drop_typing();
        }
        let is_much = self.bytes >= ROSTER_BYTES || !self.fits(&frame);
        if is_much && self.replaces_last(&frame) {
            self.bytes -= self.waiting.pop_back().map_or(0, |older| older.cost());
            lost = Some(Lost::Roster);
        }
        if self.fits(&frame) {
            self.bytes += frame.cost();
            self.waiting.push_back(frame);
            return lost;
        }
        if frame.class() == Class::Typing {
            return Some(Lost::Typing(1));
        }
        self.overflow();
        Some(if is_away { Lost::Missed } else { Lost::Slow })
    }

    fn fits(&self, frame: &Frame) -> bool {
        let (held, limit) = match &self.sent {
            Some(sent) if self.line.is_none() => (self.bytes - sent.bytes, MISSED_BYTES),
            _ => (self.bytes, OUTBOX_BYTES),
        };
        held == 0 || held + frame.cost() <= limit
    }

    /// The first waiting frame may be half written, and then it stays.
    fn untouchable(&self) -> usize {
        usize::from(self.begun > 0 && !self.writing)
    }

    fn replaces_last(&self, frame: &Frame) -> bool {
        let Class::Roster(room) = frame.class() else { return false };
        let last = self.waiting.back().map(Frame::class);
        self.waiting.len() > self.untouchable() && last == Some(Class::Roster(room))
    }

    fn drop_typing(&mut self) -> Option<Lost> {
        let (mut index, untouchable) = (0, self.untouchable());
        let (mut dropped, mut freed) = (0, 0);
        self.waiting.retain(|frame| {
            let keep = index < untouchable || frame.class() != Class::Typing;
            index += 1;
            if !keep {
                dropped += 1;
                freed += frame.cost();
            }
            keep
        });
        self.bytes -= freed;
        (dropped > 0).then_some(Lost::Typing(dropped))
    }

    fn overflow(&mut self) {
        self.closed = true;
        self.overflowed = self.writing;
        self.sent = None;
        self.waiting.truncate(self.untouchable());
        self.waiting.shrink_to_fit();
        self.bytes = self.waiting.iter().map(Frame::cost).sum();
        if let Some(line) = &self.line {
            line.end(Closing::TOO_SLOW);
        }
    }

    /// Books what was written.
    fn settle(&mut self, written: Written) {
        for frame in written.frames {
            match &mut self.sent {
                Some(sent) if frame.class() != Class::Control => {
                    sent.bytes += frame.cost();
                    sent.frames.push_back(frame);
                }
                _ => self.bytes = self.bytes.saturating_sub(frame.cost()),
            }
        }
        if let Some(sent) = &mut self.sent {
            let mut freed = 0;
            while sent.bytes - freed > SENT_BYTES
                && let Some(frame) = sent.frames.pop_front()
            {
                freed += frame.cost();
                sent.first += 1;
            }
            sent.bytes -= freed;
            self.bytes -= freed;
        }
        self.tell_unconfirmed();
    }

    /// Lets the connection know whether a ping would free something.
    fn tell_unconfirmed(&self) {
        if let (Some(line), Some(sent)) = (&self.line, &self.sent) {
            line.set_unconfirmed(if sent.frames.is_empty() { 0 } else { sent.next() });
        }
    }

    /// Puts what was written but not received back before what waits. Frames of the connection
    /// itself are dropped: they belonged to another.
    fn rewind(&mut self, received: Option<u64>) -> bool {
        let Some(sent) = &mut self.sent else { return false };
        let received = received.unwrap_or(sent.next());
        if !(sent.first..=sent.next()).contains(&received) {
            return false;
        }
        self.bytes -= sent.forget_before(received);
        let bytes = &mut self.bytes;
        self.waiting.retain(|frame| {
            let keep = frame.class() != Class::Control;
            *bytes -= if keep { 0 } else { frame.cost() };
            keep
        });
        let mut again = std::mem::take(&mut sent.frames);
        sent.bytes = 0;
        again.append(&mut self.waiting);
        self.waiting = again;
        true
    }
}

impl Sent {
    /// The number of the next frame to be written.
    fn next(&self) -> u64 {
        self.first + self.frames.len() as u64
    }

    /// Lets go of frames; what they cost.
    fn forget_before(&mut self, number: u64) -> usize {
        let mut freed = 0;
        while self.first < number
            && let Some(frame) = self.frames.pop_front()
        {
            freed += frame.cost();
            self.first += 1;
        }
        self.bytes -= freed;
        if self.frames.is_empty() {
            self.frames = VecDeque::new();
        }
        freed
    }
}

/// The frames that one flush has written.
struct Written {
    frames: VecDeque<Frame>,
}

impl Written {
    /// Writes as much of `batch` as goes; `None` when all of it is out.
    fn write(
        &mut self,
        batch: &mut VecDeque<Frame>,
        begun: &mut usize,
        write: &mut impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> Option<Flushed> {
        while !batch.is_empty() {
            let mut slices = [IoSlice::new(&[]); BATCH];
            let mut used = 0;
            for (slice, frame) in slices.iter_mut().zip(&*batch) {
                let from = if used == 0 { *begun } else { 0 };
                *slice = IoSlice::new(&frame.bytes()[from..]);
                used += 1;
            }
            match write(&slices[..used]) {
                Ok(0) => return Some(Flushed::Broken),
                Ok(bytes) => {
                    *begun += bytes;
                    while let Some(first) = batch.front()
                        && *begun >= first.bytes().len()
                    {
                        *begun -= first.bytes().len();
                        self.frames.extend(batch.pop_front());
                    }
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Some(Flushed::Blocked),
                    io::ErrorKind::Interrupted => {}
                    _ => return Some(Flushed::Broken),
                },
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
