//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Parser, ValueEnum};
use server::config::environment::Environment;
use server::{Config, Tls, Web, default_state_dir};

/// The meeting server: rooms, relay and the web client in one program.
///
/// Everything has a default. Settings also come from the environment and from a file `.env` in
/// the current folder; flags win over the environment, and the environment over the file.
#[derive(Debug, Parser)]
#[command(name = "private-meet-server", version, after_help = ENVIRONMENT)]
pub struct Args {
    /// Where to listen; port 0 takes any free one [default: 0.0.0.0:3000]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// How connections are protected [default: self]
    #[arg(long, value_enum)]
    tls: Option<TlsMode>,
    /// The certificate chain for `--tls files`, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The private key for `--tls files`, PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Where the self-made certificate and the token secret stay between runs
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Serves this folder in place of the built-in web client
    #[arg(long, value_name = "DIR")]
    web_root: Option<PathBuf>,
    /// The Content-Security-Policy of the pages in --web-root
    #[arg(long, value_name = "POLICY", requires = "web_root")]
    web_csp: Option<String>,
    /// A reverse proxy whose X-Forwarded-For and X-Forwarded-Proto are believed; may be repeated
    #[arg(long, value_name = "ADDR")]
    trusted_proxy: Vec<IpAddr>,
}

const ENVIRONMENT: &str = "\
Environment (all optional; an empty value counts as none):
  SERVER_PORT                 port [3000]
  USE_LOCAL_TLS               true: a self-made certificate; false: plain HTTP [true]
  STATE_DIR                   like --state-dir
  APP_NAME                    issuer of tokens [private-meet]
  JWT_SECRET                  secret of tokens [random, kept in the state folder]
  JWT_EXPIRATION              lifetime of tokens, like 12h or 30m [12h]
  CONTEXT_TIMEOUT             how long a sign-in may take, like 15s [15s]
  GO_ENV                      development: any origin may connect [production]
  ALLOWED_ORIGINS             origins besides the server's own, with commas; * for any
  TRUSTED_PROXIES             like --trusted-proxy, with commas
  HTTP_RATE_LIMIT             false: no limit on requests [true]
  HUB_SHARDS_QUANTITY         locks that rooms are spread over [16]
  ROOM_ID_PREFIX              in front of rooms on the wire [pm_room]
  E2EE_WIRE_PREFIX            in front of encrypted messages [pm_e2ee]
  WEBRTC_FILE_CHANNEL_LABEL   label of the data channel [pm_file]
  RUST_LOG                    what is logged, like debug [info]";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TlsMode {
    /// Plain HTTP, for loopback or behind a proxy
    Off,
    /// A certificate of the server's own making
    #[value(name = "self")]
    SelfSigned,
    /// From --tls-certificate and --tls-key
    Files,
}

impl Args {
    /// The configuration that flags and environment make together.
    ///
    /// # Errors
    /// A sentence that names the setting, its value and what would be right.
    pub fn config(self, environment: &Environment) -> anyhow::Result<Config> {
        let mut config = Config { state_dir: default_state_dir(), ..Config::default() };
        environment.apply(&mut config)?;
        if let Some(listen) = self.listen {
            config.listen = listen;
        }
        if self.state_dir.is_some() {
            config.state_dir = self.state_dir;
        }
        match (self.tls, self.tls_certificate.zip(self.tls_key)) {
            (None | Some(TlsMode::Files), Some((certificate, key))) => {
                config.tls = Tls::Files { certificate, key };
            }
            (Some(TlsMode::Files), None) => {
                bail!("--tls files needs --tls-certificate and --tls-key");
            }
            (Some(_), Some(_)) => bail!("--tls-certificate goes with --tls files only"),
            (Some(TlsMode::Off), None) => config.tls = Tls::Off,
            (Some(TlsMode::SelfSigned), None) => config.tls = Tls::SelfSigned,
            (None, None) => {}
        }
        if let Some(root) = self.web_root {
            config.web = Web::Folder { root, csp: self.web_csp };
        }
        config.trusted_proxies.extend(self.trusted_proxy);
        if config.tls == Tls::SelfSigned {
            config.state_dir.as_ref().context(
                "there is no folder to keep the self-made certificate in: set --state-dir",
            )?;
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(flags: &[&str], settings: &[(&str, &str)]) -> anyhow::Result<Config> {
        let flags = ["private-meet-server", "--state-dir", "/tmp/s"].iter().chain(flags);
        Args::try_parse_from(flags)?.config(&Environment::of(settings))
    }

    #[test]
    fn flags_win_over_the_environment() {
        let environment = [("SERVER_PORT", "8080"), ("USE_LOCAL_TLS", "false")];
        let from_environment = config(&[], &environment).unwrap();
        assert_eq!((from_environment.listen.port(), from_environment.tls), (8080, Tls::Off));
        let flags = ["--listen", "127.0.0.1:0", "--tls", "self"];
        let from_flags = config(&flags, &environment).unwrap();
        assert_eq!(from_flags.listen, "127.0.0.1:0".parse().unwrap());
        assert_eq!(from_flags.tls, Tls::SelfSigned);
    }

    #[test]
    fn flags_that_contradict_each_other_are_refused() {
        for flags in [
            &["--tls", "files"][..],
            &["--tls", "files", "--tls-key", "k"],
            &["--tls", "off", "--tls-key", "k", "--tls-certificate", "c"],
            &["--web-csp", "default-src *"],
            &["--listen", "3000"],
            &["--tls", "maybe"],
        ] {
            assert!(config(flags, &[]).is_err(), "{flags:?}");
        }
        let files = config(&["--tls-key", "k", "--tls-certificate", "c"], &[]).unwrap();
        assert!(matches!(files.tls, Tls::Files { .. }));
    }

    #[test]
    fn a_wrong_setting_is_named() {
        let error = config(&[], &[("SERVER_PORT", "many")]).unwrap_err().to_string();
        assert_eq!(error, r#"SERVER_PORT is "many", but it must be a port, 0 to 65535"#);
    }
}
