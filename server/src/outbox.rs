//! What waits to be written to one client, bounded in bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Bytes that may wait for one client, those being written included. When it is full, typing
/// indicators are lost first; then the client is closed as too slow. A single larger frame passes
/// when nothing else waits.
pub const OUTBOX_BYTES: usize = 256 * 1024;

/// A message on its way to its recipients, serialised once and shared by all of them.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The JSON text.
    pub text: Utf8Bytes,
    class: Class,
}

#[derive(Debug, Clone)]
enum Class {
    /// Must arrive.
    Kept,
    /// May be lost.
    Typing,
    /// May be replaced by the next one of its room.
    Roster(Arc<str>),
}

impl Frame {
    /// A frame that must arrive.
    #[must_use]
    pub fn new(text: impl Into<Utf8Bytes>) -> Self {
        Self { text: text.into(), class: Class::Kept }
    }

    /// A typing indicator: the first to be lost when a client is slow.
    #[must_use]
    pub fn typing(text: impl Into<Utf8Bytes>) -> Self {
        Self { text: text.into(), class: Class::Typing }
    }

    /// A snapshot of `room`. A slow client gets only the newest of several in a row.
    #[must_use]
    pub fn roster(text: impl Into<Utf8Bytes>, room: Arc<str>) -> Self {
        Self { text: text.into(), class: Class::Roster(room) }
    }

    fn bytes(&self) -> usize {
        self.text.len()
    }

    fn replaces(&self, older: &Self) -> bool {
        match (&self.class, &older.class) {
            (Class::Roster(new), Class::Roster(old)) => Arc::ptr_eq(new, old),
            _ => false,
        }
    }
}

/// The client reads too slowly, and its outbox has closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooSlow;

/// The frames of one client, in order. Filled under the room's lock, emptied by the client's task.
#[derive(Debug, Default)]
pub struct Outbox {
    state: Mutex<State>,
    /// Wakes the one task that writes; a push before it waits is not lost.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Frame>,
    /// Of the frames that wait and of the batch that is being written.
    bytes: usize,
    closed: bool,
}

impl Outbox {
    /// Appends a frame; never waits. What it can't take, it drops, and then it closes.
    pub fn push(&self, frame: Frame) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        if !state.fits(&frame) {
            state.drop_typing();
        }
        if !state.fits(&frame) && state.waiting.back().is_some_and(|last| frame.replaces(last)) {
            let older = state.waiting.pop_back().map_or(0, |older| older.bytes());
            state.bytes -= older;
        }
        if state.fits(&frame) {
            state.bytes += frame.bytes();
            state.waiting.push_back(frame);
        } else if !matches!(frame.class, Class::Typing) {
            *state = State { closed: true, ..State::default() };
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Waits for frames and takes all of them. Cancelling it loses nothing. The caller reports
    /// with [`Outbox::written`] when they are out.
    ///
    /// # Errors
    /// [`TooSlow`] once the outbox has closed.
    pub async fn batch(&self) -> Result<Batch, TooSlow> {
        loop {
            if let Some(batch) = self.take()? {
                return Ok(batch);
            }
            self.changed.notified().await;
        }
    }

    /// The frames that wait now, if any.
    ///
    /// # Errors
    /// [`TooSlow`] once the outbox has closed.
    pub fn take(&self) -> Result<Option<Batch>, TooSlow> {
        let mut state = self.lock();
        if state.closed {
            return Err(TooSlow);
        }
        // Taking the queue with its memory keeps an idle client small.
        let frames = std::mem::take(&mut state.waiting);
        let bytes = frames.iter().map(Frame::bytes).sum();
        Ok((!frames.is_empty()).then_some(Batch { frames, bytes }))
    }

    /// A batch went out, and its bytes are free again.
    pub fn written(&self, bytes: usize) {
        let mut state = self.lock();
        state.bytes = state.bytes.saturating_sub(bytes);
    }

    /// Waits until the outbox closes because too much came in.
    pub async fn overflow(&self) -> TooSlow {
        loop {
            if self.lock().closed {
                return TooSlow;
            }
            self.changed.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn fits(&self, frame: &Frame) -> bool {
        self.bytes == 0 || self.bytes + frame.bytes() <= OUTBOX_BYTES
    }

    fn drop_typing(&mut self) {
        let mut dropped = 0;
        self.waiting.retain(|frame| {
            let keep = !matches!(frame.class, Class::Typing);
            dropped += if keep { 0 } else { frame.bytes() };
            keep
        });
        self.bytes -= dropped;
    }
}

/// Frames to write in one go.
#[derive(Debug)]
pub struct Batch {
    /// In order.
    pub frames: VecDeque<Frame>,
    /// Their sum.
    pub bytes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(letter: char, bytes: usize) -> String {
        letter.to_string().repeat(bytes)
    }

    fn firsts(outbox: &Outbox) -> String {
        let batch = outbox.take().unwrap();
        let frames = batch.into_iter().flat_map(|batch| batch.frames);
        frames.filter_map(|frame| frame.text.chars().next()).collect()
    }

    #[test]
    fn frames_leave_in_order_and_free_their_bytes_when_written() {
        let outbox = Outbox::default();
        outbox.push(Frame::new(text('a', OUTBOX_BYTES / 2)));
        outbox.push(Frame::typing(text('t', OUTBOX_BYTES / 2)));
        let batch = outbox.take().unwrap().unwrap();
        assert_eq!((batch.frames.len(), batch.bytes), (2, OUTBOX_BYTES));
        outbox.written(batch.bytes);
        outbox.push(Frame::new(text('b', OUTBOX_BYTES)));
        assert_eq!(firsts(&outbox), "b");
        assert!(outbox.take().unwrap().is_none());
    }

    #[test]
    fn typing_is_lost_first_then_the_outbox_closes() {
        let outbox = Outbox::default();
        outbox.push(Frame::typing(text('t', OUTBOX_BYTES / 2)));
        outbox.push(Frame::new(text('a', OUTBOX_BYTES / 2)));
        outbox.push(Frame::new(text('b', OUTBOX_BYTES / 2)));
        outbox.push(Frame::typing(text('u', 1)));
        assert_eq!(outbox.take().unwrap().unwrap().bytes, OUTBOX_BYTES);
        outbox.push(Frame::new("one more".to_owned()));
        assert_eq!(outbox.take().unwrap_err(), TooSlow);
        outbox.push(Frame::new("too late".to_owned()));
        assert_eq!(outbox.take().unwrap_err(), TooSlow);
    }

    #[test]
    fn what_is_being_written_still_counts() {
        let outbox = Outbox::default();
        outbox.push(Frame::new(text('a', OUTBOX_BYTES)));
        outbox.take().unwrap();
        outbox.push(Frame::new("b".to_owned()));
        assert_eq!(outbox.take().unwrap_err(), TooSlow);
    }

    #[test]
    fn a_slow_client_gets_only_the_newest_of_snapshots_in_a_row() {
        let (room, other): (Arc<str>, Arc<str>) = ("r".into(), "r".into());
        let outbox = Outbox::default();
        outbox.push(Frame::roster(text('1', 10), room.clone()));
        outbox.push(Frame::roster(text('2', OUTBOX_BYTES - 10), room.clone()));
        outbox.push(Frame::roster(text('3', 20), room.clone()));
        assert_eq!(firsts(&outbox), "13");
        let outbox = Outbox::default();
        outbox.push(Frame::roster(text('1', OUTBOX_BYTES), other));
        outbox.push(Frame::roster(text('2', 10), room));
        assert_eq!(outbox.take().unwrap_err(), TooSlow);
    }

    #[test]
    fn one_frame_larger_than_the_outbox_passes_alone() {
        let outbox = Outbox::default();
        outbox.push(Frame::new(text('a', OUTBOX_BYTES + 1)));
        assert_eq!(firsts(&outbox), "a");
    }

    #[tokio::test]
    async fn a_waiting_task_is_woken_by_a_push_and_by_the_close() {
        let outbox = Arc::new(Outbox::default());
        let reader = tokio::spawn({
            let outbox = outbox.clone();
            async move { (outbox.batch().await.map(|batch| batch.bytes), outbox.overflow().await) }
        });
        outbox.push(Frame::new(text('a', OUTBOX_BYTES)));
        while !outbox.lock().waiting.is_empty() {
            tokio::task::yield_now().await;
        }
        outbox.push(Frame::new("b".to_owned()));
        assert_eq!(reader.await.unwrap(), (Ok(OUTBOX_BYTES), TooSlow));
    }
}
