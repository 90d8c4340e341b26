use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::{CancellationToken, DropGuard};
use wire::{IceServers, SessionLimits, UserId};

use super::*;
use crate::auth::User;
use crate::client::Desk;
use crate::frame::Class;
use crate::metrics::Metrics;
use crate::outbox::OUTBOX_BYTES;
use crate::relay::{Relay, Settings};
use crate::session::Session;

const DEADLINE: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct NobodyAtTheDesk;

impl Desk for NobodyAtTheDesk {
    fn check(&self, _: &str) -> Option<User> {
        None
    }

    fn ice_servers(&self, _: &UserId, _: Option<&str>) -> IceServers {
        IceServers::default()
    }

    fn limits(&self) -> SessionLimits {
        SessionLimits::default()
    }
}

/// A served connection without a socket: the far end, and what surrounds the near one.
struct Served {
    far: DuplexStream,
    session: Arc<Session>,
    line: Arc<Line>,
    task: JoinHandle<End>,
    stopping: CancellationToken,
    _guard: DropGuard,
}

impl Served {
    async fn new(timing: Timing, pipe_bytes: usize) -> Self {
        Self::with(timing, pipe_bytes, true).await
    }

    async fn with(timing: Timing, pipe_bytes: usize, known: bool) -> Self {
        let (near, far) = duplex(pipe_bytes);
        let now = Instant::now().into_std();
        let settings = Settings { timing, ..Settings::default() };
        let relay = Arc::new(Relay::new(&settings, Arc::new(Metrics::default()), now));
        let stopping = CancellationToken::new();
        tokio::spawn(relay.clone().run(stopping.clone()));
        let line = Line::new(None, now);
        let user = User { id: UserId::new("ann").unwrap(), name: "Ann".to_owned() };
        let parts = (relay.clone(), line.clone());
        let desk = (Arc::new(NobodyAtTheDesk) as Arc<dyn Desk>, None);
        let client = Client::new(known.then_some(user), parts, desk, None, now);
        let session = client.session().clone();
        relay.watch(&line, known, now);
        let task = tokio::spawn(Talk::new(near, &[], line.clone(), client).run());
        let _guard = stopping.clone().drop_guard();
        Self { far, session, line, task, stopping, _guard }
    }

    fn push(&self, frame: Frame) {
        self.session.outbox.push_own(frame);
        self.line.wake();
    }

    async fn browser(self) -> Browser {
        let socket = WebSocketStream::from_raw_socket(self.far, Role::Client, None).await;
        Browser { socket, _guard: self._guard }
    }
}

struct Browser {
    socket: WebSocketStream<DuplexStream>,
    _guard: DropGuard,
}

impl Browser {
    async fn next(&mut self) -> Option<Message> {
        timeout(DEADLINE, self.socket.next()).await.unwrap().map(Result::unwrap)
    }

    /// Reads until the close frame; the messages before it come back, too.
    async fn until_closed(&mut self) -> (Vec<Message>, u16) {
        let mut messages = Vec::new();
        loop {
            match self.next().await.expect("a close frame before the end") {
                Message::Close(frame) => return (messages, frame.unwrap().code.into()),
                message => messages.push(message),
            }
        }
    }
}

fn text(letter: char, bytes: usize) -> Frame {
    Frame::text(Class::Kept, &letter.to_string().repeat(bytes))
}

#[test]
fn an_idle_connection_is_small() {
    let talk = size_of::<Talk<Box<DuplexStream>>>();
    assert!(talk <= 192, "{talk}");
    assert!(size_of::<Line>() <= 136, "{}", size_of::<Line>());
    fn size<F>(_: impl FnOnce(Box<Talk<DuplexStream>>) -> F) -> usize {
        size_of::<F>()
    }
    assert!(size(Talk::run) <= 64, "{}", size(Talk::run));
    assert!(size_of::<Session>() <= 256, "{}", size_of::<Session>());
}

#[tokio::test]
async fn a_client_that_answers_pings_stays_and_a_silent_one_is_closed() {
    let (ping, silence) = (Duration::from_millis(100), Duration::from_secs(2));
    let timing = Timing { ping, silence, ..Timing::default() };
    let start = Instant::now();
    let mut browser = Served::new(timing, 1 << 16).await.browser().await;
    // Reading answers each ping, for longer than silence would be borne.
    while start.elapsed() < silence * 3 / 2 {
        let message = browser.next().await.unwrap();
        assert!(message.is_ping(), "{message:?}");
    }
    let mut raw = browser.socket.into_inner();
    let mut bytes = Vec::new();
    timeout(DEADLINE, async {
        while !bytes.windows(2).any(|pair| pair == 1008_u16.to_be_bytes()) {
            assert_ne!(raw.read_buf(&mut bytes).await.unwrap(), 0, "no close frame");
        }
    })
    .await
    .unwrap();
    let timing = Timing::default();
    assert!(timing.ping <= Duration::from_secs(54));
    assert_eq!((timing.silence, timing.hello), (Duration::from_secs(60), Duration::from_secs(5)));
}

#[tokio::test]
async fn who_does_not_say_who_it_is_must_go() {
    let timing = Timing { hello: Duration::from_millis(300), ..Timing::default() };
    let mut mute = Served::with(timing, 1 << 16, false).await.browser().await;
    assert_eq!(mute.until_closed().await.1, 1008);
    let mut hasty = Served::with(Timing::default(), 1 << 16, false).await.browser().await;
    hasty.socket.send(Message::text(r#"{"type":"chat.join","room":"r"}"#)).await.unwrap();
    assert_eq!(hasty.until_closed().await.1, 1008);
}

#[tokio::test]
async fn frames_reach_the_client_as_text_in_order() {
    let served = Served::new(Timing::default(), 1 << 16).await;
    served.push(text('a', 3));
    served.push(text('b', 70_000));
    let mut browser = served.browser().await;
    for message in [Message::text("aaa"), Message::text("b".repeat(70_000))] {
        assert_eq!(browser.next().await, Some(message));
    }
}

#[tokio::test]
async fn a_slow_reader_is_closed_with_a_code_that_says_so() {
    let served = Served::new(Timing::default(), 1_024).await;
    for letter in ['a', 'b', 'c'] {
        served.push(text(letter, OUTBOX_BYTES / 2 - 100));
        // The first one begins to be written, and what has begun is finished.
        tokio::task::yield_now().await;
    }
    let (_, code) = served.browser().await.until_closed().await;
    assert_eq!(code, 1013);
}

#[tokio::test]
async fn who_takes_nothing_is_given_up_even_if_it_still_speaks() {
    let (ping, write) = (Duration::from_millis(200), Duration::from_millis(500));
    let farewell = Duration::from_millis(200);
    let timing = Timing { ping, write, farewell, ..Timing::default() };
    let mut served = Served::new(timing, 1_024).await;
    served.push(text('a', 100_000));
    let pong = [0x8a, 0x80, 0, 0, 0, 0];
    let talk = async {
        while served.far.write_all(&pong).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let ended = tokio::select! {
        () = talk => (&mut served.task).await,
        ended = &mut served.task => ended,
    };
    assert_eq!(ended.unwrap(), End::Close(Closing::TOO_SLOW));
}

#[tokio::test]
async fn a_stopping_server_says_goodbye_after_its_last_words() {
    let served = Served::new(Timing::default(), 1 << 16).await;
    served.push(text('l', 4));
    served.stopping.cancel();
    let (messages, code) = served.browser().await.until_closed().await;
    assert_eq!((messages, code), (vec![Message::text("llll")], 1001));
}

#[tokio::test]
async fn messages_that_break_the_rules_close_with_the_codes_of_the_rules() {
    async fn check(bytes: &[u8], expected: u16) {
        let mut served = Served::new(Timing::default(), 1 << 20).await;
        served.far.write_all(bytes).await.unwrap();
        let (_, code) = served.browser().await.until_closed().await;
        assert_eq!(code, expected, "{:?}", &bytes[..8.min(bytes.len())]);
    }
    /// A final frame with a mask of zeros.
    fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            short @ 0..=125 => frame.push(0x80 | short as u8),
            long @ 126..=0xffff => {
                frame.push(0x80 | 126);
                frame.extend((long as u16).to_be_bytes());
            }
            huge => {
                frame.push(0x80 | 127);
                frame.extend((huge as u64).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(payload);
        frame
    }
    check(&frame(1, b"hello"), 1007).await;
    check(&frame(2, b"\xff"), 1007).await;
    check(&frame(1, b"\"\xff\""), 1007).await;
    check(&frame(2, &[b' '; FRAME_BYTES]), 1007).await;
    check(&frame(2, &[b' '; FRAME_BYTES + 1]), 1009).await;
    // A fragment, then the rest of a message that is too big as a whole.
    let mut fragments = frame(2, &[b' '; FRAME_BYTES]);
    fragments[0] = 2;
    fragments.extend(frame(0, b" "));
    check(&fragments, 1009).await;
    check(&[0x81, 0x02, b'{', b'}'], 1002).await;
    check(&frame(3, b""), 1002).await;
}

#[tokio::test]
async fn a_client_that_closes_gets_its_answer() {
    let mut browser = Served::new(Timing::default(), 1 << 16).await.browser().await;
    browser.socket.close(None).await.unwrap();
    assert!(browser.next().await.unwrap().is_close());
    assert!(browser.next().await.is_none());
}

#[tokio::test]
async fn pings_are_answered_with_their_payload() {
    let mut browser = Served::new(Timing::default(), 1 << 16).await.browser().await;
    browser.socket.send(Message::Ping(Bytes::from_static(b"who"))).await.unwrap();
    assert_eq!(browser.next().await, Some(Message::Pong(Bytes::from_static(b"who"))));
}
