//! Chat encryption, version 1: one key for the room, made from the passphrase.
//!
//! ```text
//! salt    = first 16 bytes of SHA-256("salt:" + raw room id)
//! key     = PBKDF2-HMAC-SHA-256(passphrase, or the raw room id where there is none; 200,000 rounds)
//! sealed  = prefix + {"v":1,"alg":"AES-GCM","iv":…,"content":…}, authenticated: room | sender
//! ```

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;
use wire::{RawRoomId, RoomId, UserId, limits};
use zeroize::{Zeroize, Zeroizing};

use crate::event::{Protection, UnreadableReason};
use crate::passphrase::Passphrase;

/// Rounds of PBKDF2.
const ROUNDS: u32 = 200_000;
/// Bytes of an initialisation vector.
const IV_BYTES: usize = 12;
/// The only version that is written, and read.
const VERSION: u32 = 1;
/// The only algorithm.
const ALGORITHM: &str = "AES-GCM";

/// Seals and opens the chat of one room. Its key is wiped when it is dropped.
pub(crate) struct ChatSeal {
    key: Zeroizing<[u8; 32]>,
    room: RoomId,
    prefix: String,
    protection: Protection,
}

/// Why a text can't be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum SealError {
    /// Nothing is left after trimming.
    #[error("the message is empty")]
    Empty,
    /// More than [`limits::CHAT_TEXT_UNITS`], or more than fits once it is sealed.
    #[error("the message is too long; about {fits} of its characters fit")]
    TooLong {
        /// UTF-16 units.
        fits: usize,
    },
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

/// What stands behind the prefix.
#[derive(Serialize, Deserialize)]
struct Sealed<'a> {
    v: u32,
    #[serde(borrow)]
    alg: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    iv: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    content: std::borrow::Cow<'a, str>,
}

/// A message that was opened, or needed no opening.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) text: String,
    pub(crate) protection: Protection,
}

impl ChatSeal {
    /// Derives the key. Takes a good part of a second of one core: never on an async thread.
    pub(crate) fn derive(
        raw_room: &RawRoomId,
        room: RoomId,
        prefix: String,
        passphrase: &Passphrase,
    ) -> Self {
        let salt = Sha256::digest(format!("salt:{raw_room}"));
        let (secret, protection) = if passphrase.is_empty() {
            (raw_room.as_str(), Protection::RoomKeyOnly)
        } else {
            (passphrase.expose(), Protection::Sealed)
        };
        let mut key = Zeroizing::new([0; 32]);
        pbkdf2::pbkdf2_hmac::<Sha256>(secret.as_bytes(), &salt[..16], ROUNDS, &mut *key);
        Self { key, room, prefix, protection }
    }

    /// Seals a text under a fresh IV.
    pub(crate) fn seal(&self, text: &str, sender: &UserId) -> Result<String, SealError> {
        let mut iv = [0; IV_BYTES];
        getrandom::fill(&mut iv).map_err(|_| SealError::NoRandomness)?;
        self.seal_with(text, sender.as_str(), iv)
    }

    fn seal_with(&self, text: &str, sender: &str, iv: [u8; IV_BYTES]) -> Result<String, SealError> {
        if text.trim().is_empty() {
            return Err(SealError::Empty);
        }
        if text.encode_utf16().count() > limits::CHAT_TEXT_UNITS {
            return Err(SealError::TooLong { fits: limits::CHAT_TEXT_UNITS });
        }
        let aad = self.authenticated(sender);
        let payload = Payload { msg: text.as_bytes(), aad: aad.as_bytes() };
        let content = self
            .cipher()
            .encrypt(&Nonce::from(iv), payload)
            .expect("a chat message is far below the cipher's limit");
        let sealed = Sealed {
            v: VERSION,
            alg: ALGORITHM.into(),
            iv: STANDARD.encode(iv).into(),
            content: STANDARD.encode(content).into(),
        };
        let json = serde_json::to_string(&sealed).expect("strings and numbers serialise");
        let message = format!("{}{json}", self.prefix);
        // Everything in it is ASCII but for the prefix.
        if message.encode_utf16().count() > limits::MESSAGE_CHARS {
            return Err(SealError::TooLong { fits: self.units_that_fit(text) });
        }
        Ok(message)
    }

    /// Opens what `sender` said. Text without the prefix is plain.
    pub(crate) fn open(&self, message: &str, sender: &UserId) -> Result<Opened, UnreadableReason> {
        self.open_from(message, sender.as_str())
    }

    fn open_from(&self, message: &str, sender: &str) -> Result<Opened, UnreadableReason> {
        let Some(json) = message.strip_prefix(&self.prefix) else {
            return Ok(Opened { text: message.to_owned(), protection: Protection::Plain });
        };
        let sealed: Sealed<'_> =
            serde_json::from_str(json).map_err(|_| UnreadableReason::Malformed)?;
        if sealed.v != VERSION || sealed.alg != ALGORITHM {
            return Err(UnreadableReason::UnknownVersion);
        }
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| UnreadableReason::Malformed);
        let iv: [u8; IV_BYTES] =
            decode(&sealed.iv)?.try_into().map_err(|_| UnreadableReason::Malformed)?;
        let content = decode(&sealed.content)?;
        let aad = self.authenticated(sender);
        let payload = Payload { msg: &content, aad: aad.as_bytes() };
        let opened = self
            .cipher()
            .decrypt(&Nonce::from(iv), payload)
            .map_err(|_| UnreadableReason::WrongKey)?;
        let text = String::from_utf8(opened).map_err(|error| {
            error.into_bytes().zeroize();
            UnreadableReason::Malformed
        })?;
        Ok(Opened { text, protection: self.protection })
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new((&*self.key).into())
    }

    fn authenticated(&self, sender: &str) -> String {
        format!("{}|{sender}", self.room)
    }

    /// UTF-16 units of `text` whose sealed form is within [`limits::MESSAGE_CHARS`].
    fn units_that_fit(&self, text: &str) -> usize {
        // {"v":1,"alg":"AES-GCM","iv":"(16)","content":"…"} and the tag of 16 bytes.
        const FRAME_CHARS: usize = 62;
        const TAG_BYTES: usize = 16;
        let prefix = self.prefix.encode_utf16().count();
        let base64 = limits::MESSAGE_CHARS.saturating_sub(prefix + FRAME_CHARS);
        let mut bytes = (base64 / 4 * 3).saturating_sub(TAG_BYTES);
        let mut units = 0;
        for c in text.chars() {
            let Some(left) = bytes.checked_sub(c.len_utf8()) else { break };
            bytes = left;
            units += c.len_utf16();
        }
        units
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Vector {
        name: String,
        raw_room: String,
        passphrase: Option<String>,
        #[serde(default)]
        user_id: String,
        plaintext: String,
        room: String,
        #[serde(rename = "key_hex")]
        key: String,
        #[serde(rename = "iv_hex")]
        iv: String,
        aad: String,
        wire: String,
    }

    #[derive(Deserialize)]
    struct Vectors {
        vectors: Vec<Vector>,
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
            .collect()
    }

    fn seal_for(raw: &str, passphrase: &str) -> ChatSeal {
        let raw = RawRoomId::new(raw).unwrap();
        let room = raw.on_the_wire("pm_room:").unwrap();
        ChatSeal::derive(&raw, room, "pm_e2ee:".to_owned(), &passphrase.to_owned().into())
    }

    /// A seal whose key costs nothing.
    fn cheap(prefix: &str, key: u8) -> ChatSeal {
        ChatSeal {
            key: Zeroizing::new([key; 32]),
            room: RoomId::new("pm_room:demo").unwrap(),
            prefix: prefix.to_owned(),
            protection: Protection::Sealed,
        }
    }

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    #[test]
    fn the_shared_vectors_are_reproduced() {
        let text = include_str!("../wire/testdata/chat-v1.json");
        let vectors: Vectors = serde_json::from_str(text).unwrap();
        assert!(vectors.vectors.len() >= 4);
        for vector in vectors.vectors {
            let seal = seal_for(&vector.raw_room, vector.passphrase.as_deref().unwrap_or(""));
            assert_eq!(seal.key.as_slice(), hex(&vector.key), "{}", vector.name);
            assert_eq!(seal.room.as_str(), vector.room);
            assert_eq!(seal.authenticated(&vector.user_id), vector.aad);
            let iv = hex(&vector.iv).try_into().unwrap();
            let sealed = seal.seal_with(&vector.plaintext, &vector.user_id, iv).unwrap();
            assert_eq!(sealed, vector.wire, "{}", vector.name);
            let opened = seal.open_from(&vector.wire, &vector.user_id).unwrap();
            assert_eq!(opened.text, vector.plaintext);
            assert_eq!(
                opened.protection,
                if vector.passphrase.is_some() {
                    Protection::Sealed
                } else {
                    Protection::RoomKeyOnly
                }
            );
            assert_eq!(
                seal.open_from(&vector.wire, "somebody else"),
                Err(UnreadableReason::WrongKey)
            );
        }
    }

    #[test]
    fn another_passphrase_does_not_open() {
        let sealed = cheap("p:", 1).seal("hello", &user("a")).unwrap();
        assert_eq!(cheap("p:", 2).open(&sealed, &user("a")), Err(UnreadableReason::WrongKey));
        assert_eq!(cheap("p:", 1).open(&sealed, &user("a")).unwrap().text, "hello");
    }

    #[test]
    fn a_message_without_the_prefix_is_plain() {
        let opened = cheap("p:", 1).open("hello", &user("a")).unwrap();
        assert_eq!(opened, Opened { text: "hello".into(), protection: Protection::Plain });
    }

    #[test]
    fn rubbish_behind_the_prefix_is_told_apart_from_a_wrong_key() {
        let open = |text: &str| cheap("p:", 1).open(text, &user("a")).unwrap_err();
        for text in
            ["p:", "p:{}", "p:[1]", "p:null", r#"p:{"v":1,"alg":"AES-GCM","iv":"AA","content":""}"#]
        {
            assert_eq!(open(text), UnreadableReason::Malformed, "{text}");
        }
        let other = r#"p:{"v":2,"alg":"PM-SK1","iv":"","content":""}"#;
        assert_eq!(open(other), UnreadableReason::UnknownVersion);
        let empty = r#"p:{"v":1,"alg":"AES-GCM","iv":"AAECAwQFBgcICQoL","content":""}"#;
        assert_eq!(open(empty), UnreadableReason::WrongKey);
    }

    #[test]
    fn a_text_that_does_not_fit_says_how_much_would() {
        let seal = cheap("pm_e2ee:", 1);
        assert_eq!(seal.seal(" \n", &user("a")), Err(SealError::Empty));
        assert!(seal.seal(&"a".repeat(1_500), &user("a")).is_ok());
        assert_eq!(
            seal.seal(&"a".repeat(1_501), &user("a")),
            Err(SealError::TooLong { fits: 1_500 })
        );
        // Three bytes each: fewer fit than the limit in units says.
        let Err(SealError::TooLong { fits }) = seal.seal(&"漢".repeat(1_500), &user("a")) else {
            panic!("1,500 Chinese characters do not fit");
        };
        assert!(seal.seal(&"漢".repeat(fits), &user("a")).is_ok());
        assert!(seal.seal(&"漢".repeat(fits + 2), &user("a")).is_err());
    }
}
