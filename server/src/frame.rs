//! A message on its way out: encoded once, WebSocket header included, and shared by all who get it.

use bytes::Bytes;

use crate::codec::{Opcode, SERVER_HEADER_BYTES, server_header};

/// What a frame costs in an outbox besides its bytes.
const OVERHEAD_BYTES: usize = size_of::<Frame>();

/// One frame as it goes into the socket. Clones share its bytes.
#[derive(Debug, Clone)]
pub struct Frame {
    bytes: Bytes,
    class: Class,
}

/// What may happen to a frame when its recipient is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Must arrive.
    Kept,
    /// May be lost.
    Typing,
    /// May be replaced by the next one of the same room, which this number stands for.
    Roster(usize),
    /// Of the connection, not of the session: a ping, a welcome, a close frame. Not counted among
    /// what a resumed session has received.
    Control,
}

impl Frame {
    /// A text frame around `json`.
    #[must_use]
    pub fn text(class: Class, json: &str) -> Self {
        Self::write(class, json.len(), |bytes| bytes.extend_from_slice(json.as_bytes()))
    }

    /// A text frame whose payload `fill` appends; about `expected` bytes are made room for.
    pub fn write(class: Class, expected: usize, fill: impl FnOnce(&mut Vec<u8>)) -> Self {
        Self::build(class, Opcode::Text, expected, fill)
    }

    /// A ping.
    #[must_use]
    pub fn ping(payload: &[u8]) -> Self {
        Self::build(Class::Control, Opcode::Ping, payload.len(), |b| b.extend_from_slice(payload))
    }

    /// The answer to a ping.
    #[must_use]
    pub fn pong(payload: &[u8]) -> Self {
        Self::build(Class::Control, Opcode::Pong, payload.len(), |b| b.extend_from_slice(payload))
    }

    /// The last frame of a connection.
    #[must_use]
    pub fn close(code: Option<u16>, reason: &str) -> Self {
        Self::build(Class::Control, Opcode::Close, reason.len() + 2, |bytes| {
            if let Some(code) = code {
                bytes.extend_from_slice(&code.to_be_bytes());
                bytes.extend_from_slice(reason.as_bytes());
            }
        })
    }

    fn build(
        class: Class,
        opcode: Opcode,
        expected: usize,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> Self {
        // The header is known last and stands first.
        let mut bytes = Vec::with_capacity(SERVER_HEADER_BYTES + expected);
        bytes.extend_from_slice(&[0; SERVER_HEADER_BYTES]);
        fill(&mut bytes);
        let (header, length) = server_header(opcode, bytes.len() - SERVER_HEADER_BYTES);
        bytes[..SERVER_HEADER_BYTES].copy_from_slice(&header);
        Self { bytes: Bytes::from(bytes).slice(SERVER_HEADER_BYTES - length..), class }
    }

    /// Header and payload, as they go into the socket.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What may happen to it.
    #[must_use]
    pub fn class(&self) -> Class {
        self.class
    }

    /// What it counts for in an outbox.
    #[must_use]
    pub fn cost(&self) -> usize {
        self.bytes.len() + OVERHEAD_BYTES
    }

    /// The payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        let header = match self.bytes.get(1) {
            Some(126) => 4,
            Some(127) => 10,
            _ => 2,
        };
        self.bytes.get(header..).unwrap_or_default()
    }

    /// The payload as text, for those who look into frames.
    #[must_use]
    pub fn json(&self) -> &str {
        std::str::from_utf8(self.payload()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_its_header_and_its_payload() {
        let frame = Frame::text(Class::Kept, "{}");
        assert_eq!((frame.bytes(), frame.json()), (&b"\x81\x02{}"[..], "{}"));
        let long = "x".repeat(70_000);
        for length in [125, 126, 65_535, 65_536, 70_000] {
            let frame = Frame::text(Class::Typing, &long[..length]);
            assert_eq!(frame.json().len(), length);
        }
    }

    #[test]
    fn control_frames_have_their_forms() {
        assert_eq!(Frame::ping(b"").bytes(), b"\x89\x00");
        assert_eq!(Frame::pong(b"ab").bytes(), b"\x8a\x02ab");
        assert_eq!(Frame::close(None, "unseen").bytes(), b"\x88\x00");
        assert_eq!(Frame::close(Some(1000), "bye").bytes(), b"\x88\x05\x03\xe8bye");
    }
}
