//! What the relay answers, as a value without sockets: every packet of a client goes through
//! [`Rules::handle`], which says what is to be done with it.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use super::allocation::{Allocation, BindError, Full};
use super::message::{
    CHANNELS, Class, Key, Kind, Message, Method, Transaction, Writer, channel_data,
};
use super::nonce::Nonces;
use super::targets::Targets;
use crate::ice::Credentials;
use crate::metrics::TurnRefused;

/// The protocol number of UDP, in REQUESTED-TRANSPORT.
const UDP: u8 = 17;

/// When a packet came, by both clocks: lifetimes count on the one, credentials on the other.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// For what we gave out.
    pub at: Instant,
    /// For what stands in credentials and nonces.
    pub clock: SystemTime,
}

impl Moment {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        Self { at: Instant::now(), clock: SystemTime::now() }
    }
}

/// What all clients are treated by.
#[derive(Debug)]
pub struct Rules {
    /// Who may use the relay.
    pub credentials: Credentials,
    /// What the keys are made for (RFC 8489 §9.2).
    pub realm: String,
    /// What requests must repeat.
    pub nonces: Nonces,
    /// Whom it relays to.
    pub targets: Targets,
    /// How long an allocation lives without a refresh.
    pub lifetime: Duration,
    /// How long it lives at most.
    pub age: Duration,
    /// What one allocation may relay each way.
    pub bytes_per_second: u32,
}

/// What is to be done with a packet.
#[derive(Debug)]
pub enum Step<'a> {
    /// Nothing: it was no request, or nobody may know the answer.
    Ignore(Option<TurnRefused>),
    /// Tell the client where it comes from. Anybody may ask.
    Bound(Vec<u8>),
    /// Send this to somebody who has not shown a credential.
    Doubt(Vec<u8>, TurnRefused),
    /// Send this to the client.
    Answer(Vec<u8>, Option<TurnRefused>),
    /// Open a port, and tell [`Rules::allocated`] or [`Rules::not_allocated`].
    Allocate(Wish),
    /// The allocation is over; send this.
    Close(Vec<u8>),
    /// Send the data to a peer.
    Relay(SocketAddr, &'a [u8]),
}

/// A request for an allocation that may be granted.
#[derive(Debug)]
pub struct Wish {
    /// Whose it will be.
    pub user: String,
    /// Whether the relayed address shall be IPv6.
    pub v6: bool,
    /// Whether its port shall be even.
    pub even: bool,
    client: SocketAddr,
    username: Vec<u8>,
    key: Key,
    transaction: Transaction,
}

/// Whoever signed a request.
struct Signer {
    user: String,
    username: Vec<u8>,
    key: Key,
}

impl Rules {
    /// Takes a packet of the client at `client`, which may hold an allocation.
    pub fn handle<'a>(
        &self,
        mut allocation: Option<&mut Allocation>,
        client: SocketAddr,
        packet: &'a [u8],
        now: Moment,
    ) -> Step<'a> {
        allocation = allocation.filter(|allocation| allocation.expires > now.at);
        if let Some((number, data)) = channel_data(packet) {
            let peer = allocation.as_ref().and_then(|own| own.peer_of(number, now.at));
            return match (allocation, peer) {
                (Some(allocation), Some(peer)) => self.relay(allocation, peer, data, now.at),
                _ => Step::Ignore(None),
            };
        }
        let Some(message) = Message::parse(packet) else {
            return Step::Ignore(Some(TurnRefused::Malformed));
        };
        match (message.class, message.method) {
            (Class::Request, Method::BINDING) => Step::Bound(bound(&message, client)),
            (Class::Request, _) => self.request(allocation, client, &message, now),
            (Class::Indication, Method::SEND) => match allocation {
                Some(allocation) => self.send(allocation, &message, now.at),
                None => Step::Ignore(None),
            },
            _ => Step::Ignore(None),
        }
    }

    fn send<'a>(
        &self,
        allocation: &mut Allocation,
        message: &Message<'a>,
        now: Instant,
    ) -> Step<'a> {
        let peer = message.address(Kind::XOR_PEER_ADDRESS);
        let (Some(peer), Some(data)) = (peer, message.value(Kind::DATA)) else {
            return Step::Ignore(Some(TurnRefused::Malformed));
        };
        let peer = canonical(peer);
        if !message.not_understood().is_empty() {
            return Step::Ignore(Some(TurnRefused::Malformed));
        }
        if !allocation.lets_in(peer.ip(), now) {
            return Step::Ignore(Some(TurnRefused::Address));
        }
        self.relay(allocation, peer, data, now)
    }

    fn relay<'a>(
        &self,
        allocation: &mut Allocation,
        peer: SocketAddr,
        data: &'a [u8],
        now: Instant,
    ) -> Step<'a> {
        if allocation.may_send(data.len(), now) {
            Step::Relay(peer, data)
        } else {
            Step::Ignore(Some(TurnRefused::Rate))
        }
    }

    fn request<'a>(
        &self,
        allocation: Option<&mut Allocation>,
        client: SocketAddr,
        message: &Message<'_>,
        now: Moment,
    ) -> Step<'a> {
        let signer = match self.check(allocation.as_deref(), client, message, now) {
            Ok(signer) => signer,
            Err(step) => return step,
        };
        let refuse = |code, why| {
            let answer = Writer::answer(Class::Error, message).with_error(code);
            Step::Answer(answer.finish(Some(&signer.key)), why)
        };
        let unknown = message.not_understood();
        if !unknown.is_empty() {
            let list: Vec<u8> = unknown.iter().flat_map(|kind| kind.0.to_be_bytes()).collect();
            let answer = Writer::answer(Class::Error, message)
                .with_error(420)
                .with(Kind::UNKNOWN_ATTRIBUTES, &list);
            return Step::Answer(answer.finish(Some(&signer.key)), None);
        }
        match (message.method, allocation) {
            (Method::ALLOCATE, Some(own)) if own.made_by.0 == message.transaction => {
                Step::Answer(own.made_by.1.clone(), None)
            }
            (Method::ALLOCATE, Some(_)) => refuse(437, None),
            (Method::ALLOCATE, None) => match wish(message, client, &signer) {
                Ok(wish) => Step::Allocate(wish),
                Err(code) => refuse(code, None),
            },
            (Method::REFRESH | Method::CREATE_PERMISSION | Method::CHANNEL_BIND, None) => {
                refuse(437, None)
            }
            (_, Some(own)) if own.user != signer.user => {
                refuse(441, Some(TurnRefused::Credentials))
            }
            (Method::REFRESH, Some(own)) => self.refresh(own, message, signer, now.at),
            (Method::CREATE_PERMISSION, Some(own)) => match self.permit(own, message, now.at) {
                Ok(()) => Step::Answer(done(message, &signer.key), None),
                Err((code, why)) => refuse(code, why),
            },
            (Method::CHANNEL_BIND, Some(own)) => match self.bind(own, message, now.at) {
                Ok(()) => Step::Answer(done(message, &signer.key), None),
                Err((code, why)) => refuse(code, why),
            },
            _ => refuse(400, Some(TurnRefused::Malformed)),
        }
    }

    /// Who signed the request (RFC 8489 §9.2.4).
    fn check<'a>(
        &self,
        allocation: Option<&Allocation>,
        client: SocketAddr,
        message: &Message<'_>,
        now: Moment,
    ) -> Result<Signer, Step<'a>> {
        let challenge = |code| {
            let nonce = self.nonces.make(client, now.clock);
            let answer = Writer::answer(Class::Error, message)
                .with_error(code)
                .with(Kind::REALM, self.realm.as_bytes())
                .with(Kind::NONCE, nonce.as_bytes());
            Step::Doubt(answer.finish(None), TurnRefused::Credentials)
        };
        if !message.is_signed() {
            return Err(challenge(401));
        }
        let parts =
            (message.value(Kind::USERNAME), message.value(Kind::REALM), message.value(Kind::NONCE));
        let (Some(username), Some(_), Some(nonce)) = parts else {
            let answer = Writer::answer(Class::Error, message).with_error(400);
            return Err(Step::Doubt(answer.finish(None), TurnRefused::Malformed));
        };
        if !self.nonces.is_good(nonce, client, now.clock) {
            return Err(challenge(438));
        }
        let known = allocation.filter(|own| own.username == username);
        let signer = match known {
            // The credential was good when the allocation was made; it may end before the call.
            Some(own) => Signer {
                user: own.user.clone(),
                username: own.username.clone(),
                key: own.key.clone(),
            },
            None => {
                let name = std::str::from_utf8(username).ok();
                let claim = name.and_then(|name| self.credentials.claim(name, now.clock));
                let Some(claim) = claim else { return Err(challenge(401)) };
                let key = Key::new(username, &self.realm, &claim.password);
                Signer { user: claim.user.to_owned(), username: username.to_vec(), key }
            }
        };
        if message.is_signed_with(&signer.key) { Ok(signer) } else { Err(challenge(401)) }
    }

    fn refresh<'a>(
        &self,
        own: &mut Allocation,
        message: &Message<'_>,
        signer: Signer,
        now: Instant,
    ) -> Step<'a> {
        let family = message.value(Kind::REQUESTED_ADDRESS_FAMILY);
        if family.is_some_and(|family| family.first() != Some(&family_of(own.relayed.ip()))) {
            let answer = Writer::answer(Class::Error, message).with_error(443);
            return Step::Answer(answer.finish(Some(&signer.key)), None);
        }
        let ends = message.number(Kind::LIFETIME) == Some(0);
        let lifetime = if ends { Duration::ZERO } else { self.lifetime.min(own.ends - now) };
        let answer = Writer::answer(Class::Success, message)
            .with(Kind::LIFETIME, &(lifetime.as_secs() as u32).to_be_bytes())
            .finish(Some(&signer.key));
        own.expires = now + lifetime;
        if ends {
            return Step::Close(answer);
        }
        // Newer credentials of the same user carry the allocation on.
        own.username = signer.username;
        own.key = signer.key;
        Step::Answer(answer, None)
    }

    fn permit(&self, own: &mut Allocation, message: &Message<'_>, now: Instant) -> Refusal {
        let peers = message.addresses(Kind::XOR_PEER_ADDRESS).filter(|peers| !peers.is_empty());
        let Some(peers) = peers else { return Err((400, Some(TurnRefused::Malformed))) };
        for peer in &peers {
            self.may_permit(own, *peer)?;
        }
        let peers = peers.iter().map(|peer| peer.ip().to_canonical());
        own.permit(peers, now).map_err(|Full| (508, Some(TurnRefused::Quota)))
    }

    fn bind(&self, own: &mut Allocation, message: &Message<'_>, now: Instant) -> Refusal {
        let number = message.number(Kind::CHANNEL_NUMBER).map(|number| (number >> 16) as u16);
        let number = number.filter(|number| CHANNELS.contains(number));
        let (Some(number), Some(peer)) = (number, message.address(Kind::XOR_PEER_ADDRESS)) else {
            return Err((400, Some(TurnRefused::Malformed)));
        };
        self.may_permit(own, peer)?;
        own.bind(number, canonical(peer), now).map_err(|error| match error {
            BindError::Taken => (400, None),
            BindError::Full => (508, Some(TurnRefused::Quota)),
        })
    }

    fn may_permit(&self, own: &Allocation, peer: SocketAddr) -> Refusal {
        // A mapped address is refused here, too: the relayed address is a plain one.
        if peer.is_ipv4() != own.relayed.is_ipv4() {
            return Err((443, None));
        }
        if self.targets.may_permit(peer.ip()) {
            Ok(())
        } else {
            Err((403, Some(TurnRefused::Address)))
        }
    }

    /// The port is open: the allocation, and what the client is to be told.
    #[must_use]
    pub fn allocated(
        &self,
        wish: Wish,
        relayed: SocketAddr,
        now: Instant,
    ) -> (Allocation, Vec<u8>) {
        let lifetime = self.lifetime.min(self.age);
        let times = (now + lifetime, now + self.age);
        let answer = Writer::new(Class::Success, Method::ALLOCATE, wish.transaction)
            .with_address(Kind::XOR_RELAYED_ADDRESS, relayed)
            .with(Kind::LIFETIME, &(lifetime.as_secs() as u32).to_be_bytes())
            .with_address(Kind::XOR_MAPPED_ADDRESS, canonical(wish.client))
            .finish(Some(&wish.key));
        let mut allocation = Allocation::new(
            wish.user,
            wish.username,
            wish.key,
            relayed,
            times,
            self.bytes_per_second,
        );
        allocation.made_by = (wish.transaction, answer.clone());
        (allocation, answer)
    }

    /// There is no port for it: what the client is to be told. 440: not of this family; 486: too
    /// many for this user; 508: too many for this server.
    #[must_use]
    pub fn not_allocated(&self, wish: &Wish, code: u16) -> Vec<u8> {
        Writer::new(Class::Error, Method::ALLOCATE, wish.transaction)
            .with_error(code)
            .finish(Some(&wish.key))
    }
}

type Refusal = Result<(), (u16, Option<TurnRefused>)>;

fn wish(message: &Message<'_>, client: SocketAddr, signer: &Signer) -> Result<Wish, u16> {
    let transport = message.value(Kind::REQUESTED_TRANSPORT).ok_or(400_u16)?;
    if transport.first() != Some(&UDP) {
        return Err(442);
    }
    // No port is kept for later: no client of today has a use for it.
    let even = message.value(Kind::EVEN_PORT);
    let reserves = even.is_some_and(|flags| flags.first().is_some_and(|bits| bits & 0x80 != 0));
    if reserves || message.value(Kind::RESERVATION_TOKEN).is_some() {
        return Err(508);
    }
    let v6 = match message.value(Kind::REQUESTED_ADDRESS_FAMILY) {
        None => false,
        Some([1, ..]) => false,
        Some([2, ..]) => true,
        Some(_) => return Err(440),
    };
    Ok(Wish {
        user: signer.user.clone(),
        v6,
        even: even.is_some(),
        client,
        username: signer.username.clone(),
        key: signer.key.clone(),
        transaction: message.transaction,
    })
}

fn bound(message: &Message<'_>, client: SocketAddr) -> Vec<u8> {
    Writer::answer(Class::Success, message)
        .with_address(Kind::XOR_MAPPED_ADDRESS, canonical(client))
        .finish(None)
}

fn done(message: &Message<'_>, key: &Key) -> Vec<u8> {
    Writer::answer(Class::Success, message).finish(Some(key))
}

fn family_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { 1 } else { 2 }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::targets::Reach;
    use super::*;
    use crate::auth::Secret;

    const CLIENT: &str = "203.0.113.1:1000";
    const RELAYED: &str = "198.51.100.1:50000";
    const FRIEND: &str = "203.0.113.2";

    fn rules() -> Rules {
        let announced: SocketAddr = RELAYED.parse().unwrap();
        Rules {
            credentials: Credentials::new(Secret::new("north")),
            realm: "meet".to_owned(),
            nonces: Nonces::new(Duration::from_secs(60)),
            targets: Targets::new(Reach::World, [announced.ip()], |_| false),
            lifetime: Duration::from_secs(600),
            age: Duration::from_secs(6_000),
            bytes_per_second: 1_000_000,
        }
    }

    /// What somebody with a good credential may put into a request.
    fn attributes() -> impl Strategy<Value = Vec<(u16, Vec<u8>)>> {
        let known = prop::sample::select(vec![
            0x000C_u16, 0x000D, 0x0012, 0x0013, 0x0016, 0x0017, 0x0018, 0x0019, 0x0020, 0x0022,
        ]);
        let kind = prop_oneof![4 => known, 1 => any::<u16>()];
        // Addresses as they should be, more or less.
        let address = (0..4_u8, any::<u8>(), any::<[u8; 6]>())
            .prop_map(|(family, port, rest)| [&[0, family, port, 7], &rest[..4]].concat());
        let value = prop_oneof![prop::collection::vec(any::<u8>(), 0..24), address];
        prop::collection::vec((kind, value), 0..6)
    }

    proptest! {
        #[test]
        fn nothing_that_a_user_asks_breaks_the_relay_or_opens_a_forbidden_way(
            requests in prop::collection::vec(
                (0..10_u16, any::<bool>(), attributes(), 0..200_u64), 1..40
            )
        ) {
            let rules = rules();
            let client = CLIENT.parse().unwrap();
            let clock = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
            let (username, password) =
                rules.credentials.issue("me", clock + Duration::from_secs(100_000));
            let key = Key::new(username.as_bytes(), "meet", &password);
            let start = Instant::now();
            let mut allocation: Option<Allocation> = None;
            let mut time = Duration::ZERO;
            for (count, (method, request, attributes, pause)) in requests.into_iter().enumerate() {
                time += Duration::from_secs(pause);
                let now = Moment { at: start + time, clock: clock + time };
                let class = if request { Class::Request } else { Class::Indication };
                let mut message = Writer::new(class, Method(method), [count as u8; 12]);
                for (kind, value) in &attributes {
                    message = message.with(Kind(*kind), value);
                }
                let nonce = rules.nonces.make(client, now.clock);
                let message = message
                    .with(Kind::USERNAME, username.as_bytes())
                    .with(Kind::REALM, b"meet")
                    .with(Kind::NONCE, nonce.as_bytes());
                let bytes = message.finish(Some(&key));
                match rules.handle(allocation.as_mut(), client, &bytes, now) {
                    Step::Allocate(wish) => {
                        prop_assert!(allocation.is_none_or(|own| own.expires <= now.at));
                        let relayed = RELAYED.parse().unwrap();
                        allocation = Some(rules.allocated(wish, relayed, now.at).0);
                    }
                    Step::Close(_) => allocation = None,
                    Step::Relay(peer, _) => {
                        let own = allocation.as_ref().expect("only who has one relays");
                        prop_assert!(own.lets_in(peer.ip(), now.at));
                        prop_assert!(rules.targets.may_permit(peer.ip()));
                    }
                    Step::Ignore(_) | Step::Bound(_) | Step::Answer(..) | Step::Doubt(..) => {}
                }
                if let Some(own) = &allocation {
                    prop_assert!(own.expires <= own.ends);
                }
            }
        }
    }

    #[test]
    fn a_lost_answer_is_given_again() {
        let rules = rules();
        let client = CLIENT.parse().unwrap();
        let now = Moment::now();
        let (username, password) =
            rules.credentials.issue("me", now.clock + Duration::from_secs(100));
        let key = Key::new(username.as_bytes(), "meet", &password);
        let nonce = rules.nonces.make(client, now.clock);
        let request = |method, transaction: u8, kind: Kind, value: &[u8]| {
            Writer::new(Class::Request, method, [transaction; 12])
                .with(kind, value)
                .with(Kind::USERNAME, username.as_bytes())
                .with(Kind::REALM, b"meet")
                .with(Kind::NONCE, nonce.as_bytes())
                .finish(Some(&key))
        };
        let allocate = request(Method::ALLOCATE, 1, Kind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        let Step::Allocate(wish) = rules.handle(None, client, &allocate, now) else {
            panic!("a good request")
        };
        let (mut own, first) = rules.allocated(wish, RELAYED.parse().unwrap(), now.at);
        let Step::Answer(second, _) = rules.handle(Some(&mut own), client, &allocate, now) else {
            panic!("the same request")
        };
        assert_eq!(first, second);
        let other = request(Method::ALLOCATE, 2, Kind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        let Step::Answer(refused, _) = rules.handle(Some(&mut own), client, &other, now) else {
            panic!("another request")
        };
        assert_eq!(Message::parse(&refused).unwrap().error(), Some(437));

        // An address without a port's worth of meaning is let in, and its channel works at once.
        let mut peer = [0, 1, 0, 0, 0, 0, 0, 0];
        let address: std::net::Ipv4Addr = FRIEND.parse().unwrap();
        let mask = [0x21, 0x12, 0xA4, 0x42];
        for (place, (octet, mask)) in peer[4..].iter_mut().zip(address.octets().iter().zip(mask)) {
            *place = octet ^ mask;
        }
        let permit = request(Method::CREATE_PERMISSION, 3, Kind::XOR_PEER_ADDRESS, &peer);
        let Step::Answer(done, None) = rules.handle(Some(&mut own), client, &permit, now) else {
            panic!("a good request")
        };
        assert_eq!(Message::parse(&done).unwrap().class, Class::Success);
        assert!(own.lets_in(FRIEND.parse().unwrap(), now.at));
    }
}
