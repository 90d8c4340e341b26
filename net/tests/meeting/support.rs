//! A server in this process, people in its rooms, and patience with a limit.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use net::{
    Codec, Command, EncodedFrame, Event, JoinConfig, JoinError, MessageId, Passphrase, PeerState,
    Publish, RawRoomId, RemoteTrack, Session, Source, TrackId, UserId,
};
use server::{Config, Server, Tls};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// No step of a test takes longer.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A running server.
pub struct Host {
    pub address: SocketAddr,
    pub fingerprint: net::Fingerprint,
    state: TempDir,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Host {
    pub async fn start() -> Self {
        let state = tempfile::tempdir().expect("the test is set up well");
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (address, fingerprint, running) = serve(listen, state.path()).await;
        Self { address, fingerprint, state, running: Some(running) }
    }

    /// Ends it as its operator would.
    pub async fn stop(&mut self) {
        let (stop, task) = self.running.take().expect("it runs");
        stop.send(()).expect("the test is set up well");
        within("the server's end", task).await.expect("the test is set up well");
    }

    /// Begins anew at the same place, with the same secrets.
    pub async fn restart(&mut self) {
        let (_, _, running) = serve(self.address, self.state.path()).await;
        self.running = Some(running);
    }

    pub fn config(&self, room: &str, name: &str) -> JoinConfig {
        JoinConfig {
            server: format!("https://{}", self.address).parse().expect("the test is set up well"),
            fingerprint: Some(self.fingerprint),
            room: RawRoomId::new(room).expect("the test is set up well"),
            name: name.to_owned(),
            passphrase: Passphrase::new("correct horse".to_owned()),
            publish: Publish { microphone: true, camera: true },
        }
    }

    pub async fn join(&self, room: &str, name: &str) -> Guest {
        Guest::join(self.config(room, name)).await.expect("the test is set up well")
    }

    /// Two people who see each other.
    pub async fn couple(&self, room: &str) -> (Guest, Guest) {
        let mut alice = self.join(room, "alice").await;
        let mut bob = self.join(room, "bob").await;
        alice.connected_to(bob.id()).await;
        bob.connected_to(alice.id()).await;
        (alice, bob)
    }
}

type Running = (oneshot::Sender<()>, JoinHandle<()>);

async fn serve(listen: SocketAddr, state: &Path) -> (SocketAddr, net::Fingerprint, Running) {
    let config = Config {
        listen,
        tls: Tls::SelfSigned,
        state_dir: Some(state.to_owned()),
        http_rate_limit: false,
        ..Config::default()
    };
    let server = Server::bind(config).await.expect("the test is set up well");
    let address = server.address();
    let fingerprint = server
        .fingerprint()
        .expect("the test is set up well")
        .to_string()
        .parse()
        .expect("the test is set up well");
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(server.run(async move {
        stopped.await.ok();
    }));
    (address, fingerprint, (stop, task))
}

/// Waits, but not for ever.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come in time"),
    }
}

/// Somebody in a room.
pub struct Guest {
    pub session: Session,
    events: mpsc::Receiver<Event>,
    /// Events that nobody waited for yet.
    seen: Vec<Event>,
}

impl Guest {
    pub async fn join(config: JoinConfig) -> Result<Self, JoinError> {
        let (session, events) = within("the join", net::join(config)).await?;
        Ok(Self { session, events, seen: Vec::new() })
    }

    pub fn id(&self) -> &UserId {
        self.session.user()
    }

    pub fn ask(&self, command: Command) {
        self.session.try_command(command).expect("the test is set up well");
    }

    /// The first event, past or to come, that is wanted; it is taken out.
    pub async fn take(&mut self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        if let Some(place) = self.seen.iter().position(&wanted) {
            return self.seen.remove(place);
        }
        let started = Instant::now();
        loop {
            let left = DEADLINE.saturating_sub(started.elapsed());
            let event = tokio::time::timeout(left, self.events.recv()).await;
            let Ok(Some(event)) = event else {
                panic!("{what} did not come; there were {:#?}", self.seen);
            };
            if wanted(&event) {
                return event;
            }
            self.seen.push(event);
        }
    }

    /// What is wanted of the first such event.
    pub async fn next<T>(&mut self, what: &str, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let event = self.take(what, |event| wanted(event).is_some()).await;
        wanted(&event).expect("it was wanted a moment ago")
    }

    pub async fn stats(&mut self) -> Box<net::Stats> {
        self.ask(Command::Stats);
        match self.take("stats", |event| matches!(event, Event::Stats(_))).await {
            Event::Stats(stats) => stats,
            _ => unreachable!("nothing else was taken"),
        }
    }

    pub async fn peer_is(&mut self, peer: &UserId, state: PeerState) {
        self.take(&format!("{state:?} with {peer}"), |event| {
            matches!(event, Event::Peer { peer: who, state: found } if who == peer && *found == state)
        })
        .await;
    }

    pub async fn connected_to(&mut self, peer: &UserId) {
        self.peer_is(peer, PeerState::Connected).await;
    }

    pub async fn roster_of(&mut self, count: usize) {
        self.take(
            &format!("a roster of {count}"),
            |event| matches!(event, Event::Roster(members) if members.len() == count),
        )
        .await;
    }

    pub async fn track(&mut self, source: Source) -> RemoteTrack {
        self.track_where(&format!("a track of a {source}"), |track| track.source == source).await
    }

    pub async fn track_where(
        &mut self,
        what: &str,
        wanted: impl Fn(&RemoteTrack) -> bool,
    ) -> RemoteTrack {
        let is_wanted = |event: &Event| matches!(event, Event::Track(track) if wanted(track));
        match self.take(what, is_wanted).await {
            Event::Track(track) => track,
            _ => unreachable!("nothing else was taken"),
        }
    }

    pub async fn track_ended(&mut self, id: &TrackId) {
        self.take(
            &format!("the end of {id}"),
            |event| matches!(event, Event::TrackEnded { track, .. } if track == id),
        )
        .await;
    }

    pub async fn not_sent(&mut self, id: MessageId) {
        self.take(
            "a refusal",
            |event| matches!(event, Event::NotSent { id: failed, .. } if *failed == id),
        )
        .await;
    }

    pub async fn key_frame_wanted(&mut self, wanted: Source) {
        self.take(
            "a wish for a key frame",
            |event| matches!(event, Event::KeyFrameWanted { source } if *source == wanted),
        )
        .await;
    }

    /// Whether such an event came already.
    pub fn has_seen(&mut self, wanted: impl Fn(&Event) -> bool) -> bool {
        while let Ok(event) = self.events.try_recv() {
            self.seen.push(event);
        }
        self.seen.iter().any(wanted)
    }

    pub async fn leave(mut self) {
        within("leaving", self.session.leave()).await;
        let mut last = None;
        while let Some(event) = within("the last event", self.events.recv()).await {
            last = Some(event);
        }
        assert!(matches!(last, Some(Event::Left)), "{last:?}");
    }
}

/// What looks like a VP8 frame to everything but a decoder.
pub fn vp8(key: bool, size: usize, seed: u8) -> Bytes {
    let mut frame = vec![u8::from(!key), 0, 0, 0x9D, 0x01, 0x2A, 0, 0, 0, 0];
    let noise = (0..size.saturating_sub(10)).map(|at| (at as u8).wrapping_mul(31) ^ seed);
    frame.extend(noise);
    frame.into()
}

/// Sends pictures 20 ms apart, every tenth a key frame, until it is dropped. All are alike but for
/// their number, which is their size.
pub fn film(guest: &Guest, source: Source) -> tokio_util::task::AbortOnDropHandle<()> {
    let media = guest.session.media();
    tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
        let mut beat = tokio::time::interval(Duration::from_millis(20));
        for number in 0_u32.. {
            beat.tick().await;
            let key = number % 10 == 0;
            let data = vp8(key, 2_000 + number as usize, 3);
            let rtp_time = number.wrapping_mul(1_800);
            let frame = EncodedFrame { data, rtp_time, key, captured: Instant::now() };
            media.send(source, frame).await;
        }
    }))
}

/// Sends packets of sound 20 ms apart until it is dropped; each is its number.
pub fn hum(guest: &Guest) -> tokio_util::task::AbortOnDropHandle<()> {
    let media = guest.session.media();
    tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
        let mut beat = tokio::time::interval(Duration::from_millis(20));
        for number in 0_u32.. {
            beat.tick().await;
            let data = Bytes::copy_from_slice(&number.to_be_bytes());
            let rtp_time = number.wrapping_mul(960);
            let frame = EncodedFrame { data, rtp_time, key: true, captured: Instant::now() };
            media.send(Source::Microphone, frame).await;
        }
    }))
}

/// Checks so many frames of a film that begins: a key frame first, then whole and in order.
pub async fn watch(track: &mut RemoteTrack, count: usize) {
    assert_eq!(track.codec, Codec::Vp8);
    let first = within("a picture", track.frames.recv()).await.expect("the track begins");
    assert!(first.key, "a key frame comes first");
    go_on_watching(track, count - 1).await;
}

/// Checks so many frames: whole and in order.
pub async fn go_on_watching(track: &mut RemoteTrack, count: usize) {
    let mut last = None;
    for _ in 0..count {
        let frame = within("a picture", track.frames.recv()).await.expect("the track goes on");
        let number = frame.data.len() - 2_000;
        assert_eq!(frame.data, vp8(frame.key, 2_000 + number, 3), "picture {number}");
        assert_eq!(frame.key, number % 10 == 0);
        assert_eq!(frame.rtp_time, number as u32 * 1_800);
        assert!(last.is_none_or(|last| number > last));
        last = Some(number);
    }
}

/// Checks so many packets of a hum.
pub async fn listen(track: &mut RemoteTrack, count: usize) {
    assert_eq!(track.codec, Codec::Opus);
    for _ in 0..count {
        let frame = within("a sound", track.frames.recv()).await.expect("the track goes on");
        let number = u32::from_be_bytes(frame.data[..].try_into().expect("four bytes"));
        assert_eq!(frame.rtp_time, number * 960);
    }
}
