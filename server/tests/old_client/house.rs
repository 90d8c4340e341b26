//! A server of the test's own, and guests in it.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use server::{Config, Tls};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tokio_util::sync::{CancellationToken, DropGuard};

/// No state takes longer to come, unless something is broken.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for something that must happen.
pub async fn soon<T>(event: impl Future<Output = T>) -> T {
    timeout(DEADLINE, event).await.expect("this happens before the deadline")
}

/// A running server; it stops with this value.
pub struct House {
    pub address: SocketAddr,
    pub task: JoinHandle<()>,
    pub stop: CancellationToken,
    _guard: DropGuard,
}

impl House {
    /// Plain HTTP, and no rates for requests, for tests of other things.
    pub async fn open() -> Self {
        Self::open_with(Config { http_rate_limit: false, ..Config::default() }).await
    }

    pub async fn open_with(config: Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let config = Config { tls: Tls::Off, ..config };
        let task = tokio::spawn(async move {
            server::run(listener, config, stopped).await.unwrap();
        });
        Self { address, task, _guard: stop.clone().drop_guard(), stop }
    }

    /// Sends the head of a request and its body, and reads the answer until the server closes.
    pub async fn ask(&self, head: &str, body: &str) -> Answer {
        let tcp = TcpStream::connect(self.address).await.unwrap();
        ask(tcp, self.address, head, body).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1"), "").await
    }

    /// Signs in as the protocol says.
    pub async fn sign_in(&self, name: &str) -> SignedIn {
        let body = json!({ "username": name }).to_string();
        let answer = self.ask("POST /auth/sign-in HTTP/1.1", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let answer: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((&answer["tokenType"], &answer["username"]), (&json!("Bearer"), &json!(name)));
        SignedIn {
            token: answer["accessToken"].as_str().unwrap().to_owned(),
            id: answer["userId"].as_str().unwrap().to_owned(),
        }
    }

    /// The request for a WebSocket as the server's own page makes it.
    pub fn knock(&self, token: &str) -> Request {
        let url = format!("ws://{}/ws?token={token}", self.address);
        let mut request = url.into_client_request().unwrap();
        let origin = HeaderValue::try_from(format!("http://{}", self.address)).unwrap();
        request.headers_mut().insert("origin", origin);
        request
    }

    /// Opens a WebSocket.
    pub async fn connect(&self, who: &SignedIn) -> Guest {
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let (socket, _) = client_async(self.knock(&who.token), tcp).await.unwrap();
        Guest { id: who.id.clone(), socket }
    }

    /// Signs in and opens a WebSocket.
    pub async fn enter(&self, name: &str) -> Guest {
        let who = self.sign_in(name).await;
        self.connect(&who).await
    }
}

/// One request over any connection; the server closes it afterwards.
pub async fn ask<IO>(mut io: IO, address: SocketAddr, head: &str, body: &str) -> Answer
where
    IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let is_given = head.contains("\r\nContent-Length:");
    let length = if is_given || (body.is_empty() && head.starts_with("GET")) {
        String::new()
    } else {
        format!("\r\nContent-Length: {}", body.len())
    };
    let request = format!("{head}\r\nHost: {address}\r\nConnection: close{length}\r\n\r\n{body}");
    io.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    soon(io.read_to_end(&mut bytes)).await.unwrap();
    Answer::read(&bytes)
}

/// What a server answered to a request.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").expect("an answer has a head");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap();
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

pub struct SignedIn {
    pub token: String,
    pub id: String,
}

/// A client with an open WebSocket.
pub struct Guest {
    pub id: String,
    pub socket: WebSocketStream<TcpStream>,
}

impl Guest {
    /// Sends as old clients do: binary.
    pub async fn send(&mut self, message: &Value) {
        self.say(Message::binary(message.to_string())).await;
    }

    pub async fn say(&mut self, message: Message) {
        soon(self.socket.send(message)).await.unwrap();
    }

    pub async fn join(&mut self, room: &str) {
        self.send(&json!({"type": "chat.join", "room": room, "data": {}})).await;
    }

    /// Joins and waits for the snapshot.
    pub async fn joined(&mut self, room: &str) -> Vec<String> {
        self.join(room).await;
        let snapshot = self.next().await;
        assert_eq!((&snapshot["type"], &snapshot["room"]), (&json!("room.users"), &json!(room)));
        listed(&snapshot)
    }

    /// The next message, a text frame.
    pub async fn text(&mut self) -> String {
        loop {
            match soon(self.socket.next()).await.expect("the connection is open").unwrap() {
                Message::Text(text) => return text.to_string(),
                Message::Ping(_) => {}
                other => panic!("not a text frame: {other:?}"),
            }
        }
    }

    pub async fn next(&mut self) -> Value {
        serde_json::from_str(&self.text().await).unwrap()
    }

    /// The next message must be this refusal.
    pub async fn refused(&mut self, room: &str, text: &str) {
        let refusal = json!({
            "type": "general.error", "room": room, "data": {"error": text}, "from": "system"
        });
        assert_eq!(self.next().await, refusal);
    }

    /// Fails if anything is on its way: an answer of the server comes behind whatever was sent
    /// to this client before.
    pub async fn expect_nothing(&mut self) {
        self.send(&json!({"type": "utils.generateRoomID"})).await;
        let next = self.next().await;
        assert_eq!(next["type"], "utils.generateRoomID", "unexpected: {next}");
    }

    /// Reads on until the close frame; its code.
    pub async fn closed(&mut self) -> u16 {
        loop {
            match soon(self.socket.next()).await.expect("a close frame before the end") {
                Ok(Message::Close(frame)) => return frame.expect("a code").code.into(),
                Ok(_) => {}
                Err(error) => panic!("no close frame but {error}"),
            }
        }
    }
}

/// The ids in a snapshot.
pub fn listed(snapshot: &Value) -> Vec<String> {
    assert_eq!((&snapshot["type"], &snapshot["from"]), (&json!("room.users"), &json!("system")));
    let users = snapshot["data"]["users"].as_array().unwrap();
    users.iter().map(|user| user["userID"].as_str().unwrap().to_owned()).collect()
}

/// The status with which a WebSocket was refused.
pub fn refusal<T>(result: Result<T, tungstenite::Error>) -> (u16, String) {
    match result {
        Err(tungstenite::Error::Http(answer)) => {
            let body = answer.body().clone().unwrap_or_default();
            (answer.status().as_u16(), String::from_utf8(body).unwrap())
        }
        Err(other) => panic!("not refused but {other}"),
        Ok(_) => (101, String::new()),
    }
}
