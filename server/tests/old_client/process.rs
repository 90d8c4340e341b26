//! The program itself: what it prints, how it ends, what it never logs.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::house::{DEADLINE, ask, soon};
use crate::tls::{connect, fingerprint};

/// The program with nothing inherited that would change what it does.
fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_private-meet-server"));
    command.current_dir(folder).env_clear().env("HOME", folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A running server; it is killed with this value.
struct Running {
    child: Child,
    lines: Vec<String>,
    address: SocketAddr,
}

impl Running {
    /// Starts it and reads the lines that it prints at the start.
    fn start(command: &mut Command, line_count: usize) -> Self {
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, receiver) = sync_channel(16);
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let next = || receiver.recv_timeout(DEADLINE).expect("the server says where it listens");
        let lines: Vec<String> = (0..line_count).map(|_| next()).collect();
        let (_, address) = lines[0].split_once("://").expect("an address");
        let address = address.parse().unwrap();
        Self { child, lines, address }
    }

    #[cfg(unix)]
    fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Waits for its end; what it said on standard error comes back.
    fn ended(mut self) -> (bool, String) {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                let mut log = String::new();
                self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
                return (status.success(), log);
            }
            assert!(started.elapsed() < DEADLINE, "the server does not end");
            thread::yield_now();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const QUIET: [&str; 2] = ["--listen", "127.0.0.1:0"];

#[tokio::test]
async fn the_first_lines_are_the_address_and_the_fingerprint_and_it_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut fingerprints = Vec::new();
    for _ in 0..2 {
        let running = Running::start(command(folder.path()).args(QUIET), 2);
        let expected = format!("listening on https://{}", running.address);
        assert_eq!(running.lines[0], expected);
        let printed = running.lines[1].strip_prefix("certificate fingerprint ").unwrap().to_owned();
        assert_eq!(printed, fingerprint(&connect(running.address).await));
        fingerprints.push(printed);
    }
    assert_eq!(fingerprints[0], fingerprints[1]);
}

#[tokio::test]
async fn a_token_is_still_good_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["--tls", "off"];
    let running = Running::start(command(folder.path()).args(QUIET).args(args), 1);
    let tcp = tokio::net::TcpStream::connect(running.address).await.unwrap();
    let answer = ask(tcp, running.address, "POST /auth/sign-in HTTP/1.1", "").await;
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    drop(running);
    let running = Running::start(command(folder.path()).args(QUIET).args(args), 1);
    let tcp = tokio::net::TcpStream::connect(running.address).await.unwrap();
    let head = format!("GET /ws?token={} HTTP/1.1", answer["accessToken"].as_str().unwrap());
    // 400 and not 401: the token is good, only the upgrade is missing.
    assert_eq!(ask(tcp, running.address, &head, "").await.status, 400);
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_ends_it_cleanly_and_the_log_gives_nobody_away() {
    for name in ["TERM", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = command(folder.path());
        let command = command.args(QUIET).args(["--tls", "off"]).env("RUST_LOG", "trace");
        let running = Running::start(command, 1);
        let address = running.address;
        assert_eq!(running.lines[0], format!("listening on http://{address}"));

        let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
        let body = json!({"username": "Mata Hari"}).to_string();
        let answer = ask(tcp, address, "POST /auth/sign-in HTTP/1.1", &body).await;
        let answer: Value = serde_json::from_str(&answer.body).unwrap();
        let token = answer["accessToken"].as_str().unwrap().to_owned();
        let url = format!("ws://{address}/ws?token={token}&secretquery=1");
        let mut request = url.into_client_request().unwrap();
        let origin = HeaderValue::try_from(format!("http://{address}")).unwrap();
        request.headers_mut().insert("origin", origin);
        let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
        let own_port = tcp.local_addr().unwrap().port().to_string();
        let (mut socket, _) = client_async(request, tcp).await.unwrap();
        for message in [
            json!({"type": "chat.join", "room": "hidden-room"}),
            json!({"type": "chat.message", "room": "hidden-room", "data": {"message": "tell-tale"}}),
            json!({"type": "broken-type", "room": "hidden-room"}),
        ] {
            socket.send(Message::text(message.to_string())).await.unwrap();
            soon(socket.next()).await.unwrap().unwrap();
        }

        let started = Instant::now();
        running.signal(name);
        let closed = soon(socket.next()).await.unwrap().unwrap();
        let Message::Close(Some(frame)) = closed else { panic!("{closed:?}") };
        assert_eq!(u16::from(frame.code), 1012);
        soon(socket.flush()).await.unwrap();
        drop(socket);
        let (success, log) = running.ended();
        assert!(success, "{name}: {log}");
        assert!(started.elapsed() < Duration::from_secs(5));
        let id = answer["userId"].as_str().unwrap();
        for secret in ["Mata", "tell-tale", "hidden-room", "broken-type", "secretquery", id] {
            assert!(!log.contains(secret), "{secret} is in the log: {log}");
        }
        let signature = token.rsplit('.').next().unwrap();
        assert!(!log.contains(signature) && !log.contains(&format!(":{own_port}")), "{log}");
        assert!(log.contains("the server stops"), "{log}");
    }
}

fn fails(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(!status.success());
    assert!(stdout.is_empty());
    String::from_utf8(stderr).unwrap()
}

#[test]
fn a_wrong_setting_stops_the_start_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let expected = "private-meet-server: JWT_EXPIRATION is \"soon\", but it must be a duration \
        like 12h, 30m or 15s (0 means 12h)\n";
    assert_eq!(fails(command(folder.path()).env("JWT_EXPIRATION", "soon")), expected);
    std::fs::write(folder.path().join(".env"), "JWT_EXPIRATION=soon\n").unwrap();
    assert_eq!(fails(&mut command(folder.path())), expected);
    let refused = fails(command(folder.path()).args(["--listen", "nowhere"]));
    assert!(refused.contains("nowhere") && refused.contains("--listen"), "{refused}");
}

#[test]
fn a_port_in_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(command(folder.path()).args(QUIET), 2);
    let taken = running.address.to_string();
    let error = fails(command(folder.path()).args(["--listen", &taken]));
    assert!(error.contains(&format!("cannot listen on {taken}")), "{error}");
}

#[test]
fn the_environment_and_its_file_are_heeded() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".env"), "USE_LOCAL_TLS=true\nSERVER_PORT=0\n").unwrap();
    let running = Running::start(command(folder.path()).env("USE_LOCAL_TLS", "false"), 1);
    assert!(running.lines[0].starts_with("listening on http://127.0.0.1:"));
    assert_ne!(running.address.port(), 3000);
}
