//! What servers say to each other, and how it is written: numbers big-endian, texts and lists with
//! their length in front, every length checked against a bound before anything is kept for it.
//!
//! A packet never nests. Whoever can seal one holds the cluster's secret, but another version of
//! this program, or a broken one, must not be able to do more harm than a client: everything that
//! would be refused from a client is refused here, too.

use std::sync::Arc;

use serde_json::value::RawValue;
use thiserror::Error;
use uuid::Uuid;
use wire::{LeftReason, MessageType, UserId, limits};

use super::NodeId;
use super::bytes::{Reader, Short, Writer};
use crate::auth::User;
use crate::name::clean;

/// The first byte of every packet. Servers of another version are not understood, and ignored.
pub const VERSION: u8 = 1;

/// Bytes of a packet at most; brokers take a million by default.
pub const PACKET_BYTES: usize = 768 * 1024;

/// Servers in one cluster at most; further ones are ignored.
pub const NODES: usize = 64;
/// Rooms named in one packet at most.
pub const ROOMS: usize = 1_024;
/// Members named in one packet at most.
pub const MEMBERS: usize = 256;
/// Packets that one server's members of one room are spread over at most.
pub const PARTS: u16 = 256;
/// Bytes of a session that moves, at most: what it missed, and its rooms.
pub const SESSION_BYTES: usize = 512 * 1024;
/// Bytes of a resume token at most.
pub const TOKEN_BYTES: usize = 256;

/// A room as the broker sees it: a keyed hash of its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomKey(pub u128);

/// One relayed message, independent of any connection and any server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// What it is.
    pub kind: MessageType,
    /// Who says it.
    pub from: UserId,
    /// The only one who hears it, if it is directed.
    pub to: Option<UserId>,
    /// The payload, a JSON object, byte for byte.
    pub data: Arc<str>,
    /// The sender's own id of the message.
    pub id: Option<Uuid>,
    /// Its number within room and sender.
    pub seq: Option<u64>,
}

impl Words {
    /// Whether it may be lost.
    #[must_use]
    pub fn is_fleeting(&self) -> bool {
        self.kind == MessageType::Typing
    }

    /// Roughly what it costs to keep, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.data.len() + 128
    }
}

/// What happened in a room on one server. The entries of a room are a stream with numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// The user's first seat on that server.
    Joined(Arc<User>),
    /// The user's last seat on that server is gone.
    Left(UserId, LeftReason),
    /// Somebody said something, to all or to a user on the receiving server.
    Said(Words),
    /// What came before this number concerned other servers.
    Nothing,
}

impl Entry {
    /// Roughly what it costs to keep, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Said(words) => words.bytes(),
            Self::Joined(_) | Self::Left(..) => 192,
            Self::Nothing => 32,
        }
    }
}

/// One room in a beat: how far its stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// The room.
    pub room: RoomKey,
    /// Its newest entry.
    pub version: u64,
    /// Whether some receiver has not acknowledged everything.
    pub waits: bool,
}

/// One room in a question: what the asker has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The room.
    pub room: RoomKey,
    /// Comes back in the answer, so that an old answer can't be played again.
    pub nonce: u64,
    /// The last entry that the asker has; `None` asks for the members.
    pub after: Option<u64>,
}

/// What one server says to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// "I live; this is where my rooms are." To all, every two seconds, in parts.
    Beat {
        /// Goes up by one for each.
        number: u64,
        /// Which part this is, from 0.
        part: u16,
        /// How many there are.
        parts: u16,
        /// The servers that the sender hears, in the first part.
        hears: Vec<NodeId>,
        /// Rooms with members on the sender.
        rooms: Vec<Listed>,
    },
    /// "I don't know you; show that you live." To one.
    Hello {
        /// Comes back in the answer.
        nonce: u64,
    },
    /// "I do." To one.
    Welcome {
        /// From the question.
        nonce: u64,
    },
    /// "I have a first member in this room; who else has?" To the room.
    Open(Asked),
    /// "Tell me what I missed." To one.
    Ask(Vec<Asked>),
    /// "I stop; my members are gone." To all.
    Bye,
    /// "These are my members of the room." To one, in parts.
    State {
        /// The room.
        room: RoomKey,
        /// From the question.
        nonce: u64,
        /// The entry after which the sender goes on; what comes after it may repeat what the
        /// members say already.
        version: u64,
        /// Which part this is, from 0.
        part: u16,
        /// How many there are.
        parts: u16,
        /// Members.
        members: Vec<Arc<User>>,
    },
    /// One entry of the sender's stream of a room. To the room; to one server if it is for a user
    /// there, or because it asks.
    Entry {
        /// The room.
        room: RoomKey,
        /// Its number.
        version: u64,
        /// The entry before it that concerns the receiver.
        previous: u64,
        /// The same for those servers to whom something else went in between.
        except: Vec<(NodeId, u64)>,
        /// What happened.
        entry: Entry,
    },
    /// Something that may be lost: somebody types. To the room.
    Fleeting {
        /// The room.
        room: RoomKey,
        /// What.
        words: Words,
    },
    /// "I have everything up to here." To one.
    Ack(Vec<(RoomKey, u64)>),
    /// "This session of yours came to me; hand it over." To one.
    Claim {
        /// Comes back in the answer.
        nonce: u64,
        /// The resume token.
        token: String,
        /// How many messages the client has read.
        received: Option<u64>,
    },
    /// The session, or nothing if there is none. To one.
    Session {
        /// From the question.
        nonce: u64,
        /// As the sessions write it.
        session: Option<Vec<u8>>,
    },
}

/// Bytes that are no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadPacket {
    /// Cut off, too long, or of a shape that nobody writes.
    #[error("a packet is malformed")]
    Malformed,
    /// Of another version of the program.
    #[error("a packet has version {0}, this server has {VERSION}")]
    Version(u8),
    /// A user, a name or a payload that no client would be allowed.
    #[error("a packet carries what no client may send")]
    Content,
}

impl From<Short> for BadPacket {
    fn from(_: Short) -> Self {
        Self::Malformed
    }
}

impl Packet {
    /// The packet as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut to = Writer::default();
        to.u8(VERSION);
        self.write(&mut to);
        to.into_bytes()
    }

    /// Reads a packet and checks everything in it.
    ///
    /// # Errors
    /// [`BadPacket`] unless every byte has its meaning and every text would be allowed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadPacket> {
        if bytes.len() > PACKET_BYTES {
            return Err(BadPacket::Malformed);
        }
        let mut from = Reader::new(bytes);
        let version = from.u8()?;
        if version != VERSION {
            return Err(BadPacket::Version(version));
        }
        let packet = Self::read(&mut from)?;
        if !from.is_at_end() {
            return Err(BadPacket::Malformed);
        }
        Ok(packet)
    }

    fn write(&self, to: &mut Writer) {
        match self {
            Self::Beat { number, part, parts, hears, rooms } => {
                to.u8(1).u64(*number).u16(*part).u16(*parts);
                to.list(hears, |to, node| {
                    to.u64(node.0);
                });
                to.list(rooms, |to, listed| {
                    to.u128(listed.room.0).u64(listed.version).u8(listed.waits.into());
                });
            }
            Self::Hello { nonce } => {
                to.u8(2).u64(*nonce);
            }
            Self::Welcome { nonce } => {
                to.u8(3).u64(*nonce);
            }
            Self::Open(asked) => write_asked(to.u8(4), asked),
            Self::Ask(asked) => to.u8(5).list(asked, write_asked),
            Self::State { room, nonce, version, part, parts, members } => {
                to.u8(6).u128(room.0).u64(*nonce).u64(*version).u16(*part).u16(*parts);
                to.list(members, |to, user| write_user(to, user));
            }
            Self::Entry { room, version, previous, except, entry } => {
                to.u8(7).u128(room.0).u64(*version).u64(*previous);
                to.list(except, |to, (node, previous)| {
                    to.u64(node.0).u64(*previous);
                });
                write_entry(to, entry);
            }
            Self::Fleeting { room, words } => {
                to.u8(8).u128(room.0);
                write_words(to, words);
            }
            Self::Ack(rooms) => {
                to.u8(9).list(rooms, |to, (room, version)| {
                    to.u128(room.0).u64(*version);
                });
            }
            Self::Bye => {
                to.u8(12);
            }
            Self::Claim { nonce, token, received } => {
                to.u8(10).u64(*nonce).text(token);
                to.option(received.as_ref(), |to, received| {
                    to.u64(*received);
                });
            }
            Self::Session { nonce, session } => {
                to.u8(11).u64(*nonce);
                to.option(session.as_ref(), |to, session| {
                    to.blob(session);
                });
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, BadPacket> {
        Ok(match from.u8()? {
            1 => Self::Beat {
                number: from.u64()?,
                part: from.u16()?,
                parts: from.u16()?,
                hears: from.list(NODES, |from| Ok::<_, Short>(NodeId(from.u64()?)))?,
                rooms: from.list(ROOMS, |from| {
                    let (room, version) = (RoomKey(from.u128()?), from.u64()?);
                    Ok::<_, Short>(Listed { room, version, waits: from.bool()? })
                })?,
            },
            2 => Self::Hello { nonce: from.u64()? },
            3 => Self::Welcome { nonce: from.u64()? },
            4 => Self::Open(read_asked(from)?),
            5 => Self::Ask(from.list(ROOMS, read_asked)?),
            6 => {
                let (room, nonce) = (RoomKey(from.u128()?), from.u64()?);
                let (version, part, parts) = (from.u64()?, from.u16()?, from.u16()?);
                if parts == 0 || parts > PARTS || part >= parts {
                    return Err(BadPacket::Malformed);
                }
                let members = from.list(MEMBERS, read_user)?;
                Self::State { room, nonce, version, part, parts, members }
            }
            7 => Self::Entry {
                room: RoomKey(from.u128()?),
                version: from.u64()?,
                previous: from.u64()?,
                except: from
                    .list(NODES, |from| Ok::<_, Short>((NodeId(from.u64()?), from.u64()?)))?,
                entry: read_entry(from)?,
            },
            8 => Self::Fleeting { room: RoomKey(from.u128()?), words: read_words(from)? },
            9 => Self::Ack(
                from.list(ROOMS, |from| Ok::<_, Short>((RoomKey(from.u128()?), from.u64()?)))?,
            ),
            10 => Self::Claim {
                nonce: from.u64()?,
                token: from.text(TOKEN_BYTES)?.to_owned(),
                received: from.option(Reader::u64)?,
            },
            11 => Self::Session {
                nonce: from.u64()?,
                session: from.option(|from| Ok::<_, Short>(from.blob(SESSION_BYTES)?.to_vec()))?,
            },
            12 => Self::Bye,
            _ => return Err(BadPacket::Malformed),
        })
    }
}

fn write_asked(to: &mut Writer, asked: &Asked) {
    to.u128(asked.room.0).u64(asked.nonce);
    to.option(asked.after.as_ref(), |to, after| {
        to.u64(*after);
    });
}

fn read_asked(from: &mut Reader<'_>) -> Result<Asked, Short> {
    let (room, nonce) = (RoomKey(from.u128()?), from.u64()?);
    Ok(Asked { room, nonce, after: from.option(Reader::u64)? })
}

fn write_user(to: &mut Writer, user: &User) {
    to.text(user.id.as_str()).text(&user.name);
}

fn read_user(from: &mut Reader<'_>) -> Result<Arc<User>, BadPacket> {
    let id = read_id(from)?;
    // Names are counted in code points, of four bytes at most.
    let name = from.text(limits::USERNAME_CHARS * 4)?;
    if name.chars().count() > limits::USERNAME_CHARS {
        return Err(BadPacket::Content);
    }
    Ok(Arc::new(User { id, name: clean(name) }))
}

fn read_id(from: &mut Reader<'_>) -> Result<UserId, BadPacket> {
    let id = UserId::new(from.text(limits::USER_ID_BYTES)?).map_err(|_| BadPacket::Content)?;
    if id.is_system() { Err(BadPacket::Content) } else { Ok(id) }
}

fn write_entry(to: &mut Writer, entry: &Entry) {
    match entry {
        Entry::Nothing => {
            to.u8(0);
        }
        Entry::Joined(user) => write_user(to.u8(1), user),
        Entry::Left(user, why) => {
            let why = REASONS.iter().position(|known| known == why).unwrap_or_default();
            to.u8(2).text(user.as_str()).u8(why as u8);
        }
        Entry::Said(words) => write_words(to.u8(3), words),
    }
}

fn read_entry(from: &mut Reader<'_>) -> Result<Entry, BadPacket> {
    Ok(match from.u8()? {
        0 => Entry::Nothing,
        1 => Entry::Joined(read_user(from)?),
        2 => {
            let user = read_id(from)?;
            let why = REASONS.get(usize::from(from.u8()?)).ok_or(BadPacket::Malformed)?;
            Entry::Left(user, *why)
        }
        3 => Entry::Said(read_words(from)?),
        _ => return Err(BadPacket::Malformed),
    })
}

fn write_words(to: &mut Writer, words: &Words) {
    to.text(words.kind.name());
    to.text(words.from.as_str());
    to.option(words.to.as_ref(), |to, id| {
        to.text(id.as_str());
    });
    to.option(words.id.as_ref(), |to, id| {
        to.u128(id.as_u128());
    });
    to.option(words.seq.as_ref(), |to, seq| {
        to.u64(*seq);
    });
    to.text(&words.data);
}

fn read_words(from: &mut Reader<'_>) -> Result<Words, BadPacket> {
    let kind = MessageType::from_name(from.text(KIND_BYTES)?).ok_or(BadPacket::Content)?;
    if !is_relayed(kind) {
        return Err(BadPacket::Content);
    }
    let speaker = read_id(from)?;
    let to = from.option(read_id)?;
    let id = from.option(|from| Ok::<_, Short>(Uuid::from_u128(from.u128()?)))?;
    let seq = from.option(Reader::u64)?;
    let data = from.text(limits::FRAME_BYTES)?;
    check_data(data)?;
    Ok(Words { kind, from: speaker, to, data: data.into(), id, seq })
}

/// What a relayed payload must be: an object, whole and not nested beyond reason.
fn check_data(data: &str) -> Result<(), BadPacket> {
    if !data.starts_with('{') || depth(data) > DEPTH {
        return Err(BadPacket::Content);
    }
    serde_json::from_str::<&RawValue>(data).map(|_| ()).map_err(|_| BadPacket::Content)
}

/// How deep objects and lists nest. An upper bound for what is no JSON.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_text, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Why users leave, by their number in a packet.
const REASONS: [LeftReason; 4] =
    [LeftReason::Left, LeftReason::Lost, LeftReason::Slow, LeftReason::Other];

/// How deep a relayed payload may nest.
const DEPTH: usize = 64;
/// The longest name of a message type has fewer bytes.
const KIND_BYTES: usize = 64;

/// Whether servers pass such messages on.
fn is_relayed(kind: MessageType) -> bool {
    use MessageType as T;
    matches!(
        kind,
        T::Chat | T::Typing | T::Offer | T::Answer | T::IceCandidate | T::PeerAuth | T::PeerState
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn user(id: &str, name: &str) -> Arc<User> {
        Arc::new(User { id: UserId::new(id).unwrap(), name: name.to_owned() })
    }

    fn words(data: &str) -> Words {
        Words {
            kind: MessageType::Chat,
            from: UserId::new("ann").unwrap(),
            to: None,
            data: data.into(),
            id: Some(Uuid::from_u128(9)),
            seq: Some(4),
        }
    }

    fn said(words: Words) -> Packet {
        let room = RoomKey(1);
        let entry = Entry::Said(words);
        Packet::Entry { room, version: 2, previous: 1, except: vec![(NodeId(3), 4)], entry }
    }

    /// One of each kind.
    fn packets() -> Vec<Packet> {
        let asked = Asked { room: RoomKey(5), nonce: 6, after: Some(7) };
        let entry = |entry| Packet::Entry {
            room: RoomKey(u128::MAX),
            version: u64::MAX,
            previous: 0,
            except: Vec::new(),
            entry,
        };
        let listed = Listed { room: RoomKey(1), version: 2, waits: true };
        let mut packets = vec![
            Packet::Beat {
                number: 1,
                part: 2,
                parts: 3,
                hears: vec![NodeId(4)],
                rooms: vec![listed],
            },
            Packet::Hello { nonce: 1 },
            Packet::Bye,
            Packet::Welcome { nonce: 1 },
            Packet::Open(Asked { after: None, ..asked }),
            Packet::Ask(vec![asked, asked]),
            Packet::State {
                room: RoomKey(1),
                nonce: 2,
                version: 3,
                part: 0,
                parts: 1,
                members: vec![user("a", "Ann \u{1f600}"), user("b", "B")],
            },
            entry(Entry::Nothing),
            entry(Entry::Joined(user("a", "A"))),
            said(words("{\"message\":\"\\u0068i [{\\\"\"}")),
            Packet::Fleeting {
                room: RoomKey(1),
                words: Words { id: None, seq: None, ..words("{}") },
            },
            Packet::Ack(vec![(RoomKey(1), 2)]),
            Packet::Claim { nonce: 1, token: "t".to_owned(), received: None },
            Packet::Session { nonce: 1, session: Some(vec![1, 2]) },
            Packet::Session { nonce: 1, session: None },
        ];
        for why in REASONS {
            packets.push(entry(Entry::Left(UserId::new("a").unwrap(), why)));
        }
        packets.push(said(Words { to: Some(UserId::new("b").unwrap()), ..words("{}") }));
        packets
    }

    #[test]
    fn every_packet_comes_back_as_it_went() {
        for packet in packets() {
            let bytes = packet.to_bytes();
            assert_eq!(Packet::from_bytes(&bytes), Ok(packet));
        }
    }

    #[test]
    fn a_packet_that_is_cut_off_or_goes_on_is_malformed() {
        for packet in packets() {
            let mut bytes = packet.to_bytes();
            for length in 1..bytes.len() {
                assert!(Packet::from_bytes(&bytes[..length]).is_err(), "{packet:?} {length}");
            }
            bytes.push(0);
            assert_eq!(Packet::from_bytes(&bytes), Err(BadPacket::Malformed));
            bytes[0] = 9;
            assert_eq!(Packet::from_bytes(&bytes), Err(BadPacket::Version(9)));
        }
        let huge = vec![VERSION; PACKET_BYTES + 1];
        assert_eq!(Packet::from_bytes(&huge), Err(BadPacket::Malformed));
    }

    #[test]
    fn what_no_client_may_send_no_server_may_send_either() {
        let check = |packet: &Packet| {
            assert_eq!(
                Packet::from_bytes(&packet.to_bytes()),
                Err(BadPacket::Content),
                "{packet:?}"
            );
        };
        let deep = format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200));
        for data in ["", "[]", "null", "{", "{}}", "{\"a\":}", " {}", &deep] {
            check(&said(words(data)));
        }
        let long = "x".repeat(limits::USERNAME_CHARS + 1);
        for (id, name) in [("a", long.as_str()), ("system", "a")] {
            let (room, nonce, version) = (RoomKey(1), 2, 3);
            let members = vec![user(id, name)];
            check(&Packet::State { room, nonce, version, part: 0, parts: 1, members });
        }
        check(&said(Words { from: UserId::new("system").unwrap(), ..words("{}") }));
        for kind in [MessageType::Join, MessageType::RoomUsers, MessageType::Error] {
            check(&said(Words { kind, ..words("{}") }));
        }
    }

    proptest! {
        #[test]
        fn rubbish_never_panics_and_never_reserves_much(
            mut bytes in prop::collection::vec(any::<u8>(), 0..200),
            kind in 0..14_u8,
        ) {
            let _ = Packet::from_bytes(&bytes);
            if bytes.len() > 2 {
                (bytes[0], bytes[1]) = (VERSION, kind);
            }
            let _ = Packet::from_bytes(&bytes);
        }

        #[test]
        fn changed_packets_never_panic(which in 0..20_usize, at in any::<prop::sample::Index>(), to in any::<u8>()) {
            let packets = packets();
            let mut bytes = packets[which % packets.len()].to_bytes();
            let at = at.index(bytes.len());
            bytes[at] = to;
            if let Ok(packet) = Packet::from_bytes(&bytes) {
                prop_assert_eq!(Packet::from_bytes(&packet.to_bytes()), Ok(packet));
            }
        }
    }
}
