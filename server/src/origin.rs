//! Origins (RFC 6454): which page opened a connection.

use std::fmt;
use std::str::FromStr;

use axum::http::HeaderMap;
use axum::http::header::{HOST, ORIGIN};
use thiserror::Error;

use crate::config::Origins;

/// A scheme, a host and a port, in lower case and without the scheme's own port.
#[derive(Clone, PartialEq, Eq)]
pub struct Origin(String);

/// A text that is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not an origin like https://meet.example or http://localhost:3000")]
pub struct InvalidOrigin;

impl Origin {
    fn of(scheme: &str, authority: &str) -> Option<Self> {
        let scheme = scheme.to_ascii_lowercase();
        let mut authority = authority.to_ascii_lowercase();
        let own_port = match scheme.as_str() {
            "http" => ":80",
            "https" => ":443",
            _ => return None,
        };
        if let Some(host) = authority.strip_suffix(own_port) {
            authority.truncate(host.len());
        }
        let is_odd = |c: char| !c.is_ascii_graphic() || "/?#@\\".contains(c);
        if authority.is_empty() || authority.starts_with(':') || authority.contains(is_odd) {
            return None;
        }
        Some(Self(format!("{scheme}://{authority}")))
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let (scheme, authority) = text.split_once("://").ok_or(InvalidOrigin)?;
        Self::of(scheme, authority).ok_or(InvalidOrigin)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Origins {
    /// Whether a page of another origin may call us.
    #[must_use]
    pub fn lists(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(listed) => {
                origin.parse::<Origin>().is_ok_and(|origin| listed.contains(&origin))
            }
        }
    }

    /// Whether a request to us, which came by `scheme`, may open a WebSocket.
    #[must_use]
    pub fn allow(&self, headers: &HeaderMap, scheme: &str) -> bool {
        if *self == Self::Any {
            return true;
        }
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let Some(origin) = text(ORIGIN) else { return false };
        let own = text(HOST).and_then(|host| Origin::of(scheme, host));
        (own.is_some() && origin.parse().ok() == own) || self.lists(origin)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn allowed(origins: &Origins, scheme: &str, host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(host).unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        origins.allow(&headers, scheme)
    }

    #[test]
    fn a_servers_own_page_is_known_by_scheme_host_and_port() {
        let own = Origins::default();
        let check = |scheme: &str, host: &str, origin: &str, expected: bool| {
            let got = allowed(&own, scheme, host, Some(origin));
            assert_eq!(got, expected, "{scheme} {host} {origin}");
        };
        check("https", "meet.example", "https://meet.example", true);
        check("https", "Meet.Example:443", "https://meet.example", true);
        check("http", "[::1]:3000", "http://[::1]:3000", true);
        check("http", "meet.example", "https://meet.example", false);
        check("https", "meet.example", "https://meet.example:444", false);
        check("https", "meet.example", "https://meet.example.evil.example", false);
        check("https", "meet.example", "https://evil.example", false);
        check("https", "meet.example", "null", false);
        check("https", "", "https://", false);
    }

    #[test]
    fn an_origin_is_required_unless_any_will_do() {
        assert!(!allowed(&Origins::default(), "https", "meet.example", None));
        assert!(allowed(&Origins::Any, "https", "meet.example", None));
        assert!(allowed(&Origins::Any, "https", "meet.example", Some("https://evil.example")));
    }

    #[test]
    fn listed_origins_are_compared_exactly() {
        let listed = Origins::Listed(vec!["https://A.example".parse().unwrap()]);
        assert!(allowed(&listed, "http", "localhost:3000", Some("https://a.example")));
        assert!(allowed(&listed, "http", "localhost:3000", Some("http://localhost:3000")));
        assert!(!allowed(&listed, "http", "localhost:3000", Some("http://a.example")));
        assert!(!allowed(&listed, "http", "localhost:3000", Some("https://b.a.example")));
    }

    #[test]
    fn rubbish_is_no_origin() {
        for text in [
            "",
            "*",
            "a.example",
            "ftp://a",
            "https://",
            "https://a/b",
            "https://u@a",
            "https://a b",
            "https://:80",
        ] {
            assert_eq!(text.parse::<Origin>(), Err(InvalidOrigin), "{text}");
        }
    }
}
