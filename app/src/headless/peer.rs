//! One headless call: what is read and what is printed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::{Frame, write_png};
use net::{ServerLink, TrackId, UserId, limits};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::MissedTickBehavior;

use super::Signals;
use super::downloads::Downloads;
use super::lines::{Line, Printer};
use super::measure::{self, Measure};
use super::protocol::{COMMAND_BYTES, Command, Event, ServerState, User};
use crate::call::{self, Call, CallEvent};
use crate::cli::{EXIT_FAILED, EXIT_LEFT};

/// Files that are read or written at the same time; more are refused.
const FILES_AT_ONCE: usize = 8;
/// Pause between two measurements.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

const WITHOUT_PASSPHRASE: &str = "There is no passphrase: the chat is not private from the server.";

/// A headless call.
pub(super) struct Peer<'a> {
    call: Call,
    /// The user has to be told so.
    without_passphrase: bool,
    printer: &'a Printer,
    downloads: Downloads,
    started: Instant,
    joined: Option<Instant>,
    measure: Measure,
    files: JoinSet<FileDone>,
}

/// What became of a file.
enum FileDone {
    /// To be printed.
    Print(Event),
    /// Read, and to be sent.
    Send { name: String, mime: &'static str, bytes: Bytes },
}

/// Whether to go on.
#[derive(PartialEq, Eq)]
enum Flow {
    On,
    Leave,
}

impl<'a> Peer<'a> {
    pub(super) fn new(
        call: Call,
        printer: &'a Printer,
        downloads: Downloads,
        without_passphrase: bool,
    ) -> Self {
        Self {
            call,
            without_passphrase,
            printer,
            downloads,
            started: Instant::now(),
            joined: None,
            measure: Measure::default(),
            files: JoinSet::new(),
        }
    }

    /// Runs until told to leave, or until the call ends by itself.
    pub(super) async fn run(
        mut self,
        mut events: mpsc::Receiver<CallEvent>,
        mut commands: mpsc::Receiver<Line>,
        mut signals: Signals,
    ) -> u8 {
        let mut measuring = tokio::time::interval(MEASURE_EVERY);
        measuring.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let code = loop {
            let flow = tokio::select! {
                event = events.recv() => match event {
                    None | Some(CallEvent::Left) => break EXIT_FAILED,
                    Some(event) => self.show(event).await,
                },
                line = commands.recv() => match line {
                    None => Flow::Leave,
                    Some(line) => self.follow(line).await,
                },
                Some(done) = self.files.join_next() => self.finish_file(done).await,
                _ = measuring.tick() => self.measure().await,
                () = signals.told_to_end() => Flow::Leave,
                () = self.printer.reader_gone() => Flow::Leave,
            };
            if flow == Flow::Leave {
                break EXIT_LEFT;
            }
        };
        let Self { call, files, .. } = self;
        drop((files, events));
        call.leave().await;
        code
    }

    async fn print(&self, event: Event) -> Flow {
        match self.printer.print(event).await {
            Ok(()) => Flow::On,
            Err(_) => Flow::Leave,
        }
    }

    async fn show(&mut self, event: CallEvent) -> Flow {
        let event = match event {
            CallEvent::Joined { user, name, room } => {
                self.joined = Some(Instant::now());
                let flow = self.print(Event::Joined { user, room, name }).await;
                if !std::mem::take(&mut self.without_passphrase) {
                    return flow;
                }
                Event::Problem { message: WITHOUT_PASSPHRASE.to_owned() }
            }
            CallEvent::FirstPicture { peer, track, since_start } => {
                let since_joined = self.joined.unwrap_or(self.started).elapsed();
                Event::FirstFrame {
                    from: peer,
                    track,
                    since_joined_ms: millis(since_joined),
                    since_start_ms: millis(since_start),
                }
            }
            CallEvent::Image { from, id, name, mime, bytes, sha256 } => {
                // A slow disk slows the call's events down; it does not pile images up.
                while self.files.len() >= FILES_AT_ONCE
                    && let Some(done) = self.files.join_next().await
                {
                    self.finish_file(done).await;
                }
                let downloads = self.downloads.clone();
                self.files.spawn_blocking(move || {
                    let image = ReceivedImage { from, id, name, mime, bytes, sha256 };
                    FileDone::Print(image.save(&downloads))
                });
                return Flow::On;
            }
            CallEvent::Stats(stats) => measure::stats(&stats, &self.call),
            // The caller handles the last event.
            CallEvent::Left => return Flow::On,
            event => match plain(event) {
                Some(event) => event,
                None => return Flow::On,
            },
        };
        self.print(event).await
    }

    async fn follow(&mut self, line: Line) -> Flow {
        let line = match line {
            Line::Command(line) => line,
            Line::TooLong => {
                let message = format!("a command has at most {COMMAND_BYTES} bytes");
                return self.print(Event::error("bad-command", message)).await;
            }
        };
        if line.trim_ascii().is_empty() {
            return Flow::On;
        }
        let command = match serde_json::from_slice(&line) {
            Ok(command) => command,
            Err(error) => {
                return self.print(Event::error("bad-command", error.to_string())).await;
            }
        };
        match self.obey(command) {
            Ok(flow) => flow,
            Err(refusal) => self.print(refusal.into()).await,
        }
    }

    /// Never waits; what takes time goes on in the background.
    fn obey(&mut self, command: Command) -> Result<Flow, Refusal> {
        let call = &self.call;
        match command {
            Command::Chat { text, id: Some(id) } => call.send_chat_as(id, text)?,
            Command::Chat { text, id: None } => call.send_chat(text).map(drop)?,
            Command::Typing { typing } => call.set_typing(typing)?,
            Command::CancelImage { id } => call.cancel_image(id)?,
            Command::Camera { on } => call.set_camera(on)?,
            Command::Microphone { on } => call.set_microphone(on)?,
            Command::Screen { on } => call.set_screen(on)?,
            Command::Stats => call.request_stats()?,
            Command::Image { path } => {
                self.check_files()?;
                self.files.spawn(read_image(path));
            }
            Command::Snapshot { from, track, path } => {
                self.check_files()?;
                let picture = self.newest_picture(&from, &track)?;
                self.files.spawn_blocking(move || {
                    FileDone::Print(write_snapshot(&picture, from, track, path))
                });
            }
            Command::Leave => return Ok(Flow::Leave),
        }
        Ok(Flow::On)
    }

    fn check_files(&self) -> Result<(), Refusal> {
        if self.files.len() < FILES_AT_ONCE {
            return Ok(());
        }
        let message = format!("{FILES_AT_ONCE} files are being read or written; try again");
        Err(Refusal { code: "busy", message })
    }

    fn newest_picture(&self, from: &UserId, track: &TrackId) -> Result<Arc<Frame>, Refusal> {
        let own = self.call.user();
        let tiles = self.call.tiles();
        let wanted = tiles
            .iter()
            .find(|tile| tile.peer.as_ref().unwrap_or(&own) == from && tile.track == *track);
        let tile = wanted.ok_or_else(|| Refusal {
            code: "no-such-track",
            message: format!("{from} has no picture called {track}"),
        })?;
        tile.frames.latest().ok_or_else(|| Refusal {
            code: "no-picture",
            message: format!("no picture of {from}'s {track} is there yet"),
        })
    }

    async fn finish_file(&self, done: Result<FileDone, JoinError>) -> Flow {
        let event = match done {
            Ok(FileDone::Print(event)) => event,
            Ok(FileDone::Send { name, mime, bytes }) => {
                match self.call.send_image(name, mime, bytes) {
                    Ok(_) => return Flow::On,
                    Err(busy) => Refusal::from(busy).into(),
                }
            }
            Err(error) => Event::error("file", format!("a file was not handled: {error}")),
        };
        self.print(event).await
    }

    async fn measure(&mut self) -> Flow {
        let (video, audio) = (self.call.video_received(), self.call.audio_received());
        for line in self.measure.lines(video, audio, Instant::now()) {
            if self.print(line).await == Flow::Leave {
                return Flow::Leave;
            }
        }
        Flow::On
    }
}

struct ReceivedImage {
    from: UserId,
    id: net::TransferId,
    name: String,
    mime: &'static str,
    bytes: Bytes,
    sha256: [u8; 32],
}

impl ReceivedImage {
    fn save(self, downloads: &Downloads) -> Event {
        let Self { from, id, name, mime, bytes, sha256 } = self;
        match downloads.save(&name, mime, &bytes) {
            Ok(path) => Event::Image {
                from,
                name,
                bytes: bytes.len() as u64,
                sha256: sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
                path,
                mime: mime.to_owned(),
                id,
            },
            Err(error) => {
                Event::error("not-saved", format!("a received image cannot be saved: {error}"))
            }
        }
    }
}

async fn read_image(path: PathBuf) -> FileDone {
    let refused = |why: String| {
        FileDone::Print(Event::error("image", format!("cannot send {}: {why}", path.display())))
    };
    let read = async {
        if !tokio::fs::metadata(&path).await?.is_file() {
            return Err(std::io::Error::other("it is not a file"));
        }
        let mut bytes = Vec::new();
        let file = tokio::fs::File::open(&path).await?;
        file.take(limits::IMAGE_BYTES as u64 + 1).read_to_end(&mut bytes).await?;
        Ok(bytes)
    };
    let bytes = match read.await {
        Ok(bytes) => bytes,
        Err(error) => return refused(error.to_string()),
    };
    if bytes.len() > limits::IMAGE_BYTES {
        return refused(format!("it is larger than {} MiB", limits::IMAGE_BYTES >> 20));
    }
    let Some(mime) = call::image_mime(&bytes) else {
        return refused("it is not a PNG, JPEG, GIF or WebP image".to_owned());
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    FileDone::Send { name, mime, bytes: bytes.into() }
}

fn write_snapshot(picture: &Frame, from: UserId, track: TrackId, path: PathBuf) -> Event {
    let (width, height) = (picture.width(), picture.height());
    match write_png(picture, &path) {
        Ok(()) => Event::Snapshot { from, track, path, width, height },
        Err(error) => Event::error("snapshot", format!("cannot write {}: {error}", path.display())),
    }
}

/// The events that are printed as they are; `None` for those that concern our own tiles.
fn plain(event: CallEvent) -> Option<Event> {
    Some(match event {
        CallEvent::Server(ServerLink::Connected) => {
            Event::Server { state: ServerState::Connected, attempt: None, retry_in_ms: None }
        }
        CallEvent::Server(ServerLink::Reconnecting { attempt, retry_in }) => Event::Server {
            state: ServerState::Reconnecting,
            attempt: Some(attempt),
            retry_in_ms: Some(millis(retry_in)),
        },
        CallEvent::Roster(members) => {
            let user = |member: net::Member| User { id: member.id, name: member.username };
            Event::Roster { users: members.into_iter().map(user).collect() }
        }
        CallEvent::Peer { peer, state } => Event::Peer { id: peer, state },
        CallEvent::Chat { id, from, name, text, protection } => {
            Event::Chat { from, name, text, protection, id }
        }
        CallEvent::Unreadable { from, why } => Event::Unreadable { from, why },
        CallEvent::Devices { peer, microphone, camera, screen } => {
            Event::Devices { from: peer, microphone, camera, screen }
        }
        CallEvent::Missed { from, count, .. } => Event::Missed { from, count },
        CallEvent::Sent { id } => Event::Sent { id },
        CallEvent::NotSent { id, why } => Event::NotSent { id, why },
        CallEvent::Typing { from, typing } => Event::Typing { from, typing },
        CallEvent::TileAdded { peer, track, .. } => Event::TrackAdded { from: peer?, track },
        CallEvent::TileRemoved { peer, track, .. } => Event::TrackRemoved { from: peer?, track },
        CallEvent::Source { source, on } => Event::Source { source, on },
        CallEvent::ImageIncoming { from, id, name, size } => {
            Event::ImageIncoming { from, id, name, bytes: size }
        }
        CallEvent::ImageProgress { id, peer, done, total } => {
            Event::ImageProgress { id, peer, done, total }
        }
        CallEvent::ImageSent { id, peer } => Event::ImageSent { id, to: peer },
        CallEvent::ImageFailed { id, peer, why } => Event::ImageFailed { id, peer, why },
        CallEvent::Problem { what } => Event::Problem { message: what },
        CallEvent::Error { code, message } => Event::error(code, message),
        CallEvent::Joined { .. }
        | CallEvent::FirstPicture { .. }
        | CallEvent::Image { .. }
        | CallEvent::Stats(_)
        | CallEvent::Left => return None,
    })
}

/// Why a command is not followed.
struct Refusal {
    code: &'static str,
    message: String,
}

impl From<net::Busy> for Refusal {
    fn from(busy: net::Busy) -> Self {
        Self { code: "busy", message: busy.to_string() }
    }
}

impl From<Refusal> for Event {
    fn from(Refusal { code, message }: Refusal) -> Self {
        Self::error(code, message)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
