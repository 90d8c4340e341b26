//! The part of the table that is about STUN and TURN.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::Config;
use super::setting::{Draft, Group, Setting, WrongSetting};
use super::table::{boolean, entries, list, positive, put};
use crate::auth::Secret;
use crate::ice::{Access, External, is_url};
use crate::turn::{Reach, TurnConfig};

/// Bytes of a secret that other relays may know, too.
const SECRET: usize = 16;
const URLS: &str = "stun:, turn: or turns: URLs with commas between them";
const DURATION: &str = "a duration like 6h, 5m or 30s";

/// What settings say about relays that are not ours, until all of it is read.
#[derive(Debug, Default)]
pub struct Relays {
    off: bool,
    shared: Vec<String>,
    wanted: Option<bool>,
    fixed: Vec<String>,
    username: Option<String>,
    credential: Option<Secret>,
}

/// The settings for STUN and TURN.
pub static TURN: &[Setting] = &[
    Setting::new(
        Group::Turn,
        "TURN",
        "Whether the built-in STUN and TURN server runs",
        "on or off",
        |draft, text| put(boolean(text)?, |on| draft.relays.off = !on),
    )
    .flag("turn", "on|off")
    .default("on"),
    Setting::new(
        Group::Turn,
        "TURN_PORT",
        "Its port for UDP, TCP and TLS; when this is not set and 3478 is taken, any free one",
        "a port, 0 to 65535",
        |draft, text| put(text.parse().ok()?, |port| turn(draft).port = Some(port)),
    )
    .flag("turn-port", "PORT")
    .default("3478"),
    Setting::new(
        Group::Turn,
        "TURN_ADDRESS",
        "The addresses under which the internet reaches this server, where they are not its own: \
         behind a router or in a cloud",
        "one IPv4 address, one IPv6 address, or both with a comma between them",
        |draft, text| {
            let addresses: Vec<IpAddr> = list(text)?;
            let odd = |ip: &IpAddr| ip.is_unspecified() || ip.is_multicast();
            let v4 = addresses.iter().filter(|ip| ip.is_ipv4()).count();
            let fits = v4 <= 1 && addresses.len() - v4 <= 1 && !addresses.iter().any(odd);
            put(fits.then_some(addresses)?, |addresses| turn(draft).addresses = addresses)
        },
    )
    .flag("turn-address", "ADDR")
    .default("those of this computer in its network"),
    Setting::new(
        Group::Turn,
        "TURN_HOST",
        "The name of this server in TURN URLs, where the web is reached under another one",
        "a host name",
        |draft, text| {
            let odd = |c: char| !c.is_ascii_alphanumeric() && !"-.".contains(c);
            let name = (!text.contains(odd)).then(|| text.to_owned());
            put(name?, |name| turn(draft).host = Some(name))
        },
    )
    .flag("turn-host", "NAME")
    .default("the name in the client's request"),
    Setting::new(
        Group::Turn,
        "TURN_RELAY_PORTS",
        "The UDP ports that allocations get; a firewall must let them in",
        "two ports, from 1024 on, with a - between them",
        |draft, text| put(ports(text)?, |ports| turn(draft).relay_ports = ports),
    )
    .flag("turn-relay-ports", "FIRST-LAST")
    .default("49152-65535"),
    Setting::new(
        Group::Turn,
        "TURN_REACH",
        "Whom it relays to: public addresses only, or those of private networks, too",
        "world or lan",
        |draft, text| {
            let reach = match text.to_ascii_lowercase().as_str() {
                "world" => Reach::World,
                "lan" => Reach::Lan,
                _ => return None,
            };
            put(reach, |reach| turn(draft).reach = Some(reach))
        },
    )
    .flag("turn-reach", "world|lan")
    .default("lan where the server's own address is private"),
    Setting::new(
        Group::Turn,
        "TURN_SECRET",
        "What credentials are made with: the built-in relay's, and those of TURN_URLS",
        "at least 16 bytes that nobody can guess",
        |draft, text| {
            let secret = (text.len() >= SECRET).then(|| Secret::new(text))?;
            put(secret, |secret| draft.config.ice.secret = Some(secret))
        },
    )
    .secret()
    .default("follows from the secret of tokens"),
    Setting::new(
        Group::Turn,
        "TURN_CREDENTIAL_LIFETIME",
        "How long a credential opens a relay; a call that runs goes on",
        DURATION,
        |draft, text| put(seconds(text)?, |time| draft.config.ice.credential_lifetime = time),
    )
    .flag("turn-credential-lifetime", "TIME")
    .default("6h"),
    Setting::new(
        Group::Turn,
        "TURN_ALLOCATION_LIFETIME",
        "How long an allocation lives that its client does not refresh",
        DURATION,
        |draft, text| put(seconds(text)?, |time| turn(draft).lifetime = time),
    )
    .flag("turn-allocation-lifetime", "TIME")
    .default("10m"),
    Setting::new(
        Group::Turn,
        "TURN_ALLOCATIONS_PER_USER",
        "Allocations that one user may hold; a call needs one for each peer, transport and network",
        "a number from 1 to 10000",
        |draft, text| put(number(text)?, |number| turn(draft).per_user = number),
    )
    .flag("turn-allocations-per-user", "NUMBER")
    .default("96"),
    Setting::new(
        Group::Turn,
        "TURN_ALLOCATIONS",
        "Allocations that the server may hold",
        "a number from 1 to 10000",
        |draft, text| put(number(text)?, |number| turn(draft).total = number),
    )
    .flag("turn-allocations", "NUMBER")
    .default("4096"),
    Setting::new(
        Group::Turn,
        "TURN_BANDWIDTH",
        "Kilobits a second that one allocation may relay each way",
        "a number from 64 to 10000000",
        |draft, text| {
            let kilobits = text.parse().ok().filter(|n| (64..=10_000_000_u32).contains(n))?;
            put(kilobits * 125, |bytes| turn(draft).bytes_per_second = bytes)
        },
    )
    .flag("turn-bandwidth", "KBIT")
    .default("12000"),
    Setting::new(
        Group::Turn,
        "TURN_URLS",
        "STUN and TURN servers besides the built-in one that know TURN_SECRET, like coturn with \
         use-auth-secret",
        URLS,
        |draft, text| put(urls(text)?, |urls| draft.relays.shared = urls),
    )
    .flag("turn-urls", "URLS")
    .default("none"),
    Setting::new(
        Group::Turn,
        "VITE_HAS_TURN_SERVER",
        "Whether clients are told of VITE_TURN_SERVER_URL",
        "true or false",
        |draft, text| put(boolean(text)?, |wanted| draft.relays.wanted = Some(wanted)),
    )
    .default("true where there is a URL"),
    Setting::new(
        Group::Turn,
        "VITE_TURN_SERVER_URL",
        "STUN and TURN servers with one name and password for everybody",
        URLS,
        |draft, text| put(urls(text)?, |urls| draft.relays.fixed = urls),
    )
    .default("none"),
    Setting::new(
        Group::Turn,
        "VITE_TURN_SERVER_USERNAME",
        "The name for them",
        "a name",
        |draft, text| put(text.to_owned(), |name| draft.relays.username = Some(name)),
    )
    .default("none"),
    Setting::new(
        Group::Turn,
        "VITE_TURN_SERVER_CREDENTIAL",
        "The password for them; every user learns it",
        "a password",
        |draft, text| put(Secret::new(text), |word| draft.relays.credential = Some(word)),
    )
    .secret()
    .default("none"),
];

impl Relays {
    /// What all of it makes of the configuration.
    ///
    /// # Errors
    /// [`WrongSetting`] where settings do not go together.
    pub(super) fn finish(self, config: &mut Config) -> Result<(), WrongSetting> {
        if self.off {
            config.turn = None;
        }
        let needs_secret = |url: &String| !url.starts_with("stun");
        if self.shared.iter().any(needs_secret) && config.ice.secret.is_none() {
            let text = "TURN_URLS needs TURN_SECRET, which those servers must know, too";
            return Err(WrongSetting::Together(text));
        }
        let (turn, stun) = self.shared.into_iter().partition(needs_secret);
        let fixed = self.username.zip(self.credential).map(|(username, credential)| {
            (username, String::from_utf8_lossy(credential.bytes()).into_owned())
        });
        let wanted = self.wanted.unwrap_or(true);
        let external = [
            (stun, Access::Fixed(None)),
            (turn, Access::Shared),
            (if wanted { self.fixed } else { Vec::new() }, Access::Fixed(fixed)),
        ];
        let external = external.into_iter().filter(|(urls, _)| !urls.is_empty());
        let external = external.map(|(urls, access)| External { urls, access });
        config.ice.external.extend(external);
        Ok(())
    }
}

fn turn(draft: &mut Draft) -> &mut TurnConfig {
    draft.config.turn.get_or_insert_default()
}

fn urls(text: &str) -> Option<Vec<String>> {
    entries(text).map(|url| is_url(url).then(|| url.to_owned())).collect()
}

fn ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (1024 <= first && first <= last).then_some(first..=last)
}

/// Lifetimes count whole seconds.
fn seconds(text: &str) -> Option<Duration> {
    positive(text).filter(|time| time.as_secs() > 0)
}

fn number(text: &str) -> Option<usize> {
    text.parse().ok().filter(|number| (1..=10_000).contains(number))
}

#[cfg(test)]
mod tests {
    use super::super::environment::Environment;
    use super::*;

    fn config(settings: &[(&str, &str)]) -> Result<Config, WrongSetting> {
        Environment::of(settings).config(Config::default())
    }

    #[test]
    fn every_setting_of_the_relay_arrives() {
        let config = config(&[
            ("TURN_PORT", "3479"),
            ("TURN_ADDRESS", "203.0.113.7, 2001:db8::7"),
            ("TURN_HOST", "turn.example"),
            ("TURN_RELAY_PORTS", "50000-50100"),
            ("TURN_REACH", "lan"),
            ("TURN_SECRET", "sixteen bytes or more"),
            ("TURN_CREDENTIAL_LIFETIME", "5m"),
            ("TURN_ALLOCATION_LIFETIME", "1m"),
            ("TURN_ALLOCATIONS_PER_USER", "5"),
            ("TURN_ALLOCATIONS", "50"),
            ("TURN_BANDWIDTH", "1000"),
        ])
        .unwrap();
        let turn = config.turn.unwrap();
        assert_eq!((turn.port, turn.addresses.len()), (Some(3479), 2));
        assert_eq!(turn.host.as_deref(), Some("turn.example"));
        assert_eq!((turn.relay_ports, turn.reach), (50_000..=50_100, Some(Reach::Lan)));
        assert_eq!((turn.per_user, turn.total, turn.bytes_per_second), (5, 50, 125_000));
        assert_eq!(turn.lifetime, Duration::from_secs(60));
        assert_eq!(config.ice.credential_lifetime, Duration::from_secs(300));
        assert!(config.ice.secret.is_some());
    }

    #[test]
    fn the_relay_can_be_switched_off_whatever_else_is_said() {
        let config = config(&[("TURN", "off"), ("TURN_PORT", "3479")]).unwrap();
        assert!(config.turn.is_none());
    }

    #[test]
    fn other_relays_come_with_a_secret_or_a_password() {
        let shared = config(&[
            ("TURN_SECRET", "sixteen bytes or more"),
            ("TURN_URLS", "turn:a.example,turns:a.example:443,stun:a.example"),
        ]);
        let external = shared.unwrap().ice.external;
        assert_eq!(external[0].access, Access::Fixed(None));
        assert_eq!((external[1].urls.len(), &external[1].access), (2, &Access::Shared));

        let old = [
            ("VITE_HAS_TURN_SERVER", "true"),
            ("VITE_TURN_SERVER_URL", "turn:b.example:3478"),
            ("VITE_TURN_SERVER_USERNAME", "name"),
            ("VITE_TURN_SERVER_CREDENTIAL", "word"),
        ];
        let external = config(&old).unwrap().ice.external;
        let fixed = Access::Fixed(Some(("name".into(), "word".into())));
        assert_eq!((external.len(), &external[0].access), (1, &fixed));
        let unwanted = [("VITE_HAS_TURN_SERVER", "false"), old[1], old[2], old[3]];
        assert!(config(&unwanted).unwrap().ice.external.is_empty());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (name, value) in [
            ("TURN", "perhaps"),
            ("TURN_PORT", "65536"),
            ("TURN_ADDRESS", "meet.example"),
            ("TURN_ADDRESS", "203.0.113.7,203.0.113.8"),
            ("TURN_ADDRESS", "0.0.0.0"),
            ("TURN_HOST", "turn:example"),
            ("TURN_RELAY_PORTS", "2000-1999"),
            ("TURN_RELAY_PORTS", "1-1999"),
            ("TURN_REACH", "moon"),
            ("TURN_SECRET", "short"),
            ("TURN_CREDENTIAL_LIFETIME", "10ms"),
            ("TURN_ALLOCATIONS", "0"),
            ("TURN_BANDWIDTH", "1"),
            ("TURN_URLS", "https://a.example"),
            ("VITE_TURN_SERVER_URL", "b.example"),
        ] {
            assert!(config(&[(name, value)]).is_err(), "{name} {value}");
        }
        assert!(config(&[("TURN_URLS", "turn:a.example")]).is_err(), "nobody knows the secret");
    }
}
