//! STUN messages (RFC 8489) with the attributes of TURN (RFC 8656), and ChannelData. Reading never
//! panics, allocates or logs: anybody may send anything.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::{Digest as _, Md5};
use sha1::Sha1;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The bytes before the attributes (RFC 8489 §5).
pub const HEADER: usize = 20;
/// The bytes before the data of a channel (RFC 8656 §12.4).
pub const CHANNEL_HEADER: usize = 4;
/// The numbers that a channel may have (RFC 5766 §11); RFC 8656 leaves its clients the lower ones.
pub const CHANNELS: std::ops::RangeInclusive<u16> = 0x4000..=0x7FFF;
/// In every STUN message.
const COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
/// The length of MESSAGE-INTEGRITY's value.
const INTEGRITY: usize = 20;
/// What the checksum of FINGERPRINT is mixed with (RFC 8489 §14.7).
const FINGERPRINT_MASK: u32 = 0x5354_554E;

/// Identifies a request and its answer.
pub type Transaction = [u8; 12];

/// What a message is, apart from its method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Wants an answer.
    Request,
    /// Wants none.
    Indication,
    /// It worked.
    Success,
    /// It did not.
    Error,
}

/// What a message asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method(pub u16);

impl Method {
    /// What is my address? (RFC 8489)
    pub const BINDING: Self = Self(0x001);
    /// Give me a relayed address.
    pub const ALLOCATE: Self = Self(0x003);
    /// Let me keep it, or take it back.
    pub const REFRESH: Self = Self(0x004);
    /// Data for a peer.
    pub const SEND: Self = Self(0x006);
    /// Data from a peer.
    pub const DATA: Self = Self(0x007);
    /// Let a peer in.
    pub const CREATE_PERMISSION: Self = Self(0x008);
    /// Let a peer in, and give it a short name.
    pub const CHANNEL_BIND: Self = Self(0x009);
}

/// What an attribute is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind(pub u16);

#[allow(missing_docs, reason = "the names of the RFCs")]
impl Kind {
    pub const MAPPED_ADDRESS: Self = Self(0x0001);
    pub const USERNAME: Self = Self(0x0006);
    pub const MESSAGE_INTEGRITY: Self = Self(0x0008);
    pub const ERROR_CODE: Self = Self(0x0009);
    pub const UNKNOWN_ATTRIBUTES: Self = Self(0x000A);
    pub const CHANNEL_NUMBER: Self = Self(0x000C);
    pub const LIFETIME: Self = Self(0x000D);
    pub const XOR_PEER_ADDRESS: Self = Self(0x0012);
    pub const DATA: Self = Self(0x0013);
    pub const REALM: Self = Self(0x0014);
    pub const NONCE: Self = Self(0x0015);
    pub const XOR_RELAYED_ADDRESS: Self = Self(0x0016);
    pub const REQUESTED_ADDRESS_FAMILY: Self = Self(0x0017);
    pub const EVEN_PORT: Self = Self(0x0018);
    pub const REQUESTED_TRANSPORT: Self = Self(0x0019);
    pub const MESSAGE_INTEGRITY_SHA256: Self = Self(0x001C);
    pub const XOR_MAPPED_ADDRESS: Self = Self(0x0020);
    pub const RESERVATION_TOKEN: Self = Self(0x0022);
    pub const FINGERPRINT: Self = Self(0x8028);

    /// Those a server must understand and does. The others below 0x8000 are refused with 420.
    const UNDERSTOOD: [Self; 14] = [
        Self::MAPPED_ADDRESS,
        Self::USERNAME,
        Self::MESSAGE_INTEGRITY,
        Self::CHANNEL_NUMBER,
        Self::LIFETIME,
        Self::XOR_PEER_ADDRESS,
        Self::DATA,
        Self::REALM,
        Self::NONCE,
        Self::REQUESTED_ADDRESS_FAMILY,
        Self::EVEN_PORT,
        Self::REQUESTED_TRANSPORT,
        Self::MESSAGE_INTEGRITY_SHA256,
        Self::RESERVATION_TOKEN,
    ];

    fn must_be_understood(self) -> bool {
        self.0 < 0x8000 && !Self::UNDERSTOOD.contains(&self)
    }
}

/// The key of a long-term credential (RFC 8489 §9.2.2). Its memory is wiped.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Key([u8; 16]);

impl Key {
    /// Of a user with this password.
    #[must_use]
    pub fn new(username: &[u8], realm: &str, password: &str) -> Self {
        let mut md5 = Md5::new();
        for part in [username, b":", realm.as_bytes(), b":", password.as_bytes()] {
            md5.update(part);
        }
        Self(md5.finalize().into())
    }

    fn mac(&self) -> Hmac<Sha1> {
        Hmac::new_from_slice(&self.0).expect("HMAC takes keys of any length")
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(***)")
    }
}

/// A message that somebody sent: well-formed, and nothing more is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Request, indication or answer.
    pub class: Class,
    /// What it asks for.
    pub method: Method,
    /// Which request it belongs to.
    pub transaction: Transaction,
    bytes: &'a [u8],
    /// Where MESSAGE-INTEGRITY begins; what follows it is not signed.
    signed: Option<usize>,
}

impl<'a> Message<'a> {
    /// Reads a whole message; `None` for anything else.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (head, attributes) = bytes.split_at_checked(HEADER)?;
        let kind = u16::from_be_bytes([head[0], head[1]]);
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let is_stun = kind & 0xC000 == 0 && head[4..8] == COOKIE;
        if !is_stun || length % 4 != 0 || length != attributes.len() {
            return None;
        }
        let class = match (kind >> 4 & 1) | (kind >> 7 & 2) {
            0 => Class::Request,
            1 => Class::Indication,
            2 => Class::Success,
            _ => Class::Error,
        };
        let method = Method(kind & 0xF | kind >> 1 & 0x70 | kind >> 2 & 0xF80);
        let mut signed = None;
        let mut place = HEADER;
        while place < bytes.len() {
            let (kind, value, next) = attribute_at(bytes, place)?;
            if kind == Kind::MESSAGE_INTEGRITY && signed.is_none() {
                signed = (value.len() == INTEGRITY).then_some(place);
                signed?;
            }
            if kind == Kind::FINGERPRINT && (next != bytes.len() || !has_sum(bytes, place, value)) {
                return None;
            }
            place = next;
        }
        let transaction = head[8..].try_into().ok()?;
        Some(Self { class, method, transaction, bytes, signed })
    }

    /// The first value of this kind. In a signed message only what is signed counts.
    #[must_use]
    pub fn value(&self, kind: Kind) -> Option<&'a [u8]> {
        self.values(kind).next()
    }

    /// All values of this kind.
    pub fn values(&self, kind: Kind) -> impl Iterator<Item = &'a [u8]> {
        self.attributes().filter(move |(own, _)| *own == kind).map(|(_, value)| value)
    }

    /// An address that is mixed with the transaction (RFC 8489 §14.2).
    #[must_use]
    pub fn address(&self, kind: Kind) -> Option<SocketAddr> {
        address_of(self.value(kind)?, &self.transaction)
    }

    /// All addresses of this kind; `None` when one can't be read.
    #[must_use]
    pub fn addresses(&self, kind: Kind) -> Option<Vec<SocketAddr>> {
        self.values(kind).map(|value| address_of(value, &self.transaction)).collect()
    }

    /// A number of 32 bits.
    #[must_use]
    pub fn number(&self, kind: Kind) -> Option<u32> {
        Some(u32::from_be_bytes(self.value(kind)?.try_into().ok()?))
    }

    /// The code of an error (RFC 8489 §14.8).
    #[must_use]
    pub fn error(&self) -> Option<u16> {
        let value = self.value(Kind::ERROR_CODE)?;
        let (class, number) = (value.get(2)? & 7, value.get(3)?);
        Some(u16::from(class) * 100 + u16::from(*number))
    }

    /// The attributes that the sender wants understood and that are not.
    #[must_use]
    pub fn not_understood(&self) -> Vec<Kind> {
        self.attributes().map(|(kind, _)| kind).filter(|kind| kind.must_be_understood()).collect()
    }

    /// Whether it carries a MESSAGE-INTEGRITY at all.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.signed.is_some()
    }

    /// Whether its MESSAGE-INTEGRITY was made with this key; takes the same time for any wrong one.
    #[must_use]
    pub fn is_signed_with(&self, key: &Key) -> bool {
        let Some(place) = self.signed else { return false };
        let Some((_, value, next)) = attribute_at(self.bytes, place) else { return false };
        let mut mac = key.mac();
        mac.update(&self.bytes[..2]);
        mac.update(&length_until(next));
        mac.update(&self.bytes[4..place]);
        mac.verify_slice(value).is_ok()
    }

    fn attributes(&self) -> impl Iterator<Item = (Kind, &'a [u8])> {
        let bytes = &self.bytes[..self.signed.unwrap_or(self.bytes.len())];
        let mut place = HEADER;
        std::iter::from_fn(move || {
            let (kind, value, next) = attribute_at(bytes, place)?;
            place = next;
            Some((kind, value))
        })
    }
}

/// The attribute that begins at `place`, and where the next one does.
fn attribute_at(bytes: &[u8], place: usize) -> Option<(Kind, &[u8], usize)> {
    let head = bytes.get(place..place + 4)?;
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let value = bytes.get(place + 4..place + 4 + length)?;
    let next = place + 4 + length.next_multiple_of(4);
    (next <= bytes.len()).then_some((Kind(u16::from_be_bytes([head[0], head[1]])), value, next))
}

/// The length field of a message that ends at `end`.
fn length_until(end: usize) -> [u8; 2] {
    ((end - HEADER) as u16).to_be_bytes()
}

fn has_sum(bytes: &[u8], place: usize, value: &[u8]) -> bool {
    value == sum(&bytes[..place])
}

fn sum(before: &[u8]) -> [u8; 4] {
    (crc32fast::hash(before) ^ FINGERPRINT_MASK).to_be_bytes()
}

fn address_of(value: &[u8], transaction: &Transaction) -> Option<SocketAddr> {
    let (head, address) = value.split_at_checked(4)?;
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&COOKIE);
    mask[4..].copy_from_slice(transaction);
    let port = u16::from_be_bytes([head[2] ^ COOKIE[0], head[3] ^ COOKIE[1]]);
    let address = match head[1] {
        1 => {
            let bytes: [u8; 4] = address.try_into().ok()?;
            IpAddr::V4(Ipv4Addr::from(std::array::from_fn(|i| bytes[i] ^ mask[i])))
        }
        2 => {
            let bytes: [u8; 16] = address.try_into().ok()?;
            IpAddr::V6(Ipv6Addr::from(std::array::from_fn(|i| bytes[i] ^ mask[i])))
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

/// Writes a message.
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Begins a message.
    #[must_use]
    pub fn new(class: Class, method: Method, transaction: Transaction) -> Self {
        let class = match class {
            Class::Request => 0,
            Class::Indication => 0x010,
            Class::Success => 0x100,
            Class::Error => 0x110,
        };
        let method = method.0 & 0xF | (method.0 & 0x70) << 1 | (method.0 & 0xF80) << 2;
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&(class | method).to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&COOKIE);
        bytes.extend_from_slice(&transaction);
        Self { bytes }
    }

    /// Begins the answer to a request.
    #[must_use]
    pub fn answer(class: Class, request: &Message<'_>) -> Self {
        Self::new(class, request.method, request.transaction)
    }

    /// Adds an attribute; a value that no message could hold is cut.
    #[must_use]
    pub fn with(mut self, kind: Kind, value: &[u8]) -> Self {
        let room = usize::from(u16::MAX).saturating_sub(HEADER + 8 + self.bytes.len());
        let value = &value[..value.len().min(room)];
        self.bytes.extend_from_slice(&kind.0.to_be_bytes());
        self.bytes.extend_from_slice(&(value.len() as u16).to_be_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.set_length(self.bytes.len());
        self
    }

    /// Adds an address, mixed with the transaction.
    #[must_use]
    pub fn with_address(self, kind: Kind, address: SocketAddr) -> Self {
        let mut value = [0; 20];
        let mask: [u8; 16] = self.bytes[4..HEADER].try_into().expect("sixteen bytes");
        let port = address.port().to_be_bytes();
        value[2..4].copy_from_slice(&[port[0] ^ mask[0], port[1] ^ mask[1]]);
        let mix = |value: &mut [u8], octets: &[u8]| {
            for (place, (octet, mask)) in value.iter_mut().zip(octets.iter().zip(mask)) {
                *place = octet ^ mask;
            }
        };
        match address.ip() {
            IpAddr::V4(ip) => {
                value[1] = 1;
                mix(&mut value[4..], &ip.octets());
                self.with(kind, &value[..8])
            }
            IpAddr::V6(ip) => {
                value[1] = 2;
                mix(&mut value[4..], &ip.octets());
                self.with(kind, &value)
            }
        }
    }

    /// Adds the code of an error, and no reason: answers to strangers should be short.
    #[must_use]
    pub fn with_error(self, code: u16) -> Self {
        self.with(Kind::ERROR_CODE, &[0, 0, (code / 100) as u8, (code % 100) as u8])
    }

    /// The message, with a MESSAGE-INTEGRITY where there is a key.
    #[must_use]
    pub fn finish(mut self, key: Option<&Key>) -> Vec<u8> {
        if let Some(key) = key {
            self.set_length(self.bytes.len() + 4 + INTEGRITY);
            let mut mac = key.mac();
            mac.update(&self.bytes);
            let value = mac.finalize().into_bytes();
            self = self.with(Kind::MESSAGE_INTEGRITY, &value);
        }
        self.bytes
    }

    /// The message with a FINGERPRINT behind it.
    #[must_use]
    pub fn finish_with_sum(mut self, key: Option<&Key>) -> Vec<u8> {
        self.bytes = Self { bytes: std::mem::take(&mut self.bytes) }.finish(key);
        self.set_length(self.bytes.len() + 8);
        let sum = sum(&self.bytes);
        self.with(Kind::FINGERPRINT, &sum).bytes
    }

    fn set_length(&mut self, end: usize) {
        self.bytes[2..4].copy_from_slice(&length_until(end));
    }
}

/// What a packet or a part of a stream begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// A STUN message.
    Message,
    /// The data of a channel.
    Channel {
        /// Which one.
        number: u16,
        /// Bytes of data behind the header.
        length: usize,
    },
}

/// What begins with these four bytes, and how long it is in a stream, its padding included
/// (RFC 8656 §12.5). `None` when it is neither.
#[must_use]
pub fn frame(head: [u8; 4]) -> Option<(Frame, usize)> {
    let number = u16::from_be_bytes([head[0], head[1]]);
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    if number & 0xC000 == 0 {
        return (length % 4 == 0).then_some((Frame::Message, HEADER + length));
    }
    let whole = CHANNEL_HEADER + length.next_multiple_of(4);
    CHANNELS.contains(&number).then_some((Frame::Channel { number, length }, whole))
}

/// The channel and the data in a packet, which over UDP may or may not be padded.
#[must_use]
pub fn channel_data(packet: &[u8]) -> Option<(u16, &[u8])> {
    let (head, rest) = packet.split_first_chunk()?;
    match frame(*head)? {
        (Frame::Channel { number, length }, _) => Some((number, rest.get(..length)?)),
        (Frame::Message, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 5769 §2.4: a request with long-term authentication, as the RFC prints it.
    const LONG_TERM: &[u8] = &[
        0x00, 0x01, 0x00, 0x60, 0x21, 0x12, 0xa4, 0x42, 0x78, 0xad, 0x34, 0x33, 0xc6, 0xad, 0x72,
        0xc0, 0x29, 0xda, 0x41, 0x2e, 0x00, 0x06, 0x00, 0x12, 0xe3, 0x83, 0x9e, 0xe3, 0x83, 0x88,
        0xe3, 0x83, 0xaa, 0xe3, 0x83, 0x83, 0xe3, 0x82, 0xaf, 0xe3, 0x82, 0xb9, 0x00, 0x00, 0x00,
        0x15, 0x00, 0x1c, 0x66, 0x2f, 0x2f, 0x34, 0x39, 0x39, 0x6b, 0x39, 0x35, 0x34, 0x64, 0x36,
        0x4f, 0x4c, 0x33, 0x34, 0x6f, 0x4c, 0x39, 0x46, 0x53, 0x54, 0x76, 0x79, 0x36, 0x34, 0x73,
        0x41, 0x00, 0x14, 0x00, 0x0b, 0x65, 0x78, 0x61, 0x6d, 0x70, 0x6c, 0x65, 0x2e, 0x6f, 0x72,
        0x67, 0x00, 0x00, 0x08, 0x00, 0x14, 0xf6, 0x70, 0x24, 0x65, 0x6d, 0xd6, 0x4a, 0x3e, 0x02,
        0xb8, 0xe0, 0x71, 0x2e, 0x85, 0xc9, 0xa2, 0x8c, 0xa8, 0x96, 0x66,
    ];

    /// RFC 5769 §2.2: the answer with an IPv4 address and a FINGERPRINT.
    const ANSWER: &[u8] = &[
        0x01, 0x01, 0x00, 0x3c, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6,
        0x86, 0xfa, 0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x0b, 0x74, 0x65, 0x73, 0x74, 0x20, 0x76,
        0x65, 0x63, 0x74, 0x6f, 0x72, 0x20, 0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1,
        0x12, 0xa6, 0x43, 0x00, 0x08, 0x00, 0x14, 0x2b, 0x91, 0xf5, 0x99, 0xfd, 0x9e, 0x90, 0xc3,
        0x8c, 0x74, 0x89, 0xf9, 0x2a, 0xf9, 0xba, 0x53, 0xf0, 0x6b, 0xe7, 0xd7, 0x80, 0x28, 0x00,
        0x04, 0xc0, 0x7d, 0x4c, 0x96,
    ];

    #[test]
    fn the_samples_of_the_rfc_are_understood() {
        let request = Message::parse(LONG_TERM).unwrap();
        assert_eq!((request.class, request.method), (Class::Request, Method::BINDING));
        assert_eq!(request.value(Kind::REALM), Some(&b"example.org"[..]));
        let username = request.value(Kind::USERNAME).unwrap();
        let key = Key::new(username, "example.org", "TheMatrIX");
        assert!(request.is_signed_with(&key));
        assert!(!request.is_signed_with(&Key::new(username, "example.org", "TheMatrix")));

        let answer = Message::parse(ANSWER).unwrap();
        assert_eq!(answer.class, Class::Success);
        let mapped = answer.address(Kind::XOR_MAPPED_ADDRESS).unwrap();
        assert_eq!(mapped.to_string(), "192.0.2.1:32853");
        let mut broken = ANSWER.to_vec();
        broken[45] ^= 1;
        assert!(Message::parse(&broken).is_none(), "the checksum is looked at");
    }

    #[test]
    fn what_is_written_is_read() {
        let key = Key::new(b"user", "realm", "password");
        let four = "203.0.113.9:4711".parse().unwrap();
        let six = "[2001:db8::9]:4711".parse().unwrap();
        let bytes = Writer::new(Class::Success, Method::CHANNEL_BIND, [7; 12])
            .with_address(Kind::XOR_PEER_ADDRESS, four)
            .with_address(Kind::XOR_PEER_ADDRESS, six)
            .with(Kind::USERNAME, b"users")
            .with_error(438)
            .finish_with_sum(Some(&key));
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.class, message.method), (Class::Success, Method::CHANNEL_BIND));
        assert_eq!(message.addresses(Kind::XOR_PEER_ADDRESS), Some(vec![four, six]));
        assert_eq!(message.value(Kind::USERNAME), Some(&b"users"[..]));
        assert_eq!(message.error(), Some(438));
        assert!(message.is_signed_with(&key));
        assert!(message.not_understood().contains(&Kind::ERROR_CODE));
    }

    #[test]
    fn what_stands_behind_the_signature_does_not_count() {
        let key = Key::new(b"user", "realm", "password");
        let signed = Writer::new(Class::Request, Method::REFRESH, [1; 12])
            .with(Kind::USERNAME, b"me")
            .finish(Some(&key));
        let bytes = Writer { bytes: signed }.with(Kind::LIFETIME, &[0; 4]).bytes;
        let message = Message::parse(&bytes).unwrap();
        assert!(message.is_signed_with(&key));
        assert_eq!(message.number(Kind::LIFETIME), None);
    }

    #[test]
    fn channel_data_may_be_padded() {
        assert_eq!(channel_data(&[0x40, 1, 0, 3, 1, 2, 3]), Some((0x4001, &[1, 2, 3][..])));
        assert_eq!(channel_data(&[0x40, 1, 0, 3, 1, 2, 3, 0]), Some((0x4001, &[1, 2, 3][..])));
        assert_eq!(channel_data(&[0x40, 1, 0, 3, 1, 2]), None);
        assert_eq!(channel_data(&[0x80, 0, 0, 0]), None);
        assert_eq!(frame([0x40, 1, 0, 3]).unwrap().1, 8);
        assert_eq!(frame([0, 1, 0, 8]), Some((Frame::Message, 28)));
        assert_eq!(frame([0x80, 0, 0, 0]), None);
    }

    /// Messages that are nearly right, so that junk reaches every branch.
    fn nearly() -> impl Strategy<Value = Vec<u8>> {
        let samples = prop_oneof![Just(LONG_TERM.to_vec()), Just(ANSWER.to_vec())];
        let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
        (samples, changes, 0_usize..160).prop_map(|(mut bytes, changes, length)| {
            for (index, value) in changes {
                let place = index.index(bytes.len());
                bytes[place] = value;
            }
            bytes.truncate(length.max(1));
            let has_length = bytes.len() >= HEADER && length % 3 == 0;
            if has_length {
                bytes.truncate(bytes.len() / 4 * 4);
                let length = length_until(bytes.len());
                bytes[2..4].copy_from_slice(&length);
            }
            bytes
        })
    }

    proptest! {
        #[test]
        fn junk_is_refused_without_a_panic(
            junk in prop_oneof![prop::collection::vec(any::<u8>(), 0..200), nearly()]
        ) {
            let _ = channel_data(&junk);
            if let Some(message) = Message::parse(&junk) {
                let _ = message.not_understood();
                let _ = message.addresses(Kind::XOR_PEER_ADDRESS);
                let _ = message.address(Kind::XOR_MAPPED_ADDRESS);
                let _ = (message.error(), message.number(Kind::LIFETIME));
                prop_assert!(!message.is_signed_with(&Key::new(&junk, "r", "p")));
            }
        }
    }
}
