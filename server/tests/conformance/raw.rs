//! A server process of the test's own, and a client that sends any bytes it likes.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use serde_json::Value;

/// No answer takes longer, unless something is broken.
const DEADLINE: Duration = Duration::from_secs(20);

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// The server process; it ends with the last test that uses it.
struct Process {
    child: Child,
    address: SocketAddr,
    _state: tempfile::TempDir,
}

impl Process {
    fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Process>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        shared.upgrade().unwrap_or_else(|| {
            let process = Arc::new(Self::start());
            *shared = Arc::downgrade(&process);
            process
        })
    }

    fn start() -> Self {
        let state = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_private-meet-server"))
            .args(["--listen", "127.0.0.1:0", "--tls", "off"])
            .current_dir(state.path())
            .env_clear()
            .envs([("HTTP_RATE_LIMIT", "false"), ("MAX_CONNECTIONS_PER_ADDRESS", "0")])
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

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A frame of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

/// A client in a room of its own.
pub struct Raw {
    stream: TcpStream,
    room: String,
    _process: Arc<Process>,
}

/// A masked frame: `head` is the first byte, final bit and reserved bits included.
pub fn frame(head: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![head];
    match payload.len() {
        bytes @ 0..126 => frame.push(0x80 | bytes as u8),
        bytes @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend((bytes as u16).to_be_bytes());
        }
        bytes => {
            frame.push(0x80 | 127);
            frame.extend((bytes as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The first byte of a final frame.
pub const fn last(opcode: u8) -> u8 {
    0x80 | opcode
}

/// The payload of a close frame.
pub fn close_payload(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason].concat()
}

impl Raw {
    /// Signs in, upgrades and joins.
    pub fn open() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let process = Process::shared();
        let address = process.address;
        let ask = |request: String| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            stream
        };
        let mut answer = String::new();
        let request = "POST /auth/sign-in HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
            Content-Length: 0\r\n\r\n";
        ask(request.to_owned()).read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        let token = body["accessToken"].as_str().unwrap();
        let mut stream = ask(format!(
            "GET /ws?token={token} HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\n\
             Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Extensions: permessage-deflate\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ));
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{head}");
        assert!(!head.contains("sec-websocket-extensions"), "{head}");
        let room = format!("conformance-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut raw = Self { stream, room, _process: process };
        let join = format!(r#"{{"type":"chat.join","room":"{}"}}"#, raw.room);
        raw.send(&frame(last(TEXT), join.as_bytes()));
        let snapshot = raw.next();
        assert!(String::from_utf8(snapshot.payload).unwrap().contains("room.users"));
        raw
    }

    /// The message whose echo is `message`; `message` stands in it byte for byte.
    pub fn chat(&self, message: &[u8]) -> Vec<u8> {
        let head =
            format!(r#"{{"type":"chat.message","room":"{}","data":{{"message":""#, self.room);
        [head.as_bytes(), message, br#""}}"#].concat()
    }

    /// The same, made `bytes` long by white space.
    pub fn chat_of(&self, message: &[u8], bytes: usize) -> Vec<u8> {
        let mut chat = self.chat(message);
        assert!(chat.len() <= bytes, "{bytes} bytes are too few");
        let padding = vec![b' '; bytes - chat.len()];
        let end = chat.len() - 1;
        chat.splice(end..end, padding);
        chat
    }

    /// Sends bytes as they are. A server that has closed already need not take them.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Sends bytes in pieces, each in a packet of its own as far as the system lets us.
    pub fn send_chopped(&mut self, bytes: &[u8], piece: usize) {
        for piece in bytes.chunks(piece) {
            self.send(piece);
        }
    }

    /// The next frame, checked for what every frame of a server must be: whole, unmasked,
    /// without reserved bits, with its length in the shortest form.
    pub fn next(&mut self) -> Frame {
        self.try_next().expect("a frame, not the end of the connection")
    }

    fn try_next(&mut self) -> Option<Frame> {
        let mut head = [0; 2];
        match self.stream.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if ended(error.kind()) => return None,
            Err(error) => panic!("no frame but {error}"),
        }
        assert_eq!(head[0] & 0xf0, 0x80, "fragmented, or reserved bits");
        assert_eq!(head[1] & 0x80, 0, "masked");
        let length = match head[1] {
            126 => {
                let mut length = [0; 2];
                self.stream.read_exact(&mut length).unwrap();
                let length = u16::from_be_bytes(length);
                assert!(length > 125);
                u64::from(length)
            }
            127 => {
                let mut length = [0; 8];
                self.stream.read_exact(&mut length).unwrap();
                let length = u64::from_be_bytes(length);
                assert!(length > 65_535);
                length
            }
            length => u64::from(length),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload).unwrap();
        Some(Frame { opcode: head[0] & 0x0f, payload })
    }

    /// The next frame must be the echo of `message`, byte for byte.
    pub fn echoed(&mut self, message: &[u8]) {
        let Frame { opcode, payload } = self.next();
        assert_eq!(opcode, TEXT);
        let needle = [&br#""message":""#[..], message, b"\""].concat();
        let found = payload.windows(needle.len()).any(|window| window == needle);
        assert!(found, "no echo but {}", String::from_utf8_lossy(&payload));
    }

    /// The next frame must be a pong.
    pub fn ponged(&mut self, payload: &[u8]) {
        assert_eq!(self.next(), Frame { opcode: PONG, payload: payload.to_vec() });
    }

    /// Reads on until the close frame, which must have this code, and then to the end. What came
    /// before it comes back.
    pub fn closed(self, code: u16) -> Vec<Frame> {
        self.closed_with_one_of(&[code])
    }

    /// The same where the rules leave a choice.
    pub fn closed_with_one_of(mut self, codes: &[u16]) -> Vec<Frame> {
        let mut before = Vec::new();
        loop {
            let frame = self.next();
            if frame.opcode != CLOSE {
                before.push(frame);
                continue;
            }
            let code = frame.payload.first_chunk().map(|code| u16::from_be_bytes(*code));
            assert!(code.is_some_and(|code| codes.contains(&code)), "{code:?}, not {codes:?}");
            let reason = std::str::from_utf8(&frame.payload[2..]).expect("a reason is UTF-8");
            assert!(reason.len() <= 123);
            self.send(&self::frame(last(CLOSE), &frame.payload[..2]));
            self.ends();
            return before;
        }
    }

    /// The server answers our close frame with one that has no code, and ends.
    pub fn closed_without_code(mut self) {
        assert_eq!(self.next(), Frame { opcode: CLOSE, payload: Vec::new() });
        self.ends();
    }

    /// Nothing comes any more but the end of the connection; the server ends it first (RFC 6455
    /// §7.1.1).
    fn ends(&mut self) {
        assert_eq!(self.try_next(), None);
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

fn ended(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted
    )
}

/// Sends `bytes` to a fresh connection, which must be closed with `code`.
pub fn check_closed(bytes: &[u8], code: u16) {
    let mut raw = Raw::open();
    raw.send(bytes);
    raw.closed(code);
}
