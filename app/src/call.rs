//! One running call: it owns the net session, the media handles and the pumps between them.
//!
//! **Invariant:** no window toolkit here. The window and the headless peer drive the very same
//! [`Call`]: requests go in without waiting, [`CallEvent`]s come out of one bounded queue, and
//! pictures are never in a message: they are pulled from the [`Slot`]s of [`Call::tiles`].
//!
//! **Shutdown is ownership:** dropping the [`Call`] leaves. [`Call::leave`] does the same and
//! waits until capture has stopped, the peers were told (two seconds at most) and the threads
//! are joined.

mod event;
mod off_thread;
mod publish;
mod receive;
mod shared;
mod task;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use media::{DecoderStats, Frame, PictureFormat, Processing, ScreenTarget, Slot};
use media::{SoundSink, SoundSource, VideoSource};
use net::{Busy, Command, Fingerprint, JoinError, MessageId, Passphrase, RawRoomId, ServerUrl};
use net::{Source, TrackId, TransferId, UserId};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use event::CallEvent;

use event::Request;
use shared::Shared;

/// Requests that wait for the call's task; more are [`Busy`]. The task takes them at once unless
/// its events are not read.
const REQUESTS: usize = 64;
/// Events that wait for the window. When it is full the call's task waits, and with it the
/// session stops reading the socket.
const EVENTS: usize = 256;

/// What it takes to be in a call.
#[derive(Debug, Clone)]
pub struct CallConfig {
    /// Where.
    pub server: ServerUrl,
    /// The certificate to accept, and no other; `None` trusts what the system trusts.
    pub fingerprint: Option<Fingerprint>,
    /// Which room.
    pub room: RawRoomId,
    /// How we are called.
    pub name: String,
    /// The secret that protects the chat; empty for none.
    pub passphrase: Passphrase,
    /// Which devices.
    pub sources: Sources,
    /// Join with the camera on.
    pub camera_on: bool,
    /// Join with the microphone on.
    pub microphone_on: bool,
}

/// Which devices a call uses.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sources {
    /// Where our picture comes from.
    pub camera: VideoSource,
    /// Where our sound comes from.
    pub microphone: SoundSource,
    /// Where the others' sound goes.
    pub speaker: SoundSink,
    /// What is done to our sound; `None` lets the source decide.
    pub processing: Option<Processing>,
    /// The picture asked of the camera.
    pub picture: PictureFormat,
}

/// One picture that can be shown: the self-view, our shared screen, or a track of a peer's.
#[derive(Debug, Clone)]
pub struct TileInfo {
    /// Whose; `None` for our own.
    pub peer: Option<UserId>,
    /// Unique among the tiles of this peer.
    pub track: TrackId,
    /// What it shows.
    pub source: Source,
    /// Where its newest picture stands; empty until there is one.
    pub frames: Slot<Frame>,
}

/// What is received of one picture.
#[derive(Debug, Clone)]
pub struct VideoReceived {
    /// Whose.
    pub peer: UserId,
    /// Which of its tracks.
    pub track: TrackId,
    /// Measured from decoded pictures.
    pub stats: DecoderStats,
}

/// What is received of one sound.
#[derive(Debug, Clone)]
pub struct AudioReceived {
    /// Whose.
    pub peer: UserId,
    /// Which of its tracks.
    pub track: TrackId,
    /// The loudness of the decoded sound; [`media::audio::SILENCE_DBFS`] for silence.
    pub level_dbfs: f32,
    /// The pitch of the decoded sound, if it has one.
    pub pitch_hz: Option<f32>,
    /// Counters of its jitter buffer and decoder.
    pub stats: media::audio::AudioInputStats,
}

/// A running call. Its methods never wait, so the window's `update` and `view` may call them.
#[derive(Debug)]
pub struct Call {
    requests: mpsc::Sender<Request>,
    shared: Arc<Shared>,
    leaving: CancellationToken,
    task: Option<JoinHandle<()>>,
}

/// Opens the devices, joins the room and starts the call on the runtime that calls this.
///
/// Devices open while the session signs in. A missing device is no error: it becomes a
/// [`CallEvent::Problem`], and the call goes on without.
///
/// # Errors
/// As [`net::join`]; the devices are closed again then.
pub async fn start(config: CallConfig) -> Result<(Call, mpsc::Receiver<CallEvent>), JoinError> {
    let started = Instant::now();
    let (audio, packets) = publish::open_audio(&config);
    let camera = publish::open_camera(&config, config.camera_on);
    let (session, net_events) = net::join(net::JoinConfig {
        server: config.server.clone(),
        fingerprint: config.fingerprint,
        room: config.room.clone(),
        name: config.name.clone(),
        passphrase: config.passphrase.clone(),
        publish: net::Publish {
            microphone: config.microphone_on && config.sources.microphone != SoundSource::None,
            camera: config.camera_on && config.sources.camera != VideoSource::None,
        },
    })
    .await?;

    let (requests, requests_in) = mpsc::channel(REQUESTS);
    let (events, events_out) = mpsc::channel(EVENTS);
    let leaving = CancellationToken::new();
    let shared = Arc::new(Shared::new(session.user().clone(), audio));
    let task = task::Task::new(task::Parts {
        config,
        started,
        session,
        events,
        leaving: leaving.clone(),
        shared: Arc::clone(&shared),
        camera,
    });
    let task = tokio::spawn(task.run(net_events, requests_in, packets));
    Ok((Call { requests, shared, leaving, task: Some(task) }, events_out))
}

impl Call {
    /// Our id; it changes when the server forgot us and we had to sign in anew.
    #[must_use]
    pub fn user(&self) -> UserId {
        self.shared.user()
    }

    /// Says something to the room; [`CallEvent::Sent`] or [`CallEvent::NotSent`] follows.
    ///
    /// # Errors
    /// [`Busy`]; nothing was sent then.
    pub fn send_chat(&self, text: impl Into<String>) -> Result<MessageId, Busy> {
        let id = MessageId::random();
        self.send_chat_as(id, text)?;
        Ok(id)
    }

    /// Like [`Call::send_chat`] with an id of the caller's.
    ///
    /// # Errors
    /// [`Busy`]; nothing was sent then.
    pub fn send_chat_as(&self, id: MessageId, text: impl Into<String>) -> Result<(), Busy> {
        self.request(Request::Net(Command::Chat { id, text: text.into() }))
    }

    /// Tells the room that we type, or stopped.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn set_typing(&self, typing: bool) -> Result<(), Busy> {
        self.request(Request::Net(Command::Typing(typing)))
    }

    /// Sends an image to everybody connected; [`CallEvent::ImageSent`] or
    /// [`CallEvent::ImageFailed`] follows for each of them. See [`image_mime`] for `mime`.
    ///
    /// # Errors
    /// [`Busy`]; nothing was sent then.
    pub fn send_image(
        &self,
        name: impl Into<String>,
        mime: impl Into<String>,
        bytes: Bytes,
    ) -> Result<TransferId, Busy> {
        let id = TransferId::random();
        let (name, mime) = (name.into(), mime.into());
        self.request(Request::Net(Command::SendImage { id: id.clone(), name, mime, bytes }))?;
        Ok(id)
    }

    /// Stops sending, or refuses, an image.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn cancel_image(&self, id: TransferId) -> Result<(), Busy> {
        self.request(Request::Net(Command::CancelImage { id }))
    }

    /// Switches the camera; off closes the device. [`CallEvent::Source`] follows.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn set_camera(&self, on: bool) -> Result<(), Busy> {
        self.request(Request::Camera(on))
    }

    /// Switches the microphone. [`CallEvent::Source`] follows.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn set_microphone(&self, on: bool) -> Result<(), Busy> {
        self.request(Request::Microphone(on))
    }

    /// Shares the primary screen, or stops sharing. [`CallEvent::Source`] follows.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn set_screen(&self, on: bool) -> Result<(), Busy> {
        self.share(on.then_some(ScreenTarget::Primary))
    }

    /// Shares one screen, or stops sharing. [`CallEvent::Source`] follows.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn share(&self, target: Option<ScreenTarget>) -> Result<(), Busy> {
        self.request(Request::Screen(target))
    }

    /// Asks for one [`CallEvent::Stats`].
    ///
    /// # Errors
    /// [`Busy`].
    pub fn request_stats(&self) -> Result<(), Busy> {
        self.request(Request::Net(Command::Stats))
    }

    /// Every picture that can be shown now, our own first. Pull the newest frame of each from its
    /// slot; [`CallEvent::TileAdded`] and [`CallEvent::TileRemoved`] say when to ask again.
    #[must_use]
    pub fn tiles(&self) -> Vec<TileInfo> {
        self.shared.tiles()
    }

    /// Decodes a peer's picture, or saves the work while it can't be seen. Tiles begin shown.
    pub fn set_shown(&self, peer: &UserId, track: &TrackId, shown: bool) {
        self.shared.set_shown(peer, track, shown);
    }

    /// How loud our microphone is now, before muting, in dBFS.
    #[must_use]
    pub fn microphone_level(&self) -> f32 {
        self.shared.microphone_level()
    }

    /// How loud a peer is now, in dBFS.
    #[must_use]
    pub fn peer_level(&self, peer: &UserId) -> f32 {
        self.shared.peer_level(peer)
    }

    /// What is received of every picture. Reads frame counters: ask once a second.
    #[must_use]
    pub fn video_received(&self) -> Vec<VideoReceived> {
        self.shared.video_received()
    }

    /// What is received of every sound. Measures pitches: ask once a second.
    #[must_use]
    pub fn audio_received(&self) -> Vec<AudioReceived> {
        self.shared.audio_received()
    }

    /// Leaves, and waits until capture has stopped, everybody was told and the threads are
    /// joined; about two seconds at most.
    pub async fn leave(mut self) {
        self.leaving.cancel();
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the call's task failed");
        }
    }

    fn request(&self, request: Request) -> Result<(), Busy> {
        self.requests.try_send(request).map_err(|_| Busy)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.leaving.cancel();
    }
}

/// The type of an image that can be sent, recognised from its content; `None` for anything but
/// PNG, JPEG, GIF and WebP.
#[must_use]
pub fn image_mime(bytes: &[u8]) -> Option<&'static str> {
    match image::guess_format(bytes).ok()? {
        image::ImageFormat::Png => Some("image/png"),
        image::ImageFormat::Jpeg => Some("image/jpeg"),
        image::ImageFormat::Gif => Some("image/gif"),
        image::ImageFormat::WebP => Some("image/webp"),
        _ => None,
    }
}
