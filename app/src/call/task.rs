//! The actor that owns a running call.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use media::{EncodedAudio, ScreenTarget, VideoSource};
use net::{Codec, Command, Event, MediaOut, MessageId, RemoteTrack, Session};
use net::{Source, TrackId, TransferId, UserId};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::event::{CallEvent, Notice, Request};
use super::publish::{self, Capture, Outgoing};
use super::receive;
use super::shared::{Remains, Shared, Tile, Voice};
use super::{CallConfig, TileInfo};

/// Notices of the pumps that wait for the task. When it is full, a pump waits, or a wish for a
/// key frame is lost and repeated a second later.
const NOTICES: usize = 64;
/// How often the encoders are looked after when nothing else happens.
const TEND: Duration = Duration::from_millis(250);
/// How long the session may take to say goodbye; it needs two seconds at most.
const GOODBYE: Duration = Duration::from_millis(2_500);
/// How long threads may take to end; a device may hang.
const JOINING: Duration = Duration::from_secs(2);
/// How long the last event waits for a reader.
const LAST_EVENT: Duration = Duration::from_millis(200);

/// What a task is made of.
pub(super) struct Parts {
    pub(super) config: CallConfig,
    pub(super) started: Instant,
    pub(super) session: Session,
    pub(super) events: mpsc::Sender<CallEvent>,
    pub(super) leaving: CancellationToken,
    pub(super) shared: Arc<Shared>,
    pub(super) camera: Option<Capture>,
}

/// See the module.
pub(super) struct Task {
    config: CallConfig,
    started: Instant,
    session: Session,
    media: MediaOut,
    events: mpsc::Sender<CallEvent>,
    leaving: CancellationToken,
    shared: Arc<Shared>,
    notices: mpsc::Sender<Notice>,
    notices_in: Option<mpsc::Receiver<Notice>>,
    camera: Option<Outgoing>,
    screen: Option<Outgoing>,
    sound_problems: Vec<String>,
    /// Our own sources were told about.
    introduced: bool,
}

/// Everything that reaches the task.
enum Input {
    Net(Event),
    Request(Request),
    Notice(Notice),
    Tend,
    /// The handle is gone, or the session is over.
    End,
}

impl Task {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { config, started, session, events, leaving, shared, camera } = parts;
        let (notices, notices_in) = mpsc::channel(NOTICES);
        let media = session.media();
        let camera = camera.map(|camera| Outgoing::new(camera, media.clone(), notices.clone()));
        Self {
            config,
            started,
            session,
            media,
            events,
            leaving,
            shared,
            notices,
            notices_in: Some(notices_in),
            camera,
            screen: None,
            sound_problems: Vec::new(),
            introduced: false,
        }
    }

    /// Runs until the handle is dropped or the session is over.
    pub(super) async fn run(
        mut self,
        mut net_events: mpsc::Receiver<Event>,
        mut requests: mpsc::Receiver<Request>,
        packets: mpsc::Receiver<EncodedAudio>,
    ) {
        let sound = tokio::spawn(publish::hand_over_sound(packets, self.media.clone()));
        if let Some(audio) = self.shared.audio() {
            let problems = audio.watch_problems();
            tokio::spawn(publish::tell_sound_problems(problems, self.notices.clone()));
        }
        let mut notices = self.notices_in.take().expect("a task runs once");
        let mut tend = tokio::time::interval(TEND);
        tend.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let input = tokio::select! {
                biased;
                () = self.leaving.cancelled() => Input::End,
                event = net_events.recv() => event.map_or(Input::End, Input::Net),
                request = requests.recv() => request.map_or(Input::End, Input::Request),
                Some(notice) = notices.recv() => Input::Notice(notice),
                _ = tend.tick() => Input::Tend,
            };
            match input {
                Input::Net(Event::Left) | Input::End => break,
                Input::Net(event) => self.handle_net(event).await,
                Input::Request(request) => self.handle_request(request).await,
                Input::Notice(notice) => self.handle_notice(notice).await,
                Input::Tend => {}
            }
            self.tend();
        }
        sound.abort();
        drop((requests, notices));
        self.end(net_events).await;
    }

    async fn handle_net(&mut self, event: Event) {
        match event {
            Event::Joined { user, name, room } => {
                self.shared.set_user(user.clone());
                self.tell(CallEvent::Joined { user, name, room }).await;
                if !std::mem::replace(&mut self.introduced, true) {
                    self.tell_own_sources().await;
                }
            }
            Event::Track(track) => self.add_track(track).await,
            Event::TrackEnded { peer, track } => self.remove_track(peer, track).await,
            Event::KeyFrameWanted { source } => self.make_key_frame(source),
            event => {
                if let Some(event) = CallEvent::from_net(event) {
                    self.tell(event).await;
                }
            }
        }
    }

    async fn handle_request(&mut self, request: Request) {
        match request {
            Request::Net(command) => {
                let lost = lost_command(&command);
                if self.session.try_command(command).is_err() {
                    self.tell(lost).await;
                }
            }
            Request::Camera(on) => self.switch_camera(on).await,
            Request::Microphone(on) => self.switch_microphone(on).await,
            Request::Screen(target) => self.switch_screen(target).await,
        }
    }

    async fn handle_notice(&mut self, notice: Notice) {
        match notice {
            Notice::NeedKey { peer, track } => {
                // Busy: the decoder asks again.
                let _ = self.session.try_command(Command::RequestKeyFrame { peer, track });
            }
            Notice::FirstPicture { peer, track } => {
                let since_start = self.started.elapsed();
                self.tell(CallEvent::FirstPicture { peer, track, since_start }).await;
            }
            Notice::Picture { source, problem } => self.picture_problem(source, problem).await,
            Notice::Sound(problems) => {
                for what in &problems {
                    if !self.sound_problems.contains(what) {
                        self.tell(CallEvent::Problem { what: what.clone() }).await;
                    }
                }
                self.sound_problems = problems;
            }
        }
    }

    /// Runs the encoders exactly while somebody is there to receive.
    fn tend(&mut self) {
        for outgoing in self.camera.iter_mut().chain(&mut self.screen) {
            outgoing.tend();
        }
    }

    fn make_key_frame(&mut self, source: Source) {
        let outgoing = match source {
            Source::Camera => &mut self.camera,
            Source::Screen => &mut self.screen,
            Source::Microphone | Source::ScreenAudio => return,
        };
        if let Some(outgoing) = outgoing {
            outgoing.make_key_frame();
        }
    }

    async fn add_track(&mut self, track: RemoteTrack) {
        if track.codec == Codec::Opus {
            return self.add_voice(track);
        }
        let (peer, id, source) = (track.peer.clone(), track.id.clone(), track.source);
        match receive::start_video(track, &self.notices) {
            Ok(tile) => {
                drop(self.shared.add_tile(tile));
                self.tell(CallEvent::TileAdded { peer: Some(peer), track: id, source }).await;
            }
            Err(error) => {
                tracing::warn!(%error, "a peer's picture can't be shown");
                let what = format!("A {source} picture can't be shown: {error}.");
                self.tell(CallEvent::Problem { what }).await;
            }
        }
    }

    fn add_voice(&self, track: RemoteTrack) {
        let RemoteTrack { peer, id, frames, .. } = track;
        if let Some(audio) = self.shared.audio() {
            let input = Arc::new(audio.add_peer(format!("{peer}/{id}")));
            tokio::spawn(receive::pump_sound(frames, Arc::clone(&input)));
            drop(self.shared.add_voice(Voice { peer, track: id, input }));
        }
    }

    async fn remove_track(&mut self, peer: UserId, track: TrackId) {
        drop(self.shared.remove_voice(&peer, &track));
        if let Some(tile) = self.shared.remove_tile(Some(&peer), &track) {
            let source = tile.info.source;
            drop(tile);
            self.tell(CallEvent::TileRemoved { peer: Some(peer), track, source }).await;
        }
    }

    async fn switch_camera(&mut self, on: bool) {
        if on && self.config.sources.camera == VideoSource::None {
            let what = "No camera is chosen.".to_owned();
            self.tell(CallEvent::Problem { what }).await;
        }
        if on && self.camera.is_none() {
            self.camera = publish::open_camera(&self.config, true)
                .map(|camera| Outgoing::new(camera, self.media.clone(), self.notices.clone()));
            if self.camera.is_some() {
                self.publish(Source::Camera, true);
                return self.tell_own_picture(Source::Camera).await;
            }
        } else if !on && let Some(camera) = self.camera.take() {
            self.publish(Source::Camera, false);
            camera.close();
            self.remove_own_tile(Source::Camera).await;
        }
        self.tell(CallEvent::Source { source: Source::Camera, on: self.camera.is_some() }).await;
    }

    async fn switch_screen(&mut self, target: Option<ScreenTarget>) {
        if let Some(screen) = self.screen.take() {
            if target.is_none() {
                self.publish(Source::Screen, false);
            }
            screen.close();
            self.remove_own_tile(Source::Screen).await;
        }
        self.screen = target
            .and_then(|target| publish::open_screen(&target))
            .map(|screen| Outgoing::new(screen, self.media.clone(), self.notices.clone()));
        if self.screen.is_some() {
            self.publish(Source::Screen, true);
            return self.tell_own_picture(Source::Screen).await;
        }
        self.tell(CallEvent::Source { source: Source::Screen, on: false }).await;
    }

    async fn switch_microphone(&mut self, on: bool) {
        self.config.microphone_on = on;
        if let Some(audio) = self.shared.audio() {
            audio.set_muted(!on);
        }
        self.publish(Source::Microphone, on);
        self.tell(CallEvent::Source { source: Source::Microphone, on }).await;
    }

    async fn picture_problem(&mut self, source: Source, problem: Option<String>) {
        // The source may have been switched off in the meantime.
        let running = match source {
            Source::Camera => self.camera.is_some(),
            _ => self.screen.is_some(),
        };
        if !running {
            return;
        }
        let failed = problem.is_some();
        if let Some(what) = problem {
            self.tell(CallEvent::Problem { what }).await;
        }
        match source {
            Source::Screen if failed => self.switch_screen(None).await,
            // A camera may come back. Without pictures the others see the name instead of a black
            // square.
            _ => self.publish(source, !failed),
        }
    }

    /// Says what is on from the start.
    async fn tell_own_sources(&mut self) {
        let microphone = self.config.microphone_on;
        self.tell(CallEvent::Source { source: Source::Microphone, on: microphone }).await;
        if self.camera.is_some() {
            self.tell_own_picture(Source::Camera).await;
        } else {
            self.tell(CallEvent::Source { source: Source::Camera, on: false }).await;
        }
    }

    async fn tell_own_picture(&mut self, source: Source) {
        let outgoing = if source == Source::Camera { &self.camera } else { &self.screen };
        let Some(frames) = outgoing.as_ref().map(Outgoing::frames) else { return };
        let track = TrackId::new(source.name());
        let info = TileInfo { peer: None, track: track.clone(), source, frames };
        let shown = Arc::new(AtomicBool::new(true));
        drop(self.shared.add_tile(Tile { info, decoder: None, shown }));
        self.tell(CallEvent::TileAdded { peer: None, track, source }).await;
        self.tell(CallEvent::Source { source, on: true }).await;
    }

    async fn remove_own_tile(&mut self, source: Source) {
        let track = TrackId::new(source.name());
        drop(self.shared.remove_tile(None, &track));
        self.tell(CallEvent::TileRemoved { peer: None, track, source }).await;
    }

    fn publish(&self, source: Source, on: bool) {
        if self.session.try_command(Command::Publish { source, on }).is_err() {
            // Sixty commands wait: the computer stands still, or the session is over.
            tracing::warn!(%source, on, "the session did not take a switch");
        }
    }

    /// Gives an event to the reader; waits for a place, unless the call ends meanwhile.
    async fn tell(&self, event: CallEvent) {
        tokio::select! {
            biased;
            () = self.leaving.cancelled() => {}
            sent = self.events.send(event) => {
                if sent.is_err() {
                    // Nobody reads any more.
                    self.leaving.cancel();
                }
            }
        }
    }

    /// Stops capture, says goodbye, joins the threads.
    async fn end(self, mut net_events: mpsc::Receiver<Event>) {
        let Self { session, events, shared, camera, screen, .. } = self;
        let mut ending: Vec<JoinHandle<()>> = Vec::new();
        for outgoing in [camera, screen].into_iter().flatten() {
            ending.extend(outgoing.close());
        }
        let Remains { audio, tiles, voices } = shared.clear();
        ending.extend(audio.and_then(super::off_thread::OffThread::close));

        let mut goodbye = std::pin::pin!(tokio::time::timeout(GOODBYE, session.leave()));
        loop {
            tokio::select! {
                left = &mut goodbye => {
                    if left.is_err() {
                        tracing::warn!("saying goodbye took too long");
                    }
                    break;
                }
                // The session must not wait for a reader while it leaves.
                Some(_) = net_events.recv() => {}
            }
        }
        drop((net_events, voices));
        ending.extend(tiles.into_iter().filter_map(|tile| tile.decoder?.close()));
        let joined = async {
            for thread in ending {
                let _ = thread.await;
            }
        };
        if tokio::time::timeout(JOINING, joined).await.is_err() {
            tracing::warn!("a device or codec did not stop in time");
        }
        // A reader that is gone or stuck does not need it.
        let _ = tokio::time::timeout(LAST_EVENT, events.send(CallEvent::Left)).await;
    }
}

/// What to tell when the session is too busy for a command.
fn lost_command(command: &Command) -> CallEvent {
    let why = net::Busy.to_string();
    let chat = |id: MessageId, why| CallEvent::NotSent { id, why };
    let image = |id: &TransferId, why| CallEvent::ImageFailed { id: id.clone(), peer: None, why };
    match command {
        Command::Chat { id, .. } => chat(*id, why),
        Command::SendImage { id, .. } => image(id, why),
        _ => CallEvent::Error { code: "busy", message: why },
    }
}
