//! The program in a process of its own, and the little that is needed to talk to it.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// No state takes longer to come, unless something is broken.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Between two looks at something that tells nobody when it changes.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits for something that must happen.
pub async fn soon<T>(event: impl Future<Output = T>) -> T {
    timeout(DEADLINE, event).await.expect("this happens before the deadline")
}

/// Asks again and again, each time by a real request, until the answer is the one hoped for.
pub async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let end = Instant::now() + DEADLINE;
    while !is_so().await {
        assert!(Instant::now() < end, "never: {what}");
        sleep(PAUSE).await;
    }
}

/// A running program; it is killed with this value.
pub struct Program {
    child: Child,
    pub lines: Vec<String>,
    pub address: SocketAddr,
    log: PathBuf,
}

impl Program {
    /// The program with nothing inherited that would change what it does.
    pub fn command(folder: &Path) -> Command {
        Self::prepared(Command::new(env!("CARGO_BIN_EXE_private-meet-server")), folder)
    }

    /// The same with at most `files` open files.
    pub fn command_with_files(folder: &Path, files: u32) -> Command {
        let mut command = Command::new("sh");
        let script = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_private-meet-server")]);
        Self::prepared(command, folder)
    }

    fn prepared(mut command: Command, folder: &Path) -> Command {
        command.current_dir(folder).env_clear().env("HOME", folder).env("PATH", "/usr/bin:/bin");
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        // A file, because a pipe that nobody reads would stop the server.
        command.stderr(File::create(folder.join("log")).unwrap());
        command.args(["--listen", "127.0.0.1:0"]);
        command
    }

    /// Starts it and reads the lines that it prints at the start.
    pub fn start(command: &mut Command, folder: &Path, line_count: usize) -> Self {
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
        let log = folder.join("log");
        let next = || {
            let line = receiver.recv_timeout(DEADLINE);
            line.unwrap_or_else(|_| panic!("no address: {}", fs::read_to_string(&log).unwrap()))
        };
        let lines: Vec<String> = (0..line_count).map(|_| next()).collect();
        let (_, address) = lines[0].split_once("://").expect("an address");
        let address = address.parse().unwrap();
        Self { child, lines, address, log }
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Sets how many files it may have open from now on (the soft limit).
    pub fn limit_files(&self, files: &str) {
        let id = self.child.id().to_string();
        let limit = format!("--nofile={files}:");
        let status = Command::new("prlimit").args(["--pid", &id, &limit]).status();
        assert!(status.expect("prlimit, of util-linux").success());
    }

    /// What it said on standard error so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// User and system time so far.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Waits for its end.
    pub async fn ended(mut self) -> (bool, String) {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.success(), self.log());
            }
            assert!(Instant::now() < end, "the server does not end");
            sleep(PAUSE).await;
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        get(self.address, path).await
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a server answered to a request.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

pub async fn get(address: SocketAddr, path: &str) -> Answer {
    let tcp = TcpStream::connect(address).await.unwrap();
    ask(tcp, &format!("GET {path} HTTP/1.1\r\nHost: {address}"), "").await
}

/// One request over any connection; the server closes it afterwards. Status 0 stands for a
/// connection that was closed without a word.
pub async fn ask<IO: AsyncRead + AsyncWrite + Unpin>(mut io: IO, head: &str, body: &str) -> Answer {
    let length = body.len();
    let request = format!("{head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    let mut bytes = Vec::new();
    // A server that has no place may close before it has read everything.
    let _ = io.write_all(request.as_bytes()).await;
    let _ = soon(io.read_to_end(&mut bytes)).await;
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// Signs in; the token.
pub async fn sign_in(address: SocketAddr, name: &str) -> String {
    let tcp = TcpStream::connect(address).await.unwrap();
    let body = json!({ "username": name }).to_string();
    let head = format!("POST /auth/sign-in HTTP/1.1\r\nHost: {address}");
    let answer = ask(tcp, &head, &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    answer["accessToken"].as_str().unwrap().to_owned()
}

/// A guest with an open WebSocket.
#[derive(Debug)]
pub struct Guest<IO = TcpStream>(pub WebSocketStream<IO>);

/// Opens a WebSocket with headers besides the usual ones; otherwise the status of the refusal.
pub async fn knock<IO: AsyncRead + AsyncWrite + Unpin>(
    io: IO,
    url: &str,
    token: &str,
    headers: &[(&'static str, &str)],
) -> Result<Guest<IO>, u16> {
    let query = if token.is_empty() { String::new() } else { format!("?token={token}") };
    let request = format!("ws{}/ws{query}", url.strip_prefix("http").unwrap());
    let mut request = request.into_client_request().unwrap();
    request.headers_mut().insert("origin", HeaderValue::try_from(url).unwrap());
    for (name, value) in headers {
        request.headers_mut().insert(*name, HeaderValue::try_from(*value).unwrap());
    }
    match soon(client_async(request, io)).await {
        Ok((socket, _)) => Ok(Guest(socket)),
        Err(tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(_) => Err(0),
    }
}

/// Signs in and opens a WebSocket in the clear.
pub async fn enter(address: SocketAddr, name: &str) -> Guest {
    let token = sign_in(address, name).await;
    let tcp = TcpStream::connect(address).await.unwrap();
    knock(tcp, &format!("http://{address}"), &token, &[]).await.expect("an open door")
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Guest<IO> {
    pub async fn send(&mut self, message: Value) {
        soon(self.0.send(Message::text(message.to_string()))).await.unwrap();
    }

    /// The next message of that type.
    pub async fn expect(&mut self, kind: &str) -> Value {
        loop {
            match soon(self.0.next()).await.expect("the connection is open").unwrap() {
                Message::Text(text) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    if message["type"] == kind {
                        return message;
                    }
                }
                Message::Close(frame) => panic!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// Joins and waits for the snapshot.
    pub async fn join(&mut self, room: &str) {
        self.send(json!({"type": "chat.join", "room": room})).await;
        self.expect("room.users").await;
    }

    pub async fn say(&mut self, room: &str, text: &str) {
        let data = json!({ "message": text });
        self.send(json!({"type": "chat.message", "room": room, "data": data})).await;
    }
}

/// Takes any certificate, also those of a challenge, whose critical extension no library knows;
/// the tests look at it afterwards.
#[derive(Debug)]
struct Curious;

impl ServerCertVerifier for Curious {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Connects by TLS and takes what certificate there is.
pub async fn connect_tls(
    address: SocketAddr,
    name: &str,
    protocols: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Curious))
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    soon(TlsConnector::from(Arc::new(config)).connect(name, tcp)).await
}

/// The certificate that was really shown.
pub fn shown(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

pub fn fingerprint(certificate: &[u8]) -> String {
    Sha256::digest(certificate).iter().map(|byte| format!("{byte:02x}")).collect()
}
