//! One client's allocation, as a value without sockets: whom it lets in, which channels it has,
//! how much it may send, and when it ends.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::message::{CHANNEL_HEADER, Class, Key, Kind, Method, Transaction, Writer};

/// Addresses that one allocation lets in at once; for a further one it is told 508.
pub const PERMISSIONS: usize = 64;
/// Channels of one allocation; for a further one it is told 508.
pub const CHANNELS: usize = 64;
/// How long a permission lasts (RFC 8656 §9).
pub const PERMISSION: Duration = Duration::from_secs(300);
/// How long a channel lasts (RFC 8656 §12).
pub const CHANNEL: Duration = Duration::from_secs(600);
/// How much may be sent ahead of the allowed rate: half a second, which no queue of a call exceeds.
const AHEAD: Duration = Duration::from_millis(500);

/// What a client got.
#[derive(Debug)]
pub struct Allocation {
    /// Whose it is; newer credentials of the same user may take it over.
    pub user: String,
    /// The name in the credential.
    pub username: Vec<u8>,
    /// What its requests are signed with.
    pub key: Key,
    /// Where peers reach the client.
    pub relayed: SocketAddr,
    /// When it ends unless it is refreshed.
    pub expires: Instant,
    /// When it ends in any case.
    pub ends: Instant,
    /// The request that made it, and its answer, in case the answer is lost.
    pub made_by: (Transaction, Vec<u8>),
    permissions: HashMap<IpAddr, Instant>,
    channels: Vec<Channel>,
    from_client: Flow,
    to_client: Flow,
}

#[derive(Debug)]
struct Channel {
    number: u16,
    peer: SocketAddr,
    expires: Instant,
}

/// There is no room for more.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

/// Why a channel was not bound.
#[derive(Debug, PartialEq, Eq)]
pub enum BindError {
    /// The number belongs to another peer, or the peer to another number.
    Taken,
    /// Too many.
    Full,
}

impl Allocation {
    /// A fresh one, which lets nobody in. `bytes_per_second` is what it may relay each way.
    #[must_use]
    pub fn new(
        user: String,
        username: Vec<u8>,
        key: Key,
        relayed: SocketAddr,
        (expires, ends): (Instant, Instant),
        bytes_per_second: u32,
    ) -> Self {
        Self {
            user,
            username,
            key,
            relayed,
            expires,
            ends,
            made_by: ([0; 12], Vec::new()),
            permissions: HashMap::new(),
            channels: Vec::new(),
            from_client: Flow::new(bytes_per_second),
            to_client: Flow::new(bytes_per_second),
        }
    }

    /// Lets the peers at these addresses in, all or none.
    ///
    /// # Errors
    /// [`Full`] when there are too many.
    pub fn permit(
        &mut self,
        peers: impl Iterator<Item = IpAddr> + Clone,
        now: Instant,
    ) -> Result<(), Full> {
        self.permissions.retain(|_, expires| *expires > now);
        let newcomers = peers.clone().filter(|peer| !self.permissions.contains_key(peer)).count();
        if self.permissions.len() + newcomers > PERMISSIONS {
            return Err(Full);
        }
        self.permissions.extend(peers.map(|peer| (peer, now + PERMISSION)));
        Ok(())
    }

    /// Gives the peer a channel and lets it in.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(&mut self, number: u16, peer: SocketAddr, now: Instant) -> Result<(), BindError> {
        self.channels.retain(|channel| channel.expires > now);
        let is_other = |channel: &Channel| (channel.number == number) != (channel.peer == peer);
        if self.channels.iter().any(is_other) {
            return Err(BindError::Taken);
        }
        let is_full = self.channels.len() >= CHANNELS;
        let known = self.channels.iter_mut().find(|channel| channel.number == number);
        let expires = now + CHANNEL;
        match known {
            Some(channel) => channel.expires = expires,
            None if is_full => return Err(BindError::Full),
            None => self.channels.push(Channel { number, peer, expires }),
        }
        // A channel is a permission, too: see `lets_in`.
        let _ = self.permit([peer.ip()].into_iter(), now);
        Ok(())
    }

    /// Whether data may go to and come from this address.
    #[must_use]
    pub fn lets_in(&self, peer: IpAddr, now: Instant) -> bool {
        self.permissions.get(&peer).is_some_and(|expires| *expires > now)
            || self.live_channels(now).any(|channel| channel.peer.ip() == peer)
    }

    /// Who is behind a channel.
    #[must_use]
    pub fn peer_of(&self, number: u16, now: Instant) -> Option<SocketAddr> {
        let mut channels = self.live_channels(now);
        channels.find(|channel| channel.number == number).map(|channel| channel.peer)
    }

    /// Counts what the client sends; `false` means that it is too much and is dropped.
    pub fn may_send(&mut self, bytes: usize, now: Instant) -> bool {
        self.from_client.take(bytes, now)
    }

    /// Packs what a peer sent into `out`, for the client. In a stream, data is padded.
    ///
    /// # Errors
    /// [`Unwanted`]: the client does not get it.
    pub fn pack(
        &mut self,
        peer: SocketAddr,
        data: &[u8],
        stream: bool,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<(), Unwanted> {
        out.clear();
        if self.expires <= now || !self.lets_in(peer.ip(), now) {
            return Err(Unwanted::Stranger);
        }
        let length = u16::try_from(data.len()).map_err(|_| Unwanted::TooMuch)?;
        if !self.to_client.take(data.len(), now) {
            return Err(Unwanted::TooMuch);
        }
        let channel = self.live_channels(now).find(|channel| channel.peer == peer);
        if let Some(channel) = channel {
            out.extend_from_slice(&channel.number.to_be_bytes());
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(data);
            if stream {
                out.resize(CHANNEL_HEADER + data.len().next_multiple_of(4), 0);
            }
            return Ok(());
        }
        let mut transaction = [0; 12];
        // Nobody answers an indication; its transaction only has to differ now and then.
        transaction[..8].copy_from_slice(&self.to_client.taken.to_be_bytes());
        *out = Writer::new(Class::Indication, Method::DATA, transaction)
            .with_address(Kind::XOR_PEER_ADDRESS, peer)
            .with(Kind::DATA, data)
            .finish(None);
        Ok(())
    }

    fn live_channels(&self, now: Instant) -> impl Iterator<Item = &Channel> {
        self.channels.iter().filter(move |channel| channel.expires > now)
    }
}

/// Why a packet does not reach the client.
#[derive(Debug, PartialEq, Eq)]
pub enum Unwanted {
    /// The client let nobody in from there.
    Stranger,
    /// More than the client may have.
    TooMuch,
}

/// How many bytes go one way: a bucket that holds half a second of the rate.
#[derive(Debug)]
struct Flow {
    bytes_per_second: u32,
    full_at: Option<Instant>,
    taken: u64,
}

impl Flow {
    fn new(bytes_per_second: u32) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), full_at: None, taken: 0 }
    }

    fn take(&mut self, bytes: usize, now: Instant) -> bool {
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now));
        if full_at - now > AHEAD {
            return false;
        }
        // Nanoseconds: a packet has less than 2¹⁶ bytes.
        let time = bytes as u64 * 1_000_000_000 / u64::from(self.bytes_per_second);
        self.full_at = Some(full_at + Duration::from_nanos(time));
        self.taken += bytes as u64;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::message::{Message, channel_data};

    const RATE: u32 = 100_000;

    fn allocation(now: Instant) -> Allocation {
        let relayed = "198.51.100.1:50000".parse().unwrap();
        let times = (now + Duration::from_secs(3_600), now + Duration::from_secs(7_200));
        let key = Key::new(b"u", "r", "p");
        Allocation::new("u".into(), b"1:u".into(), key, relayed, times, RATE)
    }

    fn peer(n: u8) -> SocketAddr {
        SocketAddr::from(([203, 0, 113, n], 4000))
    }

    #[test]
    fn only_those_let_in_get_through_and_not_for_ever() {
        let start = Instant::now();
        let mut allocation = allocation(start);
        let mut out = Vec::new();
        let sent = allocation.pack(peer(1), b"hi", false, start, &mut out);
        assert_eq!(sent, Err(Unwanted::Stranger));
        allocation.permit([peer(1).ip()].into_iter(), start).unwrap();
        allocation.pack(peer(1), b"hi", false, start, &mut out).unwrap();
        let message = Message::parse(&out).unwrap();
        assert_eq!((message.class, message.method), (Class::Indication, Method::DATA));
        assert_eq!(message.value(Kind::DATA), Some(&b"hi"[..]));
        assert_eq!(message.address(Kind::XOR_PEER_ADDRESS), Some(peer(1)));
        let later = start + PERMISSION;
        assert!(!allocation.lets_in(peer(1).ip(), later));
        assert!(!allocation.lets_in(peer(2).ip(), start));
    }

    #[test]
    fn a_channel_is_one_peers_and_ends() {
        let start = Instant::now();
        let mut allocation = allocation(start);
        allocation.bind(0x4000, peer(1), start).unwrap();
        assert_eq!(allocation.bind(0x4000, peer(2), start), Err(BindError::Taken));
        assert_eq!(allocation.bind(0x4001, peer(1), start), Err(BindError::Taken));
        allocation.bind(0x4000, peer(1), start).unwrap();
        let mut out = Vec::new();
        allocation.pack(peer(1), b"abc", true, start, &mut out).unwrap();
        assert_eq!(out.len(), 8);
        assert_eq!(channel_data(&out), Some((0x4000, &b"abc"[..])));
        assert_eq!(allocation.peer_of(0x4000, start), Some(peer(1)));
        let between = start + PERMISSION;
        assert!(allocation.lets_in(peer(1).ip(), between), "a channel lets its peer in");
        assert_eq!(allocation.peer_of(0x4000, start + CHANNEL), None);
        assert!(!allocation.lets_in(peer(1).ip(), start + CHANNEL));
        allocation.bind(0x4000, peer(2), start + CHANNEL).unwrap();
    }

    #[test]
    fn permissions_and_channels_are_bounded() {
        let now = Instant::now();
        let mut allocation = allocation(now);
        let many = (0..=255).map(|n| peer(n).ip());
        assert_eq!(allocation.permit(many, now), Err(Full));
        assert!(!allocation.lets_in(peer(0).ip(), now), "all or none");
        for n in 0..CHANNELS as u8 {
            allocation.bind(0x4000 + u16::from(n), peer(n), now).unwrap();
        }
        assert_eq!(allocation.bind(0x4FFF, peer(200), now), Err(BindError::Full));
    }

    #[test]
    fn a_flow_keeps_to_its_rate() {
        let start = Instant::now();
        let mut flow = Flow::new(RATE);
        let taken: usize =
            (0..10_000_u64).filter(|i| flow.take(1_000, start + Duration::from_millis(*i))).count();
        let expected = 10 * RATE as usize / 1_000;
        let ahead = RATE as usize / 2 / 1_000 + 2;
        assert!((expected..=expected + ahead).contains(&taken), "{taken}");
    }
}
