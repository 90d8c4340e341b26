//! TURN over TCP and TLS for a WebRTC library that speaks it over UDP only: a UDP socket on
//! loopback stands for the relay, and what the library sends there goes on as a stream. The
//! framing is STUN's own (RFC 8489 §6.2.2, RFC 8656 §12.5).
//!
//! **Invariant:** only sockets of this process are served, every queue has a bound, and everything
//! ends with the [`Ways`], which belong to one peer connection.

mod own;
mod pipe;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;
use wire::IceServer;

use crate::tls::Tls;

/// Sockets of the library that one relay serves: one for each local address. Further ones are not
/// answered.
const SOURCES: usize = 16;
/// Packets that wait for a stream; further ones are lost, as UDP would lose them.
const QUEUE: usize = 128;
/// Bytes of the largest packet; calls stay below 1,500. A larger one is lost.
const DATAGRAM: usize = 4_096;
/// The pause after the system refused us a packet.
const PAUSE: Duration = Duration::from_millis(10);

/// Relays that are reached by streams, for one peer connection.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    open: HashMap<Relay, (SocketAddr, AbortOnDropHandle<()>)>,
}

/// How a relay is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Relay {
    host: String,
    port: u16,
    secure: bool,
}

impl Ways {
    /// The servers as the library understands them: each address of a relay over TCP or TLS is
    /// replaced by one on loopback. The same address stays the same, so that new credentials do
    /// not look like new servers. One that can't be served is left out.
    pub(crate) async fn adapt(&mut self, servers: &[IceServer]) -> Vec<IceServer> {
        let mut adapted = Vec::with_capacity(servers.len());
        for server in servers {
            let mut urls = Vec::with_capacity(server.urls.len());
            for url in &server.urls {
                match Relay::of(url) {
                    None => urls.push(url.clone()),
                    Some(relay) => match self.open(relay).await {
                        Ok(local) => urls.push(format!("turn:{local}?transport=udp")),
                        Err(error) => tracing::warn!(%error, "a relay can't be reached by TCP"),
                    },
                }
            }
            adapted.push(IceServer { urls, ..server.clone() });
        }
        adapted
    }

    async fn open(&mut self, relay: Relay) -> io::Result<SocketAddr> {
        if let Some((local, _)) = self.open.get(&relay) {
            return Ok(*local);
        }
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let local = socket.local_addr()?;
        let tls = if relay.secure { Some(trust()?) } else { None };
        let task = tokio::spawn(serve(Arc::new(socket), relay.clone(), tls));
        self.open.insert(relay, (local, AbortOnDropHandle::new(task)));
        Ok(local)
    }
}

/// Certificates of relays are those that the system trusts: what they pass on is encrypted from
/// peer to peer in any case, and no server tells fingerprints of other machines.
fn trust() -> io::Result<Arc<ClientConfig>> {
    Tls::new(None).map(|tls| Arc::new(tls.config)).map_err(io::Error::other)
}

impl Relay {
    /// The relay of a `turn:` or `turns:` URL (RFC 7065) that is reached by a stream.
    fn of(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once(':')?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let tcp = query == "transport=tcp";
        let secure = match scheme {
            "turn" if tcp => false,
            "turns" if tcp || query.is_empty() => true,
            _ => return None,
        };
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (place, if secure { 5349 } else { 3478 }),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        (!host.is_empty()).then(|| Self { host: host.to_owned(), port, secure })
    }
}

/// Serves the library's sockets: each gets a stream of its own, because a relay takes a stream
/// for one client.
async fn serve(socket: Arc<UdpSocket>, relay: Relay, tls: Option<Arc<ClientConfig>>) {
    let relay = Arc::new(relay);
    let mut pipes: HashMap<SocketAddr, mpsc::Sender<Vec<u8>>> = HashMap::new();
    // Dropping it ends all streams.
    let mut tasks = JoinSet::new();
    let mut packet = vec![0; DATAGRAM];
    loop {
        let (length, source) = tokio::select! {
            received = socket.recv_from(&mut packet) => match received {
                Ok(received) => received,
                Err(_) => {
                    sleep(PAUSE).await;
                    continue;
                }
            },
            Some(ended) = tasks.join_next() => {
                if let Ok(source) = ended {
                    pipes.remove(&source);
                }
                continue;
            }
        };
        if length == packet.len() {
            // It was larger, and is cut.
            continue;
        }
        if !pipes.contains_key(&source) {
            if pipes.len() >= SOURCES || !own::is_ours(source) {
                continue;
            }
            let (sender, waiting) = mpsc::channel(QUEUE);
            pipes.insert(source, sender);
            let (socket, relay, tls) = (socket.clone(), relay.clone(), tls.clone());
            tasks.spawn(async move {
                let run = pipe::run(&relay.host, relay.port, tls, waiting, |packet| {
                    // A full buffer of the system loses it, as any network may.
                    let _ = socket.try_send_to(packet, source);
                });
                if let Err(error) = run.await {
                    tracing::debug!(error = %error.kind(), "a stream to a relay ended");
                }
                source
            });
        }
        if let Some(pipe) = pipes.get(&source) {
            let _ = pipe.try_send(packet[..length].to_vec());
        }
    }
}
