//! One allocation with its port: what peers send there goes to the client.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::allocation::{Allocation, Unwanted};
use super::hub::{DATAGRAM, Hub, Outlet};
use super::quota::Share;
use crate::metrics::{Direction, Held, TurnRefused, held};

/// The pause after the system refused us a packet.
const RECEIVE_PAUSE: Duration = Duration::from_millis(10);

/// An allocation with its sockets.
#[derive(Debug)]
pub(super) struct Relay {
    /// Where peers reach the client.
    pub(super) relayed: SocketAddr,
    pub(super) socket: UdpSocket,
    /// Set when it has ended.
    pub(super) over: CancellationToken,
    allocation: Mutex<Allocation>,
    outlet: Outlet,
    _shares: Shares,
    _counted: Held,
}

/// What the allocation takes from its owner's quotas.
#[derive(Debug)]
pub(super) struct Shares {
    pub(super) _user: Share<String>,
    pub(super) _address: Share<IpAddr>,
}

impl Relay {
    pub(super) fn new(
        allocation: Allocation,
        socket: UdpSocket,
        outlet: Outlet,
        shares: Shares,
        hub: &Hub,
    ) -> Self {
        hub.metrics.turn.allocated.inc();
        Self {
            relayed: allocation.relayed,
            socket,
            over: hub.over.child_token(),
            allocation: Mutex::new(allocation),
            outlet,
            _shares: shares,
            _counted: held(&hub.metrics.turn.allocations),
        }
    }

    /// The allocation; never held while anything is waited for.
    pub(super) fn allocation(&self) -> MutexGuard<'_, Allocation> {
        self.allocation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes what a peer sent to the client. `out` is where it is packed.
    pub(super) fn deliver(&self, hub: &Hub, peer: SocketAddr, data: &[u8], out: &mut Vec<u8>) {
        let stream = self.outlet.is_stream();
        let packed = self.allocation().pack(peer, data, stream, Instant::now(), out);
        let turn = &hub.metrics.turn;
        match packed {
            Ok(()) => {
                turn.packets.add(Direction::ToClient);
                turn.bytes.add_many(Direction::ToClient, data.len() as u64);
                self.outlet.send(out);
            }
            Err(Unwanted::TooMuch) => turn.refused.add(TurnRefused::Rate),
            Err(Unwanted::Stranger) => turn.refused.add(TurnRefused::Address),
        }
    }
}

/// Serves the peers of an allocation until it ends.
pub(super) async fn run(hub: Arc<Hub>, relay: Arc<Relay>) {
    let mut packet = vec![0; DATAGRAM];
    let mut out = Vec::new();
    let expires = || relay.allocation().expires;
    let end = sleep_until(expires().into());
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = relay.over.cancelled() => break,
            () = end.as_mut() => {
                let expires = expires();
                if expires <= Instant::now() {
                    break;
                }
                end.as_mut().reset(expires.into());
            }
            received = relay.socket.recv_from(&mut packet) => match received {
                // As long as the buffer: it was larger, and is cut.
                Ok((DATAGRAM, _)) => {}
                Ok((length, peer)) => {
                    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                    relay.deliver(&hub, peer, &packet[..length], &mut out);
                }
                Err(_) => sleep(RECEIVE_PAUSE).await,
            }
        }
    }
    relay.over.cancel();
    hub.forget(relay.relayed);
}
