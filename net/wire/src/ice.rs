//! STUN and TURN servers as a client gets them, from `GET /ice-servers` and in `session.welcome`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One entry, in the shape of the browsers' `RTCIceServer`. Its `Debug` hides the credential.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServer {
    /// `stun:host:port`, `turn:host:port?transport=udp|tcp` or `turns:host:port` (RFC 7064, 7065).
    #[serde(deserialize_with = "one_or_many")]
    pub urls: Vec<String>,
    /// For `turn:` and `turns:`; `<unix time at which it ends>:<user id>` where it is time-limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// For `turn:` and `turns:`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServer").field("urls", &self.urls.len()).finish_non_exhaustive()
    }
}

/// The answer of `GET /ice-servers`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IceServers {
    /// In the order in which they are to be tried; may be empty.
    #[serde(default)]
    pub ice_servers: Vec<IceServer>,
    /// Seconds until the credentials end; 0 where they don't.
    #[serde(default)]
    pub ttl: u64,
}

/// `urls` may be a single text, as in browsers.
fn one_or_many<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Urls {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Urls::deserialize(from)? {
        Urls::One(url) => vec![url],
        Urls::Many(urls) => urls,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_may_stand_alone() {
        let one: IceServer = serde_json::from_str(r#"{"urls":"stun:h:1"}"#).unwrap();
        assert_eq!(one.urls, ["stun:h:1"]);
        assert_eq!(serde_json::to_string(&one).unwrap(), r#"{"urls":["stun:h:1"]}"#);
    }

    #[test]
    fn a_credential_is_not_printed() {
        let server = IceServer { credential: Some("geheim".into()), ..IceServer::default() };
        assert!(!format!("{server:?}").contains("geheim"));
    }
}
