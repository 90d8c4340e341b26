//! What was said, in order, bounded.

use std::collections::VecDeque;
use std::path::PathBuf;

use bytes::Bytes;
use net::{MessageId, Protection, TransferId, UnreadableReason, UserId};

use super::picture::Preview;
use crate::clock;

/// Entries that are kept; the oldest are forgotten.
const ENTRIES: usize = 2_000;
/// Bytes of pictures that are kept for saving; the oldest pictures lose theirs, and keep their
/// preview.
const PICTURE_BYTES: usize = 128 * 1024 * 1024;
/// Entries that are shown at first, and more at each request: drawing costs by the entry.
const PAGE: usize = 150;

/// Everything that was said.
#[derive(Debug)]
pub struct Log {
    entries: VecDeque<Entry>,
    shown: usize,
}

impl Default for Log {
    fn default() -> Self {
        Self { entries: VecDeque::new(), shown: PAGE }
    }
}

/// One thing that was said.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Who; `None` for ourselves.
    pub(crate) from: Option<UserId>,
    /// Their name at that moment.
    pub(crate) name: String,
    /// When, as people write it.
    pub(crate) time: String,
    /// What.
    pub(crate) body: Body,
}

/// What was said.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Words.
    Text {
        /// Ours have one.
        id: Option<MessageId>,
        /// The words.
        text: String,
        /// Whether the room has it.
        delivery: Delivery,
        /// How it came.
        protection: Protection,
    },
    /// It did not open.
    Unreadable(UnreadableReason),
    /// A picture.
    Picture(Picture),
}

/// Whether the room has a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// Somebody else's.
    Received,
    /// Ours, on its way.
    Sending,
    /// Ours; the room has it.
    Sent,
    /// Ours; the room does not have it, for this reason.
    Failed(String),
}

/// A picture, on its way or here.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    pub(crate) id: TransferId,
    pub(crate) name: String,
    /// Bytes in all.
    pub(crate) size: u64,
    /// Bytes so far.
    pub(crate) done: u64,
    pub(crate) transfer: Transfer,
    pub(crate) preview: Option<Preview>,
    pub(crate) bytes: Option<Bytes>,
    /// Where it was saved.
    pub(crate) saved: Option<PathBuf>,
    /// How many people have ours.
    pub(crate) received_by: usize,
}

/// How a picture's way ended, or that it has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transfer {
    /// On its way.
    Moving,
    /// Here, or there.
    Done,
    /// Neither.
    Failed(String),
}

impl Body {
    pub(super) fn picture(id: TransferId, name: String, size: u64, bytes: Option<Bytes>) -> Self {
        Self::Picture(Picture {
            id,
            name,
            size,
            done: 0,
            transfer: Transfer::Moving,
            preview: None,
            bytes,
            saved: None,
            received_by: 0,
        })
    }
}

impl Entry {
    pub(super) fn ours(body: Body) -> Self {
        Self { from: None, name: String::new(), time: clock::now(), body }
    }

    pub(super) fn theirs(from: &UserId, name: &str, body: Body) -> Self {
        Self { from: Some(from.clone()), name: name.to_owned(), time: clock::now(), body }
    }
}

impl Log {
    /// The newest entries, oldest first.
    pub(crate) fn shown_entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().skip(self.entries.len().saturating_sub(self.shown))
    }

    /// Whether there are entries before those that are shown.
    pub(crate) fn has_earlier(&self) -> bool {
        self.entries.len() > self.shown
    }

    /// Whether nothing was said.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn show_earlier(&mut self) {
        self.shown += PAGE;
    }

    pub(super) fn push(&mut self, entry: Entry) {
        if self.entries.len() == ENTRIES {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
        self.forget_old_pictures();
    }

    pub(super) fn deliver(&mut self, of: MessageId, to: Delivery) {
        let found = self.entries.iter_mut().rev().find_map(|entry| match &mut entry.body {
            Body::Text { id: Some(id), delivery, .. } if *id == of => Some(delivery),
            _ => None,
        });
        if let Some(delivery) = found {
            *delivery = to;
        }
    }

    /// Takes a failed message out, to be sent again.
    pub(super) fn take_failed(&mut self, of: MessageId) -> Option<String> {
        let index = self.entries.iter().position(|entry| {
            matches!(
                &entry.body,
                Body::Text { id: Some(id), delivery: Delivery::Failed(_), .. } if *id == of
            )
        })?;
        match self.entries.remove(index)?.body {
            Body::Text { text, .. } => Some(text),
            Body::Unreadable(_) | Body::Picture(_) => None,
        }
    }

    /// A picture moved on.
    pub(crate) fn progress(&mut self, id: &TransferId, done: u64, total: u64) {
        if let Some(picture) = self.picture(id) {
            // Towards several people each reports for itself: the bar never goes back.
            picture.done = picture.done.max(done).min(total);
            picture.size = total;
        }
    }

    /// A picture of somebody else's is complete. Returns whether it was known.
    pub(super) fn complete(&mut self, id: &TransferId, bytes: Bytes) -> bool {
        let known = if let Some(picture) = self.picture(id) {
            picture.size = bytes.len() as u64;
            picture.done = picture.size;
            picture.transfer = Transfer::Done;
            picture.bytes = Some(bytes);
            true
        } else {
            false
        };
        self.forget_old_pictures();
        known
    }

    /// Somebody has our picture.
    pub(crate) fn handed_over(&mut self, id: &TransferId) {
        if let Some(picture) = self.picture(id) {
            picture.received_by += 1;
            picture.done = picture.size;
            picture.transfer = Transfer::Done;
        }
    }

    /// A picture did not arrive; one of ours may still have reached others.
    pub(crate) fn failed(&mut self, id: &TransferId, why: String) {
        if let Some(picture) = self.picture(id)
            && picture.transfer != Transfer::Done
        {
            picture.transfer = Transfer::Failed(why);
        }
    }

    pub(super) fn shown(&mut self, id: &TransferId, preview: Option<Preview>) {
        if let Some(picture) = self.picture(id) {
            picture.preview = preview;
        }
    }

    pub(super) fn saved(&mut self, id: &TransferId, path: PathBuf) {
        if let Some(picture) = self.picture(id) {
            picture.saved = Some(path);
        }
    }

    /// The name and content of a picture that is here.
    pub(super) fn file(&self, id: &TransferId) -> Option<(String, Bytes)> {
        self.entries.iter().rev().find_map(|entry| match &entry.body {
            Body::Picture(picture) if picture.id == *id => {
                Some((picture.name.clone(), picture.bytes.clone()?))
            }
            _ => None,
        })
    }

    fn picture(&mut self, id: &TransferId) -> Option<&mut Picture> {
        self.entries.iter_mut().rev().find_map(|entry| match &mut entry.body {
            Body::Picture(picture) if picture.id == *id => Some(picture),
            _ => None,
        })
    }

    fn forget_old_pictures(&mut self) {
        let mut left = PICTURE_BYTES;
        for entry in self.entries.iter_mut().rev() {
            let Body::Picture(picture) = &mut entry.body else { continue };
            let Some(bytes) = &picture.bytes else { continue };
            match left.checked_sub(bytes.len()) {
                Some(rest) => left = rest,
                None => picture.bytes = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(id: MessageId) -> Entry {
        Entry::ours(Body::Text {
            id: Some(id),
            text: "hello".to_owned(),
            delivery: Delivery::Sending,
            protection: Protection::Sealed,
        })
    }

    #[test]
    fn the_log_is_bounded_and_shows_its_end() {
        let mut log = Log::default();
        for _ in 0..ENTRIES + 10 {
            log.push(text(MessageId::random()));
        }
        assert_eq!(log.entries.len(), ENTRIES);
        assert_eq!(log.shown_entries().count(), PAGE);
        log.show_earlier();
        assert_eq!(log.shown_entries().count(), 2 * PAGE);
    }

    #[test]
    fn only_what_failed_can_be_taken_out_again() {
        let mut log = Log::default();
        let id = MessageId::random();
        log.push(text(id));
        assert!(log.take_failed(id).is_none());
        log.deliver(id, Delivery::Failed("no".to_owned()));
        assert_eq!(log.take_failed(id).as_deref(), Some("hello"));
        assert!(log.is_empty());
    }

    #[test]
    fn a_picture_that_somebody_has_does_not_fail_any_more() {
        let mut log = Log::default();
        let id = TransferId::random();
        log.push(Entry::ours(Body::picture(id.clone(), "a.png".to_owned(), 10, None)));
        log.progress(&id, 5, 10);
        log.progress(&id, 3, 10);
        assert_eq!(log.picture(&id).unwrap().done, 5);
        log.handed_over(&id);
        log.failed(&id, "left".to_owned());
        assert_eq!(log.picture(&id).unwrap().transfer, Transfer::Done);
    }

    #[test]
    fn old_pictures_give_their_memory_back() {
        let mut log = Log::default();
        let big = Bytes::from(vec![0; PICTURE_BYTES / 2 + 1]);
        let ids = [TransferId::random(), TransferId::random()];
        for id in &ids {
            let picture = Body::picture(id.clone(), "a.png".to_owned(), 1, Some(big.clone()));
            log.push(Entry::ours(picture));
        }
        assert!(log.file(&ids[0]).is_none());
        assert!(log.file(&ids[1]).is_some());
    }
}
