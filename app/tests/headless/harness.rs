//! A server inside the test, and headless peers as processes of their own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use app::headless::protocol::{Command, Event};
use net::{TrackId, UserId};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin};
use tokio::sync::{MutexGuard, mpsc, oneshot};
use tokio::task::JoinHandle;

/// No step takes longer, even on a busy computer with two cores.
pub const DEADLINE: Duration = Duration::from_secs(45);
/// Events of one peer that wait to be looked at; when full, the peer itself waits.
const EVENTS: usize = 4096;
/// Lines of a peer's standard error that are kept for the failure message.
const KEPT_LINES: usize = 40;

/// Pictures are encoded in real time: one call at a time, or they slow each other down.
static ONE_CALL_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A server on a port of its own, a folder for files, and a turn at the computer.
pub struct Stage {
    pub folder: TempDir,
    url: String,
    fingerprint: String,
    address: SocketAddr,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    _turn: MutexGuard<'static, ()>,
}

impl Stage {
    pub async fn new() -> Self {
        let turn = ONE_CALL_AT_A_TIME.lock().await;
        let mut stage = Self {
            folder: tempfile::tempdir().unwrap(),
            url: String::new(),
            fingerprint: String::new(),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            running: None,
            _turn: turn,
        };
        stage.start_server().await;
        stage
    }

    /// Starts the server, again on the same port and with the same certificate.
    pub async fn start_server(&mut self) {
        let config = server::Config {
            listen: self.address,
            tls: server::Tls::SelfSigned,
            state_dir: Some(self.folder.path().join("server")),
            // Many peers come from one address.
            http_rate_limit: false,
            ..server::Config::default()
        };
        let server = server::Server::bind(config).await.unwrap();
        self.address = server.address();
        self.url = server.url();
        self.fingerprint = server.fingerprint().expect("it made a certificate").to_string();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        self.running = Some((stop, task));
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub async fn stop_server(&mut self) {
        if let Some((stop, task)) = self.running.take() {
            drop(stop);
            tokio::time::timeout(DEADLINE, task).await.unwrap().unwrap();
        }
    }

    /// A peer in the room, with a synthetic camera and a tone as microphone.
    pub async fn native(&self, name: &str, tone: u32) -> Native {
        self.native_with(name, "correct horse", &["--microphone", &format!("tone:{tone}")]).await
    }

    pub async fn native_with(&self, name: &str, passphrase: &str, more: &[&str]) -> Native {
        let file = self.folder.path().join(format!("passphrase of {name}"));
        std::fs::write(&file, passphrase).unwrap();
        let mut arguments = self.arguments(name);
        arguments.extend(["--passphrase-file".to_owned(), file.display().to_string()]);
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        let mut native = Native::start(self.folder.path(), name, &arguments);
        let joined = native.wait_for("joined", |event| matches!(event, Event::Joined { .. })).await;
        let Event::Joined { user, .. } = joined else { unreachable!() };
        native.user = Some(user);
        native
    }

    pub fn arguments(&self, name: &str) -> Vec<String> {
        let mut arguments = vec!["--headless", "--server", &self.url, "--room", "demo"];
        arguments.extend(["--name", name, "--camera", "pattern", "--speaker", "none"]);
        arguments.extend(["--fingerprint", &self.fingerprint]);
        arguments.into_iter().map(str::to_owned).collect()
    }
}

/// One `private-meet --headless`. Killed when dropped.
pub struct Native {
    pub name: String,
    user: Option<UserId>,
    child: Child,
    input: Option<ChildStdin>,
    incoming: mpsc::Receiver<Event>,
    events: Vec<Event>,
    mark: usize,
    errors: Arc<Mutex<Vec<String>>>,
}

impl Native {
    /// Starts one and does not wait. Its own folders are below `folder`.
    pub fn start(folder: &Path, name: &str, arguments: &[String]) -> Self {
        let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_private-meet"))
            .args(arguments)
            .env("HOME", folder)
            .env("XDG_CONFIG_HOME", folder.join("config"))
            .env("TMPDIR", folder)
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (lines, incoming) = mpsc::channel(EVENTS);
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let who = name.to_owned();
        tokio::spawn(async move {
            while let Ok(Some(line)) = output.next_line().await {
                let event = serde_json::from_str(&line)
                    .unwrap_or_else(|error| panic!("{who} printed {line:?}: {error}"));
                if lines.send(event).await.is_err() {
                    return;
                }
            }
        });
        let errors = Arc::new(Mutex::new(Vec::new()));
        let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        let kept = Arc::clone(&errors);
        tokio::spawn(async move {
            while let Ok(Some(line)) = stderr.next_line().await {
                let mut kept = kept.lock().unwrap();
                if kept.len() == KEPT_LINES {
                    kept.remove(0);
                }
                kept.push(line);
            }
        });
        Self {
            name: name.to_owned(),
            user: None,
            input: child.stdin.take(),
            child,
            incoming,
            events: Vec::new(),
            mark: 0,
            errors,
        }
    }

    pub fn user(&self) -> UserId {
        self.user.clone().expect("it has joined")
    }

    /// Its id as it joined last: the server gives a new one to those who sign in anew.
    pub fn current_user(&self) -> UserId {
        let joined = self.events.iter().rev().find_map(|event| match event {
            Event::Joined { user, .. } => Some(user.clone()),
            _ => None,
        });
        joined.expect("it has joined")
    }

    pub fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// What it wrote to standard error.
    pub fn complaints(&self) -> String {
        self.errors.lock().unwrap().join("\n")
    }

    /// From here on, only what happens later counts.
    pub fn forget(&mut self) {
        while let Ok(event) = self.incoming.try_recv() {
            self.events.push(event);
        }
        self.mark = self.events.len();
    }

    /// The first event since [`Native::forget`], past or future, for which `matches` holds.
    pub async fn wait_for(&mut self, what: &str, matches: impl Fn(&Event) -> bool) -> Event {
        if let Some(event) = self.events[self.mark..].iter().find(|event| matches(event)) {
            return event.clone();
        }
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            match tokio::time::timeout_at(deadline, self.incoming.recv()).await {
                Ok(Some(event)) => {
                    self.events.push(event.clone());
                    if matches(&event) {
                        return event;
                    }
                }
                Ok(None) => panic!("{}: ended before {what}\n{}", self.name, self.story()),
                Err(_) => panic!("{}: no {what} in time\n{}", self.name, self.story()),
            }
        }
    }

    /// Whether there was such an event since [`Native::forget`].
    pub fn saw(&mut self, matches: impl Fn(&Event) -> bool) -> bool {
        while let Ok(event) = self.incoming.try_recv() {
            self.events.push(event);
        }
        self.events[self.mark..].iter().any(matches)
    }

    /// The last events and complaints, for failure messages.
    fn story(&self) -> String {
        let from = self.events.len().saturating_sub(12);
        let events: Vec<_> = self.events[from..].iter().map(|event| format!("{event:?}")).collect();
        format!("last events:\n{}\nstandard error:\n{}", events.join("\n"), self.complaints())
    }

    pub async fn send(&mut self, command: &Command) {
        self.write(&serde_json::to_string(command).unwrap()).await;
    }

    pub async fn write(&mut self, line: &str) {
        let input = self.input.as_mut().expect("its input is open");
        input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// The status it ends with, without being told to.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(DEADLINE, self.child.wait()).await;
        ended.unwrap_or_else(|_| panic!("{}: did not end\n{}", self.name, self.story())).unwrap()
    }

    /// All that it printed, once it has ended.
    pub async fn rest(&mut self) -> Vec<Event> {
        while let Some(event) = self.incoming.recv().await {
            self.events.push(event);
        }
        self.events.clone()
    }

    /// Tells it to leave and waits until it has ended well.
    pub async fn leave(mut self) {
        self.send(&Command::Leave).await;
        self.wait_for("left", |event| *event == Event::Left).await;
        let status = self.ended().await;
        assert!(status.success(), "{}: {status}\n{}", self.name, self.story());
    }

    /// Waits until the picture of `from` is decoded at 15 or more frames a second, and gives its
    /// track and counter.
    pub async fn sees(&mut self, from: &UserId) -> (TrackId, u32) {
        let fluent = |event: &Event| {
            matches!(event, Event::Video { from: who, fps, counter: Some(_), width: 1.., .. }
                if who == from && *fps >= 15.0)
        };
        let what = format!("fluent picture of {from}");
        match self.wait_for(&what, fluent).await {
            Event::Video { track, counter: Some(counter), .. } => (track, counter),
            _ => unreachable!("it matched"),
        }
    }

    /// Waits until the sound of `from` has this pitch, within two per cent.
    pub async fn hears(&mut self, from: &UserId, hz: f64) {
        let heard = |event: &Event| {
            matches!(event, Event::Audio { from: who, pitch_hz: Some(pitch), level_dbfs, .. }
                if who == from && (pitch - hz).abs() <= 0.02 * hz && *level_dbfs > -30.0)
        };
        self.wait_for(&format!("{hz} Hz from {from}"), heard).await;
    }

    /// Milliseconds from the start of the call to the first decoded frame.
    pub async fn first_frame(&mut self, from: &UserId) -> (u64, u64) {
        let is_first =
            |event: &Event| matches!(event, Event::FirstFrame { from: who, .. } if who == from);
        match self.wait_for("first frame", is_first).await {
            Event::FirstFrame { since_joined_ms, since_start_ms, .. } => {
                (since_joined_ms, since_start_ms)
            }
            _ => unreachable!("it matched"),
        }
    }
}

/// A small PNG that does not compress to nothing.
pub fn write_image(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    let pixel =
        |x: u32, y: u32| image::Rgb([(x * y % 251) as u8, (x ^ y) as u8, (x + 3 * y) as u8]);
    image::RgbImage::from_fn(320, 240, pixel).save(&path).unwrap();
    path
}
