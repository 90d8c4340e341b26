//! What a server must know to be one of several.

use std::fmt;
use std::path::PathBuf;

use async_nats::ServerAddr;

use crate::auth::Secret;

/// Where the other servers are to be met, and how they know one another.
#[derive(Clone)]
pub struct ClusterConfig {
    /// The brokers: `nats://` or `tls://`, with a user and a password, or a token, where needed.
    pub servers: Vec<ServerAddr>,
    /// The same on all servers; at least [`Secret::MIN_BYTES`] long.
    pub secret: Secret,
    /// Roots in PEM form that vouch for the broker's certificate, besides the system's.
    pub ca: Option<PathBuf>,
}

impl ClusterConfig {
    /// Reads the addresses of brokers, with commas between them.
    #[must_use]
    pub fn servers(text: &str) -> Option<Vec<ServerAddr>> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let servers: Option<Vec<ServerAddr>> = entries
            .map(|entry| {
                let known = ["nats://", "tls://"].iter().any(|scheme| entry.starts_with(scheme));
                let server: ServerAddr = known.then(|| entry.parse().ok()).flatten()?;
                (!server.host().is_empty()).then_some(server)
            })
            .collect();
        servers.filter(|servers| !servers.is_empty())
    }
}

impl fmt::Debug for ClusterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterConfig(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_have_a_scheme_and_commas_between_them() {
        let count = |text: &str| ClusterConfig::servers(text).map(|servers| servers.len());
        assert_eq!(count("nats://a, tls://user:pass@b:4222,"), Some(2));
        for wrong in ["", ",", "a:4222", "http://a", "nats://a,b", "nats://"] {
            assert_eq!(count(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn nobody_reads_a_password_in_a_log() {
        let servers = ClusterConfig::servers("nats://user:pass@b").unwrap();
        let config = ClusterConfig { servers, secret: Secret::random(), ca: None };
        assert!(!format!("{config:?}").contains("pass"));
    }
}
