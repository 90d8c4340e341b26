//! What the broker can't read: every packet is encrypted and authenticated under keys that come
//! from the cluster's secret, and rooms have hashed names.
//!
//! ```text
//! packet on the wire = sender (8 bytes) ‖ number (8) ‖ AES-256-GCM(key of the sender, packet)
//! ```
//!
//! Each start of a server has a new random id and so a key of its own; its packets are numbered,
//! and the number is the nonce, so none is used twice. The subject is authenticated, too: a packet
//! moved to another subject does not open.

use std::fmt;

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _, Nonce};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use thiserror::Error;
use zeroize::Zeroizing;

use super::NodeId;
use super::packet::{PACKET_BYTES, RoomKey};
use crate::auth::Secret;

/// Where a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// To every server.
    All,
    /// To one server.
    Node(NodeId),
    /// To the servers that have members of a room.
    Room(RoomKey),
}

/// Not from a server of this cluster, or not as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a packet does not open with the cluster's secret")]
pub struct NotOurs;

/// Keys of the whole cluster.
pub struct Keys {
    rooms: Zeroizing<[u8; 32]>,
    nodes: Zeroizing<[u8; 32]>,
    /// The first token of every subject, so that clusters can share a broker.
    prefix: String,
}

/// Bytes in front of the ciphertext.
const HEAD_BYTES: usize = 16;
/// Bytes of the tag behind it.
const TAG_BYTES: usize = 16;

impl Keys {
    /// The keys that come from `secret`.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        let cluster = derive(secret.bytes(), b"private-meet cluster 1: subjects");
        let prefix =
            format!("pm.{:02x}{:02x}{:02x}{:02x}", cluster[0], cluster[1], cluster[2], cluster[3]);
        Self {
            rooms: derive(secret.bytes(), b"private-meet cluster 1: rooms"),
            nodes: derive(secret.bytes(), b"private-meet cluster 1: nodes"),
            prefix,
        }
    }

    /// The secret of sign-in tokens for clusters whose operator chose none: the same on all
    /// servers, and of no use to learn the cluster's secret.
    #[must_use]
    pub fn token_secret(secret: &Secret) -> Secret {
        Secret::new(derive(secret.bytes(), b"private-meet cluster 1: tokens").to_vec())
    }

    /// The name of a room towards the broker.
    #[must_use]
    pub fn room(&self, room: &str) -> RoomKey {
        let hash = derive(&*self.rooms, room.as_bytes());
        let half: [u8; 16] = hash[..16].try_into().expect("a hash has 32 bytes");
        RoomKey(u128::from_be_bytes(half))
    }

    /// The NATS subject of a topic.
    #[must_use]
    pub fn subject(&self, topic: Topic) -> String {
        let prefix = &self.prefix;
        match topic {
            Topic::All => format!("{prefix}.all"),
            Topic::Node(node) => format!("{prefix}.node.{:016x}", node.0),
            Topic::Room(room) => format!("{prefix}.room.{:032x}", room.0),
        }
    }

    /// The cipher of one server.
    #[must_use]
    pub fn of_node(&self, node: NodeId) -> NodeKey {
        let key = derive(&*self.nodes, &node.0.to_be_bytes());
        NodeKey { node, cipher: Aes256Gcm::new_from_slice(&*key).expect("the key has 32 bytes") }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(***)")
    }
}

/// What seals and opens the packets of one server.
pub struct NodeKey {
    node: NodeId,
    cipher: Aes256Gcm,
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey(***)")
    }
}

impl NodeKey {
    /// Seals the packet with this number for `subject`. A number must be used once only.
    ///
    /// # Panics
    /// Never: AES-GCM takes 64 GiB, and packets are bounded.
    #[must_use]
    pub fn seal(&self, number: u64, subject: &str, packet: &[u8]) -> Vec<u8> {
        let payload = Payload { msg: packet, aad: subject.as_bytes() };
        let sealed = self.cipher.encrypt(&nonce(number), payload).expect("packets are short");
        let mut bytes = Vec::with_capacity(HEAD_BYTES + sealed.len());
        bytes.extend_from_slice(&self.node.0.to_be_bytes());
        bytes.extend_from_slice(&number.to_be_bytes());
        bytes.extend_from_slice(&sealed);
        bytes
    }

    /// Opens what this server sealed.
    ///
    /// # Errors
    /// [`NotOurs`] when it is from somebody else, for another subject, or changed.
    pub fn open(&self, subject: &str, bytes: &[u8]) -> Result<(u64, Vec<u8>), NotOurs> {
        let (node, number) = sender(bytes).ok_or(NotOurs)?;
        if node != self.node {
            return Err(NotOurs);
        }
        let payload = Payload { msg: &bytes[HEAD_BYTES..], aad: subject.as_bytes() };
        let packet = self.cipher.decrypt(&nonce(number), payload).map_err(|_| NotOurs)?;
        Ok((number, packet))
    }
}

/// Who says that it sent these bytes, and under which number. `None` for what can't be a packet.
#[must_use]
pub fn sender(bytes: &[u8]) -> Option<(NodeId, u64)> {
    if bytes.len() > HEAD_BYTES + PACKET_BYTES + TAG_BYTES {
        return None;
    }
    let (node, rest) = bytes.split_first_chunk()?;
    let (number, _) = rest.split_first_chunk()?;
    Some((NodeId(u64::from_be_bytes(*node)), u64::from_be_bytes(*number)))
}

fn nonce(number: u64) -> Nonce<aes_gcm::aes::cipher::consts::U12> {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_be_bytes());
    nonce.into()
}

fn derive(key: &[u8], what: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key).expect("HMAC takes any key");
    mac.update(what);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_untouched_packet_on_its_own_subject_opens() {
        let keys = Keys::new(&Secret::new(*b"a secret of thirty-two bytes....."));
        let key = keys.of_node(NodeId(7));
        let sealed = key.seal(3, "subject", b"packet");
        assert_eq!(sender(&sealed), Some((NodeId(7), 3)));
        assert_eq!(key.open("subject", &sealed), Ok((3, b"packet".to_vec())));
        assert_eq!(key.open("another", &sealed), Err(NotOurs));
        assert_eq!(keys.of_node(NodeId(8)).open("subject", &sealed), Err(NotOurs));
        let other = Keys::new(&Secret::new(*b"another secret of 32 bytes......."));
        assert_eq!(other.of_node(NodeId(7)).open("subject", &sealed), Err(NotOurs));
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert_eq!(key.open("subject", &changed), Err(NotOurs), "byte {index}");
            assert_eq!(key.open("subject", &sealed[..index]), Err(NotOurs), "{index} bytes");
        }
    }

    #[test]
    fn the_broker_sees_no_room_and_different_clusters_share_no_subject() {
        let [one, two] =
            [b"secret one of thirty-two bytes...", b"secret two of thirty-two bytes..."]
                .map(|secret| Keys::new(&Secret::new(*secret)));
        let room = one.room("pm_room:demo");
        let subject = one.subject(Topic::Room(room));
        assert!(!subject.contains("demo") && subject.starts_with("pm."), "{subject}");
        assert_eq!(one.room("pm_room:demo"), room);
        assert_ne!(one.room("pm_room:Demo"), room);
        assert_ne!(two.room("pm_room:demo"), room);
        assert_ne!(one.subject(Topic::All), two.subject(Topic::All));
        assert!(!format!("{one:?}").contains(char::is_numeric));
    }
}
