//! The bundled server of Private Meet: sign-in, rooms, relay and the web client, in one process
//! without a database.
//!
//! The law of this crate: it passes on what it can't read. Chat is sealed before it arrives,
//! signals go to the named peer only, and no name, text, token, query or address is ever logged.
//!
//! [`run`] is the whole server; [`Server`] is the same in two steps, for those who want to know
//! the address and the certificate's fingerprint before it runs.

pub mod auth;
pub mod backplane;
pub mod client;
pub mod codec;
pub mod config;
pub mod doctor;
pub mod door;
pub mod frame;
pub mod ice;
pub mod lan;
pub mod limits;
pub mod line;
pub mod metrics;
pub mod name;
pub mod origin;
pub mod outbox;
pub mod relay;
pub mod rooms;
pub mod session;
pub mod tls;
pub mod turn;
pub mod upgrade;
pub mod wheel;

mod http;
mod kept;
mod listen;
mod state;
mod web;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

pub use config::{Config, Origins, Tls, Web, default_state_dir};
pub use http::{Peer, router};
pub use metrics::Metrics;
pub use state::State;
pub use tls::Fingerprint;
pub use web::WebError;

use client::Closing;
use tls::{Identity, Keeper, TlsError};
use turn::{TurnConfig, TurnError, TurnServer};

/// How long saying goodbye to other servers may take, after that.
const FAREWELL: Duration = Duration::from_millis(500);

/// How long connections may take to end after the shutdown signal; then they are cut off.
pub const SHUTDOWN: Duration = Duration::from_secs(4);

/// Over how long WebSockets are closed at most; the rest of [`SHUTDOWN`] is for their answers.
const FAREWELLS: Duration = Duration::from_millis(2_500);
/// How much each of them adds to that.
const FAREWELL_EACH: Duration = Duration::from_millis(1);

/// Why a server did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Another program listens there, or it may not be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The listening socket has no address.
    #[error("cannot use the listening socket")]
    Socket(#[source] io::Error),
    /// There is no certificate to show.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// There is no web client to serve.
    #[error(transparent)]
    Web(#[from] WebError),
    /// There is no relay for calls.
    #[error(transparent)]
    Turn(#[from] TurnError),
}

/// A server that listens already and does not answer yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    metrics: Option<(TcpListener, SocketAddr)>,
    keeper: Option<Keeper>,
    reload: Arc<Notify>,
    turn: Option<TurnServer>,
    state: Arc<State>,
}

impl Server {
    /// Listens where the configuration says.
    ///
    /// # Errors
    /// [`StartError`], which names what stands in the way.
    pub async fn bind(config: Config) -> Result<Self, StartError> {
        let address = config.listen;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| StartError::Listen { address, source })?;
        Self::new(listener, config)
    }

    /// Takes over a listening socket.
    ///
    /// # Errors
    /// [`StartError`], which names what stands in the way.
    pub fn new(listener: TcpListener, config: Config) -> Result<Self, StartError> {
        let address = listener.local_addr().map_err(StartError::Socket)?;
        let metrics = config.metrics.listen.map(listen_for_metrics).transpose()?;
        let folder = config.state_dir.as_deref();
        let (identity, keeper) = Identity::new(&config.tls, folder, SystemTime::now())?.unzip();
        let acceptor = identity.as_ref().map(acceptor_for).transpose()?;
        let config_turn = config.turn.clone();
        // Browsers believe no certificate of our own making here, whatever their user said.
        let believed = !matches!(config.tls, Tls::Off | Tls::SelfSigned);
        let mut state = State::new(config)?;
        state.identity = identity;
        let relay = |relay| relay_for(&mut state, relay, address.ip(), believed);
        let turn = config_turn.map(relay).transpose()?;
        let reload = Arc::default();
        let state = Arc::new(state);
        Ok(Self { listener, address, acceptor, metrics, keeper, reload, turn, state })
    }

    /// Where it really listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address for a browser on this computer.
    #[must_use]
    pub fn url(&self) -> String {
        let own = self.address.ip();
        self.url_at(if own.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { own })
    }

    /// The address for other devices in this computer's network, if they can reach it and their
    /// browsers would give a page from there a camera.
    #[must_use]
    pub fn url_for_others(&self) -> Option<String> {
        let own = self.address.ip();
        if self.state.identity.is_none() || own.is_loopback() {
            return None;
        }
        let reachable = if own.is_unspecified() {
            lan::addresses().into_iter().find(|address| address.is_ipv4() || own.is_ipv6())?
        } else {
            own
        };
        Some(self.url_at(reachable))
    }

    /// Where the built-in STUN and TURN server listens, for UDP, TCP and, where the web does so,
    /// TLS.
    #[must_use]
    pub fn turn_address(&self) -> Option<SocketAddr> {
        self.turn.as_ref().map(TurnServer::address)
    }

    /// The SHA-256 of the certificate it shows.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.state.identity.as_ref()?.fingerprint()
    }

    /// Where the counters are, if they have a listener of their own.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        Some(self.metrics.as_ref()?.1)
    }

    /// Notified, it makes the server look for a new certificate at once.
    #[must_use]
    pub fn reload(&self) -> Arc<Notify> {
        self.reload.clone()
    }

    /// Serves until `shutdown` comes; ends within five seconds after that. Dropping the future
    /// asks all connections to end, too, but does not wait for them.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let _stop_when_dropped = self.state.tasks.stopping.clone().drop_guard();
        self.spawn_helpers();
        let relay = self.state.relay.clone().run(self.state.tasks.stopping.clone());
        self.state.tasks.spawn(relay);
        let others = self.state.join_others();
        let router = router(self.state.clone());
        let accepting = listen::accept(self.listener, self.acceptor, router, self.state.clone());
        tracing::info!("the server accepts connections");
        tokio::select! {
            () = accepting => {}
            () = shutdown => {}
        }
        tracing::info!("the server stops");
        let ends = Instant::now() + SHUTDOWN;
        // The listener is closed by now. If all came back at once, the next server would suffer.
        let open = u32::try_from(self.state.metrics.door.open.get()).unwrap_or(0);
        let over = (FAREWELL_EACH * open).min(FAREWELLS);
        self.state.relay.close_all(Closing::RESTART, over).await;
        if let Err(cut_off) =
            self.state.tasks.end(ends.saturating_duration_since(Instant::now())).await
        {
            tracing::warn!("{cut_off}");
        }
        others.leave(FAREWELL).await;
    }

    /// What runs beside the connections, and ends when the server stops.
    fn spawn_helpers(&mut self) {
        let state = self.state.clone();
        state.spawn_until_stop(door::memory::watch(state.door.clone()));
        if let Some((listener, _)) = self.metrics.take() {
            state.spawn_until_stop(listen::metrics(listener, state.clone()));
        }
        if let Some(turn) = self.turn.take() {
            state.spawn_until_stop(turn.run());
        }
        if let (Some(keeper), Some(identity)) = (self.keeper.take(), state.identity.clone()) {
            let (reload, metrics) = (self.reload.clone(), state.metrics.clone());
            state.spawn_until_stop(async move {
                keeper.run(&identity, &reload, &metrics.door).await;
            });
        }
    }

    fn url_at(&self, address: IpAddr) -> String {
        let scheme = if self.state.identity.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", SocketAddr::new(address, self.address.port()))
    }
}

/// Serves on `listener` until `shutdown` comes; ends within five seconds after that. WebSockets
/// are closed with code 1012, spread over a while.
///
/// # Errors
/// [`StartError`] when the configuration can't be served.
pub async fn run(
    listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), StartError> {
    Server::new(listener, config)?.run(shutdown).await;
    Ok(())
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

/// The built-in relay, which clients are told of from now on.
fn relay_for(
    state: &mut State,
    config: TurnConfig,
    ip: IpAddr,
    believed: bool,
) -> Result<TurnServer, StartError> {
    // Nothing but STUN is spoken behind this handshake: no protocol is agreed on.
    let tls = state.identity.as_ref().map(|identity| identity.config(&[])).transpose()?;
    let tls = tls.map(TlsAcceptor::from);
    let credentials = state.ice.credentials().clone();
    let turn = TurnServer::bind(config, ip, credentials, tls, state.metrics.clone())?;
    state.ice.announce(turn.built_in(believed));
    Ok(turn)
}

fn acceptor_for(identity: &Identity) -> Result<TlsAcceptor, TlsError> {
    let all: [&[u8]; 2] = [b"http/1.1", tls::ACME_PROTOCOL];
    let protocols = if identity.is_acme() { &all[..] } else { &all[..1] };
    Ok(TlsAcceptor::from(identity.config(protocols)?))
}

/// A port that is taken should stop the start, not surprise somebody later.
fn listen_for_metrics(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let listen = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((TcpListener::from_std(listener)?, address))
    };
    listen().map_err(|source| StartError::Listen { address, source })
}
