//! `private-meet-server doctor`: looks for what would keep a server from working, and says in
//! words what is wrong and how to mend it.
//!
//! It only looks: nothing is written, no port is kept, nobody is contacted but the servers that
//! the settings name.

mod here;
mod relay;
mod servers;
mod there;
mod visit;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::SystemTime;

use axum::http::Uri;
use serde::Serialize;

use crate::config::{Config, Tls};
use visit::Visit;

/// How well something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing to do.
    Ok,
    /// It works, but perhaps not for everybody.
    Note,
    /// It does not work.
    Wrong,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, in a word or two.
    pub check: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, found: found.into(), mend: None }
    }

    fn note(check: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        let mend = Some(mend.into());
        Self { check, verdict: Verdict::Note, found: found.into(), mend }
    }

    fn wrong(check: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        let mend = Some(mend.into());
        Self { check, verdict: Verdict::Wrong, found: found.into(), mend }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.verdict {
            Verdict::Ok => "ok   ",
            Verdict::Note => "note ",
            Verdict::Wrong => "WRONG",
        };
        write!(f, "{word} {}: {}", self.check, self.found)?;
        match &self.mend {
            Some(mend) => write!(f, "\n      → {mend}"),
            None => Ok(()),
        }
    }
}

/// Looks at everything that these settings need, and at the server at `url` if one is given.
pub async fn examine(config: &Config, url: Option<&Uri>) -> Vec<Finding> {
    let now = SystemTime::now();
    let mut findings = vec![here::clock(now), here::files(), here::state_folder(config)];
    findings.extend(here::certificate(config, now).await);
    let (port, runs) = here::port(config).await;
    findings.push(port);
    findings.extend(relay::examine(config, runs).await);
    findings.extend(servers::examine(config).await);
    findings.extend(here::origins(config));
    if let Some(url) = url {
        findings.extend(there::examine(config, url, now).await);
    }
    findings
}

/// Asks the server of these settings, on this computer, whether it is well.
pub async fn health(config: &Config) -> Finding {
    const CHECK: &str = "health";
    let address = own_address(config);
    let (tls, name) = (config.tls != Tls::Off, name_of(config));
    match Visit::new(address, tls, &name).get("/health").await {
        Ok(answer) if answer.status == 200 => Finding::ok(CHECK, "the server is well"),
        Ok(answer) => {
            let mend = "look into its log; 503 means that files or memory run short";
            Finding::wrong(CHECK, format!("the server answers {}", answer.status), mend)
        }
        Err(error) => Finding::wrong(
            CHECK,
            format!("no answer from {address} ({error})"),
            "start the server, or look into its log if it should be running",
        ),
    }
}

/// Where the server of these settings is found on this computer.
fn own_address(config: &Config) -> SocketAddr {
    let ip = match config.listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, config.listen.port())
}

/// The name to ask for by TLS.
fn name_of(config: &Config) -> String {
    match &config.tls {
        Tls::Acme(acme) => acme.domains.first().cloned().unwrap_or_default(),
        _ => "localhost".to_owned(),
    }
}
