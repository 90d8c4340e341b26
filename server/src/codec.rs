//! WebSocket frames (RFC 6455 §5) as a value without I/O: bytes of a client in, messages out.
//!
//! Bytes are unmasked where they lie, and a frame that arrived whole is handed on from there: only
//! what a read cut in two, and fragments, are copied. Between two frames a [`Decoder`] holds
//! nothing, so that an idle connection needs none.

mod utf8;

use thiserror::Error;

use utf8::Utf8;

/// Bytes of the longest header: two, eight of length, four of mask (RFC 6455 §5.2).
const HEADER_BYTES: usize = 14;
/// Bytes in the payload of a control frame at most (RFC 6455 §5.5).
const CONTROL_BYTES: usize = 125;

/// What a frame is (RFC 6455 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// More of the message that has begun.
    Continuation,
    /// A message of text.
    Text,
    /// A message of bytes.
    Binary,
    /// The end.
    Close,
    /// Are you there?
    Ping,
    /// I am.
    Pong,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    /// The four bits of the header.
    #[must_use]
    pub fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// Why a connection can't go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Broken {
    /// Not RFC 6455; close with 1002.
    #[error("a frame breaks the WebSocket protocol")]
    Protocol,
    /// A text or the reason of a close frame is not UTF-8; close with 1007.
    #[error("a text is not UTF-8")]
    NotUtf8,
    /// The message is larger than allowed; close with 1009.
    #[error("a message is too big")]
    TooBig,
}

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole message; text is UTF-8.
    Message(&'a [u8]),
    /// Wants a pong with the same payload.
    Ping(&'a [u8]),
    /// Answers a ping, or comes unasked.
    Pong(&'a [u8]),
    /// The client ends the connection; the code is one that may be sent (RFC 6455 §7.4).
    Close(Option<u16>),
}

/// The header of the frame whose payload is being read.
#[derive(Debug, Clone, Copy)]
struct Header {
    opcode: Opcode,
    is_final: bool,
    mask: [u8; 4],
    /// Of the payload.
    bytes: usize,
}

/// Reads the frames of one client.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    /// A header that is not all here.
    begun: [u8; HEADER_BYTES],
    begun_bytes: usize,
    header: Option<Header>,
    /// Bytes of the payload seen so far.
    seen: usize,
    /// What came of a message that is not complete.
    message: Vec<u8>,
    /// The kind of the message that has begun.
    kind: Option<Opcode>,
    utf8: Utf8,
    /// What came of a control frame that is not complete.
    control: Vec<u8>,
    /// The last event lent `message` or `control`, which is empty from here on.
    lent: bool,
}

impl Decoder {
    /// Begins at the start of a frame. Messages may have `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            begun: [0; HEADER_BYTES],
            begun_bytes: 0,
            header: None,
            seen: 0,
            message: Vec::new(),
            kind: None,
            utf8: Utf8::default(),
            control: Vec::new(),
            lent: false,
        }
    }

    /// Whether nothing has begun: a new decoder would go on in the same way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.begun_bytes == 0 && self.header.is_none() && self.kind.is_none()
    }

    /// The next thing in `input`, which shrinks by what was read; `None` when more is needed.
    /// After an error or a close frame nothing more is to be read.
    ///
    /// # Errors
    /// [`Broken`], which says how to close.
    pub fn next<'s, 'a: 's>(
        &'s mut self,
        input: &mut &'a mut [u8],
    ) -> Result<Option<Event<'s>>, Broken> {
        if std::mem::take(&mut self.lent) {
            // The memory goes with the bytes: few messages are cut.
            if self.kind.is_none() {
                self.message = Vec::new();
            }
            self.control = Vec::new();
        }
        loop {
            let header = match self.header {
                Some(header) => header,
                None => match self.read_header(input)? {
                    Some(header) => header,
                    None => return Ok(None),
                },
            };
            let (here, rest) = {
                let bytes = std::mem::take(input);
                let there = (header.bytes - self.seen).min(bytes.len());
                bytes.split_at_mut(there)
            };
            *input = rest;
            unmask(here, header.mask, self.seen);
            let is_first = self.seen == 0;
            self.seen += here.len();
            let is_whole = self.seen == header.bytes;
            if header.opcode.is_control() {
                if !(is_first && is_whole) {
                    self.control.extend_from_slice(here);
                }
                if !is_whole {
                    return Ok(None);
                }
                self.end_frame();
                self.lent = true;
                let payload = if is_first { &*here } else { &self.control[..] };
                return control(header.opcode, payload).map(Some);
            }
            let is_end = is_whole && header.is_final;
            if self.kind == Some(Opcode::Text) {
                self.utf8.check(here, is_end)?;
            }
            let is_alone = is_first && is_end && header.opcode != Opcode::Continuation;
            if !is_alone {
                self.message.extend_from_slice(here);
            }
            if is_whole {
                self.end_frame();
            }
            if is_end {
                self.kind = None;
                self.utf8 = Utf8::default();
                self.lent = true;
                let message = if is_alone { &*here } else { &self.message[..] };
                return Ok(Some(Event::Message(message)));
            }
            if !is_whole {
                return Ok(None);
            }
        }
    }

    fn end_frame(&mut self) {
        self.header = None;
        self.seen = 0;
    }

    /// Takes a header from the input, together with what came of it before.
    fn read_header(&mut self, input: &mut &mut [u8]) -> Result<Option<Header>, Broken> {
        let before = self.begun_bytes;
        let more = input.len().min(HEADER_BYTES - before);
        self.begun[before..before + more].copy_from_slice(&input[..more]);
        let Some((header, bytes)) = self.parse_header(before + more)? else {
            self.begun_bytes += more;
            *input = &mut std::mem::take(input)[more..];
            return Ok(None);
        };
        self.begun_bytes = 0;
        *input = &mut std::mem::take(input)[bytes - before..];
        if !header.opcode.is_control() && header.opcode != Opcode::Continuation {
            self.kind = Some(header.opcode);
        }
        self.header = Some(header);
        Ok(Some(header))
    }

    /// The header in the first `there` bytes, and how many of them it has. It is refused as soon
    /// as it can be, before the rest is here.
    fn parse_header(&self, there: usize) -> Result<Option<(Header, usize)>, Broken> {
        let bytes = &self.begun[..there];
        let Some(&first) = bytes.first() else { return Ok(None) };
        let is_final = first & 0x80 != 0;
        let opcode = Opcode::from_bits(first & 0x0f).ok_or(Broken::Protocol)?;
        let fits = match opcode {
            Opcode::Continuation => self.kind.is_some(),
            Opcode::Text | Opcode::Binary => self.kind.is_none(),
            Opcode::Close | Opcode::Ping | Opcode::Pong => is_final,
        };
        // No extension was agreed on, so no reserved bit means anything.
        if first & 0x70 != 0 || !fits {
            return Err(Broken::Protocol);
        }
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        let (is_masked, short) = (second & 0x80 != 0, usize::from(second & 0x7f));
        if !is_masked || (opcode.is_control() && short > CONTROL_BYTES) {
            return Err(Broken::Protocol);
        }
        let (length, mask_at) = match short {
            126 => match bytes.get(2..4) {
                Some(long) => (be(long), 4),
                None => return Ok(None),
            },
            127 => match bytes.get(2..10) {
                Some(long) => (be(long), 10),
                None => return Ok(None),
            },
            short => (short as u64, 2),
        };
        // The shortest form must be used, and the highest bit is never set (RFC 6455 §5.2).
        let shortest = match short {
            126 => 126..=0xffff,
            127 => 0x1_0000..=u64::MAX >> 1,
            _ => 0..=125,
        };
        if !shortest.contains(&length) {
            return Err(Broken::Protocol);
        }
        let before = if opcode.is_control() { 0 } else { self.message.len() };
        let bytes_there = usize::try_from(length).map_err(|_| Broken::TooBig)?;
        if before.saturating_add(bytes_there) > self.limit.max(CONTROL_BYTES) {
            return Err(Broken::TooBig);
        }
        let Some(mask) = bytes.get(mask_at..mask_at + 4) else { return Ok(None) };
        let mask = [mask[0], mask[1], mask[2], mask[3]];
        Ok(Some((Header { opcode, is_final, mask, bytes: bytes_there }, mask_at + 4)))
    }
}

fn be(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn control(opcode: Opcode, payload: &[u8]) -> Result<Event<'_>, Broken> {
    match opcode {
        Opcode::Ping => Ok(Event::Ping(payload)),
        Opcode::Pong => Ok(Event::Pong(payload)),
        _ => match payload {
            [] => Ok(Event::Close(None)),
            [_] => Err(Broken::Protocol),
            [high, low, reason @ ..] => {
                let code = u16::from_be_bytes([*high, *low]);
                if !may_be_sent(code) {
                    return Err(Broken::Protocol);
                }
                std::str::from_utf8(reason).map_err(|_| Broken::NotUtf8)?;
                Ok(Event::Close(Some(code)))
            }
        },
    }
}

/// Whether a close frame may carry this code (RFC 6455 §7.4, and the registry it began).
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Takes the mask off, or puts it on, beginning `offset` bytes into the payload.
pub fn unmask(bytes: &mut [u8], mask: [u8; 4], offset: usize) {
    let mut turned = mask;
    turned.rotate_left(offset % 4);
    let word = u32::from_ne_bytes(turned);
    let wide = u64::from(word) << 32 | u64::from(word);
    let mut chunks = bytes.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let masked = u64::from_ne_bytes((&*chunk).try_into().expect("a chunk has 8 bytes"));
        chunk.copy_from_slice(&(masked ^ wide).to_ne_bytes());
    }
    for (byte, mask) in chunks.into_remainder().iter_mut().zip(turned.iter().cycle()) {
        *byte ^= mask;
    }
}

/// Bytes of the longest header that a server writes: no mask.
pub const SERVER_HEADER_BYTES: usize = 10;

/// The header of a whole frame from the server, not masked (RFC 6455 §5.2): the bytes, of which
/// the last ones count, and how many.
#[must_use]
pub fn server_header(opcode: Opcode, payload_bytes: usize) -> ([u8; SERVER_HEADER_BYTES], usize) {
    let mut header = [0; SERVER_HEADER_BYTES];
    let first = 0x80 | opcode.bits();
    let length = payload_bytes as u64;
    let bytes = match payload_bytes {
        0..=125 => {
            header[9] = length as u8;
            2
        }
        126..=0xffff => {
            header[7] = 126;
            header[8..].copy_from_slice(&(length as u16).to_be_bytes());
            4
        }
        _ => {
            header[1] = 127;
            header[2..].copy_from_slice(&length.to_be_bytes());
            10
        }
    };
    header[SERVER_HEADER_BYTES - bytes] = first;
    (header, bytes)
}

#[cfg(test)]
mod tests;
