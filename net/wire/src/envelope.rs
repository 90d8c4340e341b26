//! The JSON object around every WebSocket message.
//!
//! ```text
//! client → server   {"type":T,"room":R,"data":{…}}
//! server → client   {"type":T,"room":R,"data":{…},"from":F}
//!                   … ,"seq":N}   where version 2 is spoken, with chat
//! ```
//!
//! `data` stays raw: a relay passes it on byte for byte and never needs to understand it.

use std::borrow::Cow;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

/// Bytes that are not an envelope.
#[derive(Debug, Error)]
#[error("not an envelope: {0}")]
pub struct MalformedEnvelope(#[from] serde_json::Error);

/// An envelope as it arrived, borrowing from the message's bytes. Unknown fields are dropped.
#[derive(Debug, Deserialize)]
pub struct Envelope<'a> {
    /// What kind of message; see [`crate::MessageType`].
    #[serde(rename = "type", borrow)]
    pub kind: Cow<'a, str>,
    /// The room as it was sent, not yet trimmed; empty where there is none.
    #[serde(borrow, default, deserialize_with = "text_or_empty")]
    pub room: Cow<'a, str>,
    /// The payload, untouched.
    #[serde(borrow, default)]
    pub data: Option<&'a RawValue>,
    /// The sender's user id; only the server sets it.
    #[serde(borrow, default, deserialize_with = "text")]
    pub from: Option<Cow<'a, str>>,
    /// The number of a chat message among its sender's in this room; only the server sets it.
    #[serde(default, deserialize_with = "number")]
    pub seq: Option<u64>,
}

impl<'a> Envelope<'a> {
    /// Reads one WebSocket message, text or binary.
    ///
    /// # Errors
    /// [`MalformedEnvelope`] when the bytes are not UTF-8, not JSON or not an object with a
    /// string `type`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, MalformedEnvelope> {
        // serde would take an array's elements for the fields in order.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(serde_json::Error::custom("expected an object").into());
        }
        Ok(serde_json::from_slice(bytes)?)
    }

    /// The payload's JSON text; `null` where there is none.
    #[must_use]
    pub fn data_json(&self) -> &'a str {
        self.data.map_or("null", RawValue::get)
    }
}

/// A number, or nothing where something else stands.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let raw = <&'de RawValue>::deserialize(from)?;
    Ok(raw.get().parse().ok())
}

/// A text, or nothing where something else stands: these two fields are ignored where they make
/// no sense, and a message is not lost for them.
fn text<'a, 'de: 'a, D: Deserializer<'de>>(from: D) -> Result<Option<Cow<'a, str>>, D::Error> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    let raw = <&'de RawValue>::deserialize(from)?;
    Ok(serde_json::from_str::<Text<'de>>(raw.get()).ok().map(|text| text.0))
}

fn text_or_empty<'a, 'de: 'a, D: Deserializer<'de>>(from: D) -> Result<Cow<'a, str>, D::Error> {
    Ok(text(from)?.unwrap_or_default())
}

/// An envelope to send. `data` is anything that serialises, a [`RawValue`] included.
#[derive(Debug, Serialize)]
pub struct Outgoing<'a, D: Serialize> {
    /// What kind of message.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// The room, byte-equal to what its members know.
    pub room: &'a str,
    /// The payload.
    pub data: D,
    /// The sender; absent from what clients send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<&'a str>,
}

impl<D: Serialize> Outgoing<'_, D> {
    /// The JSON text.
    ///
    /// # Panics
    /// Never for this crate's payloads: they have string keys only and no failing serialiser.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("payloads of the protocol always serialise")
    }
}

/// A relayed chat message for those who speak version 2: with its number.
#[derive(Debug, Serialize)]
pub struct Numbered<'a, D: Serialize> {
    /// What kind of message.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// The room, byte-equal to what its members know.
    pub room: &'a str,
    /// The payload.
    pub data: D,
    /// The sender.
    pub from: &'a str,
    /// The number among the sender's in this room, from 1.
    pub seq: u64,
}

impl<D: Serialize> Numbered<'_, D> {
    /// The JSON text.
    ///
    /// # Panics
    /// Never for this crate's payloads: they have string keys only and no failing serialiser.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("payloads of the protocol always serialise")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_kept_byte_for_byte() {
        let text =
            r#"{"type":"chat.message","room":"r","data":{"message":"\u00e1","x": 1.0},"y":2}"#;
        let envelope = Envelope::parse(text.as_bytes()).unwrap();
        assert_eq!(envelope.data_json(), r#"{"message":"\u00e1","x": 1.0}"#);
        assert_eq!(envelope.room, "r");
    }

    #[test]
    fn room_and_data_may_be_missing() {
        let envelope = Envelope::parse(br#"{"type":"utils.generateRoomID"}"#).unwrap();
        assert_eq!((envelope.room.as_ref(), envelope.data_json()), ("", "null"));
        for odd in ["null", "7", "[\"r\"]", "{}"] {
            let text =
                format!(r#" {{"type":"t","room":{odd},"data":null,"from":{odd},"seq":"1"}}"#);
            let envelope = Envelope::parse(text.as_bytes()).unwrap();
            assert_eq!((envelope.room.as_ref(), envelope.data_json()), ("", "null"));
            assert_eq!((envelope.from, envelope.seq), (None, None));
        }
    }

    #[test]
    fn rubbish_is_an_error() {
        for bytes in [
            &b"hello"[..],
            b"[]",
            b"[\"chat.join\",\"r\"]",
            b"{}",
            b"{\"type\":1}",
            b"\xff\xfe",
            b"",
        ] {
            assert!(Envelope::parse(bytes).is_err(), "{bytes:?}");
        }
    }
}
