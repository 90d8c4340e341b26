//! Settings from environment variables and from a `.env` file, under the names that deployments
//! of the protocol have used all along.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use super::{Config, Origins, SignIn, Tls, duration};
use crate::auth::Secret;

/// Names that other software of such a deployment reads and that mean nothing to this server.
const OF_OTHERS: [&str; 6] = [
    "VITE_HTTP_API_URL",
    "VITE_WS_API_URL",
    "VITE_HAS_TURN_SERVER",
    "VITE_TURN_SERVER_URL",
    "VITE_TURN_SERVER_USERNAME",
    "VITE_TURN_SERVER_CREDENTIAL",
];

/// Code points in one of the three prefixes; a room id must fit behind it.
const PREFIX_CHARS: usize = 32;

/// A setting that the server can't start with.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("{name} is {value:?}, but it must be {expected}")]
pub struct WrongSetting {
    /// The variable or flag.
    pub name: String,
    /// What it says.
    pub value: String,
    /// What would be right.
    pub expected: &'static str,
}

/// A `.env` file that can't be read. Its lines are not shown: they may hold secrets.
#[derive(Debug, Error)]
pub enum EnvFileError {
    /// The file is there but can't be opened or read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A line is not `NAME=value`.
    #[error("{} has a line after {last} settings that is not NAME=value", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// How many settings stand before the odd line.
        last: usize,
    },
}

/// Where settings are looked up: the process's environment, then a file.
#[derive(Debug, Default)]
pub struct Environment {
    own: bool,
    file: HashMap<String, String>,
}

impl Environment {
    /// The process's environment, completed by the file at `path` if there is one.
    ///
    /// # Errors
    /// [`EnvFileError`] when the file is there but unusable.
    pub fn load(path: &Path) -> Result<Self, EnvFileError> {
        let mut file = HashMap::new();
        let read = |source| EnvFileError::Read { path: path.to_owned(), source };
        let lines = match dotenvy::from_path_iter(path) {
            Ok(lines) => lines,
            Err(dotenvy::Error::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { own: true, file });
            }
            Err(dotenvy::Error::Io(error)) => return Err(read(error)),
            Err(_) => return Err(EnvFileError::Syntax { path: path.to_owned(), last: 0 }),
        };
        for line in lines {
            match line {
                Ok((name, value)) => file.insert(name, value),
                Err(dotenvy::Error::Io(error)) => return Err(read(error)),
                Err(_) => {
                    return Err(EnvFileError::Syntax { path: path.to_owned(), last: file.len() });
                }
            };
        }
        Ok(Self { own: true, file })
    }

    /// Settings given as text, for tests.
    #[must_use]
    pub fn of(settings: &[(&str, &str)]) -> Self {
        let file = settings.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Self { own: false, file: file.collect() }
    }

    /// The value of `name`; an empty one counts as none.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        let own = self.own.then(|| std::env::var_os(name)).flatten();
        own.map(|value| value.to_string_lossy().into_owned())
            .or_else(|| self.file.get(name).cloned())
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    }

    /// The names that are set and mean nothing here.
    pub fn ignored(&self) -> impl Iterator<Item = &'static str> {
        OF_OTHERS.into_iter().filter(|name| self.get(name).is_some())
    }

    /// Puts the settings into `config`; what is not set stays as it is.
    ///
    /// # Errors
    /// [`WrongSetting`] for the first value that makes no sense.
    pub fn apply(&self, config: &mut Config) -> Result<(), WrongSetting> {
        if let Some(on) = self.read("USE_LOCAL_TLS", "true or false", boolean)? {
            config.tls = if on { Tls::SelfSigned } else { Tls::Off };
        }
        if let Some(port) = self.read("SERVER_PORT", "a port, 0 to 65535", port)? {
            config.listen.set_port(port);
        }
        if let Some(folder) = self.get("STATE_DIR") {
            config.state_dir = Some(PathBuf::from(folder));
        }
        self.apply_sign_in(&mut config.sign_in)?;
        self.apply_origins(config)?;
        let proxies = "IP addresses with commas between them";
        if let Some(proxies) = self.read("TRUSTED_PROXIES", proxies, list)? {
            config.trusted_proxies = proxies;
        }
        if let Some(on) = self.read("HTTP_RATE_LIMIT", "true or false", boolean)? {
            config.http_rate_limit = on;
        }
        let shards = |text: &str| text.parse().ok().filter(|n| (1..=1024).contains(n));
        if let Some(shards) = self.read("HUB_SHARDS_QUANTITY", "a number from 1 to 1024", shards)? {
            config.room_shards = shards;
        }
        for (name, place) in [
            ("ROOM_ID_PREFIX", &mut config.client.room_prefix),
            ("E2EE_WIRE_PREFIX", &mut config.client.wire_prefix),
            ("WEBRTC_FILE_CHANNEL_LABEL", &mut config.client.file_channel_label),
        ] {
            let expected = "a word of at most 32 characters, without spaces";
            if let Some(prefix) = self.read(name, expected, prefix)? {
                *place = prefix;
            }
        }
        Ok(())
    }

    fn apply_sign_in(&self, sign_in: &mut SignIn) -> Result<(), WrongSetting> {
        if let Some(name) = self.get("APP_NAME") {
            sign_in.app_name = name;
        }
        if let Some(secret) = self.get("JWT_SECRET") {
            sign_in.secret = Some(Secret::new(secret));
        }
        let expected = "a duration like 12h, 30m or 15s (0 means 12h)";
        if let Some(lifetime) = self.read("JWT_EXPIRATION", expected, lifetime)? {
            sign_in.token_lifetime = lifetime;
        }
        let expected = "a duration like 15s, and more than 0";
        let positive = |text: &str| duration::parse(text).filter(|time| !time.is_zero());
        if let Some(time) = self.read("CONTEXT_TIMEOUT", expected, positive)? {
            sign_in.request_timeout = time;
        }
        Ok(())
    }

    fn apply_origins(&self, config: &mut Config) -> Result<(), WrongSetting> {
        let expected = "* or origins like https://meet.example with commas between them";
        let origins = |text: &str| {
            let entries = entries(text);
            if entries.clone().any(|entry| entry == "*") {
                return Some(Origins::Any);
            }
            let origins = entries.map(|entry| entry.trim_end_matches('/').parse().ok());
            origins.collect::<Option<Vec<_>>>().map(Origins::Listed)
        };
        if let Some(origins) = self.read("ALLOWED_ORIGINS", expected, origins)? {
            config.origins = origins;
        }
        let development = |text: &str| match text.to_ascii_lowercase().as_str() {
            "development" => Some(true),
            "production" => Some(false),
            _ => None,
        };
        if self.read("GO_ENV", "development or production", development)? == Some(true) {
            config.origins = Origins::Any;
        }
        Ok(())
    }

    fn read<T>(
        &self,
        name: &str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, WrongSetting> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match parse(&value) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(WrongSetting { name: name.to_owned(), value, expected }),
        }
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" | "yes" | "on" => Some(true),
        "false" | "f" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn port(text: &str) -> Option<u16> {
    text.strip_prefix(':').unwrap_or(text).parse().ok()
}

fn lifetime(text: &str) -> Option<Duration> {
    let lifetime = duration::parse(text)?;
    if lifetime.is_zero() {
        return Some(SignIn::TOKEN_LIFETIME);
    }
    // Tokens count whole seconds.
    (lifetime.as_secs() > 0).then_some(lifetime)
}

fn prefix(text: &str) -> Option<String> {
    let is_odd = |c: char| c.is_whitespace() || c.is_control();
    let fits = text.chars().count() <= PREFIX_CHARS && !text.contains(is_odd);
    fits.then(|| format!("{text}:"))
}

fn entries(text: &str) -> impl Iterator<Item = &str> + Clone {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

fn list<T: FromStr>(text: &str) -> Option<Vec<T>> {
    entries(text).map(|entry| entry.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config_of(settings: &[(&str, &str)]) -> Result<Config, WrongSetting> {
        let mut config = Config::default();
        Environment::of(settings).apply(&mut config)?;
        Ok(config)
    }

    #[test]
    fn nothing_is_required() {
        let config = config_of(&[("JWT_SECRET", " "), ("SERVER_PORT", "")]).unwrap();
        assert_eq!((config.listen.port(), config.tls), (3000, Tls::SelfSigned));
        assert!(config.sign_in.secret.is_none());
        assert_eq!(config.client.room_prefix, "pm_room:");
        assert_eq!(config.origins, Origins::Listed(Vec::new()));
    }

    #[test]
    fn every_documented_name_is_understood() {
        let config = config_of(&[
            ("GO_ENV", "production"),
            ("USE_LOCAL_TLS", "FALSE"),
            ("APP_NAME", "Our Meet"),
            ("SERVER_PORT", ":8080"),
            ("JWT_SECRET", "only for tests"),
            ("JWT_EXPIRATION", "1h"),
            ("CONTEXT_TIMEOUT", "5s"),
            ("ALLOWED_ORIGINS", "https://a.example/, http://localhost:5173"),
            ("HUB_SHARDS_QUANTITY", "4"),
            ("ROOM_ID_PREFIX", "room"),
            ("E2EE_WIRE_PREFIX", "sealed"),
            ("WEBRTC_FILE_CHANNEL_LABEL", "files"),
            ("STATE_DIR", "/var/lib/meet"),
            ("TRUSTED_PROXIES", "127.0.0.1, ::1"),
            ("HTTP_RATE_LIMIT", "off"),
        ])
        .unwrap();
        assert_eq!((config.tls, config.listen.port()), (Tls::Off, 8080));
        assert_eq!(config.sign_in.app_name, "Our Meet");
        assert_eq!(config.sign_in.secret.unwrap().bytes(), b"only for tests");
        assert_eq!(config.sign_in.token_lifetime, Duration::from_secs(3_600));
        assert_eq!(config.sign_in.request_timeout, Duration::from_secs(5));
        let listed = ["https://a.example", "http://localhost:5173"].map(|o| o.parse().unwrap());
        assert_eq!(config.origins, Origins::Listed(listed.to_vec()));
        assert_eq!((config.room_shards, config.http_rate_limit), (4, false));
        assert_eq!(config.client.room_prefix, "room:");
        assert_eq!(config.client.wire_prefix, "sealed:");
        assert_eq!(config.client.file_channel_label, "files:");
        assert_eq!(config.trusted_proxies.len(), 2);
        assert_eq!(config.state_dir.unwrap(), Path::new("/var/lib/meet"));
    }

    #[test]
    fn development_and_a_star_let_any_origin_in() {
        let development = config_of(&[("GO_ENV", "development"), ("ALLOWED_ORIGINS", "https://a")]);
        assert_eq!(development.unwrap().origins, Origins::Any);
        assert_eq!(config_of(&[("ALLOWED_ORIGINS", "*")]).unwrap().origins, Origins::Any);
    }

    #[test]
    fn no_expiration_means_twelve_hours() {
        let config = config_of(&[("JWT_EXPIRATION", "0")]).unwrap();
        assert_eq!(config.sign_in.token_lifetime, Duration::from_secs(12 * 3_600));
    }

    #[test]
    fn a_wrong_value_is_named_with_what_would_be_right() {
        for (name, value) in [
            ("GO_ENV", "developmnet"),
            ("USE_LOCAL_TLS", "maybe"),
            ("SERVER_PORT", "65536"),
            ("JWT_EXPIRATION", "soon"),
            ("JWT_EXPIRATION", "1ms"),
            ("CONTEXT_TIMEOUT", "0"),
            ("ALLOWED_ORIGINS", "https://a.example/path"),
            ("HUB_SHARDS_QUANTITY", "0"),
            ("ROOM_ID_PREFIX", "two words"),
            ("TRUSTED_PROXIES", "localhost"),
            ("HTTP_RATE_LIMIT", "5"),
        ] {
            let wrong = config_of(&[(name, value)]).unwrap_err();
            assert_eq!((wrong.name.as_str(), wrong.value.as_str()), (name, value));
            let text = wrong.to_string();
            assert!(text.starts_with(&format!("{name} is {value:?}, but it must be ")), "{text}");
        }
    }

    #[test]
    fn an_env_file_is_read_and_its_faults_do_not_show_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        assert!(Environment::load(&path).is_ok());
        std::fs::write(&path, "# ours\nAPP_NAME=\"Our Meet\"\nexport SERVER_PORT=8080\n").unwrap();
        let mut config = Config::default();
        Environment::load(&path).unwrap().apply(&mut config).unwrap();
        assert_eq!((config.listen.port(), config.sign_in.app_name.as_str()), (8080, "Our Meet"));
        std::fs::write(&path, "APP_NAME=a\nJWT_SECRET hunter2\n").unwrap();
        let error = Environment::load(&path).unwrap_err();
        assert!(matches!(error, EnvFileError::Syntax { last: 1, .. }));
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn names_of_other_software_are_recognised() {
        let environment = Environment::of(&[("VITE_WS_API_URL", "wss://a"), ("PATH", "/bin")]);
        assert_eq!(environment.ignored().collect::<Vec<_>>(), ["VITE_WS_API_URL"]);
    }
}
