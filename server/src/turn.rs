//! The built-in STUN and TURN server (RFC 8489, 8656): UDP, TCP and TLS on one port, UDP towards
//! peers. It relays packets that it can't read, for users who are signed in.
//!
//! **Invariant:** strangers cost no memory and get few, short answers; no packet goes to an
//! address that [`Targets`] refuses; everything that somebody can hold has a number.

mod allocation;
mod hub;
pub mod message;
mod nonce;
mod quota;
mod relay;
mod rules;
mod stream;
mod targets;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket as StdUdpSocket};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::net::{TcpListener, UdpSocket};
use tokio_rustls::TlsAcceptor;

pub use targets::{Reach, Targets};

use crate::ice::{BuiltIn, Credentials};
use crate::lan;
use crate::metrics::Metrics;
use hub::Hub;

/// Bytes that the system may keep for the busy UDP socket: a quarter of a second of a dozen
/// cameras. More is lost, as on any network.
const SOCKET_BUFFER: usize = 2 * 1024 * 1024;
/// How often a port is looked for that is free for UDP and TCP.
const ATTEMPTS: usize = 16;

/// What the built-in relay must know.
#[derive(Debug, Clone)]
pub struct TurnConfig {
    /// Where it listens; `None` takes [`TurnConfig::PORT`] or, where another program has that, any
    /// free one. Clients are told the port.
    pub port: Option<u16>,
    /// The addresses under which peers reach the relay, at most one of each family; none of them
    /// given, this computer's own addresses in its network.
    pub addresses: Vec<IpAddr>,
    /// The name in URLs; `None` uses the one under which a client reached the server.
    pub host: Option<String>,
    /// The ports that allocations get.
    pub relay_ports: RangeInclusive<u16>,
    /// Whom it relays to; `None` goes by the addresses.
    pub reach: Option<Reach>,
    /// How long an allocation lives without a refresh (RFC 8656 §7.2).
    pub lifetime: Duration,
    /// How long it lives at most, however often it is refreshed. It may outlive the credential
    /// that opened it, so that no call ends with a credential, but not by more than this.
    pub age: Duration,
    /// How long a nonce is good.
    pub nonce_lifetime: Duration,
    /// What one allocation may relay each way.
    pub bytes_per_second: u32,
    /// Allocations of one user. A call in a full room opens one for each peer, transport and
    /// network of the client.
    pub per_user: usize,
    /// Allocations, and TCP connections, of one network address.
    pub per_address: usize,
    /// Allocations in all, and TCP connections in all.
    pub total: usize,
}

impl TurnConfig {
    /// The port that RFC 8656 gives to TURN.
    pub const PORT: u16 = 3478;
}

impl Default for TurnConfig {
    fn default() -> Self {
        Self {
            port: None,
            addresses: Vec::new(),
            host: None,
            relay_ports: 49_152..=65_535,
            reach: None,
            lifetime: Duration::from_secs(600),
            age: Duration::from_secs(24 * 3_600),
            nonce_lifetime: Duration::from_secs(3_600),
            // 12 Mbit/s: seven pictures of 720p and their sound.
            bytes_per_second: 1_500_000,
            per_user: 96,
            per_address: 512,
            total: 4_096,
        }
    }
}

/// Why there is no relay.
#[derive(Debug, Error)]
pub enum TurnError {
    /// The port is not to be had.
    #[error("cannot listen for TURN on {address}")]
    Listen {
        /// Where it should be.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

/// A relay that listens and does not answer yet.
pub struct TurnServer {
    udp: Arc<UdpSocket>,
    tcp: TcpListener,
    address: SocketAddr,
    host: Option<String>,
    tls: Option<TlsAcceptor>,
    hub: Arc<Hub>,
}

impl TurnServer {
    /// Listens at `ip`, for UDP and TCP on the same port; on the latter for TLS, too, where there
    /// is an acceptor.
    ///
    /// # Errors
    /// [`TurnError`] when the port that the configuration names is taken.
    pub fn bind(
        config: TurnConfig,
        ip: IpAddr,
        credentials: Credentials,
        tls: Option<TlsAcceptor>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, TurnError> {
        let listen = |port| {
            let address = SocketAddr::new(ip, port);
            open(address).map_err(|source| TurnError::Listen { address, source })
        };
        let (udp, tcp) = match config.port {
            Some(port) => listen(port)?,
            None => listen(TurnConfig::PORT).or_else(|_| {
                tracing::warn!("port {} is taken; TURN takes another one", TurnConfig::PORT);
                listen(0)
            })?,
        };
        let wrong = |source| TurnError::Listen { address: SocketAddr::new(ip, 0), source };
        let address = udp.local_addr().map_err(wrong)?;
        tracing::info!("STUN and TURN on port {}", address.port());
        let announced = announced(&config, ip);
        let reach = config.reach.unwrap_or_else(|| Reach::of(announced[0]));
        let targets = Targets::new(reach, announced.iter().copied(), is_ours);
        let host = config.host.clone();
        let hub = Arc::new(Hub::new(config, ip, announced, targets, credentials, metrics));
        Ok(Self { udp: Arc::new(udp), tcp, address, host, tls, hub })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What clients are to be told of it. `tls`: they will believe the certificate.
    #[must_use]
    pub fn built_in(&self, tls: bool) -> BuiltIn {
        BuiltIn {
            host: self.host.clone(),
            address: self.hub.announced[0],
            port: self.address.port(),
            tls,
        }
    }

    /// Relays until the future is dropped; all allocations end with it.
    pub async fn run(self) {
        let _all_end = self.hub.over.clone().drop_guard();
        let udp = hub::serve_udp(self.hub.clone(), self.udp);
        let streams = stream::accept(self.hub.clone(), self.tcp, self.tls);
        tokio::join!(udp, streams);
    }
}

impl fmt::Debug for TurnServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnServer").finish_non_exhaustive()
    }
}

/// UDP and TCP on one port; where any will do, on one that both can have.
fn open(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..if address.port() == 0 { ATTEMPTS } else { 1 } {
        let tcp = listener(address)?;
        let address = SocketAddr::new(address.ip(), tcp.local_addr()?.port());
        match datagrams(address, true) {
            Ok(udp) => return Ok((udp, tcp)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A server that starts again gets its port back at once. Windows means something else by it.
    socket.set_reuse_address(cfg!(unix))?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// A UDP socket; `busy` is for the one that all clients share.
fn datagrams(address: SocketAddr, busy: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if busy {
        // The system may give less.
        let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
        let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    } else if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket.into())
}

/// What peers are told, one address of each family at most, and never none.
fn announced(config: &TurnConfig, ip: IpAddr) -> Vec<IpAddr> {
    let candidates = if !config.addresses.is_empty() {
        config.addresses.clone()
    } else if ip.is_unspecified() {
        lan::addresses()
    } else {
        vec![ip]
    };
    let mut announced: Vec<IpAddr> = Vec::new();
    for address in candidates.into_iter().map(|address| address.to_canonical()) {
        if !announced.iter().any(|own| own.is_ipv4() == address.is_ipv4()) {
            announced.push(address);
        }
    }
    if announced.is_empty() {
        announced.push(Ipv4Addr::LOCALHOST.into());
    }
    announced
}

/// Whether this computer has the address: then it would send from there to itself. Nothing is
/// sent: connecting a UDP socket only asks the routing table.
fn is_ours(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let own = || {
        let socket = StdUdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
        socket.connect(SocketAddr::new(address, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    own() == Some(address)
}

#[cfg(test)]
mod tests;
