//! The data channel to one peer: images, one at a time in each direction.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use wire::TransferMessage;

use super::{OPENING, Outbox, at};
use crate::event::{Event, TransferId};
use crate::transfer::{Got, Incoming, Outgoing};

/// Images that wait for their turn to one peer. When it is full, a further one fails at once.
const IMAGES: usize = 8;
/// The user's refusals on their way to the reader. When it is full, the refusal is lost.
const REFUSALS: usize = 8;
/// Short messages of the reader on their way out. When it is full, one is lost: a peer that misses
/// a refusal goes on sending what we ignore.
const NOTES: usize = 16;
/// How long the last bytes of an image may take to be acknowledged.
const DRAINING: Duration = Duration::from_secs(60);
/// How often it is looked whether they are.
const DRAIN_CHECK: Duration = Duration::from_millis(50);
/// Pause between two reports of progress.
const REPORT_EVERY: Duration = Duration::from_millis(200);

/// The two tasks of one channel.
pub(super) struct Channel {
    channel: Arc<dyn DataChannel>,
    images: mpsc::Sender<Arc<Outgoing>>,
    refusals: mpsc::Sender<TransferId>,
    _reader: AbortOnDropHandle<()>,
    _writer: AbortOnDropHandle<()>,
}

/// The image that goes out now, and how the peer stops it.
type Current = Arc<Mutex<Option<(TransferId, CancellationToken)>>>;

impl Channel {
    pub(super) fn spawn(channel: Arc<dyn DataChannel>, outbox: Outbox) -> Self {
        let (images, waiting) = mpsc::channel(IMAGES);
        let (refusals, refused) = mpsc::channel(REFUSALS);
        let (notes, to_note) = mpsc::channel(NOTES);
        let (opened, open) = watch::channel(Open::NotYet);
        let current = Current::default();
        let reader = Reader {
            channel: Arc::clone(&channel),
            outbox: outbox.clone(),
            opened,
            notes,
            current: Arc::clone(&current),
            incoming: Incoming::default(),
        };
        let writer = Writer { channel: Arc::clone(&channel), outbox, open, current, to_note };
        Self {
            channel,
            images,
            refusals,
            _reader: AbortOnDropHandle::new(tokio::spawn(reader.run(refused))),
            _writer: AbortOnDropHandle::new(tokio::spawn(writer.run(waiting))),
        }
    }

    pub(super) async fn send(&self, image: Arc<Outgoing>, outbox: &Outbox) {
        if let Err(error) = self.images.try_send(image) {
            failed(&error.into_inner(), TOO_MANY, outbox).await;
        }
    }

    pub(super) fn refuse(&self, id: TransferId) {
        self.refusals.try_send(id).ok();
    }

    pub(super) async fn buffered(&self) -> u64 {
        self.channel.outstanding_bytes().await.unwrap_or_default() as u64
    }
}

/// Tells the user that an image did not reach this peer.
pub(super) async fn failed(image: &Outgoing, why: &str, outbox: &Outbox) {
    let (id, peer, why) = (image.id.clone(), Some(outbox.peer.clone()), why.to_owned());
    outbox.event(Event::ImageFailed { id, peer, why }).await;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    NotYet,
    Yes,
    NoMore,
}

struct Reader {
    channel: Arc<dyn DataChannel>,
    outbox: Outbox,
    opened: watch::Sender<Open>,
    notes: mpsc::Sender<TransferMessage>,
    current: Current,
    incoming: Incoming,
}

impl Reader {
    async fn run(mut self, mut refused: mpsc::Receiver<TransferId>) {
        loop {
            let deadline = self.incoming.deadline();
            let mut got = Vec::new();
            tokio::select! {
                event = self.channel.poll() => match event {
                    Some(DataChannelEvent::OnOpen) => {
                        self.opened.send_replace(Open::Yes);
                    }
                    Some(DataChannelEvent::OnMessage(message)) => {
                        let now = Instant::now();
                        if message.is_string {
                            let text = String::from_utf8_lossy(&message.data);
                            self.incoming.text(&text, now, &mut got);
                        } else {
                            self.incoming.binary(&message.data, now, &mut got);
                        }
                    }
                    None | Some(DataChannelEvent::OnClose) => break,
                    Some(_) => {}
                },
                Some(id) = refused.recv() => self.incoming.cancel(&id, &mut got),
                () = at(deadline) => {
                    self.incoming.expire(Instant::now(), &mut got);
                }
            }
            self.pass_on(got).await;
        }
        let mut got = Vec::new();
        self.incoming.close(&mut got);
        self.pass_on(got).await;
        self.opened.send_replace(Open::NoMore);
    }

    async fn pass_on(&self, got: Vec<Got>) {
        let from = &self.outbox.peer;
        for got in got {
            let event = match got {
                Got::Started { id, name, size } => {
                    Event::ImageIncoming { from: from.clone(), id, name, size }
                }
                Got::Progress { id, done, total } => {
                    Event::ImageProgress { id, peer: Some(from.clone()), done, total }
                }
                Got::Complete { id, name, mime, bytes, sha256 } => {
                    let hex = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
                    self.tell(TransferMessage::Done { id: id.to_string(), sha256: hex });
                    Event::Image { from: from.clone(), id, name, mime, bytes, sha256 }
                }
                Got::Failed { id, why, tell } => {
                    if tell {
                        self.tell(TransferMessage::Cancel { id: id.to_string() });
                    }
                    Event::ImageFailed { id, peer: Some(from.clone()), why }
                }
                Got::PeerRefuses { id } => {
                    self.stop(&id);
                    continue;
                }
                Got::PeerHas { .. } => continue,
                Got::Rubbish => {
                    tracing::debug!("a message on the file channel makes no sense");
                    continue;
                }
            };
            self.outbox.event(event).await;
        }
    }

    /// Never waits: the peer might be waiting for us to read.
    fn tell(&self, message: TransferMessage) {
        self.notes.try_send(message).ok();
    }

    fn stop(&self, id: &TransferId) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, stop)) = current.as_ref().filter(|(current, _)| current == id) {
            stop.cancel();
        }
    }
}

struct Writer {
    channel: Arc<dyn DataChannel>,
    outbox: Outbox,
    open: watch::Receiver<Open>,
    current: Current,
    to_note: mpsc::Receiver<TransferMessage>,
}

/// Why an image did not get through, in the user's words.
type Unsent = &'static str;

impl Writer {
    async fn run(mut self, mut images: mpsc::Receiver<Arc<Outgoing>>) {
        loop {
            tokio::select! {
                biased;
                Some(note) = self.to_note.recv() => self.note(&note).await,
                image = images.recv() => match image {
                    Some(image) => self.one(&image).await,
                    None => return,
                },
            }
        }
    }

    async fn one(&mut self, image: &Outgoing) {
        let refused = CancellationToken::new();
        self.set_current(Some((image.id.clone(), refused.clone())));
        let sent = self.send(image, &refused).await;
        self.set_current(None);
        match sent {
            Ok(()) => {
                let (id, peer) = (image.id.clone(), self.outbox.peer.clone());
                self.outbox.event(Event::ImageSent { id, peer }).await;
            }
            Err(why) => {
                failed(image, why, &self.outbox).await;
                self.note(&TransferMessage::Cancel { id: image.id.to_string() }).await;
            }
        }
    }

    async fn note(&self, note: &TransferMessage) {
        // It fails when the channel is gone; the reader notices that, too.
        self.channel.send_text(&note.to_json()).await.ok();
    }

    fn set_current(&self, current: Option<(TransferId, CancellationToken)>) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = current;
    }

    async fn send(&mut self, image: &Outgoing, refused: &CancellationToken) -> Result<(), Unsent> {
        let opening = self.open.wait_for(|open| *open != Open::NotYet);
        match tokio::time::timeout(OPENING, opening).await {
            Ok(Ok(open)) if *open == Open::Yes => {}
            Ok(_) => return Err(LOST),
            Err(_) => return Err("there is no data channel"),
        }
        self.channel.send_text(&image.start()).await.map_err(|_| LOST)?;
        let (total, mut done) = (image.bytes.len() as u64, 0);
        let mut reported_at = Instant::now();
        for slice in image.slices() {
            stopped(image, refused)?;
            while let Ok(note) = self.to_note.try_recv() {
                self.note(&note).await;
            }
            // Waits while too much is under way.
            tokio::select! {
                biased;
                () = image.cancelled.cancelled() => {}
                () = refused.cancelled() => {}
                sent = self.channel.send(BytesMut::from(slice)) => sent.map_err(|_| LOST)?,
            }
            done += slice.len() as u64;
            if reported_at.elapsed() >= REPORT_EVERY {
                reported_at = Instant::now();
                let (id, peer) = (image.id.clone(), Some(self.outbox.peer.clone()));
                self.outbox.event(Event::ImageProgress { id, peer, done, total }).await;
            }
        }
        stopped(image, refused)?;
        self.channel.send_text(&image.end()).await.map_err(|_| LOST)?;
        let drained = tokio::time::timeout(DRAINING, self.drained());
        drained.await.unwrap_or(Err("the other side does not take it"))
    }

    /// Everything was acknowledged. Old clients say nothing themselves.
    async fn drained(&self) -> Result<(), Unsent> {
        loop {
            match self.channel.outstanding_bytes().await {
                Ok(0) => return Ok(()),
                Ok(_) => tokio::time::sleep(DRAIN_CHECK).await,
                Err(_) => return Err(LOST),
            }
        }
    }
}

pub(super) const TOO_MANY: Unsent = "too many images are waiting already";
const LOST: Unsent = "the connection was lost";

fn stopped(image: &Outgoing, refused: &CancellationToken) -> Result<(), Unsent> {
    if image.cancelled.is_cancelled() {
        Err("you stopped it")
    } else if refused.is_cancelled() {
        Err("it was refused")
    } else {
        Ok(())
    }
}
