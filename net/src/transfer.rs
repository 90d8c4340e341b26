//! Images over the file channel: what is sent, and a receiver that believes nothing. No sockets,
//! no clock.

pub(crate) mod inspect;

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use wire::{TransferMessage, limits};

use crate::event::TransferId;
use inspect::inspect;

/// Pause between two reports of progress of one transfer.
const REPORT_EVERY: Duration = Duration::from_millis(200);
/// An image that gets no further slice for so long has failed.
pub(crate) const STALLED: Duration = Duration::from_secs(30);
/// What a sender may call its image. Whatever it says, the content decides.
const DECLARED: [&str; 6] = ["", "image/png", "image/jpeg", "image/jpg", "image/gif", "image/webp"];

/// An image on its way out, shared by all peers that get it.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) id: TransferId,
    pub(crate) bytes: Bytes,
    pub(crate) cancelled: CancellationToken,
    name: String,
    mime: &'static str,
}

impl Outgoing {
    /// Checks an image of the user's.
    ///
    /// # Errors
    /// A sentence for the user.
    pub(crate) fn new(id: TransferId, name: &str, bytes: Bytes) -> Result<Self, String> {
        if bytes.len() > limits::IMAGE_BYTES {
            let megabytes = limits::IMAGE_BYTES / 1024 / 1024;
            return Err(format!("the image is larger than {megabytes} MB"));
        }
        let mime = inspect(&bytes)?;
        let name = plain_name(name);
        Ok(Self { id, bytes, cancelled: CancellationToken::new(), name, mime })
    }

    /// The message in front of the slices.
    pub(crate) fn start(&self) -> String {
        let size = self.bytes.len();
        TransferMessage::Start {
            id: self.id.to_string(),
            name: self.name.clone(),
            mime: self.mime.to_owned(),
            size: size as u64,
            chunk_size: limits::IMAGE_CHUNK_BYTES as u64,
            total_chunks: size.div_ceil(limits::IMAGE_CHUNK_BYTES) as u64,
        }
        .to_json()
    }

    /// The slices, in order.
    pub(crate) fn slices(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks(limits::IMAGE_CHUNK_BYTES)
    }

    /// The message behind the slices.
    pub(crate) fn end(&self) -> String {
        TransferMessage::End { id: self.id.to_string() }.to_json()
    }
}

/// What a peer's message on the file channel meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// An image begins.
    Started { id: TransferId, name: String, size: u64 },
    /// It moves on.
    Progress { id: TransferId, done: u64, total: u64 },
    /// It is complete, and what it claims to be.
    Complete { id: TransferId, name: String, mime: &'static str, bytes: Bytes, sha256: [u8; 32] },
    /// It will not be complete. `tell` asks for a message to the sender, so that it stops.
    Failed { id: TransferId, why: String, tell: bool },
    /// The peer has our image; the hash is what it received.
    PeerHas { id: TransferId, sha256: String },
    /// The peer does not want our image.
    PeerRefuses { id: TransferId },
    /// It made no sense and was dropped.
    Rubbish,
}

/// The image that comes in.
#[derive(Debug)]
struct Receiving {
    id: TransferId,
    name: String,
    size: usize,
    slice: usize,
    bytes: Vec<u8>,
    hash: Sha256,
    reported_at: Instant,
    moved_at: Instant,
}

/// The receiving side of one file channel.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    current: Option<Receiving>,
}

impl Incoming {
    /// A text message.
    pub(crate) fn text(&mut self, text: &str, now: Instant, got: &mut Vec<Got>) {
        let Ok(message) = TransferMessage::parse(text) else {
            return got.push(Got::Rubbish);
        };
        match message {
            TransferMessage::Start { id, name, mime, size, chunk_size, .. } => {
                let Some(id) = TransferId::from_peer(&id) else { return got.push(Got::Rubbish) };
                self.fail("the sender began another image", false, got);
                if !DECLARED.contains(&mime.to_ascii_lowercase().as_str()) {
                    let why = "this kind of file is not accepted".to_owned();
                    return got.push(Got::Failed { id, why, tell: true });
                }
                let name = plain_name(&name);
                got.push(Got::Started { id: id.clone(), name: name.clone(), size });
                // Both fit: they were checked against limits far below.
                let (size, slice) = (size as usize, chunk_size as usize);
                self.current = Some(Receiving {
                    id,
                    name,
                    size,
                    slice,
                    bytes: Vec::new(),
                    hash: Sha256::new(),
                    reported_at: now,
                    moved_at: now,
                });
            }
            TransferMessage::Chunk { id, d } => {
                if !self.is_current(&id) {
                    return got.push(Got::Rubbish);
                }
                match STANDARD.decode(d) {
                    Ok(slice) => self.binary(&slice, now, got),
                    Err(_) => self.fail("a piece of the image is damaged", true, got),
                }
            }
            TransferMessage::End { id } => {
                if self.is_current(&id) {
                    self.finish(got);
                } else {
                    got.push(Got::Rubbish);
                }
            }
            TransferMessage::Cancel { id } => {
                if self.is_current(&id) {
                    self.fail("the sender stopped it", false, got);
                } else if let Some(id) = TransferId::from_peer(&id) {
                    got.push(Got::PeerRefuses { id });
                }
            }
            TransferMessage::Done { id, sha256 } => match TransferId::from_peer(&id) {
                Some(id) => got.push(Got::PeerHas { id, sha256 }),
                None => got.push(Got::Rubbish),
            },
        }
    }

    /// A binary message: the next slice.
    pub(crate) fn binary(&mut self, slice: &[u8], now: Instant, got: &mut Vec<Got>) {
        let Some(current) = &mut self.current else { return got.push(Got::Rubbish) };
        if slice.len() > current.slice || current.bytes.len() + slice.len() > current.size {
            return self.fail("the sender sent more than it announced", true, got);
        }
        current.bytes.extend_from_slice(slice);
        current.hash.update(slice);
        current.moved_at = now;
        if now.saturating_duration_since(current.reported_at) >= REPORT_EVERY {
            current.reported_at = now;
            let (done, total) = (current.bytes.len() as u64, current.size as u64);
            got.push(Got::Progress { id: current.id.clone(), done, total });
        }
    }

    /// When [`Self::expire`] wants to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        Some(self.current.as_ref()?.moved_at + STALLED)
    }

    /// Gives up an image that does not move.
    pub(crate) fn expire(&mut self, now: Instant, got: &mut Vec<Got>) {
        if self.deadline().is_some_and(|deadline| now >= deadline) {
            self.fail("it did not move any more", true, got);
        }
    }

    /// The user does not want it.
    pub(crate) fn cancel(&mut self, id: &TransferId, got: &mut Vec<Got>) {
        if self.is_current(id.as_str()) {
            self.fail("you stopped it", true, got);
        }
    }

    /// The channel is gone.
    pub(crate) fn close(&mut self, got: &mut Vec<Got>) {
        self.fail("the connection was lost", false, got);
    }

    fn is_current(&self, id: &str) -> bool {
        self.current.as_ref().is_some_and(|current| current.id.as_str() == id)
    }

    fn fail(&mut self, why: &str, tell: bool, got: &mut Vec<Got>) {
        if let Some(current) = self.current.take() {
            got.push(Got::Failed { id: current.id, why: why.to_owned(), tell });
        }
    }

    fn finish(&mut self, got: &mut Vec<Got>) {
        let Some(current) = self.current.take() else { return };
        let Receiving { id, name, size, bytes, hash, .. } = current;
        if bytes.len() != size {
            let why = "the sender sent less than it announced".to_owned();
            return got.push(Got::Failed { id, why, tell: false });
        }
        match inspect(&bytes) {
            Ok(mime) => {
                let sha256 = hash.finalize().into();
                got.push(Got::Complete { id, name, mime, bytes: bytes.into(), sha256 });
            }
            Err(why) => got.push(Got::Failed { id, why, tell: false }),
        }
    }
}

/// The file's name without a path, without control characters, and not too long.
fn plain_name(name: &str) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    let name = name.trim().trim_start_matches('.');
    if name.is_empty() {
        return "image".to_owned();
    }
    name.chars().take(limits::IMAGE_NAME_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A PNG of one pixel's header, made longer.
    fn png(size: usize) -> Bytes {
        let mut png = inspect::tests::png(40, 30);
        png.resize(size.max(png.len()), 5);
        png.into()
    }

    fn start(id: &str, mime: &str, size: usize, slice: usize) -> String {
        let total = size.div_ceil(slice);
        format!(
            r#"{{"t":"img-start","id":"{id}","name":"../a.png","mime":"{mime}","size":{size},"chunkSize":{slice},"totalChunks":{total}}}"#
        )
    }

    fn failures(got: &[Got]) -> usize {
        got.iter().filter(|got| matches!(got, Got::Failed { .. })).count()
    }

    #[test]
    fn what_is_sent_arrives() {
        let sent = Outgoing::new(TransferId::random(), "/tmp/a.png", png(100_000)).unwrap();
        let (mut incoming, mut got, now) = (Incoming::default(), Vec::new(), Instant::now());
        incoming.text(&sent.start(), now, &mut got);
        sent.slices().for_each(|slice| incoming.binary(slice, now, &mut got));
        incoming.text(&sent.end(), now, &mut got);
        let Some(Got::Complete { id, name, mime, bytes, sha256 }) = got.pop() else {
            panic!("not complete: {got:?}");
        };
        assert_eq!((id, name.as_str(), mime), (sent.id, "a.png", "image/png"));
        assert_eq!(sha256, *Sha256::digest(&bytes));
        assert_eq!(bytes, sent.bytes);
    }

    #[test]
    fn slices_may_come_as_text() {
        let bytes = png(1_000);
        let (mut incoming, mut got, now) = (Incoming::default(), Vec::new(), Instant::now());
        incoming.text(&start("x", "image/png", bytes.len(), 400), now, &mut got);
        for slice in bytes.chunks(400) {
            let text = format!(r#"{{"t":"img-chunk","id":"x","d":"{}"}}"#, STANDARD.encode(slice));
            incoming.text(&text, now, &mut got);
        }
        incoming.text(r#"{"t":"img-end","id":"x"}"#, now, &mut got);
        assert!(matches!(got.last(), Some(Got::Complete { .. })));
    }

    #[test]
    fn images_that_lie_are_refused() {
        let html = b"<html><script>".repeat(50);
        let check = |mime: &str, announced: usize, bytes: &[u8], slice: usize| {
            let (mut incoming, mut got, now) = (Incoming::default(), Vec::new(), Instant::now());
            incoming.text(&start("x", mime, announced, 400), now, &mut got);
            bytes.chunks(slice).for_each(|slice| incoming.binary(slice, now, &mut got));
            incoming.text(r#"{"t":"img-end","id":"x"}"#, now, &mut got);
            assert_eq!(failures(&got), 1, "{got:?}");
            assert!(!got.iter().any(|got| matches!(got, Got::Complete { .. })));
        };
        check("image/png", html.len(), &html, 400);
        check("text/html", html.len(), &html, 400);
        check("image/svg+xml", 1_000, &png(1_000), 400);
        check("image/png", 1_000, &png(1_200), 400);
        check("image/png", 1_000, &png(900), 400);
        check("image/png", 1_000, &png(1_000), 500);
        check("image/png", 2_000, &inspect::tests::png(20_000, 20_000), 400);
    }

    #[test]
    fn a_misnamed_image_is_called_what_it_is() {
        let bytes = png(500);
        let (mut incoming, mut got, now) = (Incoming::default(), Vec::new(), Instant::now());
        incoming.text(&start("x", "image/JPG", bytes.len(), 500), now, &mut got);
        incoming.binary(&bytes, now, &mut got);
        incoming.text(r#"{"t":"img-end","id":"x"}"#, now, &mut got);
        assert!(matches!(got.last(), Some(Got::Complete { mime: "image/png", .. })));
    }

    #[test]
    fn a_second_start_and_silence_end_the_first() {
        let (mut incoming, mut got, now) = (Incoming::default(), Vec::new(), Instant::now());
        incoming.text(&start("x", "image/png", 1_000, 400), now, &mut got);
        incoming.text(&start("y", "image/png", 1_000, 400), now, &mut got);
        assert!(matches!(&got[1], Got::Failed { id, .. } if id.as_str() == "x"));
        incoming.expire(now + STALLED / 2, &mut got);
        assert_eq!(failures(&got), 1);
        incoming.expire(now + STALLED, &mut got);
        assert!(
            matches!(got.last(), Some(Got::Failed { id, tell: true, .. }) if id.as_str() == "y")
        );
    }

    #[test]
    fn too_large_and_strange_files_are_not_sent() {
        let id = TransferId::random();
        let large = Bytes::from(vec![0; limits::IMAGE_BYTES + 1]);
        assert!(Outgoing::new(id.clone(), "a", large).unwrap_err().contains("12 MB"));
        assert!(Outgoing::new(id.clone(), "a", Bytes::new()).is_err());
        assert!(Outgoing::new(id, "a.svg", Bytes::from_static(b"<svg/>")).is_err());
    }

    #[test]
    fn a_name_has_no_path_and_no_end() {
        for (name, plain) in [
            ("../../etc/passwd", "passwd"),
            (r"C:\x\a.png", "a.png"),
            (".bashrc", "bashrc"),
            ("a\u{7}b\n.png", "ab.png"),
            ("", "image"),
            ("..", "image"),
        ] {
            assert_eq!(plain_name(name), plain);
        }
        assert_eq!(plain_name(&"ä".repeat(999)).chars().count(), limits::IMAGE_NAME_CHARS);
    }

    proptest! {
        #[test]
        fn no_messages_make_it_panic_or_grow(
            messages in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..80)), 0..40),
            size in 1_usize..200,
        ) {
            let (mut incoming, mut got, now) = (Incoming::default(), Vec::new(), Instant::now());
            incoming.text(&start("x", "image/png", size, 64), now, &mut got);
            for (binary, bytes) in &messages {
                if *binary {
                    incoming.binary(bytes, now, &mut got);
                } else {
                    incoming.text(&String::from_utf8_lossy(bytes), now, &mut got);
                }
                prop_assert!(incoming.current.as_ref().is_none_or(|c| c.bytes.len() <= size));
            }
        }
    }
}
