//! The table of all settings, and how their values are read.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::cluster_table::CLUSTER;
use super::setting::{Group, Mode, Setting};
use super::turn_table::TURN;
use super::{Origins, SignIn, duration};
use crate::auth::Secret;

/// Names that other software of such a deployment reads and that mean nothing to this server.
pub const OF_OTHERS: [&str; 2] = ["VITE_HTTP_API_URL", "VITE_WS_API_URL"];

const BOOLEAN: &str = "true or false";
pub(super) const FILE: &str = "a file's path";
const FOLDER: &str = "a folder's path";
const WORD: &str = "a word of at most 32 characters, without spaces";
pub(super) const SECRET: &str =
    "at least 32 bytes (256 bits) that nobody can guess, like those of `openssl rand -hex 32`";

/// Code points in one of the three prefixes; a room id must fit behind it.
const PREFIX_CHARS: usize = 32;

/// Every setting, in the order in which they are read: what stands later wins over what stands
/// earlier where both say the same thing.
pub fn settings() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().chain(TURN).chain(CLUSTER)
}

static SETTINGS: &[Setting] = &[
    Setting::new(
        Group::Listening,
        "SERVER_PORT",
        "Port on all addresses; 0 takes any free one",
        "a port, 0 to 65535",
        |draft, text| {
            let port = text.strip_prefix(':').unwrap_or(text).parse().ok()?;
            put((), |()| draft.config.listen.set_port(port))
        },
    )
    .flag("port", "PORT")
    .default("3000"),
    Setting::new(
        Group::Listening,
        "LISTEN",
        "Where to listen, in place of SERVER_PORT",
        "an address with a port, like 127.0.0.1:3000 or [::]:3000",
        |draft, text| put(text.parse().ok()?, |listen| draft.config.listen = listen),
    )
    .flag("listen", "ADDR:PORT")
    .default("0.0.0.0:3000"),
    Setting::new(
        Group::Tls,
        "USE_LOCAL_TLS",
        "A self-made certificate (true) or plain HTTP (false), where TLS is not set",
        BOOLEAN,
        |draft, text| put(boolean(text)?, |on| draft.local_tls = Some(on)),
    )
    .default("true"),
    Setting::new(
        Group::Tls,
        "TLS",
        "Plain HTTP for loopback or behind a proxy, a certificate of the server's own making, \
         one from files, or one from an ACME authority like Let's Encrypt",
        "off, self, files or acme",
        |draft, text| put(mode(text)?, |mode| draft.mode = Some(mode)),
    )
    .flag("tls", "off|self|files|acme")
    .default("self"),
    Setting::new(
        Group::Tls,
        "TLS_CERTIFICATE",
        "The certificate chain in PEM form; read again when it changes",
        FILE,
        |draft, text| put(text.into(), |path| draft.certificate = Some(path)),
    )
    .flag("tls-certificate", "FILE")
    .default("none"),
    Setting::new(
        Group::Tls,
        "TLS_KEY",
        "The private key of that certificate, PEM",
        FILE,
        |draft, text| put(text.into(), |path| draft.key = Some(path)),
    )
    .flag("tls-key", "FILE")
    .default("none"),
    Setting::new(
        Group::Tls,
        "ACME_DOMAIN",
        "Host names to get a certificate for; port 443 of each must lead to this server",
        "host names like meet.example, with commas between them",
        |draft, text| put(domains(text)?, |domains| draft.acme.domains = domains),
    )
    .flag("acme-domain", "NAME")
    .many()
    .default("none"),
    Setting::new(
        Group::Tls,
        "ACME_CONTACT",
        "Whom the authority tells about trouble with the certificate",
        "mail addresses with commas between them",
        |draft, text| put(contacts(text)?, |contacts| draft.acme.contacts = contacts),
    )
    .flag("acme-contact", "MAIL")
    .many()
    .default("none"),
    Setting::new(
        Group::Tls,
        "ACME_DIRECTORY",
        "The directory of the ACME authority",
        "a URL that begins with https://",
        |draft, text| {
            let url = text.starts_with("https://").then(|| text.to_owned())?;
            put(url, |url| draft.acme.directory = url)
        },
    )
    .flag("acme-directory", "URL")
    .default("Let's Encrypt"),
    Setting::new(
        Group::Tls,
        "ACME_ROOT",
        "A root certificate, PEM, for a private authority whose directory the public roots do \
         not vouch for",
        FILE,
        |draft, text| put(text.into(), |path| draft.acme.root = Some(path)),
    )
    .flag("acme-root", "FILE")
    .default("the public ones"),
    Setting::new(
        Group::SignIn,
        "APP_NAME",
        "The issuer named in tokens",
        "a name",
        |draft, text| put(text.to_owned(), |name| draft.config.sign_in.app_name = name),
    )
    .flag("app-name", "NAME")
    .default("private-meet"),
    Setting::new(
        Group::SignIn,
        "JWT_SECRET",
        "What signs tokens; the same on all servers that work as one",
        SECRET,
        |draft, text| put(secret(text)?, |secret| draft.config.sign_in.secret = Some(secret)),
    )
    .secret()
    .default("random, kept in the state folder"),
    Setting::new(
        Group::SignIn,
        "JWT_SECRET_PREVIOUS",
        "The secret before this one: its tokens still open the door, and no new ones are signed \
         with it",
        SECRET,
        |draft, text| {
            put(secret(text)?, |secret| draft.config.sign_in.previous_secret = Some(secret))
        },
    )
    .secret()
    .default("none"),
    Setting::new(
        Group::SignIn,
        "JWT_EXPIRATION",
        "How long a token is good for",
        "a duration like 12h, 30m or 15s (0 means 12h)",
        |draft, text| put(lifetime(text)?, |time| draft.config.sign_in.token_lifetime = time),
    )
    .flag("jwt-expiration", "TIME")
    .default("12h"),
    Setting::new(
        Group::SignIn,
        "CONTEXT_TIMEOUT",
        "How long the body of a sign-in may take",
        "a duration like 15s, and more than 0",
        |draft, text| put(positive(text)?, |time| draft.config.sign_in.request_timeout = time),
    )
    .flag("context-timeout", "TIME")
    .default("15s"),
    Setting::new(
        Group::Doors,
        "GO_ENV",
        "In development, pages of any origin may connect",
        "development or production",
        |draft, text| put(development(text)?, |on| draft.development = on),
    )
    .default("production"),
    Setting::new(
        Group::Doors,
        "ALLOWED_ORIGINS",
        "Pages that may connect besides the server's own",
        "* or origins like https://meet.example with commas between them",
        |draft, text| put(origins(text)?, |origins| draft.config.origins = origins),
    )
    .flag("allowed-origin", "ORIGIN")
    .many()
    .default("none"),
    Setting::new(
        Group::Doors,
        "TRUSTED_PROXIES",
        "Reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are believed",
        "IP addresses or networks like 10.0.0.0/8 with commas between them",
        |draft, text| put(list(text)?, |proxies| draft.config.trusted_proxies = proxies),
    )
    .flag("trusted-proxy", "ADDR[/BITS]")
    .many()
    .default("none"),
    Setting::new(
        Group::Doors,
        "HTTP_RATE_LIMIT",
        "Whether requests are limited for each address: GET 5 a second, POST 2",
        BOOLEAN,
        |draft, text| put(boolean(text)?, |on| draft.config.http_rate_limit = on),
    )
    .flag("http-rate-limit", "true|false")
    .default("true"),
    Setting::new(
        Group::Doors,
        "MAX_CONNECTIONS",
        "Connections at once; newcomers above it get 503",
        "a number; 0 means as many as the system gives files for",
        |draft, text| put(text.parse().ok()?, |most| draft.config.doors.connections = most),
    )
    .flag("max-connections", "NUMBER")
    .default("0"),
    Setting::new(
        Group::Doors,
        "MAX_CONNECTIONS_PER_ADDRESS",
        "Connections at once from one address (IPv6: one /64)",
        "a number; 0 means any",
        |draft, text| put(text.parse().ok()?, |most| draft.config.doors.per_address = most),
    )
    .flag("max-connections-per-address", "NUMBER")
    .default("512"),
    Setting::new(
        Group::Doors,
        "MAX_MEMORY",
        "Memory of the process above which newcomers get 503",
        "a size like 512M or 2G",
        |draft, text| put(size(text)?, |bytes| draft.config.doors.memory_bytes = Some(bytes)),
    )
    .flag("max-memory", "SIZE")
    .default("90 % of what its control group allows"),
    Setting::new(
        Group::Rooms,
        "HUB_SHARDS_QUANTITY",
        "Locks that rooms are spread over",
        "a number from 1 to 1024",
        |draft, text| {
            let shards = text.parse().ok().filter(|n| (1..=1024).contains(n))?;
            put(shards, |shards| draft.config.room_shards = shards)
        },
    )
    .flag("room-shards", "NUMBER")
    .default("16"),
    Setting::new(
        Group::Rooms,
        "ROOM_ID_PREFIX",
        "What stands in front of rooms on the wire",
        WORD,
        |draft, text| put(prefix(text)?, |prefix| draft.config.client.room_prefix = prefix),
    )
    .default("pm_room"),
    Setting::new(
        Group::Rooms,
        "E2EE_WIRE_PREFIX",
        "What stands in front of encrypted messages",
        WORD,
        |draft, text| put(prefix(text)?, |prefix| draft.config.client.wire_prefix = prefix),
    )
    .default("pm_e2ee"),
    Setting::new(
        Group::Rooms,
        "WEBRTC_FILE_CHANNEL_LABEL",
        "The label of the data channel",
        WORD,
        |draft, text| put(prefix(text)?, |label| draft.config.client.file_channel_label = label),
    )
    .default("pm_file"),
    Setting::new(
        Group::Files,
        "STATE_DIR",
        "Where the certificate and the token secret stay between runs",
        FOLDER,
        |draft, text| put(text.into(), |folder| draft.config.state_dir = Some(folder)),
    )
    .flag("state-dir", "DIR")
    .default("STATE_DIRECTORY of systemd, or the user's state folder"),
    Setting::new(
        Group::Files,
        "WEB_ROOT",
        "Serves this folder in place of the built-in web client",
        FOLDER,
        |draft, text| put(PathBuf::from(text), |root| draft.web_root = Some(root)),
    )
    .flag("web-root", "DIR")
    .default("built in"),
    Setting::new(
        Group::Files,
        "WEB_CSP",
        "The Content-Security-Policy of the pages in WEB_ROOT",
        "a policy",
        |draft, text| put(text.to_owned(), |csp| draft.web_csp = Some(csp)),
    )
    .flag("web-csp", "POLICY")
    .default("that of the built-in client"),
    Setting::new(
        Group::Watching,
        "METRICS_LISTEN",
        "Answers /metrics by plain HTTP there, for Prometheus in a private network",
        "an address with a port, like 127.0.0.1:9090",
        |draft, text| put(text.parse().ok()?, |at| draft.config.metrics.listen = Some(at)),
    )
    .flag("metrics-listen", "ADDR:PORT")
    .default("none"),
    Setting::new(
        Group::Watching,
        "METRICS_TOKEN",
        "Answers /metrics on the main port, too, to whoever shows this bearer token",
        "at least 16 bytes that nobody can guess",
        |draft, text| {
            let token = (text.len() >= 16).then(|| Secret::new(text))?;
            put(token, |token| draft.config.metrics.token = Some(token))
        },
    )
    .secret()
    .default("none: /metrics is not there"),
    Setting::new(
        Group::Watching,
        "LOG_FORMAT",
        "Lines for people or one JSON object a line, on standard error",
        "text or json",
        |draft, text| {
            let json = match text.to_ascii_lowercase().as_str() {
                "text" => false,
                "json" => true,
                _ => return None,
            };
            put(json, |json| draft.config.log.json = json)
        },
    )
    .flag("log-format", "text|json")
    .default("text"),
    Setting::new(
        Group::Watching,
        "RUST_LOG",
        "What is logged; names, texts, tokens and addresses never are",
        "a level like info or debug, or a list like server=debug,hyper=warn",
        |draft, text| {
            EnvFilter::try_new(text).ok()?;
            put(text.to_owned(), |filter| draft.config.log.filter = Some(filter))
        },
    )
    .flag("log", "LEVEL")
    .default("info"),
];

/// Lets a closure store a value and be an `Option`, too.
pub(super) fn put<T>(value: T, store: impl FnOnce(T)) -> Option<()> {
    store(value);
    Some(())
}

pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" | "yes" | "on" => Some(true),
        "false" | "f" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn mode(text: &str) -> Option<Mode> {
    match text.to_ascii_lowercase().as_str() {
        "off" => Some(Mode::Off),
        "self" => Some(Mode::SelfSigned),
        "files" => Some(Mode::Files),
        "acme" => Some(Mode::Acme),
        _ => None,
    }
}

fn development(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "development" => Some(true),
        "production" => Some(false),
        _ => None,
    }
}

pub(super) fn secret(text: &str) -> Option<Secret> {
    let secret = Secret::new(text);
    secret.is_strong().then_some(secret)
}

fn lifetime(text: &str) -> Option<Duration> {
    let lifetime = duration::parse(text)?;
    if lifetime.is_zero() {
        return Some(SignIn::TOKEN_LIFETIME);
    }
    // Tokens count whole seconds.
    (lifetime.as_secs() > 0).then_some(lifetime)
}

pub(super) fn positive(text: &str) -> Option<Duration> {
    duration::parse(text).filter(|time| !time.is_zero())
}

fn origins(text: &str) -> Option<Origins> {
    let entries = entries(text);
    if entries.clone().any(|entry| entry == "*") {
        return Some(Origins::Any);
    }
    let origins = entries.map(|entry| entry.trim_end_matches('/').parse().ok());
    origins.collect::<Option<Vec<_>>>().map(Origins::Listed)
}

fn domains(text: &str) -> Option<Vec<String>> {
    let is_odd = |c: char| !c.is_ascii_alphanumeric() && c != '-';
    let is_name = |name: &str| {
        name.contains('.') && name.split('.').all(|part| !part.is_empty() && !part.contains(is_odd))
    };
    let names = entries(text).map(|name| is_name(name).then(|| name.to_ascii_lowercase()));
    names.collect::<Option<Vec<_>>>().filter(|names| !names.is_empty())
}

fn contacts(text: &str) -> Option<Vec<String>> {
    let contact = |entry: &str| {
        let mail = entry.strip_prefix("mailto:").unwrap_or(entry);
        let (user, host) = mail.split_once('@')?;
        (!user.is_empty() && host.contains('.')).then(|| format!("mailto:{mail}"))
    };
    entries(text).map(contact).collect()
}

fn size(text: &str) -> Option<u64> {
    let text = text.trim_end_matches(['b', 'B']).trim_end_matches('i');
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1 << 40,
        _ => return None,
    };
    let number: u64 = digits.trim().parse().ok()?;
    number.checked_mul(unit).filter(|bytes| *bytes > 0)
}

fn prefix(text: &str) -> Option<String> {
    let is_odd = |c: char| c.is_whitespace() || c.is_control();
    let fits = text.chars().count() <= PREFIX_CHARS && !text.contains(is_odd);
    fits.then(|| format!("{text}:"))
}

pub(super) fn entries(text: &str) -> impl Iterator<Item = &str> + Clone {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

pub(super) fn list<T: FromStr>(text: &str) -> Option<Vec<T>> {
    entries(text).map(|entry| entry.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let check = |text: &str, bytes: Option<u64>| assert_eq!(size(text), bytes, "{text}");
        check("1048576", Some(1 << 20));
        check("512M", Some(512 << 20));
        check("2GiB", Some(2 << 30));
        check("2 g", Some(2 << 30));
        for wrong in ["", "M", "0", "-1M", "1.5G", "many", "5X", "99999999T"] {
            check(wrong, None);
        }
    }

    #[test]
    fn names_and_flags_are_there_once() {
        let mut names: Vec<&str> = settings().map(|setting| setting.name).collect();
        let mut flags: Vec<&str> = settings().filter_map(|setting| setting.flag).collect();
        for list in [&mut names, &mut flags] {
            let before = list.len();
            list.sort_unstable();
            list.dedup();
            assert_eq!(list.len(), before);
        }
    }
}
