//! What a server must know before it starts.

pub mod duration;
pub mod environment;
pub mod network;
pub mod setting;

mod cluster_table;
mod table;
mod turn_table;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use directories::ProjectDirs;
use wire::ClientConfig;

use crate::auth::Secret;
use crate::backplane::ClusterConfig;
use crate::ice::IceConfig;
use crate::origin::Origin;
use crate::turn::TurnConfig;

pub use network::Network;

/// A server's configuration. The default is what a single computer needs: all interfaces, a
/// certificate made for this run, a secret made for this run, the web client from the binary.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where [`crate::Server::bind`] listens; port 0 takes any free one.
    pub listen: SocketAddr,
    /// How connections are protected.
    pub tls: Tls,
    /// Where the self-made certificate and the token secret stay between runs, so that invite
    /// links with a fingerprint and sessions survive. `None` makes both anew each time.
    pub state_dir: Option<PathBuf>,
    /// How clients sign in.
    pub sign_in: SignIn,
    /// Which pages of other origins may talk to this server.
    pub origins: Origins,
    /// Reverse proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    pub trusted_proxies: Vec<Network>,
    /// Whether requests are counted for each address. Behind a proxy that counts already, or for
    /// measurements, it may be off.
    pub http_rate_limit: bool,
    /// How many may come.
    pub doors: Doors,
    /// How many locks the rooms are spread over.
    pub room_shards: usize,
    /// What clients are told about STUN and TURN servers.
    pub ice: IceConfig,
    /// The built-in STUN and TURN server; `None` for none.
    pub turn: Option<TurnConfig>,
    /// What `GET /client-config` answers.
    pub client: ClientConfig,
    /// Where the web client comes from.
    pub web: Web,
    /// Who may read the counters.
    pub metrics: MetricsAccess,
    /// The other servers that this one works with as one; `None` for a server alone.
    pub cluster: Option<ClusterConfig>,
    /// What the program logs; the library leaves that to whoever uses it.
    pub log: Log,
}

impl Config {
    /// The port when nobody says otherwise.
    pub const PORT: u16 = 3000;
    /// Enough that two rooms rarely wait for one another.
    pub const ROOM_SHARDS: usize = 16;
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, Self::PORT)),
            tls: Tls::SelfSigned,
            state_dir: None,
            sign_in: SignIn::default(),
            origins: Origins::default(),
            trusted_proxies: Vec::new(),
            http_rate_limit: true,
            doors: Doors::default(),
            room_shards: Self::ROOM_SHARDS,
            ice: IceConfig::default(),
            turn: Some(TurnConfig::default()),
            client: ClientConfig::default(),
            web: Web::Embedded,
            metrics: MetricsAccess::default(),
            cluster: None,
            log: Log::default(),
        }
    }
}

/// How connections are protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// Plain HTTP: for loopback, or behind a proxy.
    Off,
    /// A certificate of our own making; clients know it by its fingerprint.
    SelfSigned,
    /// From files in PEM form.
    Files {
        /// The chain, the server's own certificate first.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// From an authority that speaks ACME (RFC 8555), proven by tls-alpn-01 (RFC 8737).
    Acme(Acme),
}

/// Where certificates come from by ACME.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// Host names in the certificate.
    pub domains: Vec<String>,
    /// URLs like `mailto:admin@meet.example`.
    pub contacts: Vec<String>,
    /// The authority's directory.
    pub directory: String,
    /// A root certificate, PEM, that vouches for the directory in place of the public ones.
    pub root: Option<PathBuf>,
}

impl Default for Acme {
    fn default() -> Self {
        Self {
            domains: Vec::new(),
            contacts: Vec::new(),
            directory: "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
            root: None,
        }
    }
}

/// How many may come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doors {
    /// Connections at once; 0 means as many as the system gives files for.
    pub connections: usize,
    /// Connections at once from one address (IPv6: one /64); 0 means any number.
    pub per_address: usize,
    /// Memory of the process, in bytes, above which newcomers are turned away. `None` leaves
    /// that to what the system allows.
    pub memory_bytes: Option<u64>,
}

impl Doors {
    /// A large office behind one address has room; one attacker does not fill the server.
    pub const PER_ADDRESS: usize = 512;
}

impl Default for Doors {
    fn default() -> Self {
        Self { connections: 0, per_address: Self::PER_ADDRESS, memory_bytes: None }
    }
}

/// Who may read the counters.
#[derive(Debug, Clone, Default)]
pub struct MetricsAccess {
    /// A listener of their own, plain HTTP, for a private network.
    pub listen: Option<SocketAddr>,
    /// The bearer token that opens `/metrics` on the main listener.
    pub token: Option<Secret>,
}

/// What the program logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// A filter in the form of `RUST_LOG`.
    pub filter: Option<String>,
    /// JSON lines in place of lines for people.
    pub json: bool,
}

/// How clients sign in.
#[derive(Debug, Clone)]
pub struct SignIn {
    /// The issuer named in every token.
    pub app_name: String,
    /// What signs tokens; `None` makes a random one, kept in the state folder if there is one.
    pub secret: Option<Secret>,
    /// The secret before that: its tokens are still good, and it signs no new ones.
    pub previous_secret: Option<Secret>,
    /// How long a token is good for.
    pub token_lifetime: Duration,
    /// How long the body of a sign-in may take to arrive.
    pub request_timeout: Duration,
}

impl SignIn {
    /// The lifetime when nobody says otherwise.
    pub const TOKEN_LIFETIME: Duration = Duration::from_secs(12 * 3_600);
    /// The time-out when nobody says otherwise.
    pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
}

impl Default for SignIn {
    fn default() -> Self {
        Self {
            app_name: "private-meet".to_owned(),
            secret: None,
            previous_secret: None,
            token_lifetime: Self::TOKEN_LIFETIME,
            request_timeout: Self::REQUEST_TIMEOUT,
        }
    }
}

/// Which pages may talk to the server, besides its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Any page and any program: for development, or because the operator says so.
    Any,
    /// The server's own pages and these.
    Listed(Vec<Origin>),
}

impl Default for Origins {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

/// Where the web client comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Web {
    /// From inside the binary.
    Embedded,
    /// From a folder.
    Folder {
        /// The folder.
        root: PathBuf,
        /// A `Content-Security-Policy` in place of ours.
        csp: Option<String>,
    },
}

/// Where a server of this user keeps what must survive: `STATE_DIRECTORY` where a service manager
/// set it, otherwise the system's place for such things. `None` for a user without a home.
#[must_use]
pub fn default_state_dir() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("STATE_DIRECTORY").filter(|folder| !folder.is_empty()) {
        return Some(PathBuf::from(folder));
    }
    let folders = ProjectDirs::from("", "", "private-meet")?;
    Some(folders.state_dir().unwrap_or_else(|| folders.data_local_dir()).join("server"))
}
