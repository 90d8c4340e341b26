//! A lean client: one socket, one buffer shared by all, nothing decoded that need not be.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::frames::{Cutter, Received, masked};

/// No step of connecting takes longer, unless something is broken.
const DEADLINE: Duration = Duration::from_secs(30);
/// Connections from one loopback address.
const PER_ADDRESS: usize = 20;
/// What is read at once, from whichever socket.
const READ_BYTES: usize = 256 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// The loopback address of the `number`th connection: neighbours share one, as people behind one
/// router do.
#[must_use]
pub fn address_of(number: usize) -> IpAddr {
    let place = (number / PER_ADDRESS) as u32;
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + place).into()
}

/// An open WebSocket.
pub struct Client {
    /// For reading by this client and for sending by whoever paces the load.
    pub stream: Arc<TcpStream>,
    cutter: Cutter,
}

/// A TCP connection from `from`.
///
/// # Errors
/// When it is refused.
pub async fn tcp(to: SocketAddr, from: IpAddr) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from, 0))?;
    let stream = timeout(DEADLINE, socket.connect(to)).await.context("no TCP connection")??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The request for a WebSocket.
#[must_use]
pub fn upgrade_request(to: SocketAddr, token: &str) -> String {
    format!(
        "GET /ws?token={token} HTTP/1.1\r\nHost: {to}\r\nOrigin: http://{to}\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

impl Client {
    /// Connects and upgrades.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn connect(to: SocketAddr, from: IpAddr, token: &str) -> anyhow::Result<Self> {
        let mut stream = tcp(to, from).await?;
        stream.write_all(upgrade_request(to, token).as_bytes()).await?;
        let (mut head, mut cutter) = (Vec::new(), Cutter::default());
        let end = loop {
            let read = timeout(DEADLINE, stream.read_buf(&mut head)).await;
            ensure!(read.context("no answer")?? > 0, "closed during the upgrade");
            if let Some(end) = head.windows(4).position(|end| end == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let status = String::from_utf8_lossy(&head[..end]).lines().next().map(str::to_owned);
        let status = status.unwrap_or_default();
        ensure!(status.contains(" 101 "), "refused: {status}");
        // Nothing is owed to us before we spoke, but a server may greet.
        cutter.feed(&head[end..], |_| {});
        Ok(Self { stream: Arc::new(stream), cutter })
    }

    /// Sends a whole frame.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn send(&self, mut frame: &[u8]) -> anyhow::Result<()> {
        while !frame.is_empty() {
            self.stream.writable().await?;
            match self.stream.try_write(frame) {
                Ok(sent) => frame = &frame[sent..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Sends a message and waits for one of the type `answer`.
    async fn ask(&mut self, message: &str, answer: &str) -> anyhow::Result<()> {
        self.send(&masked(1, message.as_bytes())).await?;
        let needle = format!(r#""type":"{answer}""#);
        let mut found = false;
        let waiting = async {
            while !found {
                let open = self.read(|frame| {
                    let text = String::from_utf8_lossy(frame.payload);
                    found |= text.contains(&needle);
                });
                if !open.await? {
                    bail!("closed instead of {answer}");
                }
            }
            Ok(())
        };
        timeout(DEADLINE, waiting).await.with_context(|| format!("no {answer}"))?
    }

    /// Shows itself as a client of version 2 of the protocol.
    ///
    /// # Errors
    /// When the server does not answer in kind.
    pub async fn hello(&mut self) -> anyhow::Result<()> {
        let hello = r#"{"type":"session.hello","data":{"v":2,"caps":[]}}"#;
        self.ask(hello, "session.welcome").await
    }

    /// Joins `room` and waits for the snapshot.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn join(&mut self, room: &str) -> anyhow::Result<()> {
        let join = format!(r#"{{"type":"chat.join","room":"{room}","data":{{}}}}"#);
        self.ask(&join, "room.users").await
    }

    /// Waits for bytes and hands on the frames in them. False when the connection has ended.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn read(&mut self, mut each: impl FnMut(Received<'_>)) -> anyhow::Result<bool> {
        loop {
            self.stream.readable().await?;
            let mut ping = None;
            let read = BUFFER.with_borrow_mut(|buffer| {
                let read = self.stream.try_read(buffer)?;
                self.cutter.feed(&buffer[..read], |frame| {
                    if frame.opcode == 9 {
                        ping = Some(masked(10, frame.payload));
                    }
                    each(frame);
                });
                Ok::<usize, std::io::Error>(read)
            });
            match read {
                Ok(0) => return Ok(false),
                Ok(_) => {
                    if let Some(pong) = ping {
                        self.send(&pong).await?;
                    }
                    return Ok(true);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Signs `count` guests in over one connection and returns their tokens.
///
/// # Errors
/// When the server refuses one.
pub async fn sign_in(to: SocketAddr, count: usize) -> anyhow::Result<Rc<[String]>> {
    let mut tokens = Vec::with_capacity(count);
    let mut stream = tcp(to, address_of(0)).await?;
    let request = format!(
        "POST /auth/sign-in HTTP/1.1\r\nHost: {to}\r\nContent-Type: application/json\r\n\
         Content-Length: 20\r\n\r\n{{\"username\":\"bench\"}}"
    );
    let mut answer = Vec::new();
    while tokens.len() < count {
        stream.write_all(request.as_bytes()).await?;
        answer.clear();
        let token = loop {
            let read = timeout(DEADLINE, stream.read_buf(&mut answer)).await;
            let text = String::from_utf8_lossy(&answer);
            ensure!(read.context("no answer")?? > 0, "sign-in refused: {text}");
            ensure!(text.starts_with("HTTP/1.1 200 "), "sign-in refused: {text}");
            // The body has come as a whole when its last brace has.
            if text.ends_with('}') {
                let (_, rest) = text.split_once(r#""accessToken":""#).context("no token")?;
                break rest.split('"').next().unwrap_or_default().to_owned();
            }
        };
        tokens.push(token);
    }
    Ok(tokens.into())
}
