//! A crowd of bad clients (shouting, dawdling, babbling, sleeping, bloating) against the real
//! server process: good ones are served all the while. `private-meet-bench flood` measures by
//! how much they wait longer; here it is only asked that nobody waits for seconds.

#![cfg(test)]

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, client_async};

/// No state takes longer to come, unless something is broken.
const DEADLINE: Duration = Duration::from_secs(30);
/// Bad clients of each kind.
const EACH: usize = 16;
const GOOD: usize = 4;
const MESSAGES: usize = 100;
/// What nearly every message must stay under. A machine that does nothing else needs less than
/// a hundredth of it; one that builds at the same time must not fail here.
const PATIENCE: Duration = Duration::from_secs(2);

struct Server {
    child: Child,
    address: SocketAddr,
    _state: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let state = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_private-meet-server"))
            .args(["--listen", "127.0.0.1:0", "--tls", "off"])
            .current_dir(state.path())
            .env_clear()
            .env("HTTP_RATE_LIMIT", "false")
            .env("STATE_DIR", state.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (_, address) = line.trim().split_once("http://").expect("where it listens");
        Self { address: address.parse().unwrap(), child, _state: state }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn token(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = "POST /auth/sign-in HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
        Content-Length: 0\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let body: Value = serde_json::from_str(body).unwrap();
    body["accessToken"].as_str().unwrap().to_owned()
}

async fn enter(address: SocketAddr, token: &str, room: &str) -> WebSocketStream<TcpStream> {
    let mut request = format!("ws://{address}/ws?token={token}").into_client_request().unwrap();
    let origin = HeaderValue::try_from(format!("http://{address}")).unwrap();
    request.headers_mut().insert("origin", origin);
    let stream = TcpStream::connect(address).await.unwrap();
    let opening = timeout(DEADLINE, client_async(request, stream)).await;
    let (mut socket, _) = opening.expect("good clients are let in").unwrap();
    let join = json!({"type": "chat.join", "room": room}).to_string();
    socket.send(Message::text(join)).await.unwrap();
    socket
}

/// The next chat message.
async fn heard(socket: &mut WebSocketStream<TcpStream>) -> String {
    loop {
        let next = timeout(DEADLINE, socket.next()).await.expect("an answer in time");
        let Message::Text(text) = next.expect("still open").unwrap() else { continue };
        let message: Value = serde_json::from_str(&text).unwrap();
        if message["type"] == "chat.message" {
            return message["data"]["message"].as_str().unwrap().to_owned();
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vice {
    Shout,
    Dawdle,
    Babble,
    Sleep,
    Bloat,
}

const VICES: [Vice; 5] = [Vice::Shout, Vice::Dawdle, Vice::Babble, Vice::Sleep, Vice::Bloat];

/// A masked frame with a mask of zeros.
fn frame(opcode: u8, length: u64, payload: &[u8]) -> Vec<u8> {
    [&[0x80 | opcode, 0xff][..], &length.to_be_bytes(), &[0; 4], payload].concat()
}

impl Vice {
    /// Does its worst until the server has enough.
    async fn indulge(self, address: SocketAddr, token: &str) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(address).await?;
        let head = format!(
            "GET /ws?token={token} HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\n\
             Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        if self == Self::Dawdle {
            for byte in head.bytes().take_while(|byte| *byte != b'\n') {
                stream.write_all(&[byte]).await?;
                sleep(Duration::from_millis(200)).await;
            }
            return Ok(());
        }
        stream.write_all(head.as_bytes()).await?;
        let say = |message: Value| {
            let text = message.to_string();
            frame(1, text.len() as u64, text.as_bytes())
        };
        stream.write_all(&say(json!({"type": "chat.join", "room": "bad"}))).await?;
        match self {
            Self::Shout => {
                let text = "!".repeat(4_000);
                let chat =
                    json!({"type": "chat.message", "room": "bad", "data": {"message": text}});
                let chat = say(chat);
                let (mut reader, mut writer) = stream.split();
                let mut sink = vec![0; 64 * 1024];
                let reading = async {
                    while reader.read(&mut sink).await? > 0 {}
                    Ok(())
                };
                let writing = async {
                    loop {
                        writer.write_all(&chat).await?;
                    }
                };
                tokio::select! { end = reading => end, end = writing => end }
            }
            Self::Babble => loop {
                stream.write_all(&[0x5b; 4_096]).await?;
            },
            Self::Bloat => {
                stream.write_all(&frame(2, 1 << 40, b"")).await?;
                loop {
                    stream.write_all(&[7; 65_536]).await?;
                }
            }
            Self::Sleep | Self::Dawdle => {
                sleep(DEADLINE).await;
                Ok(())
            }
        }
    }
}

/// Starts the crowd in a thread of its own, and waits until the server has thrown out somebody
/// of each kind that can be thrown out quickly.
fn gather(address: SocketAddr, tokens: Vec<String>) {
    let thrown_out: Arc<[AtomicUsize; VICES.len()]> = Arc::default();
    let seen = thrown_out.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for (number, token) in tokens.into_iter().enumerate() {
                let (kind, thrown_out) = (number % VICES.len(), thrown_out.clone());
                tokio::spawn(async move {
                    loop {
                        // However it ends, it comes again.
                        let _ = VICES[kind].indulge(address, &token).await;
                        thrown_out[kind].fetch_add(1, Ordering::Relaxed);
                        sleep(Duration::from_millis(50)).await;
                    }
                });
            }
            std::future::pending::<()>().await;
        });
    });
    let started = Instant::now();
    for (kind, vice) in VICES.into_iter().enumerate() {
        let quickly = matches!(vice, Vice::Shout | Vice::Babble | Vice::Bloat);
        while quickly && seen[kind].load(Ordering::Relaxed) == 0 {
            assert!(started.elapsed() < DEADLINE, "{vice:?} is never thrown out");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[tokio::test]
async fn good_clients_are_served_beside_a_crowd_of_bad_ones() {
    let server = Server::start();
    let address = server.address;
    let mut good = Vec::new();
    for _ in 0..GOOD {
        good.push(enter(address, &token(address).await, "good").await);
    }
    let mut tokens = Vec::new();
    for _ in 0..EACH * VICES.len() {
        tokens.push(token(address).await);
    }
    tokio::task::spawn_blocking(move || gather(address, tokens)).await.unwrap();

    let mut waits = Vec::new();
    for number in 0..MESSAGES {
        let text = format!("message {number}");
        let chat = json!({"type": "chat.message", "room": "good", "data": {"message": text}});
        let sent = Instant::now();
        good[number % GOOD].send(Message::text(chat.to_string())).await.unwrap();
        for socket in &mut good {
            assert_eq!(heard(socket).await, text);
        }
        waits.push(sent.elapsed());
        // Below the rate limit of one connection.
        sleep(Duration::from_millis(8)).await;
    }
    waits.sort();
    let p98 = waits[MESSAGES * 98 / 100];
    assert!(p98 < PATIENCE, "the good ones wait too long: {waits:?}");
    // Newcomers are let in, too.
    let mut newcomer = enter(address, &token(address).await, "good").await;
    let chat = json!({"type": "chat.message", "room": "good", "data": {"message": "hello"}});
    newcomer.send(Message::text(chat.to_string())).await.unwrap();
    assert_eq!(heard(&mut newcomer).await, "hello");
}
