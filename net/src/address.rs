//! Where a server is, and how its certificate is recognised.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use url::{Host, Url};

/// A server's base address: scheme, host and port; nothing else.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ServerUrl(Url);

/// Why a text is not a server's address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidAddress {
    /// Nothing was typed.
    #[error("the server's address is empty")]
    Empty,
    /// No host, or not one.
    #[error("“{0}” is not a server's address; write it like meet.example.org or 192.168.1.5:8443")]
    Malformed(String),
    /// Another scheme than `https` or `http`.
    #[error("a server's address begins with https:// (or http://), not with {0}://")]
    Scheme(String),
    /// Name or password in front of the host.
    #[error("a server's address has no user name or password")]
    Credentials,
}

impl ServerUrl {
    /// `https://host[:port]` without a slash at the end; the web origin, too.
    #[must_use]
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// Host and, unless it is the scheme's own, port.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        self.0.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Host without port; IPv6 without brackets.
    #[must_use]
    pub fn host(&self) -> String {
        match self.0.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) => host.to_string(),
            None => String::new(),
        }
    }

    /// The port, the scheme's own where none is written.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or(443)
    }

    /// Whether the connection is encrypted (`https`).
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Whether the host is this computer, judged by its name or number alone.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self.0.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            None => false,
        }
    }

    /// The address of a route of this server, such as `auth/sign-in`.
    pub(crate) fn route(&self, path: &str) -> String {
        format!("{}/{path}", self.origin())
    }

    /// The address of the WebSocket; the token may stand in it, so it is never logged.
    pub(crate) fn socket(&self, token: Option<&str>) -> String {
        let scheme = if self.is_secure() { "wss" } else { "ws" };
        let Some(token) = token else { return format!("{scheme}://{}/ws", self.authority()) };
        let token =
            percent_encoding::utf8_percent_encode(token, percent_encoding::NON_ALPHANUMERIC);
        format!("{scheme}://{}/ws?token={token}", self.authority())
    }
}

impl FromStr for ServerUrl {
    type Err = InvalidAddress;

    /// Reads `https://host:port`, `http://host:port`, `host:port` or `host`; without a scheme it
    /// is `https`. Whatever follows the port is ignored.
    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let text = text.trim();
        if text.is_empty() {
            return Err(InvalidAddress::Empty);
        }
        let malformed = || InvalidAddress::Malformed(shorten(text));
        let with_scheme =
            if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let mut url = Url::parse(&with_scheme).map_err(|_| malformed())?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(InvalidAddress::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidAddress::Credentials);
        }
        if url.host_str().is_none_or(str::is_empty) || url.port() == Some(0) {
            return Err(malformed());
        }
        url.set_path("");
        url.set_query(None);
        url.set_fragment(None);
        Ok(Self(url))
    }
}

/// What people typed, cut for an error message.
fn shorten(text: &str) -> String {
    const SHOWN_CHARS: usize = 60;
    let mut shown: String = text.chars().take(SHOWN_CHARS).collect();
    if text.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin())
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerUrl({})", self.origin())
    }
}

/// SHA-256 of a server certificate's DER bytes. Shown and read as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// A text that is not a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a certificate's fingerprint has 64 hexadecimal digits")]
pub struct InvalidFingerprint;

impl Fingerprint {
    /// The fingerprint with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    /// Reads upper or lower case, with or without colons and spaces between the bytes.
    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        let mut bytes = [0; 32];
        let mut count = 0;
        for digit in text.chars().filter(|c| !matches!(c, ':' | ' ')) {
            let value = digit.to_digit(16).ok_or(InvalidFingerprint)?;
            let place: &mut u8 = bytes.get_mut(count / 2).ok_or(InvalidFingerprint)?;
            // Below 16, so it fits.
            *place = (*place << 4) | value as u8;
            count += 1;
        }
        if count == 64 { Ok(Self(bytes)) } else { Err(InvalidFingerprint) }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_written_in_several_ways() {
        for (typed, origin) in [
            ("https://meet.example.org", "https://meet.example.org"),
            ("  meet.example.org ", "https://meet.example.org"),
            ("localhost:8443", "https://localhost:8443"),
            ("192.168.1.5:8443", "https://192.168.1.5:8443"),
            ("[::1]:8443", "https://[::1]:8443"),
            ("http://127.0.0.1:3000/", "http://127.0.0.1:3000"),
            ("https://Meet.Example.org:443/#/room/x", "https://meet.example.org"),
        ] {
            let address: ServerUrl = typed.parse().unwrap_or_else(|e| panic!("{typed}: {e}"));
            assert_eq!(address.origin(), origin);
        }
    }

    #[test]
    fn what_is_no_address_says_why() {
        for typed in
            ["", "  ", "https://", "ht tp://x", "ftp://x", "https://a:b@x", "x:99999", "x:0"]
        {
            let error = typed.parse::<ServerUrl>().expect_err(typed);
            assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn the_socket_address_follows_the_scheme() {
        let address: ServerUrl = "http://[::1]:80".parse().unwrap();
        assert_eq!(address.socket(Some("a.b")), "ws://[::1]/ws?token=a%2Eb");
        assert_eq!(address.host(), "::1");
        let address: ServerUrl = "x:8443".parse().unwrap();
        assert_eq!(address.socket(Some("t")), "wss://x:8443/ws?token=t");
        assert_eq!(address.socket(None), "wss://x:8443/ws");
        assert_eq!((address.host(), address.port()), ("x".to_owned(), 8443));
    }

    #[test]
    fn a_fingerprint_is_read_with_and_without_colons() {
        let plain = "0123456789abcdef".repeat(4);
        let fingerprint: Fingerprint = plain.parse().unwrap();
        assert_eq!(fingerprint.to_string(), plain);
        let colons: Vec<String> =
            fingerprint.as_bytes().iter().map(|b| format!("{b:02X}")).collect();
        assert_eq!(colons.join(":").parse(), Ok(fingerprint));
        for bad in ["", "00", &plain[1..], &format!("{plain}0"), &plain.replace('0', "g")] {
            assert_eq!(bad.parse::<Fingerprint>(), Err(InvalidFingerprint));
        }
    }
}
