//! What clients are told about STUN and TURN servers, and the time-limited credentials that open
//! them (draft-uberti-behave-turn-rest-00): the built-in relay's and those of other servers that
//! know the same secret, such as coturn.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::Sha256;
use wire::{IceServer, IceServers, UserId};
use zeroize::Zeroizing;

use crate::auth::Secret;

/// What separates the token secret from the relay's, where that is derived.
const DERIVATION: &[u8] = b"private-meet turn credentials v1";

/// How clients get to STUN and TURN.
#[derive(Debug, Clone)]
pub struct IceConfig {
    /// How long a credential opens a relay. Allocations that exist go on: see
    /// [`crate::turn::TurnConfig::age`].
    pub credential_lifetime: Duration,
    /// What credentials are made with; `None` derives it from the token secret, so that all
    /// servers with that secret take each other's credentials.
    pub secret: Option<Secret>,
    /// Other STUN and TURN servers, named after the built-in one.
    pub external: Vec<External>,
}

impl IceConfig {
    /// The lifetime of a credential when nobody says otherwise.
    pub const CREDENTIAL_LIFETIME: Duration = Duration::from_secs(6 * 3_600);
}

impl Default for IceConfig {
    fn default() -> Self {
        Self { credential_lifetime: Self::CREDENTIAL_LIFETIME, secret: None, external: Vec::new() }
    }
}

/// STUN or TURN servers that are not ours.
#[derive(Clone, PartialEq, Eq)]
pub struct External {
    /// `stun:`, `turn:` and `turns:` URLs (RFC 7064, 7065), as clients get them.
    pub urls: Vec<String>,
    /// How clients get in.
    pub access: Access,
}

/// How clients get into a server that is not ours.
#[derive(Clone, PartialEq, Eq)]
pub enum Access {
    /// By time-limited credentials, made with the same secret as the built-in relay's.
    Shared,
    /// By one name and password for everybody, or without any (STUN).
    Fixed(Option<(String, String)>),
}

impl fmt::Debug for External {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "External({} URLs)", self.urls.len())
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Shared { "Shared" } else { "Fixed(***)" })
    }
}

/// Whether this is the URL of a STUN or TURN server.
#[must_use]
pub fn is_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let transports: &[&str] = match scheme {
        "stun" | "stuns" => &[""],
        "turn" | "turns" => &["", "transport=udp", "transport=tcp"],
        _ => return false,
    };
    let odd = |c: char| !c.is_ascii_alphanumeric() && !"-._:[]".contains(c);
    !place.is_empty() && !place.contains(odd) && transports.contains(&query)
}

/// Makes and checks time-limited credentials.
#[derive(Debug, Clone)]
pub struct Credentials {
    secret: Secret,
}

/// Whom a credential was made for, and its password.
#[derive(Debug)]
pub struct Claim<'a> {
    /// What stands behind the time in the name.
    pub user: &'a str,
    /// What the client must know.
    pub password: Zeroizing<String>,
}

impl Credentials {
    /// With a secret that other relays may know, too.
    #[must_use]
    pub fn new(secret: Secret) -> Self {
        Self { secret }
    }

    /// With a secret that follows from the token secret.
    #[must_use]
    pub fn derived(token_secret: &Secret) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(token_secret.bytes())
            .expect("HMAC takes keys of any length");
        mac.update(DERIVATION);
        Self { secret: Secret::new(mac.finalize().into_bytes().to_vec()) }
    }

    /// The name and password that let `user` in until `end`.
    #[must_use]
    pub fn issue(&self, user: &str, end: SystemTime) -> (String, String) {
        let username = format!("{}:{user}", unix_seconds(end));
        let password = self.password(&username).to_string();
        (username, password)
    }

    /// Whose this name is, and what the password must be; `None` when its time is over or it is
    /// not of the right form. Whether the client knows the password is still to be seen.
    #[must_use]
    pub fn claim<'a>(&self, username: &'a str, now: SystemTime) -> Option<Claim<'a>> {
        let (end, user) = username.split_once(':')?;
        let end: u64 = end.parse().ok()?;
        (end > unix_seconds(now) && !user.is_empty())
            .then(|| Claim { user, password: self.password(username) })
    }

    fn password(&self, username: &str) -> Zeroizing<String> {
        let mut mac = Hmac::<Sha1>::new_from_slice(self.secret.bytes())
            .expect("HMAC takes keys of any length");
        mac.update(username.as_bytes());
        Zeroizing::new(STANDARD.encode(mac.finalize().into_bytes()))
    }
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// How clients reach the built-in relay.
#[derive(Debug, Clone)]
pub struct BuiltIn {
    /// The name to announce; `None` announces the one under which the client reached the server.
    pub host: Option<String>,
    /// Announced where there is no name.
    pub address: IpAddr,
    /// For UDP, TCP and TLS alike.
    pub port: u16,
    /// Whether clients will believe the certificate that it shows.
    pub tls: bool,
}

/// Answers clients who want to know their STUN and TURN servers.
#[derive(Debug)]
pub struct Ice {
    credentials: Credentials,
    lifetime: Duration,
    external: Vec<External>,
    built_in: Option<BuiltIn>,
}

impl Ice {
    /// Of a server with this token secret, and without a relay of its own.
    #[must_use]
    pub fn new(config: IceConfig, token_secret: &Secret) -> Self {
        let credentials = match config.secret {
            Some(secret) => Credentials::new(secret),
            None => Credentials::derived(token_secret),
        };
        Self {
            credentials,
            lifetime: config.credential_lifetime,
            external: config.external,
            built_in: None,
        }
    }

    /// Tells clients of the built-in relay from now on.
    pub fn announce(&mut self, built_in: BuiltIn) {
        self.built_in = Some(built_in);
    }

    /// What opens the relays.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Seconds for which the credentials are good; 0 where there are none that end.
    #[must_use]
    pub fn ttl(&self) -> u64 {
        let limited = self.built_in.is_some()
            || self.external.iter().any(|external| external.access == Access::Shared);
        if limited { self.lifetime.as_secs() } else { 0 }
    }

    /// The servers for `user`, who reached this server under the name `host` (the `Host` header,
    /// its port included or not), in the order in which they are to be tried.
    #[must_use]
    pub fn servers(&self, user: &UserId, host: Option<&str>, now: SystemTime) -> Vec<IceServer> {
        let (username, credential) = self.credentials.issue(user.as_str(), now + self.lifetime);
        let shared = |urls: Vec<String>| IceServer {
            urls,
            username: Some(username.clone()),
            credential: Some(credential.clone()),
        };
        let mut servers = Vec::new();
        if let Some(built_in) = &self.built_in {
            let place = built_in.place(host);
            servers.push(IceServer { urls: vec![format!("stun:{place}")], ..IceServer::default() });
            let mut urls =
                vec![format!("turn:{place}?transport=udp"), format!("turn:{place}?transport=tcp")];
            if built_in.tls {
                urls.push(format!("turns:{place}?transport=tcp"));
            }
            servers.push(shared(urls));
        }
        servers.extend(self.external.iter().map(|external| {
            let urls = external.urls.clone();
            match &external.access {
                Access::Shared => shared(urls),
                Access::Fixed(fixed) => {
                    let (username, credential) = fixed.clone().unzip();
                    IceServer { urls, username, credential }
                }
            }
        }));
        servers
    }

    /// The answer of `GET /ice-servers`.
    #[must_use]
    pub fn answer(&self, user: &UserId, host: Option<&str>, now: SystemTime) -> IceServers {
        IceServers { ice_servers: self.servers(user, host, now), ttl: self.ttl() }
    }
}

impl BuiltIn {
    /// Host and port as they stand in a URL.
    fn place(&self, host: Option<&str>) -> String {
        let named = self.host.as_deref().or_else(|| host.and_then(host_of));
        match named {
            Some(host) => format!("{host}:{}", self.port),
            None => SocketAddr::new(self.address, self.port).to_string(),
        }
    }
}

/// A `Host` header without its port, if it is one.
fn host_of(header: &str) -> Option<&str> {
    let host = match header.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|c| c.is_ascii_digit()) => host,
        _ => header,
    };
    let is_name = |host: &str| {
        !host.is_empty() && host.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._".contains(&c))
    };
    let is_v6 = |host: &str| {
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
    };
    (is_name(host) || is_v6(host)).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn ice(built_in: Option<BuiltIn>, external: Vec<External>) -> Ice {
        let config = IceConfig { external, ..IceConfig::default() };
        let mut ice = Ice::new(config, &Secret::new("token secret"));
        built_in.into_iter().for_each(|built_in| ice.announce(built_in));
        ice
    }

    fn user() -> UserId {
        UserId::new("f3c1").unwrap()
    }

    fn built_in(tls: bool) -> BuiltIn {
        BuiltIn { host: None, address: "203.0.113.1".parse().unwrap(), port: 3478, tls }
    }

    #[test]
    fn a_credential_is_made_as_others_make_it() {
        // printf %s '1800000000:f3c1' | openssl dgst -sha1 -hmac 'north' -binary | base64
        let credentials = Credentials::new(Secret::new("north"));
        let (username, password) = credentials.issue("f3c1", noon());
        assert_eq!(username, "1800000000:f3c1");
        assert_eq!(password, "4ni3OdNNDXqn5O6WEoN5pR6uTqs=");
    }

    #[test]
    fn a_credential_ends() {
        let credentials = Credentials::new(Secret::new("north"));
        let (username, password) = credentials.issue("a:b", noon());
        let claim = credentials.claim(&username, noon() - Duration::from_secs(1)).unwrap();
        assert_eq!((claim.user, claim.password.as_str()), ("a:b", password.as_str()));
        assert!(credentials.claim(&username, noon()).is_none());
        for odd in ["", ":", "1800000000", "1800000000:", "x:y", "-1:y", "1e99:y"] {
            assert!(credentials.claim(odd, UNIX_EPOCH).is_none(), "{odd}");
        }
    }

    #[test]
    fn servers_with_one_token_secret_take_each_others_credentials() {
        let one = Credentials::derived(&Secret::new("s"));
        let other = Credentials::derived(&Secret::new("s"));
        let (username, password) = one.issue("me", noon());
        assert_eq!(*other.claim(&username, UNIX_EPOCH).unwrap().password, password);
        let stranger = Credentials::derived(&Secret::new("t"));
        assert_ne!(*stranger.claim(&username, UNIX_EPOCH).unwrap().password, password);
    }

    #[test]
    fn the_relay_is_announced_under_the_name_the_client_knows() {
        let check = |host: Option<&str>, expected: &str| {
            let servers = ice(Some(built_in(false)), Vec::new()).servers(&user(), host, noon());
            assert_eq!(servers[0].urls, [format!("stun:{expected}")], "{host:?}");
            assert!(servers[0].credential.is_none());
            let [udp, tcp] = ["udp", "tcp"].map(|t| format!("turn:{expected}?transport={t}"));
            assert_eq!(servers[1].urls, [udp, tcp]);
            assert_eq!(servers[1].username.as_deref(), Some("1800021600:f3c1"));
        };
        check(Some("meet.example"), "meet.example:3478");
        check(Some("meet.example:443"), "meet.example:3478");
        check(Some("192.168.1.7:3000"), "192.168.1.7:3478");
        check(Some("[2001:db8::1]:3000"), "[2001:db8::1]:3478");
        check(Some("[2001:db8::1]"), "[2001:db8::1]:3478");
        for odd in [None, Some(""), Some("a b"), Some("x?transport=udp"), Some("[::g]")] {
            check(odd, "203.0.113.1:3478");
        }
        let named = BuiltIn { host: Some("turn.example".into()), ..built_in(true) };
        let servers = ice(Some(named), Vec::new()).servers(&user(), Some("meet.example"), noon());
        assert_eq!(servers[1].urls[2], "turns:turn.example:3478?transport=tcp");
    }

    #[test]
    fn other_relays_are_named_with_what_opens_them() {
        let external = |url: &str, access| External { urls: vec![url.into()], access };
        let fixed = Access::Fixed(Some(("u".into(), "p".into())));
        let ice = ice(
            None,
            vec![
                external("turn:a.example", Access::Shared),
                external("turns:b.example", fixed),
                external("stun:c.example", Access::Fixed(None)),
            ],
        );
        let answer = ice.answer(&user(), None, noon());
        assert_eq!(answer.ttl, 6 * 3_600);
        let [shared, fixed, open] = &answer.ice_servers[..] else { panic!("three servers") };
        assert!(shared.username.as_deref().unwrap().ends_with(":f3c1"));
        assert_eq!(fixed.credential.as_deref(), Some("p"));
        assert!(open.username.is_none() && open.credential.is_none());
    }

    #[test]
    fn nobody_is_sent_to_third_parties_unasked() {
        let answer = ice(None, Vec::new()).answer(&user(), Some("meet.example"), noon());
        assert_eq!((answer.ice_servers.len(), answer.ttl), (0, 0));
    }

    #[test]
    fn urls_of_other_relays_are_looked_at() {
        for good in [
            "stun:stun.example",
            "turn:a:3478",
            "turn:[::1]:3478?transport=tcp",
            "turns:a?transport=udp",
        ] {
            assert!(is_url(good), "{good}");
        }
        for bad in ["", "turn:", "http://a", "turn:a?transport=sctp", "turn:a b", "stun:a?x", "a"] {
            assert!(!is_url(bad), "{bad}");
        }
    }
}
