//! What all sockets of the relay share, and the UDP socket of all clients.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::nonce::Nonces;
use super::quota::{Exceeded, Quota, Strangers, network};
use super::relay::{self, Relay};
use super::rules::{Moment, Rules, Step, Wish};
use super::targets::Targets;
use super::{TurnConfig, datagrams};
use crate::ice::Credentials;
use crate::metrics::{Direction, Metrics, TurnRefused};

/// Bytes of the largest packet that is relayed; calls stay below 1,500. A larger one is lost.
pub(super) const DATAGRAM: usize = 4_096;
/// Packets for one TCP client that wait for it; further ones are lost, as UDP would lose them.
pub(super) const STREAM_QUEUE: usize = 128;
/// What keys are made for; short, because strangers are told.
const REALM: &str = "meet";
/// Ports that are tried for an allocation.
const PORT_ATTEMPTS: u32 = 32;
/// The pause after the system refused us a packet.
const RECEIVE_PAUSE: Duration = Duration::from_millis(10);
/// Clients that the UDP socket knows before it first forgets those that are gone.
const CLIENTS: usize = 64;

/// What all sockets of the relay share.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) rules: Rules,
    pub(super) announced: Vec<IpAddr>,
    pub(super) metrics: Arc<Metrics>,
    /// Ends everything.
    pub(super) over: CancellationToken,
    /// TCP connections of each network address.
    pub(super) connections: Arc<Quota<IpAddr>>,
    ip: IpAddr,
    ports: RangeInclusive<u16>,
    users: Arc<Quota<String>>,
    addresses: Arc<Quota<IpAddr>>,
    strangers: Strangers,
    /// All allocations by their relayed address.
    relays: Mutex<HashMap<SocketAddr, Arc<Relay>>>,
}

/// The way back to a client.
#[derive(Debug, Clone)]
pub(super) enum Outlet {
    /// From the socket that all share.
    Datagrams(Arc<UdpSocket>, SocketAddr),
    /// To the task that writes its stream.
    Stream(mpsc::Sender<Vec<u8>>),
}

impl Outlet {
    pub(super) fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// Sends now or never.
    pub(super) fn send(&self, packet: &[u8]) -> bool {
        match self {
            Self::Datagrams(socket, client) => socket.try_send_to(packet, *client).is_ok(),
            Self::Stream(queue) => queue.try_send(packet.to_vec()).is_ok(),
        }
    }
}

/// What became of a client by its packet.
#[derive(Debug)]
pub(super) enum Change {
    Opened(Arc<Relay>),
    Closed,
}

impl Hub {
    pub(super) fn new(
        config: TurnConfig,
        ip: IpAddr,
        announced: Vec<IpAddr>,
        targets: Targets,
        credentials: Credentials,
        metrics: Arc<Metrics>,
    ) -> Self {
        let rules = Rules {
            credentials,
            realm: REALM.to_owned(),
            nonces: Nonces::new(config.nonce_lifetime),
            targets,
            lifetime: config.lifetime,
            age: config.age,
            bytes_per_second: config.bytes_per_second,
        };
        Self {
            rules,
            announced,
            metrics,
            over: CancellationToken::new(),
            connections: Quota::new(config.per_address, config.total),
            ip,
            ports: config.relay_ports,
            users: Quota::new(config.per_user, config.total),
            addresses: Quota::new(config.per_address, config.total),
            strangers: Strangers::new(Instant::now()),
            relays: Mutex::default(),
        }
    }

    /// Does what a client's packet asks for.
    pub(super) fn take(
        self: &Arc<Self>,
        own: Option<&Arc<Relay>>,
        outlet: &Outlet,
        client: SocketAddr,
        packet: &[u8],
    ) -> Option<Change> {
        let now = Moment::now();
        let step = {
            let mut allocation = own.map(|relay| relay.allocation());
            self.rules.handle(allocation.as_deref_mut(), client, packet, now)
        };
        let turn = &self.metrics.turn;
        let refused =
            |why: Option<TurnRefused>| why.into_iter().for_each(|why| turn.refused.add(why));
        match step {
            Step::Ignore(why) => refused(why),
            Step::Bound(answer) => {
                if self.strangers.may_answer(client.ip(), now.at) {
                    turn.bindings.inc();
                    outlet.send(&answer);
                }
            }
            Step::Doubt(answer, why) => {
                refused(Some(why));
                if outlet.is_stream() || self.strangers.may_answer(client.ip(), now.at) {
                    outlet.send(&answer);
                }
            }
            Step::Answer(answer, why) => {
                refused(why);
                outlet.send(&answer);
            }
            Step::Close(answer) => {
                outlet.send(&answer);
                return Some(Change::Closed);
            }
            Step::Relay(peer, data) => {
                if let Some(relay) = own {
                    self.to_peer(relay, peer, data);
                }
            }
            Step::Allocate(wish) => match self.allocate(&wish, client) {
                Ok((socket, relayed, shares)) => {
                    let (allocation, answer) = self.rules.allocated(wish, relayed, now.at);
                    let relay =
                        Arc::new(Relay::new(allocation, socket, outlet.clone(), shares, self));
                    self.relays().insert(relayed, relay.clone());
                    tokio::spawn(relay::run(self.clone(), relay.clone()));
                    outlet.send(&answer);
                    return Some(Change::Opened(relay));
                }
                Err((code, why)) => {
                    refused(Some(why));
                    outlet.send(&self.rules.not_allocated(&wish, code));
                }
            },
        }
        None
    }

    fn allocate(
        &self,
        wish: &Wish,
        client: SocketAddr,
    ) -> Result<(UdpSocket, SocketAddr, relay::Shares), (u16, TurnRefused)> {
        let family = |address: &&IpAddr| address.is_ipv6() == wish.v6;
        let announced = self.announced.iter().find(family);
        let announced = announced.ok_or((440, TurnRefused::Address))?;
        let exceeded = |error| match error {
            Exceeded::Each => (486, TurnRefused::Quota),
            Exceeded::Total => (508, TurnRefused::Quota),
        };
        let shares = relay::Shares {
            _user: self.users.take(wish.user.clone()).map_err(exceeded)?,
            _address: self.addresses.take(network(client.ip())).map_err(exceeded)?,
        };
        match self.open_port(wish) {
            Ok(socket) => {
                let port = socket.local_addr().map_err(|_| (508, TurnRefused::Shortage))?.port();
                Ok((socket, SocketAddr::new(*announced, port), shares))
            }
            Err(error) => {
                tracing::debug!("no port for an allocation: {}", error.kind());
                Err((508, TurnRefused::Shortage))
            }
        }
    }

    /// A port that nobody can guess (RFC 8656 §7.2).
    fn open_port(&self, wish: &Wish) -> io::Result<UdpSocket> {
        let v6 = wish.v6;
        let ip = if self.ip.is_ipv6() == v6 && !self.ip.is_unspecified() {
            self.ip
        } else if v6 {
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        };
        let (first, last) = (u32::from(*self.ports.start()), u32::from(*self.ports.end()));
        let count = last.saturating_sub(first) + 1;
        let mut last_error = io::Error::from(io::ErrorKind::AddrNotAvailable);
        let start = random();
        for attempt in 0..PORT_ATTEMPTS.min(count) {
            // Small ranges are tried from end to end; in large ones each attempt is a new guess.
            let guess = if count <= PORT_ATTEMPTS { start.wrapping_add(attempt) } else { random() };
            let port = (first + guess % count) & if wish.even { !1 } else { !0 };
            match datagrams(SocketAddr::new(ip, port as u16), false) {
                Ok(socket) => return Ok(socket),
                Err(error) => last_error = error,
            }
        }
        Err(last_error)
    }

    fn to_peer(&self, relay: &Relay, peer: SocketAddr, data: &[u8]) {
        let turn = &self.metrics.turn;
        turn.packets.add(Direction::FromClient);
        turn.bytes.add_many(Direction::FromClient, data.len() as u64);
        if self.announced.contains(&peer.ip())
            && let Some(other) = self.relay_at(peer)
        {
            // Both ends are ours: nothing has to leave the process.
            other.deliver(self, relay.relayed, data, &mut Vec::new());
        } else if self.rules.targets.may_send(peer) {
            // A full buffer of the system loses the packet, as any network may.
            let _ = relay.socket.try_send_to(data, peer);
        } else {
            turn.refused.add(TurnRefused::Address);
        }
    }

    fn relay_at(&self, relayed: SocketAddr) -> Option<Arc<Relay>> {
        self.relays().get(&relayed).cloned()
    }

    pub(super) fn forget(&self, relayed: SocketAddr) {
        self.relays().remove(&relayed);
    }

    fn relays(&self) -> std::sync::MutexGuard<'_, HashMap<SocketAddr, Arc<Relay>>> {
        self.relays.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn random() -> u32 {
    getrandom::u32().expect("the system gives random bytes")
}

/// Serves all clients that come by UDP.
pub(super) async fn serve_udp(hub: Arc<Hub>, socket: Arc<UdpSocket>) {
    // An allocation that has ended frees its port and its owner's quota at once.
    let mut clients: HashMap<SocketAddr, Weak<Relay>> = HashMap::new();
    let mut forget_at = CLIENTS;
    let mut packet = vec![0; DATAGRAM];
    loop {
        let (length, client) = match socket.recv_from(&mut packet).await {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!("a packet was not received: {}", error.kind());
                sleep(RECEIVE_PAUSE).await;
                continue;
            }
        };
        if length == packet.len() {
            // It was larger, and is cut.
            continue;
        }
        let relay = clients.get(&client).and_then(Weak::upgrade);
        let relay = relay.filter(|relay| !relay.over.is_cancelled());
        let outlet = Outlet::Datagrams(socket.clone(), client);
        match hub.take(relay.as_ref(), &outlet, client, &packet[..length]) {
            None => {}
            Some(Change::Closed) => {
                clients.remove(&client);
                relay.inspect(|relay| relay.over.cancel());
            }
            Some(Change::Opened(relay)) => {
                clients.insert(client, Arc::downgrade(&relay));
                if clients.len() >= forget_at {
                    clients.retain(|_, relay| relay.strong_count() > 0);
                    forget_at = (clients.len() * 2).max(CLIENTS);
                }
            }
        }
    }
}
